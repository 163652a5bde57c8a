"""Which regularizers of a search's winner help: trained without each, and with each other one, over seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from temperance.core.ambient import plainly
from temperance.core.device import device_of, precision_of
from temperance.core.errors import ConfigError, DataError, expected
from temperance.data.dataset import Dataset
from temperance.data.splits import Split
from temperance.search.attribution.estimate import FEWEST_SEEDS
from temperance.search.attribution.explanation import Explanation
from temperance.search.attribution.facts import Found, facts_of
from temperance.search.attribution.measure import Bench, Cell, OutOfTimeError
from temperance.search.attribution.records import Records, digest_of
from temperance.search.attribution.variants import Variant, added, doses, dropped, pair
from temperance.search.budget import Clock, parse_budget
from temperance.search.programs import Programs
from temperance.search.space import Config
from temperance.train.metrics import Metric
from temperance.train.rows import drawn

SEEDS = 8
AT_ONCE = 64  # networks of a population, so that something is finished now and then
SPARE = 1.5  # of a budget that is asked for, beyond what was measured
MOST_ROWS = 20_000  # held-out rows: more tell little, and every network's scores on them are kept
Progress = Callable[[Mapping[str, Any]], None]


@plainly
def explain(
    winner: Config,
    data: Dataset,
    split: Split,
    metric: Metric,
    *,
    steps: int,
    criterion: Any,
    scored_by: Any,
    seeds: int = SEEDS,
    budget: str | float | None = None,
    memory: str | int = "4G",
    device: str | torch.device | None = None,
    precision: str = "fp32",
    path: str | Path | None = None,
    on_progress: Progress | None = None,
    factor: float = 1.0,
    identity: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    fresh: bool = True,
    chosen: bool = True,
) -> Explanation:
    """The engine of :meth:`temperance.search.Search.explain`.

    Args:
        winner: the configuration to explain.
        data: all rows.
        split: of the search; what is compared is measured on its test rows.
        metric: what decided.
        steps: planned in the search, to which the winner's length and schedules refer.
        criterion: that training minimizes.
        scored_by: that turns outputs into predictions.
        seeds: networks of each cocktail.
        budget: seconds, or ``"90s"``, ``"5m"``, ``"1h"``.
        memory: what populations may plan for.
        device: where they train.
        precision: of products in training.
        path: a file that takes in what is measured, and with which a later call goes on.
        on_progress: called with ``phase``, ``done``, ``left``, ``metric``.
        factor: turns scores into the target's own units.
        identity: what else the lines of the file depend on.
        notes: to be told with the result.
        fresh: whether the search has not seen the test rows.
        chosen: whether a search chose the configuration.
    """
    if isinstance(seeds, bool) or not isinstance(seeds, (int, np.integer)) or seeds < 2:
        mend = "One network of each cocktail says nothing about the next; 8 are usual."
        raise ConfigError(expected("seeds", "explain", "to be a whole number in [2, inf)", seeds, mend))
    clock = Clock(parse_budget(budget))
    rows = data.known(split.test)
    if not len(rows):
        mend = "Search again with test rows: plan_split puts a fifth aside."
        raise DataError(f"Expected a search that kept test rows to measure on, got none. {mend}")
    part = rows[drawn(len(rows), MOST_ROWS).sort().values]
    programs = Programs(False, device_of(device, "explain"), precision_of(precision, "explain"))
    bench = Bench(winner, steps, data, split.folds, data.take(part), metric, criterion, scored_by, memory, programs)
    more, left_out = added(winner)
    of = digest_of(
        {
            **winner.to_dict(),
            "steps": steps,
            "metric": metric.name,
            "rows": part.tolist(),
            "torch": torch.__version__,
            "added": [v.strengths for v in more],
            **(identity or {}),
        }
    )
    records = Records(None if path is None else Path(path), of, len(part))
    groups = None if split.groups is None else torch.as_tensor(split.groups)[part]
    found = Found(bench, records, dropped(winner), more, groups, int(seeds), factor, [*notes, *left_out])
    ended = Run(bench, records, int(seeds), clock, on_progress).all(found)
    if ended == "out of time" and len(found.seeds()) < FEWEST_SEEDS:
        raise ConfigError(_too_short(budget, len(found.compared()), bench.pace, kept=path is not None and bool(records.found)))
    return Explanation({**facts_of(found, len(rows), ended), "fresh": fresh, "chosen": chosen})


def _too_short(budget: Any, cocktails: int, pace: float | None, kept: bool) -> str:
    """What is said of a budget that was not enough for any answer."""
    allowed = f"to be enough for two seeds of {cocktails} cocktails, the fewest from which anything can be told"
    much = "more time" if pace is None else f"at least {math.ceil(SPARE * FEWEST_SEEDS * cocktails * pace)}s"
    going_on = " What was measured is kept: the same call goes on from there." if kept else ""
    return expected("budget", "explain", allowed, budget, f"Give {much}, or none for as long as it takes.{going_on}")


class Run:
    """The training, a few seeds of all cocktails at a time, so that whenever it ends every cocktail has the same seeds."""

    def __init__(self, bench: Bench, records: Records, seeds: int, clock: Clock, tell: Progress | None) -> None:
        self.bench, self.records, self.seeds, self.clock, self.tell = bench, records, seeds, clock, tell
        self.done, self.planned, self.began = 0, 0, time.monotonic()

    def all(self, found: Found) -> str:
        """Train the comparisons, then the strongest pair, then the doses; how it ended."""
        winner = found.bench.winner
        curves = doses(winner)
        self.planned = self.seeds * (len(found.compared()) + len(curves) + (len(found.dropped) > 1))
        try:
            self._stage("each dropped, each added", found.compared())
            found.pair = found.strongest()
            if found.pair is not None:
                self._stage("the strongest pair", [pair(winner, *found.pair)])
            found.doses = curves
            self._stage("other doses", curves)
        except OutOfTimeError:
            return "out of time"
        except KeyboardInterrupt:
            if not found.seeds():
                raise
            return "interrupted"
        return "done"

    def _stage(self, phase: str, variants: Sequence[Variant]) -> None:
        """Measure what is missing, in populations of whole seeds.

        Raises:
            OutOfTimeError: the budget is spent.
        """
        missing = {seed: [v for v in variants if (v.name, seed) not in self.records] for seed in range(self.seeds)}
        self.done += sum(len(variants) - len(own) for own in missing.values())
        waiting = [seed for seed, own in missing.items() if own]
        while waiting:
            size = max(1, AT_ONCE // (len(missing[waiting[0]]) * len(self.bench.folds)))
            if self.clock.seconds is not None:
                pace = self.bench.pace
                fitting = 1 if pace is None else int(self.clock.left() / (pace * len(missing[waiting[0]])))
                size = min(size, fitting)
                if size < 1 or self.clock.left() <= 0:
                    raise OutOfTimeError
            seeds, waiting = waiting[:size], waiting[size:]
            cells: list[Cell] = [(variant, seed) for seed in seeds for variant in missing[seed]]
            tell = partial(self._say, phase, len(cells))
            tell(0.0)
            self.records.add(self.bench.measure(cells, self.clock.deadline(), tell))
            self.done += len(cells)

    def _say(self, phase: str, networks: int, share: float) -> None:
        """Report progress: so large a share of so many networks is trained."""
        if self.tell is not None:
            done = (self.done + share * networks) / max(self.planned, 1)
            self.tell({"phase": phase, "done": done, "left": self._left(done), "metric": self.bench.metric.name})

    def _left(self, done: float) -> float:
        """Seconds: of the budget, or what remains to be trained takes where that is less."""
        if self.clock.seconds is None:
            return float("inf")
        spent = time.monotonic() - self.began
        return min(self.clock.left(), spent * (1 - done) / done if done > 0 else float("inf"))
