"""Fits by every strategy, and what of them can be trained again."""

from __future__ import annotations

import pytest
from tests.job.conftest import Fit

from temperance.core.errors import ConfigError
from temperance.job import replay_trial


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


def test_an_unknown_strategy_leaves_nothing_behind(fit: Fit) -> None:
    with pytest.raises(ConfigError, match=r"Expected `strategy` of search to be one of keep, rungs, pbt, got 'grid'"):
        fit("rich", strategy="grid")
