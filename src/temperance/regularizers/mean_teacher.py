"""MeanTeacher: agree with the average of one's own past."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, map_leaves
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._inputs import frozen
from temperance.regularizers._predictions import disagreement, heads_of
from temperance.regularizers.ema import State, averaged, key, start


@register
class MeanTeacher(Regularizer):
    """Asks the network to agree with a running average of its own weights, for rows with and without a target.

    What: the teacher is the same network with an exponential average of all past weights; it is right a little more often than the student, so its
    predictions are worth imitating where no target is known.

    Formula: J + lam · mean over all rows and outputs of (p(x; w, m₁) - p(x; a, m₂))², with p probabilities (for regression the values themselves), w
    the weights, a their average a_t = decay · a_{t-1} + (1 - decay) · w_t divided by 1 - decay^t, and m₁, m₂ independent masks, m₁ being that of the
    data loss. The teacher's prediction is a constant. Both use the statistics of the minibatch.

    When: few labels and many rows without; noisy labels. Weights of rows do not count. lam should grow from zero while the teacher is still wrong:
    ``MeanTeacher(tp.schedules.WarmUp(10.0, fraction=0.3))``. A memory 1 / (1 - decay) longer than the run keeps a bad teacher.

    Composes: beside EMA or SWA if it ships the student; with ``ships="teacher"`` it is itself the one average of the cocktail. What changes the minibatch
    (InputNoise, image augmentation, MixUp) is done once and seen by both.

    Cost: two more forward passes, one more backward pass, one interpolation over the parameters and a copy of them.

    Reference: Tarvainen & Valpola (2017), Mean teachers are better role models.

    Args:
        lam: weight of the squared difference.
        decay: share of the old average that is kept a step; at 0 the teacher is the network itself with other masks.
        ships: which of the two is evaluated and shipped, ``"student"`` or ``"teacher"`` (with re-estimated BatchNorm statistics).

    Example:
        >>> import temperance as tp
        >>> tp.MeanTeacher(tp.schedules.WarmUp(10.0, fraction=0.3), decay=0.99)
        MeanTeacher(lam=WarmUp(value=10.0, fraction=0.3), decay=0.99)
    """

    spec: ClassVar[str] = "3 semi-supervised"
    reference: ClassVar[str] = "Tarvainen & Valpola 2017"

    lam: Strength = strength(1.0, off=0.0, low=0.1, high=100.0, log=True, meaning="weight of the squared difference")
    decay: Strength = strength(0.99, off=0.0, low=0.9, high=0.999, valid="[0, 1)", meaning="share of the old average kept a step")
    ships: str = option("student", choices=("student", "teacher"), meaning="which of the two is evaluated and shipped")

    def is_off(self) -> bool:
        return self.peak("lam") == 0.0

    def wants(self, site: str) -> bool:
        return site != "readout" or self.ships == "teacher"

    def drives(self, site: str) -> tuple[str, ...]:
        return ("lam",)

    def init(self, params: Params) -> dict[str, Tensor]:
        return start(params)

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        heads_of(ctx.criterion, type(self).__name__)
        total, report, buffers, taps = objective(params, batch)
        x = map_leaves(Tensor.detach, batch.x)
        teacher = frozen({name: ctx.state.get(key(name), w) for name, w in params.items()})
        told = map_leaves(Tensor.detach, ctx.forward(teacher, x, "train", 1)[0])
        apart = disagreement(ctx.criterion, told, ctx.forward(params, x, "train")[0], type(self).__name__)
        extra = torch.where(self.lam > 0, self.lam * apart, torch.zeros_like(total))
        return total + extra, {**report, self.label: extra}, buffers, taps

    def track(self, state: State, params: Params, ctx: Context) -> dict[str, Tensor]:
        mass = self.decay * state["mass"] + (1.0 - self.decay)
        return {"mass": mass, **{key(name): torch.lerp(state[key(name)], w, ((1.0 - self.decay) / mass).to(w.dtype)) for name, w in params.items()}}

    def readout(self, state: State, params: Params, buffers: Params, refresh: Callable[..., Params]) -> tuple[Params, Params]:
        return averaged(state, torch.logical_and(self.lam > 0, state["mass"] > 0), params, buffers, refresh)
