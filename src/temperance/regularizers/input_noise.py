"""InputNoise: additive noise on the inputs."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from temperance.core.batch import Batch, map_float
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._inputs import unit_of


@register
class InputNoise(Regularizer):
    """Adds fresh random noise to every number of every row, in every step.

    What: the network is asked to give the same answer in a small cloud around each row.

    Formula: x <- x + sigma · s · n, with n of mean zero and variance one, Gaussian or Laplace (scale 1/√2), and s the standard deviation of that
    input over the training rows. For linear regression with mean squared error the expected loss is that of the clean rows plus
    sigma² · Σ (s w)²: an L2 penalty with lam = 2 sigma².

    When: standardized numeric tables and signals with measurement noise. For images, shifts and flips usually say more about what should not
    matter. Codes of categories are left alone.

    Composes: with every other change of the batch, in list order. Noise after MixUp is full-size; noise before it is averaged.

    Cost: one random tensor of the inputs' size and two element-wise passes.

    Reference: Sietsma & Dow (1991), Creating artificial neural networks that generalize; Bishop (1995), Training with noise is equivalent to
    Tikhonov regularization.

    Args:
        sigma: standard deviation of the noise, in standard deviations of the input.
        distribution: ``"gaussian"`` or ``"laplace"``.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> noisy = tp.InputNoise(0.1).bind().batch(full_batch(torch.zeros(4096, 4), torch.zeros(4096, 1)), Context())
        >>> round(noisy.x.std().item(), 2)
        0.1
    """

    spec: ClassVar[str] = "2 inputs"
    reference: ClassVar[str] = "Sietsma & Dow 1991; Bishop 1995"

    sigma: Strength = strength(0.1, off=0.0, low=0.005, high=0.5, log=True, meaning="standard deviation, in that of the input")
    distribution: str = option("gaussian", choices=("gaussian", "laplace"), meaning="shape of the noise")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return batch._replace(x=map_float(lambda leaf, unit: leaf + self.sigma.to(leaf.dtype) * unit * self._draw(leaf, ctx), batch.x, unit_of(batch.x, ctx)))

    def _draw(self, leaf: Tensor, ctx: Context) -> Tensor:
        shape = tuple(leaf.shape)
        if self.distribution == "laplace":
            return ctx.rng.laplace(shape, leaf.dtype) * 0.5**0.5
        return ctx.rng.normal(shape, leaf.dtype)
