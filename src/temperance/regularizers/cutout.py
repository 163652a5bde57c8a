"""CutOut: a hole in every row."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, is_image, map_leaves
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._inputs import unit_of

STRETCH = math.log(3.3)  # of the logarithm of a rectangle's sides, as in random erasing


@register
class CutOut(Regularizer):
    """Blanks out a random part of every row, so that the network looks at the rest of it too.

    What: an image loses a square, a table row some of its columns, numbers and categories alike. The target stays.

    Formula: x <- M ⊙ x. For images M is 0 in a square of ``size`` · height · width pixels, centred anywhere in the image and cut off at its edge, the same
    for all channels; sides are counted in pixels, so that a square is one in any image, and have the right length in the mean where it is no whole
    number. For other inputs M is 0 with probability ``size`` for each entry. The neutral value is 0: the mean of a standardized column, the
    missing value among codes of categories, black or the mean of an image as it is given. With ``fill="noise"`` numbers and pixels become Gaussian noise
    of the standard deviation of the training inputs instead, and with ``shape="rectangle"`` height over width is log-uniform between 0.3 and 3.3: both
    together are random erasing.

    When: images whose object fills the frame; tables with redundant columns or with missing values to come. Not where one small spot or one column
    decides.

    Composes: after everything that moves pixels. Beside CutMix, which fills the hole with another row, one of the two is usually enough. Unlike Dropout on
    inputs it does not scale what is left.

    Cost: one mask and one selection of the inputs.

    Reference: DeVries & Taylor (2017), Improved regularization of convolutional neural networks with cutout; Zhong et al. (2020), Random erasing data
    augmentation, for noise and rectangles.

    Args:
        size: share of the image's area, or of the columns.
        fill: ``"zeros"``, or ``"noise"`` where the input is a number.
        shape: of the hole in an image, ``"square"`` or ``"rectangle"``.

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

    fill: str = option("zeros", choices=("zeros", "noise"), meaning="what is in the hole")
    shape: str = option("square", choices=("square", "rectangle"), meaning="of the hole in an image")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        def cut(leaf: Tensor, unit: Tensor) -> Tensor:
            hole = self._hole(leaf, ctx) if is_image(leaf) else ctx.rng.uniform(tuple(leaf.shape)) < self.size
            noisy = self.fill == "noise" and leaf.is_floating_point()
            return torch.where(hole, unit * ctx.rng.normal(tuple(leaf.shape), leaf.dtype) if noisy else torch.zeros_like(leaf), leaf)

        return batch._replace(x=map_leaves(cut, batch.x, unit_of(batch.x, ctx)))

    def _hole(self, image: Tensor, ctx: Context) -> Tensor:
        """True in a square or rectangle of this share of the area, cut off at the edge: ``(rows, 1, height, width)``."""
        rows, _, height, width = image.shape
        half = 0.5 * (self.size * (height * width)).sqrt()
        centres = ctx.rng.uniform((2, rows, 1))
        halves = [half, half]
        if self.shape == "rectangle":
            taller = (0.5 * STRETCH * (2.0 * ctx.rng.uniform((rows, 1)) - 1.0)).exp()
            halves = [half * taller, half / taller]
        return _inside((height, width), centres, halves, image)


def _inside(sides: tuple[int, int], centres: Tensor, halves: list[Tensor], image: Tensor) -> Tensor:
    inside: list[Tensor] = []
    for size, centre, half in zip(sides, centres, halves, strict=True):
        pixels = torch.arange(size, device=image.device) + 0.5
        inside.append((pixels - centre * size).abs() < half)
    return (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)
