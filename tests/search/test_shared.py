"""A study in a database: one driver that ends and goes on, several that share it, and those that are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.search.small import hold_out, small_plan, two_classes, two_folds
from tests.search.test_resume import same
from torch import nn

from temperance.core.errors import ConfigError
from temperance.search import engine as engine_module, programs, rungs
from temperance.search.race import Race
from temperance.search.result import Search
from temperance.search.search import replay_member, search_plans
from temperance.search.shared import study as shared
from temperance.search.shared.study import SharedStudy
from temperance.search.space import StaticPlan

DATA = two_classes()
TRIALS = 13


class Killed(BaseException):
    """Ends a search at once, as a signal that cannot be caught: nothing is written after it."""


@contextmanager
def short_rounds() -> Iterator[None]:
    """Rounds of four, five and four trials, with a rung, reports at every check, and leases that end soon."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rungs, "FIRST", 4)
        patch.setattr(engine_module, "MOST_WAVE", 5)
        patch.setattr(engine_module, "TICK", 0.0)
        patch.setattr(programs, "WORTH", float("inf"))
        for name, seconds in (("LEASE", 0.4), ("BEAT", 0.05), ("POLL", 0.02)):
            patch.setattr(shared, name, seconds)
        yield


@pytest.fixture(scope="module", autouse=True)
def several_rounds() -> Iterator[None]:
    with short_rounds():
        yield


def find(place: str | None, at: Callable[[int, Mapping[str, Any]], None] | None = None, mode: str = "join", **settings: Any) -> Search:
    """The search; ``at`` is told the number of each report, and the report."""
    told = 0

    def tell(report: Mapping[str, Any]) -> None:
        nonlocal told
        told += 1
        if at is not None:
            at(told, report)

    settings = {"split": hold_out(), "on_progress": tell, "trials": TRIALS, "ensemble": 4, "refits": 2, "strategy": "rungs", **settings}
    plans = settings.pop("plans", None) or [small_plan("a", earliest=1), small_plan("b", hidden=5, earliest=1)]
    study = None if place is None else SharedStudy(place, "study", mode)
    return search_plans(plans, settings.pop("data", DATA), journal=study, **settings)


def kill(place: str, when: int | None = None, *, stored: int = 0, **settings: Any) -> None:
    """A driver that is gone at one of its reports, or once so many trials are stored, without a word."""

    def end(number: int, _: Mapping[str, Any]) -> None:
        if number == when or (when is None and read(place, "SELECT COUNT(*) FROM temperance_trials")[0][0] >= stored):
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedStudy, "close", lambda study: (study._over.set(), study.database.close()))  # what the system does
        with pytest.raises(Killed):
            find(place, end, **settings)


@pytest.fixture(scope="module")
def whole() -> Search:
    return find(None)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trials.db'}"


def read(place: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place.removeprefix("sqlite:///"))) as connection:
        return connection.execute(sql).fetchall()


