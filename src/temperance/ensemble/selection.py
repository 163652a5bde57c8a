"""Greedy selection of networks to average, and what it gains on rows that it has not seen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.core.shown import shown
from temperance.ensemble.diversity import error_products, squared_error

PARTS = 5
REPLICATES = 200
FEW_REPLICATES = 50  # of a score that sorts the rows
BLOCK = 2_000_000  # numbers that are scored at a time
TIE = 1e-9  # a relative change below this is rounding, as where one network is picked again and again

Score = Callable[[Tensor, Tensor, Tensor], Tensor]
Judge = Callable[[Sequence[int], Tensor], Tensor]  # picks so far, candidates -> score of the average with each candidate, greater is better


def choose(products: Tensor, picks: int, start: int | None = None, judge: Judge | None = None) -> list[int]:
    r"""Pick networks one after another, each time the one whose inclusion makes the average best.

    A network may be picked again, which gives it more weight. With the sum s of the picked columns of E, their sum S and k picks, the average with candidate i
    has the squared error :math:`(S + 2 s_i + E_{ii}) / (k + 1)^2`, so that all candidates are weighed at once. Every pick must lower the error, and of
    those that do the one of the best score is picked: the score is what is wanted, and the error, which is smooth, keeps a search over averages from living
    off the ties and steps that accuracy has on few rows. On the rows it was selected on the average is never worse than the start in error. It may be in
    score, whose maxima are luck: the start has the best accuracy of many, and cut where the average had its best one, averages of 4 to 6 networks had 0.5
    to 1 % more log-loss on test rows, and no more accuracy, than whole ones of 7 to 11 (two tables, 24 networks each, 12 draws). Whether an average
    helps is measured on other rows, by :func:`cross_fit`.

    Args:
        products: mean products of errors ``(networks, networks)``, see :func:`temperance.ensemble.error_products`.
        picks: the most picks.
        start: the first pick; the best network if not given.
        judge: the score of averages, see :func:`judge_of`; the squared error if not given.

    Returns:
        positions in the order in which they were picked, with repeats.

    Raises:
        ConfigError: no pick at all.

    Example:
        >>> choose(torch.tensor([[1.0, -1.0, 0.9], [-1.0, 1.1, 0.9], [0.9, 0.9, 1.0]]), picks=4)
        [0, 1]

    Source: Caruana, Niculescu-Mizil, Crew & Ksikes 2004, Ensemble selection from libraries of models; that every pick must lower the error is of this project.
    """
    if picks < 1:
        raise ConfigError(expected("picks", "choose", "to be a whole number in [1, inf)", picks))
    order = list[int]()
    products = products.nan_to_num(math.inf)  # a network whose error is no number is never picked where there is another
    own = products.diagonal()
    errors, with_picked = own, torch.zeros_like(own)
    candidates = torch.arange(len(own), device=own.device) if start is None else torch.tensor([start], device=own.device)
    while len(order) < picks and len(candidates):
        found = -errors[candidates] if judge is None else judge(order, candidates)
        top = candidates[found == found.max()]
        pick = int(top[errors[top].argmin()])
        error = float(errors[pick])
        order.append(pick)
        with_picked = with_picked + products[pick]
        errors = (error * len(order) ** 2 + 2 * with_picked + own) / (len(order) + 1) ** 2
        candidates = (errors < error - TIE * abs(error)).nonzero().squeeze(1)
    return order


def judge_of(predictions: Tensor, y: Tensor, weight: Tensor, score: Score, greater: bool, deadline: float | None = None) -> Judge:
    """The score of the average of some picks and each of some candidates, greater is better; a score that is no number is the worst.

    Args:
        predictions: probabilities or values ``(networks, rows, outputs)``.
        y: targets ``(rows, outputs)``.
        weight: row weights ``(rows,)``.
        score: ``(predictions (..., n, k), y (..., n, k), weight (..., n)) -> (...)``.
        greater: whether more of the score is better.
        deadline: a ``time.monotonic()`` after which judging raises ``TimeoutError``.

    Example:
        >>> from temperance.train import metric_for
        >>> y = torch.eye(2)
        >>> p = torch.tensor([[[0.6, 0.4], [0.4, 0.6]], [[0.1, 0.9], [0.1, 0.9]]])
        >>> judge_of(p, y, torch.ones(2), metric_for("accuracy", "classification"), True)([], torch.tensor([0, 1]))
        tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    size = max(1, BLOCK // max(1, y.numel()))

    def judge(picked: Sequence[int], candidates: Tensor) -> Tensor:
        base = predictions[list(picked)].sum(0)
        found = list[Tensor]()
        for a in range(0, len(candidates), size):
            _in_time(deadline)
            some = (base + predictions[candidates[a : a + size]]) / (len(picked) + 1)
            found.append(score(some, y.expand_as(some), weight.expand(len(some), len(y))))
        scores = torch.cat(found).double()
        return (scores if greater else -scores).nan_to_num(-math.inf)

    return judge


@shown
@dataclass(frozen=True)
class CrossFit:
    """The best single network and the greedy average, each chosen on some rows and measured on others.

    Attributes:
        single: score of the single networks that were best on the other rows.
        average: score of the averages selected on the other rows.
        low: of the gain in score, 2.5 % of paired bootstrap replicates lie below.
        high: and 2.5 % above.
        single_error: squared error of the single ones.
        error: squared error of the averages.
        noise: standard error of the difference of the two.
        seen: squared error of the averages on the rows they were selected on: what the selection promises.
        rows: how many were measured on.
        better: whether to average: unless the squared error or the score is worse by a standard error of its own or more. Averages seldom are, so
            that a bar which asks for proof of a gain gives gains away.
    """

    single: float
    average: float
    low: float
    high: float
    single_error: float
    error: float
    noise: float
    seen: float
    rows: int
    better: bool

    @property
    def gain(self) -> float:
        """The average's score less the single one's, in the score's own direction."""
        return self.average - self.single


def cross_fit(
    predictions: Tensor,
    y: Tensor,
    task: str,
    score: Score,
    *,
    greater: bool,
    picks: int,
    weight: Tensor | None = None,
    parts: int = PARTS,
    seed: int = 0,
    deadline: float | None = None,
    groups: np.ndarray | None = None,
) -> CrossFit:
    """What selection gains on rows that took no part in it.

    The rows are dealt into parts. For each part, the best single network (by score) and the greedy average are chosen on the others, and both predict the part.

    Args:
        predictions: probabilities or values ``(networks, rows, outputs)``.
        y: targets ``(rows, outputs)``.
        task: decides what the squared error is.
        score: ``(predictions (..., n, k), y (..., n, k), weight (..., n)) -> (...)``.
        greater: whether more of the score is better.
        picks: the most picks of an average.
        weight: row weights ``(rows,)``.
        parts: how many; fewer where rows are few.
        seed: of the dealing and the bootstrap.
        deadline: a ``time.monotonic()`` until which it must be done.
        groups: codes ``(rows,)``; rows of a group are dealt to the same part.

    Raises:
        ConfigError: fewer than two rows.
        TimeoutError: it was not done by then.

    Example:
        >>> from temperance.train import metric_for
        >>> y = torch.eye(2).repeat(200, 1)
        >>> noise = torch.randn(6, 400, 2, generator=torch.Generator().manual_seed(0))
        >>> found = cross_fit((2 * y + 2 * noise).softmax(-1), y, "classification", metric_for("accuracy", "classification"), greater=True, picks=6)
        >>> found.better, found.error < found.single_error
        (True, True)
    """
    n = len(y)
    if n < 2:
        raise ConfigError(f"Expected at least 2 rows to cross-fit on, got {n}.")
    generator = np.random.default_rng(seed)
    part = torch.from_numpy(_dealt(n, parts, generator, groups)).to(y.device)
    weight = torch.ones(n, device=y.device) if weight is None else weight
    single, average = torch.empty_like(predictions[0]), torch.empty_like(predictions[0])
    seen: list[float] = []
    for f in part.unique().tolist():
        rest, here = part != f, part == f
        others = predictions[:, rest]
        products = error_products(others, y[rest], task, weight[rest])
        order = choose(products, picks, judge=judge_of(others, y[rest], weight[rest], score, greater, deadline))
        share = torch.bincount(torch.tensor(order), minlength=len(predictions)).double() / len(order)
        single[here], average[here] = predictions[order[0]][here], predictions[order][:, here].mean(0)
        seen.append(float(share @ products @ share))
    errors = [squared_error(p, y, task) for p in (single, average)]
    base = weight.double() / weight.double().sum()
    gained = errors[0] - errors[1]
    mean = float((base * gained).sum())
    noise = float((base.square() * (gained - mean).square()).sum().sqrt()) * math.sqrt(n / (n - 1))
    both = torch.stack([single, average])
    scores = score(both, y.expand_as(both), weight.expand(2, n)).tolist()
    low, high = _interval(single, average, y, weight, score, generator, deadline)
    spread = (high - low) / (2 * 1.96)
    ahead = (scores[1] - scores[0]) * (1 if greater else -1)
    better = mean > TIE * float((base * errors[0]).sum()) - noise and not ahead < -spread
    return CrossFit(scores[0], scores[1], low, high, float((base * errors[0]).sum()), float((base * errors[1]).sum()), noise, sum(seen) / len(seen), n, better)


def _dealt(n: int, parts: int, generator: np.random.Generator, groups: np.ndarray | None) -> np.ndarray:
    """A part for every row; one group alone is dealt row by row."""
    names, codes = (np.arange(n), np.arange(n)) if groups is None else np.unique(groups, return_inverse=True)
    if len(names) < 2:
        names = codes = np.arange(n)
    return (generator.permutation(len(names)) % min(parts, len(names)))[codes.reshape(-1)]


def _in_time(deadline: float | None) -> None:
    if deadline is not None and time.monotonic() >= deadline:
        raise TimeoutError("the time for selecting networks is over")


def _interval(
    single: Tensor, average: Tensor, y: Tensor, weight: Tensor, score: Score, generator: np.random.Generator, deadline: float | None
) -> tuple[float, float]:
    """95 % of the paired bootstrap replicates of the gain in score."""
    n = len(y)
    replicates = FEW_REPLICATES if getattr(score, "name", "") in ("auc", "average_precision") else REPLICATES
    counts = torch.from_numpy(generator.multinomial(n, np.full(n, 1.0 / n), size=replicates).astype(np.float32)).to(y.device) * weight
    size, drawn = max(1, BLOCK // max(1, y.numel())), list[Tensor]()
    for a in range(0, replicates, size):
        _in_time(deadline)
        w = counts[a : a + size]
        each = [score(p.expand(len(w), *p.shape), y.expand(len(w), *y.shape), w) for p in (single, average)]
        drawn.append(each[1] - each[0])
    gains = torch.cat(drawn).double().cpu().numpy()
    gains = gains[np.isfinite(gains)]
    return (float(np.quantile(gains, 0.025)), float(np.quantile(gains, 0.975))) if len(gains) else (math.nan, math.nan)
