"""A search that ended at any moment goes on as if it had not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.job.faults import Disk, full
from tests.search.small import hold_out, same_bits, small_plan, two_classes, two_folds

from temperance.core.errors import ConfigError
from temperance.search import engine as engine_module, programs, rungs
from temperance.search.budget import Clock
from temperance.search.journal import LINES, Journal
from temperance.search.result import Search
from temperance.search.resume import FIRST_CHECK_PHASE
from temperance.search.search import search_plans

DATA = two_classes()


class Killed(BaseException):
    """Ends a search at once, as a signal that cannot be caught: nothing is written after it."""


@pytest.fixture(scope="module", autouse=True)
def several_waves() -> Iterator[None]:
    """Waves of four, five and four trials, with a rung, and reports at every check."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rungs, "FIRST", 4)
        patch.setattr(engine_module, "MOST_WAVE", 5)
        patch.setattr(engine_module, "TICK", 0.0)
        patch.setattr(programs, "WORTH", float("inf"))
        yield


def find(folder: Path | None, kill: int = 0, **settings: Any) -> tuple[Search, int]:
    """The search and the number of its reports; killed at one of them."""
    told = 0

    def tell(report: Mapping[str, Any]) -> None:
        nonlocal told
        told += 1
        if told == kill:
            raise Killed

    settings = {"split": hold_out(), "on_progress": tell, "trials": 13, "ensemble": 4, "refits": 2, "strategy": "rungs", **settings}
    plans = [small_plan("a", earliest=1), small_plan("b", hidden=5, earliest=1)]
    journal = None if folder is None else Journal(folder)
    return search_plans(plans, DATA, journal=journal, **settings), told


def same(one: Search, two: Search) -> bool:
    """The same trials with the same curves, the same winner, and networks and scores that are equal to the last bit."""
    networks = len(one.refit.networks) == len(two.refit.networks) and all(map(same_bits, one.refit.networks, two.refit.networks))
    curves = one.history().equals(two.history()) and one.table().equals(two.table())
    rest = (one.winner.config.number, one.scores, one.gap, one.rungs, one.ended) == (two.winner.config.number, two.scores, two.gap, two.rungs, two.ended)
    return networks and curves and rest


@pytest.fixture(scope="module")
def whole() -> tuple[Search, int]:
    return find(None)


def cut(folder: Path, kill: int, **settings: Any) -> Journal:
    """A search that was killed at one of its reports."""
    with pytest.raises(Killed):
        find(folder, kill, **settings)
    return Journal(folder)


