"""CutOut: a hole in every row."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, is_image, map_leaves
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, strength


@register
class CutOut(Regularizer):
    """Blanks out a random part of every row, so that the network looks at the rest of it too.

    What: an image loses a square, a table row some of its columns, numbers and categories alike. The target stays.

    Formula: x <- M ⊙ x. For images M is 0 in a square of ``size`` · height · width pixels, centred anywhere in the image and cut off at its edge, the same
    for all channels; sides are counted in pixels, so that a square is one in any image, and have the right length in the mean where it is no whole
    number. For other inputs M is 0 with probability ``size`` for each entry. The neutral value is 0: the mean of a standardized column, the
    missing value among codes of categories, black or the mean of an image as it is given.

    When: images whose object fills the frame; tables with redundant columns or with missing values to come. Not where one small spot or one column
    decides.

    Composes: after everything that moves pixels. Beside CutMix, which fills the hole with another row, one of the two is usually enough. Unlike Dropout on
    inputs it does not scale what is left.

    Cost: one mask and one selection of the inputs.

    Reference: DeVries & Taylor (2017), Improved regularization of convolutional neural networks with cutout.

    Args:
        size: share of the image's area, or of the columns.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> images = full_batch(torch.ones(500, 1, 8, 32), torch.zeros(500, 1))
        >>> tp.CutOut(0.25).bind().batch(images, Context()).x.mean((1, 2, 3)).min()
        tensor(0.7500)
    """

    spec: ClassVar[str] = "3 any data"
    reference: ClassVar[str] = "DeVries & Taylor 2017"
    short: ClassVar[str] = "cutout"

    size: Strength = strength(0.15, off=0.0, low=0.02, high=0.4, log=True, valid="[0, 1]", meaning="share of the area or of the columns")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        def cut(leaf: Tensor) -> Tensor:
            hole = _square(leaf, self.size, ctx) if is_image(leaf) else ctx.rng.uniform(tuple(leaf.shape)) < self.size
            return torch.where(hole, torch.zeros_like(leaf), leaf)

        return batch._replace(x=map_leaves(cut, batch.x))


def _square(image: Tensor, share: Tensor, ctx: Context) -> Tensor:
    """True in a square of this share of the area, cut off at the edge: ``(rows, 1, height, width)``."""
    rows, _, height, width = image.shape
    half = 0.5 * (share * (height * width)).sqrt()
    centres = ctx.rng.uniform((2, rows, 1))
    inside: list[Tensor] = []
    for size, centre in zip((height, width), centres, strict=True):
        pixels = torch.arange(size, device=image.device) + 0.5
        inside.append((pixels - centre * size).abs() < half)
    return (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)
