"""SWA: the plain average of the weights late in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers.ema import State, averaged, key, start


@register
class SWA(Regularizer):
    """Evaluates and ships the equal-weight average of the weights visited in the last part of training.

    What: from a given progress on, the weights of every ``every``-th step enter an average with equal weights; training itself is not changed.

    Formula: a_n = a_{n-1} + (w_n - a_{n-1}) / n, from progress >= start on. Before the first average the weights themselves are used.

    When: with a constant or cyclic learning rate that keeps the weights moving around a wide minimum; after a schedule that has gone to zero
    there is nothing left to average. Long runs more than short ones.

    Composes: at most one averager of the weights should be active. BatchNorm statistics of the average differ from those of any weights visited, so they
    are re-estimated by default.

    Cost: one interpolation over the parameters a step, and a copy of them.

    Reference: Izmailov et al. (2018), Averaging weights leads to wider optima and better generalization.

    Args:
        start: progress (steps done over steps planned) from which weights enter the average; 1 switches it off.
        every: steps between two weights that enter.
        buffers: for BatchNorm: ``"refresh"`` re-estimates its statistics for the averaged weights, ``"copy"`` takes those of the last weights.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> swa = tp.SWA(0.5).bind()
        >>> state = swa.init({"w": torch.zeros(1)})
        >>> for progress, w in ((0.0, 7.0), (0.5, 1.0), (0.75, 4.0)):
        ...     state = swa.track(state, {"w": torch.tensor([w])}, Context(progress=torch.tensor(progress)))
        >>> swa.readout(state, {"w": torch.tensor([4.0])}, {}, None)[0]
        {'w': tensor([2.5000])}
    """

    spec: ClassVar[str] = "5 SWA / Polyak"
    reference: ClassVar[str] = "Izmailov et al. 2018"
    needs_progress: ClassVar[bool] = True

    start: Strength = strength(0.75, off=1.0, low=0.3, high=0.95, valid="[0, 1]", meaning="progress from which weights are averaged")
    every: int = option(1, valid="[1, 1000000000]", meaning="steps between two weights that enter")
    buffers: str = option("refresh", choices=("refresh", "copy"), meaning="BatchNorm statistics of the averaged weights")

    def init(self, params: Params) -> dict[str, Tensor]:
        return start(params)

    def track(self, state: State, params: Params, ctx: Context) -> dict[str, Tensor]:
        take = torch.logical_and(ctx.progress >= self.start, self.start < 1.0)
        take = torch.logical_and(take, (ctx.step + 1) % self.every == 0)
        mass = state["mass"] + take.to(state["mass"].dtype)
        share = torch.where(take, 1.0 / mass.clamp_min(1.0), torch.zeros_like(mass))
        return {"mass": mass, **{key(name): torch.lerp(state[key(name)], w, share.to(w.dtype)) for name, w in params.items()}}

    def readout(self, state: State, params: Params, buffers: Params, refresh: Callable[..., Params]) -> tuple[Params, Params]:
        return averaged(state, state["mass"] > 0, params, buffers, refresh if self.buffers == "refresh" else None)