def change(place: str, sql: str) -> None:
    with closing(sqlite3.connect(place.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(sql)


def test_a_database_changes_nothing_and_what_is_done_is_read_back(whole: Search, place: str) -> None:
    assert same(whole, find(place))
    rounds = read(place, "SELECT round, start, closed, driver, until, spent FROM temperance_rounds")

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a trial is trained again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Race, "epoch", refuse)
        assert same(whole, find(place))
    assert read(place, "SELECT round, start, closed, driver, until, spent FROM temperance_rounds") == rounds and len(rounds) == 3


@pytest.mark.parametrize("when", [1, 4, 9, 17, 21, 28])
def test_a_driver_that_was_killed_goes_on_as_if_it_had_not_been(when: int, whole: Search, place: str) -> None:
    kill(place, when)
    if when % 2:
        kill(place, 4)
    assert same(whole, find(place))


def test_over_folds_too(place: str) -> None:
    kill(place, 12, split=two_folds())
    assert same(find(None, split=two_folds()), find(place, split=two_folds()))


def test_a_driver_that_hangs_loses_its_round_once_and_both_end_alike(whole: Search, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stands still in its second round until another has done the rest; back again, it adds nothing, and takes in what that did."""
    monkeypatch.setattr(shared, "BEAT", 1e9)  # the one that hangs renews nothing
    others: list[Search] = []

    def hang(number: int, _: Mapping[str, Any]) -> None:
        if number == 12 and not others:
            monkeypatch.setattr(shared, "BEAT", 0.05)
            others.append(find(place))

    assert same(whole, find(place, hang)) and same(whole, others[0])
    drivers = [driver for (driver,) in read(place, "SELECT driver FROM temperance_rounds ORDER BY round")]
    assert len(set(drivers)) == 2 and drivers[1] == drivers[2] != drivers[0]
    assert read(place, "SELECT trial FROM temperance_trials ORDER BY trial") == [(number,) for number in range(TRIALS)]


def test_drivers_share_the_trials_and_each_is_replayed_alone(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one trains its first round, another trains the rest and is interrupted while it waits: all trials are there once, in the end known to both."""
    monkeypatch.setattr(shared, "LEASE", 600.0)
    seen: list[Search] = []

    def interrupt(_: int, report: Mapping[str, Any]) -> None:
        if report["phase"] == "waiting for others" and report["trials"] == TRIALS:
            raise KeyboardInterrupt

    def share(number: int, _: Mapping[str, Any]) -> None:
        if number == 3 and not seen:
            seen.append(find(place, interrupt))

    found = find(place, share)
    assert seen[0].ended == "interrupted" and found.ended == "done"
    assert [t.status for t in seen[0].trials[:4]] == ["not started"] * 4, "the round that the other one trains"
    rounds = read(place, "SELECT driver, closed IS NULL FROM temperance_rounds ORDER BY round")
    assert len({driver for driver, _ in rounds}) == 2 and not any(still for _, still in rounds)
    assert [t.config.number for t in found.trials] == list(range(TRIALS)) and all(t.best >= 0 for t in found.trials)
    assert len({(t.config.plan.name, t.config.lr, *t.config.strengths.values()) for t in found.trials}) == TRIALS, "no driver proposes what another did"
    assert [row["round"] for row in found.rungs] == sorted(row["round"] for row in found.rungs)
    settings = {"patience": None, "memory": "4G", "criterion": found.loss, "programs": programs.Programs(False)}
    for trial in (found.trials[1], found.trials[6], found.trials[12]):
        alone = replay_member(trial.config, DATA, hold_out().folds, found.metric, **settings).outcomes[0].history
        checks = len(trial.outcomes[0].history)
        assert checks and alone[:checks] == trial.outcomes[0].history


def test_with_a_budget_finished_trials_stay_and_the_time_used_counts(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kill(place, stored=5, budget=600.0)
    done = {number for (number,) in read(place, "SELECT trial FROM temperance_trials WHERE round = 2")}
    assert 0 < len(done) < 5, "the round was cut when some of its trials had finished"
    before, trained = read(place, "SELECT MAX(spent) FROM temperance_rounds")[0][0], set[int]()
    epoch = Race.epoch

    def watched(race: Race, *given: Any, **named: Any) -> Any:
        trained.update(t.config.number for t in race.trials)
        return epoch(race, *given, **named)

    monkeypatch.setattr(Race, "epoch", watched)
    found = find(place, budget=600.0)
    assert len(found.trials) == TRIALS and all(t.best >= 0 for t in found.trials)
    assert not trained & done and {*range(4, TRIALS)} - done <= trained
    assert read(place, "SELECT MAX(spent) FROM temperance_rounds")[0][0] > before > 0


def test_networks_that_nothing_asks_for_are_removed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "REMEMBERED", 2)
    found = find(place)
    kept = [number for (number,) in read(place, "SELECT trial FROM temperance_trials WHERE states IS NOT NULL ORDER BY trial")]
    assert kept == [t.config.number for t in found.trials if any(o.state is not None for o in t.outcomes)] and len(kept) == 2


def with_dropout() -> StaticPlan:
    """The first plan, whose networks have one more layer, without weights."""
    plan = small_plan("a", earliest=1)
    return replace(plan, build=lambda seed: nn.Sequential(plan.build(seed), nn.Dropout(0.5)))


OTHERS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1}, "trials": {"trials": 12}, "strategy": {"strategy": "keep"}, "data": {"data": two_classes(seed=1)}, "split": {"split": two_folds()},
    "search space": {"plans": [small_plan("a", earliest=1, lr=(1e-3, 1e-2)), small_plan("b", hidden=5, earliest=1)]},
    "network": {"plans": [small_plan("a", earliest=1), small_plan("b", hidden=6, earliest=1)]},
    "network with the same weights": {"plans": [with_dropout(), small_plan("b", hidden=5, earliest=1)]},
    "loss": {"criterion": nn.CrossEntropyLoss(label_smoothing=0.1)}, "precision": {"precision": "bf16"},
}  # fmt: skip


