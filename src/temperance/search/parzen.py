"""A Tree-structured Parzen Estimator that proposes a whole wave at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr, ndtri

Array = NDArray[np.float64]
CANDIDATES = 24  # drawn for each proposal
GOOD, FEWEST_GOOD, MOST_GOOD = 0.1, 2, 25  # share and numbers of the observations that count as good
ENOUGH = 16  # ended trials with which those that were dropped are left out: they were drawn where the good ones are, and an early score says little
MOST_OTHERS = 256  # latest others that are modelled: more change nothing but the time
FLIP = 1.0  # weight of the prior among the values of a switch


@dataclass(frozen=True, eq=False)
class Points:
    """Configurations as arrays.

    Attributes:
        on: which strengths are on, bool ``(n, strengths)``.
        values: ``(n, strengths + 1)`` in [0, 1], the place in the range on its own scale, ignored where a strength is off; last the learning rate.
        choice: ``(n,)`` int, which of the lengths.
    """

    on: NDArray[np.bool_]
    values: Array
    choice: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.on)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Points:
        index = np.asarray(rows, dtype=np.int64)
        return Points(self.on[index], self.values[index], self.choice[index])

    def with_more(self, other: Points) -> Points:
        return Points(np.concatenate([self.on, other.on]), np.concatenate([self.values, other.values]), np.concatenate([self.choice, other.choice]))


class Mixture:
    """Kernels of equal weight around points, and one over the whole range.

    A kernel is a product over all dimensions at once, so that what goes together is learned together: a truncated Gaussian a number, a smoothed
    frequency a switch. A number counts only where its strength is on; next to a kernel whose strength is off it is uniform.

    Args:
        points: the centers.
        lengths: how many lengths there are to choose from.
    """

    def __init__(self, points: Points, lengths: int) -> None:
        n, dims = points.values.shape
        wide = Points(np.zeros((1, dims - 1), bool), np.full((1, dims), 0.5), np.zeros(1, np.int64))
        self.points, self.lengths, self.n = points.with_more(wide), lengths, n
        free = 2 * (dims - 1) + 2  # switches, strengths, rate and length
        width = max(0.2 * max(n, 1) ** (-1.0 / (free + 4)), 1.0 / min(100, n + 2))
        self.widths = np.append(np.full(n, width), 1.0)
        self.kept = (1.0 + FLIP / (n + 1)) / (1.0 + 2.0 * FLIP / (n + 1))  # that a switch is as in the center
        self.same = (1.0 + FLIP / (n + 1)) / (1.0 + lengths * FLIP / (n + 1))  # likewise of the length

    def draw(self, count: int, generator: np.random.Generator) -> tuple[Points, NDArray[np.int64]]:
        """So many points, and the place of the one that each is drawn around, -1 where there is none."""
        kernel = generator.integers(self.n + 1, size=count)
        centers, prior = self.points.take(kernel), kernel == self.n
        flipped = generator.random(centers.on.shape) > np.where(prior, 0.5, self.kept)[:, None]
        on = centers.on ^ flipped
        width, share = self.widths[kernel][:, None], generator.random(centers.values.shape)
        low, high = ndtr(-centers.values / width), ndtr((1.0 - centers.values) / width)
        near = np.clip(centers.values + width * ndtri(low + share * (high - low)), 0.0, 1.0)
        known = np.column_stack([centers.on, np.ones(count, bool)]) | prior[:, None]
        other = generator.integers(self.lengths, size=count)
        stays = generator.random(count) < np.where(prior, 0.0, (self.same - 1.0 / self.lengths) / max(1.0 - 1.0 / self.lengths, 1e-12))
        return Points(on, np.where(known, near, share), np.where(stays, centers.choice, other)), np.where(prior, -1, kernel)

    def log_kernels(self, points: Points) -> Array:
        """Logarithm of every kernel's density at every point, ``(points, kernels)``."""
        center, width = self.points.values, self.widths[:, None]
        prior = np.arange(self.n + 1) == self.n
        inside = np.log(ndtr((1.0 - center) / width) - ndtr(-center / width)) + np.log(width) + 0.5 * math.log(2.0 * math.pi)
        known = np.column_stack([self.points.on, np.ones(self.n + 1, bool)]) | prior[:, None]
        asked = np.column_stack([points.on, np.ones(len(points), bool)])
        gap = (points.values[:, None, :] - center[None]) / width[None]
        out = np.where(asked[:, None, :] & known[None], -0.5 * gap * gap - inside[None], 0.0).sum(2)
        agree = (points.on[:, None, :] == self.points.on[None]).sum(2)
        switches = points.on.shape[1]
        out += np.where(prior[None], switches * math.log(0.5), agree * math.log(self.kept) + (switches - agree) * math.log1p(-self.kept))
        if self.lengths > 1:
            least = (1.0 - self.same) / (self.lengths - 1)
            alike = points.choice[:, None] == self.points.choice[None]
            out += np.where(prior[None], -math.log(self.lengths), np.where(alike, math.log(self.same), math.log(least)))
        return out

    def log_density(self, points: Points) -> Array:
        """Logarithm of the density at every point."""
        return logsumexp(self.log_kernels(points), axis=1) - math.log(self.n + 1)


