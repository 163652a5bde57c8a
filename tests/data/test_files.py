"""Files as people have them: Excel, its hint of the separator, addresses, quotes that swallow lines."""

from __future__ import annotations

import builtins
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from temperance.core.errors import DataError
from temperance.data import TableEncoder, read_table
from temperance.data.read import read_cells


def refused(call: Any, *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert not [part for part in parts if part not in str(caught.value)], str(caught.value)


def people() -> pd.DataFrame:
    return pd.DataFrame({
        "age": [31, 47, None, 22] * 5, "pay": ["$1,200", "$900", None, "$2,000"] * 5, "region": ["NA", "EU", "NA", None] * 5,
        "born": pd.to_datetime(["2024-01-05", None, "2024-03-01", "2024-03-07"] * 5), "on": [True, False, True, False] * 5,
    })  # fmt: skip


def both(encoder: TableEncoder, path: Path) -> dict[str, torch.Tensor]:
    """A file as a whole and by the batch."""
    whole, parts = encoder.transform(path), [encoder.encode(frame) for frame in encoder.batches(path, rows=3)]
    for key, values in whole.items():
        assert torch.equal(values, torch.cat([part[key] for part in parts]))
    return whole


def test_excel_files_are_tables_like_others(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl", reason="openpyxl is an optional dependency")
    frame = people()
    with pd.ExcelWriter(tmp_path / "t.xlsx") as file:
        frame.to_excel(file, sheet_name="people", index=False)
        frame.head(1).to_excel(file, sheet_name="other", index=False)
    read, notes = read_cells(tmp_path / "t.xlsx")
    assert notes == ["sheet `people` was read, the first of 2"] and read["region"].isna().sum() == 5 and str(read["age"].dtype) == "Int64"
    encoder, other = TableEncoder().fit(tmp_path / "t.xlsx"), TableEncoder().fit(frame)
    assert encoder.kinds == other.kinds and set(encoder.kinds) == set(frame.columns)
    wanted = other.transform(frame)
    for each in (encoder, other):
        assert all(torch.equal(both(each, tmp_path / "t.xlsx")[key], wanted[key]) for key in wanted)


def test_formulas_that_no_spreadsheet_has_calculated_are_told(tmp_path: Path) -> None:
    """By column; one that was calculated is its value, also where that has no characters."""
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is an optional dependency")
    book = openpyxl.Workbook()
    for row in (["age", "twice", "said", "plain"], [1, "=A2*2", '=IF(A2>0,"","no")', None], [2, "=A3*2", '=IF(A3>0,"","no")', 5], [3, 6, "yes", 7]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    frame, notes = read_cells(tmp_path / "t.xlsx")
    mend = "that no spreadsheet has calculated, read as missing; open the file in one and save it to have the values"
    assert notes == [f"`twice` has 2 formulas {mend}", f"`said` has 2 formulas {mend}"]
    assert frame["twice"].isna().tolist() == [True, True, False] and frame["plain"].isna().tolist() == [True, False, False]
    calculated(tmp_path / "t.xlsx", tmp_path / "u.xlsx", {"B2": "<v>2</v>", "C2": "<v></v>", "C3": "<v></v>"})
    frame, notes = read_cells(tmp_path / "u.xlsx")
    assert notes == [f"`twice` has a formula {mend}"] and frame["twice"].tolist()[0] == 2
    batches = TableEncoder().fit(frame.drop(columns="said")).batches(tmp_path / "u.xlsx")
    assert [len(part) for part in batches] == [3] and batches.notes == notes
    book.active["A1"] = '="a"&"ge"'
    book.save(tmp_path / "v.xlsx")
    refused(lambda: read_table(tmp_path / "v.xlsx"), "a row of names", "first row", "v.xlsx")


def calculated(source: Path, path: Path, values: dict[str, str]) -> None:
    """The workbook with values in some cells that hold a formula, as a spreadsheet writes them."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name.endswith("sheet1.xml"):
                for cell, value in values.items():
                    kind = ' t="str"' if value == "<v></v>" else ""
                    text = re.sub(rf'<c r="{cell}"><f>(.*?)</f><v ?/>', rf'<c r="{cell}"{kind}><f>\1</f>{value}', text.decode()).encode()
            new.writestr(name, text)


def test_excel_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openpyxl", reason="openpyxl is an optional dependency")
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04 nonsense")
    refused(lambda: read_table(tmp_path / "a.xlsx"), "to be an Excel file", "a.xlsx", "Save the file again")
    pd.DataFrame().to_excel(tmp_path / "b.xlsx", index=False)
    refused(lambda: read_table(tmp_path / "b.xlsx"), "empty first sheet")
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "openpyxl":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    refused(lambda: read_table(tmp_path / "a.xlsx"), "openpyxl", "pip install 'temperance[excel]'", "CSV")


@pytest.mark.parametrize("address", ["https://example.org/t.csv", "http://example.org/t.csv", "s3://bucket/t.parquet", "ftp://a/b.csv"])
def test_addresses_are_refused_with_the_way_out(address: str) -> None:
    for call in (lambda: read_table(address), lambda: TableEncoder().fit({"x": [1, 2]}).transform(address)):
        refused(call, f"got the address {address}", f"curl -LO {address}", "temperance fit -")


@pytest.mark.parametrize("hint", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "\ufeffsep=;\n", "SEP=;\n\n"])
def test_the_separator_that_excel_writes(tmp_path: Path, hint: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(hint + "a,b;c\n1;2,5\n2;3,5\n", encoding="utf-8", newline="")
    assert read_table(path).to_dict("list") == {"a,b": [1, 2], "c": [2.5, 3.5]}
    encoder = TableEncoder().fit(path)
    assert torch.equal(both(encoder, path)["num"], encoder.transform(pd.DataFrame({"a,b": [1, 2], "c": ["2,5", "3,5"]}))["num"])
    path.write_text(hint + "a;b\n1;2\n3\n", encoding="utf-8", newline="")
    line = hint.count("\n") + 3
    refused(lambda: read_table(path), f"1 in line {line}")
    refused(lambda: TableEncoder().fit({"a": [1, 2], "b": [1, 2]}).transform(path), f"1 in line {line}")


def lines(*changed: tuple[int, str]) -> str:
    """A hundred lines of four cells, some of them changed; line 1 is the header."""
    text = ["id,name,size,kind", *(f"{i},n{i},{i}.5,k{i % 3}" for i in range(2, 101))]
    for number, line in changed:
        text[number - 1] = line
    return "\n".join(text) + "\n"


@pytest.mark.parametrize("last", [11, 12, 40])
@pytest.mark.parametrize("packed", [False, True])
def test_a_stray_quote_that_swallows_lines_is_found(tmp_path: Path, last: int, packed: bool) -> None:
    """Closed by another stray one, so that every row has as many cells as the header."""
    import gzip

    text = lines((10, '10,"n10,10.5,k1'), (last, f'{last},n{last}",{last}.5,k0'))
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    encoder = TableEncoder().fit({"size": [1.0, 2.0]})
    for call in (lambda: read_table(path), lambda: list(encoder.batches(path, rows=7))):
        refused(call, "line 10", "swallows the lines", "twice inside a quoted value")


COLORS, SHAPES = ("red", "green", "blue"), ("round", "square")


def words(*changed: tuple[int, str]) -> str:
    """Forty lines without a number: a name of its own and two cells that repeat."""
    text = ["name,color,shape", *(f"n{chr(97 + i % 26)}{chr(97 + i // 26)},{COLORS[i % 3]},{SHAPES[i % 2]}" for i in range(2, 41))]
    for number, line in changed:
        text[number - 1] = line
    return "\n".join(text) + "\n"


@pytest.mark.parametrize("last", [11, 12, 30])
@pytest.mark.parametrize("opened", ['"nka,red,round', 'nka,"red,round', 'nka,red,"round'])
def test_a_stray_quote_is_found_where_no_column_is_a_number(tmp_path: Path, last: int, opened: str) -> None:
    """By cells as the other rows have them: a column's own names, and names of the usual length."""
    place = opened.count(",", 0, opened.index('"'))
    cells = ["nza", "blue", "square"]
    cells[place] += '"'
    path = tmp_path / "t.csv"
    path.write_text(words((10, opened), (last, ",".join(cells))), encoding="utf-8")
    encoder = TableEncoder().fit({"color": ["red", "green"] * 2})
    for call in (lambda: read_table(path), lambda: list(encoder.batches(path, rows=7))):
        refused(call, "line 10", "swallows the lines", "twice inside a quoted value")


ADDRESSES = ["12 Main St, Springfield\nIL, USA", "a, b,\nc, d,", "red,round\nand large", "one\ntwo,green,square", "nka,pink,round\nnkb"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_of_several_lines_are_no_stray_quotes(tmp_path: Path, address: str) -> None:
    """Commas in them make as many fields as a row has, but not such as a row has."""
    path = tmp_path / "t.csv"
    path.write_text(words((10, f'"{address}",red,round')), encoding="utf-8")
    frame = read_table(path)
    assert len(frame) == 39 and frame["name"][8] == address


def test_texts_of_several_lines_are_no_stray_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    notes = ["two\nlines", "one, two,\nthree, four, five", "a list:\n1, 2, 3\n4, 5", 'with ""quotes""\n\nand, a gap']
    path.write_text("id,note,size\n" + "".join(f'{i},"{notes[i % 4]}",{i}.5\n' for i in range(40)), encoding="utf-8")
    frame = read_table(path)
    assert len(frame) == 40 and frame["note"][0] == "two\nlines"
    encoder = TableEncoder().fit(frame, ignore=["note"])
    assert len(both(encoder, path)["num"]) == 40


def test_line_ends_and_byte_order_marks(tmp_path: Path) -> None:
    wanted = pd.DataFrame({"a": np.array([1, 2]), "b": ["x", "é"]})
    for name, content in {"crlf": "a,b\r\n1,x\r\n2,é\r\n", "bom": "\ufeffa,b\n1,x\n2,é\n", "no end": "a,b\n1,x\n2,é"}.items():
        (tmp_path / "t.csv").write_bytes(content.encode())
        assert read_table(tmp_path / "t.csv").to_dict("list") == wanted.to_dict("list"), name
    for code in ("utf-16", "latin-1"):
        (tmp_path / "t.csv").write_bytes("a,b\n1,x\n2,é\n".encode(code))
        refused(lambda: read_table(tmp_path / "t.csv"), "text in UTF-8", "Save the file again as UTF-8")
