"""Predictions of a file batch by batch: the same bits as all at once, a complete file or none, and a word on how far it got."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from temperance.cli.predicting import _writer, check_output, predict_file
from temperance.core.errors import ConfigError, DataError
from temperance.data import TableEncoder, TargetEncoder
from temperance.job import Saved
from temperance.nets import TabularNet, build_seeded

N = 3000


def table(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    row = np.arange(n)
    job = np.where(row < n // 2, rng.choice(["cook", "smith"], n), rng.choice(["cook", "pilot", None], n))  # pyright: ignore[reportArgumentType]
    return pd.DataFrame({"age": np.where(row % 11 == 0, np.nan, rng.normal(size=n)), "size": rng.integers(0, 9, n), "job": job})


def saved(task: str) -> Saved:
    frame = table()
    encoder = TableEncoder().fit(frame)
    values = {"classification": frame["size"].astype(str), "regression": frame["size"] * 1.5, "multilabel": frame[["size"]] % 2}[task]
    if task == "multilabel":
        values = values.assign(other=1 - values["size"])
    target = TargetEncoder().fit(values, task)
    module = build_seeded(lambda: TabularNet(len(encoder.numeric_names), encoder.cardinalities, target.outputs, hidden=(32, 32), activation="gelu"), 0)
    return Saved(module, encoder, target, Path())


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_batches_are_the_whole_bit_for_bit(tmp_path: Path, task: str, suffix: str) -> None:
    model, frame, data = saved(task), table(), tmp_path / f"data{suffix}"
    frame.to_csv(data, index=False) if suffix == ".csv" else frame.to_parquet(data, row_group_size=700)
    proba = task != "regression"
    whole = model.table(frame, proba)
    for rows in (256, 700, 1024, 10_000):
        for out in ("p.parquet", "p.csv"):
            assert predict_file(model, str(data), tmp_path / out, proba=proba, rows=rows) == N
        got = pd.read_parquet(tmp_path / "p.parquet")
        assert list(got.columns) == list(whole.columns)
        for name in whole.columns:
            assert (got[name].to_numpy() == whole[name].to_numpy()).all(), (rows, name)
        assert (tmp_path / "p.csv").read_text(encoding="utf-8") == whole.to_csv(index=False)
    assert not list(tmp_path.glob(".*"))


def test_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, frame = saved("classification"), table()
    frame.to_csv(tmp_path / "t.csv", index=False)
    predict_file(model, str(tmp_path / "t.csv"), None, rows=500)
    said = capsys.readouterr()
    assert said.out == model.table(frame).to_csv(index=False)
    assert said.err == ""


@pytest.mark.parametrize("out", ["p.csv", "p.parquet", None])
def test_bad_rows_further_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str | None) -> None:
    model, frame = saved("classification"), table().astype({"age": object})
    frame.loc[2500, "age"] = "tall"
    frame.to_csv(tmp_path / "t.csv", index=False)
    path = None if out is None else tmp_path / out
    if path is not None:
        path.write_text("from before", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        predict_file(model, str(tmp_path / "t.csv"), path, rows=1000)
    text = str(caught.value)
    assert "'tall' in row 2501" in text
    assert "Stopped after 2,000 predictions" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["t.csv", *([out] if out else [])])
    if path is None:
        assert text.endswith("they are on standard output.")
        assert capsys.readouterr().out == model.table(table()).head(2000).to_csv(index=False)
    else:
        assert text.endswith(f"{str(path)!r} was not written.")
        assert path.read_text(encoding="utf-8") == "from before"


def test_ctrl_c_says_how_far_it_got(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved("regression")
    table().to_parquet(tmp_path / "t.parquet")
    outputs, calls = Saved.outputs, []

    def interrupted(self: Saved, x: object) -> object:
        calls.append(x)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return outputs(self, x)

    monkeypatch.setattr(Saved, "outputs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_file(model, str(tmp_path / "t.parquet"), tmp_path / "p.csv", rows=600)
    assert capsys.readouterr().err == f"Stopped after 1,200 of 3,000 predictions: {str(tmp_path / 'p.csv')!r} was not written.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved("regression")
    table().to_parquet(tmp_path / "t.parquet")
    calls: list[int] = []

    def full(self: pd.DataFrame, *arguments: object, **options: object) -> str:
        calls.append(len(self))
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return ""

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(ConfigError, match=r"No space left on device\. Choose another place\. Stopped after 1,000 of 3,000 predictions: .* was not written\.$"):
        predict_file(model, str(tmp_path / "t.parquet"), tmp_path / "p.csv", rows=1000)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_progress_goes_to_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["temperance.cli.predicting"], "QUIET", -1.0)
    model = saved("regression")
    table().to_parquet(tmp_path / "t.parquet")
    predict_file(model, str(tmp_path / "t.parquet"), None, rows=1000)
    said = capsys.readouterr()
    assert said.err == "predicted 1,000 rows  33 %\n"
    assert len(said.out.splitlines()) == N + 1


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    table(50).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "disk").mkdir()
    (tmp_path / "p.csv").symlink_to(tmp_path / "disk" / "real.csv")
    place = check_output(str(tmp_path / "p.csv"), str(tmp_path / "t.csv"))
    predict_file(saved("regression"), str(tmp_path / "t.csv"), place)
    assert (tmp_path / "p.csv").is_symlink()
    assert len(pd.read_csv(tmp_path / "disk" / "real.csv")) == 50
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real.csv"]
    (tmp_path / "lost.csv").symlink_to(tmp_path / "nowhere" / "real.csv")
    with pytest.raises(ConfigError, match=r"to lie in an existing folder, got .*lost\.csv'\. Make the folder .*nowhere' first\."):
        check_output(str(tmp_path / "lost.csv"), str(tmp_path / "t.csv"))


def test_the_folder_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.csv").write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path)
    with pytest.raises(ConfigError, match=r"Expected `--out` to be a file that can be written, got .*\. Choose another place\."):
        check_output(str(tmp_path / "p.csv"), "t.csv")


def test_two_runs_to_one_name_do_not_share_a_file(tmp_path: Path) -> None:
    with _writer(tmp_path / "p.csv") as first, _writer(tmp_path / "p.csv") as second:
        first.write(pd.DataFrame({"prediction": [1]}))
        second.write(pd.DataFrame({"prediction": [2]}))
    assert (tmp_path / "p.csv").read_text(encoding="utf-8") == "prediction\n1\n"
    assert len(list(tmp_path.iterdir())) == 1
