"""Column importance: a planted column is found, noise is not, a column moves as one, and time is kept."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from temperance.core.criterion import SoftmaxCrossEntropy, SquaredError
from temperance.core.random import key_of
from temperance.data import Dataset, TableEncoder
from temperance.job.importance import Shuffles, importance, places, shuffled
from temperance.search.budget import Clock
from temperance.train.metrics import metric_for

N = 400


def table(more: int = 0) -> pd.DataFrame:
    """A number that decides, its copy, a number with gaps, a category with gaps, and noise."""
    generator = np.random.default_rng(0)
    decides = generator.normal(size=N)
    gaps = np.where(generator.random(N) < 0.3, np.nan, generator.normal(size=N))
    job = generator.choice(np.array(["cook", "smith", None], dtype=object), N)
    noise = {f"noise {k}": generator.normal(size=N) for k in range(1 + more)}
    return pd.DataFrame({**noise, "gaps": gaps, "decides": decides, "job": job, "copy": decides})


def rows_of(model: Any, frame: pd.DataFrame, metric: str = "r2") -> tuple[Shuffles, TableEncoder]:
    encoder = TableEncoder().fit(frame)
    x = encoder.transform(frame)
    y = model(x)

    return Shuffles(model, x, y, torch.ones(N), metric_for(metric, "regression"), key_of(3)), encoder


def column(encoder: TableEncoder, name: str) -> int:
    return places(encoder)[name]["num"][0]


def test_a_column_that_decides_is_first_and_noise_costs_nothing() -> None:
    frame = table()
    encoder = TableEncoder().fit(frame)
    at = column(encoder, "decides")
    for metric, least in (("r2", 1.5), ("rmse", 1.0)):  # shuffling doubles the squared error of the mean: R² falls by 2, RMSE rises by √2 · sd
        rows, encoder = rows_of(lambda x: x["num"][:, [at]], frame, metric)
        found = rows.measured(places(encoder), 5, 0, lambda: False)
        assert found[0]["name"] == "decides"
        assert found[0]["value"] > least
        assert found[0]["low"] < found[0]["value"] < found[0]["high"]
        assert {row["value"] for row in found[1:]} == {0.0}  # a copy that the model does not read, too
        assert {row["name"] for row in found} == set(frame.columns)


def test_columns_that_tell_the_same_share_what_one_of_them_would_cost() -> None:
    frame = table()
    encoder = TableEncoder().fit(frame)
    pair = [column(encoder, "decides"), column(encoder, "copy")]
    rows, encoder = rows_of(lambda x: x["num"][:, pair].mean(1, keepdim=True), frame)
    found = {row["name"]: row["value"] for row in rows.measured(places(encoder), 5, 0, lambda: False)}
    assert 0.3 < found["decides"] < 0.7  # (x - x')² / 4 on average: half the variance
    assert 0.3 < found["copy"] < 0.7


def test_a_number_moves_with_its_mark_and_nothing_else_moves() -> None:
    frame = table()
    encoder = TableEncoder().fit(frame)
    x = encoder.transform(frame)
    place = places(encoder)["gaps"]
    assert len(place["num"]) == 2  # the number, and whether it is missing
    order = torch.arange(N).roll(1)
    out = shuffled(x, place, order)
    assert torch.equal(out["num"][:, place["num"]], x["num"][order][:, place["num"]])
    kept = [k for k in range(x["num"].shape[1]) if k not in place["num"]]
    assert torch.equal(out["num"][:, kept], x["num"][:, kept])
    assert torch.equal(out["cat"], x["cat"])
    assert not torch.equal(out["num"], x["num"])
    assert torch.equal(x["num"], encoder.transform(frame)["num"])


def test_a_number_moves_with_the_code_of_its_frequent_values() -> None:
    values = [0.0] * 100 + [v for v in (3.0, 5.0, 8.0) for _ in range(10)] + np.linspace(3.2, 7.8, 25).tolist()
    encoder = TableEncoder().fit(pd.DataFrame({"gain": values, "job": ["a", "b", "b", "a", "b"] * 31}))
    assert places(encoder) == {"gain": {"num": [0], "cat": [1]}, "job": {"cat": [0]}}


def test_a_category_with_missing_cells_is_shuffled() -> None:
    rows, encoder = rows_of(lambda x: (x["cat"][:, :1] == 0).float(), table())
    found = rows.measured(places(encoder), 5, 0, lambda: False)
    assert found[0]["name"] == "job"
    assert found[0]["low"] > 0 == found[1]["value"]


class Reads(nn.Module):
    """The column at one place, as a class."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        z = x["num"][:, [self.at]]
        return torch.cat([-z, z], 1) * 5


def made(frame: pd.DataFrame, name: str = "decides", test: int = N) -> tuple[Any, Any]:
    """What `importance` reads of a fit."""

    encoder = TableEncoder().fit(frame)
    x = encoder.transform(frame)
    model = Reads(column(encoder, name))
    y = torch.eye(2)[model(x).argmax(1)]
    data = Dataset(x, y, "classification")
    target = SimpleNamespace(task="classification", outputs=2, mean=None, sd=None)
    ready = SimpleNamespace(data=data, encoder=encoder, target=target, weight=None, split=SimpleNamespace(test=np.arange(test)))
    return ready, SimpleNamespace(scored=SimpleNamespace(model=model), criterion=SoftmaxCrossEntropy(), metric=metric_for("accuracy", "classification"))


def test_of_many_columns_the_likely_ones_are_measured() -> None:
    ready, found = made(table(more=30))
    out = importance(ready, found, 0, Clock(None), top=3)
    assert out["columns"][0]["name"] == "decides"
    assert (len(out["columns"]), out["of"], out["n"], out["repeats"], out["first"]) == (3, 35, N, 5, N)
    assert out == importance(ready, found, 0, Clock(None), top=3)
    assert importance(ready, found, 0, Clock(None), rows=100)["n"] == 100


@pytest.mark.parametrize(("budget", "test", "why"), [(0.5, N, "no time was left for 5 columns"), (None, 0, "no rows were kept apart")])
def test_it_says_why_it_was_not_measured(budget: float | None, test: int, why: str) -> None:
    ready, found = made(table(), test=test)
    assert importance(ready, found, 0, Clock(budget, time.monotonic())) == {"why": why}
    ready.encoder = None
    assert importance(ready, found, 0, Clock(None)) == {"why": "the rows are no table with columns"}


def test_the_metric_that_gets_worse_by_rising_counts_as_a_loss() -> None:
    ready, found = made(table())
    found.metric = metric_for("log_loss", "classification")
    out = importance(ready, found, 0, Clock(None))
    assert out["columns"][0]["name"] == "decides"
    assert out["columns"][0]["low"] > 0


def test_the_loss_is_in_the_units_of_the_target() -> None:
    ready, found = made(table())
    ready.data = Dataset(ready.data.x, found.scored.model(ready.data.x)[:, 1:] / 5, "regression")
    ready.target = SimpleNamespace(task="regression", outputs=1, mean=[100.0], sd=[10.0])
    found.criterion, found.metric = SquaredError(), metric_for("rmse", "regression")
    read = found.scored.model
    found.scored.model = nn.Module()
    found.scored.model.forward = lambda x: read(x)[:, 1:] / 5
    first = importance(ready, found, 0, Clock(None))["columns"][0]
    assert first["name"] == "decides"
    assert 10.0 < first["value"] < 18.0  # about √2 standard deviations
