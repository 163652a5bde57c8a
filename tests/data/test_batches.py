"""Reading by the batch: the same rows whatever the batch, the file or its neighbours; messages count the rows of the file."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import torch

from temperance.core.errors import DataError
from temperance.data import TableEncoder, read_table
from temperance.data.batches import Batches

N = 60


def people() -> pd.DataFrame:
    """Every kind of column; rows 0 to 19 lack a category, 20 to 39 the numbers, 40 to 59 the dates, and only the last ones have fractions."""
    rng = np.random.default_rng(0)
    row = np.arange(N)
    half = row >= N // 2
    return pd.DataFrame({
        "size": np.where(half, rng.normal(size=N), rng.integers(0, 9, N)),
        "age": np.where((row >= 20) & (row < 40), np.nan, rng.integers(20, 70, N)),
        "big": rng.integers(2**53, 2**60, N),
        "job": np.where(row < 20, None, rng.choice(["cook", "smith", "pilot"], N)),
        "code": np.where(half, rng.choice(["a1", "b2"], N), rng.choice(["007", "7", "3.0"], N)),
        "on": np.where(row % 7 == 0, None, rng.choice(["true", "false"], N)),
        "born": np.where(row >= 40, None, pd.date_range("1990-01-01", periods=N, freq="36h").strftime("%Y-%m-%dT%H:%M:%S")),
        "unit": "cm",
    })  # fmt: skip


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return torch.equal(a["num"], b["num"]) and torch.equal(a["cat"], b["cat"])


def by_batches(encoder: TableEncoder, path: Path, rows: int) -> dict[str, torch.Tensor]:
    parts = [encoder.encode(frame) for frame in encoder.batches(path, rows=rows)]
    return {key: torch.cat([part[key] for part in parts]) for key in ("num", "cat")}


def written(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=11)
    elif name == "stream.arrow":
        table = pa.Table.from_pandas(frame)
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table, max_chunksize=9)
    elif name.endswith(".feather"):
        feather.write_feather(frame, path, chunksize=13)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    else:
        frame.to_csv(path, index=False, sep=";" if "semicolon" in name else "\t" if name.endswith(".tsv") else ",", decimal="," if "semicolon" in name else ".")
    return path


FILES = ("t.parquet", "t.feather", "stream.arrow", "t.csv", "t.csv.gz", "t.tsv", "semicolon.csv")


@pytest.mark.parametrize("name", FILES)
def test_a_row_is_the_same_in_every_batch(tmp_path: Path, name: str) -> None:
    frame = people()
    encoder = TableEncoder().fit(frame)
    assert {column.kind for column in encoder.columns} == {"number", "category", "boolean", "date", "ignored"}
    path, wanted = written(tmp_path, name, frame), encoder.transform(frame)
    for rows in (1, 7, 20, 1000):
        assert same(by_batches(encoder, path, rows), wanted), rows
    assert same(encoder.transform(path), wanted) and same(encoder.transform(str(path)), wanted)
    assert [len(batch) for batch in encoder.batches(path, rows=25)] == [25, 25, 10]
    assert [batch.index[0] for batch in encoder.batches(path, rows=25)] == [0, 25, 50]


def test_types_of_a_parquet_file(tmp_path: Path) -> None:
    """Integers with and without gaps, decimals, truth values, categories of different sets a batch, dates and times."""
    table = pa.table({
        "int": pa.array([1, 2, 3, 4, None, 6], pa.int32()),
        "decimal": pa.array([None, None, None, None, 2, 3], pa.decimal128(9, 2)),
        "flag": [True, False, True, None, None, None],
        "word": pa.array(["a", "b", "a", "c", None, "b"]).dictionary_encode(),
        "day": pa.array([0, 1, 2, None, None, None], pa.date32()),
        "time": pa.array([0, None, None, 3_600_000, None, 5], pa.time32("ms")),
        "view": pa.array(["x", "y", None, None, "z", "x"], pa.string_view()),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    encoder = TableEncoder().fit(table)
    wanted = encoder.transform(read_table(tmp_path / "t.parquet"))
    assert wanted["num"].shape[1] >= 4 and wanted["cat"].shape[1] == 3
    for rows in (1, 2, 3, 4, 6):
        assert same(by_batches(encoder, tmp_path / "t.parquet", rows), wanted), rows


def cells(tmp_path: Path, encoder: TableEncoder, text: str, rows: int = 2) -> dict[str, torch.Tensor]:
    path = tmp_path / "cells.csv"
    path.write_text(text, encoding="utf-8")
    whole = encoder.transform(path)
    assert same(by_batches(encoder, path, rows), whole)
    return whole


def test_cells_are_read_by_the_kind_of_their_column(tmp_path: Path) -> None:
    codes = TableEncoder().fit({"code": ["007", "7", "a", "true"]})
    assert cells(tmp_path, codes, "code\n007\n7\n7.0\n07\n+7\n8\ntrue\n\nNA\n 007 \n")["cat"][:, 0].tolist() == [1, 2, 2, 2, 2, 0, 4, 0, 0, 1]
    flags = TableEncoder().fit({"on": [True, False]})
    assert cells(tmp_path, flags, "on\n1\n0\n1.0\nTRUE\nfalse\n?\n")["cat"][:, 0].tolist() == [2, 1, 2, 2, 1, 0]
    numbers = TableEncoder().fit({"x": [0.0, 2.0, None]})
    wanted = numbers.transform({"x": [1.0, 0.0, 0.5, None, 1.5, 3.0, None, 1e-5]})
    assert same(cells(tmp_path, numbers, "x,unused\ntrue,\nFALSE,\n12:00,\nNaN,1\n 1.5,\n+3,\nNA ,\n1e-5,\n"), wanted)
    dates = TableEncoder().fit({"d": ["2024-01-01", "2024-03-01", None]})
    wanted = dates.transform({"d": pd.to_datetime(["2024-02-01", "2024-02-01 12:00", None, "2024-02-01 11:00"], format="ISO8601")})
    assert same(cells(tmp_path, dates, "d,e\n2024-02-01,\n2024-02-01T12:00,\n,\n2024-02-01 12:00+01:00,\n"), wanted)


def test_decimal_commas(tmp_path: Path) -> None:
    encoder = TableEncoder().fit({"x": [1.0, 2.0], "y": [1.0, 2.0]})
    wanted = encoder.transform({"x": [1.5, 2.0, -3e2, 0.5], "y": [1.5, 1.0, 1.0, 1.0]})
    assert same(cells(tmp_path, encoder, "x;y\n1,5;1.5\n2;1\n-3,0e2;1\n,5;1\n"), wanted)
    with pytest.raises(DataError, match=r"one decimal mark in column `x`, got '2\.5' beside numbers with ','"):
        cells(tmp_path, encoder, "x;y\n1,5;1\n1;1\n2.5;1\n")


def test_one_column_has_blank_rows_but_none_at_the_end(tmp_path: Path) -> None:
    encoder = TableEncoder().fit({"x": [1.0, 3.0, None]})
    for text in ("x\n1\n\n3\n\n\n", "\ufeffx\r\n1\r\n\r\n3", "\n\nx\n1\n\n3\n"):
        assert same(cells(tmp_path, encoder, text, 1), encoder.transform({"x": [1.0, None, 3.0]})), text


def test_only_wanted_columns_are_needed(tmp_path: Path) -> None:
    frame = people()
    encoder = TableEncoder().fit(frame)
    for name in ("t.csv", "t.parquet"):
        other = frame.drop(columns="unit").assign(more="\u00e9")[["more", *reversed(encoder.kinds)]]
        assert same(by_batches(encoder, written(tmp_path, name, other), 16), encoder.transform(frame))
        with pytest.raises(DataError, match=r"Expected the columns of the fitted table, `age` missing; got `"):
            next(iter(encoder.batches(written(tmp_path, name, frame.drop(columns="age")))))


LATER = {
    "a word in a number column": ("40,cook", "tall,cook", ["numbers in column `age`", "'tall'", "row 41"]),
    "an infinite value": ("40,cook", "inf,cook", ["finite numbers in column `age`", "row 41"]),
    "another way to write none": ("40,cook", "NAN,cook", ["numbers in column `age`", "'NAN'", "row 41"]),
    "a short line": ("40,cook", "40", ["2 fields like its header", "1 in line 42", "'40'"]),
    "a long line": ("40,cook", "40,cook,", ["2 fields like its header", "3 in line 42"]),
    "a quote that stays open": ("40,cook", '40,"cook', ["every quote", "`job`", "'cook'", "Close the quote"]),
}


@pytest.mark.parametrize("case", LATER)
def test_what_is_wrong_further_on(tmp_path: Path, case: str) -> None:
    before, after, words = LATER[case]
    encoder = TableEncoder().fit({"age": [1.0, 2.0], "job": ["cook", "smith"]})
    text = "age,job\n" + "".join(f"{i},cook\n" for i in range(50))
    (tmp_path / "t.csv").write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        by_batches(encoder, tmp_path / "t.csv", 8)
    assert not [word for word in words if word not in str(caught.value)], str(caught.value)


def test_an_open_quote_in_a_column_that_nobody_wants(tmp_path: Path) -> None:
    encoder = TableEncoder().fit({"age": [1.0, 2.0]})
    (tmp_path / "t.csv").write_text('age,note\n1,a\n2,"b\n3,c\n', encoding="utf-8")
    with pytest.raises(DataError, match="`note`"):
        by_batches(encoder, tmp_path / "t.csv", 8)
    (tmp_path / "t.csv").write_text('age,note\n1,a\n2,5" pipe\n3,c\n', encoding="utf-8")
    assert len(by_batches(encoder, tmp_path / "t.csv", 8)["num"]) == 3


FILES_REFUSED: dict[str, tuple[bytes, str]] = {
    "no UTF-8": (b"age,job\n1,a\n2,\xe9\n", "other bytes in line 3"),
    "binary": (b"age,job\n1,a\n2,\0\n", "binary data"),
    "blank": (b"\n \n", "empty file"),
    "header only": (b"age,job\n", "header only"),
    "twice": (b"age,age \n1,2\n", "`age` more than once"),
    "empty": (b"", "empty file"),
}


@pytest.mark.parametrize("case", FILES_REFUSED)
def test_files_that_are_refused(tmp_path: Path, case: str) -> None:
    content, words = FILES_REFUSED[case]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(Batches(tmp_path / "t.csv", {"age": "number"}))
    with pytest.raises(DataError, match=words):
        read_table(tmp_path / "t.csv")


def test_categories_all_unseen(tmp_path: Path) -> None:
    """Numbers where levels are words are a wrong column, if that is how a file begins; later they are unseen values."""
    encoder = TableEncoder().fit({"job": ["cook", "smith"]})
    assert cells(tmp_path, encoder, "job,a\ncook,\n1,\n2,\n3,\n")["cat"][:, 0].tolist() == [1, 0, 0, 0]
    with pytest.raises(DataError, match=r"got the number 1 in row 1\. Check that"):
        cells(tmp_path, encoder, "job,a\n1,\n2,\n")


def test_how_far_it_got(tmp_path: Path) -> None:
    frame = people()
    for name, total in (("t.parquet", N), ("t.csv", None)):
        batches = Batches(written(tmp_path, name, frame), {"age": "number"}, rows=10)
        shares = [batches.done for _ in batches]
        assert batches.total == total and batches.done == 1.0
        assert all(0 < a <= b <= 1 for a, b in pairwise(shares))


def test_large_files_in_many_blocks(tmp_path: Path) -> None:
    """Longer than a block of the reader, with line ends inside quotes."""
    n = 300_000
    x = np.random.default_rng(0).normal(size=n)
    note = np.where(np.arange(n) % 1000 == 0, "two\nlines", "one")
    pd.DataFrame({"x": x, "note": note}).to_csv(tmp_path / "t.csv", index=False)
    frames = list(Batches(tmp_path / "t.csv", {"x": "number", "note": "category"}))
    assert [len(frame) for frame in frames] == [1 << 16] * (n // (1 << 16)) + [n % (1 << 16)]
    assert np.array_equal(np.concatenate([frame["x"] for frame in frames]), x)
    assert np.array_equal(np.concatenate([frame["note"].astype(object) for frame in frames]), note)


def test_columns_without_a_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",a,,b\n" + "".join(f"{i * i % 7}.5,{i % 4},{100 + i * i % 11},{i % 3}\n" for i in range(30)), encoding="utf-8")
    frame = read_table(tmp_path / "t.csv")
    encoder = TableEncoder().fit(frame)
    assert set(encoder.kinds) == {"unnamed_0", "a", "unnamed_2", "b"}
    assert same(by_batches(encoder, tmp_path / "t.csv", 7), encoder.encode(frame))
