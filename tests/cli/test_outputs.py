"""What is written is what was predicted, whatever the terminal can show; a spreadsheet runs none of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from temperance.cli.predicting import predict_file
from temperance.cli.screen import Screen, complain, forgiving, write_data
from temperance.cli.spreadsheet import is_formula
from temperance.data import TableEncoder, TargetEncoder
from temperance.job import Saved
from temperance.job.saved import save_model
from temperance.nets import TabularNet, build_seeded

ODD = ["赤", "🙂 [bold]", "שלום", "a\nb", 'say "x"', "a, b", "a\rb", "[/red]", "ä;b"]
RUN = [sys.executable, "-c", "from temperance.cli.app import main; main()"]


def model_of(labels: list[str]) -> tuple[Saved, pd.DataFrame]:
    """A model that names the class by the number in its only column."""
    k = len(labels)
    frame = pd.DataFrame({"x": np.arange(k * 20) % k * 1.0})
    encoder, target = TableEncoder().fit(frame), TargetEncoder().fit([labels[i % k] for i in range(k * 20)])
    module = build_seeded(lambda: TabularNet(1, (), out_features=k, hidden=(16,)), 0)
    return Saved(module, encoder, target, Path()), frame


def saved_in(folder: Path, labels: list[str]) -> tuple[Path, pd.DataFrame]:
    model, frame = model_of(labels)
    spec = {"network": "TabularNet", "arguments": {"num_features": 1, "cardinalities": (), "out_features": len(labels), "hidden": (16,)}}
    save_model(folder / "fit" / "model", model.model, [spec], model.encoder, model.target)
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "fit", frame


def written(path: Path | io.StringIO) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False)


@pytest.mark.parametrize("label", ODD)
def test_every_label_survives_the_file(tmp_path: Path, label: str) -> None:
    model, frame = model_of([label, "other"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    predict_file(model, str(tmp_path / "t.csv"), tmp_path / "p.csv", proba=True, rows=9)
    expected, got = model.table(frame, proba=True), written(tmp_path / "p.csv")
    assert set(got.columns) == {label, "other", "prediction"}
    assert got["prediction"].tolist() == expected["prediction"].tolist()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-16"])
def test_predictions_on_standard_output_are_in_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    model, frame = model_of(ODD)
    frame.to_csv(tmp_path / "t.csv", index=False)
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    forgiving()
    predict_file(model, str(tmp_path / "t.csv"), None, proba=True)
    predict_file(model, str(tmp_path / "t.csv"), tmp_path / "p.csv", proba=True)
    assert raw.getvalue() == (tmp_path / "p.csv").read_bytes()
    write_data(json.dumps(ODD, ensure_ascii=False))
    assert json.loads(raw.getvalue()[len((tmp_path / "p.csv").read_bytes()) :].decode("utf-8")) == ODD


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_words_on_the_screen_stay_apart_in_every_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    out, err = io.BytesIO(), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding=encoding))
    forgiving()
    Screen().facts([("赤", "青 − [bold]"), ("🙂", "\udce4")])
    complain("赤 is not 青")
    assert r"\u8d64" in out.getvalue().decode(encoding) and r"\u9752 - [bold]" in out.getvalue().decode(encoding)
    assert r"\U0001f642" in out.getvalue().decode(encoding)
    assert err.getvalue().decode(encoding).strip() == r"\u8d64 is not \u9752"


@pytest.mark.parametrize("text", ["=1+1", "=cmd|' /C calc'!A0", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"])
def test_what_a_spreadsheet_runs(text: str) -> None:
    assert is_formula(text)


@pytest.mark.parametrize("text", ["-5", "+5", "-5.25", "+1,5", "-1e-05", "-3 %", "-", "+", "a=1", "<=50K", ">50K", " =1", "'=1", ""])
def test_what_it_does_not(text: str) -> None:
    assert not is_formula(text)


def test_formulas_are_shielded_counted_and_kept_in_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, frame = model_of(["=1+1", "fine", "-5"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    plain = model.table(frame, proba=True)
    count = int((plain["prediction"] == "=1+1").sum())
    predict_file(model, str(tmp_path / "t.csv"), tmp_path / "p.csv", proba=True, rows=7)
    said = capsys.readouterr().err
    got = pd.read_csv(tmp_path / "p.csv", dtype={"prediction": str})
    assert set(got.columns) == {"'=1+1", "fine", "-5", "prediction"}
    assert got["prediction"].tolist() == [f"'{label}" if label == "=1+1" else label for label in plain["prediction"]]
    assert f"{count + 1} cells begin like a formula ('=1+1')" in said and "--out FILE.parquet" in said
    predict_file(model, str(tmp_path / "t.csv"), tmp_path / "p.parquet", proba=True)
    assert pd.read_parquet(tmp_path / "p.parquet").equals(plain)
    assert "formula" not in capsys.readouterr().err


def test_negative_numbers_are_no_formulas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, frame = model_of(["a", "b"])
    model.target.fit(np.linspace(-9.0, -1.0, len(frame)), "regression")
    frame.to_csv(tmp_path / "t.csv", index=False)
    model.model = build_seeded(lambda: TabularNet(1, (), out_features=1, hidden=(16,)), 0)
    predict_file(model, str(tmp_path / "t.csv"), tmp_path / "p.csv")
    assert (pd.read_csv(tmp_path / "p.csv")["prediction"] < 0).all()
    assert capsys.readouterr().err == ""


def bare(**more: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")} | {"OMP_NUM_THREADS": "1"} | more


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    folder, _ = saved_in(tmp_path, ["赤", "青"])
    pd.DataFrame({"x": np.arange(300_000) % 2}).to_csv(tmp_path / "long.csv", index=False)
    command = [*RUN, "predict", str(folder), str(tmp_path / "long.csv")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=bare(PYTHONIOENCODING="ascii")) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"prediction\n"
        assert process.stdout.readline().decode("utf-8").strip() in ("赤", "青")
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes the output")
@pytest.mark.parametrize("what", [["predict", "{fit}", "{data}", "--out", "{out}"], ["list"], ["describe", "L2"]])
def test_closed_output(tmp_path: Path, what: list[str]) -> None:
    folder, frame = saved_in(tmp_path, ["赤", "青"])
    places = {"{fit}": str(folder), "{data}": str(tmp_path / "t.csv"), "{out}": str(tmp_path / "p.csv")}
    command = " ".join(f"'{places.get(part, part)}'" for part in what)
    script = tmp_path / "run.sh"
    script.write_text(f"'{RUN[0]}' -c '{RUN[2]}' {command} >&- 2>&-\n", encoding="utf-8")
    assert subprocess.run(["sh", str(script)], env=bare(), check=False).returncode == 0
    if what[0] == "predict":
        assert set(written(tmp_path / "p.csv")["prediction"]) <= {"赤", "青"} and len(written(tmp_path / "p.csv")) == len(frame)
