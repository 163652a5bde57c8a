"""Read a table from a file or from any of the usual objects into one plain pandas frame."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from temperance.core.errors import DataError
from temperance.data.cells import has_decimal_commas, is_whole, may_have_thousands, named_markers, typed, typed_together, without_markers
from temperance.data.excel import SUFFIXES, read_excel
from temperance.data.messages import listing
from temperance.data.number_text import NumberFormat, number_format
from temperance.data.packed import DAMAGED, PACKED, inner_name
from temperance.data.parse import numbers
from temperance.data.plain import TEXT, arrow_series, plain_column, plain_frame, plain_names
from temperance.data.text import read_text

FORMATS: dict[str, tuple[str, ...]] = {
    "text": (".csv", ".tsv", ".txt", ".psv"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
    "excel": SUFFIXES,
}
_KNOWN = "CSV or TSV (.csv, .tsv, .txt), Parquet (.parquet, .pq), Arrow (.arrow, .feather, .ipc), Excel (.xlsx)"
_OBJECTS = "a path, a pandas or polars DataFrame, a pyarrow Table, a 2-D NumPy array or tensor, or a dict of columns"


def read_table(source: Any, *, what: str = "data", na: str | Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table.

    Text files need a header line; the delimiter (comma, semicolon, tab, bar) is found by looking. What a cell stands for is told in
    :mod:`temperance.data.cells`. Columns without names (arrays, tensors) are called ``x0``, ``x1``, ...

    Args:
        source: the path of a CSV, TSV, Parquet, Arrow, Feather or Excel file; a pandas or polars frame; a ``pyarrow.Table``; a 2-D array or
            tensor; a dict of columns.
        what: the name of the argument, for messages.
        na: cells that count as missing beside empty ones, in every format, such as ``"?,-"``; by default the usual markers
            (``NA``, ``NaN``, ``null``, ``?``, ...) in the unquoted cells of text files.

    Returns:
        A new frame with text labels, rows counted from 0, and plain column types (:mod:`temperance.data.plain`).

    Raises:
        DataError: no such file, an empty, unreadable or unknown one, ragged lines, duplicate names, no rows, or no table at all.

    Example:
        >>> import numpy as np
        >>> read_table(np.ones((2, 3))).columns.tolist()
        ['x0', 'x1', 'x2']
        >>> read_table({"n": ["1", "-"]}, na="-")["n"].tolist()
        [1, <NA>]
    """
    frame = read_cells(source, what=what, na=na)[0]
    commas = decimal_commas(frame)
    for i, dtype in enumerate(frame.dtypes):
        if isinstance(dtype, pd.StringDtype):
            frame.isetitem(i, cast(Any, typed_series(frame.iloc[:, i], commas)))
    return frame


def decimal_commas(frame: pd.DataFrame) -> bool:
    """Whether a column of text has decimal commas, so that points in the others may stand between thousands."""
    return any(has_decimal_commas(_cells_of(frame.iloc[:, i])) for i, dtype in enumerate(frame.dtypes) if isinstance(dtype, pd.StringDtype))


def read_cells(source: Any, *, what: str = "data", na: str | Sequence[str] | None = None, plain: bool = True) -> tuple[pd.DataFrame, list[str]]:
    """The same, with columns of strings as they are, and what is to be said of the reading.

    The cells of text files have their types by the rules of the grammar that need no choice, or with ``plain`` false none: then further rows may
    join them.
    """
    markers, notes = named_markers(na), []
    if isinstance(source, (str, PathLike)):
        place = f" in {str(source)!r}"
        frame, notes = _read_file(Path(source).expanduser(), what, markers, plain)
    else:
        frame, place = _from_object(source, what), ""
    check_names(plain_names(list(frame.columns)), what, place)
    check_rows(len(frame), what, place)
    return without_markers(plain_frame(frame), markers), notes


