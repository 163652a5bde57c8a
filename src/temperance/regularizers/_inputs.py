"""What the regularizers that move inputs share: units, gradients with respect to floating leaves, and training on attacked rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from temperance.core.batch import Batch, map_float, map_leaves
from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Context, Objective, Params, Result

Bounds = tuple[float, float] | None


def unit_of(x: Any, ctx: Context) -> Any:
    """The unit of noise and attacks for every leaf: the standard deviation of the training inputs where it is known, else one."""
    scale = ctx.constants.get("input_scale")
    if scale is None:
        return map_leaves(lambda leaf: torch.ones((), dtype=leaf.dtype, device=leaf.device), x)
    if isinstance(x, dict) and not isinstance(scale, dict):
        scale = dict.fromkeys(x, scale)
    return map_leaves(lambda leaf, one: torch.as_tensor(one, dtype=leaf.dtype, device=leaf.device), x, scale)


def frozen(params: Mapping[str, Tensor]) -> Params:
    """The same parameters as constants."""
    return {name: w.detach() for name, w in params.items()}


def gradient(loss: Callable[[Any], Tensor], x: Any) -> Any:
    """The gradient of ``loss(x)`` with respect to the floating leaves, detached; other leaves are returned as they are."""
    if not isinstance(x, dict):
        return torch.func.grad(loss)(x).detach() if x.is_floating_point() else x
    moving = {name: leaf for name, leaf in x.items() if leaf.is_floating_point()}
    if not moving:
        return x
    slopes = torch.func.grad(lambda part: loss({**x, **part}))(moving)
    return {**x, **{name: slope.detach() for name, slope in slopes.items()}}


def attack(batch: Batch, params: Params, radius: Any, start: Any, stride: float, steps: int, bounds: Bounds, ctx: Context) -> Any:
    """Inputs that raise the data loss: ``steps`` signed gradient steps of ``stride`` radii, inside the box of that radius around the inputs.

    The network is at evaluation statistics with its masks off, the parameters are constants, and the result is one too.
    """
    still, centre = frozen(params), map_leaves(Tensor.detach, batch.x)

    def loss(x: Any) -> Tensor:
        return ctx.criterion(ctx.forward(still, x, "eval")[0], batch)

    def inside(leaf: Tensor, middle: Tensor, r: Tensor) -> Tensor:
        leaf = torch.minimum(torch.maximum(leaf, middle - r), middle + r)
        return leaf if bounds is None else leaf.clamp(*bounds)

    x = centre if start is None else map_float(lambda leaf, r, u: inside(leaf + r * u, leaf, r), centre, radius, start)
    for _ in range(steps):
        x = map_float(lambda leaf, g, middle, r: inside(leaf + stride * r * g.sign(), middle, r), x, gradient(loss, x), centre, radius)
    return x


def clean_and_attacked(label: str, objective: Objective, params: Params, batch: Batch, moved: Any, share: Tensor, on: Tensor) -> Result:
    """(1 - share) · the loss on the rows as they are + share · the loss on the moved ones; only the former when off.

    Buffers, taps and report are those of the clean pass; the difference that the attack makes is reported under ``label``.
    """
    total, report, buffers, taps = objective(params, batch)
    moved = map_float(lambda leaf, other: torch.where(on, other, leaf), batch.x, moved)
    worse = objective(params, batch._replace(x=moved))[0]
    extra = torch.where(on, share * (worse - total), torch.zeros_like(total))
    return total + extra, {**report, label: extra}, buffers, taps


def checked_bounds(bounds: Any, owner: str) -> Bounds:
    """Bounds as a pair of floats, or None."""
    if bounds is None:
        return None
    try:
        low, high = (float(end) for end in bounds)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        allowed = "to be None or two numbers (low, high) with low < high"
        raise ConfigError(expected("bounds", owner, allowed, bounds, "For images in [0, 1] use bounds=(0.0, 1.0)."))
    return low, high
