"""One grammar of cells: the same table as CSV, Parquet or frame has the same kinds, classes and codes, whichever the model was fitted on."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from temperance.core.errors import DataError
from temperance.data import TableEncoder, infer_columns, read_table, table_dataset
from temperance.data.cells import exact, missing_note, time_of_day, typed
from temperance.data.columns import remarks
from temperance.data.read import read_cells

N = 60
ROW = range(N)
HALVES = np.where(np.arange(N) % 2, "p", "q")


def sources(folder: Path, frame: pd.DataFrame) -> dict[str, Any]:
    """The frame in every format, text files with all cells quoted and with as few as can be."""
    polars = pytest.importorskip("polars", reason="polars is an optional dependency")
    frame.to_parquet(folder / "t.parquet")
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "quoted.csv", index=False, quoting=1)
    frame.to_csv(folder / "t.tsv", index=False, sep="\t")
    frame.to_csv(folder / "semicolon.csv", index=False, sep=";")
    files = {name: folder / name for name in ("t.parquet", "t.csv", "quoted.csv", "t.tsv", "semicolon.csv")}
    return {**files, "pandas": frame, "objects": frame.astype(object), "polars": polars.from_pandas(frame)}


def same_everywhere(folder: Path, frame: pd.DataFrame, only: str = "") -> TableEncoder:
    """The encoder of ``x`` in every format, which encodes every format alike, before and after it was saved."""
    given = {name: source for name, source in sources(folder, frame.assign(y=HALVES[: len(frame)])).items() if only in name}
    encoders = {name: table_dataset(source, "y")[1] for name, source in given.items()}
    first = next(iter(encoders.values()))
    wanted = first.transform(next(iter(given.values())))
    for (name, encoder), (other, source) in product(encoders.items(), given.items()):
        if encoder is not first and name != other and source is not next(iter(given.values())):
            continue  # every format fits what the first one reads, and reads what the first one fits
        assert encoder.kinds == first.kinds, (name, encoder.kinds, first.kinds)
        saved = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
        for each in (encoder.transform(source), saved.transform(source)):
            assert torch.equal(each["num"], wanted["num"]) and torch.equal(each["cat"], wanted["cat"]), (name, other)
    return first


def written(folder: Path, text: str, name: str = "w.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def fails(call: Any, *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert not [part for part in parts if part not in str(caught.value)], str(caught.value)


def grouped(value: float, mark: str, point: str = ".") -> str:
    return f"{value:,.2f}".replace(",", "_").replace(".", point).replace("_", mark)


# Numbers


NUMBERS: dict[str, Any] = {
    "$1,200": lambda v: f"${v:,}",
    "1,234.50": lambda v: grouped(v, ","),
    "1.234,50": lambda v: grouped(v, ".", ","),
    "1 234,50": lambda v: grouped(v, " ", ","),
    "narrow blanks": lambda v: grouped(v, "\u202f", ","),
    "1'234.50": lambda v: grouped(v, "'"),
    "1234,50": lambda v: grouped(v, "", ","),
    "12 %": lambda v: f"{v} %",
    "12%": lambda v: f"{v}%",
    "€ 5": lambda v: f"€ {v}",
    "5 EUR": lambda v: f"{v} EUR",
    "-$5": lambda v: f"-${v}",
    "(123)": lambda v: f"({v})",
    "+5": lambda v: f"+{v}",
    "minus of typography": lambda v: f"−{v}",
    "1e3": lambda v: f"{v / 1000}e3",
    "5.": lambda v: f"{v}.",
    "$ only at times": lambda v: f"${v}" if v % 2 else f"{v}",
}
NEGATIVE = ("-$5", "(123)", "minus of typography")


@pytest.mark.parametrize("way", NUMBERS)
def test_numbers_as_people_write_them(tmp_path: Path, way: str) -> None:
    values = [37 * i * i + i for i in ROW]
    frame = pd.DataFrame({"x": [NUMBERS[way](value) for value in values]})
    encoder = same_everywhere(tmp_path, frame)
    assert encoder.kinds == {"x": "number"}
    sign = -1 if way in NEGATIVE else 1
    assert encoder.numeric[0].mean == pytest.approx(sign * np.median(values), rel=1e-12)
    assert np.allclose(read_table(frame)["x"], sign * np.array(values, float), rtol=1e-12)


def test_what_is_converted_is_said() -> None:
    said = remarks(infer_columns(pd.DataFrame({"pay": ["$1,200", "$900"], "part": ["12 %", "3 %"], "size": ["1", "2"]})))
    assert said == ['`pay`: numbers written as text, "$1,200" is 1200', '`part`: numbers written as text, "12 %" is 12', "`size`: numbers written as text"]


def test_a_comma_is_decided_by_the_column() -> None:
    def second(*cells: str) -> float:
        return read_table({"x": list(cells)})["x"].iloc[1]

    assert second("12", "1,234") == 1234  # nothing else speaks for either
    assert second("12,5", "1,234") == 1.234
    assert second("0,512", "1,234") == 1.234  # no number of thousands begins with 0
    assert second("5000", "1,234") == 1.234  # 5000 has no mark between thousands
    assert second("1,234,567", "1,234") == 1234
    assert second("1.234,5", "1.234") == 1234
    assert second("1.5", "1.234") == 1.234
    assert second("1.5", "1,234") == 1234


def test_a_cell_is_read_as_the_column_was(tmp_path: Path) -> None:
    """1.234 alone would be one and a bit."""
    encoder = TableEncoder().fit({"x": ["1.234,50", "12,00", "999.999,25"]})
    wanted = encoder.transform({"x": [1234.0]})
    for one in ({"x": ["1.234"]}, written(tmp_path, "x,z\n1.234,\n"), written(tmp_path, "x;z\n1.234;\n", "s.csv")):
        assert torch.equal(encoder.transform(one)["num"], wanted["num"])
    fails(lambda: encoder.transform({"x": ["12,0", "12.5"]}), "numbers in column `x`", "'12.5'", "row 2", "a number like 1.234,5")
    fails(lambda: encoder.transform(written(tmp_path, "x,z\n1,\n$5,\n")), "'$5'", "row 2")
    plain = TableEncoder().fit({"x": ["1", "2.5"]})
    fails(lambda: plain.transform({"x": ["1,200"]}), "'1,200'", "row 1")
    fails(lambda: plain.transform(written(tmp_path, 'x,z\n"1,200",\n')), "'1,200'", "row 1")


@pytest.mark.parametrize(
    "cells",
    [
        ["0x1F", "0x2A", "0x1F"], ["1_000", "2_000", "1_000"], ["$5", "€5", "$6"], ["12 %", "3", "12 %"], ["555 123 4567", "555 987 6543"] * 2,
        ["1.2.3", "1.2.4", "1.2.3"], ["10-20", "20-30", "10-20"], ["1,23,4", "5,67,8", "1,23,4"], ["(5", "6)", "(5"], ["12 cm", "13 cm", "12 cm"],
        ["A1", "B2", "A1"], ["007", "012", "007"], ["-", "--", "-"], ["€", "$", "€"],
    ],
)  # fmt: skip
def test_what_is_no_number_stays_a_name(tmp_path: Path, cells: list[str]) -> None:
    encoder = same_everywhere(tmp_path, pd.DataFrame({"x": (cells * N)[:N]}))
    assert encoder.kinds == {"x": "category"} and set(encoder.categorical[0].levels) == set(cells)


def test_a_few_cells_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    cells = [f"${100 * i:,}" for i in ROW]
    cells[40] = "soon"
    for source in sources(tmp_path, pd.DataFrame({"x": cells, "y": HALVES})).values():
        fails(lambda source=source: table_dataset(source, "y"), "59 of 60 values are numbers", "'soon'", "row 41", "$1,234.5")
    typed_nan = {"x": [*map(str, range(20)), "nan"]}
    fails(lambda: infer_columns(pd.DataFrame(typed_nan)), "'nan'", "--na")
    assert infer_columns(read_table(typed_nan, na="nan"))[0].kind == "number"  # the way out


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_a_point_stands_between_thousands_where_other_columns_have_decimal_commas(tmp_path: Path, delimiter: str) -> None:
    """2.000 is two thousand beside 12,5: in every format, as a feature and as a target, when fitting and when predicting."""
    price, amount = [f"{i % 90},{i % 9}5" for i in ROW], [f"{i % 7 + 1}.{37 * i % 1000:03d}" for i in ROW]
    amount[3], wanted = "950", [float(cell.replace(".", "")) for cell in (*amount[:3], "950", *amount[4:])]
    frame = pd.DataFrame({"price": price, "amount": amount, "kind": HALVES})
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False, sep=delimiter)
    for source in (path, frame):
        assert read_table(source)["amount"].tolist() == wanted
        data, encoder, _ = table_dataset(source, "kind")
        assert data.x["num"][:, 1].tolist() == pytest.approx(TableEncoder().fit({"x": wanted}).transform({"x": wanted})["num"][:, 0].tolist())
        assert '`amount`: numbers written as text, "' in remarks(encoder.columns)[1] and "as other columns have decimal commas" in remarks(encoder.columns)[1]
        again = encoder.transform(written(tmp_path, "price;amount\n5,5;2.000\n", "s.csv"))["num"]
        assert torch.equal(again, encoder.transform({"price": [5.5], "amount": [2000.0]})["num"])
        _, _, target = table_dataset(source, "amount", task="regression")
        assert float(target.mean[0]) == pytest.approx(sum(wanted) / len(wanted))
    alone = read_table(pd.DataFrame({"amount": amount, "kind": HALVES}))["amount"]
    assert alone[0] == float(amount[0]) and alone[3] == 950.0
    mixed = read_table(pd.DataFrame({"price": price, "amount": [*amount[:-1], "0.125"]}))["amount"]
    assert mixed[0] == float(amount[0])  # no number of thousands begins with 0


@pytest.mark.parametrize("unit", [" kg", "k", " ‰", "°C", " km/h"])
def test_numbers_with_units_are_not_left_out_in_silence(unit: str) -> None:
    """Each is another text, so that they name the rows; without the unit they are numbers."""
    cells = [f"{i}.5{unit}" for i in range(60)]
    (column,) = infer_columns(pd.DataFrame({"x": cells}))
    assert column.kind == "ignored" and f'numbers with something behind, as in "0.5{unit}"' in remarks([column])[0]
    assert infer_columns(pd.DataFrame({"x": [cell.removesuffix(unit) for cell in cells]}))[0].kind == "number"
    names = [f"{i} Main Street, {i}" for i in range(60)]
    assert "something behind" not in infer_columns(pd.DataFrame({"x": names}))[0].notes


def test_numbers_written_in_several_ways_are_not_left_out_in_silence() -> None:
    cells = [f"{'$' if i % 2 else '€'}{i}" for i in range(60)]
    (note,) = remarks(infer_columns(pd.DataFrame({"x": cells})))
    assert note.startswith("`x` is left out, as it names the rows") and "written in several ways" in note


def test_a_minus_sign_behind_the_digits(tmp_path: Path) -> None:
    """As accounting programs write it."""
    cells = [f"{i}.5-" if i % 3 == 0 else f"{i}.5" for i in ROW]
    encoder = same_everywhere(tmp_path, pd.DataFrame({"x": cells}))
    wanted = TableEncoder().fit({"x": [-(i + 0.5) if i % 3 == 0 else i + 0.5 for i in ROW]})
    assert encoder.kinds == {"x": "number"} and torch.equal(encoder.transform({"x": ["6.5-", "7.5"]})["num"], wanted.transform({"x": [-6.5, 7.5]})["num"])
    fails(lambda: encoder.transform({"x": ["-6.5-"]}), "'-6.5-'", "row 1")


def test_names_that_look_like_numbers_are_said() -> None:
    mixed = [f"{i}" for i in range(40)] + ["none"] * 20
    assert remarks(infer_columns(pd.DataFrame({"x": mixed}))) == ["`x`: names of levels, though 67% of its cells are numbers"]
    ways = ["$5", "€6"] * 10
    assert "written in several ways" in remarks(infer_columns(pd.DataFrame({"x": ways})))[0]


# Whole numbers


BIG = 2**53


@pytest.mark.parametrize("low", [BIG, 2**63, -(2**60)], ids=["beyond floats", "beyond int64", "negative"])
@pytest.mark.parametrize("gap", [False, True])
def test_whole_numbers_never_pass_through_floats(tmp_path: Path, low: int, gap: bool) -> None:
    ids: list[int | None] = [low + i % 3 for i in ROW]
    if gap:
        ids[5] = None
    kind = pa.uint64() if low > 2**62 else pa.int64()
    pq.write_table(pa.table({"x": pa.array(list(ROW), pa.float64()), "y": pa.array(ids, kind)}), tmp_path / "t.parquet")
    csv = written(tmp_path, "x,y\n" + "".join(f"{i}.5,{'' if y is None else y}\n" for i, y in enumerate(ids)))
    polars = pytest.importorskip("polars", reason="polars is an optional dependency")
    objects = pd.DataFrame({"x": np.arange(N) / 2, "y": pd.Series(ids, dtype=object)})
    masked = objects.astype({"y": "UInt64" if low > 2**62 else "Int64"})
    strings = objects.assign(y=[None if y is None else str(y) for y in ids])
    for source in (csv, tmp_path / "t.parquet", objects, masked, strings, polars.read_parquet(tmp_path / "t.parquet"), pq.read_table(tmp_path / "t.parquet")):
        data, _, target = table_dataset(source, "y", task="classification")
        assert target.classes == (low, low + 1, low + 2) and all(type(label) is int for label in target.classes)
        labeled = np.ones(N, bool) if data.labeled is None else data.labeled.numpy()
        back = target.decode(data.y)
        assert [int(y) for y in back[labeled]] == [y for y in ids if y is not None] and (~labeled).sum() == gap
        assert target.encode(pd.Series([str(low + 1)]))[0].tolist() == [[0.0, 1.0, 0.0]]


def test_whole_numbers_beyond_any_integer_type_are_names(tmp_path: Path) -> None:
    ids = [10**25 + i % 2 for i in ROW]
    csv = written(tmp_path, "x,y\n" + "".join(f"{i}.5,{y}\n" for i, y in enumerate(ids)))
    for source in (csv, {"x": np.arange(N) / 2, "y": pd.Series(ids, dtype=object)}):
        assert table_dataset(source, "y")[2].classes == (str(10**25), str(10**25 + 1))


def test_decimals_that_are_whole_keep_their_digits(tmp_path: Path) -> None:
    from decimal import Decimal

    frame = pd.DataFrame({"y": [Decimal(BIG + i % 2) for i in ROW]})
    assert read_table(frame)["y"].nunique() == 2
    pq.write_table(pa.table({"y": pa.array(frame["y"], pa.decimal128(20, 0))}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["y"].tolist() == [BIG + i % 2 for i in ROW]


def test_levels_that_are_long_numbers_do_not_run_together() -> None:
    encoder = TableEncoder().fit({"c": pd.Categorical([str(BIG), str(BIG + 1)] * 5)})
    for frame in ({"c": [BIG, BIG + 1]}, {"c": [f"{BIG}.0", f"+{BIG + 1}"]}, {"c": pd.array([BIG, BIG + 1], dtype="Int64")}):
        assert encoder.transform(frame)["cat"][:, 0].tolist() == [1, 2]


@pytest.mark.parametrize("form", [int, float, str, "Int64", "float32", object, "string"])
def test_a_level_is_the_same_however_its_number_is_written(tmp_path: Path, form: Any) -> None:
    encoder = TableEncoder().fit({"c": pd.Categorical(["1", "2"] * 5)})
    frame = pd.DataFrame({"c": pd.Series([2, 1, 2]).astype(form), "z": 0})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for source in (frame, tmp_path / "t.parquet", tmp_path / "t.csv"):
        assert encoder.transform(source)["cat"][:, 0].tolist() == [2, 1, 2]


def test_codes_keep_their_zeros(tmp_path: Path) -> None:
    codes = pd.DataFrame({"x": ["007", "7", "012"] * 20})
    encoder = same_everywhere(tmp_path, codes)
    assert encoder.categorical[0].levels == ("007", "012", "7") and "begin with 0" in remarks(encoder.columns)[0]
    for source in sources(tmp_path, codes.assign(z=np.arange(N) / 2)).values():
        assert table_dataset(source, "x")[2].classes == ("007", "012", "7")


# What is missing


NAMES = ["NA", "nan", "None", "null", "N/A", "-", "?", "NULL"]


def test_markers_are_names_where_they_are_quoted_or_typed(tmp_path: Path) -> None:
    regions = [NAMES[i % len(NAMES)] for i in ROW]
    frame = pd.DataFrame({"region": regions, "z": np.arange(N) / 2})
    frame.to_csv(tmp_path / "q.csv", index=False, quoting=2)
    given = sources(tmp_path, frame)
    for name in ("pandas", "objects", "polars", "t.parquet", "quoted.csv"):
        assert set(table_dataset(given[name], "region")[2].classes) == set(NAMES), name
        encoder = table_dataset(given[name], "z")[1]
        assert set(encoder.categorical[0].levels) == set(NAMES)
        for other in given.values():  # not quoted in some of them: still the level of that name
            codes = encoder.transform(other)["cat"][:, 0]
            assert [encoder.categorical[0].levels[code - 1] for code in codes] == regions, (name, other)
    assert set(table_dataset(tmp_path / "q.csv", "region")[2].classes) == set(NAMES)
    assert table_dataset(tmp_path / "t.csv", "region")[2].classes == ("-", "None")


def test_what_counts_as_missing_is_said(tmp_path: Path) -> None:
    text = 'region,size,note\nNA,1,"NA"\nNA,?,x\nEU,,\n NA ,4,y\n'
    frame, notes = read_cells(written(tmp_path, text))
    assert notes == ['missing: 3 cells "NA" in column `region`, 1 cell "?" in column `size`; quoted cells are names, and --na changes what counts as missing']
    assert frame["region"].isna().tolist() == [True, True, False, True] and frame["size"].tolist()[0] == 1 and frame["note"].tolist()[0] == "NA"
    assert read_cells(written(tmp_path, "a,b\n1,\n2,x\n"))[1] == []


@pytest.mark.parametrize("quoting", [0, 1])
def test_named_markers_hold_in_every_format_and_when_predicting(tmp_path: Path, quoting: Any) -> None:
    frame = pd.DataFrame({"size": ["-" if i % 5 == 0 else str(i) for i in ROW], "word": ["none" if i % 3 else "NA" for i in ROW], "z": np.arange(N) / 2})
    given = sources(tmp_path, frame)
    frame.to_csv(tmp_path / "t.csv", index=False, quoting=quoting)
    encoders = [table_dataset(source, "z", na="-, none")[1] for source in given.values()]
    for encoder in [*encoders, TableEncoder.from_dict(json.loads(json.dumps(encoders[0].to_dict())))]:
        assert encoder.kinds == {"size": "number", "word": "category"} and encoder.categorical[0].levels == ("NA",) and encoder.numeric[0].indicator
        for source in given.values():
            x = encoder.transform(source)
            assert x["num"][:, 1].tolist() == [i % 5 == 0 for i in ROW] and x["cat"][:, 0].tolist() == [i % 3 == 0 for i in ROW]
    nothing = read_table(given["t.csv"], na="")
    assert not nothing.isna().any().any()


def test_empty_cells_are_missing_in_every_format(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": ["", " ", None, "a", "b", "a"] * 10})
    for name, source in sources(tmp_path, frame.assign(z=1.5)).items():
        assert read_table(source)["x"].isna().sum() == 30, name


@pytest.mark.parametrize("gap", [None, np.nan, pd.NaT, pd.NA], ids=["None", "nan", "NaT", "NA"])
def test_every_kind_of_nothing_is_missing(gap: Any) -> None:
    for known in (["a", "b"], [1, 2], [1.5, 2.5], [True, False], [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]):
        series = read_table(pd.DataFrame({"x": pd.Series([*known, gap], dtype=object)}))["x"]
        assert series.isna().tolist() == [False, False, True], (known, series)


# Names of columns


def test_blanks_around_names_do_not_count(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age ": np.arange(N) % 7 / 2, " in\tcome": np.arange(N) % 5, 3: np.arange(N) % 3 + 0.5, "y ": HALVES})
    frame.columns = frame.columns.astype(str)
    given = sources(tmp_path, frame)
    for source in given.values():
        for target in ("y ", "y", ["y"]):
            encoder = table_dataset(source, target, ignore=["3 "])[1]
            assert set(encoder.kinds) == {"age", "in\tcome"}
        for other in given.values():
            assert torch.equal(encoder.transform(other)["num"], encoder.transform(source)["num"])
    assert table_dataset(frame, "y", weight=" age")[0].weight is not None
    fails(lambda: read_table({"a": [1], "a ": [2]}), "`a` more than once", "blanks around a name do not count")
    (tmp_path / "two.csv").write_text("a,a \n1,2\n")
    fails(lambda: read_table(tmp_path / "two.csv"), "`a` more than once")


def test_levels_that_differ_by_blanks_are_one(tmp_path: Path) -> None:
    encoder = same_everywhere(tmp_path, pd.DataFrame({"x": ["a", " a", "b ", "b"] * 15}))
    assert encoder.categorical[0].levels == ("a", "b")


# Dates


DATES = {
    "dayfirst": (lambda d: f"{d:%d/%m/%Y}", "dayfirst"),
    "monthfirst": (lambda d: f"{d.month}/{d.day}/{d:%Y}", "monthfirst"),
    "two digits": (lambda d: f"{d:%d-%m-%y}", "dayfirst"),
    "points": (lambda d: f"{d:%d.%m.%Y}", "dayfirst"),
    "year first": (lambda d: f"{d:%Y/%m/%d}", ""),
    "name": (lambda d: f"{d:%d %b %Y}", ""),
    "name first": (lambda d: f"{d:%B %d, %Y}", ""),
    "with time": (lambda d: f"{d:%d/%m/%Y} 00:00", "dayfirst"),
    "half days": (lambda d: f"{d:%m/%d/%Y} 12:00 AM", "monthfirst"),
    "iso": (lambda d: f"{d:%Y-%m-%d}", ""),
}


@pytest.mark.parametrize("way", DATES)
def test_dates_as_people_write_them(tmp_path: Path, way: str) -> None:
    write, order = DATES[way]
    days = pd.date_range("2026-01-20", periods=N, freq="9D")
    frame = pd.DataFrame({"x": [write(day) for day in days]})
    encoder = same_everywhere(tmp_path, frame)
    assert encoder.kinds == {"x": "date"} and encoder.numeric[0].order == order
    for source in (pd.DataFrame({"x": days}), {"x": days.strftime("%Y-%m-%d")}):  # what is a date by itself is always one
        assert torch.equal(encoder.transform(source)["num"], encoder.transform(frame)["num"])
    assert way == "iso" or '"' in remarks(encoder.columns)[0]


def test_the_order_of_day_and_month_is_kept_or_asked_for(tmp_path: Path) -> None:
    frame = pd.DataFrame({"d": [f"{i % 9 + 1:02d}/{i % 12 + 1:02d}/2026" for i in ROW], "y": HALVES})
    for source in sources(tmp_path, frame).values():
        fails(lambda source=source: table_dataset(source, "y"), "column `d`", "no day above 12", "--dates dayfirst")
        first, second = (table_dataset(source, "y", dates=order)[1] for order in ("dayfirst", "monthfirst"))
        one = {"d": ["03/12/2026"]}
        assert first.numeric[0].values(pd.Series(["03/12/2026"])) == [(pd.Timestamp("2026-12-03") - pd.Timestamp(0)).days]
        assert second.numeric[0].values(pd.Series(["03/12/2026"])) == [(pd.Timestamp("2026-03-12") - pd.Timestamp(0)).days]
        assert torch.equal(first.transform(one)["num"], first.transform(written(tmp_path, "d,e\n03/12/2026,\n"))["num"])
    other = table_dataset(frame, "y", dates="monthfirst")[1]
    fails(lambda: other.transform({"d": ["13/12/2026"]}), "'13/12/2026'", "12/31/2024")


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("00:00", 0),
        ("23:59:59", 86_399),
        ("12:00:30.5", 43_230.5),
        ("24:00", None),
        ("23:60", None),
        ("23:59:60", None),
        ("9:00", None),
        ("09:00:00.1234567", None),
    ],
)
def test_a_time_of_day_is_a_share_of_the_day(cell: str, seconds: float | None) -> None:
    found = time_of_day(cell)
    assert found is None if seconds is None else found == pytest.approx(seconds / 86_400, rel=1e-15)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(-(2**63), 2**63 - 1, "int64"), (0, 2**63, "uint64"), (0, 2**64 - 1, "uint64"), (-1, 2**63, None), (0, 2**64, None), (-(2**63) - 1, 0, None)],
)
def test_whole_numbers_at_the_ends_of_64_bits(low: int, high: int, kind: str | None) -> None:
    found = exact(np.array([low, high], dtype=object), np.array([False, False]))
    assert found is None if kind is None else (found.dtype == kind and [int(value) for value in found] == [low, high])


@pytest.mark.parametrize("cells", [["yes"], ["true", "yes"], ["t", "f"], ["0x1F", "true"]])
def test_other_words_than_true_and_false_are_names(cells: list[str]) -> None:
    assert typed(pa.chunked_array([cells])).type == pa.string()
    assert typed(pa.chunked_array([["True", "FALSE"]])).to_pylist() == [True, False]


@pytest.mark.parametrize(("columns", "more"), [(8, ""), (9, " and 1 more"), (12, " and 4 more")])
def test_what_counts_as_missing_is_told_of_eight_columns(columns: int, more: str) -> None:
    (note,) = missing_note({f"c{i}": {"NA": 2} for i in range(columns)})
    assert note.count("in column") == 8 and f"`c7`{more};" in note


@pytest.mark.parametrize("gap", [False, True])
def test_truth_values_are_alike_in_any_case_and_with_gaps(tmp_path: Path, gap: bool) -> None:
    values = [True, False, None if gap else True] * 20
    words = ["" if v is None else str(v).upper() if i % 2 else str(v).lower() for i, v in enumerate(values)]
    lines = [f"{word},{i % 7},{'pq'[i % 2]}" for i, word in enumerate(words)]
    (tmp_path / "t.csv").write_text("\n".join(["b,x,y", *lines]) + "\n")
    frame = pd.DataFrame({"b": values, "x": [i % 7 for i in range(60)], "y": ["pq"[i % 2] for i in range(60)]})
    sources = (tmp_path / "t.csv", frame)
    made = [table_dataset(source, "y") for source in sources]
    for data, encoder, _ in made:
        assert [column.levels for column in encoder.categorical if column.name == "b"] in ([], [("False", "True")])
        for source in sources:
            again = encoder.transform(source)
            assert torch.equal(again["num"], data.x["num"]) and torch.equal(again["cat"], data.x["cat"])
