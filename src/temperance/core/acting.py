"""What regularizers do to gradients before a step in a loop of one's own, and to parameters after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.moment import Moment, Values
from temperance.core.program import Program
from temperance.core.stepping import Group, Step


def change_gradients(program: Program, params: Mapping[str, nn.Parameter], state: Mapping[str, Any], values: Values, moment: Moment) -> None:
    """Fold the ``grads`` sites over the gradients of these parameters, in place."""
    grads = {name: p.grad.to_dense() for name, p in params.items() if p.grad is not None}
    changed = program.change_grads(grads, {name: p.detach() for name, p in params.items()}, state, values, moment)
    for name, p in params.items():
        assert p.grad is not None
        if p.grad.layout == torch.strided:
            p.grad.copy_(changed[name])
        else:  # a sparse gradient stays one: rows that were not looked up do not move
            p.grad = changed[name].sparse_mask(p.grad.coalesce())


def act(
    program: Program,
    optimizer: torch.optim.Optimizer,
    params: Mapping[str, nn.Parameter],
    step: Step,
    names: list[str],
    state: Mapping[str, Any],
    values: Values,
    moment: Callable[[Group], Moment],
) -> None:
    """Fold the ``after_step`` sites over the parameters that a step has moved: each feels the rate of its own group."""
    metric = metric_of(optimizer, {id(params[name]): name for name in names}) if program.wants_metric() else {}
    rates: dict[tuple[float, float], list[str]] = {}
    for name in names:
        group = step.groups[name]
        rates.setdefault((float(group["lr"]), float(group.get("initial_lr", group["lr"]))), []).append(name)
    moments = [(members, replace(moment(step.groups[members[0]]), metric=metric, before=step.before)) for members in rates.values()]
    start = {name: p.detach() for name, p in params.items()}
    now = dict(start)
    for label, regularizer in program.of("after_step"):
        seen, moved, looks_at = dict(now), {name: now[name] for name in names}, regularizer.looks_at()
        for members, at in moments:
            shown = seen if looks_at == "selected" else moved if looks_at == "moved" else {name: moved[name] for name in members}
            new = program.after_step(shown, state, values, at, label)
            now.update({name: new[name] for name in members})
    for name in names:
        if now[name] is not start[name]:
            params[name].copy_(now[name])


def metric_of(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """What an optimizer of torch that divides its steps divided the last one by, in each coordinate of each parameter."""
    out: dict[str, Tensor] = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            state: dict[str, Any] = optimizer.state.get(p, {})
            if id(p) not in names:
                continue
            if "exp_avg_sq" in state:  # Adam, AdamW, NAdam
                second = state.get("max_exp_avg_sq", state["exp_avg_sq"])
                out[names[id(p)]] = (second / (1.0 - group["betas"][1] ** float(state["step"]))).sqrt() + group["eps"]
            elif "square_avg" in state and "rho" not in group:  # RMSprop; Adadelta's step has a scale of its own beside
                second = state["square_avg"] - state["grad_avg"].square() if group["centered"] else state["square_avg"]
                out[names[id(p)]] = second.sqrt() + group["eps"]
            elif "sum" in state:  # Adagrad
                out[names[id(p)]] = state["sum"].sqrt() + group["eps"]
    return out
