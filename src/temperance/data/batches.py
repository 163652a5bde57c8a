"""A file of any size as frames of some rows each, read by the kinds of the columns that are wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from temperance.core.errors import DataError
from temperance.data.cells import MISSING, without_markers
from temperance.data.columns import Kind
from temperance.data.known import Missing, known_columns
from temperance.data.messages import listing
from temperance.data.plain import plain_frame, plain_names
from temperance.data.read import check_names, check_rows, file_kind, from_arrow, read_cells, readable, sound
from temperance.data.text_batches import TextBatches

ROWS = 1 << 16
"""Rows of a batch: many enough that the work of a batch hides the cost of starting it."""
_BUFFER = 1 << 20


class Batches:
    r"""The rows of a file in plain form, ``rows`` at a time (fewer in the last batch), with memory for one batch.

    Only the wanted columns are read. What a cell means depends on the kind of its column and on nothing else in the file, so that a row is the
    same in every batch: text files are read as text, and a cell of a number column may be a number, a truth value or a time of day. The index
    of a batch counts the rows of the file.

    Args:
        path: a CSV or TSV, Parquet, Arrow, Feather or Excel file; text may be packed (``.gz``, ``.bz2``, ``.zst``, ``.xz``, ``.zip``).
        kinds: the wanted columns and what they are.
        rows: of a batch.
        what: the name of the argument, for messages.
        written: number columns that are written in a way of their own and stay text.
        na: cells that count as missing, in place of the usual markers.
        levels: names that are no markers of missing values, where a column of names has them.

    Attributes:
        done: share of the file that was read, in [0, 1].
        total: rows of the file; ``None`` for text, where nobody has counted them.

    Raises:
        DataError: no such file or one that cannot be read, missing columns, duplicate names, no rows. What is wrong further on in a file is
            raised when the iteration comes to it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "t.csv"
        ...     _ = path.write_text("age,job\n20,cook\n,smith\n40,\n")
        ...     for frame in Batches(path, {"age": "number"}, rows=2):
        ...         print(frame.index.tolist(), frame["age"].tolist())
        [0, 1] [20.0, nan]
        [2] [40.0]
    """

    def __init__(
        self,
        path: str | PathLike[str],
        kinds: Mapping[str, Kind],
        *,
        rows: int = ROWS,
        what: str = "data",
        written: Collection[str] = (),
        na: Sequence[str] | None = None,
        levels: Collection[str] = (),
    ) -> None:
        self.path, self.kinds, self.rows, self.what = Path(path).expanduser(), dict(kinds), rows, what
        self.written, self.na, self.levels = written, na, levels
        self.done, self.total = 0.0, None
        self.notes: list[str] = []  # of what was read, once it was
        self._kind = file_kind(self.path, what)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        markers = [marker for marker in MISSING if marker not in self.levels] if self.na is None else []
        missing = Missing.by(self.na, self.levels)
        text = TextBatches(self.path, self._check, list(self.kinds), self.what, markers)
        tables = self._counted(text) if self._kind == "text" else self._parquet() if self._kind == "parquet" else self._arrow()
        marks: dict[str, str] = {}
        start = 0
        if self._kind == "excel":
            yield from self._excel()
            return
        with readable(self.path, self.what):
            for table in regrouped(tables, self.rows):
                if self._kind == "text":
                    frame = known_columns(table, self.kinds, None if text.delimiter == "," else marks, self.written, missing)
                else:
                    frame = without_markers(plain_frame(from_arrow(table)), self.na)
                frame.index = pd.RangeIndex(start, start + len(frame))
                start += len(frame)
                yield frame
        check_rows(start, self.what, f" in {str(self.path)!r}")
        self.done = 1.0

    def _excel(self) -> Iterator[pd.DataFrame]:
        """A sheet has at most a million rows and is read at once."""
        frame, self.notes = read_cells(self.path, what=self.what, na=self.na)
        self._check(list(frame.columns))
        self.total = len(frame)
        for start in range(0, len(frame), self.rows):
            self.done = min(1.0, (start + self.rows) / len(frame))
            yield frame[list(self.kinds)].iloc[start : start + self.rows]

    def _check(self, names: Sequence[str]) -> None:
        check_names(names, self.what, f" in {str(self.path)!r}")
        require(names, list(self.kinds))

    def _places(self, labels: Sequence[str]) -> list[int]:
        """Where the wanted columns are."""
        names = plain_names(labels)
        self._check(names)
        return [names.index(name) for name in self.kinds]

    def _wanted(self, batch: pa.RecordBatch, places: Sequence[int]) -> pa.Table:
        return sound(pa.Table.from_batches([batch]).select(list(places))).rename_columns(list(self.kinds))

    def _counted(self, text: TextBatches) -> Iterator[pa.Table]:
        for table in text:
            self.done = text.done
            yield table

    def _parquet(self) -> Iterator[pa.Table]:
        with pq.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False) as file:  # else what was read stays
            names = file.schema_arrow.names
            wanted = self._places(names)
            self.total, seen = file.metadata.num_rows, 0
            for batch in file.iter_batches(batch_size=self.rows, columns=[names[i] for i in wanted]):
                seen += batch.num_rows
                self.done = seen / self.total
                yield self._wanted(batch, [batch.schema.names.index(names[i]) for i in wanted])

    def _arrow(self) -> Iterator[pa.Table]:
        with pa.OSFile(str(self.path)) as source:
            size = source.size()
            try:
                file = pa.ipc.open_file(source)
                wanted = self._places(file.schema.names)
                batches = (file.get_batch(i) for i in range(file.num_record_batches))
            except pa.ArrowInvalid:
                source.seek(0)
                stream = pa.ipc.open_stream(source)
                wanted = self._places(stream.schema.names)
                batches = iter(stream)
            for batch in batches:
                self.done = source.tell() / size
                yield self._wanted(batch, wanted)


def regrouped(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of ``rows`` each, and the rest in the last one.

    Example:
        >>> [len(table) for table in regrouped(iter([pa.table({"x": range(n)}) for n in (1, 5, 3)]), 4)]
        [4, 4, 1]
    """
    waiting: list[pa.Table] = []
    for table in tables:
        if len(table):
            waiting.append(table)
        count = sum(map(len, waiting))
        if count < rows:
            continue
        joined = pa.concat_tables(waiting)
        whole = count - count % rows
        for start in range(0, whole, rows):
            yield joined.slice(start, rows)
        waiting = [joined.slice(whole)] if whole < count else []  # an empty slice would keep everything before it in memory
    if waiting:
        yield pa.concat_tables(waiting)


def require(names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a table without some of the wanted columns."""
    there = set(names)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise DataError(f"Expected the columns of the fitted table, {listing(missing)} missing; got {listing(names)}. Add or rename the columns.")
