"""A fit of images through a backbone: what ships holds it, no command runs code that it does not name, and every command understands it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from tests.data.image_files import KINDS, write_folder
from torch import nn

import temperance as tp
from temperance.cli.diagnosing import examine, read_known, untouched
from temperance.cli.robust import measure
from temperance.core.errors import ConfigError, DataError
from temperance.data.read_images import read_images
from temperance.job import Job, explain_fit, finish_fit, fit_table, load, predict_table, replay_trial
from temperance.job.backbone import named, remembered
from temperance.job.folder import RUN
from temperance.job.opening import shape_of
from temperance.job.parts import sealed
from temperance.nets import Average
from temperance.nets.backbone import features_of
from temperance.nets.on_features import OnFeatures
from temperance.search import engine, programs, rungs

WITHOUT = ("LabelSmoothing", "CutMix", "InputNoise", "EMA", "neighbors")
TRUNK = """
import torch
from torch import nn


def trunk(data):
    net = nn.Sequential(nn.Conv2d(data.in_shape[0], 8, 3), nn.{act}(), nn.Conv2d(8, 12, 3, stride=2), nn.{act}())
    with torch.no_grad():
        for p in net.parameters():  # stands for weights that were learned
            p.copy_(torch.sin(torch.arange(1.0, p.numel() + 1) * {seed}).reshape(p.shape) / p[0].numel() ** 0.5)
    return net


def number(data):
    return 3


def build(data):
    return Head(data.in_features, data.out_features)


