"""Fits by every strategy, and that all their trials can be trained again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.job.conftest import Fit

from temperance.core.errors import ConfigError
from temperance.job import replay_trial
from temperance.search.strategy import STRATEGIES


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_trial_is_replayed(fit: Fit, strategy: str) -> None:
    """The dropped ones too, wherever they were dropped."""
    job = fit("rich", trials=8, strategy=strategy)
    assert {t.status.split(" ")[0] for t in job.search.trials} >= {"dropped", "finished"}
    assert [replay_trial(job.folder, t.config.number)["same"] for t in job.search.trials] == [True] * 8


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
    with pytest.raises(ConfigError, match=r"Expected `strategy` of search to be one of keep, rungs, got 'grid'"):
        fit("rich", strategy="grid")
