"""Where predictions go: CSV on standard output, or a CSV or Parquet file, a batch of rows at a time."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from temperance.cli.screen import complain, write_data
from temperance.core.errors import ConfigError, TemperanceError
from temperance.data import TableEncoder
from temperance.data.seen import Watch

if TYPE_CHECKING:
    import pandas

    from temperance.cli.progress import Progress
    from temperance.job import Saved

TEXT, PARQUET = (".csv",), (".parquet", ".pq")
QUIET = 2.0  # seconds before anything is said about the progress


def check_output(out: str, data: str) -> Path:
    """The file to write, checked before anything is computed.

    Raises:
        ConfigError: another format, a folder that is not there or cannot be written, a folder's name, or the very file that is read.
    """
    path = Path(out)
    if path.suffix.lower() not in (*TEXT, *PARQUET):
        got = path.suffix or "no suffix"
        raise ConfigError(f"Expected `--out` to name a .csv or .parquet file, got {out!r} ({got}). Choose one of the two.")
    if path.is_dir():
        raise ConfigError(f"Expected `--out` to name a file, got the folder {out!r}. Name a file in it.")
    place = Path(os.path.realpath(path))  # where a link leads
    if not place.parent.is_dir():
        folder = path.parent if not path.parent.is_dir() else place.parent
        raise ConfigError(f"Expected `--out` to lie in an existing folder, got {out!r}. Make the folder {str(folder)!r} first.")
    if path.exists() and str(place) == os.path.realpath(data):
        raise ConfigError(f"Expected `--out` to be another file than the data, got {out!r} for both. Choose another name.")
    if not os.access(place.parent, os.W_OK) or (place.exists() and not os.access(place, os.W_OK)):
        raise ConfigError(f"Expected `--out` to be a file that can be written, got {out!r}. Choose another place.")
    return path


def predict_file(saved: Saved, data: str, path: Path | None, *, proba: bool = False, rows: int | None = None) -> int:
    """Predict a file of any size with memory for one batch of rows.

    A file appears under its name only when it is complete. What stops the run (bad data further on, a full disk, Ctrl-C) leaves as it came, after
    word of how far it got; predictions on standard output are there until then.

    Args:
        saved: the model.
        data: the file.
        path: the file to write; ``None`` for CSV on standard output.
        proba: see :meth:`temperance.job.Saved.table`.
        rows: of a batch.

    Returns:
        the number of predictions.

    Raises:
        DataError: as reading and encoding raise it.
        ConfigError: the predictions cannot be written.
    """
    batches = saved.encoder.batches(data) if rows is None else saved.encoder.batches(data, rows=rows)
    count = 0
    try:
        with _writer(path) as writer, _told(path) as progress:
            began = time.monotonic()
            watch = Watch(saved.encoder) if isinstance(saved.encoder, TableEncoder) else None
            for frame in batches:
                if watch is not None:
                    watch.look(cast("pandas.DataFrame", frame))
                writer.write(saved.batch(frame, proba))
                count += len(frame)
                if progress is not None and batches.done < 1 and time.monotonic() - began > QUIET:
                    progress.update({"phase": f"predicted {count:,} rows", "done": batches.done})
        _complain([*getattr(batches, "notes", ()), *writer.notes])
        for text in () if watch is None else watch.notes():
            complain(f"Warning: {text}.")
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, TemperanceError) as error:
        if count:
            of = "" if batches.total is None else f" of {batches.total:,}"
            where = "they are on standard output" if path is None else f"{str(path)!r} was not written"
            note = f"Stopped after {count:,}{of} predictions: {where}."
            if isinstance(error, TemperanceError):
                raise type(error)(f"{error} {note}") from error
            complain(note)
        raise
    return count


def _complain(notes: Sequence[str]) -> None:
    """What was left out, on standard error."""
    for note in notes:
        complain(f"{note[:1].upper()}{note[1:]}.")


class _Text:
    """CSV in UTF-8, the header before the first table; what a spreadsheet would run as a formula has an apostrophe before it."""

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        self._write = write_data if self._file is None else self._file.write
        self._header = True
        self._met: Counter[str] = Counter()

    def write(self, table: pandas.DataFrame) -> None:
        import pandas as pd

        from temperance.cli.spreadsheet import shielded

        safe = [shielded(table.iloc[:, i]) for i in range(table.shape[1])]
        names, met = shielded(pd.Series([str(name) for name in table.columns], dtype=object))
        for found in [*([met] if self._header else []), *(found for _, found in safe)]:
            self._met.update(found)
        out = pd.concat([cells for cells, _ in safe], axis=1).set_axis(names.tolist(), axis=1)
        carriage = any("\r" in str(text) for text in [*out.columns, *(text for i in range(out.shape[1]) for text in _texts(out.iloc[:, i]))])
        quoting = csv.QUOTE_NONNUMERIC if carriage else csv.QUOTE_MINIMAL  # which leaves a lone carriage return bare
        self._write(out.to_csv(index=False, header=self._header, lineterminator="\n", quoting=quoting))
        self._header = False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def notes(self) -> list[str]:
        if not self._met:
            return []
        count, some = sum(self._met.values()), ", ".join(repr(text[:40]) for text in list(self._met)[:3])
        what = "1 cell begins" if count == 1 else f"{count:,} cells begin"
        return [f"{what} like a formula ({some}) and has an apostrophe before it, so that no spreadsheet runs it; --out FILE.parquet keeps the text as it is"]


def _texts(cells: pandas.Series) -> Any:
    """The different texts of a column."""
    from pandas.api import types

    return () if types.is_numeric_dtype(cells.dtype) else cells.unique()


class _Parquet:
    """Parquet, a row group a table, with the columns of the first one."""

    notes: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        self._path, self._writer = path, None

    def write(self, table: pandas.DataFrame) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = pa.Table.from_pandas(table, preserve_index=False)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, rows.schema)
        self._writer.write_table(rows)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


@contextmanager
def _writer(path: Path | None) -> Iterator[_Text | _Parquet]:
    """Takes the tables; the file gets its name at the end, and nothing is left of one that was not finished."""
    if path is None:
        yield _Text(None)
        return
    place = Path(os.path.realpath(path))
    partial = place.with_name(f".{place.name}.{os.getpid()}-{time.monotonic_ns()}.partial")  # two runs may write to one name
    try:
        try:
            writer = _Parquet(partial) if path.suffix.lower() in PARQUET else _Text(partial)
            try:
                yield writer
            finally:
                writer.close()
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"Expected `--out` to be a file that can be written, got {str(path)!r}: {error.strerror or error}. Choose another place.") from None


@contextmanager
def _told(path: Path | None) -> Iterator[Progress | None]:
    """The progress on standard error, unless the predictions go to the same screen."""
    if path is None and sys.stdout.isatty():
        yield None
        return
    from temperance.cli.progress import Progress
    from temperance.cli.screen import Errors

    with Progress(Errors()) as progress:
        progress.start()
        yield progress
