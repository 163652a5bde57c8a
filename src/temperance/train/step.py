"""The parts of a training step, as functions of a bound cocktail and an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.moment import Moment, step_key
from temperance.core.program import Program
from temperance.core.statistics import refresh_statistics
from temperance.train.optimizers import Optimizer


def step_moments(optimizer: Optimizer, hypers: Mapping[str, Tensor], keys: Tensor, clock: tuple[Tensor, Tensor], step: Tensor, own: Any) -> dict[str, Any]:
    """Where every slot of a group stands: the fields of :class:`Moment`, each a tensor over slots.

    Args:
        optimizer: which has a schedule.
        hypers: its numbers, ``(slots,)`` each.
        keys: of the slots.
        clock: every slot's steps of its schedules that lie before its start, and all of them.
        step: a scalar.
        own: constants of each slot's own training rows.
    """
    progress = ((step + clock[0]) / clock[1]).clamp_max(1.0)
    dtype = hypers["lr"].dtype
    factor = optimizer.factor(progress).to(dtype)
    return {
        "key": step_key(keys, step),
        "step": step.expand(keys.shape),
        "progress": progress.to(dtype),
        "lr": hypers["lr"] * factor,
        "lr_factor": factor,
        "own": own,
    }


def loss(program: Program, params: Any, buffers: Any, state: Any, values: Any, where: Any, rows: Any) -> Any:
    """One member's loss, its parts, and the buffers after the pass."""
    return program.loss(params, buffers, state, values, Moment(**where), Batch(*rows))[:3]


def clipped(program: Program, grads: Any, params: Any, state: Any, values: Any, where: Any) -> dict[str, Tensor]:
    """One member's gradients, as regularizers change them."""
    return program.change_grads(grads, params, state, values, Moment(**where))


def settle(program: Program, params: Any, fixed: Any, state: Any, values: Any, where: Any) -> Any:
    """What follows one member's optimizer: the parameters that change, and the next state of every regularizer."""
    here = Moment(**where)
    new = program.after_step(params, state, values, here) if program.has("after_step") else params
    changed = {name: value for name, value in new.items() if value is not params[name]}
    return changed, program.track(state, {**new, **fixed}, values, here) if program.has("track") else state


def shipped(program: Program, params: Any, buffers: Any, state: Any, values: Any, progress: Any, x: Any) -> Any:
    """One member's averaged parameters, with BatchNorm statistics re-estimated on these inputs."""
    return program.readout(state, params, buffers, values, progress, lambda p, b: refresh_statistics(program, p, b, x))
