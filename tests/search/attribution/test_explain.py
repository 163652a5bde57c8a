"""What is compared, and that an explanation goes on where it was, ends when it must, and says so."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.search.small import config, hold_out, small_plan, two_classes, two_folds

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SoftmaxCrossEntropy
from temperance.core.errors import ConfigError, DataError
from temperance.data import Split
from temperance.regularizers import EMA, SWA, Dropout, LabelSmoothing, MaxNorm
from temperance.search.attribution import explain as explaining, measure
from temperance.search.attribution.explain import explain
from temperance.search.attribution.explanation import Explanation
from temperance.search.attribution.measure import Bench
from temperance.search.attribution.variants import Variant, added, doses, dropped, labels_on, off
from temperance.search.programs import Programs
from temperance.search.race import Race
from temperance.search.space import Config
from temperance.train.metrics import metric_for

DATA = two_classes(150)
PLAN = small_plan()
WINNER = config(PLAN, 4, dropout__rate=0.2, weight_decay__lam=0.1, seed=407)
LOG_LOSS = metric_for("log_loss", "classification")
LOSS = SoftmaxCrossEntropy()


def explained(winner: Config = WINNER, split: Split | None = None, **settings: Any) -> Explanation:
    made: dict[str, Any] = {"steps": 12, "criterion": LOSS, "scored_by": LOSS, "seeds": 3, **settings}
    return explain(winner, DATA, hold_out(150) if split is None else split, LOG_LOSS, **made)


def test_each_that_is_on_is_dropped_and_each_other_one_is_added_in_the_dose_that_a_search_begins_with() -> None:
    assert labels_on(PLAN, WINNER.strengths) == ["dropout", "weight_decay"]
    assert [v.name for v in dropped(WINNER)] == ["without dropout", "without weight_decay"]
    assert dropped(WINNER)[0].strengths == {**WINNER.strengths, "dropout.rate": 0.0}
    more, left = added(WINNER)
    assert [(v.label, v.strengths[f"{v.label}.{f}"]) for v, f in zip(more, ("sigma", "decay"), strict=True)] == [("input_noise", 0.1), ("ema", 0.99)]
    assert not left
    assert all(v.strengths[name] == value for v in more for name, value in WINNER.strengths.items() if not name.startswith(v.label))
    assert all(v.strengths["dropout.input_rate"] == 0.0 for v in more)
    likely = added(replace(WINNER, plan=small_plan(likely_on={"ema.decay": 0.9})))[0]
    assert likely[-1].strengths["ema.decay"] == 0.9


def test_what_cannot_be_on_beside_the_winners_is_told() -> None:
    plan = small_plan(cocktail=Cocktail(SWA(0.5), EMA(0.9), Dropout(0.2)))
    more, left = added(config(plan, 0, ema__decay=0.9))
    assert [v.label for v in more] == ["dropout"]
    assert left == ["swa was not added: it and what is on cannot both be on"]
    more, left = added(config(plan, 0, swa__start=0.5))
    assert left == ["ema was not added: it and swa cannot both be on"]


def test_doses_are_multiples_that_are_legal_and_of_a_decay_multiples_of_what_it_loses() -> None:
    plan = small_plan(cocktail=Cocktail(Dropout(0.2), EMA(0.9), MaxNorm(3.0), LabelSmoothing()))
    found = {}
    for v in doses(config(plan, 0, dropout__rate=0.4, ema__decay=0.96, maxnorm__c=2.0)):
        found.setdefault(f"{v.label}.{v.field}", []).append(v.dose)
    assert found == {"dropout.rate": [0.1, 0.2, 0.8], "ema.decay": [0.99, 0.98, 0.92, 0.84], "maxnorm.c": [0.5, 1.0, 4.0, 8.0]}
    assert off(config(plan, 0, maxnorm__c=2.0), "maxnorm")["maxnorm.c"] == math.inf


@pytest.mark.parametrize("split", [hold_out(150), two_folds(150)], ids=["hold-out", "folds"])
def test_all_is_compared_seed_by_seed_on_the_untouched_rows(split: Split) -> None:
    found = explained(split=split).facts
    assert found["rows"] == {"held": 50, "few": False, "of": 50, "groups": None, "train": 50, "validation": 50, "folds": len(split.folds)}
    assert (found["seeds"], found["comparisons"], found["ended"]) == (3, 5, "done")
    assert [(row["label"], row["change"], row["seeds"]) for row in found["regularizers"]] == [
        ("dropout", "dropped", 3),
        ("weight_decay", "dropped", 3),
        ("input_noise", "added", 3),
        ("ema", "added", 3),
    ]
    assert sorted(found["pair"]["regularizers"]) == ["Dropout", "WeightDecay"]
    assert [(curve["strength"], len(curve["points"])) for curve in found["doses"]] == [("rate", 4), ("lam", 4)]
    for row in [*found["regularizers"], found["whole"], found["pair"], *(p for c in found["doses"] for p in c["points"])]:
        assert row["low"] <= row["value"] <= row["high"]


def test_the_winner_with_all_off_has_nothing_to_take_away() -> None:
    found = explained(config(PLAN, 0), seeds=2)
    assert {row["change"] for row in found.facts["regularizers"]} == {"added"}
    assert found.facts["whole"] is None
    assert found.facts["pair"] is None
    assert found.facts["doses"] == []
    assert found.text.startswith("The winner has every regularizer off, so there is nothing to take away.")


def test_seeds_are_not_those_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """The winner was chosen under its own seed, its refits count up from it, and the next trial's is a hundred away."""
    used: set[int] = set()

    class Watched(Race):
        def __init__(self, configs: Any, *rest: Any, **settings: Any) -> None:
            used.update(one.seed for one in configs)
            super().__init__(configs, *rest, **settings)

    monkeypatch.setattr(measure, "Race", Watched)
    explained(seeds=2)
    assert used == {457, 458}


