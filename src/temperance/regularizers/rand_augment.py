"""RandAugment: a random choice of twelve changes to every image, all of one strength."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._images import affine, change_images, only, working

ANGLE, SLANT, SHIFT, FACTOR = 30.0, 0.3, 0.45, 0.9  # degrees, slope, share of the side, change of a factor: at magnitude 1
BITS = 4.0  # of eight that posterizing takes away at magnitude 1
LUMA = (0.299, 0.587, 0.114)
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
SHADES = ("brightness", "color", "contrast", "sharpness", "posterize", "solarize", "autocontrast")
CHANGES = ("identity", *MOVES, *SHADES)


@register
class RandAugment(Regularizer):
    """Makes one or more random changes to every image, of one common strength: RandAugment, and TrivialAugment.

    What: every row draws its own changes out of thirteen, with equal chances: none, a rotation, a shear or shift along either side, other brightness, color,
    contrast or sharpness, fewer shades, inverted light parts, or the full range of shades. One number replaces the strengths of each, so that it is quickly
    searched.

    Formula: with magnitude m and a random sign: angle 30° m; shear 0.3 m; shift 0.45 m of the side; the factors of brightness (from the image's darkest
    value), color, contrast and sharpness 1 ± 0.9 m; 8 - ⌊4 m⌋ bits of shades; shades above the share 1 - m of the range inverted. With
    ``draw="uniform"`` each change has a magnitude of its own, uniform between 0 and m: ``RandAugment(1.0, changes=1, draw="uniform")`` is TrivialAugment.
    Black and white are the least and the greatest value of the image itself, as it is not known what they are in the given values; equalizing the
    histogram is left out.

    When: photographs, where a recipe for many epochs is wanted at once. Not where light or color is what is asked for. For digits Affine and Elastic
    do more: inverted light parts mean little there.

    Composes: before MixUp, CutMix, CutOut and noise in the list. Instead of Affine and ColorJitter rather than with them. With UntilEnd for a last part of
    training on images as they are. Inputs that are no images pass through.

    Cost: one interpolation and some twenty element-wise passes over the images for every change.

    Reference: Cubuk et al. (2020), RandAugment; Müller & Hutter (2021), TrivialAugment.

    Args:
        magnitude: the strength of every change, in [0, 1]; 0 switches all off.
        changes: how many one after the other.
        draw: ``"same"`` strength for all, or ``"uniform"`` between 0 and it for each.
        padding: what is seen beyond the edge: ``"zeros"`` or the nearest pixel, ``"border"``.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> batch = full_batch(torch.rand(6, 3, 8, 8), torch.zeros(6, 1))
        >>> tp.RandAugment(0.5).bind().batch(batch, tp.Context()).x.shape
        torch.Size([6, 3, 8, 8])
    """

    spec: ClassVar[str] = "3 image augmentation"
    reference: ClassVar[str] = "Cubuk et al. 2020; Müller & Hutter 2021"
    acts_on: ClassVar[str] = "image"

    magnitude: Strength = strength(0.3, off=0.0, low=0.05, high=1.0, log=True, valid="[0, 1]", meaning="strength of every change")
    changes: int = option(2, choices=(1, 2), meaning="changes one after the other")
    draw: str = option("same", choices=("same", "uniform"), meaning="how each change gets its strength")
    padding: str = option("border", choices=("zeros", "border"), meaning="what is seen beyond the edge")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return change_images(lambda image: self._changed(image, ctx), batch)

    def _changed(self, image: Tensor, ctx: Context) -> Tensor:
        out, rows = image.to(working(image)), len(image)
        for _ in range(self.changes):
            kind = ctx.rng.integers(len(CHANGES), (rows,))
            u = ctx.rng.uniform((2, rows), out.dtype)
            size = self.magnitude.to(out.dtype) * (u[0] if self.draw == "uniform" else torch.ones_like(u[0]))
            out = applied(out, kind, size, torch.where(u[1] < 0.5, -1.0, 1.0).to(out.dtype), self.padding)
        return only(self.magnitude > 0, out.to(image.dtype), image)


def applied(image: Tensor, kind: Tensor, size: Tensor, sign: Tensor, padding: str) -> Tensor:
    """The images ``(rows, channels, height, width)``, each changed by its own of :data:`CHANGES`.

    Args:
        image: of a floating type in which positions can be computed.
        kind: which change, int64 ``(rows,)``.
        size: its magnitude, ``(rows,)``.
        sign: one or minus one, ``(rows,)``.
        padding: as in RandAugment.
    """
    out = torch.where(_among(kind, MOVES), _moved(image, kind, size * sign, padding), image)
    for name, shaded in _shaded(image, size, sign).items():
        out = torch.where(_among(kind, (name,)), shaded, out)
    return out


def _among(kind: Tensor, names: tuple[str, ...]) -> Tensor:
    """Which rows have one of these changes, ``(rows, 1, 1, 1)``."""
    marks = [kind == CHANGES.index(name) for name in names]
    return torch.stack(marks).any(0).reshape(-1, 1, 1, 1)


def _moved(image: Tensor, kind: Tensor, size: Tensor, padding: str) -> Tensor:
    height, width = image.shape[-2:]

    def of(name: str, full: float) -> Tensor:
        return torch.where(kind == CHANGES.index(name), full * size, torch.zeros_like(size))

    angle = of("rotate", math.pi / 180.0 * ANGLE)
    cos, sin = angle.cos(), angle.sin()
    matrix = (cos, sin + of("shear_x", SLANT), of("shear_y", SLANT) - sin, cos)
    return affine(image, matrix, (of("translate_x", SHIFT * width), of("translate_y", SHIFT * height)), padding)


def _shaded(image: Tensor, size: Tensor, sign: Tensor) -> dict[str, Tensor]:
    """Every change of shades, within the range of each image."""
    size, sign = (part.reshape(-1, 1, 1, 1) for part in (size, sign))
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    span = high - low
    share = torch.tensor(LUMA if image.shape[1] == 3 else [1.0 / image.shape[1]] * image.shape[1], dtype=image.dtype, device=image.device)
    gray = (image * share.reshape(1, -1, 1, 1)).sum(1, keepdim=True)
    factor = 1.0 + FACTOR * size * sign
    least, most = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    flat = most <= least
    lost = (BITS * size + 1e-6).floor()
    step = (lost * math.log(2.0)).exp()
    level = torch.where(span > 0, (image - low) / torch.where(span > 0, span, torch.ones_like(span)), torch.zeros_like(image))
    fewer = low + span * (255.0 * level / step + 1e-4).floor() * step / 255.0
    out = {
        "brightness": low + factor * (image - low),
        "color": gray + factor * (image - gray),
        "contrast": torch.lerp(gray.mean((2, 3), keepdim=True).expand_as(image), image, factor),
        "sharpness": torch.lerp(_smoothed(image), image, factor),
        "posterize": torch.where(lost > 0, fewer, image),
        "solarize": torch.where(level > 1.0 - size, low + high - image, image),
        "autocontrast": torch.where(flat, image, low + span * (image - least) / torch.where(flat, torch.ones_like(most), most - least)),
    }
    return {name: torch.minimum(torch.maximum(changed, low), high) for name, changed in out.items()}


def _smoothed(image: Tensor) -> Tensor:
    """The mean of nine pixels, of which the middle one counts fivefold; those at the edge are as they were."""
    if min(image.shape[-2:]) < 3:
        return image
    middle = image[:, :, 1:-1, 1:-1]
    smooth = (9.0 * F.avg_pool2d(image, 3, 1) + 4.0 * middle) / 13.0
    return image + F.pad(smooth - middle, (1, 1, 1, 1))
