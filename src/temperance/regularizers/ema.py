"""EMA: an exponential average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.strength import Strength, option, strength

State = Mapping[str, Tensor]


@register
class EMA(Regularizer):
    """Evaluates and ships a running average of the weights in place of the last ones.

    What: training goes on as before; beside it an average of all parameters is kept, in which recent steps count more.

    Formula: a_t = decay · a_{t-1} + (1 - decay) · w_t, divided by 1 - decay^t, so that early averages are not drawn to the start. It is computed as
    a <- a + k (w - a), k = (1 - decay) / (1 - decay^t), which needs no division at the end.

    When: nearly always harmless, and useful with a constant or large learning rate, small minibatches and noisy labels. A decay whose
    memory 1 / (1 - decay) is longer than the run averages over bad early weights.

    Composes: at most one averager of the weights should be active. Early stopping should judge the average; exact zeros of L1 survive in it only where
    a weight stayed at zero.

    Cost: one interpolation over the parameters a step, and a copy of them.

    Reference: Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging; Tarvainen & Valpola (2017) for networks.

    Args:
        decay: share of the old average that is kept a step.
        buffers: for BatchNorm: ``"refresh"`` re-estimates its statistics for the averaged weights, ``"copy"`` takes those of the last weights.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> ema = tp.EMA(0.5).bind()
        >>> state = ema.init({"w": torch.zeros(1)})
        >>> for w in (1.0, 4.0):
        ...     state = ema.track(state, {"w": torch.tensor([w])}, Context())
        >>> ema.readout(state, {"w": torch.tensor([4.0])}, {}, None)[0]
        {'w': tensor([3.])}
    """

    spec: ClassVar[str] = "5 EMA"
    reference: ClassVar[str] = "Polyak & Juditsky 1992; Tarvainen & Valpola 2017"

    decay: Strength = strength(0.99, off=0.0, low=0.8, high=0.999, valid="[0, 1)", meaning="share of the old average kept a step")
    buffers: str = option("refresh", choices=("refresh", "copy"), meaning="BatchNorm statistics of the averaged weights")

    def init(self, params: Params) -> dict[str, Tensor]:
        return start(params)

    def track(self, state: State, params: Params, ctx: Context) -> dict[str, Tensor]:
        mass = self.decay * state["mass"] + (1.0 - self.decay)
        return {"mass": mass, **{key(name): torch.lerp(state[key(name)], w, ((1.0 - self.decay) / mass).to(w.dtype)) for name, w in params.items()}}

    def readout(self, state: State, params: Params, buffers: Params, refresh: Callable[..., Params]) -> tuple[Params, Params]:
        return averaged(state, torch.logical_and(self.decay > 0, state["mass"] > 0), params, buffers, refresh if self.buffers == "refresh" else None)


def key(name: str) -> str:
    """Where the state holds the average of a parameter."""
    return f"average:{name}"


def start(params: Params) -> dict[str, Tensor]:
    """The state before anything is averaged: mass zero."""
    mass = next(iter(params.values())).detach().new_zeros(())
    return {"mass": mass, **{key(name): w.detach().clone() for name, w in params.items()}}


def averaged(state: State, on: Tensor, params: Params, buffers: Params, refresh: Callable[..., Params] | None) -> tuple[Params, Params]:
    """The averages and their buffers where on, else everything as it was."""
    chosen = {name: torch.where(on, state[key(name)], w) for name, w in params.items()}
    if refresh is None or not buffers:
        return chosen, buffers
    fresh = refresh(chosen, buffers)
    return chosen, {name: torch.where(on, fresh[name], b) for name, b in buffers.items()}
