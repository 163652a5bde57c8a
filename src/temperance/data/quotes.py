"""Quotes in delimited text that were not meant: one that stays open, and a pair that swallows the lines between."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from temperance.core.errors import DataError
from temperance.data.cells import MISSING

if TYPE_CHECKING:
    from temperance.data.text import Head

MANY_LINES = 3  # in a cell, beyond which the number of their fields is enough
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?")
pc: Any = compute  # its functions are made at run time


def refuse_open_quote(table: pa.Table, quotes: int, path: Path, head: Head, lines: int) -> None:
    """A quote without its second swallows all lines behind it into the last row."""
    if table.num_rows == 0 or quotes % 2 == 0:
        return
    for field in table.column_names:
        cell = table.column(field)[-1].as_py()
        if isinstance(cell, str) and "\n" in cell:
            start = cell.splitlines()[0][:60]
            hint = "Close the quote, or write it twice inside a quoted value."
            line = lines + 1 - sum((other[-1].as_py() or "").count("\n") for other in table.columns)
            place = f"column `{head.names[int(field)]}`, line {line}, from {start!r} on"
            raise DataError(f"Expected every quote in {str(path)!r} to be closed, got one that stays open in {place}. {hint}")


def open_quote(path: Path, line: int) -> DataError:
    """The error for a quote that swallows lines."""
    mend = "Remove the quote, close it, or write it twice inside a quoted value."
    return DataError(f"Expected every line of {str(path)!r} to be a row, got a quote in line {line} that swallows the lines behind it. {mend}")


def longest_quote(lines: Iterable[str]) -> int:
    """The line from which on a quote stays open for the most lines.

    Example:
        >>> longest_quote(['a,b', '1,"x', '2,y', '3,"z', '4,w'])
        2
    """
    best, span, begin, inside, number = 1, -1, 0, False, 0
    for number, line in enumerate(lines, start=1):
        if line.count('"') % 2:
            inside = not inside
            if inside:
                begin = number
            elif number - begin > span:
                best, span = begin, number - begin
    return begin if inside and number - begin > span else best


def refuse_swallowed(table: pa.Table, head: Head, path: Path, rows: int, breaks: int) -> int:
    """Refuse a cell that holds whole lines of the table, as a quote leaves it that was opened by mistake and closed by another.

    Args:
        table: rows as text, all columns of the file.
        head: of the file.
        path: of the file.
        rows: that were read before.
        breaks: line breaks inside their cells.

    Returns:
        the line breaks inside cells up to here.

    Raises:
        DataError: a cell with line breaks in it, every line of which has as many fields as the header: of a few lines, fields such as the other rows
            have them (:class:`Usual`).
    """
    if head.single:
        return breaks
    broken = {field: pc.match_substring(table.column(field), "\n") for field in table.column_names}
    broken = {field: mask for field, mask in broken.items() if pc.any(mask).as_py()}
    if not broken:
        return breaks
    any_broken = np.logical_or.reduce([np.asarray(mask.fill_null(False)) for mask in broken.values()])
    usual = [Usual.of(table.column(field), any_broken) for field in table.column_names]
    numeric = [i for i, field in enumerate(table.column_names) if field not in broken and usual[i].numeric]
    for row in np.flatnonzero(any_broken).tolist():
        cells = [table.column(field)[row].as_py() or "" for field in table.column_names]
        lines = head.delimiter.join(cells).split("\n")
        whole = [fields for fields in (line.split(head.delimiter) for line in lines) if len(fields) == len(head.names)]
        if len(lines) > MANY_LINES:
            found = sum(all(_numeric(fields[i]) for i in numeric) for fields in whole) > 0.8 * len(lines)
        elif numeric:
            found = len(whole) == len(lines) and all(_numeric(fields[i]) for fields in whole for i in numeric)
        else:
            found = len(whole) == len(lines) and all(kind.has(cell) for fields in whole for kind, cell in zip(usual, fields, strict=True))
        if found:
            raise open_quote(path, head.skipped + 2 + rows + row + breaks)
        breaks += len(lines) - 1
    return breaks


@dataclass(frozen=True)
class Usual:
    """What the cells of a column look like in the rows without line breaks.

    Attributes:
        numeric: whether all are numbers.
        names: the cells, where they repeat.
        shortest: characters of the shortest cell.
        longest: and of the longest; below ``shortest`` where there is no cell to compare with.
        padded: whether one begins with a blank, as what follows a comma in a sentence does.
    """

    numeric: bool
    names: frozenset[str]
    shortest: int
    longest: int
    padded: bool

    @classmethod
    def of(cls, column: pa.ChunkedArray, broken: np.ndarray) -> Usual:
        cells = [cell or "" for cell in column.filter(pa.array(~broken)).slice(0, 1000).to_pylist()]
        known = [cell for cell in cells if cell and cell.strip() not in MISSING]
        names = frozenset(known)
        lengths = [len(cell) for cell in known]
        repeat = names if len(names) <= 0.5 * len(known) else frozenset[str]()
        padded = any(cell[:1].isspace() for cell in known)
        return cls(bool(known) and all(map(_numeric, known)), repeat, min(lengths, default=1), max(lengths, default=0), padded)

    def has(self, cell: str) -> bool:
        """Whether a cell could be one of them."""
        if self.numeric or not cell or cell.strip() in MISSING:
            return not self.numeric or _numeric(cell)
        if self.names:
            return cell in self.names
        return self.shortest <= len(cell) <= self.longest and (self.padded or not cell[0].isspace())


def _numeric(cell: str) -> bool:
    return _NUMBER.fullmatch(cell.strip().strip('"')) is not None or cell.strip() in MISSING
