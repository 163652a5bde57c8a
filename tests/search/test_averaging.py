"""The end of a search: what was trained is weighed as an average, and ships where it is better."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from tests.search.small import ACCURACY, hold_out, same_bits, small_plan, two_classes, two_folds

from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.data import plan_split
from temperance.ensemble import cross_fit, error_products, squared_error
from temperance.nets.average import Average
from temperance.search import averaging, ending
from temperance.search.averaging import fitting, further, select
from temperance.search.costs import Costs
from temperance.search.pool import pool_of
from temperance.search.refit import control
from temperance.search.result import Search
from temperance.search.score import predict
from temperance.search.search import search_plans

DATA = two_classes(seed=1)
SOFTMAX = criterion_for("classification")


def find(**settings: Any) -> Search:
    plans = [small_plan("a", likely_on={"dropout.rate": 0.1}), small_plan("b", hidden=5)]
    return search_plans(plans, DATA, **{"trials": 8, "split": hold_out(), "ensemble": 4, "seed": 3, **settings})


@pytest.fixture
def always_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging, "cross_fit", lambda *args, **settings: replace(cross_fit(*args, **settings), better=True))


@pytest.fixture(scope="module")
def found() -> Search:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaging, "cross_fit", lambda *args, **settings: replace(cross_fit(*args, **settings), better=True))
        return find()


def test_the_pool_predicts_what_each_network_predicts() -> None:
    for split in (hold_out(), two_folds()):
        searched = find(split=split, retrain=None, ensemble=1)
        pool = pool_of(searched.trials, searched.winner, DATA, split.folds, SOFTMAX, greater=True)
        assert pool is not None
        assert pool.trials[0] is searched.winner
        scores = [t.score for t in pool.trials[1:]]
        assert scores == sorted(scores, reverse=True)
        for trial, predicted in zip(pool.trials, pool.predictions, strict=True):
            assert trial.population is not None
            each = [predict(trial.population.model(k), SOFTMAX, DATA.take(rows).x) for k, (_, rows) in zip(trial.indices, split.folds, strict=True)]
            assert torch.allclose(predicted, torch.cat(each), atol=1e-6)
        weight = torch.ones(len(pool.held))
        assert isinstance(pool.held.y, torch.Tensor)
        own = ACCURACY(pool.predictions[0], pool.held.y, weight)
        if len(split.folds) == 1:
            assert float(own) == pytest.approx(searched.winner.score)


def test_a_pool_ends_with_its_time() -> None:
    searched = find(trials=24, retrain=None, ensemble=1)
    pool = pool_of(searched.trials, searched.winner, DATA, hold_out().folds, SOFTMAX, greater=True, deadline=0.0)
    assert pool is not None and 2 <= len(pool.trials) < len(searched.trials)


def test_the_selection_begins_with_the_winner_and_is_no_worse_on_its_rows() -> None:
    searched = find(retrain=None, ensemble=1)
    pool = pool_of(searched.trials, searched.winner, DATA, hold_out().folds, SOFTMAX, greater=True)
    assert pool is not None and isinstance(pool.held.y, torch.Tensor)
    chosen = select(pool, searched.winner, ACCURACY, "classification", most=5, seed=0)
    assert chosen.picks[0] is searched.winner and len(chosen.picks) <= 5
    places = [pool.trials.index(t) for t in chosen.picks]
    errors = [squared_error(pool.predictions[own].double().mean(0), pool.held.y, "classification").mean() for own in ([0], places)]
    assert errors[1] <= errors[0] + 1e-12


def test_a_better_average_is_trained_again_and_ships(found: Search) -> None:
    told = found.ensemble
    assert told["kind"] == "greedy" and told["configurations"] > 1
    assert isinstance(found.model, Average)
    assert told["networks"] == len(found.refit.networks) == told["selection"]["picks"] <= 4
    assert found.refit.how == "same_epochs"
    assert found.refit.configs[0].number == found.winner.config.number
    assert sum(m["networks"] for m in told["members"]) == told["networks"]
    assert sum(m["weight"] for m in told["members"]) == pytest.approx(1)
    seeds = [c.seed + i for i, c in enumerate(found.refit.configs)]
    assert len(set(seeds)) == len(seeds)
    by_number = {t.config.number: t for t in found.trials}
    for config, outcome in zip(found.refit.configs, found.refit.outcomes, strict=True):
        assert outcome.history[-1]["epoch"] == pytest.approx(by_number[config.number].best_epoch)  # each for its own time


def test_the_first_network_of_an_average_is_the_winner_trained_again(found: Search) -> None:
    alone = find(ensemble=1)
    assert same_bits(found.refit.networks[0], alone.model)


def test_the_average_is_told_with_v_and_c_and_what_was_measured(found: Search) -> None:
    error, score = found.ensemble["error"], found.ensemble["score"]
    m = found.ensemble["networks"]
    assert error["members"] == m
    assert error["predicted"] == pytest.approx(error["v"] / m + (m - 1) * error["c"] / m)
    assert error["larger"][str(2 * m)] == pytest.approx(error["v"] / (2 * m) + (2 * m - 1) * error["c"] / (2 * m))
    held = DATA.take(hold_out().test)
    assert isinstance(held.y, torch.Tensor)
    shipped = predict(found.model, SOFTMAX, held.x)
    assert error["test"]["average"] == pytest.approx(float(squared_error(shipped, held.y, "classification").mean()), rel=1e-5)
    each = torch.stack([predict(network, SOFTMAX, held.x) for network in found.refit.networks])
    first_two = squared_error(each[:2].mean(0), held.y, "classification").mean()
    assert error["test"]["path"][1] == pytest.approx(float(first_two), rel=1e-5)
    own = error_products(each, held.y, "classification")
    assert error["test"]["v"] == pytest.approx(float(own.diagonal().mean()), rel=1e-5)
    assert error["test"]["v"] / m + (m - 1) * error["test"]["c"] / m == pytest.approx(error["test"]["average"], rel=1e-5)
    assert score["test"]["average"] == pytest.approx(found.score["value"])
    assert score["validation"]["gain"] == pytest.approx(score["validation"]["average"] - score["validation"]["single"])


@pytest.mark.usefixtures("always_better")
def test_without_training_again_the_networks_of_the_search_are_averaged_by_their_picks() -> None:
    found = find(split=two_folds(), retrain=None)
    told = found.ensemble
    assert told["kind"] == "greedy" and told["trained"] == "none"
    assert isinstance(found.model, Average)
    assert len(found.refit.networks) == 2 * told["configurations"]
    assert float(found.model.weights.sum()) == pytest.approx(1)
    picks = told["selection"]["picks"]
    assert all(m["weight"] * picks == pytest.approx(round(m["weight"] * picks)) for m in told["members"])
    assert told["error"]["predicted"] >= told["error"]["c"] or told["error"]["c"] > told["error"]["v"]
    test = told["error"]["test"]
    assert test["points"] == "configurations" and len(test["path"]) == told["configurations"] == told["error"]["members"]
    held = DATA.take(hold_out().test)
    assert isinstance(held.y, torch.Tensor)
    own = [n for n, c in zip(found.refit.networks, found.refit.configs, strict=True) if c.number == found.winner.config.number]
    first = torch.stack([predict(network, SOFTMAX, held.x) for network in own]).mean(0)
    assert test["path"][0] == pytest.approx(float(squared_error(first, held.y, "classification").mean()), rel=1e-5) == test["single"]
    assert test["path"][-1] == pytest.approx(float(squared_error(predict(found.model, SOFTMAX, held.x), held.y, "classification").mean()), rel=1e-5)


def test_the_cross_fitting_keeps_groups_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[Any]()
    monkeypatch.setattr(averaging, "cross_fit", lambda *args, **settings: given.append(settings["groups"]) or cross_fit(*args, **settings))
    split = plan_split(DATA.y, "classification", seed=0, groups=np.arange(90) // 3)
    find(split=split)
    assert given[0].tolist() == (np.concatenate([rows for _, rows in split.folds]) // 3).tolist()
    find()
    assert given[1] is None


def test_an_average_that_is_not_better_leaves_the_winner() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaging, "cross_fit", lambda *args, **settings: replace(cross_fit(*args, **settings), better=False))
        found = find(refits=2)
    assert found.ensemble["kind"] == "seeds" and found.ensemble["configurations"] == 1
    assert found.ensemble["selection"]["better"] is False
    assert {"v": None, "c": None}.items() <= found.ensemble["error"].items()
    assert same_bits(found.model, find(refits=2, ensemble=1).model)


def test_one_network_has_nothing_to_tell_and_bad_sizes_are_refused() -> None:
    found = find(trials=2, ensemble=1)
    assert (found.ensemble["kind"], found.ensemble["score"], "selection" in found.ensemble) == ("one", {}, False)
    for bad in (0, True, 2.5):
        with pytest.raises(ConfigError, match=r"Expected `ensemble` of search to be a whole number in \[1, inf\)"):
            find(ensemble=bad)


def test_as_many_picks_as_time_allows() -> None:
    picks: list[Any] = list("abcdef")
    assert fitting(picks, len, 4.5, 2) == list("abcd")
    assert fitting(picks, len, 100.0, 2) == picks
    assert fitting(picks, len, 1.5, 2) == []
    assert fitting(picks[:1], len, 1.5, 4) == ["a"]


@pytest.mark.parametrize(
    ("left", "of_winner", "wanted", "told"),
    [
        (12.0, 2.0, "abcdef", None),
        (11.9, 2.0, "abcde", "all 6 networks of the average again; the first 5 are"),
        (7.9, 2.0, "abc", "the first 3 are"),
        (7.9, 1.9, "aaaa", "the winner's configuration alone is"),
        (4.0, 2.0, "ab", "the first 2 are"),
        (3.9, 2.0, "", "the model averages the best states of the search"),
    ],
)
def test_what_is_trained_again_where_not_all_can_be(left: float, of_winner: float, wanted: str, told: str | None) -> None:
    """Four are asked for; the control takes a second, a network two, and perhaps the winner's less."""
    engine: Any = SimpleNamespace(
        settings=SimpleNamespace(spare=3.0),
        clock=SimpleNamespace(left=lambda spare: left + 1.0 + 3.0 - spare),
        controlling=lambda trial: 1.0,
        retraining=lambda picks: of_winner * len(picks) if set(picks) == {"a"} else 2.0 * len(picks),
    )
    notes: list[str] = []
    picks: list[Any] = list("abcdef")
    assert "".join(cast(Any, ending._in_time(engine, picks, picks[:1] * 4, notes))) == wanted
    assert [told in note for note in notes if told] == ([] if told is None else [True])


