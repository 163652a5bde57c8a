"""Images as the features of a network that has learned from others: each passes through it once, and cocktails are tried on the numbers it gives."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.device import out_of_memory
from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.passes import evaluating
from temperance.estimators.images import PixelEncoder

AT_ONCE = 64  # images in a pass
BITS = 16  # of a pixel, at most
_FLAT = 1e-6  # standard deviation below which a feature says nothing
_MEND = "Give a network without its last layer: from images (n, channels, height, width) to features (n, d)."


class FeatureEncoder(PixelEncoder):
    """Encode images as the standardized features of a backbone, ``{"num": float32 (n, features), "cat": int64 (n, 0)}``.

    The backbone sees fractions in [0, 1] where the images are fractions, or whole numbers from 0 to 65535: these are divided by the largest number of so many
    bits as the largest pixel of the fit has, 8 at least (255, 1023, 4095, ...). Other numbers, negative ones among them, it sees as they are. It is
    copied, and computes in evaluation mode, where its weights are.

    Attributes:
        backbone: the copy.
        center: mean of every feature, in the training rows.
        spread: standard deviation likewise; 1 where a feature has a single value.

    Example:
        >>> encoder = FeatureEncoder(nn.Flatten()).fit(np.array([0, 255, 255, 0], np.uint8).reshape(2, 1, 1, 2))
        >>> encoder.transform(np.array([255, 0], np.uint8).reshape(1, 1, 1, 2))["num"].tolist()
        [[1.0, -1.0]]
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.center, self.spread = torch.zeros(0), torch.ones(0)
        self._latest: tuple[np.ndarray, Tensor] | None = None

    def fit(self, pixels: np.ndarray, rows: np.ndarray | None = None) -> FeatureEncoder:
        """Compute the features of all images, and learn means and standard deviations from some rows (``None``: all)."""
        super().fit(pixels, rows)
        most = int(pixels.max()) if self.whole and pixels.min() >= 0 else 0
        unit = float(2 ** max(8, most.bit_length()) - 1) if 0 < most < 1 << BITS else 1.0
        self.mean, self.sd = np.zeros(self.shape[0]), np.full(self.shape[0], unit)
        found = self._features(pixels)
        learned = (found if rows is None else found[torch.from_numpy(np.asarray(rows))]).double()
        self.center, spread = learned.mean(0).float(), learned.std(0, correction=0).float()
        self.spread = torch.where(spread > _FLAT, spread, torch.ones_like(spread))
        self._latest = pixels, found
        return self

    def transform(self, pixels: np.ndarray) -> Any:
        """Encode images; those of the fit do not pass through the backbone again."""
        held, self._latest = self._latest, None
        found = held[1] if held is not None and held[0] is pixels else self._features(pixels)
        return {"num": (found - self.center) / self.spread, "cat": torch.zeros(len(pixels), 0, dtype=torch.long)}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_latest": None}

    def _features(self, pixels: np.ndarray) -> Tensor:
        first = next((p for p in self.backbone.parameters() if p.is_floating_point()), torch.zeros(()))
        parts: list[Tensor] = []
        with torch.no_grad(), evaluating(self.backbone, True):
            for a in range(0, len(pixels), AT_ONCE):
                images = super().transform(pixels[a : a + AT_ONCE])
                parts.append(self._answer(images.to(first), a))
        return torch.cat(parts)

    def _answer(self, images: Tensor, place: int) -> Tensor:
        """Features of some images; maps of features are averaged over the image."""
        try:
            out = self.backbone(images)
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:  # what networks raise for images of another kind
            if isinstance(error, RuntimeError) and out_of_memory(error):
                raise
            said = (str(error).splitlines() or [""])[0][:200]
            got = f"{type(error).__name__}: {said}"
            raise ConfigError(f"Expected `backbone` to take images of shape {tuple(images.shape[1:])}, got {got}. {_MEND}") from error
        if isinstance(out, Tensor) and out.dim() == 4:
            out = out.mean((2, 3))
        if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != len(images) or not out.shape[1]:
            got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ConfigError(f"Expected `backbone` to return features (n, d), or maps of them (n, d, height, width), got {got}. {_MEND}")
        finite = torch.isfinite(out).all(1)
        if not bool(finite.all()):
            row = place + int((~finite).nonzero()[0])
            raise DataError(f"Expected finite features of `backbone`, got NaN or infinite ones for image {row}. Check its weights and the images.")
        return out.float().cpu()


def backbone_of(given: Any, owner: str) -> nn.Module | None:
    """The network that makes features: as given, or by its name in timm, with the weights that timm has for it.

    Args:
        given: an ``nn.Module``, ``"timm:NAME"``, or ``None``.
        owner: whose argument it is.

    Raises:
        ConfigError: anything else, a name that timm does not know, weights that cannot be had, or no timm.
    """
    if given is None or isinstance(given, nn.Module):
        return given
    kind, _, name = given.partition(":") if isinstance(given, str) else ("", "", "")
    if kind != "timm" or not name:
        mend = "Give a network without its last layer, such as torch.nn.Sequential(*list(net.children())[:-1])."
        raise ConfigError(expected("backbone", owner, "to be an nn.Module, 'timm:NAME' or None", given, mend))
    try:
        import timm  # pyright: ignore[reportMissingImports] -- an extra
    except ImportError:
        raise ConfigError(f"`backbone` {given!r} needs timm. Install it with pip install 'temperance[timm]', or give an nn.Module.") from None
    try:
        network = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # unknown names, weights that are not there, no network: timm passes on what its parts raise
        said = (str(error).splitlines() or [""])[0][:200]
        mend = "timm.list_models(pretrained=True) shows the names; weights are downloaded once, into its cache."
        raise ConfigError(f"Expected `backbone` {given!r} to be a model of timm with its weights, got {type(error).__name__}: {said}. {mend}") from error
    settings = timm.data.resolve_model_data_config(network)
    return Normalized(network, settings["mean"], settings["std"], settings["input_size"])


class Normalized(nn.Module):
    """A network that takes fractions in [0, 1]: brought to its size and number of channels, then standardized as in its own training.

    Args:
        network: any.
        mean: of every channel.
        sd: standard deviation likewise.
        size: channels, height and width that it expects.

    Example:
        >>> Normalized(nn.Flatten(), (0.5,), (0.5,), (1, 2, 2))(torch.ones(1, 1, 4, 4)).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, network: nn.Module, mean: Any, sd: Any, size: Any) -> None:
        super().__init__()
        self.network, (self.channels, *self.side) = network, tuple(size)
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("sd", torch.tensor(sd).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        if list(x.shape[2:]) != self.side:
            x = nn.functional.interpolate(x, self.side, mode="bilinear", antialias=True)
        return self.network((x - self.mean) / self.sd)
