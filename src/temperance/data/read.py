"""Read a table from a file or from any of the usual objects into one plain pandas frame."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from temperance.core.errors import DataError
from temperance.data.messages import listing
from temperance.data.plain import plain_frame
from temperance.data.text import read_text

FORMATS: dict[str, tuple[str, ...]] = {
    "text": (".csv", ".tsv", ".txt", ".psv"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
}
_PACKED = (".gz", ".bz2", ".zst")
_KNOWN = "CSV or TSV (.csv, .tsv, .txt), Parquet (.parquet, .pq), Arrow (.arrow, .feather, .ipc)"
_OBJECTS = "a path, a pandas or polars DataFrame, a pyarrow Table, a 2-D NumPy array or tensor, or a dict of columns"


def read_table(source: Any, *, what: str = "data") -> pd.DataFrame:
    """Read a table.

    Text files need a header line; the delimiter (comma, semicolon, tab, bar) is found by looking, and empty cells, ``NA``, ``NaN``,
    ``null`` and ``?`` are missing. Columns without names (arrays, tensors) are called ``x0``, ``x1``, ...

    Args:
        source: the path of a CSV, TSV, Parquet, Arrow or Feather file; a pandas or polars frame; a ``pyarrow.Table``; a 2-D array or
            tensor; a dict of columns.
        what: the name of the argument, for messages.

    Returns:
        A new frame with text labels, rows counted from 0, and plain column types (:mod:`temperance.data.plain`).

    Raises:
        DataError: no such file, an empty, unreadable or unknown one, ragged lines, duplicate names, no rows, or no table at all.

    Example:
        >>> import numpy as np
        >>> read_table(np.ones((2, 3))).columns.tolist()
        ['x0', 'x1', 'x2']
    """
    if isinstance(source, (str, PathLike)):
        frame, place = _read_file(Path(source).expanduser(), what), f" in {str(source)!r}"
    else:
        frame, place = _from_object(source, what), ""
    check_names([str(label) for label in frame.columns], what, place)
    check_rows(len(frame), what, place)
    return plain_frame(frame)


def _read_file(path: Path, what: str) -> pd.DataFrame:
    kind = file_kind(path, what)
    with readable(path, what):
        return read_text(path, what) if kind == "text" else from_arrow(_read_binary(path, kind))


def file_kind(path: Path, what: str = "data") -> str:
    """``"text"``, ``"parquet"`` or ``"arrow"``.

    Raises:
        DataError: no such file, an empty one, or another format.
    """
    if path.is_dir():
        raise DataError(f"Expected `{what}` to be a file, got the directory {str(path)!r}. Name one file in it.")
    with readable(path, what):
        if not path.exists():
            raise DataError(f"Expected `{what}` to be an existing file, got {str(path)!r}. {near_files(path)}")
        if path.stat().st_size == 0:
            raise DataError(f"Expected `{what}` to have a header line and rows, got the empty file {str(path)!r} (0 bytes). Write the table again.")
        kind = _format(path)
    if kind is None:
        suffix = path.suffix or "no suffix"
        raise DataError(f"Expected `{what}` in a known format, got {str(path)!r} ({suffix}). Known: {_KNOWN}; convert the file or rename it.")
    return kind


@contextmanager
def readable(path: Path, what: str = "data") -> Iterator[None]:
    """What the reading of a file raises, told as one message."""
    try:
        yield
    except DataError:
        raise
    except (OSError, pa.ArrowException, ValueError, EOFError, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"Expected `{what}` to be a readable table, got {str(path)!r}: {reason.rstrip('.')}. Write the table again.") from error


def check_names(names: Sequence[str], what: str, place: str) -> None:
    """Refuse columns that cannot be told apart, and a table without columns."""
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise DataError(f"Expected the column names of `{what}` to be different, got {listing(twice)} more than once{place}. Rename or drop the duplicates.")
    if not names:
        raise DataError(f"Expected `{what}` to have columns, got none{place}. Give at least one column.")


def check_rows(rows: int, what: str, place: str) -> None:
    """Refuse a table without rows."""
    if rows == 0:
        raise DataError(f"Expected `{what}` to have rows, got a header only (0 rows){place}. Give at least one row.")


def near_files(path: Path) -> str:
    """What was probably meant by a path that is not there."""
    try:
        close = get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=2)
    except OSError:
        close = []
    return f"Did you mean {' or '.join(f'`{name}`' for name in close)}?" if close else "Check the path."


def _format(path: Path) -> str | None:
    """By the suffix, or else by the first bytes."""
    suffix = Path(path.stem).suffix.lower() if path.suffix.lower() in _PACKED else path.suffix.lower()
    for kind, suffixes in FORMATS.items():
        if suffix in suffixes and (kind == "text" or path.suffix.lower() not in _PACKED):
            return kind
    with path.open("rb") as file:
        start = file.read(6)
    return "parquet" if start[:4] == b"PAR1" else "arrow" if start == b"ARROW1" else None


def _read_binary(path: Path, kind: str) -> pa.Table:
    if kind == "parquet":
        with pq.ParquetFile(path) as file:
            return file.read()
    data = pa.py_buffer(path.read_bytes())
    try:
        return pa.ipc.open_file(data).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_stream(data).read_all()


def from_arrow(table: pa.Table) -> pd.DataFrame:
    """The columns as pandas has them, without an index that was written along."""
    names = table.column_names
    keep = [i for i, name in enumerate(names) if not (name.startswith("__index_level_") and name.endswith("__"))]
    series = [_arrow_column(table.column(i)).to_pandas(date_as_object=False) for i in keep]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame(index=range(table.num_rows))
    frame.columns = pd.Index([names[i] for i in keep], dtype=object)
    return frame


def _arrow_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type in (pa.string_view(), pa.large_string()):
        return column.cast(pa.string()) if column.nbytes < 1 << 31 else column.cast(pa.large_string())
    return column


def _from_object(source: Any, what: str) -> pd.DataFrame:
    library = type(source).__module__.split(".")[0]
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, pd.Series):
        return source.to_frame()
    if isinstance(source, pa.Table):
        return from_arrow(source)
    if library == "polars":
        if hasattr(source, "collect"):
            source = source.collect()
        return from_arrow((source.to_frame() if hasattr(source, "to_frame") else source).to_arrow())
    if library == "scipy" and hasattr(source, "toarray"):
        raise DataError(f"Expected `{what}` to be a dense table, got a sparse {type(source).__name__}. Use {what}.toarray().")
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        source = source.float().numpy() if source.dtype == torch.bfloat16 else source.numpy()
    if isinstance(source, np.ndarray):
        if source.dtype.names:
            return pd.DataFrame.from_records(source)
        if source.ndim != 2:
            raise DataError(f"Expected `{what}` with 2 dimensions (rows, columns), got shape {source.shape}. Reshape it, for one column with reshape(-1, 1).")
        return pd.DataFrame(source, columns=pd.Index([f"x{i}" for i in range(source.shape[1])]))
    if isinstance(source, dict):
        return _from_dict(source, what)
    raise DataError(f"Expected `{what}` to be a table, got {type(source).__name__}. Give {_OBJECTS}.")


def _from_dict(columns: dict[Any, Any], what: str) -> pd.DataFrame:
    arrays = {name: (values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values) for name, values in columns.items()}
    for name, values in arrays.items():
        if np.ndim(values) != 1 and not isinstance(values, pd.Series):
            raise DataError(f"Expected column `{name}` of `{what}` to be a sequence of values, got shape {np.shape(values)}. Give one value a row.")
    sizes = {name: len(values) for name, values in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"Expected the columns of `{what}` to have the same number of rows, got {sizes}. Give one value a row in each.")
    return pd.DataFrame({name: pd.Series(values).reset_index(drop=True) for name, values in arrays.items()})
