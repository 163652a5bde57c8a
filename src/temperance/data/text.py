"""Delimited text files: CSV and its relatives, the delimiter found by looking."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import compute, csv as arrow_csv

from temperance.core.errors import DataError
from temperance.data.cells import MISSING, missing_note, typed_together
from temperance.data.packed import inner_name, unpacked
from temperance.data.plain import arrow_series, plain_names
from temperance.data.quotes import longest_quote, open_quote, refuse_open_quote, refuse_swallowed

DELIMITERS = (",", ";", "\t", "|")
_BLOCK = 1 << 24
_SAMPLE = 1 << 16
_HEADER = 1 << 20  # a header is no longer than this
_HINT = re.compile(r'"?sep=([^"\r\n])"?[ \t,;|]*\r?(\n|$)', re.IGNORECASE)
pc: Any = compute  # its functions are made at run time


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


def read_text(path: Path, what: str = "data", na: Sequence[str] | None = None, plain: bool = True) -> tuple[pd.DataFrame, list[str]]:
    """Read a delimited text file in UTF-8 with a header line, and say what counted as missing.

    Args:
        path: the file; ``.gz``, ``.bz2``, ``.zst``, ``.xz`` and ``.zip`` with one file are unpacked.
        what: the name of the argument, for messages.
        na: cells that count as missing, quoted or not, in place of the usual markers.
        plain: give columns that are all numbers, dates or truth values these types.

    Raises:
        DataError: not UTF-8 text, a line with more or fewer fields than the header, or a quote that swallows lines.
    """
    with unpacked(path, what) as (_, stream):
        data = stream.read()
    text = _decode(data, path, what)
    if not text.strip():
        raise no_text(path, what)
    head = Head.of(inner_name(path, what), text)
    if head.single or head.skipped or head.hinted:  # in one column a blank line is a missing value, but not at the end of the file
        body = text[head.start :]
        data = (body.strip("\r\n") if head.single else body).encode()
    del text
    file = _Whole(data, path, what, head)
    table = file.parse()
    refuse_open_quote(table, data.count(b'"'), path, head, data.count(b"\n") + head.skipped)
    refuse_swallowed(table, head, path, 0, 0)
    found: dict[str, dict[str, int]] = {}
    cells = file.cells(table, na, found)
    columns = list(map(arrow_series, typed_together(cells) if plain else cells))
    frame = pd.concat(columns, axis=1)
    frame.columns = pd.Index(head.names, dtype=object)
    return frame, missing_note(found, na is not None)


@dataclass(frozen=True)
class Head:
    """How a text file begins.

    Attributes:
        delimiter: between cells.
        names: of the columns.
        start: position of the header line.
        skipped: lines before it.
        hinted: whether one of them is ``sep=;``, as Excel writes it.
    """

    delimiter: str
    names: tuple[str, ...]
    start: int
    skipped: int
    hinted: bool

    @classmethod
    def of(cls, path: Path, text: str) -> Head:
        start = len(text) - len(text.lstrip("\r\n"))
        hint = _HINT.match(text, start)
        if hint:
            rest = text[hint.end() :]
            start = len(text) - len(rest.lstrip("\r\n"))
        sample = text[start : start + _SAMPLE]
        delimiter = hint.group(1) if hint else "\t" if ".tsv" in path.suffixes else sniff(sample)
        header = next((row for row in csv.reader(io.StringIO(text[start : start + _HEADER], newline=None), delimiter=delimiter) if row), [""])
        return cls(delimiter, tuple(plain_names(header)), start, text.count("\n", 0, start), hint is not None)

    @property
    def single(self) -> bool:
        """Whether there is one column only."""
        return len(self.names) == 1

    @property
    def fields(self) -> list[str]:
        """Names that are different, whatever the header says."""
        return [str(i) for i in range(len(self.names))]


def as_text(head: Head, wanted: Sequence[str], markers: Sequence[str], **parse: Any) -> dict[str, Any]:
    """Arrow's options for reading columns as text, in which unquoted markers are missing."""
    kinds = dict.fromkeys(wanted, pa.string())
    missing: dict[str, Any] = {"null_values": list(markers), "strings_can_be_null": bool(markers), "quoted_strings_can_be_null": False}
    return {
        "parse_options": arrow_csv.ParseOptions(delimiter=head.delimiter, ignore_empty_lines=not head.single, **parse),
        "convert_options": arrow_csv.ConvertOptions(include_columns=list(wanted), column_types=kinds, **missing),
    }


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


