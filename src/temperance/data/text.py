"""Delimited text files: CSV and its relatives, the delimiter found by looking."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import compute, csv as arrow_csv

from temperance.core.errors import DataError

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "?")
DELIMITERS = (",", ";", "\t", "|")
_BLOCK = 1 << 24
pc: Any = compute  # its functions are made at run time
DECIMAL_COMMA = r"^[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?$"


def sniff(sample: str) -> str:
    r"""The delimiter under which the first lines have as many fields as the header; a comma where there is one column only.

    Example:
        >>> sniff("a;b\n1,5;2\n")
        ';'
    """
    lines = sample.splitlines()[:50]
    best, best_score = ",", (0.0, 1)
    for delimiter in DELIMITERS:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        if not counts or counts[0] == 1:
            continue
        score = (sum(count == counts[0] for count in counts) / len(counts), counts[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def delimiter_of(path: Path, text: str) -> str:
    """The delimiter of a file, from its name or its first lines."""
    return "\t" if ".tsv" in path.suffixes else sniff(text[: 1 << 16])


def read_text(path: Path, what: str = "data") -> pd.DataFrame:
    """Read a delimited text file in UTF-8 with a header line.

    Args:
        path: the file; ``.gz``, ``.bz2`` and ``.zst`` are unpacked.
        what: the name of the argument, for messages.

    Raises:
        DataError: not UTF-8 text, or a line with more or fewer fields than the header.
    """
    data = pa.input_stream(str(path), compression="detect").read()
    text = _decode(data, path, what)
    if not text.strip():
        raise no_text(path, what)
    delimiter = delimiter_of(path, text)
    single = delimiter not in text.lstrip("\r\n").split("\n", 1)[0]
    if single:  # a blank line is then a missing value, but not at the end of the file
        data = text.strip("\r\n").encode()
    del text
    table = _parse(data, path, what, delimiter, single)
    refuse_open_quote(table, data.count(b'"'), path)
    del data
    columns = [_clean(column, delimiter) for column in table.columns]
    names = labels(table.column_names)
    series = [column.to_pandas(date_as_object=False) for column in columns]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame()
    frame.columns = pd.Index(names, dtype=object)
    return frame


def labels(header: Sequence[str]) -> list[str]:
    """The names of the columns; those without one are numbered."""
    return [name.strip() or f"unnamed_{i}" for i, name in enumerate(header)]


def not_text(path: Path, what: str, line: int) -> DataError:
    """The error for bytes that are no UTF-8."""
    return DataError(f"Expected `{what}` to be text in UTF-8, got other bytes in line {line} of {str(path)!r}. Save the file again as UTF-8.")


def binary(path: Path, what: str) -> DataError:
    """The error for a file that is no text at all."""
    return DataError(f"Expected `{what}` to be text in UTF-8, got binary data in {str(path)!r}. Save the file again as CSV or Parquet.")


def no_text(path: Path, what: str) -> DataError:
    """The error for a file of blanks."""
    return DataError(f"Expected `{what}` to have a header line and rows, got the empty file {str(path)!r}. Write the table again.")


def _decode(data: bytes, path: Path, what: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_text(path, what, data[: error.start].count(b"\n") + 1) from error
    if "\0" in text:
        raise binary(path, what)
    return text


def _parse(data: bytes, path: Path, what: str, delimiter: str, single: bool) -> pa.Table:
    parse: dict[str, Any] = {"delimiter": delimiter, "newlines_in_values": b'"' in data, "ignore_empty_lines": not single}
    convert = arrow_csv.ConvertOptions(null_values=list(MISSING), strings_can_be_null=True, quoted_strings_can_be_null=True)

    def read(threads: bool, **options: Any) -> pa.Table:
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(use_threads=threads, block_size=_BLOCK),
            parse_options=arrow_csv.ParseOptions(**parse, **options),
            convert_options=convert,
        )

    try:
        return read(True)
    except pa.ArrowInvalid as error:
        wrong: list[Any] = []

        def note(row: Any) -> str:
            wrong.append(row)
            return "skip"

        with suppress(pa.ArrowInvalid):
            read(False, invalid_row_handler=note)
        if not wrong:
            raise DataError(f"Expected `{what}` to be a readable table, got {str(path)!r}: {str(error).splitlines()[0]}. Write the table again.") from error
        raise ragged(wrong[0], path, delimiter) from error


def ragged(row: Any, path: Path, delimiter: str) -> DataError:
    """The error for a line with more or fewer fields than the header, as Arrow tells of it."""
    place = f"{row.actual_columns} in line {row.number}" if row.number else f"{row.actual_columns} in a line"
    hint = f"Fix the line, or put quotes around values that contain {delimiter!r}."
    return DataError(f"Expected every line of {str(path)!r} to have {row.expected_columns} fields like its header, got {place}: {row.text[:60]!r}. {hint}")


def refuse_open_quote(table: pa.Table, quotes: int, path: Path) -> None:
    """A quote without its second swallows all lines behind it into the last row."""
    if table.num_rows == 0 or quotes % 2 == 0:
        return
    for name in table.column_names:
        cell = table.column(table.column_names.index(name))[-1].as_py()
        if isinstance(cell, str) and "\n" in cell:
            start = cell.splitlines()[0][:60]
            hint = "Close the quote, or write it twice inside a quoted value."
            raise DataError(f"Expected every quote in {str(path)!r} to be closed, got one that stays open in column `{name}`, from {start!r} on. {hint}")


def _clean(column: pa.ChunkedArray, delimiter: str) -> pa.ChunkedArray:
    """Strip text, find the markers of missing values behind blanks, and read decimal commas where the comma is no delimiter."""
    kind = column.type
    if pa.types.is_time(kind):  # a time of day counts as a fraction of a day
        return pc.divide(pc.cast(pc.cast(pc.cast(column, pa.time64("us")), pa.int64()), pa.float64()), 86_400e6)
    if not pa.types.is_string(kind):
        return column
    column = pc.utf8_trim_whitespace(column)
    column = pc.if_else(pc.is_in(column, value_set=pa.array(MISSING)), pa.scalar(None, pa.string()), column)
    if delimiter != "," and pc.all(pc.match_substring_regex(column, DECIMAL_COMMA)).as_py():
        return pc.cast(pc.replace_substring(column, ",", "."), pa.float64())
    return column
