"""Noise on the gradient that fades as training goes on."""

from __future__ import annotations

from typing import ClassVar

import torch

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.strength import Strength, option, strength


@register
class GradientNoise(Regularizer):
    """Adds Gaussian noise to the gradient, large at first and fading with the steps.

    What: every entry of the gradient gets a Gaussian of its own before the optimizer sees it, so that training leaves sharp and poor regions early
    and settles later.

    Formula: g <- g + N(0, σ_t²), σ_t² = eta / (1 + t)^gamma at step t, counted from zero.

    When: deep or badly initialized networks, where plain training stalls. On small well-scaled networks it mostly slows the start.

    Composes: in list order with GradClip: after it, the noise is not clipped. Adam divides by the size of the gradient, which grows with the noise.

    Cost: one Gaussian a parameter and step.

    Reference: Neelakantan et al. (2015), Adding gradient noise improves learning for very deep networks.

    Args:
        eta: variance of the noise at the first step.
        gamma: how fast it fades.

    Example:
        >>> import temperance as tp
        >>> noisy = GradientNoise(0.01).bind().grads({"w": torch.zeros(3)}, {"w": torch.zeros(3)}, tp.Context())
        >>> bool((noisy["w"] != 0).all())
        True
    """

    spec: ClassVar[str] = "outside the catalogue"
    reference: ClassVar[str] = "Neelakantan et al. 2015"

    eta: Strength = strength(0.01, off=0.0, low=1e-4, high=1.0, log=True, meaning="variance of the noise at the first step")
    gamma: float = option(0.55, choices=(0.0, 0.55, 1.0), meaning="how fast the noise fades")

    def grads(self, grads: Params, params: Params, ctx: Context) -> Params:
        sigma = (self.eta * torch.exp(-self.gamma * torch.log1p(ctx.step.to(self.eta.dtype)))).sqrt()  # no power, whose last bit depends on the slot
        return {name: torch.where(self.eta > 0, g + sigma.to(g.dtype) * ctx.rng.normal(tuple(g.shape), g.dtype), g) for name, g in grads.items()}
