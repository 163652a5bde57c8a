"""The answers at the top of the report: differences on the same rows, against numbers found otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.job.conftest import Fit, make_people

from temperance.job import Job
from temperance.job.paired import draws, paired
from temperance.train.metrics import metric_for


def test_a_paired_difference_by_hand() -> None:
    """Two networks differ in 6 of 100 rows, always for the better: the standard error of a paired difference is √(0.06 · 0.94 / 100)."""
    y = torch.nn.functional.one_hot(torch.arange(100) % 2, 2).float()
    ours, theirs = y.clone(), y.clone()
    ours[:30], theirs[:36] = y[:30].flip(1), y[:36].flip(1)
    found = paired(metric_for("accuracy", "classification"), [ours], [theirs], y, torch.ones(100), seed=0)
    assert found["value"] == pytest.approx(0.06)
    half = 1.96 * np.sqrt(0.06 * 0.94 / 100)
    low, high = found["low"], found["high"]
    assert low is not None and high is not None
    # ends of 400 draws: a quantile of 2.5 % has a standard error of about a tenth of its distance
    assert 0.06 - low == pytest.approx(half, rel=0.3) and high - 0.06 == pytest.approx(half, rel=0.3)
    turned = paired(metric_for("log_loss", "classification"), [ours * 0.98 + 0.01], [theirs * 0.98 + 0.01], y, torch.ones(100), seed=0)
    assert turned["value"] is not None and turned["value"] > 0  # lower is better, and + is better


def test_several_networks_are_scored_one_by_one() -> None:
    y = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    a, b = y + 0.1, y - 0.4
    metric = metric_for("rmse", "regression")
    found = paired(metric, [a, b], [y], y, torch.ones(50), seed=1)
    assert found["value"] == pytest.approx(-(0.1 + 0.4) / 2, abs=1e-6)  # the average of both would miss by 0.15 only
    assert draws(metric, 50, 1).sum(1).tolist() == [50.0] * 400


def test_a_score_that_is_not_defined_has_no_difference() -> None:
    y = torch.tensor([[0.0, 1.0]]).repeat(30, 1)
    p = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    assert paired(metric_for("auc", "classification"), [p], [p], y, torch.ones(30), seed=0)["value"] is None


def test_the_cocktail_is_judged_on_the_networks_of_the_winning_trial(job: Job) -> None:
    found, summary = job.search, job.summary
    told, gap = summary["verdicts"]["cocktail"], summary["gap"]
    assert summary["verdicts"]["metric"] == "accuracy"
    if all(r.is_off() for r in found.cocktail):
        assert told["answer"] == "no" and "every strength off" in told["why"]
    else:
        assert told["with"] == pytest.approx(gap["with"]["test"]) and told["without"] == pytest.approx(gap["without"]["test"])
        assert told["value"] == pytest.approx(gap["with"]["test"] - gap["without"]["test"])
        assert told["low"] <= told["value"] <= told["high"] and told["n"] == summary["scores"]["n_test"]
    fits = summary["verdicts"]["overfitting"]
    assert fits["train"] == pytest.approx(gap["with"]["train"]) and fits["held"] == pytest.approx(gap["with"]["test"])
    assert fits["value"] == pytest.approx(fits["train"] - fits["held"]) and fits["low"] <= fits["value"] <= fits["high"]


def test_rivals_are_compared_with_what_was_scored(job: Job) -> None:
    ours = job.summary["scores"]["test"]["accuracy"]["value"]
    for rival in job.summary["rivals"]:
        assert rival["difference"]["value"] == pytest.approx(ours - rival["test"]["accuracy"]["value"], abs=1e-6)  # single precision
        assert rival["difference"]["answer"] in ("better", "worse", "too close to tell")


def test_values_are_compared_in_their_own_units_and_less_is_better(fit: Fit) -> None:
    job = fit("price", metric="rmse", trials=2, refits=1)
    frame = make_people()["price"].to_numpy()
    assert frame.std() > 2  # units matter
    told, gap = job.summary["verdicts"]["overfitting"], job.summary["gap"]
    assert told["held"] == pytest.approx(gap["with"]["test"]) and told["value"] == pytest.approx(gap["with"]["test"] - gap["with"]["train"])
    values = job.summary["rivals"][1]
    assert values["difference"]["value"] == pytest.approx(values["test"]["rmse"]["value"] - job.summary["scores"]["test"]["rmse"]["value"], rel=1e-5)
