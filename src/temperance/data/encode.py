"""Turn a table into tensors: numbers that are filled, scaled and bounded, and codes of categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api import types
from torch import Tensor

from temperance.core.errors import DataError
from temperance.data.columns import Column, infer_columns, refuse_infinite, wrong_value
from temperance.data.messages import first, listing, row_name
from temperance.data.parse import days, levels, numbers
from temperance.data.read import read_table

MAX_LEVELS = 1000
LIMIT = 6.0


def bound(z: np.ndarray) -> np.ndarray:
    """Z / √(1 + (z / 6)²): close to z for ordinary values, below 6 in size for all.

    A value at three standard deviations becomes 2.68, and a single huge one cannot swamp a network.

    Example:
        >>> bound(np.array([-1.0, 3.0, 1e9])).round(2).tolist()
        [-0.99, 2.68, 6.0]
    """
    z = np.clip(z, -1e100, 1e100)
    return z / np.hypot(1.0, z / LIMIT)


@dataclass(frozen=True)
class NumberColumn:
    """A number or date column: ``bound((value - mean) / scale)``, with the median for a missing value.

    Attributes:
        name: label of the column.
        date: whether values are dates, counted as days since 1970-01-01.
        median: of the fitted rows.
        mean: of the fitted rows.
        scale: their standard deviation; 1 where that is 0.
        indicator: whether a second column says where the value is missing (some were, in the fitted rows).
    """

    name: str
    date: bool
    median: float
    mean: float
    scale: float
    indicator: bool

    @classmethod
    def fit(cls, column: Column, series: pd.Series) -> NumberColumn:
        date = column.kind == "date"
        values = _values(column.name, series, date)
        known = values[~np.isnan(values)]
        if not len(known):
            return cls(column.name, date, 0.0, 0.0, 1.0, True)
        largest = float(np.abs(known).max()) or 1.0  # as a unit, so that squares cannot overflow
        mean, spread = float(np.mean(known / largest) * largest), float(np.std(known / largest) * largest)
        scale = spread if np.isfinite(spread) and spread > 0 else 1.0
        return cls(column.name, date, float(np.median(known)), mean, scale, len(known) < len(values))

    def transform(self, series: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Scaled values and the mask of the missing ones."""
        values = _values(self.name, series, self.date)
        missing = np.isnan(values)
        with np.errstate(over="ignore"):
            z = (np.where(missing, self.median, values) - self.mean) / self.scale
        return bound(z), missing


@dataclass(frozen=True)
class CategoryColumn:
    """A category or boolean column as codes: 0 is missing or unseen, 1 is the first of ``levels``.

    Attributes:
        name: label of the column.
        boolean: whether true, True and 1 are one level.
        levels: names of the levels, sorted; the 1000 most frequent ones where there are more.
    """

    name: str
    boolean: bool
    levels: tuple[str, ...]

    @classmethod
    def fit(cls, column: Column, series: pd.Series) -> CategoryColumn:
        boolean = column.kind == "boolean"
        codes, names = levels(series, boolean)
        counts: dict[str, int] = {}
        for name, count in zip(names, np.bincount(codes[codes >= 0], minlength=len(names)).tolist(), strict=True):
            if count:
                counts[name] = counts.get(name, 0) + count
        frequent = sorted(counts, key=lambda name: (-counts[name], name))[:MAX_LEVELS]
        return cls(column.name, boolean, tuple(sorted(frequent)))

    def transform(self, series: pd.Series) -> np.ndarray:
        codes, names = levels(series, self.boolean)
        index = {name: code for code, name in enumerate(self.levels, start=1)}
        table = np.array([index.get(name, 0) for name in names] + [0], dtype=np.int64)
        out = table[codes]
        if names and not out.any():
            self._refuse_other_type(series, codes)
        return out

    def _refuse_other_type(self, series: pd.Series, codes: np.ndarray) -> None:
        """Only unseen values: fine for names, but numbers where all levels are words mean a wrong column."""
        numeric = types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)
        if numeric and self.levels and not any(name.lstrip("+-").replace(".", "", 1).isdigit() for name in self.levels):
            row = first(codes >= 0)
            got = f"got the number {series.iloc[row]} in {row_name(row)}"
            some = listing(self.levels, most=3)
            raise DataError(f"Expected categories such as {some} in column `{self.name}`, {got}. Check that the columns are those of the fitted table.")


