"""Whether several configurations ship instead of the winner alone, and what their average is worth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from temperance.core.criterion import Criterion
from temperance.core.shown import shown
from temperance.data.dataset import Dataset
from temperance.ensemble import CrossFit, choose, cross_fit, diversity, error_products, judge_of, squared_error
from temperance.search.pool import Pool, predict_each
from temperance.search.race import Trial
from temperance.search.refit import Refit
from temperance.train.metrics import Metric

MOST_SHIPPED = 24  # networks: more gain little and predict more slowly
SURELY = 1.2  # times the seconds of a round that a further one must find: a training that is cut short is worth nothing


@shown
@dataclass(eq=False)
class Selected:
    """What greedy selection found in a pool.

    Attributes:
        pool: what it chose from.
        picks: the trials in the order in which they were picked, with repeats; the winner first.
        checked: what such a selection gains on rows that took no part in it.
        products: mean products of errors of the picked configurations, in the order of ``trials``.
        trials: the picked configurations, each once.
    """

    pool: Pool
    picks: list[Trial]
    checked: CrossFit
    products: Tensor
    trials: list[Trial]

    @property
    def better(self) -> bool:
        """Whether several configurations are better than the winner alone on rows that took no part in choosing them."""
        return len(self.trials) > 1 and self.checked.better


def select(
    pool: Pool, winner: Trial, metric: Metric, task: str, *, most: int, seed: int, deadline: float | None = None, groups: np.ndarray | None = None
) -> Selected:
    """Pick greedily from a pool, beginning with the winner.

    Args:
        pool: with the winner in it.
        winner: the first pick.
        metric: what decides.
        task: decides what the squared error is.
        most: picks at most.
        seed: of the cross-fitting.
        deadline: a ``time.monotonic()`` until which it must be done.
        groups: codes of all rows; the cross-fitting keeps rows of a group together.

    Raises:
        TimeoutError: it was not.
    """
    held, greater = pool.held, metric.greater_is_better
    assert isinstance(held.y, Tensor)
    order, products = greedy(pool, winner, metric, task, most, deadline)
    own = None if groups is None else groups[pool.places.numpy()]
    checked = cross_fit(pool.predictions, held.y, task, metric, greater=greater, picks=most, weight=held.weight, seed=seed, deadline=deadline, groups=own)
    once = list(dict.fromkeys(order))
    return Selected(pool, [pool.trials[i] for i in order], checked, products[once][:, once], [pool.trials[i] for i in once])


def greedy(pool: Pool, winner: Trial, metric: Metric, task: str, most: int, deadline: float | None = None) -> tuple[list[int], Tensor]:
    """Which trials of a pool are picked, by their place in it and with repeats, the winner first; and the mean products of all errors.

    Raises:
        TimeoutError: it was not done by the deadline.
    """
    held = pool.held
    assert isinstance(held.y, Tensor)
    products = error_products(pool.predictions, held.y, task, held.weight)
    rows = torch.ones(len(held), device=held.y.device) if held.weight is None else held.weight
    judge = judge_of(pool.predictions, held.y, rows, metric, metric.greater_is_better, deadline)
    return choose(products, most, pool.trials.index(winner), judge), products


def describe(
    made: Refit, scored: Refit, winner: Trial, selected: Selected | None, held: Dataset | None, metric: Metric, criterion: Criterion, task: Any
) -> dict[str, Any]:
    """The average that ships, as plain values: its members, its gain, its ``v`` and ``c``, what they predict and what was measured.

    Args:
        made: the networks that ship.
        scored: the networks that are measured on the test rows, which they have not seen.
        winner: the best trial.
        selected: what greedy selection found, if it ran.
        held: the test rows.
        metric: what decides.
        criterion: turns outputs into probabilities or values.
        task: decides what the squared error is; of several heads (a dict) none is measured.

    Returns:
        ``score`` holds values of the deciding metric, ``error`` squared errors (of standardized values).
    """
    numbers = [config.number for config in made.configs]
    score: dict[str, Any] = {}
    error: dict[str, Any] = {"v": None, "c": None, "networks": None}
    out: dict[str, Any] = {
        **_sizes(made),
        "trained": made.how,
        "scored": _sizes(scored),
        "members": [_member(made, number, winner) for number in dict.fromkeys(numbers)],
        "score": score,
        "error": error,
    }
    if selected is not None:
        checked = selected.checked
        out["selection"] = {
            "pool": len(selected.pool.trials),
            "rows": checked.rows,
            "picks": len(selected.picks),
            "configurations": len(selected.trials),
            "better": selected.better,
        }
        score["validation"] = {"single": checked.single, "average": checked.average, "gain": checked.gain, "low": checked.low, "high": checked.high}
        error["validation"] = {"single": checked.single_error, "average": checked.error, "noise": checked.noise, "seen": checked.seen}
        if out["configurations"] > 1:
            error.update(_predicted(scored, selected, [config.number for config in scored.configs]))
    if held is not None and len(scored.networks) > 1 and isinstance(task, str):
        score["test"], error["test"] = _measured(scored, winner, held, metric, criterion, task)
    return out


def _sizes(made: Refit) -> dict[str, Any]:
    """What kind of an average it is, of how many networks and configurations."""
    configurations = len({config.number for config in made.configs})
    kind = "one" if len(made.networks) == 1 else "greedy" if configurations > 1 else "seeds" if made.how != "none" else "folds"
    return {"kind": kind, "networks": len(made.networks), "configurations": configurations}


def _predicted(made: Refit, selected: Selected, numbers: list[int]) -> dict[str, Any]:
    """``v`` and ``c`` of the configurations, as the search trained them, and the squared error they predict."""
    places = [i for i, t in enumerate(selected.trials) if t.config.number in numbers]
    products = selected.products[places][:, places]
    found = diversity(products)
    weights = _weights(made)
    own = [[k for k, number in enumerate(numbers) if number == selected.trials[i].config.number] for i in places]
    share = torch.stack([weights[each].sum() for each in own])
    share = share / share.sum()
    m = len(places) if made.how == "none" else len(made.networks)
    weighted = float(share @ products @ share)
    larger = {str(k): found.at(k) for k in (2 * m, 4 * m)}
    return {"v": found.v, "c": found.c, "networks": found.networks, "members": m, "predicted": found.at(m), "weighted": weighted, "larger": larger}


def _member(made: Refit, number: int, winner: Trial) -> dict[str, Any]:
    config = next(c for c in made.configs if c.number == number)
    own = [i for i, c in enumerate(made.configs) if c.number == number]
    weights = _weights(made)
    return {
        "trial": number,
        "winner": number == winner.config.number,
        "plan": config.plan.name,
        "networks": len(own),
        "weight": float(weights[own].sum()),
        "regularizers": [type(r).__name__ for r in config.cocktail if not r.is_off()],
        "learning_rate": config.lr,
    }


def _weights(made: Refit) -> Tensor:
    given = getattr(made.model, "weights", None) if len(made.networks) > 1 else None
    return given.detach().double().cpu() if isinstance(given, Tensor) else torch.ones(1, dtype=torch.float64)


def _measured(made: Refit, winner: Trial, held: Dataset, metric: Metric, criterion: Criterion, task: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scores and squared errors on test rows: of the winner alone, of the average, and of the first few networks (or configurations) averaged."""
    assert isinstance(held.y, Tensor)
    each, weights = _points(made, predict_each(made.networks, criterion, held.x))
    running = (weights[:, None, None] * each).cumsum(0) / weights.cumsum(0)[:, None, None]
    rows = torch.ones(len(held)) if held.weight is None else held.weight
    base = rows.double() / rows.double().sum()
    numbers = _numbers(made)
    alone = [i for i, number in enumerate(numbers) if number == winner.config.number] or [0]
    scores = metric(torch.cat([each[alone], running[-1:]]), held.y.expand(len(alone) + 1, *held.y.shape), rows.expand(len(alone) + 1, len(rows)))
    path = [float((base * squared_error(p, held.y, task)).sum()) for p in running]
    found = diversity(error_products(each, held.y, task, held.weight))
    single = float(scores[:-1].double().mean())
    points = "configurations" if _by_configuration(made) else "networks"
    return (
        {"single": single, "average": float(scores[-1]), "gain": float(scores[-1]) - single, "networks": len(alone)},
        {
            "single": sum(_own(each[i], held.y, task, base) for i in alone) / len(alone),
            "average": path[-1],
            "path": path,
            "points": points,
            "v": found.v,
            "c": found.c,
        },
    )


