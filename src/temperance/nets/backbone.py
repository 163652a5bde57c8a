"""A network that has learned from other images, without its last layer: where it comes from, and what it says of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.device import out_of_memory
from temperance.core.errors import ConfigError, DataError, expected

TIMM = "timm:"
_FLAT = 1e-6  # standard deviation below which a feature says nothing
_MEND = "Give a network without its last layer: from images (n, channels, height, width) to features (n, d)."


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
    if f"{kind}:" != TIMM or not name:
        mend = "Give a network without its last layer, such as torch.nn.Sequential(*list(net.children())[:-1])."
        raise ConfigError(expected("backbone", owner, "to be an nn.Module, 'timm:NAME' or None", given, mend))
    return from_timm(name)


def from_timm(name: str, *, pretrained: bool = True) -> Normalized:
    """A network of timm without its last layer, for images in [0, 1].

    Args:
        name: as timm calls it.
        pretrained: with the weights that timm has for it; else with random ones.

    Raises:
        ConfigError: no timm, a name that it does not know, or weights that cannot be had.
    """
    given = f"{TIMM}{name}"
    try:
        import timm  # pyright: ignore[reportMissingImports] -- an extra
    except ImportError:
        raise ConfigError(f"`backbone` {given!r} needs timm. Install it with pip install 'temperance[timm]', or give an nn.Module.") from None
    try:
        network = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # unknown names, weights that are not there, no network: timm passes on what its parts raise
        said = (str(error).splitlines() or [""])[0][:200]
        mend = "timm.list_models(pretrained=True) shows the names; weights are downloaded once, into its cache."
        raise ConfigError(f"Expected `backbone` {given!r} to be a model of timm with its weights, got {type(error).__name__}: {said}. {mend}") from error
    settings = timm.data.resolve_model_data_config(network)
    return Normalized(network, settings["mean"], settings["std"], settings["input_size"])


def features_of(backbone: nn.Module, images: Tensor, place: int = 0) -> Tensor:
    """Features ``(n, d)`` of some images; maps of features are averaged over the image.

    Args:
        backbone: the network, in the mode and with the gradients that the caller wants.
        images: ``(n, channels, height, width)``, as the network takes them.
        place: of the first one, for messages.

    Raises:
        ConfigError: the network takes no such images, or returns no features.
        DataError: a feature is not finite.

    Example:
        >>> features_of(nn.Conv2d(1, 4, 3), torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 4])
    """
    try:
        out = pooled(backbone(images))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:  # what networks raise for images of another kind
        if out_of_memory(error):
            raise
        said = (str(error).splitlines() or [""])[0][:200]
        got = f"{type(error).__name__}: {said}"
        raise ConfigError(f"Expected `backbone` to take images of shape {tuple(images.shape[1:])}, got {got}. {_MEND}") from error
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != len(images) or not out.shape[1]:
        got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise ConfigError(f"Expected `backbone` to return features (n, d), or maps of them (n, d, height, width), got {got}. {_MEND}")
    finite = torch.isfinite(out).all(1)
    if not bool(finite.all()):
        row = place + int((~finite).nonzero()[0])
        raise DataError(f"Expected finite features of `backbone`, got NaN or infinite ones for image {row}. Check its weights and the images.")
    return out


def pooled(out: Any) -> Any:
    """What a network returns, maps ``(n, d, height, width)`` as their means over the image."""
    return out.mean((2, 3)) if isinstance(out, Tensor) and out.dim() == 4 else out


def a_parameter(network: nn.Module) -> Tensor:
    """The first of a network's parameters, for its type and its device; a number if there is none."""
    return next((p for p in network.parameters() if p.is_floating_point()), torch.zeros(()))


def center_and_spread(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature ``(d,)``; 1 where it has a single value.

    Example:
        >>> [part.tolist() for part in center_and_spread(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))]
        [[2.0, 5.0], [1.0, 1.0]]
    """
    found = features.double()
    center, spread = found.mean(0).float(), found.std(0, correction=0).float()
    return center, torch.where(spread > _FLAT, spread, torch.ones_like(spread))


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
