"""What ships is trained on all rows; what is scored has not seen the test rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.search.small import hold_out, same_bits, small_plan, two_classes, two_folds

import temperance as tp
from temperance.core.criterion import criterion_for
from temperance.data import Dataset, Split, plan_split
from temperance.ensemble import cross_fit, squared_error
from temperance.nets import MLP
from temperance.nets.average import Average
from temperance.search import averaging, ending, refit as refit_module
from temperance.search.averaging import MOST_SHIPPED
from temperance.search.costs import Costs
from temperance.search.ending import final_rows
from temperance.search.engine import Engine
from temperance.search.race import best_first, scored
from temperance.search.refit import refit
from temperance.search.reserve import SURELY
from temperance.search.result import Search
from temperance.search.score import predict
from temperance.search.search import search_plans
from temperance.search.space import StaticPlan

DATA = two_classes(seed=1)
SOFTMAX = criterion_for("classification")


def put_aside(split: Split) -> Split:
    """The same rows, with test rows that were only put aside."""
    return replace(split, given=False)


def find(data: Dataset = DATA, **settings: Any) -> Search:
    plans = [small_plan("a", likely_on={"dropout.rate": 0.1}), small_plan("b", hidden=5)]
    return search_plans(plans, data, **{"trials": 6, "metric": "accuracy", "split": put_aside(hold_out()), "seed": 3, **settings})


@pytest.fixture
def always_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaging, "cross_fit", lambda *args, **settings: replace(cross_fit(*args, **settings), better=True))


def other_answers() -> Dataset:
    """The data with the targets of the test rows turned round."""
    assert isinstance(DATA.y, torch.Tensor)
    y, test = DATA.y.clone(), torch.as_tensor(hold_out().test)
    y[test] = y[test].flip(1)
    return replace(DATA, y=y)


def accuracy_on_test_rows(model: torch.nn.Module) -> float:
    held = DATA.take(hold_out().test)
    assert isinstance(held.y, torch.Tensor)
    return float((predict(model, SOFTMAX, held.x).argmax(1) == held.y.argmax(1)).float().mean())


@pytest.mark.parametrize("split", [hold_out(), two_folds()], ids=["hold-out", "folds"])
def test_the_last_training_takes_every_row(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list[Dataset]()

    def seen(picks: Any, data: Dataset, **settings: Any) -> Any:
        rows.append(data)
        return refit(picks, data, **settings)

    monkeypatch.setattr(ending, "refit", seen)
    found = find(split=put_aside(split))
    assert len(rows) == 1 and torch.equal(rows[0].x, DATA.x)  # pyright: ignore[reportArgumentType] -- tensors
    assert found.saw_test and found.refit.how == "same_epochs"
    assert found.refit.steps == round(found.winner.best_epoch * 90 / 15)


@pytest.mark.parametrize("split", [hold_out(), two_folds()], ids=["hold-out", "folds"])
@pytest.mark.parametrize("most", [1, 4])
def test_the_answers_of_the_test_rows_change_what_ships_and_nothing_before(split: Split, most: int, always_better: None) -> None:
    first, other = (find(data, split=put_aside(split), ensemble=most) for data in (DATA, other_answers()))
    assert not same_bits(first.model, other.model)
    assert same_bits(first.scored.model, other.scored.model)
    assert [t.score for t in first.trials] == [t.score for t in other.trials]
    assert other.score["value"] == pytest.approx(1 - first.score["value"])  # of two classes
    kept = [find(data, split=put_aside(split), ensemble=most, keep_test=True) for data in (DATA, other_answers())]
    assert same_bits(kept[0].model, kept[1].model)


@pytest.mark.parametrize("split", [hold_out(), two_folds()], ids=["hold-out", "folds"])
def test_the_networks_of_the_search_are_scored(split: Split) -> None:
    found = find(split=put_aside(split), refits=3)
    winner = found.winner
    assert winner.population is not None
    assert len(found.refit.networks) == 3 and len(found.scored.networks) == len(split.folds)
    for network, index in zip(found.scored.networks, winner.indices, strict=True):
        assert same_bits(network, winner.population.model(index))
    assert found.score["value"] == pytest.approx(accuracy_on_test_rows(found.scored.model))


@pytest.mark.usefixtures("always_better")
@pytest.mark.parametrize("split", [hold_out(), two_folds()], ids=["hold-out", "folds"])
def test_of_an_average_the_same_configurations_are_scored_in_the_same_shares(split: Split) -> None:
    found = find(split=put_aside(split), trials=8, ensemble=4)
    told, numbers = found.ensemble, [c.number for c in found.refit.configs]
    assert told["kind"] == told["scored"]["kind"] == "greedy" and len(set(numbers)) > 1
    assert (told["networks"], told["scored"]["networks"]) == (len(numbers), len(set(numbers)) * len(split.folds))
    assert isinstance(found.scored.model, Average)
    weights = found.scored.model.weights
    for number in set(numbers):
        own = [i for i, config in enumerate(found.scored.configs) if config.number == number]
        assert float(weights[own].sum()) == pytest.approx(numbers.count(number) / len(numbers))
    held = DATA.take(split.test)
    assert isinstance(held.y, torch.Tensor)
    measured = squared_error(predict(found.scored.model, SOFTMAX, held.x), held.y, "classification").mean()
    assert told["error"]["test"]["average"] == pytest.approx(float(measured), rel=1e-5)
    assert told["score"]["test"]["average"] == pytest.approx(found.score["value"])
    assert len(told["error"]["test"]["path"]) == told["error"]["members"] == len(set(numbers))


def test_test_rows_that_are_kept_or_given_stay_out() -> None:
    kept, given = find(keep_test=True), find(split=hold_out())
    for found in (kept, given):
        assert not found.saw_test and found.scored is found.refit and found.refit.how == "same_epochs"
        assert found.refit.steps == round(found.winner.best_epoch * 60 / 15)
        assert found.score["value"] == pytest.approx(accuracy_on_test_rows(found.model))
        assert found.ensemble["scored"]["networks"] == found.ensemble["networks"]
    assert same_bits(kept.model, given.model) and kept.scores == given.scores
    assert not same_bits(kept.model, find().model)


def test_the_rows_of_the_last_training() -> None:
    split = plan_split([0, 1] * 50, "classification", seed=0, labeled=np.arange(100) % 7 > 0)
    rest = np.setdiff1d(np.arange(100), split.test)
    assert not split.given and len(split.test) and final_rows(split, 100, keep_test=False).tolist() == list(range(100))
    assert final_rows(split, 100, keep_test=True).tolist() == final_rows(replace(split, given=True), 100, keep_test=False).tolist() == rest.tolist()
    assert final_rows(plan_split([0, 1] * 50, "classification", seed=0, test=False), 100, keep_test=False).tolist() == list(range(100))


def test_without_test_rows_there_is_nothing_to_keep_from_the_model() -> None:
    found = find(split=plan_split(DATA.y, "classification", seed=0, test=False))
    assert (found.saw_test, found.scores, found.refit.steps) == (False, {}, round(found.winner.best_epoch * 90 / 15))


# Where the last training does not come to its end


def interrupt_at(phase: str) -> Any:
    stopped = list[str]()

    def stop(state: Mapping[str, Any]) -> None:
        if state["phase"] == phase and not stopped:
            stopped.append(phase)
            raise KeyboardInterrupt

    return stop


@pytest.mark.parametrize("phase", ["search done", "refit"])
def test_interrupted_before_it_the_networks_of_the_search_ship(phase: str) -> None:
    found = find(on_progress=interrupt_at(phase))
    assert (found.ended, found.refit.how, found.saw_test) == ("interrupted", "none", False)
    assert found.scored is found.refit and found.score["value"] == pytest.approx(accuracy_on_test_rows(found.model))


def test_interrupted_after_it_the_model_of_all_rows_ships() -> None:
    whole, found = find(), find(on_progress=interrupt_at("control"))
    assert (found.ended, found.refit.how, found.saw_test, found.without) == ("interrupted", "same_epochs", True, None)
    assert same_bits(found.model, whole.model) and same_bits(found.scored.model, whole.scored.model) and found.scores == whole.scores


def test_without_time_for_it_the_networks_of_the_search_ship(monkeypatch: pytest.MonkeyPatch, always_better: None) -> None:
    monkeypatch.setattr(Costs, "seconds", lambda *_: math.inf)
    found = find(trials=8, ensemble=4)
    assert (found.refit.how, found.saw_test) == ("none", False)
    assert found.scored is found.refit and found.ensemble["scored"]["networks"] == found.ensemble["networks"]


def test_of_several_seeds_those_that_diverge_are_left_out() -> None:
    plan = small_plan()

    def build(seed: int) -> torch.nn.Module:
        network = plan.build(seed)
        if seed > 7:
            with torch.no_grad():
                next(network.parameters()).fill_(math.nan)
        return network

    found = search_plans([replace(plan, build=build)], DATA, trials=1, split=put_aside(hold_out()), refits=2, metric="accuracy")
    assert found.saw_test and (len(found.refit.networks), len(found.scored.networks)) == (1, 1)
    assert found.score["value"] == pytest.approx(accuracy_on_test_rows(found.scored.model))


def test_what_ships_is_checked_on_as_many_rows_as_trials_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2,000 rows at every check the last training of networks that compare each with all others took half as long again."""
    checked, made = list[int](), refit_module.Population

    def population(*given: Any, **settings: Any) -> Any:
        checked.append(settings["clean_rows"])
        return made(*given, **settings)

    monkeypatch.setattr(refit_module, "Population", population)
    find(trials=2, refits=2)
    assert checked == [scored(len(DATA))]


