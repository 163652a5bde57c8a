"""RandAugment: a random choice of twelve changes to every image, all of one strength."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._image_changes import CHANGES, applied
from temperance.regularizers._images import change_images, only, working


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