def joined(frame: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """The rows of two tables that were read as they are, with types by the cells of both."""
    whole = plain_frame(pd.concat([frame, more], ignore_index=True))
    places = [i for i, dtype in enumerate(whole.dtypes) if isinstance(dtype, pd.StringDtype)]
    for i, column in zip(places, typed_together([_cells_of(whole.iloc[:, i]) for i in places]), strict=True):
        if column.type != pa.string():
            whole.isetitem(i, cast(Any, plain_column(arrow_series(column)).set_axis(whole.index).rename(cast(Any, whole.columns[i]))))
    return whole


def _cells_of(series: pd.Series) -> pa.ChunkedArray:
    text = pa.array(series.astype(TEXT), type=pa.string(), from_pandas=True)
    return text if isinstance(text, pa.ChunkedArray) else pa.chunked_array([text])


def typed_series(series: pd.Series, commas: bool = False) -> pd.Series:
    """A column of text as the grammar of cells has it, numbers as people write them too; ``commas`` where its table has decimal commas.

    Example:
        >>> typed_series(pd.Series(["7", None, "8"], dtype=TEXT)).dtype
        Int64Dtype()
    """
    cells = _cells_of(series)
    if commas and may_have_thousands(cells):
        return pd.Series(numbers(series, NumberFormat(",", "."))[0], series.index, name=series.name)
    column = typed(cells)
    if column.type == pa.string():
        return _written_numbers(series)
    return plain_column(arrow_series(column)).set_axis(series.index).rename(cast(Any, series.name))


def _written_numbers(series: pd.Series) -> pd.Series:
    """Text that is all numbers as people write them, as numbers."""
    codes, values = pd.factorize(series)
    names = [str(value) for value in values]
    form = None if all(map(is_whole, names)) else number_format(names, np.bincount(codes[codes >= 0], minlength=len(names)).tolist(), 1.0)
    return series if form is None else pd.Series(numbers(series, form)[0], series.index, name=series.name)


def _read_file(path: Path, what: str, na: tuple[str, ...] | None, plain: bool) -> tuple[pd.DataFrame, list[str]]:
    kind = file_kind(path, what)
    with readable(path, what):
        if kind == "excel":
            return read_excel(path, what)
        return read_text(path, what, na, plain) if kind == "text" else (from_arrow(_read_binary(path, kind)), [])


def file_kind(path: Path, what: str = "data") -> str:
    """``"text"``, ``"parquet"``, ``"arrow"`` or ``"excel"``.

    Raises:
        DataError: no such file, an address, an empty file, or another format.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        address = re.sub(":/+", "://", str(path), count=1)
        mend = f"Download it first, for example with curl -LO {address}, or send it to standard input: curl -L {address} | temperance fit - --target COL."
        raise DataError(f"Expected `{what}` to be a file on this machine, got the address {address}. {mend}")
    refuse_strange(path, what)
    if path.is_dir():
        raise DataError(f"Expected `{what}` to be a file, got the directory {str(path)!r}. Name one file in it.")
    with readable(path, what):
        if not path.exists():
            raise DataError(f"Expected `{what}` to be an existing file, got {str(path)!r}. {near_files(path)}")
        if path.stat().st_size == 0:
            raise DataError(f"Expected `{what}` to have a header line and rows, got the empty file {str(path)!r} (0 bytes). Write the table again.")
        kind = _format(path, inner_name(path, what))
    if kind is None:
        suffix = path.suffix or "no suffix"
        raise DataError(f"Expected `{what}` in a known format, got {str(path)!r} ({suffix}). Known: {_KNOWN}; convert the file or rename it.")
    return kind


def refuse_strange(path: Path, what: str) -> None:
    """Refuse a pipe, a device or a socket: reading it may never end.

    Raises:
        DataError: it is one.
    """
    with readable(path, what):
        if path.exists() and not path.is_dir() and not path.is_file():
            mend = "Copy it into a file first, or send it to standard input and name it `-`."
            raise DataError(f"Expected `{what}` to be a file, got {str(path)!r}, which is a pipe, a device or a socket. {mend}")


@contextmanager
def readable(path: Path, what: str = "data") -> Iterator[None]:
    """What the reading of a file raises, told as one message."""
    try:
        yield
    except DataError:
        raise
    except (OSError, pa.ArrowException, ValueError, EOFError, LookupError, ArithmeticError, RuntimeError, MemoryError, csv.Error, *DAMAGED) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"Expected `{what}` to be a readable table, got {str(path)!r}: {reason.rstrip('.')}. Write the table again.") from error


def check_names(names: Sequence[str], what: str, place: str) -> None:
    """Refuse columns that cannot be told apart, and a table without columns."""
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        mend = "Rename or drop the duplicates; blanks around a name do not count."
        raise DataError(f"Expected the column names of `{what}` to be different, got {listing(twice)} more than once{place}. {mend}")
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


def _format(path: Path, inner: Path) -> str | None:
    """By the suffix, or else by the first bytes; only text is unpacked."""
    packed = path.suffix.lower() in PACKED
    for kind, suffixes in FORMATS.items():
        if inner.suffix.lower() in suffixes and (kind == "text" or not packed):
            return kind
    with path.open("rb") as file:
        start = file.read(6)
    return "parquet" if start[:4] == b"PAR1" else "arrow" if start == b"ARROW1" else None


def _read_binary(path: Path, kind: str) -> pa.Table:
    if kind == "parquet":
        with pq.ParquetFile(path) as file:
            return sound(file.read())
    data = pa.py_buffer(path.read_bytes())
    try:
        table = pa.ipc.open_file(data).read_all()
    except pa.ArrowInvalid:
        table = pa.ipc.open_stream(data).read_all()
    return sound(table)


def sound(table: pa.Table) -> pa.Table:
    """The table, if every offset, index and text in it is valid: Arrow reads what a damaged file says without looking, and crashes on it later.

    Raises:
        ArrowInvalid: it is not.
    """
    table.validate(full=True)
    return table


def from_arrow(table: pa.Table) -> pd.DataFrame:
    """The columns as pandas has them, without an index that was written along."""
    names = table.column_names
    keep = [i for i, name in enumerate(names) if not (name.startswith("__index_level_") and name.endswith("__"))]
    series = [arrow_series(table.column(i)) for i in keep]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame(index=range(table.num_rows))
    frame.columns = pd.Index([names[i] for i in keep], dtype=object)
    return frame


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
            raise DataError(f"Expected column `{name}` of `{what}` to be a sequence of values, got shape {np.shape(values)}. Give one value per row.")
    sizes = {name: len(values) for name, values in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(f"Expected the columns of `{what}` to have the same number of rows, got {sizes}. Give one value per row in each.")
    return pd.DataFrame({name: pd.Series(values).reset_index(drop=True) for name, values in arrays.items()})
