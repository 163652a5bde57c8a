"""Lookahead: fast weights explore, slow weights follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.strength import Strength, option, strength


@register
class Lookahead(Regularizer):
    """Every k steps, goes back part of the way to where the weights were k steps ago.

    What: the optimizer runs on as fast weights; after each k steps they are replaced by a point between the slow weights of the last
    replacement and themselves, and that point is the new slow weights.

    Formula: at every k-th step s <- s + alpha (w - s), w <- s.

    When: large learning rates and noisy gradients, whose swings it averages out; needs little tuning. With a small learning rate it merely slows
    training down by a factor of alpha.

    Composes: the replacement comes before decay, proximal steps and projections of the same step, whose result is the new slow weights. The
    optimizer's own averages (momentum) run on.

    Cost: one interpolation and one selection over the parameters a step, and a copy of them.

    Reference: Zhang et al. (2019), Lookahead optimizer: k steps forward, 1 step back.

    Args:
        alpha: how far the slow weights follow; 1 switches it off.
        k: steps between two replacements.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> ahead = tp.Lookahead(0.5, k=1).bind()
        >>> state = ahead.init({"w": torch.tensor([0.0])})
        >>> ahead.after_step({"w": torch.tensor([4.0])}, Context(state=state))
        {'w': tensor([2.])}
    """

    spec: ClassVar[str] = "5 Lookahead"
    reference: ClassVar[str] = "Zhang et al. 2019"
    rank: ClassVar[int] = -1

    alpha: Strength = strength(0.5, off=1.0, low=0.2, high=0.9, valid="(0, 1]", meaning="how far the slow weights follow")
    k: int = option(5, valid="[1, 1000000]", meaning="steps between two replacements")

    def init(self, params: Params) -> dict[str, Tensor]:
        return {f"slow:{name}": w.detach().clone() for name, w in params.items()}

    def after_step(self, params: Params, ctx: Context) -> Params:
        now = torch.logical_and(self._due(ctx), self.alpha < 1.0)
        return {name: torch.where(now, torch.lerp(ctx.state[f"slow:{name}"], w, self.alpha.to(w.dtype)), w) for name, w in params.items()}

    def track(self, state: Mapping[str, Tensor], params: Params, ctx: Context) -> dict[str, Tensor]:
        now = self._due(ctx)
        return {f"slow:{name}": torch.where(now, w, state[f"slow:{name}"]) for name, w in params.items()}

    def _due(self, ctx: Context) -> Tensor:
        return (ctx.step + 1) % self.k == 0
