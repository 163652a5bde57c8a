"""What a user would try first: a constant, a linear model, boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from tests.job.conftest import make_people
from torch import Tensor

from temperance.data import Dataset, table_dataset
from temperance.job import rivals
from temperance.job.rivals import train_rivals

NAMES = ["linear model", "HistGradientBoosting (default)"]


def data(target: Any, n: int = 100, **settings: Any) -> Dataset:
    targets = [target] if isinstance(target, str) else target
    frame = make_people(n)[list(dict.fromkeys(["age", "job", *targets, *([settings["weight"]] if "weight" in settings else [])]))]
    return table_dataset(frame, target, **settings)[0]


@pytest.mark.parametrize(
    ("target", "constant", "outputs"), [("rich", "majority class", 2), ("price", "mean", 1), (["price", "size"], "mean", 2), (["a", "b"], "label rates", 2)]
)
def test_predictions_of_every_task(target: Any, constant: str, outputs: int) -> None:
    rows = data(target)
    train, test = rows.take(range(80)), rows.take(range(80, 100))
    found = train_rivals(train, test, seed=0)
    assert [r.name for r in found] == [constant, *NAMES]
    assert isinstance(train.y, Tensor) and isinstance(test.y, Tensor)
    assert torch.allclose(found[0].predictions, train.y.mean(0).expand(20, outputs))
    for rival in found:
        assert (tuple(rival.predictions.shape), rival.predictions.dtype, rival.rows) == ((20, outputs), torch.float32, 80)
        assert torch.isfinite(rival.predictions).all() and rival.seconds >= 0
        if target == "rich":
            assert torch.allclose(rival.predictions.sum(1), torch.ones(20), atol=1e-5)
        if target == ["a", "b"]:
            assert ((rival.predictions >= 0) & (rival.predictions <= 1)).all()
    for rival in found[1:]:
        assert (rival.predictions - test.y).abs().mean() < (found[0].predictions - test.y).abs().mean()


def test_the_linear_model_is_ridge_on_one_hot_columns() -> None:
    rows = data("price", weight="w")
    assert isinstance(rows.x, dict) and isinstance(rows.y, Tensor) and rows.weight is not None
    num, cat = rows.x["num"].numpy(), rows.x["cat"].numpy()
    X = np.concatenate([num, *(cat == code for code in range(1, rows.cardinalities[0]))], 1)
    expected = Ridge().fit(X[:80], rows.y[:80, 0].numpy(), sample_weight=rows.weight[:80].numpy()).predict(X[80:])
    found = train_rivals(rows.take(range(80)), rows.take(range(80, 100)), seed=0)
    assert np.allclose(found[1].predictions[:, 0], expected, atol=1e-4)


def test_test_targets_are_not_read() -> None:
    rows = data("rich")
    train, test = rows.take(range(80)), rows.take(range(80, 100))
    blind = Dataset(test.x, torch.full((20, 2), float("nan")), test.task, cardinalities=test.cardinalities, classes=test.classes)
    for a, b in zip(train_rivals(train, test, seed=0), train_rivals(train, blind, seed=0), strict=True):
        assert torch.equal(a.predictions, b.predictions)


def test_a_sample_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = data("rich", n=1300)
    train, test = rows.take(range(1250)), rows.take(range(1250, 1300))
    monkeypatch.setattr(rivals, "MOST_WORK", 2 * 1100.0)
    found = train_rivals(train, test, seed=0)
    assert [(r.name, r.rows) for r in found] == [("majority class", 1250), *((f"{name}, on 1,100 rows", 1100) for name in NAMES)]
    again = train_rivals(train, test, seed=0)
    assert all(torch.equal(a.predictions, b.predictions) for a, b in zip(found, again, strict=True))
    monkeypatch.setattr(rivals, "MOST_WORK", 10.0)
    assert [r.rows for r in train_rivals(train, test, seed=0)] == [1250, 1000, 1000]


def test_little_time_samples_too() -> None:
    rows = data("price", n=1300)
    train, test = rows.take(range(1250)), rows.take(range(1250, 1300))
    found = train_rivals(train, test, seed=0, most_seconds=1e-3)
    assert [r.rows for r in found] == [1250, 1000, 1000]
    assert found[1].name == "linear model, on 1,000 rows"
    small = train_rivals(train.take(range(300)), test, seed=0, most_seconds=1e-3)  # as few as there are
    assert [(r.name, r.rows) for r in small][1:] == [(name, 300) for name in NAMES]


def test_a_class_that_the_training_rows_lack_gets_probability_zero() -> None:
    rows = data("job")
    assert isinstance(rows.y, Tensor)
    known = (rows.y[:, 2] == 0).nonzero().squeeze(1)
    found = train_rivals(rows.take(known), rows.take(range(30)), seed=0)
    for rival in found:
        assert rival.predictions.shape == (30, 3)
        assert (rival.predictions[:, 2] == 0).all()


def test_rows_of_one_class_teach_only_their_share() -> None:
    """A class that only later rows have, or that a sample lacks."""
    rows = data("rich")
    assert isinstance(rows.y, Tensor)
    train = rows.take((rows.y[:, 0] > 0.5).nonzero().squeeze(1))
    (alone,) = train_rivals(train, rows, seed=0)
    assert alone.name == "majority class" and torch.equal(alone.predictions[:, 0], torch.ones(len(rows)))


@pytest.mark.parametrize("target", ["rich", ["a", "b"]])
def test_a_class_of_a_single_row_among_many(target: Any) -> None:
    """Boosted trees put rows of every class aside where there are more than ten thousand."""
    rows = data(target, n=10_400)
    assert isinstance(rows.y, Tensor)
    rare = (rows.y[:, 1] > 0.5).nonzero().squeeze(1)
    train = rows.take(torch.cat([(rows.y[:, 1] <= 0.5).nonzero().squeeze(1).repeat(3), rare[:1]])[-10_010:])
    names = [rival.name for rival in train_rivals(train, rows.take(range(20)), seed=0)]
    assert names[1:] == NAMES


def test_a_label_that_is_always_the_same() -> None:
    rows = data(["a", "b"])
    assert isinstance(rows.y, Tensor)
    known = (rows.y[:, 0] == 1).nonzero().squeeze(1)
    for rival in train_rivals(rows.take(known), rows.take(range(30)), seed=0):
        assert (rival.predictions[:, 0] == 1).all()
        assert ((rival.predictions[:, 1] >= 0) & (rival.predictions[:, 1] <= 1)).all()


def test_rows_without_a_target_do_not_train() -> None:
    frame = make_people()[["age", "job", "price"]]
    frame.loc[frame.index % 2 == 0, "price"] = None
    rows = table_dataset(frame, "price")[0]
    found = train_rivals(rows, rows.take(range(10)), seed=0)
    assert {r.rows for r in found} == {50}
    assert torch.allclose(found[0].predictions, torch.zeros(10, 1), atol=1e-5)  # the mean of the known, standardized


def test_images_have_nearest_neighbors_and_small_ones_trees_too(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(1300, 1, 4, 4, generator=generator), torch.eye(2)[torch.randint(0, 2, (1300,), generator=generator)]
    rows = Dataset(x, y, "classification", classes=(0, 1))
    train, test = rows.take(range(1250)), rows.take(range(1250, 1300))
    found = train_rivals(train, test, seed=0)
    names = ["majority class", "linear model", "HistGradientBoosting (default)", "nearest neighbors, 5"]
    assert [(r.name, r.rows) for r in found] == [(name, 1250) for name in names]
    nearest = torch.cdist(x[1250:].flatten(1).double(), x[:1250].flatten(1).double()).topk(5, largest=False).indices
    assert torch.allclose(found[-1].predictions, y[nearest].mean(1))
    monkeypatch.setattr(rivals, "MOST_DISTANCES", 16 * 50 * 1100.0)
    assert train_rivals(train, test, seed=0)[-1].name == "nearest neighbors, 5, on 1,100 rows"
    monkeypatch.setattr(rivals, "MOST_PIXELS", 15)
    assert "HistGradientBoosting (default)" not in {rival.name for rival in train_rivals(train, test, seed=0)}