def counted(patch: pytest.MonkeyPatch) -> list[int]:
    """How many networks each population trained from now on."""
    sizes: list[int] = []
    before = Bench.measure

    def counting(self: Bench, cells: Any, *rest: Any) -> Any:
        sizes.append(len(cells))
        return before(self, cells, *rest)

    patch.setattr(Bench, "measure", counting)
    return sizes


def test_a_file_of_what_was_measured_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines.jsonl"
    whole = explained(path=path).facts
    sizes = counted(monkeypatch)
    assert explained(path=path).facts == whole
    assert sizes == []
    more = explained(path=path, seeds=4).facts
    assert sum(sizes) == 6 + 1 + 8  # the fourth seed of the winner and its five changes, of the pair, and of eight doses
    assert more["seeds"] == 4
    sizes.clear()
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:-3]) + b"\n" + lines[-3][:40])  # killed while it wrote
    assert explained(path=path, seeds=4).facts == more
    assert sum(sizes) == 2
    sizes.clear()
    explained(replace(WINNER, lr=0.02), path=path)  # another winner: nothing of the old one is used
    assert sum(sizes) == 3 * 15


def test_what_is_there_is_told_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "AT_ONCE", 6)

    def stop(report: Mapping[str, Any]) -> None:
        if report["done"] > 14 / 45:
            raise KeyboardInterrupt

    found = explained(on_progress=stop)
    assert (found.facts["seeds"], found.facts["ended"]) == (2, "interrupted")
    assert "Interrupted after 2 of 3 seeds: the same call goes on from there." in found.text

    def at_once(report: Mapping[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explained(on_progress=at_once)


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Explanation]:
    """An explanation within a budget on a machine on which every network takes two seconds."""
    real, before, clock = time.monotonic, Bench.measure, {"now": 0.0}

    def slow(self: Bench, cells: Any, *rest: Any) -> Any:
        found = before(self, cells, *rest)
        clock["now"] += 2.0 * len(cells)
        self.pace = 2.0
        return found

    def explained_within(budget: str, **settings: Any) -> Explanation:
        clock["now"] = real()
        return explained(budget=budget, **settings)

    monkeypatch.setattr(Bench, "measure", slow)
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    return explained_within


def test_a_budget_is_kept_and_what_it_left_out_is_told(within: Callable[..., Explanation], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "AT_ONCE", 6)
    found = within("30s", seeds=3)
    assert (found.facts["seeds"], found.facts["ended"]) == (2, "out of time")
    assert "The time ended after 2 of 3 seeds" in found.text


def test_a_budget_too_small_for_an_answer_is_refused_with_one_that_is_enough(within: Callable[..., Explanation], tmp_path: Path) -> None:
    enough, path = r"Expected `budget` of explain to be enough for two seeds of 6 cocktails, the fewest .*, got", tmp_path / "explain.jsonl"
    with pytest.raises(ConfigError, match=rf"{enough} '0\.001s'\. Give .*, or none for as long as it takes\.$"):
        within("0.001s")
    with pytest.raises(ConfigError, match=rf"{enough} '13s'\. Give at least 36s, .*kept: the same call goes on from there\.$"):
        within("13s", path=path)
    assert within("36s").facts["seeds"] >= 2
    assert within("13s", path=path).facts["seeds"] == 2


def test_half_a_seed_tells_what_a_whole_one_takes() -> None:
    bench = Bench(WINNER, 4000, DATA, hold_out(150).folds, DATA, LOG_LOSS, LOSS, LOSS, "4G", Programs(False))
    began = time.monotonic()
    with pytest.raises(measure.OutOfTimeError):
        bench.measure([(Variant("winner", WINNER.strengths), 0)], began + 0.3, lambda share: None)
    assert bench.pace is not None and bench.pace > 0.3


@pytest.mark.parametrize("seeds", [1, 0, 2.5, True, "8"])
def test_a_number_of_seeds_that_says_nothing_is_refused(seeds: Any) -> None:
    with pytest.raises(ConfigError, match=r"Expected `seeds` of explain to be a whole number in \[2, inf\)"):
        explained(seeds=seeds)


def test_without_untouched_rows_there_is_nothing_to_measure_on() -> None:
    split = hold_out(150)
    bare = Split(split.train, split.validation, split.folds, np.zeros(0, np.int64), "hold-out", "none")
    with pytest.raises(DataError, match="kept test rows"):
        explained(split=bare)
