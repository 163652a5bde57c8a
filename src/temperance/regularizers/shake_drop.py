"""ShakeDrop: residual branches with random factors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.selector import OutputsOf
from temperance.core.strength import Strength, strength
from temperance.regularizers._shake import shaken


@register
class ShakeDrop(Regularizer):
    """Multiplies residual branches by random factors, others in the forward than in the backward pass.

    What: as StochasticDepth, but where a branch would be dropped it is multiplied by a random factor, which may turn its sign, and its gradient by
    another one. So the training loss is disturbed more than any mask can. At evaluation every branch is there as it is.

    Formula: y = x + c / (1 - rate) · F(x), with c = b + (1 - b) alpha forward and b + (1 - b) beta backward; b ~ Bernoulli(1 - rate),
    alpha ~ U(-1, 1), beta ~ U(0, 1), for each row. Since alpha has mean zero, c / (1 - rate) has mean one. In the paper the branch is unscaled in
    training and multiplied by 1 - rate at evaluation, which is the same network with the last layer of each branch divided by 1 - rate.

    When: deep residual networks with BatchNorm at the end of each branch and long training; the paper lets rates rise with depth to 0.5 (several
    entries with a ``where`` each do that). Without a normalization in the branches training may diverge. Elsewhere StochasticDepth is milder.

    Composes: with all but StochasticDepth on the same branches, which it replaces. Gradients are biased on purpose.

    Cost: three random numbers per row and branch, and four operations on its output.

    Reference: Yamada, Iwamura, Akiba & Kise (2019), ShakeDrop regularization for deep residual learning.

    Args:
        rate: probability that a branch is shaken.
        where: the modules whose outputs are added to their inputs; by default ``Branch`` of temperance.nets.Residual.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> factors = tp.ShakeDrop(0.5).bind().hidden(torch.ones(2000, 1), Context())
        >>> round(factors.mean().item(), 1), round(factors.min().item(), 1), round(factors.max().item(), 1)
        (1.0, -2.0, 2.0)
    """

    spec: ClassVar[str] = "2 shake-drop"
    reference: ClassVar[str] = "Yamada et al. 2019"
    exceptions: ClassVar[Mapping[str, str]] = {"gradcheck": "the gradient is that of other random factors, on purpose"}

    rate: Strength = strength(0.3, off=0.0, low=0.02, high=0.6, valid="[0, 1)", meaning="share of residual branches shaken")
    where: Any = OutputsOf("Branch", except_output=False)

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        shape = (h.shape[0], *[1] * (h.dim() - 1))
        kept = ctx.rng.keep_mask(self.rate, shape, h.dtype)
        alpha, beta = 2.0 * ctx.rng.uniform(shape, h.dtype) - 1.0, ctx.rng.uniform(shape, h.dtype)
        scale = (1.0 / (1.0 - self.rate)).to(h.dtype)
        forward, backward = (torch.where(kept > 0, kept, scale * factor) for factor in (alpha, beta))
        return torch.where(self.rate > 0, shaken(h, forward, backward), h)
