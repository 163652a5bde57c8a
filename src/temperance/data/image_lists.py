"""Tables that list images: paths in a text file, or paths or encoded bytes in Parquet and Arrow files."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from temperance.core.errors import DataError
from temperance.data.image_files import LARGEST_SIDE, SUFFIXES, Picture, Told, gathered
from temperance.data.image_folders import LEARN, TEST, VALIDATE
from temperance.data.images import Images, Shape
from temperance.data.messages import listing, near, row_name
from temperance.data.read import FORMATS, read_cells, sound
from temperance.data.text import Head

_PEEK = 1 << 16  # bytes of a text file
_SPLITS = ("split", "set", "subset", "part", "partition")
_USUAL = ("label", "labels", "class", "target", "y", "category")
_NAMED = re.compile(rb"\.(?:" + b"|".join(suffix[1:].encode() for suffix in SUFFIXES) + rb")\b", re.IGNORECASE)
_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*")
_BYTES, _PATH = "bytes", "path"


def is_image_list(path: Path) -> bool:
    """Whether a table has a column of images: of paths, of which the first is there, or of bytes that begin as those of images do.

    Raises:
        DataError: a table of paths and labels whose files are not there.
    """
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (*FORMATS["text"], *FORMATS["parquet"], *FORMATS["arrow"]):
        return False
    if suffix in FORMATS["text"]:
        with path.open("rb") as file:
            if not _NAMED.search(file.read(_PEEK)):
                return False
    try:
        frame = _first_rows(path)
    except (DataError, OSError, pa.ArrowException, ValueError, csv.Error):
        return False  # reading it as a table says what is wrong
    return _column(frame, path.parent) is not None


def listed_pictures(path: Path, what: str) -> tuple[list[Picture], pd.DataFrame, str]:
    """The images of a table, its other columns, and the name of the column with the images."""
    frame = _frame(path, what)
    name = _column(frame.head(20), path.parent)
    if name is None:
        raise DataError(f"Expected a column of image files in `{what}`, got {listing(frame.columns)} in {str(path)!r}. Name the files, relative to the table.")
    if name.lower().endswith(SUFFIXES):
        raise DataError(f"Expected a first line with the names of the columns in {str(path)!r}, got {name!r}. Add one, such as file,label.")
    place = _place(frame[name], path.parent)
    pictures = [_picture(value, row, place) for row, value in enumerate(frame[name])]
    return pictures, frame.drop(columns=[name]), name


def read_list(
    path: Path, labels: bool, shape: Shape | None, what: str, target: Sequence[str] = (), told: Told | None = None, side: int = LARGEST_SIDE
) -> Images:
    """The images that a table lists, with their labels.

    A column named ``split``, ``set`` or ``part`` that holds ``train``, ``val`` and ``test`` is followed.

    Args:
        path: a text, Parquet or Arrow file.
        labels: whether labels are needed.
        shape: channels, height and width.
        what: the name of the argument, for messages.
        target: columns with the labels; by default the only one, or the one that is called so.
        told: hears the share that is read.
        side: pixels that no side may exceed where ``shape`` does not say it.

    Raises:
        DataError: no such column, several that may be meant, a row in no part of the split, more than a tenth of the images cannot be read.
    """
    pictures, frame, name = listed_pictures(path, what)
    if not labels:
        return gathered(pictures, None, shape, kind="list", notes=[], place=str(path), told=told, side=side)
    role = _split_column(frame, target, path)
    targets = list(target) or [_target(frame.drop(columns=[role] if role else []), name, path)]
    for one in targets:
        if one not in frame.columns:
            raise DataError(f"Expected `--target` to name a column of {str(path)!r}, got {one!r}. {near(one, list(frame.columns))}")
    notes = [f"images from `{name}`, labels from {listing(targets)}"]
    others = [column for column in frame.columns if column not in (*targets, role)]
    notes += [f"{listing(others)} left out: of a list of images only the images are learned from"] if others else []
    order, held, later = np.arange(len(frame)), 0, 0
    if role is not None:
        kinds = [_role(value) for value in frame[role]]
        order = np.array([row for kind in range(3) for row, own in enumerate(kinds) if own == kind], dtype=np.int64)
        held, later = kinds.count(1), kinds.count(2)
        notes.append(f"`{role}` says which images validate ({held:,}) and which test ({later:,})")
    columns = [_values(frame[one]) for one in targets]
    values = columns[0] if len(columns) == 1 else np.stack([column.astype(object) for column in columns], 1)
    return gathered(
        [pictures[row] for row in order],
        values[order],
        shape,
        held=held,
        untouched=later,
        kind="list",
        notes=notes,
        place=str(path),
        told=told,
        label_names=tuple(targets),
        side=side,
    )


def _first_rows(path: Path) -> pd.DataFrame:
    """Some rows of a table, so that a large one is not read twice."""
    suffix = path.suffix.lower()
    if suffix in FORMATS["text"]:
        with path.open("rb") as file:
            text = file.read(_PEEK).decode("utf-8-sig", "replace")
        head = Head.of(path, text)
        lines = csv.reader(text[head.start :].splitlines(), delimiter=head.delimiter)
        cells = [[cell.strip() or None for cell in line] for line, _ in zip(filter(None, lines), range(21), strict=False)]
        return pd.DataFrame([row for row in cells[1:] if len(row) == len(head.names)], columns=list(head.names), dtype=object)
    if suffix in FORMATS["parquet"]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            first = next(file.iter_batches(20), None)
    else:
        with pa.memory_map(str(path)) as file:
            first = next(_batches(file), None)
    return pd.DataFrame() if first is None else _plain(sound(pa.Table.from_batches([first.slice(0, 20)])))


def _batches(file: Any) -> Iterator[pa.RecordBatch]:
    """The parts of an Arrow file, or of a stream as the cache of a hub of data sets has it."""
    try:
        found = pa.ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        yield from pa.ipc.open_stream(file)
        return
    yield from map(found.get_batch, range(found.num_record_batches))


def _frame(path: Path, what: str) -> pd.DataFrame:
    """A table with images as text or bytes and the other columns as always."""
    suffix = path.suffix.lower()
    if suffix in FORMATS["text"]:
        return read_cells(path, what=what)[0]
    try:
        if suffix in FORMATS["parquet"]:
            import pyarrow.parquet as pq

            return _plain(sound(pq.read_table(path)))
        with pa.memory_map(str(path)) as file:
            return _plain(sound(pa.Table.from_batches(_batches(file))))
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"Expected `{what}` to be readable, got {str(path)!r}: {reason}. Write or copy it again.") from None


def _plain(table: pa.Table) -> pd.DataFrame:
    """Columns of bytes, or of bytes with a path, as they are; the others as a table has them."""
    kept = {field.name: table[field.name].to_pylist() for field in table.schema if _holds_bytes(field.type)}
    rest = table.drop_columns(list(kept))
    frame = read_cells(rest)[0] if rest.num_columns else pd.DataFrame(index=range(len(table)))
    for name, values in kept.items():
        frame[name] = pd.Series(values, dtype=object)
    return frame[[name for name in table.column_names if name in frame.columns]]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == _BYTES for i in range(kind.num_fields))
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _content(value: Any) -> Any:
    """Bytes, or the path, of a cell."""
    if isinstance(value, dict):
        return value.get(_BYTES) or value.get(_PATH)
    return value


def _column(frame: pd.DataFrame, folder: Path) -> str | None:
    """The column with the images."""
    for name in frame.columns:
        values = [_content(value) for value in frame[name] if not _missing(value)]
        if values and all(isinstance(value, bytes) for value in values) and any(value.startswith(_STARTS) for value in values):
            return str(name)
    for name in frame.columns:
        values = [_content(value) for value in frame[name] if not _missing(value)]
        if values and all(isinstance(value, str) and value.lower().endswith(SUFFIXES) for value in values):
            place = _place(values, folder)
            if any(os.path.isfile(place / value) for value in values):
                return str(name)
            if sum(str(other).lower() not in _SPLITS for other in frame.columns) <= 2:
                mend = f"Write them relative to {str(folder)!r}, or in full."
                raise DataError(f"Expected the files of the column `{name}` to exist, got none of the first {len(values)}, such as {values[0]!r}. {mend}")
    return None


def _place(values: Any, folder: Path) -> Path:
    """The folder that paths are relative to: that of the table, or the one in it that has the first file."""
    names = [name for name in map(_content, values) if isinstance(name, str)][:20]
    for place in (folder, *sorted(inner for inner in folder.iterdir() if inner.is_dir())):
        if any(os.path.isfile(place / name) for name in names):  # unlike Path.is_file it takes what may not be looked at, or is too long, for no file
            return place
    return folder


def _picture(value: Any, row: int, place: Path) -> Picture:
    content = None if _missing(value) else _content(value)
    if isinstance(content, str):
        return Picture(content, place / content)
    named = value.get(_PATH) if isinstance(value, dict) else None
    return Picture(named or row_name(row), content if isinstance(content, bytes) else None)


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _split_column(frame: pd.DataFrame, target: Sequence[str], path: Path) -> str | None:
    """The column that says which rows do what.

    Raises:
        DataError: it says so of some rows only.
    """
    for name in frame.columns:
        if str(name).lower() in _SPLITS and name not in target:
            kinds = [_role(value) for value in frame[name]]
            if 0 not in kinds or not {1, 2} & set(kinds):
                continue
            if None in kinds:
                row = kinds.index(None)
                mend = "Fill it in, drop these rows, or give the column another name."
                got = "nothing" if _missing(frame[name].iloc[row]) else repr(str(frame[name].iloc[row]))
                raise DataError(f"Expected train, val or test in every row of `{name}` in {str(path)!r}, got {got} in {row_name(row)}. {mend}")
            return str(name)
    return None


def _role(value: Any) -> int | None:
    """0 to learn from, 1 to validate, 2 to test."""
    text = str(value).strip().lower()
    return next((kind for kind, names in enumerate((LEARN, VALIDATE, TEST)) if text in names), None)


def _target(frame: pd.DataFrame, image: str, path: Path) -> str:
    """The column with the labels, where it is clear."""
    names = [str(name) for name in frame.columns]
    usual = [name for name in names if name.lower() in _USUAL]
    found = names if len(names) == 1 else usual
    if len(found) != 1:
        got = f"got {listing(names)} beside the images in `{image}`" if names else f"got none beside the images in `{image}`"
        mend = "Name one with --target." if names else "Add a column with the label of every image."
        raise DataError(f"Expected one column with labels in {str(path)!r}, {got}. {mend}")
    return found[0]


def _values(column: pd.Series) -> np.ndarray:
    """A column of labels as an array: numbers where all are known, else objects."""
    if pd.api.types.is_numeric_dtype(column) and not column.isna().any():
        return column.to_numpy(dtype=float if pd.api.types.is_float_dtype(column) else None)
    return column.astype(object).where(column.notna(), None).to_numpy(dtype=object)
