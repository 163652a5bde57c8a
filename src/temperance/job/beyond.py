"""Tables that do not fit into memory: a part is drawn at random and held, the other rows are encoded onto a disk and only train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from temperance.core.errors import ConfigError, DataError
from temperance.data.batches import ROWS, Batches
from temperance.data.columns import Kind
from temperance.data.further import Further
from temperance.data.make import given_names, row_weights, target_columns
from temperance.data.read import decimal_commas, file_kind, read_cells, readable, sound
from temperance.data.target_values import label_codes
from temperance.job.sources import Rows, name_of
from temperance.train.ways import parse_memory

COPIES = 4  # of a table's cells, as numbers of 8 bytes, that are held at the same time while it is understood
SHARE = 4  # of the memory setting that the part in memory may take is one of so many
LEAST, MOST = 4_000, 250_000  # rows of that part
LEAST_BATCH = 1_024
_BUFFER = 1 << 20


@dataclass(frozen=True)
class Part:
    """Rows of a table that are held in memory.

    Attributes:
        path: of the table.
        table: the rows.
        places: where they are in the table, sorted.
        rows: of the whole table.
        batch: rows of it that are read at a time.
    """

    path: Path
    table: pa.Table
    places: np.ndarray
    rows: int
    batch: int


def drawn_part(source: Any, memory: str | int, seed: int) -> Part | None:
    """Some rows of a Parquet file, drawn at random, where the whole of it does not fit into the memory setting; else ``None``.

    Args:
        source: of rows.
        memory: the setting.
        seed: of the draw.

    Raises:
        DataError: a file that cannot be read.
    """
    if not isinstance(source, (str, Path)) or Path(source).expanduser().is_dir() or Path(source).suffix.lower() not in (".parquet", ".pq"):
        return None
    path, most = Path(source).expanduser(), parse_memory(memory)
    if file_kind(path) != "parquet":
        return None
    with readable(path):
        facts = pq.read_metadata(path)
        written = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
        each = COPIES * max(8 * facts.num_columns, written // max(1, facts.num_rows))
        count = int(np.clip(most // SHARE // each, LEAST, MOST))
        if facts.num_rows * each <= most or facts.num_rows <= count:
            return None
        batch = int(np.clip(most // (4 * SHARE) // each, LEAST_BATCH, ROWS))
        places = _places(facts.num_rows, count, seed)
        return Part(path, _taken(path, places, batch), places, facts.num_rows, batch)


def _places(rows: int, count: int, seed: int) -> np.ndarray:
    """Different places out of so many, sorted, without a list of all."""
    draw = np.random.default_rng([seed, 4])
    found = np.empty(0, np.int64)
    while len(found) < count:
        found = np.unique(np.concatenate([found, draw.integers(0, rows, count)]))
    return np.sort(draw.choice(found, count, replace=False))


def _taken(path: Path, places: np.ndarray, batch: int) -> pa.Table:
    """The rows at these places."""
    parts: list[pa.RecordBatch] = []
    start = 0
    with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
        for rows in file.iter_batches(batch_size=batch):
            inside = places[np.searchsorted(places, start) : np.searchsorted(places, start + len(rows))] - start
            if len(inside):
                sound(pa.Table.from_batches([rows]))
                parts.append(rows.take(pa.array(inside)))
            start += len(rows)
    return pa.Table.from_batches(parts)


def with_further(
    rows: Rows, part: Part, target: str | Sequence[str] | None, *, weight: str | None, seed: int, room: str | Path, told: Callable[[float], None] | None = None
) -> Rows:
    """The rows of a part, understood and split, and beside them the other rows of the table, encoded onto a disk.

    Args:
        rows: of the part.
        part: the part.
        target: the column to predict, or several.
        weight: the column with weights.
        seed: of the order of the other rows.
        room: a folder on the disk that takes them.
        told: hears the share of the table that is encoded.

    Raises:
        ConfigError: the disk has no room.
        DataError: a cell that cannot be encoded.
    """
    assert isinstance(rows.data.x, dict) and isinstance(rows.data.y, Tensor)
    targets = given_names(target or ())
    names = targets + given_names(weight or ())
    encoder: Any = rows.encoder
    kinds: dict[str, Kind] = {**encoder.kinds, **dict.fromkeys(names, "category")}
    held = len(rows.split.folds[0][0])
    further = Further(rows.data.x, rows.data.y, rows=part.rows - len(part.places), window=held, seed=seed, folder=room)
    commas = decimal_commas(read_cells(part.table, na=encoder.na)[0])
    batches = Batches(part.path, kinds, rows=part.batch, na=encoder.na)
    for frame in batches:
        start, count = int(frame.index[0]), len(frame)
        inside = part.places[np.searchsorted(part.places, start) : np.searchsorted(part.places, start + count)] - start
        others = frame.drop(index=frame.index[inside])
        if len(others):
            _add(further, rows, others, targets, given_names(weight or ()), commas)
        if told is not None:
            told(batches.done)
    unused = part.rows - len(part.places) - len(further)
    rows.data = replace(rows.data, further=further)
    rows.title = rows.title.rpartition(" in ")[0] + f" in {name_of(part.path)}"
    rows.notes += _said(rows, part, further, held, unused)
    return rows


def _add(further: Further, rows: Rows, frame: pd.DataFrame, targets: Sequence[str], weight: Sequence[str], commas: bool) -> None:
    """Encode the rows that have a target that is known from the part."""
    start = int(frame.index[0])
    try:
        text = rows.target.task == "classification" and rows.target.label_type == "str"  # a batch of other text alone is text all the same
        values = frame[targets[0]] if text else target_columns(frame, targets, commas)
        known = frame[list(targets)].notna().all(axis=1).to_numpy()
        if rows.target.task == "classification":
            codes, labels = label_codes(values, rows.target.name, rows.target.label_type)
            classes = set(rows.target.classes)
            known = known & np.array([label in classes for label in labels] + [False])[codes]
        frame, values = frame[known], values[known]
        if not len(frame):
            return
        y = rows.target.encode(values)[0]
        weights = row_weights(frame[weight[0]], len(frame), weight[0], some=False) if weight else None
    except DataError as error:
        raise DataError(f"{error} These rows are counted from row {start + 1:,} of the table on.") from error
    encoder: Any = rows.encoder
    further.add(encoder.encode(frame), y, weights)


def _said(rows: Rows, part: Part, further: Further, held: int, unused: int) -> list[str]:
    """What is to be said of where the rows are."""
    said = [
        f"{part.rows:,} rows do not fit into --memory: {len(part.places):,} drawn at random are in memory, and from these scales, levels, test and validation "
        f"rows come; the others only train, read from {further.size / 1e9:.2g} GB on the disk; an epoch is a pass over {held:,} rows"
    ]
    if unused:
        said.append(f"{unused:,} rows on the disk are left out: they have no target, or a class that no row in memory has")
    return said


def refuse_apart(part: Part, group: str | None, time: str | None) -> None:
    """Rows that stay together, or are split by time, have to be in memory.

    Raises:
        ConfigError: there are such rows.
    """
    for option, name in (("group", group), ("time", time)):
        if name is not None:
            mend = "Give more --memory, or fewer rows."
            raise ConfigError(f"Expected no `--{option}` for a table that does not fit into --memory ({part.rows:,} rows), got {name!r}. {mend}")
