"""A delimited text file of any size as tables of text, some megabytes at a time."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from temperance.data.packed import inner_name, unpacked
from temperance.data.quotes import longest_quote, open_quote, refuse_open_quote, refuse_swallowed
from temperance.data.text import Head, as_text, binary, no_text, not_text, ragged

_BLOCK = 1 << 20  # the parser reads up to 32 of these ahead
_LINES = 32  # of the longest line seen, at least, in a block
_PIECE = 1 << 16
_HEAD = 1 << 20  # a header is no longer than this


class TextBatches:
    """The wanted columns of a delimited text file, every cell as text (missing where it is an unquoted marker of missing values).

    Args:
        path: the file in UTF-8 with a header line.
        check: is given the names in the header, to refuse them.
        names: the wanted columns.
        what: the name of the argument, for messages.
        markers: of missing values, where they are not quoted.

    Attributes:
        done: share of the bytes that were read.
        delimiter: of the file, known once reading has begun.

    Raises:
        DataError: when the iteration comes to it: not UTF-8, ragged lines, a quote that stays open.
    """

    def __init__(self, path: Path, check: Callable[[Sequence[str]], None], names: Sequence[str], what: str, markers: Sequence[str]) -> None:
        self.path, self.check, self.names, self.what, self.markers = path, check, names, what, markers
        self.done, self.delimiter, self._breaks = 0.0, ",", False

    def __iter__(self) -> Iterator[pa.Table]:
        quotes = lines = 0
        for table, source, _ in self._tables(self.names):
            quotes, lines = source.quotes, source.lines
            self.done = source.place()
            yield table
        if quotes and self._breaks:  # a quote may have been opened in a column that nobody wanted
            self._refuse_quotes(quotes, lines)

    def _refuse_quotes(self, quotes: int, lines: int) -> None:
        """Read all columns of a file some of whose cells hold line breaks."""
        last = None
        if quotes % 2:
            for table, _, head in self._tables(None):
                last = (table.rename_columns(head.fields), head) if len(table) else last
            if last is not None:
                refuse_open_quote(last[0], quotes, self.path, last[1], lines)
        rows = breaks = 0
        for table, _, head in self._tables(None):
            breaks = refuse_swallowed(table.rename_columns(head.fields), head, self.path, rows, breaks)
            rows += len(table)

    def _tables(self, names: Sequence[str] | None) -> Iterator[tuple[pa.Table, _Source, Head]]:
        """Tables of these columns, or of all of them."""
        with unpacked(self.path, self.what) as (raw, stream):
            source = _Source(raw, stream, self.path, self.what)
            text, head = source.head()
            self.delimiter = head.delimiter
            self.check(head.names)
            block = max(_BLOCK, _LINES * max(map(len, text.splitlines())))
            rows = 0
            for table in self._parsed(source, head, head.names if names is None else names, block):
                rows += len(table)
                yield table, source, head
            self._breaks = source.lines - head.skipped > rows + 1

    def _line_of_quote(self) -> int:
        def lines(source: io.RawIOBase) -> Iterator[str]:
            rest = b""
            while block := bytes(source.read(_HEAD) or b""):
                *whole, rest = (rest + block).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            yield rest.decode(errors="replace")

        with unpacked(self.path, self.what) as (raw, stream):
            source = _Source(raw, stream, self.path, self.what)
            return longest_quote(lines(source))

    def _parsed(self, source: _Source, head: Head, wanted: Sequence[str], block: int) -> Iterator[pa.Table]:
        """The header is skipped as a row, for its own names need not be distinct: several columns may have none."""
        wrong: list[Any] = []

        def note(row: Any) -> str:
            wrong.append(row)
            return "error"

        try:
            reader = arrow_csv.open_csv(
                pa.PythonFile(source, mode="r"),
                # one thread: only then are the lines numbered
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=block, column_names=list(head.names), skip_rows_after_names=1),
                **as_text(head, wanted, self.markers, newlines_in_values=True, invalid_row_handler=note),
            )
            for batch in reader:
                yield pa.Table.from_batches([batch])
        except pa.ArrowInvalid as error:
            if wrong:
                raise ragged(wrong[0], self.path, head) from error
            if "straddl" in str(error):
                raise open_quote(self.path, self._line_of_quote()) from error
            raise


class _Source(io.RawIOBase):
    """Bytes on their way to the parser: checked for being text, quotes and lines counted."""

    def __init__(self, raw: pa.NativeFile, stream: pa.NativeFile, path: Path, what: str) -> None:
        self._raw, self._stream, self._path, self._what = raw, stream, path, what
        self._size, self._text = max(1, raw.size()), codecs.getincrementaldecoder("utf-8-sig")()
        self._ahead, self._held = b"", b""
        self.quotes = self.lines = 0
        self.strip = False  # of blank lines at the end, where they would count as rows

    def head(self) -> tuple[str, Head]:
        """The first lines, which are read again later from the header on."""
        while len(self._ahead) < _HEAD and (block := bytes(self._next(_HEAD))):
            self._ahead += block
        text = self._ahead.decode("utf-8-sig", errors="ignore")
        if not text.strip() and len(self._ahead) < _HEAD:
            raise no_text(self._path, self._what)
        head = Head.of(inner_name(self._path, self._what), text)
        self._ahead = self._ahead.removeprefix(codecs.BOM_UTF8)[len(text[: head.start].encode()) :]
        self.strip = head.single
        return text[head.start :], head

    def place(self) -> float:
        return min(1.0, self._raw.tell() / self._size)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes or a view of them."""
        while True:
            block, self._ahead = (self._ahead[:size], self._ahead[size:]) if self._ahead else (self._next(size), b"")
            if not self.strip or not block:
                return block
            text = self._held + bytes(block)
            kept = text.rstrip(b"\r\n")
            self._held = text[len(kept) :]
            if kept:
                return kept

    def _next(self, size: int) -> Any:
        """A view of Arrow's memory, not bytes: Python's allocator would keep some blocks for every thread that reads."""
        block = memoryview(self._stream.read_buffer(size))
        for start in range(0, len(block) + 1, _PIECE):
            self._check_text(bytes(block[start : start + _PIECE]), ended=not block)
        return block

    def _check_text(self, piece: bytes, ended: bool) -> None:
        try:
            text = self._text.decode(piece, final=ended)
        except UnicodeDecodeError as error:
            raise not_text(self._path, self._what, self.lines + error.object[: error.start].count(b"\n") + 1) from error
        if "\0" in text:
            raise binary(self._path, self._what)
        self.quotes += piece.count(b'"')
        self.lines += piece.count(b"\n")
