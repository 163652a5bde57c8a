"""What the regularizers that move inputs share: units, gradients with respect to floating leaves, and training on attacked rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from temperance.core.batch import Batch, leaves_of, map_float, map_leaves, per_row
from temperance.core.criterion import Heads, Opaque
from temperance.core.errors import ConfigError, expected
from temperance.core.random import Rng
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


def lengths(tree: Any) -> Tensor:
    """Euclidean lengths ``(rows,)`` over all floating leaves, of which there must be one."""
    floats = [leaf.flatten(1) if leaf.dim() > 1 else leaf.unsqueeze(1) for leaf in leaves_of(tree) if leaf.is_floating_point()]
    return torch.stack([leaf.square().sum(1) for leaf in floats]).sum(0).sqrt()


def normalized(tree: Any) -> Any:
    """Every row of Euclidean length one over all floating leaves; rows of zeros stay."""
    sizes = [_size(leaf) for leaf in leaves_of(tree) if leaf.is_floating_point()]
    if not sizes:
        return tree
    top = torch.stack(sizes).amax(0)
    top = torch.where(top > 0, top, torch.ones_like(top))
    tree = map_float(lambda leaf: leaf / per_row(top, leaf), tree)  # so that squares of small slopes do not vanish
    length = lengths(tree)
    length = torch.where(length > 0, length, torch.ones_like(length))
    return map_float(lambda leaf: leaf / per_row(length, leaf), tree)


def _size(leaf: Tensor) -> Tensor:
    """The largest entry of every row in size; zero where a row has none."""
    flat = leaf.flatten(1) if leaf.dim() > 1 else leaf.unsqueeze(1)
    return flat.abs().amax(1) if flat.shape[1] else leaf.new_zeros(leaf.shape[0])


def inside(x: Any, centre: Any, radius: Any, norm: str, bounds: Bounds) -> Any:
    """Rows put back into the box or the ball around ``centre``, and cut off at the bounds.

    The ball of a row is that of ‖(x - centre) / radius‖₂ <= 1 over all of its numbers; where a radius is zero nothing moves.
    """
    if norm == "l2":
        x = _into_ball(x, centre, radius)
    else:
        x = map_float(lambda leaf, middle, r: torch.minimum(torch.maximum(leaf, middle - r), middle + r), x, centre, radius)
    return x if bounds is None else map_float(lambda leaf: leaf.clamp(*bounds), x)


def _into_ball(x: Any, centre: Any, radius: Any) -> Any:
    if not any(leaf.is_floating_point() for leaf in leaves_of(x)):
        return x
    beyond = lengths(map_float(lambda leaf, middle, r: torch.where(r > 0, (leaf - middle) / torch.where(r > 0, r, torch.ones_like(r)), 0.0), x, centre, radius))
    shrink = 1.0 / beyond.clamp_min(1.0)
    return map_float(lambda leaf, middle, r: middle + torch.where(r > 0, leaf - middle, 0.0) * per_row(shrink, leaf), x, centre, radius)


def climb(x: Any, slopes: Any, centre: Any, radius: Any, stride: float, norm: str, bounds: Bounds) -> Any:
    """One step of ``stride`` radii uphill: by the signs of the slopes, or for ``"l2"`` a row's whole step of that length; then back inside."""
    if norm == "l2":
        ways = normalized(map_float(lambda g, r: r * g, slopes, radius))
    else:
        ways = map_float(torch.sign, slopes)
    return inside(map_float(lambda leaf, way, r: leaf + stride * r * way, x, ways, radius), centre, radius, norm, bounds)


def random_start(rng: Rng, centre: Any, radius: Any, norm: str, bounds: Bounds) -> Any:
    """A random point around every row: uniform in the box; in the ball a random direction with a length uniform in [0, 1]."""
    floats = [leaf for leaf in leaves_of(centre) if leaf.is_floating_point()]
    if not floats:
        return centre
    if norm == "l2":
        ways = normalized(map_float(lambda leaf: rng.normal(tuple(leaf.shape), leaf.dtype), centre))
        far = rng.uniform((floats[0].shape[0],), floats[0].dtype)
        ways = map_float(lambda way: way * per_row(far, way), ways)
    else:
        ways = map_float(lambda leaf: 2.0 * rng.uniform(tuple(leaf.shape), leaf.dtype) - 1.0, centre)
    return inside(map_float(lambda leaf, way, r: leaf + r * way, centre, ways, radius), centre, radius, norm, bounds)


