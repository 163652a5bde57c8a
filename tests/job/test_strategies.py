"""Fits by every strategy, and what of them can be trained again."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tests.job.conftest import Fit

from temperance.core.errors import ConfigError
from temperance.job import fit_table, replay_trial
from temperance.search.result import Search

fit_module = sys.modules[fit_table.__module__]


def test_a_trial_that_passed_two_rungs_is_replayed(fit: Fit) -> None:
    job = fit("rich", trials=8, strategy="rungs")
    assert {t.status.split(" ")[0] for t in job.search.trials} >= {"dropped", "finished"}
    assert replay_trial(job.folder, job.search.winner.config.number)["same"] is True


def test_a_copy_cannot_be_trained_alone_and_says_so(fit: Fit) -> None:
    job = fit("rich", trials=18, strategy="pbt")
    copies = [row for row in job.summary["search"]["table"] if row.get("parent") is not None]
    assert copies
    with pytest.raises(ConfigError, match=r"Trial \d+ of .* went on from the state of trial \d+, so it cannot be trained alone"):
        replay_trial(job.folder, copies[0]["trial"])
    first = next(row for row in job.summary["search"]["table"] if row.get("parent") is None and row["status"] == "finished")
    assert replay_trial(job.folder, first["trial"])["same"] is True
    winner = next(row for row in job.summary["search"]["table"] if row["trial"] == job.summary["search"]["winner"])
    assert ("replay" in job.summary) is (winner.get("parent") is None)


def test_a_winner_that_is_a_copy_has_no_replay_and_says_why(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    search = fit_module.search_plans

    def copied(*arguments: Any, **settings: Any) -> Search:
        found = search(*arguments, **settings)
        found.winner.parent = next(t for t in found.trials if t is not found.winner)
        return found

    monkeypatch.setattr(fit_module, "search_plans", copied)
    job = fit("rich", trials=2, refits=1)
    assert "replay" not in job.summary
    assert any("went on from the state of trial" in warning and "cannot be replayed alone" in warning for warning in job.summary["warnings"])


def test_the_strategy_is_recorded(fit: Fit) -> None:
    job = fit("rich", trials=2, refits=1, strategy="rungs", ensemble=1)
    run = json.loads((job.folder / "run.json").read_text(encoding="utf-8"))
    assert {key: run[key] for key in ("strategy", "ensemble", "refits", "budget", "trials")} == {
        "strategy": "rungs",
        "ensemble": 1,
        "refits": 1,
        "budget": None,
        "trials": 2,
    }
    assert job.summary["search"]["strategy"] == "rungs"
    assert "Strategy rungs: the best quarter goes on" in (job.folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "value"), [("refits", 0), ("refits", 1.5), ("refits", True), ("ensemble", 0)])
def test_numbers_are_refused_before_anything_is_read(fit: Fit, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"Expected `{name}` of search to be a whole number in \[1, inf\), got {value}"):
        fit("no such column", source="nowhere.csv", **{name: value})


def test_an_unknown_strategy_leaves_nothing_behind(fit: Fit) -> None:
    with pytest.raises(ConfigError, match=r"Expected `strategy` of search to be one of keep, rungs, lengths, forks, pbt, got 'grid'"):
        fit("rich", strategy="grid")
