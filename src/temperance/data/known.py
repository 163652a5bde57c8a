"""Cells of text read as the kind that their column is known to have, each by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from temperance.core.errors import DataError
from temperance.data.cells import DECIMAL_COMMA, MISSING, time_of_day
from temperance.data.columns import Kind

pc: Any = compute  # its functions are made at run time
_TRUTH = {"true": "1", "false": "0"}


def known_columns(
    table: pa.Table, kinds: Mapping[str, Kind], marks: dict[str, str] | None = None, written: Collection[str] = (), missing: Missing | None = None
) -> pd.DataFrame:
    """A table of text cells as a plain frame.

    Number columns become float64 if every cell is a number. Other columns stay text, each distinct cell once, for those who parse it by its
    kind and can say what is wrong with it. Unquoted markers of missing values are missing already.

    Args:
        table: columns of strings.
        kinds: of the columns.
        marks: the decimal mark of each number column, as far as it was seen in earlier tables of the file (this one is added); ``None`` where
            the comma separates cells.
        written: number columns that are written in a way of their own, and stay text too.
        missing: cells that are missing beside empty ones.

    Raises:
        DataError: points and commas as decimal marks of one column.

    Example:
        >>> cells = pa.table({"x": ["1.5", None, " 2"], "flag": ["true", "12:00", "0"], "job": ["cook ", "?", "cook"]})
        >>> frame = known_columns(cells, {"x": "number", "flag": "number", "job": "category"})
        >>> frame["x"].tolist(), frame["flag"].tolist(), frame["job"].tolist()
        ([1.5, nan, 2.0], ['1', '0.5', '0'], ['cook', '?', 'cook'])
    """
    if marks is not None:
        for name in (name for name, kind in kinds.items() if kind == "number" and name not in written):
            _check_mark(name, table.column(name), marks)
    missing = missing or Missing()
    columns: dict[str, Any] = {}
    for name, kind in kinds.items():
        column = table.column(name)
        if kind == "number" and name not in written:
            columns[name] = _numbers(column, marks is not None and marks.get(name) == ",", missing)
        else:
            columns[name] = _cells(column, missing if kind in ("number", "date") else missing.of_names)
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class Missing:
    """Which cells of text are missing beside empty ones.

    Attributes:
        padded: with blanks around them.
        bare: without.
    """

    padded: frozenset[str] = frozenset(MISSING)
    bare: frozenset[str] = frozenset()

    @classmethod
    def by(cls, na: Collection[str] | None, levels: Collection[str]) -> Missing:
        """Named markers hold in every cell; of the usual ones the reader has found all that are the name of no level."""
        return cls(bare=frozenset(MISSING) & frozenset(levels)) if na is None else cls(frozenset(na), frozenset(na))

    @property
    def of_names(self) -> Missing:
        """In a column of names, where a marker is the level of that name if there is one, and else an unseen one."""
        return Missing(self.padded, self.bare if self.bare == self.padded else frozenset())


def _check_mark(name: str, column: pa.ChunkedArray, marks: dict[str, str]) -> None:
    for mark, pattern in ((",", DECIMAL_COMMA), (".", r"^\s*[+-]?\d*\.\d*([eE][+-]?\d+)?\s*$")):
        written = pc.and_(pc.match_substring(column, mark), pc.match_substring_regex(pc.utf8_trim_whitespace(column), pattern))
        if pc.any(written).as_py() and marks.setdefault(name, mark) != mark:
            cell = column.filter(written)[0].as_py()
            mend = "Write all numbers of the column with the same mark."
            raise DataError(f"Expected one decimal mark in column `{name}`, got {cell[:60]!r} beside numbers with {marks[name]!r}. {mend}")


def _numbers(column: pa.ChunkedArray, comma: bool, missing: Missing) -> Any:
    if comma:
        column = pc.if_else(pc.match_substring_regex(pc.utf8_trim_whitespace(column), DECIMAL_COMMA), pc.replace_substring(column, ",", "."), column)
    for cells in (column, pc.utf8_trim_whitespace(column)):
        try:
            values = np.asarray(pc.cast(cells, pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            continue
        if int(np.isnan(values).sum()) == column.null_count:  # "NAN" is no number
            return values
    return _cells(column, missing, number_text)


def _cells(column: pa.ChunkedArray, missing: Missing, rewrite: Any = str) -> pd.Categorical:
    """Text without blanks around it, missing where nothing or a marker is left."""
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    names: list[str] = []
    index: dict[str, int] = {}
    table = np.full(len(coded.dictionary) + 1, -1)
    for i, cell in enumerate(coded.dictionary.to_pylist()):
        text = cell.strip()
        if not text or text in (missing.bare if text == cell else missing.padded):
            continue
        text = rewrite(text)
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
    time = time_of_day(cell)
    return _TRUTH.get(cell.casefold(), cell) if time is None else repr(time)
