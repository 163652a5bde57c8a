"""A fitted model in Python: what ``tp.load`` gives predicts as the command line does, whoever asks and in whatever company."""

from __future__ import annotations

import html
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.data.image_files import some, write_folder
from tests.job.conftest import ROWS, Fit, make_people
from torch import nn
from typer.testing import CliRunner

import temperance as tp
from temperance.cli.app import app
from temperance.cli.predicting import predict_file
from temperance.core.errors import ConfigError, DataError
from temperance.data import TableEncoder, TargetEncoder
from temperance.data.encode_images import ImageEncoder
from temperance.job import Job, Saved, fit_table

FEW = ("LabelSmoothing", "CutOut", "CutMix", "InputNoise", "WeightDecay", "EMA", "Affine", "RandomCrop")


def written(job: Job, source: Path, out: Path, proba: bool) -> pd.DataFrame:
    """What `temperance predict` writes for a file, without loss of digits."""
    predict_file(tp.load(job.folder), str(source), out, proba=proba)
    return pd.read_parquet(out)


def test_classes_are_predicted_as_the_command_does(job: Job, people: Path, tmp_path: Path) -> None:
    model, frame = tp.load(job.folder), pd.read_csv(people)
    table = written(job, people, tmp_path / "out.parquet", proba=True)
    for rows in (people, str(people), frame, frame.to_dict("list"), frame.to_dict("records"), frame[["job", "age"]]):
        assert model.predict(rows).tolist() == table["prediction"].tolist()
        assert np.array_equal(model.predict_proba(rows), table[["no", "yes"]].to_numpy())
    assert model.classes == ("no", "yes")
    assert model.predict_proba(frame).sum(1) == pytest.approx(np.ones(ROWS), abs=1e-6)  # an ulp of a sum of two float32


def test_a_row_alone_is_a_row_in_company(job: Job) -> None:
    model, frame = tp.load(job.folder), make_people()
    whole = model.predict_proba(frame)
    for some_rows in ([0], [99], [3, 50, 7], list(range(65))):
        assert np.array_equal(model.predict_proba(frame.iloc[some_rows]), whole[some_rows])
    row: dict[str, Any] = {"job": frame["job"][5], "age": float(frame["age"][5])}
    assert np.array_equal(model.predict_proba(row), whole[[5]])
    assert model.predict({**row, "age": None}).shape == (1,)
    assert model.predict([row, {"age": 1.0}]).shape == (2,), "a key that a row lacks is a missing value"


def test_the_module_is_plain_torch_on_encoded_rows(job: Job) -> None:
    model, frame = tp.load(job.folder), make_people()
    assert type(model.model).__name__ == "Average" and isinstance(model.model, nn.Module) and not model.model.training
    x = model.encode(frame)
    assert set(x) == {"num", "cat"} and (x["num"].dtype, x["cat"].dtype) == (torch.float32, torch.int64)
    with torch.no_grad():
        out = model.model(x).softmax(1)
    torch.testing.assert_close(out, torch.from_numpy(model.predict_proba(frame)).float())
    assert out.argmax(1).tolist() == [model.classes.index(label) for label in model.predict(frame)]


def test_the_cocktail_and_the_summary_come_with_it(job: Job, tmp_path: Path) -> None:
    model = tp.load(job.folder)
    assert repr(model.cocktail) == repr(job.search.cocktail)
    assert model.summary == json.loads((job.folder / "summary.json").read_text(encoding="utf-8"))
    alone = tp.load(shutil.copytree(job.folder / "model", tmp_path / "alone"))
    assert np.array_equal(alone.predict(make_people()), model.predict(make_people()))
    for name in ("cocktail", "summary"):
        with pytest.raises(DataError, match=rf"Expected '{name}\.json' in .*alone.*copy the whole folder"):
            getattr(alone, name)


def test_its_repr_fits_on_a_screen(job: Job) -> None:
    lines = repr(tp.load(job.folder)).splitlines()
    assert len(lines) <= 20 and max(map(len, lines)) <= 160
    assert "rich: classification of 'no', 'yes'" in lines[1] and "age" in lines[2] and "the mean of" in lines[3]


