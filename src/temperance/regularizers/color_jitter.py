"""ColorJitter: other light on every image."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, is_image, map_leaves
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, strength
from temperance.regularizers._images import only, signed, working
from temperance.regularizers._inputs import unit_of


@register
class ColorJitter(Regularizer):
    """Changes brightness, contrast, saturation and color balance of every image a little, drawn again for each row and step.

    What: colors as another camera or another hour would have given them. As it is not known what black and white are in the given values, contrast
    works around the image's own mean, and shifts are measured in standard deviations of the training images.

    Formula: contrast x <- m + (1 ± ``contrast``) (x - m) with m the mean of the image over channels and pixels; then saturation
    x <- g + (1 ± ``saturation``) (x - g) with g the mean over channels of each pixel; then x <- x + (± ``brightness`` + (± ``balance``) for each
    channel) · s. ± z is uniform between -z and z; s is the standard deviation of the channel over the training images, 1 where it is not known.
    Values are not cut off.

    When: photographs under varying light. Not where color or grey value is what is asked for, as in ripeness or radiodensity.

    Composes: anywhere before MixUp. An image of one channel has no saturation, and its balance is a second brightness. Inputs that are no images pass
    through.

    Cost: two means and a few element-wise passes over the images.

    Reference: Howard (2013), Some improvements on deep convolutional neural network based image classification; Krizhevsky et al. (2012) for balance.

    Args:
        brightness: largest shift of all channels, in standard deviations.
        contrast: largest change of the factor of the distances from the image's mean.
        saturation: largest change of the factor of the distances from grey.
        balance: largest shift of each channel by itself, in standard deviations.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> jitter = tp.ColorJitter(brightness=0.0, contrast=0.5, saturation=0.5, balance=0.0)
        >>> x = jitter.bind().batch(full_batch(torch.rand(1, 3, 4, 4) + 2.0, torch.zeros(1, 1)), Context()).x
        >>> x.shape
        torch.Size([1, 3, 4, 4])
    """

    spec: ClassVar[str] = "3 image augmentation"
    reference: ClassVar[str] = "Howard 2013; Krizhevsky et al. 2012"
    acts_on: ClassVar[str] = "image"

    brightness: Strength = strength(0.2, off=0.0, low=0.05, high=1.0, log=True, meaning="largest shift of all channels, in standard deviations")
    contrast: Strength = strength(0.2, off=0.0, low=0.05, high=0.8, log=True, valid="[0, 1]", meaning="largest change of the factor of contrast")
    saturation: Strength = strength(0.2, off=0.0, low=0.05, high=0.8, log=True, valid="[0, 1]", meaning="largest change of the factor of saturation")
    balance: Strength = strength(0.1, off=0.0, low=0.02, high=0.5, log=True, meaning="largest shift of a channel, in standard deviations")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        def change(leaf: Tensor, unit: Tensor) -> Tensor:
            return self._changed(leaf, unit, ctx) if is_image(leaf) else leaf

        return batch._replace(x=map_leaves(change, batch.x, unit_of(batch.x, ctx)))

    def _changed(self, image: Tensor, unit: Tensor, ctx: Context) -> Tensor:
        rows, channels = image.shape[:2]
        dtype = working(image)
        u = signed(ctx.rng.uniform((rows, 3 + channels, 1, 1), dtype))
        brightness, contrast, saturation, balance = (value.to(dtype) for value in (self.brightness, self.contrast, self.saturation, self.balance))
        shift = (brightness * u[:, 0:1] + balance * u[:, 3:]) * unit.to(dtype)
        factor = 1.0 + contrast * u[:, 1:2]
        out = image.to(dtype)
        mean = out.mean((1, 2, 3), keepdim=True)
        if channels == 1:
            out = out * factor + (mean * (1.0 - factor) + shift)
        else:
            vivid = 1.0 + saturation * u[:, 2:3]
            grey = out.mean(1, keepdim=True)
            out = out * (factor * vivid) + (grey * (factor * (1.0 - vivid)) + mean * (1.0 - factor)) + shift
        return only(torch.stack([brightness, contrast, balance, *([saturation] if channels > 1 else [])]).amax() > 0, out.to(image.dtype), image)