def propose(
    observed: Points,
    order: Sequence[int],
    ended: int,
    failed: int,
    running: Points,
    count: int,
    lengths: int,
    generator: np.random.Generator,
    choice: int | None = None,
) -> tuple[Points, list[int]]:
    """A wave of points where good observations are dense and the others are not.

    The best tenth of those that trained to their end (2 to 25) make one mixture, all others and what still runs the other one; of 24 draws from the first
    the one with the largest ratio of densities is taken, and then counts among the others, so that a wave spreads out (constant liar).

    Args:
        observed: what was told, in order of time.
        order: places in it, best first.
        ended: how many of these, the first ones, trained to their end and were not dropped.
        failed: how many of these, the last ones, diverged.
        running: what was proposed and not told yet.
        count: points wanted.
        lengths: how many lengths there are to choose from.
        generator: of all draws.
        choice: the length that all are given, instead of their own.

    Returns:
        the wave, and for each of it the place of the observation that it is drawn around, -1 where it is drawn from the whole range.

    Source: Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011; Watanabe, "Tree-structured Parzen estimator: Understanding its
    algorithm components", 2023, for the multivariate kernels and their widths.
    """
    good = min(max(math.ceil(GOOD * ended), FEWEST_GOOD), MOST_GOOD, len(observed))
    around = sorted(order[:good])
    best = Mixture(observed.take(around), lengths)
    bad = [*order[good:ended], *order[len(order) - failed :]] if ended >= ENOUGH else order[good:]
    rest = observed.take(sorted(bad)[-MOST_OTHERS:]).with_more(running)
    others = Mixture(rest, lengths)
    drawn, kernels = best.draw(count * CANDIDATES, generator)
    if choice is not None:
        drawn = Points(drawn.on, drawn.values, np.full(len(drawn), choice, np.int64))
    wanted, shunned = best.log_density(drawn), others.log_density(drawn)
    taken: list[int] = []
    for i in range(count):
        own = slice(i * CANDIDATES, (i + 1) * CANDIDATES)
        pick = i * CANDIDATES + int(np.argmax(wanted[own] - shunned[own]))
        taken.append(pick)
        later = drawn.take(np.arange((i + 1) * CANDIDATES, len(drawn)))
        if len(later):  # one kernel more among the others
            one = _alone(others, drawn.take([pick])).log_kernels(later)[:, 0]
            n = others.n + 1 + i
            shunned[(i + 1) * CANDIDATES :] = np.logaddexp(shunned[(i + 1) * CANDIDATES :] + math.log(n / (n + 1)), one - math.log(n + 1))
    return drawn.take(taken), [around[k] if k >= 0 else -1 for k in kernels[taken]]


def _alone(others: Mixture, point: Points) -> Mixture:
    """A mixture whose first kernel is around this point, as wide as those of the others."""
    made = Mixture(point, others.lengths)
    made.widths, made.kept, made.same = np.append(others.widths[:-1][:1] if others.n else [1.0], 1.0), others.kept, others.same
    return made
