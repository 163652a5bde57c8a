"""RandomCrop: images shifted by whole pixels."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._images import change_images, only


@register
class RandomCrop(Regularizer):
    """Pads every image and cuts a window of its own size out of it, somewhere else for each row and step.

    What: a shift by whole pixels, so that no value is interpolated.

    Formula: x[i, j] <- x[i + a, j + b] with a and b uniform on {-n, ..., n}, n = ``pad`` rounded to a whole number; beyond the edge 0, or the image
    mirrored at its outermost pixels. Below half a pixel nothing moves.

    When: nearly always for images in which position says nothing; 4 pixels for 32 x 32 photographs, 2 for digits. A search tries up to an
    eighth of the side. Not where the place in the image is
    the answer, nor for images whose objects touch the edge with ``padding="zeros"``.

    Composes: before MixUp, CutMix, CutOut and noise. With Affine the shifts add up; Affine's ``translate`` alone does the same with fractions of a
    pixel, at the price of an interpolation. Inputs that are no images pass through.

    Cost: one gather of the images.

    Reference: Krizhevsky et al. (2012), ImageNet classification with deep convolutional neural networks; Lee et al. (2015) for padding.

    Args:
        pad: pixels added on each side, rounded.
        padding: ``"zeros"`` adds the value 0 of the tensor as given, ``"reflect"`` the mirrored image.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> images = full_batch(torch.ones(100, 1, 6, 6), torch.zeros(100, 1))
        >>> tp.RandomCrop(2).bind().batch(images, Context()).x.sum((1, 2, 3)).min()
        tensor(16.)
    """

    spec: ClassVar[str] = "3 image augmentation"
    reference: ClassVar[str] = "Krizhevsky et al. 2012; Lee et al. 2015"
    acts_on: ClassVar[str] = "image"

    pad: Strength = strength(4.0, off=0.0, low=1.0, high=4.0, log=True, meaning="pixels added on each side", side=32)
    padding: str = option("zeros", choices=("zeros", "reflect"), meaning="what is added")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return change_images(lambda image: self._shifted(image, ctx), batch)

    def _shifted(self, image: Tensor, ctx: Context) -> Tensor:
        rows, channels, height, width = image.shape
        reach = self.pad.round()
        shifts = (ctx.rng.uniform((2, rows)) * (2.0 * reach + 1.0)).floor().clamp(max=2.0 * reach) - reach
        places = [torch.arange(size, device=image.device) + shift.long().unsqueeze(1) for size, shift in zip((height, width), shifts, strict=True)]
        down, across = (_inside(place, size, self.padding) for place, size in zip(places, (height, width), strict=True))
        index = (down.unsqueeze(2) * width + across.unsqueeze(1)).reshape(rows, 1, height * width).expand(rows, channels, height * width)
        moved = image.reshape(rows, channels, height * width).gather(2, index).reshape(image.shape)
        if self.padding == "zeros":
            known = (down == places[0]).unsqueeze(2) & (across == places[1]).unsqueeze(1)
            moved = torch.where(known.unsqueeze(1), moved, torch.zeros_like(moved))
        return only(reach > 0, moved, image)


def _inside(place: Tensor, size: int, padding: str) -> Tensor:
    """Positions inside a side: mirrored at its outermost pixels as often as needed, or the nearest one."""
    if padding == "zeros" or size == 1:
        return place.clamp(0, size - 1)
    place = place.remainder(2 * (size - 1))
    return torch.minimum(place, 2 * (size - 1) - place)
