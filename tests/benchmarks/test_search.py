"""The search benchmark: the same rows and the same space for every arm."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import rivals, search


@pytest.fixture
def table(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    x = draw.normal(size=200)
    frame = pd.DataFrame({"x": x, "gap": np.where(draw.random(200) < 0.1, np.nan, 5.0 + x), "word": pd.Categorical(draw.choice(["a", "b", "c"], 200))})
    frame["target"] = pd.Categorical(np.where(x > 0, "yes", "no"))
    frame.to_parquet(tmp_path / "made.parquet")
    return tmp_path / "made.parquet"


def test_rows_are_split_in_three_and_scaled_by_the_training_rows(table: Path) -> None:
    rows = search.encoded(table, 0)
    assert [len(rows[f"y_{part}"]) for part in search.PARTS] == [120, 40, 40]
    assert rows["x_train"].shape[1] == 2 + 3 and rows["x_train"].dtype == np.float32
    assert all(np.isfinite(rows[f"x_{part}"]).all() for part in search.PARTS)
    np.testing.assert_allclose(rows["x_train"][:, 0].mean(), 0.0, atol=1e-6)
    np.testing.assert_allclose(rows["x_train"][:, 0].std(), 1.0, rtol=1e-6)
    assert abs(float(rows["x_test"][:, 0].mean())) > 1e-3  # its own mean has not been taken out
    assert set(np.unique(rows["x_test"][:, 2:])) == {0.0, 1.0}
    assert not np.array_equal(rows["x_train"], search.encoded(table, 1)["x_train"])


def test_the_split_gives_the_package_the_same_parts(table: Path) -> None:
    rows = search.encoded(table, 0)
    data, split = search.dataset(rows)
    for part, index in zip(search.PARTS, (split.train, split.validation, split.test), strict=True):
        own = data.take(index)
        assert isinstance(own.x, torch.Tensor) and isinstance(own.y, torch.Tensor)
        np.testing.assert_array_equal(own.x.numpy(), rows[f"x_{part}"])
        np.testing.assert_array_equal(own.y.argmax(1).numpy(), rows[f"y_{part}"])


def test_the_loop_knows_every_strength_of_the_space() -> None:
    space = search.space()
    assert set(space.strengths) == set(rivals.STRENGTHS)
    assert all(spec["off"] == 0.0 for spec in space.strengths.values())
    params = space.params({"dropout.rate": 0.1}, 1e-3)
    assert params["dropout.rate"] == 0.1 and params["dropout.rate.on"] and not params["ema.decay.on"] and "ema.decay" not in params


@pytest.mark.parametrize("arm", ["tpe", "random"])
def test_a_worker_gives_a_curve_that_only_rises(arm: str, table: Path, tmp_path: Path) -> None:
    rows = search.encoded(table, 0)
    np.savez(tmp_path / "data.npz", allow_pickle=False, **rows)
    space = search.space()
    job: dict[str, Any] = {
        "arm": arm,
        "data": str(tmp_path / "data.npz"),
        "study": str(tmp_path / "study.log"),
        "classes": 2,
        "seed": 0,
        "sampler_seed": 0,
        "seconds": 0.5,
        "epochs": 3.0,
        "hidden": (8,),
        "batch": 32,
        "lr": search.RATES,
        "strengths": space.strengths,
        "first": [space.params({}, 1e-3)],
        "kept": str(tmp_path / "kept.npz"),
    }
    with warnings.catch_warnings(), torch.random.fork_rng():
        rivals.quiet()
        if arm == "tpe":
            rivals.shared_study(job["study"], 0, job["first"])
        got = rivals.work(json.loads(json.dumps(job)), lambda: None)
    seconds, scores, tests = zip(*got["curve"], strict=True)
    assert list(seconds) == sorted(seconds) and list(scores) == sorted(set(scores)) and all(0.0 <= t <= 1.0 for t in tests)
    assert got["trials"] >= 1 and got["steps"] >= 1  # how many depends on the machine
    kept = dict(np.load(tmp_path / "kept.npz"))
    assert kept["validation"].shape == (len(kept["score"]), 40, 2) and kept["test"].shape == (len(kept["score"]), 40, 2)
    np.testing.assert_allclose((kept["validation"].argmax(-1) == rows["y_validation"]).mean(-1), kept["score"], atol=1e-6)
    assert all((np.diff(kept["score"][kept["trial"] == trial]) > 0).all() for trial in np.unique(kept["trial"]))  # best states so far


def test_a_rival_averages_over_its_workers_what_there_is_at_each_time(table: Path) -> None:
    rows = search.encoded(table, 0)
    right = {part: np.eye(2, dtype=np.float32)[rows[f"y_{part}"]] * 0.8 + 0.1 for part in search.PARTS[1:]}

    def worker(score: float, seconds: float, flipped: int) -> dict[str, np.ndarray]:
        wrong = {part: np.where(np.arange(len(p))[:, None] % 10 == flipped, 1 - p, p)[None] for part, p in right.items()}
        return {"seconds": np.array([seconds]), "trial": np.array([0]), "score": np.array([score]), **wrong}

    with torch.random.fork_rng():
        curve = search.averaged([worker(0.9, 1.0, 0), worker(0.9, 4.0, 5)], rows, 7.0, 0)
    assert [entry[0] for entry in curve] == pytest.approx([3.0, 6.0, 6.5], abs=1.0)
    assert curve[0][1:] == [pytest.approx(0.9), pytest.approx(0.9), pytest.approx(0.9), 1]
    assert curve[1][4] in (1, 2)
    assert search.averaged([worker(0.9, 5.0, 0)], rows, 4.0, 0) == []