@pytest.mark.parametrize("target", ["price", ["price", "size"]])
def test_values_come_in_their_own_units(fit: Fit, people: Path, tmp_path: Path, target: Any) -> None:
    job = fit(target, ensemble=1, refits=1)
    model, table = tp.load(job.folder), written(job, people, tmp_path / "out.parquet", proba=False)
    found = model.predict(people)
    assert found.shape == ((ROWS,) if target == "price" else (ROWS, 2))
    assert np.array_equal(found.reshape(ROWS, -1), table.to_numpy()) and model.classes == ()
    with pytest.raises(ConfigError, match=r"Expected a classification model for `predict_proba`, got a regression of price.*Use predict"):
        model.predict_proba(people)


def test_a_class_may_have_the_name_of_another_column() -> None:
    """Its probabilities come under a name of their own, and the label stays in the last column."""
    p = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    classes = ["file", "other", "prediction", "probability prediction"]
    encoder, target = TableEncoder().fit({"x": [1.0, 2.0, 3.0]}), TargetEncoder().fit(classes * 2)
    table = Saved(nn.Identity(), encoder, target, Path()).labelled(p, proba=True)
    assert list(table.columns) == ["file", "other", "probability probability prediction", "probability prediction", "prediction"]
    assert np.array_equal(table.iloc[:, :4].to_numpy(), p.double().numpy()) and table["prediction"].tolist() == ["probability prediction", "file"]
    images = Saved(nn.Identity(), ImageEncoder(), target, Path()).labelled(p, proba=True)
    assert images.columns[0] == "probability file" and images.columns.is_unique
    labels = TargetEncoder().fit(pd.DataFrame({"a": [0, 1], "prediction a": [1, 0]}))
    table = Saved(nn.Identity(), encoder, labels, Path()).labelled(p[:, :2], proba=True)
    assert table.columns.tolist() == ["a", "probability prediction a", "prediction a", "prediction prediction a"]
    assert np.array_equal(table.iloc[:, :2].to_numpy(), p[:, :2].double().numpy())


def test_labels(fit: Fit, people: Path) -> None:
    model = tp.load(fit(["a", "b"], ensemble=1).folder)
    p = model.predict_proba(people)
    assert p.shape == (ROWS, 2) and np.array_equal(model.predict(people), (p >= 0.5).astype(int)) and model.classes == ("a", "b")


@pytest.mark.parametrize("average", [tp.EMA(0.9), tp.SWA()])
def test_averaged_weights_are_what_is_loaded(fit: Fit, average: tp.Regularizer) -> None:
    """The state that training ends with is not what ships, and the average is."""
    others = ("WeightDecay", "Dropout", "MixUp", "CutMix", "InputNoise", "LabelSmoothing", *(() if isinstance(average, tp.EMA) else ("EMA",)))
    job = fit("rich", use=[average], without=others, ensemble=1, refits=1, trials=2)
    module, x = job.search.model.eval(), tp.load(job.folder).encode(make_people())
    assert torch.equal(tp.load(job.folder).model(x), module(x))


def test_images_in_folders_archives_and_arrays(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "shapes", 40, 2, color=True)
    model = tp.load(fit_table(source, out=tmp_path / "out", trials=1, refits=1, without=FEW).folder)
    (c, h, w) = model.encoder.shape
    pixels = np.random.default_rng(0).integers(0, 256, (9, c, h, w)).astype(np.uint8)
    np.savez(tmp_path / "new.npz", images=pixels)
    p = model.predict_proba(tmp_path / "new.npz")
    assert p.shape == (9, 2)
    for rows in (pixels, np.moveaxis(pixels, 1, 3), torch.from_numpy(pixels), pixels.astype(np.float32)):
        assert np.array_equal(model.predict_proba(rows), p)
    assert np.array_equal(model.predict_proba(pixels[4:5]), p[4:5])
    assert model.encode(pixels).shape == (9, c, h, w)
    assert len(model.predict(source)) == 40
    assert str((c, h, w)) in repr(model)
    gray, labels = some(40)
    np.savez(tmp_path / "gray.npz", x=gray, y=labels)
    model = tp.load(fit_table(tmp_path / "gray.npz", out=tmp_path / "gray", trials=1, refits=1, without=FEW).folder)
    assert np.array_equal(model.predict(gray), model.predict(tmp_path / "gray.npz"))


