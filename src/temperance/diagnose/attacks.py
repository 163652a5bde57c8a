"""Attacks on the inputs of a network, and what a wrong answer costs: the parts of :func:`temperance.diagnose.robustness.robustness`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from temperance.core.batch import leaves_of, map_float, map_leaves
from temperance.core.criterion import Criterion
from temperance.core.random import Rng, fold, key_of, stream_of
from temperance.data import Dataset
from temperance.regularizers._inputs import Bounds, climb, inside, normalized, random_start

NOISE = "noise"
"""The name of random noise among the attacks."""
DRAWS = 10
STRIDE = 2.5
"""Length of all steps of an attack together, in eps: enough to cross the ball and to go along its surface."""
_Z = 1.959963984540054


@dataclass(frozen=True)
class Score:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Plain values for JSON, None where there is no finite number."""
        return {key: value if math.isfinite(value) else None for key, value in (("value", self.value), ("low", self.low), ("high", self.high))}


class Harm:
    """What a wrong answer costs, a number per row, and what an attack drives up where the loss is not it."""

    metric = "accuracy"
    most = 1.0
    """A row at this harm need not be attacked further."""
    signs: tuple[float, ...] = (1.0,)

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def margin(self, out: Tensor, y: Tensor, sign: float) -> Tensor:
        raise NotImplementedError

    def score(self, harm: np.ndarray) -> Score:
        raise NotImplementedError


class Classes(Harm):
    """One where another class has the highest score."""

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        return (out.argmax(1) != y.argmax(1)).double()

    def margin(self, out: Tensor, y: Tensor, sign: float) -> Tensor:
        true = y.argmax(1, keepdim=True)
        return out.scatter(1, true, -math.inf).amax(1) - out.gather(1, true).squeeze(1)

    def score(self, harm: np.ndarray) -> Score:
        return wilson(len(harm) - float(harm.sum()), len(harm))


class Labels(Harm):
    """The share of labels that are on the wrong side."""

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        return ((out > 0) != (y > 0.5)).double().mean(1)

    def margin(self, out: Tensor, y: Tensor, sign: float) -> Tensor:
        return (out * (1.0 - 2.0 * y)).clamp_max(0.0).sum(1)  # only labels that are still right

    def score(self, harm: np.ndarray) -> Score:
        middle, half = 1.0 - float(harm.mean()), _Z * _error(harm)
        return Score(middle, max(middle - half, 0.0), min(middle + half, 1.0))


class Values(Harm):
    """The squared error in units of the target."""

    metric = "rmse"
    most = math.inf
    signs = (1.0, -1.0)

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        return (out.double() - y.double()).square().mean(1) * self.scale**2

    def margin(self, out: Tensor, y: Tensor, sign: float) -> Tensor:
        return sign * (out - y).sum(1)

    def score(self, harm: np.ndarray) -> Score:
        middle, half = float(harm.mean()), _Z * _error(harm)
        return Score(math.sqrt(middle), math.sqrt(max(middle - half, 0.0)) if math.isfinite(half) else math.nan, math.sqrt(middle + half))


def _error(values: np.ndarray) -> float:
    if len(values) < 2:
        return 0.0
    with np.errstate(invalid="ignore"):  # where an output was infinite
        return float(values.std(ddof=1)) / math.sqrt(len(values))


def wilson(right: float, n: int) -> Score:
    """A share with its 95 % interval after Wilson (1927), which stays within [0, 1].

    Example:
        >>> wilson(10, 10)
        Score(value=1.0, low=0.7224672001371107, high=1.0)
    """
    share, square = right / n, _Z * _Z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _Z * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return Score(share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share))


# The attacks