@pytest.mark.parametrize(
    ("left", "most", "more"), [(7.21, 24, "ababab"), (7.19, 24, "ababa"), (1.21, 24, "a"), (1.19, 24, ""), (1e3, 6, "abab"), (1e3, 5, "aba")]
)
@pytest.mark.parametrize("pace", [0.5, 1.0, 3.0])
def test_time_that_would_be_left_unused_goes_to_further_seeds(left: float, most: int, more: str, pace: float) -> None:
    """The first two networks took two seconds, whatever they were expected to take."""
    picks: list[Any] = ["a", "b"]
    assert further(picks, lambda some: pace * len(some), 2.0, left, most) == list(more)


@pytest.mark.parametrize(("left", "most"), [(0.0, 24), (-3.0, 24), (1e3, 2), (1e3, 1)])
def test_there_are_no_further_seeds_without_time_or_beyond_the_most(left: float, most: int) -> None:
    picks: list[Any] = ["a", "b"]
    assert further(picks, len, 2.0, left, most) == [] and further(picks, lambda some: 0.0, 2.0, left, most) == []


def test_further_rounds_have_seeds_of_their_own_and_the_weights_of_the_first() -> None:
    found = find(trials=4, budget=8.0, ensemble=3)
    configs, seeds = found.refit.configs, [course.seed for course in found.refit.courses]
    assert len(found.refit.networks) == len(configs) == len(seeds) > 3
    first = next(n for n in range(1, len(configs) + 1) if len(configs) % n == 0 and configs == configs[:n] * (len(configs) // n))
    assert first < len(configs)
    assert seeds == [config.seed + i for i, config in enumerate(configs)]


@pytest.mark.parametrize(("error", "short"), [(TimeoutError(), "time"), (MemoryError(), "memory"), (RuntimeError("can't allocate memory"), "memory")])
def test_a_selection_that_cannot_end_leaves_the_winner(monkeypatch: pytest.MonkeyPatch, error: Exception, short: str) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(averaging, "cross_fit", fails)
    found = find(trials=4)
    assert found.ensemble["kind"] == "one" and "selection" not in found.ensemble
    assert [note for note in found.notes if f"not enough {short} to weigh averages" in note]


def test_other_errors_of_a_selection_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(averaging, "cross_fit", fails)
    with pytest.raises(RuntimeError, match="shapes differ"):
        find(trials=4)


@pytest.mark.usefixtures("always_better")
def test_without_time_to_train_again_the_average_of_the_search_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Costs, "seconds", lambda *_: math.inf)
    found = find()
    assert found.ensemble["kind"] == "greedy" and found.refit.how == "none"
    assert any(note.endswith("of the average again; the model averages the best states of the search") for note in found.notes)


def test_a_control_that_was_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(trial: Any, data: Any, folds: Any, **settings: Any) -> Any:
        alone = control(trial, data, folds[:1], **settings)
        del alone.outcomes[0].history[1:]
        alone.best = 0
        return alone

    monkeypatch.setattr(ending, "control", short)
    found = find(trials=2, ensemble=1, split=two_folds())
    last = int(found.winner.outcomes[0].history[-1]["step"])
    assert found.without is not None
    first = found.without.outcomes[0].history[0]["step"]
    assert f"with every strength off, on the first fold only, cut short at step {first} of {last}; both trained" in found.gap["note"]
    assert "steps" not in found.gap["note"]
    monkeypatch.setattr(ending, "control", control)
    assert "rows, steps and early stopping with every strength off; both" in find(trials=2, ensemble=1).gap["note"]


@pytest.mark.usefixtures("always_better")
def test_an_interrupted_search_ships_the_average_of_what_it_has() -> None:
    stopped: list[str] = []

    def stop(state: Mapping[str, Any]) -> None:
        if not stopped and state["done"] > 0.5 and sum(t.score == t.score for t in state["each"]) >= 4:
            stopped.append(state["phase"])
            raise KeyboardInterrupt

    found = find(on_progress=stop, trials=24, seed=5)
    assert found.ended == "interrupted" and found.refit.how == "none"
    assert found.ensemble["kind"] == "greedy" and isinstance(found.model, Average)
    assert found.ensemble["configurations"] == len(found.refit.networks) > 1


def test_a_selection_has_the_time_left_after_an_interruption_a_moment_and_before_a_training_a_part() -> None:
    def engine(seconds: float | None, left: float) -> Any:
        return SimpleNamespace(settings=SimpleNamespace(spare=1.0), clock=SimpleNamespace(seconds=seconds, left=lambda spare: left - spare))

    def share(*args: Any) -> list[Any]:
        now = time.monotonic()
        return [pytest.approx(moment - now, abs=0.5) for moment in ending._ends(*args) if moment is not None]

    assert share(engine(None, math.inf), "done", "same_epochs") == []
    assert share(engine(None, math.inf), "interrupted", "same_epochs") == [1.0, 2.0]
    assert share(engine(60.0, 41.0), "interrupted", None) == [1.0, 2.0]
    assert share(engine(60.0, 41.0), "done", "same_epochs") == [6.0, 10.0]
    assert share(engine(60.0, 41.0), "done", None) == [20.0, 40.0]
    assert share(engine(60.0, 0.5), "done", "same_epochs") == [0.0, 0.0]
    now = time.monotonic()
    late = ending._ends(engine(60.0, -3.0), "done", None)
    assert late[0] is not None and late[1] is not None and 0.4 < late[0] - now < late[1] - now < 2.0  # what was kept for it
