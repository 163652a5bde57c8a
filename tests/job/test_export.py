"""A model as ONNX and as a program of torch: it computes what the model does, for any number of rows, and says what goes in and comes out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.data.image_files import write_folder
from tests.job.conftest import Fit, make_people
from tests.job.test_load import FEW
from torch import nn
from typer.testing import CliRunner

import temperance as tp
from temperance.cli.app import app
from temperance.core.errors import ConfigError
from temperance.job import Job, Saved, fit_table, save_model
from temperance.job.export import Served, compare, inputs_of, rows_like
from temperance.nets import Average, TabularNet, build_seeded, quantile_edges

SINGLE = torch.finfo(torch.float32).eps


def answers(path: Path, rows: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {item.name: rows[item.name] for item in session.get_inputs()})[0]


def encoded(model: Saved, rows: Any) -> dict[str, np.ndarray]:
    x = model.encode(rows)
    return {"images": x.numpy()} if isinstance(x, torch.Tensor) else {key: leaf.numpy() for key, leaf in x.items()}


def test_the_command_writes_both_and_they_serve_without_temperance(job: Job, tmp_path: Path) -> None:
    places = tmp_path / "model.onnx", tmp_path / "model.pt2"
    result = CliRunner().invoke(app, ["export", str(job.folder), "--onnx", str(places[0]), "--torch", str(places[1])])
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "num: float32 (rows, 1)" in words and "cat: int64 (rows, 1)" in words and "probabilities: float32 (rows, 2) of no, yes" in words
    assert "on 1, 17 and 200 rows, in onnxruntime" in words and "in torch.export" in words and "rounding explains up to" in words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.pt2"]
    model, frame = tp.load(job.folder), make_people()
    program: Any = torch.export.load(places[1]).module()
    for rows in (frame, frame.head(1), frame.head(17)):
        x, expected = encoded(model, rows), model.predict_proba(rows)
        assert answers(places[0], x) == pytest.approx(expected, abs=8 * SINGLE)
        assert program(**{name: torch.from_numpy(leaf) for name, leaf in x.items()}).detach().numpy() == pytest.approx(expected, abs=8 * SINGLE)


def test_the_files_say_what_they_take_and_give(job: Job, tmp_path: Path) -> None:
    model = tp.load(job.folder)
    (written, other) = model.export(onnx=tmp_path / "m.onnx", torch=tmp_path / "m.pt2")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["no", "yes"] and json.loads(facts["encoder"]) == model.encoder.to_dict()
    assert (json.loads(facts["inputs"]), facts["output"], facts["task"]) == (["num", "cat"], "probabilities", "classification")
    assert [item.shape[0] for item in (*session.get_inputs(), *session.get_outputs())] == ["rows"] * 3
    extra: dict[str, Any] = {"temperance.json": ""}
    torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    assert json.loads(extra["temperance.json"]) == facts
    assert 0 <= written.difference <= written.limit < 1e-4 and other.difference <= other.limit


def saved_as(folder: Path, model: Saved, networks: list[nn.Module], specs: list[Any]) -> Saved:
    """The folder of a fit whose model is the average of these networks."""
    module = Average(networks, model.target.task, range(1, len(networks) + 1)) if len(networks) > 1 else networks[0]
    save_model(folder / "model", module.eval(), specs, model.encoder, model.target)
    return tp.load(folder)


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize(
    "settings", [{"numbers": "piecewise"}, {"numbers": "periodic"}, {"norm": "batch", "activation": "silu", "skip": True}, {"norm": "layer"}], ids=str
)
def test_every_network_that_a_fit_tries_can_be_written(job: Job, tmp_path: Path, settings: dict[str, Any], several: int) -> None:
    model = tp.load(job.folder)
    if settings.get("numbers") == "piecewise":
        settings = {**settings, "edges": quantile_edges(model.encode(make_people())["num"], 4)}
    arguments = {"num_features": 1, "cardinalities": list(model.encoder.cardinalities), "out_features": 2, "hidden": [8, 8], **settings}
    networks = [build_seeded(partial(TabularNet, **arguments), seed) for seed in range(several)]
    other = saved_as(tmp_path, model, networks, [{"network": "TabularNet", "arguments": arguments}] * several)
    (written,) = other.export(torch=tmp_path / "m.pt2") if several == 1 else other.export(onnx=tmp_path / "m.onnx")
    assert written.difference <= written.limit < 1e-4


@pytest.mark.parametrize("column", ["age", "job"])
def test_a_table_of_one_kind_of_columns_has_one_input(fit: Fit, tmp_path: Path, column: str) -> None:
    model = tp.load(fit("rich", columns=(column,), trials=1, ensemble=1, refits=1).folder)
    model.export(onnx=tmp_path / "m.onnx")
    assert list(inputs_of(model)) == [{"age": "num", "job": "cat"}[column]]
    assert answers(tmp_path / "m.onnx", encoded(model, make_people())) == pytest.approx(model.predict_proba(make_people()), abs=8 * SINGLE)


@pytest.mark.parametrize(("target", "shift"), [("price", 0.0), (["price", "size"], 0.0), ("price", 1e9)])
def test_values_come_in_their_own_units(fit: Fit, tmp_path: Path, target: Any, shift: float) -> None:
    """Far from zero too, where single precision has no digits left."""
    frame = make_people()
    frame["price"] += shift
    model = tp.load(fit(target, source=frame, trials=1, ensemble=1, refits=1).folder)
    model.export(onnx=tmp_path / "m.onnx")
    found = answers(tmp_path / "m.onnx", encoded(model, frame))
    assert found.dtype == np.float64
    spread = max(model.target.sd)
    assert found == pytest.approx(model.predict(frame).reshape(len(frame), -1), abs=16 * SINGLE * spread)


def test_labels_are_probabilities_each(fit: Fit, tmp_path: Path) -> None:
    model = tp.load(fit(["a", "b"], trials=1, ensemble=1, refits=2).folder)
    model.export(onnx=tmp_path / "m.onnx")
    assert answers(tmp_path / "m.onnx", encoded(model, make_people())) == pytest.approx(model.predict_proba(make_people()), abs=8 * SINGLE)


def test_images(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "shapes", 40, 2, color=True)
    model = tp.load(fit_table(source, out=tmp_path / "out", trials=1, refits=2, ensemble=1, without=FEW).folder)
    model.export(onnx=tmp_path / "m.onnx", torch=tmp_path / "m.pt2")
    assert list(inputs_of(model)) == ["images"]
    assert answers(tmp_path / "m.onnx", encoded(model, source)) == pytest.approx(model.predict_proba(source), abs=8 * SINGLE)


OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, data):
        super().__init__()
        self.gates = nn.GRU(1, 4, batch_first=True)
        self.norm = nn.BatchNorm1d(4)
        self.out = nn.Linear(4, data.out_features)

    def forward(self, x):
        rows = torch.cat([x["num"], x["cat"].float()], 1)
        return self.out(self.norm(self.gates(rows[:, :, None])[0][:, -1]))

class Counts(Net):
    def forward(self, x):
        if float(x["num"].sum()) > 0:
            return super().forward(x)
        return super().forward(x)

build, counts = Net, Counts
"""


