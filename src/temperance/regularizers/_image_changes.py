"""Changes of single images, each of one magnitude: motions and shades, as RandAugment and AugMix choose among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from temperance.regularizers._images import affine

ANGLE, SLANT, SHIFT, FACTOR = 30.0, 0.3, 0.45, 0.9  # degrees, slope, share of the side, change of a factor: at magnitude 1
BITS = 4.0  # of eight that posterizing takes away at magnitude 1
LUMA = (0.299, 0.587, 0.114)
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
SHADES = ("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast")
CHANGES = ("identity", *MOVES, *SHADES)


def applied(
    image: Tensor,
    kind: Tensor,
    size: Tensor,
    sign: Tensor,
    padding: str,
    changes: Sequence[str] = CHANGES,
) -> Tensor:
    """The images ``(rows, channels, height, width)``, each changed by its own of some changes.

    Args:
        image: of a floating type in which positions can be computed.
        kind: which of ``changes``, int64 ``(rows,)``.
        size: its magnitude, ``(rows,)``.
        sign: one or minus one, ``(rows,)``.
        padding: as in RandAugment.
        changes: names out of :data:`CHANGES`.
    """
    out = torch.where(_among(kind, changes, MOVES), _moved(image, kind, size * sign, padding, changes), image)
    for name, shaded in _shaded(image, size, sign, [name for name in changes if name in SHADES]).items():
        out = torch.where(_among(kind, changes, (name,)), shaded, out)
    return out


def _among(kind: Tensor, changes: Sequence[str], names: Sequence[str]) -> Tensor:
    """Which rows have one of these changes, ``(rows, 1, 1, 1)``."""
    marks = [kind == changes.index(name) for name in names if name in changes]
    return torch.stack(marks).any(0).reshape(-1, 1, 1, 1)


def _moved(image: Tensor, kind: Tensor, size: Tensor, padding: str, changes: Sequence[str]) -> Tensor:
    height, width = image.shape[-2:]

    def of(name: str, full: float) -> Tensor:
        return torch.where(kind == changes.index(name), full * size, torch.zeros_like(size))

    angle = of("rotate", math.pi / 180.0 * ANGLE)
    cos, sin = angle.cos(), angle.sin()
    matrix = (cos, sin + of("shear_x", SLANT), of("shear_y", SLANT) - sin, cos)
    return affine(image, matrix, (of("translate_x", SHIFT * width), of("translate_y", SHIFT * height)), padding)


def _shaded(image: Tensor, size: Tensor, sign: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Changes of shades, within the range of each image."""
    size, sign = (part.reshape(-1, 1, 1, 1) for part in (size, sign))
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    span, factor = high - low, 1.0 + FACTOR * size * sign
    level = torch.where(span > 0, (image - low) / torch.where(span > 0, span, torch.ones_like(span)), torch.zeros_like(image))

    def gray() -> Tensor:
        share = torch.tensor(LUMA if image.shape[1] == 3 else [1.0 / image.shape[1]] * image.shape[1], dtype=image.dtype, device=image.device)
        return (image * share.reshape(1, -1, 1, 1)).sum(1, keepdim=True)

    def colored() -> Tensor:
        light = gray()
        return light + factor * (image - light)

    def posterized() -> Tensor:
        lost = (BITS * size + 1e-6).floor()
        step = (lost * math.log(2.0)).exp()
        fewer = low + span * (255.0 * level / step + 1e-4).floor() * step / 255.0
        return torch.where(lost > 0, fewer, image)

    def stretched() -> Tensor:
        least, most = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
        flat = most <= least
        return torch.where(flat, image, low + span * (image - least) / torch.where(flat, torch.ones_like(most), most - least))

    of: dict[str, Callable[[], Tensor]] = {
        "brightness": lambda: low + factor * (image - low),
        "color": colored,
        "contrast": lambda: torch.lerp(gray().mean((2, 3), keepdim=True).expand_as(image), image, factor),
        "sharpness": lambda: torch.lerp(_smoothed(image), image, factor),
        "posterize": posterized,
        "solarize": lambda: torch.where(level > 1.0 - size, low + high - image, image),
        "autocontrast": stretched,
    }
    return {name: torch.minimum(torch.maximum(of[name](), low), high) for name in names}


def _smoothed(image: Tensor) -> Tensor:
    """The mean of nine pixels, of which the middle one counts fivefold; those at the edge are as they were."""
    if min(image.shape[-2:]) < 3:
        return image
    middle = image[:, :, 1:-1, 1:-1]
    smooth = (9.0 * F.avg_pool2d(image, 3, 1) + 4.0 * middle) / 13.0
    return image + F.pad(smooth - middle, (1, 1, 1, 1))