def _by_configuration(made: Refit) -> bool:
    """Whether several configurations ship with the networks of their folds, which are then one point each."""
    return made.how == "none" and 1 < len({c.number for c in made.configs}) < len(made.configs)


def _numbers(made: Refit) -> list[int]:
    """The configuration of every point."""
    numbers = [c.number for c in made.configs]
    return list(dict.fromkeys(numbers)) if _by_configuration(made) else numbers


def _points(made: Refit, each: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions and weights of what is counted: networks, or configurations as the mean of their networks."""
    weights = _weights(made).to(each)
    if not _by_configuration(made):
        return each, weights
    numbers = [c.number for c in made.configs]
    places = [[i for i, other in enumerate(numbers) if other == number] for number in _numbers(made)]
    return torch.stack([each[own].mean(0) for own in places]), torch.stack([weights[own].sum() for own in places])


def _own(predictions: Tensor, y: Tensor, task: str, base: Tensor) -> float:
    return float((base * squared_error(predictions, y, task)).sum())


def fitting(picks: Sequence[Trial], seconds: Any, left: float, fewest: int) -> list[Trial]:
    """The first picks whose training on all rows fits into the time left; none where fewer than ``fewest`` do.

    Args:
        picks: in the order of selection, of which any first few are a greedy selection too.
        seconds: estimates the time of a list of picks.
        left: seconds.
        fewest: networks that are worth more than the networks of the search.
    """
    for n in range(len(picks), min(fewest, len(picks)) - 1, -1):
        if seconds(picks[:n]) <= left:
            return list(picks[:n])
    return []


def further(picks: Sequence[Trial], seconds: Callable[[Sequence[Trial]], float], took: float, left: float, most: int) -> list[Trial]:
    """The picks whose configurations can be trained once more, or several times, in the time left: each network has a seed of its own.

    Args:
        picks: the networks of the first round, in the order of selection, of which any first few are a greedy selection too.
        seconds: estimates the time of a list of picks. Many at once take less than their sum.
        took: seconds of the first round, by which the estimate is corrected.
        left: seconds.
        most: networks in all, those of the first round included.
    """
    guess = seconds(picks)
    slower = SURELY * took / guess if guess > 0 else math.inf
    for n in range(most - len(picks), 0, -1):
        more = list(itertools.islice(itertools.cycle(picks), n))
        if slower * seconds(more) <= left:
            return more
    return []