@dataclass(frozen=True)
class Attack:
    """How rows are moved while a network trains.

    Attributes:
        owner: the regularizer, for messages.
        norm: ``"linf"``, a box around the row, or ``"l2"``, a ball.
        bounds: lowest and highest legal input.
        mode: ``"eval"`` for the statistics of evaluation, ``"train"`` for those of the minibatch; masks are off in both.
        steps: gradient steps.
        stride: length of a step in radii.
        restarts: random starts, of which the worst counts for each row; zero to start at the row itself.
    """

    owner: str
    norm: str
    bounds: Bounds
    mode: str
    steps: int = 1
    stride: float = 1.0
    restarts: int = 0

    def __call__(self, batch: Batch, params: Params, eps: Tensor, ctx: Context) -> Any:
        """Inputs that raise the data loss. The parameters are constants here, and the result is one too."""
        still, centre = frozen(params), map_leaves(Tensor.detach, batch.x)
        unit = unit_of(batch.x, ctx) if self.bounds is None else unit_of(batch.x, Context())
        radius = map_float(lambda leaf, one: eps.to(leaf.dtype) * one, centre, unit)
        mode = "clean" if self.mode == "train" else "eval"

        def outputs(x: Any) -> Any:
            return ctx.forward(still, x, mode)[0]

        def climbed(x: Any) -> Any:
            for _ in range(self.steps):
                slopes = gradient(lambda at: ctx.criterion(outputs(at), batch), x)
                x = climb(x, slopes, centre, radius, self.stride, self.norm, self.bounds)
            return x

        if not self.restarts:
            return climbed(centre)
        worst = climbed(random_start(ctx.rng, centre, radius, self.norm, self.bounds))
        if self.restarts == 1:
            return worst
        height = self._heights(outputs(worst), batch, ctx)
        for _ in range(self.restarts - 1):
            x = climbed(random_start(ctx.rng, centre, radius, self.norm, self.bounds))
            other = self._heights(outputs(x), batch, ctx)
            worse = other > height
            worst = map_float(lambda old, new, worse=worse: torch.where(per_row(worse, old), new, old), worst, x)
            height = torch.where(worse, other, height)
        return worst

    def _heights(self, out: Any, batch: Batch, ctx: Context) -> Tensor:
        """What each row adds to the loss, but for its weight."""
        criterion = ctx.criterion
        if isinstance(criterion, Opaque):
            allowed = "to be 1 where the loss is a function of your own, which gives one number for all rows"
            raise ConfigError(expected("restarts", self.owner, allowed, self.restarts, "Use restarts=1, or one of the losses of temperance."))
        if isinstance(criterion, Heads):
            heads = [(scale, c, out[name], batch.y[name], batch.labeled[name]) for name, c, scale in criterion.heads]
        else:
            heads = [(1.0, criterion, out, batch.y, batch.labeled)]
        parts: list[Tensor] = []
        for scale, c, z, y, labeled in heads:
            losses = c.per_row(z, y)
            known = torch.where(labeled, losses, torch.zeros_like(losses))
            parts.append(scale * known / labeled.to(losses.dtype).sum().clamp_min(1.0))
        return torch.stack(parts).sum(0).detach()


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


def checked_stride(step: Any, owner: str) -> float | None:
    """The length of a step as a float, or None."""
    if step is None:
        return None
    if isinstance(step, bool) or not isinstance(step, (int, float)) or not (0.0 < step < math.inf):
        allowed = "to be None or a number in (0, inf)"
        raise ConfigError(expected("step_size", owner, allowed, step, "It counts in eps: 0.25 moves a row by a quarter of it in every step."))
    return float(step)