def test_time_is_kept_for_the_rows_that_it_trains_on(monkeypatch: pytest.MonkeyPatch, engines: list[Engine]) -> None:
    """A third of the rows trains in the search, and all of them, or two thirds, at the end."""
    for keep_test in (False, True):
        find(trials=2, refits=4, keep_test=keep_test)
    assert [engine.grown for engine in engines] == [3.0, 2.0]
    monkeypatch.setattr(Costs, "seconds", lambda self, plan, members, epochs: members * epochs)
    reserved = list[float]()
    for engine in engines:
        engine.clock.seconds, best = 1000.0, engine.best()
        assert best is not None
        reserved.append(engine.reserve())
    assert reserved[0] - reserved[1] == pytest.approx(best.config.plan.alone * MOST_SHIPPED * best.best_epoch)  # pyright: ignore[reportPossiblyUnboundVariable] -- two engines


@pytest.mark.parametrize(("a_step", "a_network"), [(0.0, 1.0), (30.0, 1.0)])
def test_time_is_kept_for_a_first_round_surely_and_for_the_most_networks_as_estimated(
    monkeypatch: pytest.MonkeyPatch, engines: list[Engine], a_step: float, a_network: float
) -> None:
    """An average takes several trials, of plans that cost differently: which ones is not known yet, so the best so far stand for it."""
    find(trials=4, refits=4, ensemble=2)
    (engine,) = engines
    engine.clock.seconds, plans = 1e6, [plan.name for plan in engine.plans]

    def seconds(self: Costs, plan: StaticPlan, members: int, epochs: float) -> float:
        return (1.0, 10.0)[plans.index(plan.name)] * (a_step + a_network * members) * epochs

    monkeypatch.setattr(Costs, "seconds", seconds)
    first, second = sorted(engine.trials, key=best_first(engine.metric.greater_is_better))[:2]

    def all_rows(each: int) -> float:
        if first.config.plan is second.config.plan:
            return engine.grown * engine.again(first.config.plan, 2 * each, max(first.best_epoch, second.best_epoch))
        return engine.grown * sum(engine.again(t.config.plan, each, t.best_epoch) for t in (first, second))

    control = engine.again(first.config.plan, len(engine.folds), first.epochs)
    one, most = SURELY * (all_rows(1) + control), all_rows(MOST_SHIPPED // 2) + control
    assert engine.reserve() - engine.settings.spare - 0.5 == pytest.approx(max(one, most)) and (one > most) == (a_step > 0)


@pytest.mark.parametrize("ensemble", [1, 8])
def test_at_most_four_tenths_of_the_time_are_kept_for_the_end(monkeypatch: pytest.MonkeyPatch, engines: list[Engine], ensemble: int) -> None:
    find(trials=2, refits=4, ensemble=ensemble)
    (engine,) = engines
    engine.clock.seconds = 100.0
    kept = list[float]()
    for cost in (0.0, 1e-9, 1e6):
        monkeypatch.setattr(Costs, "seconds", lambda self, plan, members, epochs, cost=cost: cost * members * epochs)
        kept.append(engine.reserve())
    assert kept[0] <= kept[1] < kept[0] + 1e-3 and kept[2] == pytest.approx(kept[0] + 40.0)


# The public search


def test_a_split_of_ones_own_is_kept() -> None:
    X, y = DATA.x, DATA.y.argmax(1)  # pyright: ignore[reportAttributeAccessIssue] -- a tensor

    def build(data: Dataset) -> torch.nn.Module:
        return MLP(data.in_features, data.out_features, hidden=(4,))

    ways: list[dict[str, Any]] = [{"split": hold_out()}, {}, {"keep_test": True}]
    own, planned, kept = (tp.search(build, (X, y), trials=2, epochs=2, metric="accuracy", **settings) for settings in ways)
    assert [found.saw_test for found in (own, planned, kept)] == [False, True, False]
    for found in (own, planned, kept):
        held = DATA.take(found.split.test)
        hit = predict(found.scored.model, SOFTMAX, held.x).argmax(1) == held.y.argmax(1)  # pyright: ignore[reportAttributeAccessIssue] -- a tensor
        assert found.score["value"] == pytest.approx(float(hit.float().mean()))