def test_another_search_is_refused_by_what_differs(place: str) -> None:
    find(place, trials=2)
    before = read(place, "SELECT * FROM temperance_trials")
    for what, settings in OTHERS.items():
        with pytest.raises(ConfigError, match=f"{'search space' if what.startswith('network') else what}.*another name"):
            find(place, **{"trials": 2, **settings})
    assert read(place, "SELECT * FROM temperance_trials") == before


def test_a_new_study_is_refused_where_one_is_and_started_over_where_nobody_trains(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shared, "LEASE", 600.0)
        kill(place, stored=1)
    with pytest.raises(ConfigError, match=r"that nobody trains, got study 'study' of sqlite.*process"):
        find(place, mode="over")
    with pytest.raises(ConfigError, match=r"--resume goes on.*--study-name.*--overwrite"):
        find(place, mode="new")
    change(place, "UPDATE temperance_rounds SET until = 0.0")
    assert len(find(place, mode="over", trials=2).trials) == 2
    assert read(place, "SELECT COUNT(*) FROM temperance_trials") == [(2,)]
    kill(f"{place}2", 1)
    change(f"{place}2", "UPDATE temperance_rounds SET until = 0.0")
    assert len(find(f"{place}2", mode="new", trials=2).trials) == 2, "without a finished trial there is nothing to lose"


def test_a_driver_that_has_not_begun_to_train_is_told_when_another_search_takes_its_name(place: str) -> None:
    with SharedStudy(place, "study") as one, SharedStudy(place, "study") as two, SharedStudy(place, "study") as other:
        one.begin({"seed": 0, "source": "/here.csv"})
        two.begin({"seed": 0, "source": "/there.csv"})
        for study in (one, two):
            with study.turn(()) as rounds:
                assert rounds == []
        assert other.begin({"seed": 1}) == {"seed": 1}
        with pytest.raises(ConfigError, match=r"started over by another driver.*--study-name"), one.turn(()):
            pass
        with other.turn(()) as rounds:
            assert rounds == []


def test_a_driver_that_slept_while_its_study_was_started_over_adds_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "BEAT", 1e9)  # it renews nothing

    def sleep(number: int, _: Mapping[str, Any]) -> None:
        if number == 12:
            change(place, "UPDATE temperance_rounds SET until = 0.0")
            find(place, mode="over", trials=2)

    with pytest.raises(ConfigError, match="started over by another driver"):
        find(place, sleep)
    assert read(place, "SELECT COUNT(*), MAX(round) FROM temperance_trials") == [(2, 1)]


def test_finished_trials_of_a_round_that_has_not_ended_ship_when_the_time_is_over(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kill(place, stored=5, budget=600.0)
    done = [number for (number,) in read(place, "SELECT trial FROM temperance_trials ORDER BY trial")]
    with SharedStudy(place, "study") as study, monkeypatch.context() as patch:
        patch.setattr(study.database, "now", "0.0")  # while somebody trains
        with study.turn({1}) as rounds:
            assert not rounds[0].trials and not rounds[0].states, "who waits reads no networks"
        with study.turn({1}, running=True) as rounds:
            assert [t["trial"] for t in rounds[0].trials] == done[4:] == sorted(rounds[0].states)
    monkeypatch.setattr(engine_module.Engine, "left", lambda _: -1.0)
    found = find(place, budget=600.0)
    assert [t.config.number for t in found.trials if t.best >= 0] == done and len(done) > 4


@pytest.mark.parametrize("harm", ["states", "said", "start", "version"])
def test_what_no_driver_wrote_is_refused(harm: str, place: str) -> None:
    find(place, trials=2)
    sql = {
        "states": "UPDATE temperance_trials SET states = x'00112233'",
        "said": "UPDATE temperance_trials SET said = '{'",
        "start": "UPDATE temperance_rounds SET start = '{}'",
        "version": "UPDATE temperance_studies SET version = 2",
    }[harm]
    change(place, sql)
    with pytest.raises(ConfigError, match="study 'study' of sqlite"):
        find(place, trials=2)
