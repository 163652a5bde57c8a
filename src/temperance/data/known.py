"""Cells of text read as the kind that their column is known to have, each by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from temperance.core.errors import DataError
from temperance.data.columns import Kind
from temperance.data.text import DECIMAL_COMMA, MISSING

pc: Any = compute  # its functions are made at run time
_TIME = re.compile(r"(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?")
_MISSING = frozenset(MISSING)
_TRUTH = {"true": "1", "false": "0"}


def known_columns(table: pa.Table, kinds: Mapping[str, Kind], marks: dict[str, str] | None = None) -> pd.DataFrame:
    """A table of text cells as a plain frame.

    Number columns become float64 if every cell is a number. Other columns stay text, each distinct cell once, for those who parse it by its
    kind and can say what is wrong with it.

    Args:
        table: columns of strings.
        kinds: of the columns.
        marks: the decimal mark of each number column, as far as it was seen in earlier tables of the file (this one is added); ``None`` where
            the comma separates cells.

    Raises:
        DataError: points and commas as decimal marks of one column.

    Example:
        >>> cells = pa.table({"x": ["1.5", None, " 2"], "flag": ["true", "12:00", "0"], "job": ["cook ", "?", "cook"]})
        >>> frame = known_columns(cells, {"x": "number", "flag": "number", "job": "category"})
        >>> frame["x"].tolist(), frame["flag"].tolist(), frame["job"].tolist()
        ([1.5, nan, 2.0], ['1', '0.5', '0'], ['cook', nan, 'cook'])
    """
    if marks is not None:
        for name in (name for name, kind in kinds.items() if kind == "number"):
            _check_mark(name, table.column(name), marks)
    columns = {
        name: _numbers(table.column(name), marks is not None and marks.get(name) == ",") if kind == "number" else _cells(table.column(name))
        for name, kind in kinds.items()
    }
    return pd.DataFrame(columns)


def _check_mark(name: str, column: pa.ChunkedArray, marks: dict[str, str]) -> None:
    for mark, pattern in ((",", DECIMAL_COMMA), (".", r"^\s*[+-]?\d*\.\d*([eE][+-]?\d+)?\s*$")):
        written = pc.and_(pc.match_substring(column, mark), pc.match_substring_regex(pc.utf8_trim_whitespace(column), pattern))
        if pc.any(written).as_py() and marks.setdefault(name, mark) != mark:
            cell = column.filter(written)[0].as_py()
            mend = "Write all numbers of the column with the same mark."
            raise DataError(f"Expected one decimal mark in column `{name}`, got {cell[:60]!r} beside numbers with {marks[name]!r}. {mend}")


def _numbers(column: pa.ChunkedArray, comma: bool) -> Any:
    if comma:
        column = pc.if_else(pc.match_substring_regex(pc.utf8_trim_whitespace(column), DECIMAL_COMMA), pc.replace_substring(column, ",", "."), column)
    for cells in (column, pc.utf8_trim_whitespace(column)):
        try:
            values = np.asarray(pc.cast(cells, pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            continue
        if int(np.isnan(values).sum()) == column.null_count:  # "NAN" is no number
            return values
    return _cells(column, number_text)


def _cells(column: pa.ChunkedArray, rewrite: Any = str) -> pd.Categorical:
    """Text without blanks around it, missing where nothing or a marker is left."""
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    names: list[str] = []
    index: dict[str, int] = {}
    table = np.full(len(coded.dictionary) + 1, -1)
    for i, cell in enumerate(coded.dictionary.to_pylist()):
        text = rewrite(cell.strip())
        if text in _MISSING:
            continue
        table[i] = index.setdefault(text, len(names))
        if table[i] == len(names):
            names.append(text)
    codes = table[coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))


def number_text(cell: str) -> str:
    """A cell of a number column as a number is written: truth values as 1 and 0, times of the day as a fraction of it; other text stays.

    Example:
        >>> number_text("False"), number_text("06:00"), number_text("tall")
        ('0', '0.25', 'tall')
    """
    time = _TIME.fullmatch(cell)
    if time is None:
        return _TRUTH.get(cell.casefold(), cell)
    hours, minutes, seconds, rest = time.groups(default="0")
    return repr((((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + int(rest.ljust(6, "0"))) / 86_400e6)
