"""Elastic: images as if drawn on rubber."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._images import centred, change_images, checked_number, only, sample, signed, smoothing, working


@register
class Elastic(Regularizer):
    """Pulls every image about by a smooth random field of displacements, drawn again for each row and step.

    What: neighboring pixels move almost alike and distant ones independently, as strokes do between one hand and another.

    Formula: the pixel at p shows the input at p + alpha · G * u(p), interpolated bilinearly, with u uniform on (-1, 1)² for each pixel and G a Gaussian of
    standard deviation ``sigma`` pixels that sums to one, the field being 0 beyond the edge. Far from the edge each coordinate of the displacement has
    standard deviation alpha / (sigma √(12 π)): 1.4 pixels for alpha = 34, sigma = 4, the values of the reference for digits of 28 x 28 pixels. Beyond
    the edge the nearest pixel is seen.

    When: handwriting, cells and tissue, anything soft. Not where straight lines and proportions carry the meaning. For images of another size scale
    ``sigma`` with the side and ``alpha`` with its square, so that displacements grow with the side too.

    Composes: before MixUp, CutMix, CutOut and noise; with Affine in either order. Inputs that are no images pass through.

    Cost: two random numbers a pixel, two small matrix products and one interpolation of the images.

    Reference: Simard et al. (2003), Best practices for convolutional neural networks applied to visual document analysis.

    Args:
        alpha: factor of the smoothed field, in pixels.
        sigma: standard deviation of the smoothing in pixels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> ramp = torch.arange(28.0).expand(1, 1, 28, 28)
        >>> moved = tp.Elastic(34.0).bind().batch(full_batch(ramp, torch.zeros(1, 1)), Context()).x
        >>> bool((moved - ramp).abs().max() < 8.0)
        True
    """

    spec: ClassVar[str] = "3 image augmentation"
    reference: ClassVar[str] = "Simard et al. 2003"
    acts_on: ClassVar[str] = "image"

    alpha: Strength = strength(34.0, off=0.0, low=5.0, high=80.0, log=True, meaning="factor of the smoothed displacements, in pixels", side=28)
    sigma: float = option(4.0, meaning="standard deviation of the smoothing in pixels")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not checked_number(self.sigma, 0.0):
            raise ConfigError(expected("sigma", "Elastic", "in (0, inf)", self.sigma, "A seventh of the image's side is a good width."))

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return change_images(lambda image: self._pulled(image, ctx), batch)

    def _pulled(self, image: Tensor, ctx: Context) -> Tensor:
        rows, _, height, width = image.shape
        noise = signed(ctx.rng.uniform((rows, height, 2 * width), working(image)))  # x before y in every line, so that nothing has to be copied
        vertical, horizontal = (smoothing(size, float(self.sigma), image).expand(rows, size, size) for size in (height, width))
        smooth = torch.bmm(torch.bmm(vertical, noise).reshape(rows, 2 * height, width), horizontal).reshape(rows, height, 2, width)
        field = smooth.transpose(1, 2) * self.alpha.to(noise.dtype)
        x, y = centred(width, image).expand(height, width), centred(height, image).unsqueeze(1).expand(height, width)
        unit = torch.tensor([2.0 / width, 2.0 / height], dtype=noise.dtype, device=image.device)[:, None, None]
        return only(self.alpha > 0, sample(image, (field + torch.stack([x, y])) * unit, "border"), image)
