"""The grammar of cells: what a piece of text in a table stands for, the same for every format and for fit and predict.

In order, for the cells of one column, blanks around a cell left out:

1. **Missing**: an empty cell, and in text files an unquoted marker of :data:`MISSING`. A quoted marker is a name, and so is one in a column of
   strings of a frame or a Parquet file. Markers that are named (``na=``, ``--na``) take the place of :data:`MISSING` and hold in every cell of
   text, quoted or not, in every format.
2. **Whole numbers** are kept exactly (int64, or else uint64, with gaps or without). Whole numbers some of which begin with 0, such as 007, are
   codes and stay names; so are hexadecimal ones.
3. **Numbers** such as 1.5, .5, 5., +5 and 1e3; a time of day is a fraction of a day.
4. **Truth values**: true and false in any case.
5. **Dates** in ISO 8601.
6. Numbers and dates as people write them: :mod:`temperance.data.number_text` and :mod:`temperance.data.date_text`.
7. **Names** of levels.

A rule holds for a column only if all its cells follow it. Which one held is saved with the encoder, so that a cell means the same when predicting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from temperance.core.errors import ConfigError

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "?")
"""Cells of a text file that count as missing where they are not quoted."""
DECIMAL_COMMA = r"^[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?$"
_WHOLE = re.compile(r"[+-]?\d+")
_TIME = re.compile(r"(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?")
pc: Any = compute  # its functions are made at run time


def named_markers(na: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """The markers that a user named; ``None`` for :data:`MISSING`.

    Example:
        >>> named_markers("?, -"), named_markers(""), named_markers(None)
        (('?', '-'), (), None)
    """
    if na is None:
        return None
    if not isinstance(na, str) and not (isinstance(na, Iterable) and all(isinstance(marker, str) for marker in na)):
        raise ConfigError(f'Expected `na` to be text or a list of texts, got {na!r}. Write the markers of missing values, such as na="?,-".')
    parts = na.split(",") if isinstance(na, str) else na
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def without_markers(frame: pd.DataFrame, na: Sequence[str] | None) -> pd.DataFrame:
    """The frame with the named markers of its text as missing values.

    Example:
        >>> without_markers(pd.DataFrame({"a": ["x", "-"]}), ["-"])["a"].isna().tolist()
        [False, True]
    """
    if not na:
        return frame
    out = frame.copy(deep=False)
    for i, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, (pd.StringDtype, pd.CategoricalDtype)):
            series: Any = frame.iloc[:, i]
            gone = series.isin(list(na))
            if gone.any():
                out.isetitem(i, series.where(~gone))
    return out


def typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text without blanks around it as rules 2 to 5 have it; text if none holds.

    Example:
        >>> [typed(pa.chunked_array([cells])).type for cells in (["1", None], ["007"], ["1.5", "2"], ["TRUE"], ["0x1F"])]
        [DataType(int64), DataType(string), DataType(double), DataType(bool), DataType(string)]
    """
    if column.null_count == len(column):
        return column
    whole = as_whole_numbers(column)
    if whole is not None:
        return whole
    number = as_numbers(column)
    if number is not None:
        return column if pc.all(pc.match_substring_regex(column, r"^[+-]?\d+$")).as_py() else number
    if pc.all(pc.is_in(pc.utf8_lower(column.drop_null()), value_set=pa.array(["true", "false"]))).as_py():
        return pc.equal(pc.utf8_lower(column), "true")
    for kind in (pa.date32(), pa.timestamp("us")):
        try:
            return pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
    return column


def typed_together(columns: Sequence[pa.ChunkedArray]) -> list[pa.ChunkedArray]:
    """The columns of one table, each :func:`typed`; where one has decimal commas, points that may stand between thousands are left for rule 6.

    Example:
        >>> cells = [pa.chunked_array([cells]) for cells in (["2.000", "950"], ["0,5", "12,25"])]
        >>> [[column.type for column in typed_together(some)] for some in (cells, cells[:1])]
        [[DataType(string), DataType(string)], [DataType(double)]]
    """
    made = [typed(column) for column in columns]
    if not any(column.type == pa.string() and has_decimal_commas(column) for column in made):
        return made
    return [column if kind.type == pa.float64() and may_have_thousands(column) else kind for column, kind in zip(columns, made, strict=True)]


