"""Blur: images out of focus."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, strength
from temperance.regularizers._images import along_both, change_images, gaussian, only, working


@register
class Blur(Regularizer):
    """Smooths every image with a Gaussian whose width is drawn again for each row and step.

    What: the network learns to do with images that are out of focus, and to rely less on single pixels and fine texture.

    Formula: each pixel becomes the weighted mean of all pixels of its channel, with weights exp(-d² / (2 s²)) of their distance d, s uniform on
    (0, ``sigma``). The weights sum to one within the image, so that an even image stays as it is up to its edge. No window cuts them off.

    When: photographs of varying sharpness, textures that should not decide, as a counterpart of noise. Not where the fine detail is what tells classes
    apart; for images of some 30 pixels a sigma of 1 is much already.

    Composes: before noise in the list, or it is smoothed as well; with Affine in either order. Inputs that are no images pass through.

    Cost: two small matrix products for each channel of each row, of the image with height x height and width x width weights: far less than a
    network for sides up to a hundred pixels, and growing with the cube of the side.

    Reference: Chen et al. (2020), A simple framework for contrastive learning of visual representations.

    Args:
        sigma: largest standard deviation of the Gaussian in pixels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> point = torch.zeros(1, 1, 9, 9)
        >>> point[0, 0, 4, 4] = 1.0
        >>> bool(tp.Blur(2.0).bind().batch(full_batch(point, torch.zeros(1, 1)), Context()).x[0, 0, 4, 5] > 0)
        True
    """

    spec: ClassVar[str] = "3 image augmentation"
    reference: ClassVar[str] = "Chen et al. 2020"
    acts_on: ClassVar[str] = "image"

    sigma: Strength = strength(1.0, off=0.0, low=0.2, high=2.0, log=True, meaning="largest standard deviation in pixels", side=32)

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return change_images(lambda image: self._smooth(image, ctx), batch)

    def _smooth(self, image: Tensor, ctx: Context) -> Tensor:
        rows, _, height, width = image.shape
        sigma = self.sigma.to(working(image)) * ctx.rng.uniform((rows,), working(image))
        vertical, horizontal = (gaussian(size, sigma, image) for size in (height, width))
        vertical, horizontal = (weights / weights.sum(2, keepdim=True) for weights in (vertical, horizontal))
        smooth = along_both(image.to(vertical.dtype), vertical, horizontal)
        return only(self.sigma > 0, smooth.to(image.dtype), image)
