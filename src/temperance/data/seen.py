"""What training rows held in each column, and whether new rows can be of their kind: a whole column missing, unseen or constant is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from temperance.data.messages import listing
from temperance.data.plain import level_name

if TYPE_CHECKING:
    from temperance.data.encode import CategoryColumn, NumberColumn, TableEncoder

RARE = 1e-3  # what rows like those of training would show less often is told


@dataclass(frozen=True)
class Seen:
    """Shares of the fitted rows of a column.

    Attributes:
        missing: without a value.
        common: of the known ones, that hold the most frequent value; for numbers at least a half.
        new: of the known ones, whose level occurs once or is none of the kept ones: about the chance that another row has a new level
            (Good and Turing).
    """

    missing: float
    common: float
    new: float = 0.0

    @classmethod
    def of_numbers(cls, column: NumberColumn, series: pd.Series) -> Seen:
        """The median is the most frequent value if more than half of the rows have it; that spares a count of all values."""
        values = column.values(series)
        known = values[~np.isnan(values)]
        if not len(known):
            return cls(1.0, 1.0)
        return cls(1.0 - len(known) / len(values), max(0.5, float((known == column.median).mean())))

    @classmethod
    def of_levels(cls, column: CategoryColumn, series: pd.Series) -> Seen:
        codes = column.transform(series, check=False)
        known = int(series.notna().sum())
        counts = np.bincount(codes, minlength=len(column.levels) + 1)[1:]
        if not known or not len(counts):
            return cls(1.0, 1.0, 1.0)
        return cls(1.0 - known / len(series), float(counts.max()) / known, (int((counts == 1).sum()) + known - int(counts.sum())) / known)


@dataclass
class _State:
    column: Any
    known: int = 0
    met: bool = False  # a level of training
    first: Any = None  # value as the model reads it
    value: Any = None  # as it is written
    varied: bool = False


@dataclass
class Watch:
    """Looks at batches of rows until every column has shown that it is as in training.

    Example:
        >>> from temperance.data import TableEncoder
        >>> encoder = TableEncoder().fit({"age": [20.0, 30.0] * 20, "job": ["cook", "smith"] * 20})
        >>> watch = Watch(encoder)
        >>> watch.look(pd.DataFrame({"age": [None] * 20, "job": ["pilot"] * 20}))
        >>> for text in watch.notes():
        ...     print(text)
        `age` has no value in any of 20 rows, though it had in training: the model fills it in; check the column
        `job` has values that were never there in training, such as 'pilot', in all of 20 rows: the model takes them for missing; check how they are written
    """

    encoder: TableEncoder
    rows: int = 0
    _open: list[_State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open = [_State(column) for column in (*self.encoder.numeric, *self.encoder.categorical)]

    def look(self, table: pd.DataFrame) -> None:
        """Take the rows of a batch in plain form into account."""
        self.rows += len(table)
        for state in self._open:
            series = table[state.column.name]
            known = series[series.notna().to_numpy()]
            state.known += len(known)
            if len(known):
                (_look_at_numbers if hasattr(state.column, "median") else _look_at_levels)(state, known)
        self._open = [state for state in self._open if not state.varied]

    def notes(self) -> list[str]:
        """A sentence for each column that is not as in training, by the kind of difference."""
        missing: list[str] = []
        unseen: list[str] = []
        constant: list[str] = []
        for state in self._open:
            seen = self.encoder.seen.get(state.column.name)
            if seen is None:  # a model of an earlier version
                continue
            name = f"`{state.column.name}`"
            if not state.known:
                if seen.missing**self.rows < RARE:
                    missing.append(name)
            elif not state.met:
                if seen.new**state.known < RARE:
                    unseen.append(f"{name} has values that were never there in training, such as {str(state.value)[:40]!r}, in all of {state.known:,} rows")
            elif seen.common ** (state.known - 1) < RARE:
                value = str(state.value)[:40]
                constant.append(f"{name} is {value if hasattr(state.column, 'median') else repr(value)} in all of {state.known:,} rows")
        out = [f"{text}: the model takes them for missing; check how they are written" for text in _few(unseen, "have unseen values only")]
        out += [f"{text}, though it varied in training: check the column" for text in _few(constant, "hold one value only")]
        if missing:
            has, it = ("has", "it") if len(missing) == 1 else ("have", "they")
            which = listing([name.strip("`") for name in missing])
            them = "it" if it == "it" else "them"
            said = f"{which} {has} no value in any of {self.rows:,} rows, though {it} had in training: the model fills {them} in"
            out.insert(0, f"{said}; check the {'column' if it == 'it' else 'columns'}")
        return out


def _few(texts: Sequence[str], also: str, most: int = 5) -> list[str]:
    """The first texts, the last of them with how many more there are."""
    if len(texts) <= most:
        return list(texts)
    return [*texts[: most - 1], f"{texts[most - 1]}, and {len(texts) - most} more columns {also}"]


def _look_at_numbers(state: _State, known: pd.Series) -> None:
    _compare(state, state.column.values(known), known)
    state.met = True


def _look_at_levels(state: _State, known: pd.Series) -> None:
    codes = state.column.transform(known, check=False)
    if codes.any():
        _compare(state, codes, known[codes > 0] if not state.met else known)
        state.met = True
    elif state.met:
        state.varied = True
    elif state.value is None:
        state.value = level_name(known.iloc[0])


def _compare(state: _State, values: np.ndarray, known: pd.Series) -> None:
    """Whether the values, as the model reads them, differ from one another or from the earlier ones."""
    if not state.met:
        state.first, state.value = values[values != 0][0] if values.dtype == np.int64 else values[0], level_name(known.iloc[0])
    state.varied = bool((values != state.first).any())