class _RowRng(Rng):
    """One key per row: what a row draws does not depend on the rows beside it."""

    def uniform(self, shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        return super().uniform(shape[1:], dtype)

    def normal(self, shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        return super().normal(shape[1:], dtype)


@dataclass
class Room:
    """Attacks on one network; ``flat`` counts rows that are right and whose slope is zero, of how many."""

    net: Callable[[Any], Tensor]
    harm: Harm
    criterion: Criterion
    norm: str
    bounds: Bounds
    steps: int
    restarts: int
    seed: int
    flat: list[int] = field(default_factory=lambda: [0, 0])

    def measure(self, rows: Dataset, unit: Any, sizes: tuple[float, ...], attacks: tuple[str, ...], batch_size: int) -> dict[str, np.ndarray]:
        """Harm ``(sizes, rows)`` by attack, by ``"noise"``, and of the rows as they are by the empty name."""
        n, names = len(rows), (*attacks, NOISE)
        found = {name: np.zeros((len(sizes), n)) for name in names}
        found[""] = np.zeros((1, n))
        for a in range(0, n, batch_size):
            part = slice(a, min(a + batch_size, n))
            x = map_leaves(lambda leaf, part=part: leaf[part], rows.x)
            y = leaves_of(rows.y)[0][part]
            units = map_leaves(lambda one, leaf, part=part: one[part] if one.dim() == leaf.dim() and len(one) == n else one, unit, rows.x)
            keys = fold(key_of(self.seed).to(y.device), torch.arange(part.start, part.stop, device=y.device))
            with torch.no_grad():
                clean = self._harm(self.net(x), y)
            found[""][0, part] = clean.cpu().numpy()
            for k, size in enumerate(sizes):
                radius = map_float(lambda leaf, one, size=size: (size * one).expand(leaf.shape), x, units)
                for name in names:
                    stream = stream_of("robustness", name, k)
                    hurt = self._noise(x, y, radius, clean, keys, stream) if name == NOISE else self._attacked(name, x, y, radius, clean, keys, stream)
                    found[name][k, part] = hurt.cpu().numpy()
        return found

    def _harm(self, out: Tensor, y: Tensor) -> Tensor:
        """Also where the network returns no number: that is as bad as can be."""
        broken = ~torch.isfinite(out).all(1)
        return torch.where(broken, torch.full_like(out[:, 0], self.harm.most).double(), self.harm(out, y))

    def _noise(self, x: Any, y: Tensor, radius: Any, clean: Tensor, keys: Tensor, stream: int) -> Tensor:
        """The worst of a few random points as far away as is allowed."""
        rng, worst = _RowRng(keys, stream), clean
        for _ in range(DRAWS):
            if self.norm == "l2":
                ways = normalized(map_float(lambda leaf: rng.normal(tuple(leaf.shape), leaf.dtype), x))
            else:
                ways = map_float(lambda leaf: torch.sign(rng.uniform(tuple(leaf.shape), leaf.dtype) - 0.5), x)
            moved = inside(map_float(lambda leaf, way, r: leaf + r * way, x, ways, radius), x, radius, self.norm, self.bounds)
            with torch.no_grad():
                worst = torch.maximum(worst, self._harm(self.net(moved), y))
        return worst

    def _attacked(self, name: str, x: Any, y: Tensor, radius: Any, clean: Tensor, keys: Tensor, stream: int) -> Tensor:
        worst = clean.clone()
        once = name == "fgsm"
        for restart in range(1 if once else self.restarts):
            for sign in self.harm.signs if name == "margin" else (1.0,):
                left = torch.nonzero(worst < self.harm.most).squeeze(1)
                if not len(left):
                    return worst
                here, room = (map_leaves(lambda leaf, left=left: leaf[left], tree) for tree in (x, radius))
                start = here if not restart else random_start(_RowRng(keys[left], stream_of(stream, restart, sign)), here, room, self.norm, self.bounds)
                self._climb(name, sign, left, start, here, y[left], room, worst, 1 if once else self.steps, 1.0 if once else STRIDE / self.steps)
        return worst

    def _climb(self, name: str, sign: float, rows: Tensor, x: Any, centre: Any, y: Tensor, radius: Any, worst: Tensor, steps: int, stride: float) -> None:
        """Raises ``worst`` at ``rows`` to the most harm on the way; rows that cannot be hurt more are left behind."""
        for step in range(steps + 1):
            out, slopes = self._slopes(name, sign, x, y) if step < steps else (self._plain(x), None)
            hurt = torch.maximum(worst[rows], self._harm(out, y))
            worst[rows] = hurt
            if slopes is None:
                return
            if name == "fgsm":
                self._count_flat(slopes, radius)
            x = climb(x, slopes, centre, radius, stride, self.norm, self.bounds)
            keep = torch.nonzero(hurt < self.harm.most).squeeze(1)
            if not len(keep):
                return
            if len(keep) < len(rows):
                rows, y = rows[keep], y[keep]
                x, centre, radius = (map_leaves(lambda leaf, keep=keep: leaf[keep], tree) for tree in (x, centre, radius))

    def _plain(self, x: Any) -> Tensor:
        with torch.no_grad():
            return self.net(x)

    def _slopes(self, name: str, sign: float, x: Any, y: Tensor) -> tuple[Tensor, Any]:
        """The outputs, and the gradient with respect to the inputs of what the attack drives up."""
        leaves = map_float(lambda leaf: leaf.detach().requires_grad_(), x)
        moving = [leaf for leaf in leaves_of(leaves) if leaf.requires_grad]
        with torch.enable_grad():
            out = self.net(leaves)
            height = (self.harm.margin(out, y, sign) if name == "margin" else self.criterion.per_row(out, y)).sum()
        found = torch.autograd.grad(height, moving, allow_unused=True) if height.requires_grad else [None] * len(moving)
        given = iter(found)

        def slope(leaf: Tensor) -> Tensor:
            g = next(given)
            return torch.zeros_like(leaf) if g is None else torch.nan_to_num(g)

        return out.detach(), map_float(slope, x)

    def _count_flat(self, slopes: Any, radius: Any) -> None:
        """Rows that could move, and whose slope is zero in every number that could."""
        able = [(r.flatten(1) if r.dim() > 1 else r.unsqueeze(1)) > 0 for r in leaves_of(radius) if r.is_floating_point()]
        steep = [(g.flatten(1) if g.dim() > 1 else g.unsqueeze(1)) != 0 for g in leaves_of(slopes) if g.is_floating_point()]
        movable = torch.stack([a.any(1) for a in able]).any(0)
        moved = torch.stack([(a & g).any(1) for a, g in zip(able, steep, strict=True)]).any(0)
        self.flat[0] += int((movable & ~moved).sum())
        self.flat[1] += int(movable.sum())
