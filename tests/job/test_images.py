"""The main job for images: folders, idx files and archives, from the pixels to the report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score
from tests.data.image_files import KINDS, some, write_folder, write_idx
from torch import nn

from temperance.cli.diagnosing import read_known, untouched
from temperance.core.errors import ConfigError, DataError
from temperance.data import as_dataset
from temperance.data.read_images import read_images
from temperance.diagnose.calibration import error_of, reliability
from temperance.job import Job, fit_table, load, predict_table, replay_trial
from temperance.job.pictures import first_filters
from temperance.job.prepare import prepare
from temperance.nets import MLP, ConvNet
from temperance.report.calibration import temperature_for, tempered
from temperance.report.pictures import variation
from temperance.search import few_runs
from temperance.search.image_plans import conv_work, image_plans
from temperance.search.score import predict

FEW = ("LabelSmoothing", "CutOut", "CutMix", "InputNoise", "Dropout", "WeightDecay", "EMA", "ColorJitter")


def summary_of(job: Job) -> dict[str, Any]:
    return json.loads((job.folder / "summary.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty color images of three kinds and three sizes; one file is broken."""
    folder = write_folder(tmp_path_factory.mktemp("data") / "shapes", 60, 3, sizes=((6, 6), (8, 7), (9, 12)), color=True)
    (folder / "bar" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def job(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A fit of the folder."""
    return fit_table(shapes, out=tmp_path_factory.mktemp("fit") / "out", trials=2, refits=2, without=FEW)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of idx files with rows for testing."""
    folder = tmp_path_factory.mktemp("digits")
    write_idx(folder, "train", *some(60))
    write_idx(folder, "t10k", *some(20, seed=1), packed=True)
    return folder


def test_a_folder_of_images_is_fitted(job: Job) -> None:
    summary = summary_of(job)
    assert (summary["title"], summary["target"], summary["task"]) == ("shapes", "label", "classification")
    data = summary["data"]
    assert (data["rows"], data["columns"], data["classes"]) == (60, [], list(KINDS))
    assert data["images"] == {"height": 8, "width": 7, "channels": 3, "colors": "color", "kind": "folder"}
    assert "broken.png" in " ".join(data["notes"])
    assert [rival["name"] for rival in summary["rivals"]] == ["majority class", "linear model", "HistGradientBoosting (default)", "nearest neighbors, 5"]
    assert summary["scores"]["test"]["accuracy"]["value"] > 0.5
    assert {plan.partition(":")[0] for plan in summary["search"]["static_plans"]} == {"mlp", "conv"}
    assert job.summary["predict"] == f"temperance predict {job.folder} new-images/"


def test_predictions_name_the_files(job: Job, shapes: Path) -> None:
    table = predict_table(job.folder, shapes, proba=True)
    assert list(table.columns) == ["file", *KINDS, "prediction"] and len(table) == 60
    assert np.allclose(table[list(KINDS)].sum(axis=1), 1)
    images = read_images(shapes)
    table = table.set_index("file").loc[list(images.names or ())]
    summary = summary_of(job)
    rows = torch.as_tensor(job.search.split.test)
    guess = predict(job.search.scored.model, job.search.criterion, load(job.folder).dataset(shapes).take(rows).x).argmax(1).numpy()
    assert images.labels is not None and images.names is not None
    labels = np.array([KINDS[k] for k in guess])
    assert summary["scores"]["test"]["accuracy"]["value"] == pytest.approx(accuracy_score(images.labels[rows], labels))
    wrong = {images.names[row] for row, label in zip(rows.tolist(), labels, strict=True) if images.labels[row] != label}
    assert summary["errors"]["wrong"] == len(wrong) and {row["name"] for row in summary["errors"]["worst"]} == wrong
    one = predict_table(job.folder, shapes / "bar" / "0.png")
    assert one["file"].tolist() == ["0.png"] and one["prediction"].tolist() == [table.loc["bar/0.png", "prediction"]]
    flat = load(job.folder).table(shapes / "dot")
    assert set(flat["file"]) == {path.name for path in (shapes / "dot").iterdir()}


def test_a_trial_of_images_is_replayed_to_the_same_number(job: Job) -> None:
    table = summary_of(job)["search"]["table"]
    assert {row["plan"] for row in table} == {"mlp", "conv"}
    for row in table:
        again = replay_trial(job.folder, row["trial"])
        assert again["same"] is True and again["score_now"] == row["score"]


def test_the_report_shows_the_images_and_is_one_small_file(job: Job) -> None:
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    assert len(page) < 2_000_000
    assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\(|<link|<iframe|fetch\(|XMLHttpRequest", page)
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r"href=[\"']?([^\"' >]+)", page))
    for words in ("What the network saw", "Filters of the first layer", "Which classes are confused", "as sure as it is right", "total variation"):
        assert words in page, words
    assert "from color images of 8 × 7 pixels of shapes (60 images)" in page


def test_numbers_of_the_pictures_are_in_the_summary(job: Job) -> None:
    summary = summary_of(job)
    counts = np.array(summary["confusion"]["counts"])
    n = summary["scores"]["n_test"]
    assert counts.shape == (3, 3) and counts.sum() == n and np.trace(counts) / n == pytest.approx(summary["scores"]["test"]["accuracy"]["value"])
    calibration = summary["calibration"]
    rows = sum(row["n"] * abs(row["right"] - row["confidence"]) for row in calibration["bins"]) / n
    assert calibration["ece"] == pytest.approx(rows) and calibration["tempered"]["temperature"] > 0
    assert set(summary["filters"]["variation"]) == {"with", "without"} and all(0 < v < 2 for v in summary["filters"]["variation"].values())
    changed = {name for name in ("Affine", "RandomCrop", "MixUp") if re.search(name, " ".join(summary["cocktail"]["sentences"][:-1]))}
    assert set(summary["samples"]["changed_by"]) <= changed and summary["samples"]["images"] == 10


def test_idx_files_keep_their_own_rows_for_testing(digits: Path, tmp_path: Path) -> None:
    job = fit_table(digits, out=tmp_path / "out", trials=2, refits=1, without=FEW)
    assert job.search.split.test.tolist() == list(range(60, 80)) and not job.search.saw_test
    saved = load(job.folder)
    assert untouched(str(job.folder), saved, read_known(saved, str(digits))).tolist() == list(range(60, 80))
    summary = summary_of(job)
    assert (summary["scores"]["n_test"], summary["data"]["classes"]) == (20, ["0", "1"])
    table = predict_table(job.folder, digits / "t10k-images-idx3-ubyte.gz")
    assert list(table.columns) == ["prediction"] and table["prediction"].dtype.kind == "i"
    assert summary["scores"]["test"]["accuracy"]["value"] == pytest.approx(accuracy_score(some(20, seed=1)[1], table["prediction"]))
    assert job.summary["predict"].endswith("new-images-idx3-ubyte.gz")


def test_test_images_teach_nothing(digits: Path, tmp_path: Path) -> None:
    """Other pixels in the images for testing give the same model, to the bit."""
    first = fit_table(digits, out=tmp_path / "a", trials=2, refits=1, without=FEW)
    (x, y), (u, v) = some(60), some(20, seed=1)
    write_idx(tmp_path / "other", "train", x, y)
    write_idx(tmp_path / "other", "t10k", 255 - u, v)
    second = fit_table(tmp_path / "other", out=tmp_path / "b", trials=2, refits=1, without=FEW)
    assert (first.folder / "model" / "model.safetensors").read_bytes() == (second.folder / "model" / "model.safetensors").read_bytes()
    assert (first.folder / "model" / "model.json").read_bytes() == (second.folder / "model" / "model.json").read_bytes()
    assert summary_of(first)["scores"]["test"] != summary_of(second)["scores"]["test"]


def test_archives_other_test_rows_and_values(tmp_path: Path) -> None:
    (x, y), (u, v) = some(60), some(20, seed=1)
    np.savez(tmp_path / "a.npz", x=x, y=y + x.mean((1, 2)) / 10)
    np.savez(tmp_path / "b.npz", x=u, y=v + u.mean((1, 2)) / 10)
    job = fit_table(tmp_path / "a.npz", out=tmp_path / "out", test=tmp_path / "b.npz", trials=2, refits=1, without=FEW)
    summary = summary_of(job)
    assert (summary["task"], summary["scores"]["n_test"], "confusion" in summary) == ("regression", 20, False)
    assert "What the network saw" in (job.folder / "report.html").read_text(encoding="utf-8")
    values = predict_table(job.folder, tmp_path / "b.npz")["prediction"]
    assert values.dtype.kind == "f" and len(values) == 20
    assert replay_trial(job.folder, 1)["same"] is True


def test_a_network_of_ones_own(digits: Path, tmp_path: Path) -> None:
    net = tmp_path / "net.py"
    net.write_text(
        "from torch import nn\ndef build(data):\n    c, h, w = data.in_shape\n"
        "    return nn.Sequential(nn.Conv2d(c, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * (h - 2) * (w - 2), data.out_features))\n",
        encoding="utf-8",
    )
    job = fit_table(digits, out=tmp_path / "out", trials=2, refits=1, model=f"{net}:build", without=FEW)
    assert summary_of(job)["filters"]["layer"] == "0"
    from temperance.job.build import load_build

    assert len(predict_table(job.folder, digits, build=load_build(f"{net}:build"))) == 60


def test_what_images_do_not_take_is_refused(digits: Path, shapes: Path, tmp_path: Path) -> None:
    cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
        ({"target": "label"}, ConfigError, r"Expected no `--target` for images, got 'label'.*Leave it out\."),
        ({"ignore": ["a"]}, ConfigError, "Expected no `--ignore` for images"),
        ({"weight": "w"}, ConfigError, "Expected no `--weight` for images"),
        ({"test": tmp_path / "later.csv"}, DataError, "`--test` to be images like the data"),
        ({"metric": "rmse"}, ConfigError, "`metric`"),
        ({"use": ["Affine"], "without": ["Affine"]}, ConfigError, "Affine is both"),
    )
    for settings, error, words in cases:
        with pytest.raises(error, match=words):
            prepare(digits, **settings)
    with pytest.raises(DataError, match=r"`--target` to name the column to predict, got none\. The columns are `a`, `b`\."):
        prepare(pd.DataFrame({"a": [1, 2], "b": [3, 4]}))


# Plans


def test_few_runs_are_reported_and_replayed(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short a full run is, the search is said to have time for few of them."""
    monkeypatch.setattr(few_runs, "FULL_RUNS", float("inf"))
    job = fit_table(digits, out=tmp_path / "out", budget=120, refits=2, use=["Affine"])
    table = summary_of(job)["search"]["table"]
    assert {row["plan"] for row in table} == {"residual"}
    assert table[0]["strengths"]["affine.flip"] == 0.5, "it was asked for"
    for row in (table[0], table[-1]):
        again = replay_trial(job.folder, row["trial"])
        assert again["same"] is True and again["score_now"] == row["score"]
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    assert "takes a large part of the budget" in page and len(predict_table(job.folder, digits)) == 60
    assert len(load(job.folder).recipe.courses) == len(job.search.refit.networks) <= 2


def test_convolutions_are_tried_where_the_time_allows() -> None:
    """The small ones by sizes alone; whether there is time for the residual ones is measured, with a budget."""
    data = prepare_like(1000)
    names = [[plan.name for plan in image_plans(data, range(n), seconds=s)] for n, s in ((1000, 300.0), (9_000_000, 300.0), (9_000_000, 1e9), (1000, None))]
    assert names == [["mlp", "conv", "residual"], ["mlp", "residual"], ["mlp", "conv", "residual"], ["mlp", "conv"]]
    x, y = torch.zeros(500, 3, 63, 64), np.arange(500) % 5
    photos = [image_plans(as_dataset(x, y), range(313), folds=5, seconds=s) for s in (20.0, 60.0, 3000.0)]
    small = [next((plan for plan in plans if plan.name == "conv"), None) for plans in photos]
    assert [None if plan is None or plan.spec is None else plan.spec["arguments"].get("shrink", 1) for plan in small] == [None, 2, 1]
    halves = [(plan.name, plan.spec["arguments"].get("shrink", 1)) for plan in photos[0] if plan.best and plan.spec is not None]
    assert halves == [("residual", 1), ("residual-half", 2)]
    counted = 0
    for kernel, places in (((16, 1, 3, 3), 28 * 28), ((32, 16, 3, 3), 14 * 14)):
        counted += int(np.prod(kernel)) * places
    assert conv_work((1, 28, 28), (16, 32)) == 3 * counted  # forward, and backward to inputs and weights


def prepare_like(n: int) -> Any:
    x, y = some(n)
    return as_dataset(torch.from_numpy(x).float().unsqueeze(1), y)


# Numbers


def test_filters_are_those_of_the_first_layer() -> None:
    mlp, conv = MLP(3 * 5 * 4, 2, hidden=(7,)), ConvNet((3, 5, 4), 2, channels=(6,))
    name, weights = first_filters(mlp, (3, 5, 4)) or ("", np.empty(0))
    assert name == "hidden.0.linear" and np.array_equal(weights, mlp.hidden[0].linear.weight.detach().reshape(7, 3, 5, 4).numpy())  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue] -- a Dense
    name, weights = first_filters(conv, (3, 5, 4)) or ("", np.empty(0))
    assert name == "blocks.0.conv" and weights.shape == (6, 3, 3, 3)
    assert first_filters(nn.Linear(9, 2), (3, 5, 4)) is None


def test_total_variation_by_hand() -> None:
    stripes = np.tile(np.array([[1.0, -1.0], [1.0, -1.0]]), (1, 1, 1, 1))
    assert variation(stripes) == pytest.approx((0 + 0 + 2 + 2) / 4)  # two steps of 2, two of 0, size one
    assert variation(7.5 * stripes) == pytest.approx(1.0) and variation(np.zeros((2, 1, 3, 3))) == 0.0
    assert variation(np.ones((1, 1, 3, 3))) == 0.0
    noise = np.random.default_rng(0).normal(size=(200, 1, 20, 20))
    assert variation(noise) == pytest.approx(2 / np.sqrt(np.pi), abs=5e-3)  # E|a - b| of two standard normals; 200 filters of 760 steps


def test_the_temperature_mends_the_calibration_error() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3000, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    sharp = (3 * logits).softmax(1)
    found = error_of(reliability(sharp, labels))
    t = temperature_for(sharp.numpy(), labels.numpy())
    assert t == pytest.approx(3.0, rel=0.1)  # 3,000 rows: the standard error of log T is a few percent
    assert np.allclose(tempered(sharp.numpy(), 3.0), logits.softmax(1).numpy(), atol=1e-9)
    assert error_of(reliability(torch.from_numpy(tempered(sharp.numpy(), t)), labels)) < 0.25 * found


def test_the_report_shows_the_ranges_that_were_searched(job: Job) -> None:
    """Images of six pixels: shifts by one at most; mirror images were not tried, so that nothing is said of them."""
    summary = summary_of(job)
    for rows in (summary["cocktail"]["rows"], summary["search"]["space"]):
        ends = {row["key"]: (row["low"], row["high"]) for row in rows}
        assert ends["random_crop.pad"] == (1.0, 1.0) and ends["affine.rotate"] == (2.0, 20.0)
        assert "affine.flip" not in ends