def test_a_network_of_ones_own(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    named = f"{tmp_path / 'own.py'}:build"
    folder = fit("rich", model=named, trials=1, ensemble=1, refits=1).folder
    model, place = tp.load(folder, named), tmp_path / "m.onnx"
    result = CliRunner().invoke(app, ["export", str(folder), "--onnx", str(place), "--model", named])
    assert result.exit_code == 0, result.output
    assert answers(place, encoded(model, make_people())) == pytest.approx(model.predict_proba(make_people()), abs=16 * SINGLE)
    branching = tp.load(folder, named.replace(":build", ":counts"))
    for kind, path in (("onnx", "b.onnx"), ("torch", "b.pt2")):
        with pytest.raises(ConfigError, match=r"Expected a network that torch can export, got Counts: .*Use tp\.load\(DIR\)\.model"):
            branching.export(**{kind: tmp_path / path})
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"own.py", "m.onnx"}


def test_a_program_that_computes_something_else_is_not_written(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tp.load(job.folder)

    def moved(by: float) -> Callable[..., Any]:
        return lambda served, example, path, facts: ((lambda inputs: served(**inputs) + by), "a bad program")

    for by in (1e-5, -1e-5, float("nan")):
        monkeypatch.setattr("temperance.job.export._program", moved(by))
        with pytest.raises(ConfigError, match=r"Expected `--torch` to compute what the model does, within .*in a bad program\. Nothing was written"):
            model.export(torch=tmp_path / "m.pt2")
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_what_rounding_explains(job: Job) -> None:
    """A unit in the last place more or less passes; a weight that is off by a ten-thousandth does not."""
    model = tp.load(job.folder)
    served = Served(model).eval()
    difference, limit = compare(model, served, lambda inputs: served(**inputs) * (1 + SINGLE))
    assert difference <= limit <= 64 * SINGLE
    wrong = Served(model).eval()
    with torch.no_grad():
        for p in wrong.parameters():
            p *= 1.0001
    difference, limit = compare(model, served, lambda inputs: wrong(**inputs))
    assert difference > limit


def test_the_rows_that_are_compared_reach_every_code(job: Job) -> None:
    model = tp.load(job.folder)
    num, cat = rows_like(model, 200, seed=1).values()
    assert set(cat[:, 0].tolist()) == set(range(model.encoder.cardinalities[0])) and -6 <= num.min() < -1 < 1 < num.max() <= 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Expected `--onnx` or `--torch` with a file to write, got neither"),
        (["--onnx", "m.pt"], r"Expected `--onnx` to name a .onnx file, got 'm.pt'"),
        (["--torch", "m.onnx"], r"Expected `--torch` to name a .pt2 file"),
        (["--onnx", "nowhere/m.onnx"], "Make the folder 'nowhere' first"),
    ],
)
def test_places_that_cannot_be_written_are_refused(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["export", str(job.folder), *arguments])
    assert result.exit_code == 2 and words in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_the_command_names_them(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    result = CliRunner().invoke(app, ["export", str(job.folder), "--onnx", str(tmp_path / "m.onnx")])
    assert result.exit_code == 2 and "python -m pip install onnx onnxscript" in " ".join(result.stderr.split())
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (written,) = tp.load(job.folder).export(onnx=tmp_path / "m.onnx")
    assert written.runner == "the reference of onnx" and written.difference <= written.limit
