"""What the regularizers of images share: which leaves they change, sampling at moved positions, and Gaussian smoothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from temperance.core.batch import Batch, is_image, map_leaves, per_row

FAINTEST = -80.0  # the logarithm of a weight that no sum notices; smaller ones take a processor far longer
SMALLEST = 1e-3  # pixels: a Gaussian narrower than this has no weight beside its centre


def change_images(function: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """Apply a function to the images of a minibatch; all other inputs pass through."""
    return batch._replace(x=map_leaves(lambda leaf: function(leaf) if is_image(leaf) else leaf, batch.x))


def only(rows: Tensor, changed: Tensor, image: Tensor) -> Tensor:
    """The changed images where ``rows`` (a mark for all rows, or one per row) is true, elsewhere those that were given, bit for bit."""
    return torch.where(rows if rows.dim() == 0 else per_row(rows, image), changed, image)


def working(image: Tensor) -> torch.dtype:
    """The type in which positions and weights are computed: half precision has too few digits for them."""
    return torch.float64 if image.dtype == torch.float64 else torch.float32


def centred(size: int, image: Tensor) -> Tensor:
    """The positions ``(size,)`` of pixels along one side, in pixels from its middle."""
    return torch.arange(size, dtype=working(image), device=image.device) - 0.5 * (size - 1)


def signed(u: Tensor) -> Tensor:
    """Uniform numbers on (0, 1) moved to (-1, 1)."""
    return 2.0 * u - 1.0


def sample(image: Tensor, places: Tensor, padding: str) -> Tensor:
    """Bilinear interpolation of images at places ``(rows, 2, height, width)``, x before y, the image spanning [-1, 1] from edge to edge.

    Outside it is 0 with ``padding="zeros"`` and the nearest pixel with ``"border"``.
    """
    grid = places.movedim(1, -1)  # a view: interleaving the two coordinates would take as long as the interpolation
    return F.grid_sample(image.to(grid.dtype), grid, mode="bilinear", padding_mode=padding, align_corners=False).to(image.dtype)


def affine(image: Tensor, matrix: tuple[Tensor, Tensor, Tensor, Tensor], shift: tuple[Tensor, Tensor], padding: str) -> Tensor:
    """The pixel at p, counted from the middle in pixels, shows the input at matrix · (p - shift).

    Args:
        image: ``(rows, channels, height, width)``.
        matrix: entries xx, xy, yx, yy of the map from output to input positions, each ``(rows,)``.
        shift: along x and y in pixels, each ``(rows,)``.
        padding: as in :func:`sample`.
    """
    height, width = image.shape[-2:]
    xx, xy, yx, yy, dx, dy = (value.to(working(image)) for value in (*matrix, *shift))
    per_x, per_y = 2.0 / width, 2.0 / height
    along_x = torch.stack([xx * per_x, yx * per_y], 1)[:, :, None, None] * centred(width, image)
    along_y = torch.stack([xy * per_x, yy * per_y], 1)[:, :, None, None] * centred(height, image).unsqueeze(1)
    moved = torch.stack([(xx * dx + xy * dy) * per_x, (yx * dx + yy * dy) * per_y], 1)[:, :, None, None]
    return sample(image, along_x + (along_y - moved), padding)


def gaussian(size: int, sigma: Tensor, image: Tensor) -> Tensor:
    """Weights ``(..., size, size)`` of a Gaussian of standard deviation ``sigma`` (...) pixels around every pixel of a side, without its constant."""
    steps = torch.arange(size, device=image.device)
    apart = (steps.unsqueeze(1) - steps).abs().flatten()
    width = sigma.to(working(image)).clamp_min(SMALLEST).unsqueeze(-1)
    exponent = steps.to(width.dtype).square() / (-2.0 * width * width)
    seen = exponent > FAINTEST
    weights = torch.where(seen, torch.where(seen, exponent, FAINTEST).exp(), 0.0)
    return weights.index_select(-1, apart).unflatten(-1, (size, size))


def smoothing(size: int, sigma: float, image: Tensor) -> Tensor:
    """The symmetric matrix ``(size, size)`` that smooths along a side, zero beyond its ends: rows sum to one far from them."""
    reach = math.ceil(10.0 * max(sigma, SMALLEST))
    steps = torch.arange(-reach, reach + 1, dtype=working(image), device=image.device)
    width = torch.tensor(max(sigma, SMALLEST), dtype=steps.dtype, device=image.device)
    return gaussian(size, width, image) / (steps.square() / (-2.0 * width * width)).exp().sum()


def along_both(image: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """The product vertical · image · horizontalᵀ of every channel: matrices ``(rows, height, height)`` and ``(rows, width, width)``."""
    rows, channels, height, width = image.shape
    across = torch.bmm(image.reshape(rows, channels * height, width), horizontal.transpose(1, 2)).reshape(rows, channels, height, width)
    upright = across.transpose(1, 2).reshape(rows, height, channels * width)
    return torch.bmm(vertical, upright).reshape(rows, height, channels, width).transpose(1, 2)


def checked_number(value: Any, low: float) -> bool:
    """Whether a static field is a finite number above ``low``."""
    return not isinstance(value, bool) and isinstance(value, (int, float)) and low < value < math.inf