class TableEncoder:
    """Encode tables as ``{"num": float32 (n, D), "cat": int64 (n, C)}``; both keys are always there, D or C may be 0.

    Numbers and dates are standardized and bounded (:class:`NumberColumn`); a column with missing values in the
    fitted rows adds a 0/1 column behind all numbers. Categories and booleans become codes (:class:`CategoryColumn`).
    Columns are found by name: their order does not matter and additional ones are not looked at. Arrays are taken by position.

    Attributes:
        columns: every column as understood, the ignored ones too.
        numeric: the fitted number columns.
        categorical: the fitted category columns.

    Example:
        >>> encoder = TableEncoder().fit({"age": [20.0, 30.0, 40.0, None], "job": ["cook", "smith", "cook", None]})
        >>> encoder.feature_names
        ('age', 'age is missing', 'job')
        >>> encoder.transform({"job": ["smith", "pilot"], "age": [30.0, None]})
        {'num': tensor([[0., 0.],
                [0., 1.]]), 'cat': tensor([[2],
                [0]])}
    """

    def __init__(self) -> None:
        self.columns: tuple[Column, ...] = ()
        self.numeric: tuple[NumberColumn, ...] = ()
        self.categorical: tuple[CategoryColumn, ...] = ()
        self.by_position = False

    def fit(self, frame: Any, *, ignore: Sequence[str] = (), columns: Sequence[Column] | None = None) -> TableEncoder:
        """Learn means, scales and levels: give it training rows only.

        Args:
            frame: anything that :func:`read_table` takes.
            ignore: columns to leave out.
            columns: the kinds, where they were decided before (on all rows); else they are inferred from ``frame``.

        Raises:
            DataError: see :func:`infer_columns`; or no column is left.
        """
        table = read_table(frame)
        self.by_position = _by_position(frame)
        self.columns = tuple(infer_columns(table, ignore) if columns is None else columns)
        _require(table, [column.name for column in self.columns if column.kind != "ignored"])
        self.numeric = tuple(NumberColumn.fit(column, table[column.name]) for column in self.columns if column.kind in ("number", "date"))
        self.categorical = tuple(CategoryColumn.fit(column, table[column.name]) for column in self.columns if column.kind in ("category", "boolean"))
        if not self.numeric and not self.categorical:
            reasons = "; ".join(f"`{column.name}` {column.notes}" for column in self.columns[:10])
            raise DataError(f"Expected at least one column to learn from, got none: {reasons}. Add columns that differ between rows.")
        return self

    def transform(self, frame: Any) -> dict[str, Tensor]:
        """Encode the rows of a table.

        Raises:
            DataError: missing columns, something else than a number in a number column, an infinite value.
        """
        table = read_table(frame)
        if self.by_position and _by_position(frame) and table.shape[1] != len(self.columns):
            raise DataError(f"Expected {len(self.columns)} columns as in the fitted table, got {table.shape[1]}. Give the same columns in the same order.")
        _require(table, [column.name for column in (*self.numeric, *self.categorical)])
        num = np.zeros((len(table), len(self.numeric_names)), np.float32)
        behind = len(self.numeric)
        for i, number in enumerate(self.numeric):
            num[:, i], missing = number.transform(table[number.name])
            if number.indicator:
                num[:, behind] = missing
                behind += 1
        cat = np.zeros((len(table), len(self.categorical)), np.int64)
        for i, category in enumerate(self.categorical):
            cat[:, i] = category.transform(table[category.name])
        return {"num": torch.from_numpy(num), "cat": torch.from_numpy(cat)}

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each category column, code 0 counted."""
        return tuple(len(column.levels) + 1 for column in self.categorical)

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the columns of ``num``."""
        return tuple(c.name for c in self.numeric) + tuple(f"{c.name} is missing" for c in self.numeric if c.indicator)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of ``num``, then of ``cat``."""
        return self.numeric_names + tuple(column.name for column in self.categorical)

    def to_dict(self) -> dict[str, Any]:
        """The encoder as plain values for JSON."""
        parts = {"columns": self.columns, "numeric": self.numeric, "categorical": self.categorical}
        out: dict[str, Any] = {key: [asdict(part) for part in value] for key, value in parts.items()}
        for category in out["categorical"]:
            category["levels"] = list(category["levels"])
        return {"by_position": self.by_position, **out}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TableEncoder:
        """The encoder of :meth:`to_dict`."""
        out = cls()
        out.by_position = bool(data["by_position"])
        out.columns = tuple(Column(**column) for column in data["columns"])
        out.numeric = tuple(NumberColumn(**column) for column in data["numeric"])
        out.categorical = tuple(CategoryColumn(c["name"], c["boolean"], tuple(c["levels"])) for c in data["categorical"])
        return out


def _values(name: str, series: pd.Series, date: bool) -> np.ndarray:
    values, wrong = (days if date else numbers)(series)
    if wrong.any():
        raise wrong_value(name, series, wrong, "date" if date else "number")
    refuse_infinite(name, values)
    return values


def _require(table: pd.DataFrame, names: list[str]) -> None:
    missing = [name for name in names if name not in table.columns]
    if missing:
        got = listing(table.columns)
        raise DataError(f"Expected the columns of the fitted table, {listing(missing)} missing; got {got}. Add or rename the columns.")


def _by_position(frame: Any) -> bool:
    return isinstance(frame, (np.ndarray, Tensor)) and not getattr(getattr(frame, "dtype", None), "names", None)
