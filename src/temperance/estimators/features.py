"""Images as the features of a network that has learned from others: each passes through it once, and cocktails are tried on the numbers it gives."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.passes import evaluating
from temperance.estimators.images import PixelEncoder
from temperance.nets.backbone import a_parameter, center_and_spread, features_of

AT_ONCE = 64  # images in a pass
BITS = 16  # of a pixel, at most


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
        self.center, self.spread = center_and_spread(found if rows is None else found[torch.from_numpy(np.asarray(rows))])
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
        first = a_parameter(self.backbone)
        parts: list[Tensor] = []
        with torch.no_grad(), evaluating(self.backbone, True):
            for a in range(0, len(pixels), AT_ONCE):
                images = super().transform(pixels[a : a + AT_ONCE])
                parts.append(features_of(self.backbone, images.to(first), a).float().cpu())
        return torch.cat(parts)