def has_decimal_commas(column: pa.ChunkedArray) -> bool:
    """Whether all cells are numbers with decimal commas, one of which cannot stand between thousands."""
    every = pc.match_substring_regex(column, r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?$")
    return bool(pc.all(every).as_py()) and bool(pc.any(pc.match_substring_regex(column, r",(\d{1,2}|\d{4,})$|^[+-]?0,|\d{4},")).as_py())


def may_have_thousands(column: pa.ChunkedArray) -> bool:
    """Whether all cells are whole numbers if a point stands between thousands, and one has a point.

    Example:
        >>> [may_have_thousands(pa.chunked_array([cells])) for cells in (["2.000", "950"], ["2.000", "9.5"], ["2.000", "0.125"], ["950"])]
        [True, False, False, False]
    """
    every = pc.all(pc.match_substring_regex(column, r"^[+-]?([1-9]\d{0,2}(\.\d{3})*|0)$")).as_py()
    return bool(every) and bool(pc.any(pc.match_substring(column, ".")).as_py())


def as_whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The column as int64 or uint64, if all cells are whole numbers and none begins with 0."""
    for kind in (pa.int64(), pa.uint64()):
        try:
            out = pc.cast(column, kind)
        except pa.ArrowInvalid:
            continue
        odd = pc.match_substring_regex(column, "^[+-]?0[0-9xX]")  # a code, or hexadecimal
        return None if pc.any(odd).as_py() else out
    if pc.all(pc.match_substring_regex(column, r"^[+-]?[1-9]\d*$|^[+-]?0$")).as_py() and pc.any(pc.starts_with(column, "+")).as_py():
        return as_whole_numbers(pc.utf8_ltrim(column, characters="+"))
    return None


def as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The column as float64, if all cells are numbers or all are times of the day."""
    with suppress(pa.ArrowInvalid):
        out = pc.cast(column, pa.float64())
        return None if pc.any(pc.is_nan(out)).as_py() else out  # "nan" is a name
    if pc.all(pc.match_substring_regex(column, r"^\d\d:\d\d(:\d\d(\.\d{1,6})?)?$")).as_py():
        coded = column.combine_chunks().dictionary_encode()
        times = pa.array([time_of_day(cell) for cell in coded.dictionary.to_pylist()], pa.float64())
        return None if times.null_count else pa.chunked_array([times.take(coded.indices)])
    return None


def is_code(names: Sequence[str]) -> bool:
    """Whether names are whole numbers some of which begin with 0, as codes do.

    Example:
        >>> is_code(["007", "12"]), is_code(["7", "12"]), is_code(["007", "1.5"])
        (True, False, False)
    """
    return all(map(is_whole, names)) and any(re.match(r"[+-]?0\d", name) for name in names)


def is_whole(name: str) -> bool:
    """Whether text is a whole number.

    Example:
        >>> is_whole("-12"), is_whole("12.0")
        (True, False)
    """
    return _WHOLE.fullmatch(name) is not None


def time_of_day(cell: str) -> float | None:
    """A time as a fraction of a day.

    Example:
        >>> time_of_day("06:00"), time_of_day("tall")
        (0.25, None)
    """
    time = _TIME.fullmatch(cell)
    if time is None:
        return None
    hours, minutes, seconds, rest = time.groups(default="0")
    if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 59:
        return None
    return (((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + int(rest.ljust(6, "0"))) / 86_400e6


def missing_note(found: Mapping[str, Mapping[str, int]], named: bool = False) -> list[str]:
    """What counted as missing beside empty cells, for people: counts of markers by column.

    Example:
        >>> missing_note({"region": {"NA": 12}, "x": {}})
        ['missing: 12 cells "NA" in column `region`; quoted cells are names, and --na changes what counts as missing']
    """
    parts = [f'{n:,} {"cell" if n == 1 else "cells"} "{marker}" in column `{name}`' for name, counts in found.items() for marker, n in counts.items()]
    if not parts:
        return []
    more = f" and {len(parts) - 8} more" if len(parts) > 8 else ""
    rest = "" if named else "; quoted cells are names, and --na changes what counts as missing"
    return [f"missing: {', '.join(parts[:8])}{more}{rest}"]


def exact(values: np.ndarray, missing: np.ndarray) -> Any:
    """Python's whole numbers as an array of pandas that loses no digit, ``None`` where they are too large for 64 bits.

    Example:
        >>> exact(np.array([2**53 + 1, None], dtype=object), np.array([False, True])).dtype
        Int64Dtype()
    """
    known = [int(value) for value in values[~missing]]
    low, high = min(known), max(known)
    kind = "int64" if low >= -(2**63) and high < 2**63 else "uint64" if low >= 0 and high < 2**64 else None
    if kind is None:
        return None
    out = np.zeros(len(values), kind)
    out[~missing] = np.array(known, dtype=kind)
    return (pd.arrays.IntegerArray(out, missing.copy())) if missing.any() else out