def test_killed_anywhere_the_same_search_follows(whole: tuple[Search, int], tmp_path: Path) -> None:
    """Killed at moments all over the search, and some once more while they go on."""
    found, reports = whole
    assert found.refit.how == "same_epochs" and len(found.table()) == 13
    waves: set[int] = set()
    for kill in range(2, reports, reports // 6):
        waves.add(sum(wave.closed is not None for wave in cut(tmp_path / str(kill), kill).waves))
        if kill % 2:
            cut(tmp_path / str(kill), 3)
        assert same(found, find(tmp_path / str(kill))[0]), kill
    assert waves == {0, 1, 2, 3}, "kills in every wave and after the last"


def test_over_folds_too(tmp_path: Path) -> None:
    found, reports = find(tmp_path / "whole", split=two_folds())
    cut(tmp_path / "cut", reports - 4, split=two_folds())
    assert same(found, find(tmp_path / "cut", split=two_folds())[0])


def test_a_journal_changes_nothing_and_one_that_is_done_is_read_back(whole: tuple[Search, int], tmp_path: Path) -> None:
    assert same(whole[0], find(tmp_path)[0]) and len(Journal(tmp_path).waves) == 3
    size = (tmp_path / LINES).stat().st_size
    again, reports = find(tmp_path)
    assert same(whole[0], again) and reports < whole[1], "no trial is trained again"
    new = (tmp_path / LINES).read_bytes()[size:].splitlines()
    assert {json.loads(line)["kind"] for line in new} <= {"time"}


def test_an_interrupted_search_goes_on(whole: tuple[Search, int], tmp_path: Path) -> None:
    """Ctrl-C ships the best so far; the trials that it cut are trained again when the search goes on."""
    told = 0

    def stop(report: Mapping[str, Any]) -> None:
        nonlocal told
        told += 1
        if told == 10:
            raise KeyboardInterrupt

    assert find(tmp_path, on_progress=stop)[0].ended == "interrupted"
    assert same(whole[0], find(tmp_path)[0])


@pytest.mark.parametrize("remembered", [2, 64])
def test_trials_of_a_cut_wave_stay_until_one_of_them_has_finished_again(
    remembered: int, whole: tuple[Search, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the networks that they may ship: a second kill before that loses nothing."""
    monkeypatch.setattr(engine_module, "REMEMBERED", remembered)
    found, waves = find(None)[0], set[int]()
    for kill in range(4, whole[1], 3):
        before = cut(tmp_path / str(kill), kill)
        finished = {t["trial"] for wave in before.waves for t in wave.trials}
        if not before.waves or before.waves[-1].closed is not None or not before.waves[-1].trials or len(before.waves) in waves:
            continue
        waves.add(len(before.waves))
        after = cut(tmp_path / str(kill), 1)
        assert {t["trial"] for wave in after.waves for t in wave.trials} == finished
        assert all(after.states(wave).keys() == before.states(wave).keys() for wave in after.waves)
        shipped = search_plans(
            [small_plan("a", earliest=1), small_plan("b", hidden=5, earliest=1)], DATA, journal=after, split=hold_out(), trials=13, ship=True
        )
        assert shipped.winner.config.number in finished
        assert same(found, find(tmp_path / str(kill))[0])
        done = Journal(tmp_path / str(kill)).waves
        assert len(done) == 3 and all(wave.closed is not None for wave in done)
        named = {t["states"] for wave in done for t in wave.trials}
        assert {path.name for path in (tmp_path / str(kill)).glob("states-*")} <= named, "what was trained again has no other file"
    assert waves == {1, 2, 3}


def test_a_first_check_is_read_back(tmp_path: Path) -> None:
    """A budget that was over before a network was evaluated, and a process that ended while it wrote what it had found."""
    first, again = (find(tmp_path, trials=None, budget=0.01, clock=Clock(0.01, time.monotonic() - 60))[0] for _ in range(2))
    assert Journal(tmp_path).waves[-1].phase == FIRST_CHECK_PHASE
    assert again.winner.config.number == first.winner.config.number and again.winner.score == first.winner.score


@pytest.mark.parametrize("lost", [1, 7, 100, 2000])
def test_a_line_that_was_not_written_whole_is_dropped(lost: int, whole: tuple[Search, int], tmp_path: Path) -> None:
    """Whatever is missing at the end, and whatever came to stand there, what is before it counts."""
    cut(tmp_path, 14)
    text = (tmp_path / LINES).read_bytes()
    (tmp_path / LINES).write_bytes(text[:-lost] + b'\x00{"kind":')
    assert same(whole[0], find(tmp_path)[0])
    for line in (tmp_path / LINES).read_bytes().splitlines():
        json.loads(line)


def test_a_journal_is_cut_at_any_byte(tmp_path: Path) -> None:
    """What is read of a file that ends anywhere is what its whole lines say."""
    cut(tmp_path, 14)
    text = (tmp_path / LINES).read_bytes()
    whole, ends = Journal(tmp_path), [i for i, byte in enumerate(text) if byte == 10]
    for length in [*range(0, len(text), 97), *ends, *(end + 1 for end in ends)]:
        (tmp_path / LINES).write_bytes(text[:length])
        read = Journal(tmp_path)
        lines = [json.loads(line) for line in text[:length].split(b"\n")[:-1]]
        assert len(read.waves) == sum(line["kind"] == "wave" for line in lines)
        numbers = [t["trial"] for wave in read.waves for t in wave.trials]
        assert numbers == [t["trial"] for wave in whole.waves for t in wave.trials][: len(numbers)]
        assert len(numbers) == sum(len(line["trials"]) for line in lines if line["kind"] == "trials")


def test_every_finished_trial_is_there_with_what_it_needs_to_ship(whole: tuple[Search, int], tmp_path: Path) -> None:
    """After each wave, the trials so far with their curves, and the best states of those that may ship."""
    journal = cut(tmp_path, whole[1])
    trials = {t["trial"]: t for wave in journal.waves for t in wave.trials}
    assert set(trials) == set(range(13))
    for trial in whole[0].trials:
        said = trials[trial.config.number]
        assert (said["status"], said["best"]) == (trial.status, trial.best) and said["strengths"] == dict(trial.config.strengths)
        assert [dict(zip(o["columns"], row, strict=True)) for o in said["outcomes"] for row in o["rows"]] == trial.outcomes[0].history
    states = {number: own for wave in journal.waves for number, own in journal.states(wave).items()}
    assert set(states) == set(range(13))


def test_networks_that_nothing_asks_for_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine_module, "REMEMBERED", 2)
    found, reports = find(tmp_path / "whole")
    journal = cut(tmp_path / "cut", reports - 1)
    kept = {number for wave in journal.waves for number in journal.states(wave)}
    best = {t.config.number for t in found.trials if any(o.state is not None for o in t.outcomes)}
    assert best <= kept and len(kept) < 13 and len(best) == 2
    assert len(list((tmp_path / "cut").glob("states-*"))) == len({t["states"] for w in journal.waves for t in w.trials if t["trial"] in kept})
    assert same(found, find(tmp_path / "cut")[0])


@pytest.mark.parametrize("harm", ["gone", "broken", "seed", "data"])
def test_trials_of_another_search_and_lost_networks_are_refused(harm: str, whole: tuple[Search, int], tmp_path: Path) -> None:
    cut(tmp_path, whole[1])
    states = next(tmp_path.glob("states-*"))
    if harm == "gone":
        states.unlink()
    elif harm == "broken":
        states.write_bytes(states.read_bytes()[:100])
    what = "cannot be read" if harm in ("gone", "broken") else "is not what this search proposes"
    with pytest.raises(ConfigError, match=f"{what}.*--overwrite"):
        find(tmp_path, seed=1 if harm == "seed" else 0, split=two_folds() if harm == "data" else hold_out())


def test_a_run_over_other_plans_is_refused(whole: tuple[Search, int], tmp_path: Path) -> None:
    """As one of another version may be."""
    cut(tmp_path, whole[1])
    journal, plans = Journal(tmp_path), [small_plan("a", earliest=1), small_plan("b", hidden=5, earliest=1), small_plan("c", earliest=1)]
    for ship in (False, True):
        with pytest.raises(ConfigError, match=r"searched over the plans a, b; this search would be over a, b, c: .*--overwrite"):
            search_plans(plans, DATA, journal=journal, split=hold_out(), trials=13, strategy="rungs", ship=ship)


def test_what_is_finished_ships_without_training(whole: tuple[Search, int], tmp_path: Path) -> None:
    cut(tmp_path, whole[1] // 2)
    done = {t["trial"] for wave in Journal(tmp_path).waves for t in wave.trials}
    found, _ = find(tmp_path, ship=True)
    assert (found.ended, found.refit.how) == ("interrupted", "none")
    assert {t.config.number for t in found.trials if t.status != "not started"} == done
    assert found.winner.score == max(t.score for t in found.trials if t.config.number in done)


def test_with_a_budget_the_finished_trials_stay_and_the_time_used_counts(tmp_path: Path) -> None:
    """The clock decides how many trials there are: those that were cut are given up, and full runs have the length that they had."""
    settings: dict[str, Any] = {"trials": 9, "budget": 600.0}
    journal = cut(tmp_path, 22, **settings)
    spent, done = journal.spent, [t["trial"] for wave in journal.waves for t in wave.trials]
    assert done and 0 < spent < 600
    clock = Clock(600.0)
    clock.start -= spent
    found, _ = find(tmp_path, clock=clock, **settings)
    assert {t.config.number for t in found.trials if t.status != "not started"} >= set(done) and len(found.trials) == 9
    assert Journal(tmp_path).spent > spent


def test_a_full_disk_at_any_write_ends_the_search_and_loses_nothing(whole: tuple[Search, int], tmp_path: Path) -> None:
    """At the first lines, a file of networks, a line, a sync and a rename of later waves: with room again the same search follows."""
    watched = Disk(0, full)
    with pytest.MonkeyPatch.context() as patch:
        watched.install(patch)
        find(tmp_path / "counted")
    failed = 0
    for k in (1, 2, 4, *range(5, watched.done, watched.done // 6)):
        with pytest.MonkeyPatch.context() as patch:
            Disk(k, full).install(patch)
            try:
                found = find(tmp_path / str(k))[0]
            except OSError:
                failed += 1
                found = None
        assert same(found or find(tmp_path / str(k))[0], whole[0]), k
    assert failed >= 6, "when finished trials are written depends on the clock, so that a later operation may not come"
