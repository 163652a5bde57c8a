"""Waves and rungs: when trials are dropped, who goes on, and what noise has to say in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from tests.search.small import ACCURACY, config, hold_out, small_plan, two_classes

from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.search import Search, search_plans
from temperance.search.budget import Clock
from temperance.search.confirm import rivals
from temperance.search.engine import Engine
from temperance.search.programs import Programs
from temperance.search.race import Race, Trial, steps_an_epoch
from temperance.search.rungs import Rungs, near
from temperance.search.settings import Settings
from temperance.search.strategy import STRATEGIES, strategy_for
from temperance.search.study import Ledger
from temperance.train.outcome import Outcome

DATA = two_classes()


def trial(score: float, loss: float = 0.5, error: float = 0.01) -> Trial:
    row = {"step": 5, "epoch": 1.0, "validation_score": score, "validation_loss": loss, "validation_se": error}
    return Trial(config(small_plan(), 0), [Outcome(history=[row])], best=0)


def find(batch_size: int = 15, **settings: Any) -> Search:
    plan = small_plan(epochs=24.0, batch_size=batch_size)
    return search_plans([plan], DATA, **{"trials": 16, "split": hold_out(), "retrain": None, **settings})


@pytest.mark.parametrize(
    ("shares", "epochs", "expected"),
    [((1 / 20,), 60.0, [3]), ((1 / 20,), 5.0, [1]), ((1 / 16, 1 / 4), 60.0, [4, 15]), ((1 / 16, 1 / 4), 1.0, [])],
)
def test_rungs_lie_before_the_end(shares: tuple[float, ...], epochs: float, expected: list[int]) -> None:
    assert Rungs(shares, careful=False).rungs(epochs, 40.0) == expected


@pytest.mark.parametrize("rows", [10, 40, 100, 160, 800, 5000])
@pytest.mark.parametrize("batch_size", [16, 64, 256])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nobody_is_dropped_before_32_steps_however_few_the_rows(rows: int, batch_size: int, strategy: str) -> None:
    steps = steps_an_epoch(rows, batch_size)
    for epochs in (4.0, 15.0, 60.0):
        rungs = strategy_for(strategy).rungs(epochs, steps)
        assert all(rung < epochs and rung * steps >= 32 for rung in rungs)
        assert bool(rungs) == (epochs * steps > 32 and math.ceil(32 / steps) < epochs)
        assert all(later >= 2 * earlier for earlier, later in pairwise(rungs))
        for i, rung in enumerate(rungs):  # no later than something asks for
            assert (rung - 1) * steps < 32 or (i and rung == 2 * rungs[i - 1]) or rung in [round(share * epochs) for share in strategy_for(strategy).shares]
        assert all(rung * steps >= 128 for rung in strategy_for(strategy).rungs(epochs, steps, earliest=128))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_on_few_rows_drops_after_32_steps(strategy: str) -> None:
    """Two steps an epoch: the first round is 16 epochs, and a run of five is never thinned out."""
    found = find(strategy=strategy)
    assert found.rungs[0]["epoch"] == 16 and found.rungs[0]["members"] == 16
    dropped = [t for t in found.trials if t.status.startswith("dropped")]
    assert dropped and {max(o.steps for o in t.outcomes) for t in dropped} == {32}
    short = search_plans([small_plan(epochs=5.0)], DATA, trials=6, split=hold_out(), retrain=None, strategy=strategy)
    assert not any(t.status.startswith("dropped") for t in short.trials)
    assert [r["members"] for r in short.rungs] == [6]


def test_plans_of_one_wave_are_dropped_together_after_32_steps_of_the_slower_one() -> None:
    """Two steps an epoch beside six: after six epochs the slower plan would have made twelve."""
    plans = [small_plan("slow", epochs=18.0, batch_size=15), small_plan("fast", epochs=18.0, batch_size=5)]
    found = search_plans(plans, DATA, trials=12, split=hold_out(), retrain=None)
    dropped = [t for t in found.trials if t.status.startswith("dropped")]
    assert {t.config.plan.name for t in dropped} == {"slow", "fast"}
    assert all(o.steps >= 32 for t in dropped for o in t.outcomes)


def test_clear_differences_are_as_ranks_say() -> None:
    trials = [trial(0.9 - 0.1 * i) for i in range(8)]
    ranked, kept = near(trials, [t.score for t in trials], 2, greater=True)
    assert (ranked, kept) == (trials, 2)


def test_near_equal_trials_go_on_by_their_loss_up_to_half_as_many_again() -> None:
    trials = [trial(0.9), *(trial(0.8 - 0.001 * i, loss=1.0 - 0.1 * i) for i in range(5)), *(trial(0.5) for _ in range(10))]
    ranked, kept = near(trials, [t.score for t in trials], 4, greater=True)
    assert kept == 6
    assert ranked[0] is trials[0]
    assert ranked[1:6] == trials[5:0:-1]


def test_less_is_better_where_it_is() -> None:
    trials = [trial(0.1), trial(0.105, loss=0.1), trial(0.4), trial(0.5)]
    ranked, kept = near(trials, [t.score for t in trials], 1, greater=False)
    assert (ranked[0], kept) == (trials[1], 1)


def test_trials_are_compared_with_earlier_waves() -> None:
    weak, strong = [0.1] * 24, [0.95] * 24
    trials = [trial(0.9 - 0.02 * i, error=1e-6) for i in range(8)]
    scores = [t.score for t in trials]
    assert near(trials, scores + weak, 2, greater=True)[1] == 3
    assert near(trials, scores + strong, 2, greater=True)[1] == 1


def test_without_standard_errors_ranks_decide() -> None:
    trials = [trial(0.9, error=math.nan), trial(0.899, loss=0.1, error=math.nan), trial(0.3, error=math.nan), trial(math.nan, error=math.nan)]
    ranked, kept = near(trials, [0.9, 0.899, 0.3], 1, greater=True)
    assert (ranked, kept) == (trials, 1)
    assert near(trials[3:], [], 1, greater=True) == (trials[3:], 1)


def test_the_best_of_every_plan_goes_on_in_the_first_wave() -> None:
    plans = [small_plan("a"), small_plan("b", hidden=6), small_plan("c", hidden=4)]
    running = Race(
        [config(plans[i % 3], i, lr=0.05 if i % 3 == 0 else 1e-5 * (i + 1)) for i in range(16)], DATA, hold_out().folds, ACCURACY, patience=9, memory="1G"
    )
    running.epoch(1, None)
    ranked = running.rank()

    class Given:
        pass

    engine: Any = Given()
    engine.plans, engine.tried, engine.metric = plans, plans, ACCURACY
    chosen = Rungs((1 / 20,), careful=False).chosen(engine, running, [], first=True)
    firsts = [next(t for t in ranked if t.config.plan is plan) for plan in plans]
    assert len(chosen) == 4 and chosen[:3] == firsts
    assert Rungs((1 / 20,), careful=False).chosen(engine, running, [], first=False) == ranked[:4]


@pytest.mark.parametrize("known", [False, True])
def test_the_likely_cocktail_of_every_plan_goes_on_in_the_first_wave_where_nothing_is_known(known: bool) -> None:
    """It was the worst at the rung: what regularizes is behind early on."""
    plans = [small_plan(name, likely_on={"dropout.rate": 0.4}, known=known) for name in "ab"]
    configs = [config(plans[i % 2], i, lr=1e-7 if i < 2 else 0.05, dropout__rate=0.4 if i < 2 else 0.0) for i in range(16)]
    running = Race(configs, DATA, hold_out().folds, ACCURACY, patience=9, memory="1G")
    running.epoch(1, None)
    scores = {t.config.number: t.score for t in running.trials}

    class Given:
        pass

    engine: Any = Given()
    engine.plans, engine.tried, engine.metric = plans, plans, ACCURACY
    chosen = [t.config.number for t in Rungs((1 / 20,), careful=False).chosen(engine, running, [], first=True)]
    assert len(chosen) == 4 and ({0, 1} <= set(chosen)) is not known
    assert all(max(scores[n] for n in range(i, 16, 2)) in (scores[c] for c in chosen if c % 2 == i) for i in range(2))
    later = [t.config.number for t in Rungs((1 / 20,), careful=False).chosen(engine, running, [], first=False)]
    assert later == [t.config.number for t in running.rank()[:4]] and not {0, 1} & set(later)


def test_two_rungs_thin_out_a_wave() -> None:
    found = find(batch_size=2, strategy="rungs")  # 15 steps an epoch
    first, second = found.rungs[:2]
    assert (first["epoch"], first["members"], second["epoch"]) == (3, 16, 6)
    assert 2 <= first["kept"] <= 6 and second["members"] <= first["kept"] and 1 <= second["kept"] <= 2
    by_epoch = {e: sum(t.status == f"dropped at epoch {e}" for t in found.trials) for e in (3, 6)}
    assert by_epoch == {3: 16 - first["kept"], 6: second["members"] - second["kept"]}
    again = find(batch_size=2, strategy="rungs")
    assert repr(again.table().to_dict("list")) == repr(found.table().to_dict("list"))


def test_a_standard_error_stands_beside_every_validation_score() -> None:
    found = find(strategy="keep", trials=4)
    history = found.history()
    n = len(hold_out().folds[0][1])
    expected = (history["validation_score"] * (1 - history["validation_score"]) / n) ** 0.5
    assert history["validation_se"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_spends_its_trials_and_its_time(strategy: str) -> None:
    told: list[dict[str, Any]] = []
    scores: list[float] = []

    def note(report: Mapping[str, Any]) -> None:
        told.append(dict(report))
        scores.extend([] if report["best_trial"] is None else [report["best_trial"].score])

    found = find(strategy=strategy, on_progress=note)
    assert found.ended == "done" and len(found.trials) == 16
    assert [t.config.number for t in found.trials] == list(range(16))
    assert told[-1]["best_trial"] is found.winner
    best = [r["best"] for r in told if r["best"] is not None]
    assert best == sorted(best) == scores
    timed = find(strategy=strategy, trials=None, budget="3s")
    assert timed.ended == "done" and len(timed.trials) >= 4


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Expected `strategy` of search to be one of keep, rungs, got 'grid'\.$"):
        strategy_for("grid")
    with pytest.raises(ConfigError, match=r"to be one of keep, rungs, got \['keep'\]"):
        strategy_for(["keep"])
    with pytest.raises(ConfigError, match=r"Expected `seeds` of search to be a whole number in \[1, inf\), got 0"):
        find(seeds=0)


@pytest.mark.parametrize("strategy", ["lengths", "forks", "pbt"])
def test_the_name_of_a_removed_strategy_says_so_and_what_to_use(strategy: str) -> None:
    said = rf"to be one of keep, rungs, got '{strategy}'\. It was removed: it did no better on test rows\. Use 'keep'"
    with pytest.raises(ConfigError, match=said):
        find(strategy=strategy)


def test_near_equal_winners_are_trained_under_further_seeds_and_means_decide() -> None:
    found = find(seeds=3, seed=2)
    again = found.trials[16:]
    assert len(again) in (2, 4, 6) and len({t.config.seed for t in again}) == len(again)
    families: dict[str, list[float]] = {}
    for t in found.trials:
        families.setdefault(repr((t.config.strengths, t.config.lr, t.config.length)), []).append(t.score)
    means = {key: sum(scores) / 3 for key, scores in families.items() if len(scores) == 3}
    own = repr((found.winner.config.strengths, found.winner.config.lr, found.winner.config.length))
    assert means[own] == max(means.values())
    assert found.winner.score == max(families[own])


def test_rivals_lie_within_one_standard_error_and_those_of_the_lowest_loss_come_first() -> None:
    top = trial(0.9, error=0.02)
    inside, other, third, outside = trial(0.89, loss=0.4), trial(0.881, loss=0.2), trial(0.885, loss=0.3), trial(0.875, loss=0.0)
    trials = [outside, inside, top, other, third]
    assert rivals(trials, top, greater=True) == [top, other, third]
    assert rivals([outside, top], top, greater=True) == [top]
    low = trial(0.1, error=0.02)
    assert rivals([low, trial(0.125), near_by := trial(0.115)], low, greater=False) == [low, near_by]


def test_a_dropped_trial_is_no_rival() -> None:
    top, dropped, fair = trial(0.9), trial(0.9), trial(0.895)
    dropped.status = "dropped at epoch 3"
    assert rivals([top, dropped, fair], top, greater=True) == [top, fair]


def test_the_standard_error_over_folds_is_that_of_their_mean() -> None:
    folds = [trial(0.8, error=0.03).outcomes[0], trial(0.6, error=0.04).outcomes[0]]
    both = Trial(config(small_plan(), 0), folds, best=0)
    assert (both.score, both.at_best("validation_se")) == (pytest.approx(0.7), pytest.approx(0.025))


@pytest.mark.parametrize(
    ("each", "plans", "workers", "wanted"),
    [
        (0.2, 1, 1, 32),  # a tenth of 100 seconds
        (0.6, 1, 1, 16),
        (0.65, 1, 1, 12),
        (2.0, 1, 1, 12),
        (6.0, 1, 1, 8),  # half of the time
        (0.65, 7, 1, 14),  # two of each plan
        (0.65, 1, 2, 24),
    ],
)
def test_the_first_wave_is_large_only_where_it_takes_a_tenth_of_the_time(
    monkeypatch: pytest.MonkeyPatch, each: float, plans: int, workers: int, wanted: int
) -> None:
    asked = Settings(ACCURACY, criterion_for("classification"))
    names = [small_plan(f"plan {i}", epochs=24.0) for i in range(plans)]
    engine = Engine(names, DATA, hold_out(), asked, Clock(1000.0), Ledger(None, True), Programs(False))
    way = Rungs((1 / 4,), careful=True)
    monkeypatch.setattr(Engine, "left", lambda self: 100.0)
    monkeypatch.setattr(Engine, "workers", workers)
    monkeypatch.setattr(way, "cost", lambda engine, count, length: count * each)
    assert way.plan(engine, first=True) == (wanted, None)