class Head(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.out = nn.Linear(width, classes)

    def forward(self, x):
        return self.out(x["num"])
"""


def written(folder: Path, seed: int = 3, act: str = "ReLU") -> Path:
    """The user's file."""
    folder.mkdir(exist_ok=True)
    path = folder / "net.py"
    path.write_text(TRUNK.format(seed=seed, act=act), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"{written(tmp_path_factory.mktemp('net'))}:trunk"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "shapes", 60, 3, sizes=((9, 9),), color=True)


@pytest.fixture(scope="module")
def job(shapes: Path, net: str, tmp_path_factory: pytest.TempPathFactory) -> Job:
    return fit_table(shapes, out=tmp_path_factory.mktemp("fit") / "out", backbone=net, trials=3, refits=2, ensemble=1, without=WITHOUT)


def summary_of(job: Job) -> dict[str, Any]:
    return json.loads((job.folder / "summary.json").read_text(encoding="utf-8"))


def test_what_ships_is_the_head_on_standardized_features(job: Job, shapes: Path, net: str) -> None:
    """By the formula, from the user's own network and the files alone."""
    saved = load(job.folder, backbone=net)
    assert isinstance(saved.model, OnFeatures) and isinstance(saved.model.head, Average)
    pixels = torch.from_numpy(read_images(shapes).pixels).float() / 255
    trunk = named(net).build(shape_of(saved.encoder, saved.target))
    with torch.no_grad():
        found = trunk(pixels).mean((2, 3))
        learned = found[torch.as_tensor(job.search.split.train)]  # of all folds, and of no test row
        x = (found - learned.mean(0)) / learned.std(0, correction=0).clamp_min(1e-6)
        exact = saved.model.head({"num": x, "cat": torch.zeros(60, 0, dtype=torch.long)}).softmax(1).double().numpy()
    p = saved.predict_proba(read_images(shapes).pixels)
    np.testing.assert_allclose(p, exact, atol=1e-4)
    np.testing.assert_array_equal(saved.predict_proba(read_images(shapes).pixels[7:8]), p[7:8])  # to the bit, alone and in company


def test_the_score_is_that_of_features_computed_once(job: Job, shapes: Path, net: str) -> None:
    summary, saved = summary_of(job), load(job.folder, backbone=net)
    rows = torch.as_tensor(job.search.split.test)
    network, data = saved.examined(saved.dataset(shapes))
    assert network is saved.model.head
    labels = np.array(KINDS)[data.take(rows).y.argmax(1)]
    with torch.no_grad():
        guess = np.array(KINDS)[job.search.scored.model(data.take(rows).x).argmax(1)]
    assert summary["scores"]["test"]["accuracy"]["value"] == pytest.approx(accuracy_score(labels, guess))
    assert summary["data"]["images"]["backbone"] == net and any("12 features" in note for note in summary["data"]["notes"])
    assert {p.partition(":")[0] for p in summary["search"]["static_plans"]} <= {"piecewise", "periodic", "plain", "batchnorm"}
    assert summary["samples"]["changed_by"] == [] and "filters" not in summary
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    assert f"read as the features of {net}" in page and "changes no pixel" in page
    table = predict_table(job.folder, shapes, backbone=net)
    assert list(table.columns) == ["file", "prediction"] and len(table) == 60


def test_loading_runs_no_code_that_was_not_named(job: Job, shapes: Path, net: str, tmp_path: Path) -> None:
    for call in (
        lambda: load(job.folder),
        lambda: predict_table(job.folder, shapes),
        lambda: replay_trial(job.folder, 0),
        lambda: explain_fit(job.folder),
    ):
        with pytest.raises(ConfigError, match=r"features of a network of your own .* loading a model runs no code.*--backbone FILE.py:build"):
            call()
    folder = tmp_path / "received"  # whose own file names a file beside it
    shutil.copytree(job.folder / "model", folder)
    (folder / "net.py").write_text("raise SystemExit('this ran')", encoding="utf-8")
    meta = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    meta["backbone"]["source"] = f"{folder}/net.py:trunk"
    meta.pop("sha256")
    (folder / "model.json").write_text(sealed(meta, {"model.safetensors": (folder / "model.safetensors").read_bytes()}), encoding="utf-8")
    with pytest.raises(ConfigError, match="loading a model runs no code"):
        load(folder)
    assert len(load(folder, backbone=net).predict(shapes)) == 60


def test_the_weights_are_those_of_the_fit_and_another_network_is_told(job: Job, shapes: Path, net: str, tmp_path: Path) -> None:
    other = f"{written(tmp_path / 'other', seed=4)}:trunk"  # as if the user's own weights had moved on
    one, two = (load(job.folder, backbone=name).predict_proba(shapes) for name in (net, other))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(ConfigError, match=r"to give the features that it gave when it was fitted, got other ones. Was the backbone changed since\?"):
        load(job.folder, backbone=f"{written(tmp_path / 'smooth', act='Tanh')}:trunk")
    with pytest.raises(ConfigError, match=r"to fit the network and its backbone, got .* for 'backbone.0.bias' instead of nothing"):
        load(job.folder, backbone=lambda data: nn.Conv2d(3, 12, 3))
    with pytest.raises(ConfigError, match=r"`--backbone` to return an nn.Module, got int"):
        load(job.folder, backbone=net.replace(":trunk", ":number"))


def test_a_replay_and_an_explanation_read_the_same_features(job: Job, net: str) -> None:
    row = summary_of(job)["search"]["table"][1]
    again = replay_trial(job.folder, row["trial"], backbone=net)
    assert again["same"] is True and again["score_now"] == row["score"]
    assert explain_fit(job.folder, seeds=2, budget=5, backbone=net).facts["metric"]["name"] == "accuracy"
    with pytest.raises(ConfigError, match="Expected no `--model`"):
        replay_trial(job.folder, 0, backbone=net, model=net)


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_an_export_takes_images_and_holds_the_backbone(job: Job, net: str, tmp_path: Path, kind: str) -> None:
    saved = load(job.folder, backbone=net)
    (done,) = saved.export(**{kind: tmp_path / f"m{'.onnx' if kind == 'onnx' else '.pt2'}"})
    assert done.inputs == ("images: float32 (rows, 3, 9, 9)",) and done.difference <= done.limit
    assert saved.model.at_once is not None  # the model itself goes on in blocks


def test_diagnose_examines_the_head_and_robust_attacks_images(job: Job, shapes: Path, net: str) -> None:
    saved = load(job.folder, backbone=net)
    facts = examine(saved, str(job.folder), str(shapes), checks=["numbers", "sparsity"])
    assert {finding["verdict"] for finding in facts["findings"]} <= {"fine", "look"} and "frozen" not in str(facts["notes"])
    assert untouched(str(job.folder), saved, read_known(saved, str(shapes))).tolist() == list(job.search.split.test)
    facts = measure(saved, str(shapes), eps=[0.5], rows=20, steps=3)
    assert facts["warnings"] and facts["worst"][-1]["value"] <= facts["clean"]["value"]
    assert float(saved.encode(shapes / "bar" / "0.png").min()) >= 0.0 and float(saved.encode(shapes).max()) <= 1.0


def test_a_head_of_your_own_and_the_recipe(shapes: Path, net: str, tmp_path: Path) -> None:
    head = net.replace(":trunk", ":build")
    job = fit_table(shapes, out=tmp_path / "own", backbone=net, model=head, trials=2, refits=1, ensemble=1)
    assert job.summary["predict"].endswith(f"--model {head} --backbone {net}")
    assert len(load(job.folder, head, backbone=net).predict(shapes)) == 60
    images = read_images(shapes)
    assert images.labels is not None
    trunk = named(net).build(shape_of(load(job.folder, head, backbone=net).encoder, load(job.folder, head, backbone=net).target))
    again = tp.TemperanceClassifier(recipe=job.folder, model=lambda data: nn.Linear(data.in_features, data.out_features), backbone=trunk)
    assert again.fit(images.pixels, images.labels).score(images.pixels, images.labels) > 1 / 3


class Killed(BaseException):
    """Ends a fit at once."""


def test_a_fit_goes_on_with_the_same_backbone_only(shapes: Path, job: Job, net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in ((rungs, "FIRST", 4), (engine, "MOST_WAVE", 4), (engine, "TICK", 0.0), (programs, "WORTH", float("inf"))):
        monkeypatch.setattr(module, name, value)
    settings: dict[str, Any] = {"trials": 6, "refits": 1, "ensemble": 1, "without": WITHOUT}

    def report(facts: Any) -> None:
        if facts["phase"] == "round 2":
            raise Killed

    with pytest.raises(Killed):
        fit_table(shapes, out=tmp_path / "cut", backbone=net, on_progress=report, **settings)
    with pytest.raises(ConfigError, match=r"--backbone none \(before: .*net.py:trunk\)"):
        fit_table(shapes, out=tmp_path / "cut", resume=True, **settings)
    with pytest.raises(ConfigError, match=r"`--backbone` for the unfinished fit in"):
        finish_fit(tmp_path / "cut")
    path = Path(net.rpartition(":")[0])
    before = path.read_text(encoding="utf-8")
    path.write_text(before + "\n", encoding="utf-8")
    try:
        with pytest.raises(ConfigError, match="another file of the backbone"):
            fit_table(shapes, out=tmp_path / "cut", backbone=net, resume=True, **settings)
    finally:
        path.write_text(before, encoding="utf-8")
    assert (tmp_path / "cut" / RUN).is_dir()
    done = fit_table(shapes, out=tmp_path / "cut", backbone=net, resume=True, **settings)
    whole = fit_table(shapes, out=tmp_path / "whole", backbone=net, **settings)
    first, second = ((one.folder / "model" / "model.safetensors").read_bytes() for one in (done, whole))
    assert first == second


def test_larger_images_and_what_is_no_image(tmp_path: Path, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    large = write_folder(tmp_path / "large", 14, 2, sizes=((96, 80),))
    assert read_images(large).shape == (1, 64, 53)
    job = fit_table(large, out=tmp_path / "out", backbone=net, trials=1, refits=1, ensemble=1, without=WITHOUT)
    assert summary_of(job)["data"]["images"]["height"] == 96
    rows = tmp_path / "t.csv"
    rows.write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(30)), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"images with `--backbone`, got 't.csv', which is read as a table"):
        fit_table(rows, "y", out=tmp_path / "no", backbone=net, trials=1)
    with pytest.raises(ConfigError, match=r"to be FILE.py:build or timm:NAME, got 'resnet18'"):
        fit_table(large, out=tmp_path / "no", backbone="resnet18", trials=1)
    with pytest.raises(ConfigError, match=r"`--backbone` to name a Python file, got .* does not exist"):
        fit_table(large, out=tmp_path / "no", backbone="nowhere.py:trunk", trials=1)
    with pytest.raises(ConfigError, match=r"`backbone` to return features \(n, d\)"):
        fit_table(large, out=tmp_path / "no", backbone=f"{_file(tmp_path, 'nn.Identity()[0]')}:trunk", trials=1)
    with pytest.raises(DataError, match="finite features of `backbone`"):
        fit_table(large, out=tmp_path / "no", backbone=f"{_file(tmp_path, 'Broken()')}:trunk", trials=1)
    plain = fit_table(rows, "y", out=tmp_path / "plain", trials=1, refits=1, ensemble=1, without=["neighbors"])
    with pytest.raises(ConfigError, match=r"Expected no `--backbone` for .*, whose networks have no backbone"):
        load(plain.folder, backbone=net)


def _file(folder: Path, made: str) -> Path:
    text = f"""
import torch
from torch import nn


class Broken(nn.Module):
    def forward(self, x):
        return x.flatten(1) / 0 * 0


class Deep(nn.Module):
    def forward(self, x):
        return x[:, :, :, :, None]


def trunk(data):
    return {"Deep()" if "Identity" in made else made}
"""
    path = folder / "made.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_network_of_timm_comes_back_by_its_name(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for timm: its weights are asked for once, in the fit; afterwards they are those of the model."""
    asked: list[tuple[str, bool]] = []

    def create(name: str, pretrained: bool, num_classes: int) -> nn.Module:
        asked.append((name, pretrained))
        net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(2.0 if pretrained else 0.0)
        return net

    settings = {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "input_size": (3, 6, 6)}
    stand_in = SimpleNamespace(create_model=create, data=SimpleNamespace(resolve_model_data_config=lambda network: settings))
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'temperance\[timm\]'"):
        fit_table(shapes, out=tmp_path / "out", backbone="timm:tiny.one", trials=1)
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    job = fit_table(shapes, out=tmp_path / "out", backbone="timm:tiny.one", trials=1, refits=1, ensemble=1, without=WITHOUT)
    assert asked == [("tiny.one", True)] and "--backbone" not in job.summary["predict"]
    saved = load(job.folder)
    assert asked[1:] == [("tiny.one", False)] and isinstance(saved.model, OnFeatures)
    with torch.no_grad():
        features = features_of(saved.model.backbone, saved.encode(shapes))
    assert float(features.abs().max()) > 0.0  # not the zeros of a network without its weights
    assert replay_trial(job.folder, 0)["same"] is True
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"needs timm. Install it with pip install 'temperance\[timm\]'"):
        load(job.folder)


@pytest.mark.parametrize("name", ["timm:hf-hub:somebody/network", "timm:local-dir:/tmp/net", "timm:../net", "timm:", "net.py:trunk", ""])
def test_names_that_lead_elsewhere_have_to_be_given_again(name: str) -> None:
    assert remembered(name) is None