class _Whole:
    """The bytes of a file from its header on."""

    def __init__(self, data: bytes, path: Path, what: str, head: Head) -> None:
        self.data, self.path, self.what, self.head = data, path, what, head

    def parse(self, columns: Sequence[str] | None = None, markers: Sequence[str] = ()) -> pa.Table:
        """Cells of some columns as text; those that are a marker and not quoted are missing."""
        try:
            return self._read(columns, markers, True)
        except pa.ArrowInvalid as error:
            wrong: list[Any] = []

            def note(row: Any) -> str:
                wrong.append(row)
                return "skip"

            with suppress(pa.ArrowInvalid):
                self._read(columns, markers, False, invalid_row_handler=note)
            if wrong:
                raise ragged(wrong[0], self.path, self.head) from error
            if "straddl" in str(error):
                raise open_quote(self.path, longest_quote(self.data.decode().split("\n")) + self.head.skipped) from error
            reason = str(error).splitlines()[0]
            raise DataError(f"Expected `{self.what}` to be a readable table, got {str(self.path)!r}: {reason}. Write the table again.") from error

    def _read(self, columns: Sequence[str] | None, markers: Sequence[str], threads: bool, **options: Any) -> pa.Table:
        fields = self.head.fields
        read = arrow_csv.ReadOptions(use_threads=threads, block_size=_BLOCK, column_names=fields, skip_rows_after_names=1)
        rest = as_text(self.head, fields if columns is None else columns, markers, newlines_in_values=b'"' in self.data, **options)
        return arrow_csv.read_csv(pa.BufferReader(self.data), read_options=read, **rest)

    def cells(self, table: pa.Table, na: Sequence[str] | None, found: dict[str, dict[str, int]]) -> list[pa.ChunkedArray]:
        """The columns without blanks around their cells and with missing cells as such; ``found`` is given counts of the markers."""
        markers = pa.array([marker for marker in (MISSING if na is None else na) if marker], pa.string())
        trimmed = {field: pc.utf8_trim_whitespace(table.column(field)) for field in table.column_names}
        marked = {field: pc.is_in(column, value_set=markers) for field, column in trimmed.items()}
        some = [field for field, mask in marked.items() if pc.any(mask).as_py()]
        if some and na is None and b'"' in self.data:  # the same once more, to tell the quoted ones apart
            bare = self.parse(some, markers.to_pylist())
            for field in some:
                padded = pc.not_equal(table.column(field), trimmed[field])
                marked[field] = pc.and_(marked[field], pc.or_(pc.is_null(bare.column(field)), padded))
        for field in some:
            counts = pc.value_counts(trimmed[field].filter(marked[field])).to_pylist()
            found[self.head.names[int(field)]] = {each["values"]: each["counts"] for each in counts}
        blank = {field: pc.equal(column, "") for field, column in trimmed.items()}
        none = pa.scalar(None, pa.string())
        return [pc.if_else(pc.or_(marked[field], blank[field]), none, column) for field, column in trimmed.items()]


def ragged(row: Any, path: Path, head: Head) -> DataError:
    """The error for a line with more or fewer fields than the header, as Arrow tells of it."""
    place = f"{row.actual_columns} in line {row.number + head.skipped}" if row.number else f"{row.actual_columns} in a line"
    hint = f"Fix the line, or put quotes around values that contain {head.delimiter!r}."
    return DataError(f"Expected every line of {str(path)!r} to have {row.expected_columns} fields like its header, got {place}: {row.text[:60]!r}. {hint}")
