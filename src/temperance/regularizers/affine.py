"""Affine: flips, shifts, rotations, scalings, stretches and shears of images in one go."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._images import affine, change_images, only, signed, working


@register
class Affine(Regularizer):
    """Moves every image a little: rotation, translation, scale, stretch, shear and mirror image, drawn again for each row and step.

    What: each row draws its own angle, shift, factors and flip within the given limits; the image is sampled once, bilinearly, at the positions
    that all of them give together. Distances are pixels, so that a rotated square stays a square in an image that is not one.

    Formula: p' = R(a) · S(k) · diag(s, s v) · F · p + t around the middle of the image, with a = ± ``rotate``, k = tan(± ``shear``) shifting x by k y,
    s = exp(± ``scale``), v = exp(± ``stretch``), t = ± ``translate`` · (width, height) and F a mirror image from left to right with probability
    ``flip``; ± z is uniform between -z and z. Each strength is off at 0; a row that nothing moves is returned bit for bit.

    When: images whose meaning does not change under the motion; often worth more than any penalty. Handwritten digits: ``rotate=15``,
    ``translate=0.1``; no flip where left and right matter, as in letters; turns beyond some 30 degrees only where there is no up and down.
    Upside-down images are ``rotate=180``. A search tries mirror images only where they are asked for: ``use=["Affine"]``, or an Affine given with
    ``flip`` above 0. For shifts by whole pixels alone RandomCrop is cheaper and does not interpolate.

    Composes: before MixUp, CutMix, CutOut and noise in the list, so that these are not moved too. Inputs that are no images pass through.

    Cost: one grid and one interpolation of the images, however many strengths are on.

    Reference: Simard et al. (2003), Best practices for convolutional neural networks; Krizhevsky et al. (2012) for flips.

    Args:
        rotate: largest angle in degrees, either way.
        translate: largest shift as a share of the image's side, for each side.
        flip: probability of the mirror image from left to right.
        scale: largest logarithm of the factor of both sides; 0.1 means sizes between 0.905 and 1.105.
        stretch: largest logarithm of a further factor of the height.
        shear: largest angle in degrees by which upright lines are slanted, either way.
        padding: what is seen beyond the edge: ``"zeros"`` the value 0 of the tensor as given (black in raw values, the mean in standardized ones),
            ``"border"`` the nearest pixel.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> batch = full_batch(torch.arange(4.0).expand(1, 1, 2, 4), torch.zeros(1, 1))
        >>> tp.Affine(rotate=0.0, flip=1.0).bind().batch(batch, Context()).x[0, 0, 0].round()
        tensor([3., 2., 1., 0.])
    """

    spec: ClassVar[str] = "3 image augmentation"
    reference: ClassVar[str] = "Simard et al. 2003; Krizhevsky et al. 2012"
    acts_on: ClassVar[str] = "image"

    rotate: Strength = strength(15.0, off=0.0, low=2.0, high=20.0, log=True, valid="[0, 180]", meaning="largest angle in degrees")
    translate: Strength = strength(0.0, off=0.0, low=0.02, high=0.125, log=True, valid="[0, 1]", meaning="largest shift, as a share of the side")
    flip: Strength = strength(0.0, off=0.0, low=0.1, high=0.5, valid="[0, 1]", meaning="probability of the mirror image", on_request=True)
    scale: Strength = strength(0.0, off=0.0, low=0.02, high=0.3, log=True, valid="[0, 2]", meaning="largest logarithm of the factor of the size")
    stretch: Strength = strength(0.0, off=0.0, low=0.02, high=0.2, log=True, valid="[0, 2]", meaning="largest logarithm of the factor of the height")
    shear: Strength = strength(0.0, off=0.0, low=2.0, high=15.0, log=True, valid="[0, 60]", meaning="largest slant in degrees")
    padding: str = option("zeros", choices=("zeros", "border"), meaning="what is seen beyond the edge")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return change_images(lambda image: self._moved(image, ctx), batch)

    def _moved(self, image: Tensor, ctx: Context) -> Tensor:
        rows, _, height, width = image.shape
        u = ctx.rng.uniform((7, rows), working(image))
        turn, slant, size, tall, right, down = signed(u[:6])
        degree = math.pi / 180.0
        angle, slope = self.rotate * degree * turn, self.shear * degree * slant
        cos, sin, k = angle.cos(), angle.sin(), slope.sin() / slope.cos()
        narrow = (-self.scale * size).exp()
        low = narrow * (-self.stretch * tall).exp()
        flipped = u[6] < self.flip
        mirrored = torch.where(flipped, -narrow, narrow)
        inverse = (mirrored * (cos + k * sin), mirrored * (sin - k * cos), -low * sin, low * cos)
        shift = (self.translate * right * width, self.translate * down * height)
        moves = torch.stack([self.rotate, self.translate, self.scale, self.stretch, self.shear]).amax() > 0
        return only(moves | flipped, affine(image, inverse, shift, self.padding), image)
