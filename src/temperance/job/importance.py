"""How much worse the model scores when one column of the test rows is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from temperance.core.random import Rng, key_of, stream_of
from temperance.data import TableEncoder
from temperance.job.paired import SLOW, draws, interval, scores
from temperance.job.prepare import Prepared
from temperance.search.budget import Clock
from temperance.search.result import Search
from temperance.search.score import in_units, predict
from temperance.train.metrics import Metric
from temperance.train.remember import work

ROWS, FEWER, FEWEST = 2000, 500, 50  # rows: at most, of the first pass over many columns, and at least
TOP, REPEATS, REPLICATES = 20, 5, 200
SECONDS, RESERVE = 3.0, 0.7
PARAMETER, ENTRY, SORTED_ENTRY = 4e-10, 8e-9, 1.5e-7  # seconds of a row for a parameter, a score's entry, and one of a score that sorts

Places = dict[str, list[int]]


def places(encoder: TableEncoder) -> dict[str, Places]:
    """Where each column stands in the encoded table; a number's mark of missing values and the code of its frequent values go with it.

    Example:
        >>> places(TableEncoder().fit({"age": [20.0, 30.0, 40.0, None], "job": ["cook", "smith", "cook", None]}))
        {'age': {'num': [0, 1]}, 'job': {'cat': [0]}}
    """
    out: dict[str, Places] = {column.name: {"num": [k]} for k, column in enumerate(encoder.numeric)}
    for k, column in enumerate((c for c in encoder.numeric if c.indicator), start=len(encoder.numeric)):
        out[column.name]["num"].append(k)
    for k, (name, _) in enumerate(encoder.levels):
        out.setdefault(name, {})["cat"] = [k]
    return out


def shuffled(x: Mapping[str, Tensor], place: Places, order: Tensor) -> dict[str, Tensor]:
    """The rows with one column in another order."""
    out = dict(x)
    for part, columns in place.items():
        out[part] = x[part].clone()
        out[part][:, columns] = x[part][order][:, columns]
    return out


@dataclass(frozen=True)
class Shuffles:
    """A model, rows with known targets, and the score that they give.

    Attributes:
        answer: predictions in the target's own units.
        x: the encoded rows.
        y: their targets, in the same units.
        weight: of the rows.
        metric: the score.
        key: of all orders.
    """

    answer: Callable[[Any], Tensor]
    x: dict[str, Tensor]
    y: Tensor
    weight: Tensor
    metric: Metric
    key: Tensor

    def shuffle(self, name: str, place: Places, nth: int, n: int) -> Tensor:
        """Predictions of the first n rows with the column in the nth order."""
        order = Rng(self.key, stream_of("importance", name, nth)).permutation(n)
        return self.answer(shuffled({key: value[:n] for key, value in self.x.items()}, place, order))

    def likely(self, columns: Mapping[str, Places], top: int, n: int) -> list[str]:
        """The columns whose shuffling once costs most; of equal costs the one that moves the predictions most."""
        weight, y = self.weight[:n].unsqueeze(0), self.y[:n]
        before = self.answer({key: value[:n] for key, value in self.x.items()})
        sign = self.metric.sign
        cost: dict[str, tuple[float, float]] = {}
        for name, place in columns.items():
            after = self.shuffle(name, place, 0, n)
            lost = -sign * float(scores(self.metric, [after], y, weight)[0])
            cost[name] = (lost if np.isfinite(lost) else -np.inf, float((after - before).abs().mean()))
        return sorted(columns, key=lambda name: cost[name], reverse=True)[:top]

    def measured(self, columns: Mapping[str, Places], repeats: int, seed: int, enough: Callable[[], bool]) -> list[dict[str, Any]]:
        """By how much the score gets worse with each column shuffled, largest first, with 95 % intervals over resampled rows."""
        n = len(self.y)
        sign = self.metric.sign
        every = torch.cat([self.weight.unsqueeze(0), draws(self.metric, n, seed, REPLICATES) * self.weight])
        before = scores(self.metric, [self.answer(self.x)], self.y, every)
        rows: list[dict[str, Any]] = []
        for name, place in columns.items():
            if enough():
                break
            after = [self.shuffle(name, place, nth, n) for nth in range(1, repeats + 1)]
            lost = sign * (before - scores(self.metric, after, self.y, every))
            rows.append({"name": name, **interval(float(lost[0]), lost[1:])})
        return sorted(rows, key=lambda row: -(row["value"] if row["value"] is not None else -np.inf))


def importance(ready: Prepared, found: Search, seed: int, clock: Clock, *, rows: int = ROWS, top: int = TOP, repeats: int = REPEATS) -> dict[str, Any]:
    """What shuffling each column of the test rows costs the scored networks, in their score.

    Returns:
        ``metric``, ``n``, ``repeats``, ``of`` (columns the model learns from) and ``columns``, each with ``name``, ``value``, ``low`` and ``high``
        (+ where the score gets worse), largest first; or only ``why`` it was not measured.

    Source:
        Breiman, *Random forests* (2001), section 10.
    """
    x = ready.data.x
    if not isinstance(ready.encoder, TableEncoder) or not isinstance(x, dict):
        return {"why": "the rows are no table with columns"}
    held = _rows(ready, seed, rows)
    if len(held) < 2:
        return {"why": "no rows were kept apart" if not len(ready.split.test) else "fewer than two test rows have a target"}
    columns = places(ready.encoder)
    seconds = min(SECONDS, clock.left(RESERVE))
    parameters = work(found.scored.model)
    # sizes come from the number of multiplications, not from a stopwatch, so that without a budget a fit gives the same numbers anywhere
    entries = ready.target.outputs * (REPLICATES // 4 * SORTED_ENTRY if found.metric.name in SLOW else REPLICATES * ENTRY)
    many = len(columns) > top
    least = parameters * PARAMETER * len(columns) * FEWEST * many + (parameters * PARAMETER + entries) * repeats * min(top, len(columns)) * FEWEST
    if least > seconds:
        return {"why": f"no time was left for {len(columns):,} columns" if seconds < SECONDS else f"{len(columns):,} columns would take too long"}
    part = 0.5 if many else 1.0
    n = _size(len(held), part * seconds / ((parameters * PARAMETER + entries) * repeats * min(top, len(columns))))
    shuffles = _shuffles(ready, found, held[:n], seed)
    first = _size(min(n, FEWER), 0.5 * seconds / max(parameters * PARAMETER * len(columns), 1e-12))
    chosen = shuffles.likely(columns, top, first) if many else list(columns)
    measured = shuffles.measured({name: columns[name] for name in chosen}, repeats, seed, lambda: clock.left(RESERVE) < 0)
    if not measured:
        return {"why": "no time was left"}
    out = {"metric": found.metric.name, "n": n, "repeats": repeats, "of": len(columns), "columns": measured}
    return out | ({"first": first} if many else {}) | ({"cut": len(chosen) - len(measured)} if len(measured) < len(chosen) else {})


def _size(most: int, fitting: float) -> int:
    return max(min(most, FEWEST), min(most, int(fitting)))


def _rows(ready: Prepared, seed: int, most: int) -> Tensor:
    """Test rows with a target, drawn where there are more than enough."""
    rows = torch.as_tensor(ready.split.test, dtype=torch.long)
    if isinstance(ready.data.labeled, Tensor):
        rows = rows[ready.data.labeled[rows]]
    return rows[Rng(key_of(seed), stream_of("importance", "rows")).permutation(len(rows))[:most]] if len(rows) else rows


def _shuffles(ready: Prepared, found: Search, rows: Tensor, seed: int) -> Shuffles:
    part = ready.data.take(rows)
    weight = torch.ones(len(rows)) if ready.weight is None else ready.weight[rows]
    assert isinstance(part.x, dict) and isinstance(part.y, Tensor)
    task, target = ready.target.task, ready.target
    mean, sd = (target.mean, target.sd) if task == "regression" else (None, None)
    true = part.y

    def answer(x: Any) -> Tensor:
        p = predict(found.scored.model, found.criterion, x)
        return in_units(task, p, true[: len(p)], mean, sd)[0]

    return Shuffles(answer, part.x, in_units(task, true, true, mean, sd)[1], weight, found.metric, key_of(seed))
