"""Reading: every source gives the same frame, every unreadable one a message with the way out."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, time
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import torch

from temperance.core.errors import DataError
from temperance.data.read import read_table

TABLE = {"age": [31, 47, 22], "pay": [1.5, None, 3.0], "job": ["cook", None, "smith"], "on": [True, False, True]}


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def fails(source, *parts, **options):
    with pytest.raises(DataError) as caught:
        read_table(source, **options)
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    assert message.startswith(("Expected", "Complex")) and message.endswith((".", "?")), message
    return message


@pytest.fixture
def frame():
    return read_table(TABLE)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(tmp_path, frame, delimiter):
    path = write(
        tmp_path / "a.csv",
        delimiter.join(TABLE)
        + "\n"
        + "\n".join(delimiter.join(row) for row in [["31", "1.5", "cook", "true"], ["47", "", "NA", "false"], ["22", "3.0", "smith", "true"]])
        + "\n",
    )
    pd.testing.assert_frame_equal(read_table(path), frame)


def test_tab_wins_in_tsv(tmp_path):
    assert read_table(write(tmp_path / "a.tsv", "a,b\tc\n1\t2\n")).columns.tolist() == ["a,b", "c"]


def test_files_and_objects_agree(tmp_path, frame):
    polars = pytest.importorskip("polars", reason="polars is an optional dependency")
    table = pa.table(TABLE)
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "hidden")
    feather.write_feather(table, tmp_path / "a.feather")
    with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as stream:
        stream.write_table(table)
    pd.DataFrame(TABLE).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes())
    polar = polars.DataFrame(TABLE)
    sources = [tmp_path / name for name in ("a.parquet", "hidden", "a.feather", "a.arrow", "a.csv", "b.csv.gz", "bom.csv")]
    sources += [str(tmp_path / "a.csv"), table, polar, polar.lazy(), pd.DataFrame(TABLE), pd.DataFrame(TABLE).convert_dtypes()]
    sources += [pd.DataFrame(TABLE, dtype=object), pd.DataFrame(TABLE, index=[9, 9, 9]), table.to_pandas(types_mapper=pd.ArrowDtype)]
    for source in sources:
        pd.testing.assert_frame_equal(read_table(source), frame)


def test_arrays_and_tensors_agree():
    array = np.arange(6.0).reshape(3, 2)
    frame = read_table(array)
    assert frame.columns.tolist() == ["x0", "x1"]
    for source in (
        torch.from_numpy(array),
        torch.from_numpy(array).requires_grad_(),
        torch.from_numpy(array).bfloat16(),
        array.astype(np.float32),
        array.astype(object),
    ):
        pd.testing.assert_frame_equal(read_table(source), frame)
    records = np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])
    assert read_table(records).columns.tolist() == ["a", "b"]


def test_missing_markers_and_blanks(tmp_path):
    path = write(tmp_path / "a.csv", 'n,s\n1, ?\n"",b \n NaN,"?"\nnull,\n4, b\n')
    frame = read_table(path)
    assert frame["n"].isna().tolist() == [False, True, True, True, False] and str(frame["n"].dtype) == "Int64"
    assert frame["s"].isna().tolist() == [True, False, False, True, False]
    assert set(frame["s"].dropna()) == {"b", "?"}


def test_one_column_keeps_its_gaps(tmp_path):
    assert len(read_table(write(tmp_path / "a.csv", "a\n1\n\n3\n\n"))) == 3


def test_text_details(tmp_path):
    assert read_table(write(tmp_path / "a.csv", 'a,b\n1,"x\ny, z"\n'))["b"].tolist() == ["x\ny, z"]
    assert read_table(write(tmp_path / "b.csv", ",a\n0,5\n1,6\n")).columns.tolist() == ["unnamed_0", "a"]
    comma = read_table(write(tmp_path / "c.csv", "a;b\n1,5;x,y\n2;z\n"))
    assert comma["a"].tolist() == [1.5, 2.0] and comma["b"].tolist() == ["x,y", "z"]
    assert read_table(write(tmp_path / "d.csv", "t,a\n06:00,1\n12:00,2\n"))["t"].tolist() == [0.25, 0.5]
    frame = read_table(write(tmp_path / "e.csv", "d,s\n2024-01-01,2024-01-01 12:00:00\n,\n"))
    assert [str(dtype)[:10] for dtype in frame.dtypes] == ["datetime64"] * 2 and frame.isna().to_numpy().tolist() == [[False] * 2, [True] * 2]


def test_kinds_of_objects_become_plain():
    moment = datetime(2024, 1, 1, 12, tzinfo=UTC)
    frame = read_table(pd.DataFrame({
        "dec": [Decimal("1.5"), None], "date": [date(2024, 1, 1), None], "zone": pd.Series([moment, None]), "mix": [1, "x"],
        "time": [time(6), None], "gap": [None, None], "bool": [True, None], "delta": pd.to_timedelta(["12h", None]),
        "period": pd.PeriodIndex(["2024-01", "2024-02"], freq="M"), "sparse": pd.arrays.SparseArray([0.0, 1.0]), 3: [1, None],
    }))  # fmt: skip
    assert frame["dec"].tolist()[0] == 1.5 and frame["mix"].tolist() == ["1", "x"] and frame["time"].tolist()[0] == 0.25
    assert frame["zone"].iloc[0] == pd.Timestamp("2024-01-01 12:00") and frame["delta"].tolist()[0] == 0.5
    assert frame["date"].iloc[0] == pd.Timestamp("2024-01-01") and frame["gap"].isna().all() and frame["sparse"].tolist() == [0.0, 1.0]
    assert str(frame["bool"].dtype) == "boolean" and "3" in frame.columns and frame["period"].iloc[1] == pd.Timestamp("2024-02-01")


def test_the_source_is_left_as_it_is():
    source = pd.DataFrame({"a": [" x ", None], "b": [1, 2]}, index=[5, 6])
    copy = source.copy(deep=True)
    read_table(source)
    pd.testing.assert_frame_equal(source, copy)


def test_index_columns_of_parquet_are_dropped(tmp_path):
    pd.DataFrame({"a": [1, 2]}, index=[5, 9]).to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").columns.tolist() == ["a"]


def test_missing_file_names_near_files(tmp_path):
    write(tmp_path / "train.csv", "a\n1\n")
    fails(tmp_path / "trian.csv", "`data` to be an existing file", "trian.csv", "Did you mean `train.csv`?")
    fails(tmp_path / "none" / "a.csv", "existing file", "Check the path", what="test")
    fails(tmp_path, "got the directory", "Name one file")


def test_empty_files(tmp_path):
    fails(write(tmp_path / "a.csv", ""), "a.csv", "0 bytes", "Write the table again")
    fails(write(tmp_path / "b.csv", "\n \n"), "b.csv", "empty file", "Write the table again")
    fails(write(tmp_path / "c.csv", "a,b\n"), "c.csv", "header only (0 rows)", "at least one row")
    fails(pd.DataFrame({"a": []}), "0 rows", "at least one row")
    fails(pd.DataFrame(index=[1, 2]), "to have columns, got none")
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "d.parquet")
    fails(tmp_path / "d.parquet", "0 rows")


def test_unknown_and_corrupt_files(tmp_path):
    fails(write(tmp_path / "a.xls", "PK"), "known format", ".xls", "Excel", "CSV", "Parquet", "Arrow")
    fails(write(tmp_path / "a", "x"), "no suffix", "CSV")
    for name in ("a.parquet", "a.arrow", "a.feather"):
        fails(write(tmp_path / name, "nonsense" * 10), "readable table", name, "Write the table again")
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n\xff\xfe,3\n")
    fails(tmp_path / "a.csv", "UTF-8", "line 3", "Save the file again")
    (tmp_path / "b.csv").write_bytes(b"a,b\n\0\0,3\n")
    fails(tmp_path / "b.csv", "binary data", "Save the file again")
    fails(write(tmp_path / "c.csv.gz", "not packed"), "readable table", "c.csv.gz")
    fails(write(tmp_path / "d.csv", "a,b\n1\n2\n"), "2 fields")


def test_open_quotes_lose_no_rows(tmp_path):
    fails(write(tmp_path / "a.csv", 'a,b\n1,"x\n2,y\n3,z\n'), "a.csv", "column `b`", "line 2", "from 'x' on", "Close the quote")
    assert read_table(write(tmp_path / "b.csv", 'a,b\n1,5" pipe\n2,y\n'))["b"].tolist() == ['5" pipe', "y"]


@pytest.mark.parametrize(("row", "got"), [("1", "got 1 in line 3: '1'"), ("1,2,3", "got 3 in line 3: '1,2,3'")])
def test_ragged_lines(tmp_path, row, got):
    fails(write(tmp_path / "a.csv", f"a,b\n1,2\n{row}\n5,6\n"), "a.csv", "2 fields like its header", got, "Fix the line", "quotes")


def test_duplicate_names(tmp_path):
    both = "Rename or drop"
    fails(write(tmp_path / "a.csv", "a,b,a\n1,2,3\n"), "got `a` more than once", "a.csv", both)
    fails(write(tmp_path / "b.csv", "a, a\n1,2\n"), "got `a` more than once")
    double = pa.table([[1], [2], [3]], names=["a", "b", "a"])
    pq.write_table(double, tmp_path / "a.parquet")
    feather.write_feather(double, tmp_path / "a.feather")
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    for source in (double, tmp_path / "a.parquet", tmp_path / "a.feather", frame, pd.DataFrame([[1, 2]], columns=[1, "1"])):
        fails(source, "more than once", both)
    assert read_table(write(tmp_path / "c.csv", "a,a.1\n1,2\n")).columns.tolist() == ["a", "a.1"]


def test_no_table():
    fails(None, "to be a table, got NoneType", "pandas", "polars")
    fails([1, 2], "got list", what="X")
    fails(np.ones(3), "2 dimensions", "(3,)", "reshape(-1, 1)")
    fails(torch.ones(2, 3, 4), "(2, 3, 4)", "Reshape")
    fails({"a": [1, 2], "b": [1]}, "same number of rows", "'a': 2", "one value per row")
    fails({"a": 1}, "`a`", "one value per row")
    fails({}, "to have columns")
    sparse = pytest.importorskip("scipy.sparse")
    fails(sparse.eye(2), "dense table", "toarray()")