def test_what_is_no_model_is_told_in_words(job: Job, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for name, words in (("nowhere", "does not exist"), ("file", "is a file"), (".", "holds no model")):
        with pytest.raises(DataError, match=rf"Expected a folder written by `temperance fit`, got .*{words}.*Name the folder given to --out"):
            tp.load(tmp_path / name)
    meta = (job.folder / "model" / "model.json").read_text(encoding="utf-8")
    for text in (meta[: len(meta) // 2], "", "[1]"):
        (tmp_path / "model.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=r"Expected (JSON in|a model of format|'.*as the fit wrote it).*fit (the model|it) again"):
            tp.load(tmp_path)


def test_rows_that_do_not_fit_are_refused(job: Job) -> None:
    model = tp.load(job.folder)
    for rows, words in (({"age": [1.0]}, "job"), ({"age": ["tall"], "job": ["cook"]}, "age"), (3, "to be a table")):
        with pytest.raises(DataError, match=words):
            model.predict(rows)


def test_the_report_shows_uses_that_work(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    frame = make_people()
    frame.to_csv("new.csv", index=False)
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    uses = dict(job.summary["use"])
    assert len(uses) == 4 and all(name in page and html.escape(code).replace("&#x27;", "&#39;") in page for name, code in uses.items())
    names: dict[str, Any] = {"X": frame[["age", "job"]], "y": frame["rich"]}
    for code in uses.values():
        if code.startswith("temperance "):
            assert CliRunner().invoke(app, shlex.split(code)[1:]).exit_code == 0
        else:
            exec(code, names)
    assert capsys.readouterr().out.count("yes") > 10
    assert names["network"] is names["saved"].model and names["cocktail"] is names["saved"].cocktail
    assert "use" not in json.loads((job.folder / "summary.json").read_text(encoding="utf-8")), "the file is the same wherever it lies"


BUILD = """
from torch import nn

class Net(nn.Module):
    def __init__(self, data):
        super().__init__()
        self.linear = nn.Linear(data.in_features, data.out_features)
        self.codes = nn.Embedding(data.cardinalities[0], data.out_features)

    def forward(self, x):
        return self.linear(x["num"]) + self.codes(x["cat"][:, 0])

build = Net
"""


def test_a_network_of_ones_own_is_loaded_by_the_name_of_its_file(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "build.py").write_text(BUILD, encoding="utf-8")
    named = f"{tmp_path / 'build.py'}:build"
    job = fit("rich", model=named)
    with pytest.raises(ConfigError, match=r"your own \(.*build\.py:build\), and loading a model runs no code"):
        tp.load(job.folder)
    model = tp.load(job.folder, build=named)
    assert "Net" in {type(m).__name__ for m in model.model.modules()}
    x = model.encode(make_people())
    assert torch.equal(model.predictions(make_people()), tp.load(job.folder, build=named).outputs(x))


def test_a_network_of_ones_own_on_a_table_from_the_command_line(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(BUILD + "\ndef flat(data):\n    return nn.Linear(data.in_features, data.out_features)\n", encoding="utf-8")
    unused = [word for name in ("price", "size", "a", "b", "w") for word in ("--ignore", name)]
    fit = ["fit", str(people), "--target", "rich", "--trials", "2", *unused]
    named = ["--model", "net.py:build"]
    for arguments in ([*fit, *named, "--out", "own"], ["predict", "own", str(people), *named, "--out", "p.csv"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert pd.read_csv("p.csv")["prediction"].tolist() == tp.load("own", "net.py:build").predict(people).tolist()
    result = CliRunner().invoke(app, [*fit, "--model", "net.py:flat", "--out", "flat"])
    words = " ".join(result.stderr.split())
    assert result.exit_code == 2 and "to take a dict of tensors, x['num'] (100, 1), x['cat'] (100, 1), got TypeError" in words
    assert not Path("flat").exists()
