"""Models whose networks answer from similar rows, of rows with weights: saved, loaded, replayed, exported and trained again on other rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import temperance as tp
from temperance.job import Job, fit_table, load, prepare, replay_trial
from temperance.job.prepare import tabular_plans
from temperance.nets import NeighborNet

ROWS = 220


def rare(seed: int = 0) -> pd.DataFrame:
    """One row in five is of the rare class, which lies in a corner."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(ROWS, 3))
    y = np.where(x[:, 0] + x[:, 1] + 0.5 * draw.normal(size=ROWS) > 1.3, "rare", "common")
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "w": draw.uniform(0.1, 3.0, ROWS), "kind": y})


@pytest.fixture(autouse=True)
def only_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what ships answers from similar rows; short runs, because nothing here is about their scores."""
    monkeypatch.setattr(prepare, "tabular_plans", lambda *given, **asked: [replace(tabular_plans(*given, **asked)[-1], epochs=20.0)])


def fit(folder: Path, **settings: Any) -> Job:
    given: dict[str, Any] = {"trials": 1, "refits": 1, "ensemble": 1, "out": folder, **settings}
    return fit_table(rare(), "kind", **given)


def networks(job: Job) -> list[NeighborNet]:
    return [m for m in load(job.folder).model.modules() if isinstance(m, NeighborNet)]


@pytest.mark.parametrize("settings", [{"metric": "balanced_accuracy", "ignore": ["w"]}, {"weight": "w"}])
def test_a_saved_model_has_the_weights_of_its_rows_and_serves_as_every_model(tmp_path: Path, settings: dict[str, Any]) -> None:
    job = fit(tmp_path / "out", **settings)
    for network in networks(job):
        assert network.weighted and len(network.rows_weight) == len(network.rows_y) == ROWS
        assert float(network.rows_weight.mean()) == pytest.approx(1.0, rel=1e-5) and float(network.rows_weight.std()) > 0.1
        if "metric" in settings:
            totals = network.rows_y.t() @ network.rows_weight
            assert float(totals.max() / totals.min()) == pytest.approx(1.0, rel=0.1), "classes count alike over the rows of the search"
    assert replay_trial(job.folder, job.summary["search"]["winner"], data=rare())["same"] is True
    written = load(job.folder).export(onnx=tmp_path / "m.onnx", torch=tmp_path / "m.pt2")  # which compare themselves with the model
    assert len(written) == 2


def test_without_weights_nothing_is_kept_of_them(tmp_path: Path) -> None:
    (network, *_) = networks(fit(tmp_path / "out", ignore=["w"]))
    assert not network.weighted and "rows_weight" not in network.state_dict()


def test_a_recipe_that_was_found_without_weights_trains_on_rows_with_weights(tmp_path: Path) -> None:
    job, rows = fit(tmp_path / "out", ignore=["w"]), rare(1)
    answers = []
    for weight in (None, np.where(rows["kind"] == "rare", 20.0, 1.0)):
        made = tp.TemperanceClassifier(recipe=job.folder).fit(rows[["a", "b", "c"]], rows["kind"], sample_weight=weight)
        answers.append(made.predict_proba(rows[["a", "b", "c"]])[:, 1].mean())
    assert answers[1] > answers[0] + 0.1, "rows of the rare class count twenty times"
