"""Turn a table into tensors: numbers that are filled, scaled and bounded, and codes of categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from temperance.core.errors import DataError
from temperance.data.batches import ROWS, Batches, require
from temperance.data.cells import MISSING, named_markers
from temperance.data.columns import Column, Kind, infer_columns, refuse_infinite, wrong_value
from temperance.data.date_text import Order
from temperance.data.messages import first, listing, row_name
from temperance.data.number_text import PLAIN, NumberFormat, is_number
from temperance.data.parse import days, levels, numbers, rewritten
from temperance.data.plain import level_name
from temperance.data.read import read_cells
from temperance.data.seen import Seen

MAX_LEVELS = 1000
CACHED = 1 << 15  # numbers scaled at once: 256 KiB
LIMIT = 4.0
NORMAL = 1.349  # interquartile range of a standard normal distribution
DOMINANT = 0.3  # share of rows with one value, from which the rest of a column is a matter of its own
OFTEN = 10  # rows that share a value which is told apart
FEW, MOST_OFTEN = 4, 60  # such values of a column
DISTINCT = 24  # values of a column, up to which bins tell them apart
SINGLE = 1e-7  # relative distance of a number from the nearest one in single precision, at most
EARLIER: dict[str, Any] = {"limit": 6.0}  # of encoders saved before the limit was


def bound(z: np.ndarray, limit: float | np.ndarray = LIMIT) -> np.ndarray:
    """Z / √(1 + (z / limit)²): close to z for ordinary values, below the limit in size for all.

    A value at three scales becomes 2.4, and a single huge one cannot swamp a network.

    Example:
        >>> bound(np.array([-1.0, 3.0, 1e9])).round(2).tolist()
        [-0.97, 2.4, 4.0]
    """
    z = np.clip(z, -1e100, 1e100)
    part = z / limit
    return z / np.sqrt(part * part + 1.0)


def _spread(values: np.ndarray, middle: float) -> float:
    """The scale of most values, whatever the others are."""
    for some in (values, values[values != middle]):
        first, third = np.quantile(some, (0.25, 0.75)) if len(some) else (0.0, 0.0)
        if third > first:
            return float(third - first) / NORMAL
    return float(values.max() - values.min()) / 2


def _often(known: np.ndarray) -> tuple[float, ...]:
    """The values that are told apart, where one value is that of many rows, half of the others share theirs, and rarer values lie between these.

    Example:
        >>> gain = np.repeat([0.0, 3103.0, 5178.0, 7688.0, 15024.0], [200, 10, 12, 30, 40])
        >>> _often(np.append(gain, np.arange(50.0, 80.0)))
        (0.0, 3103.0, 5178.0, 7688.0, 15024.0)
        >>> _often(np.arange(1000.0) // 10)
        ()
    """
    places = np.arange(0, len(known), max(1, int(DOMINANT * len(known))))  # a value of so many rows stands at one of them
    if max(np.count_nonzero(known == value) for value in np.partition(known, places)[places]) < DOMINANT * len(known):
        return ()
    values, counts = np.unique(known, return_counts=True)
    shared, most = np.flatnonzero(counts >= OFTEN), counts.max()
    if len(values) <= DISTINCT or len(shared) < FEW or 2 * (counts[shared].sum() - most) < len(known) - most:
        return ()
    if shared[-1] - shared[0] + 1 < 2 * len(shared):  # they have no rarer ones between them, as counts have: bins tell them apart
        return ()
    kept = shared[np.argsort(-counts[shared], kind="stable")[:MOST_OFTEN]]
    return tuple(values[np.sort(kept)].tolist())


@dataclass(frozen=True)
class NumberColumn:
    """A number or date column: ``bound((value - mean) / scale, limit)``, with the median for a missing value.

    The middle and the scale are those of most rows, so that a long tail does not press the others together: the median, and the interquartile
    range over that of a normal distribution. Where half of the rows share one value, the other rows give the range; where these share one too,
    half of the distance between the smallest and the largest value is the scale.

    Where one value is that of many rows, often zero, single other values may mean something of their own: of the capital gains in tax data,
    3,103 goes with high incomes and 3,137 with low ones. No smooth function of the number tells them apart. So such a column is a number, and
    a code of its frequent values too.

    Attributes:
        name: label of the column.
        date: whether values are dates, counted as days since 1970-01-01.
        median: of the fitted rows.
        mean: the middle that is subtracted: the median (the mean in encoders saved by earlier versions).
        scale: in units of a standard deviation of normal values; 1 where all rows are alike.
        indicator: whether a second column says where the value is missing (some were, in the fitted rows).
        form: how numbers are written where they are text.
        order: of day and month, where dates are text that is not in ISO 8601.
        limit: of :func:`bound`.
        often: frequent values that have a code, in order; none in most columns.

    Source:
        Holzmüller, Grinsztajn and Steinwart, *Better by default* (2024), for the robust scale and the smooth bound.
    """

    name: str
    date: bool
    median: float
    mean: float
    scale: float
    indicator: bool
    form: NumberFormat = PLAIN
    order: Order = ""
    limit: float = LIMIT
    often: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "often", tuple(self.often))  # a list, out of JSON

    @classmethod
    def fit(cls, column: Column, series: pd.Series) -> NumberColumn:
        date = column.kind == "date"
        ways: tuple[NumberFormat, Order] = (column.form, column.order)
        values = cls(column.name, date, 0.0, 0.0, 1.0, False, *ways).values(series)
        refuse_infinite(column.name, values, series.index)
        known = values[~np.isnan(values)]
        if not len(known):
            return cls(column.name, date, 0.0, 0.0, 1.0, True, *ways)
        quarters = known / 4  # differences of these cannot overflow
        middle = float(np.median(quarters))
        scale = 4 * _spread(quarters, middle)
        scale = scale if np.isfinite(scale) and scale > 0 else 1.0
        return cls(column.name, date, 4 * middle, 4 * middle, scale, len(known) < len(values), *ways, often=() if date else _often(known))

    def codes(self, values: np.ndarray) -> np.ndarray:
        """The place of each value among the frequent ones, from 1 on; 0 for others and for missing ones. A value in single precision is the same."""
        often = np.array(self.often)
        place = np.searchsorted(often[:-1] / 2 + often[1:] / 2, values)
        return np.where(np.isclose(often[place], values, rtol=SINGLE, atol=0.0), place + 1, 0)

    def values(self, series: pd.Series) -> np.ndarray:
        """The column as float64, missing values as NaN."""
        values, wrong = days(series, self.order) if self.date else numbers(series, self.form)
        if wrong.any():
            raise wrong_value(self.name, series, wrong, "date" if self.date else "number", form=self.form, order=self.order, fitted=True)
        return values


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

    def transform(self, series: pd.Series, check: bool = True) -> np.ndarray:
        """The codes; a number written otherwise (3.0 for 3) is the same level.

        Args:
            series: a plain column.
            check: refuse a column that holds numbers only, where all levels are words.
        """
        codes, names = levels(series, self.boolean)
        index = {name: code for code, name in enumerate(self.levels, start=1)}
        table = np.array([index.get(name) or index.get(rewritten(name, self.boolean), 0) for name in names] + [0], dtype=np.int64)
        out = table[codes]
        if check and names and not out.any():
            self._refuse_other_type(series, codes, names)
        return out

    def _refuse_other_type(self, series: pd.Series, codes: np.ndarray, names: Sequence[str]) -> None:
        """Only unseen values: fine for names, but numbers where all levels are words mean a wrong column."""
        words = self.levels and not any(map(is_number, self.levels))
        if not words or isinstance(series.dtype, pd.StringDtype) or not all(map(is_number, names)):
            return
        row = first(codes >= 0)
        got = f"got the number {level_name(series.iloc[row])} in {row_name(series.index[row])}"
        some = listing(self.levels, most=3)
        raise DataError(f"Expected categories such as {some} in column `{self.name}`, {got}. Check that the columns are those of the fitted table.")


class TableEncoder:
    """Encode tables as ``{"num": float32 (n, D), "cat": int64 (n, C)}``; both keys are always there, D or C may be 0.

    Numbers and dates are scaled and bounded (:class:`NumberColumn`); a column with missing values in the
    fitted rows adds a 0/1 column behind all numbers. Categories and booleans become codes (:class:`CategoryColumn`), and behind them stand
    those of the frequent values of numbers.
    Columns are found by name: their order does not matter and additional ones are not looked at. Arrays are taken by position.

    Attributes:
        columns: every column as understood, the ignored ones too.
        numeric: the fitted number columns.
        categorical: the fitted category columns.
        seen: what the fitted rows held in these, by name.
        na: the named markers of missing values, ``None`` for the usual ones.

    Example:
        >>> encoder = TableEncoder().fit({"age": [20.0, 30.0, 40.0, None], "job": ["cook", "smith", "cook", None]})
        >>> encoder.numeric_names
        ('age', 'age is missing')
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
        self.na: tuple[str, ...] | None = None
        self.seen: dict[str, Seen] = {}

    def fit(
        self,
        frame: Any,
        *,
        ignore: Sequence[str] = (),
        columns: Sequence[Column] | None = None,
        na: str | Sequence[str] | None = None,
        dates: str | None = None,
        keep: Sequence[str] = (),
    ) -> TableEncoder:
        """Learn middles, scales and levels: give it training rows only.

        Args:
            frame: anything that :func:`read_table` takes.
            ignore: columns to leave out.
            columns: the kinds, where they were decided before (on all rows); else they are inferred from ``frame``.
            na: cells that count as missing, as in :func:`read_table`, here and in :meth:`transform`.
            dates: as in :func:`infer_columns`.
            keep: as in :func:`infer_columns`.

        Raises:
            DataError: see :func:`infer_columns`; or no column is left.
        """
        self.na = named_markers(na)
        table = read_cells(frame, na=self.na)[0]
        self.by_position = _by_position(frame)
        self.columns = tuple(infer_columns(table, ignore, keep=keep, dates=dates) if columns is None else columns)
        require(list(table.columns), [column.name for column in self.columns if column.kind != "ignored"])
        self.numeric = tuple(NumberColumn.fit(column, table[column.name]) for column in self.columns if column.kind in ("number", "date"))
        self.categorical = tuple(CategoryColumn.fit(column, table[column.name]) for column in self.columns if column.kind in ("category", "boolean"))
        self.seen = {column.name: Seen.of_numbers(column, table[column.name]) for column in self.numeric}
        self.seen |= {column.name: Seen.of_levels(column, table[column.name]) for column in self.categorical}
        if not self.numeric and not self.categorical:
            reasons = "; ".join(f"`{column.name}` {column.notes}" for column in self.columns[:10])
            raise DataError(f"Expected at least one column to learn from, got none: {reasons}. Add columns that differ between rows.")
        return self

    def transform(self, frame: Any) -> dict[str, Tensor]:
        """Encode the rows of a table. A file is read by the kinds of the fitted columns, whatever its values look like.

        Raises:
            DataError: missing columns, something else than a number in a number column, an infinite value.
        """
        if isinstance(frame, (str, PathLike)):
            parts = [self.encode(rows) for rows in self.batches(frame)]
            return {key: torch.cat([part[key] for part in parts]) for key in ("num", "cat")}
        table = read_cells(frame, na=self.na)[0]
        if self.by_position and _by_position(frame) and table.shape[1] != len(self.columns):
            raise DataError(f"Expected {len(self.columns)} columns as in the fitted table, got {table.shape[1]}. Give the same columns in the same order.")
        return self.encode(table)

    def batches(self, path: str | PathLike[str], *, rows: int = ROWS, what: str = "data") -> Batches:
        """The rows of a file a batch at a time, for :meth:`encode`; see :class:`Batches`."""
        names = {level for column in self.categorical for level in column.levels}
        written = {column.name for column in self.numeric if column.form != PLAIN}
        return Batches(path, self.kinds, rows=rows, what=what, written=written, na=self.na, levels=names.intersection(MISSING))

    def encode(self, table: pd.DataFrame) -> dict[str, Tensor]:
        """Encode rows that are in plain form already, such as a batch; the index numbers them in messages.

        Raises:
            DataError: as :meth:`transform`.
        """
        require(list(table.columns), list(self.kinds))
        cat = np.zeros((len(table), len(self.cardinalities)), np.int64)
        num = self._numbers(table)
        beginning = len(table) > 0 and table.index[0] == 0  # later rows may well hold no value that was seen
        for i, category in enumerate(self.categorical):
            cat[:, i] = category.transform(table[category.name], beginning)
        for i, column in enumerate(self.coded, start=len(self.categorical)):
            cat[:, i] = column.codes(column.values(table[column.name]))
        return {"num": torch.from_numpy(num), "cat": torch.from_numpy(cat)}

    def _numbers(self, table: pd.DataFrame) -> np.ndarray:
        """All number columns, some rows at a time so that the passes over them stay in the cache."""
        n, width = len(table), len(self.numeric)
        out = np.zeros((n, len(self.numeric_names)), np.float32)
        names = [column.name for column in self.numeric]
        median, mean, scale, limit = (np.array([getattr(column, key) for column in self.numeric]) for key in ("median", "mean", "scale", "limit"))
        gaps = [i for i, column in enumerate(self.numeric) if column.indicator]
        same = names == list(table.columns) and all(dtype == np.float64 for dtype in table.dtypes) and not any(column.date for column in self.numeric)
        whole = table.to_numpy() if same else None
        columns = [] if same else [column.values(table[column.name]) for column in self.numeric]
        step = max(1, CACHED // max(1, width))
        for a in range(0, n if width else 0, step):
            z = np.array(whole[a : a + step]) if whole is not None else np.stack([column[a : a + step] for column in columns], axis=1)
            if not np.isfinite(z).all():
                if np.isinf(z).any():
                    for column in self.numeric:
                        refuse_infinite(column.name, column.values(table[column.name]), table.index)
                missing = np.isnan(z)
                np.copyto(z, median, where=missing)
                out[a : a + step, width:] = missing[:, gaps]
            with np.errstate(over="ignore"):
                z -= mean
                z /= scale
            out[a : a + step, :width] = bound(z, limit)
        return out

    @property
    def kinds(self) -> dict[str, Kind]:
        """What the columns that are used are taken for, by name."""
        out: dict[str, Kind] = {column.name: "date" if column.date else "number" for column in self.numeric}
        out.update({column.name: "boolean" if column.boolean else "category" for column in self.categorical})
        return out

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each column of ``cat``, code 0 counted."""
        return tuple(len(levels) + 1 for _, levels in self.levels)

    @property
    def coded(self) -> tuple[NumberColumn, ...]:
        """The numbers whose frequent values have a code."""
        return tuple(column for column in self.numeric if column.often)

    @property
    def levels(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Name and levels of each column of ``cat``."""
        categories = tuple((column.name, column.levels) for column in self.categorical)
        return categories + tuple((column.name, tuple(f"{value:.15g}" for value in column.often)) for column in self.coded)

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """Names of the columns of ``num``."""
        return tuple(c.name for c in self.numeric) + tuple(f"{c.name} is missing" for c in self.numeric if c.indicator)

    def to_dict(self) -> dict[str, Any]:
        """The encoder as plain values for JSON."""
        parts = {"columns": self.columns, "numeric": self.numeric, "categorical": self.categorical}
        out: dict[str, Any] = {key: [asdict(part) for part in value] for key, value in parts.items()}
        for category in out["categorical"]:
            category["levels"] = list(category["levels"])
        for column in out["numeric"]:
            column["often"] = list(column["often"])
        return {
            "by_position": self.by_position,
            "na": None if self.na is None else list(self.na),
            "seen": {name: asdict(seen) for name, seen in self.seen.items()},
            **out,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TableEncoder:
        """The encoder of :meth:`to_dict`."""
        out = cls()
        out.by_position = bool(data["by_position"])
        out.na = None if data.get("na") is None else tuple(data["na"])
        out.seen = {name: Seen(**shares) for name, shares in data.get("seen", {}).items()}
        out.columns = tuple(Column(**_with_form(column)) for column in data["columns"])
        out.numeric = tuple(NumberColumn(**EARLIER | _with_form(column)) for column in data["numeric"])
        out.categorical = tuple(CategoryColumn(c["name"], c["boolean"], tuple(c["levels"])) for c in data["categorical"])
        return out


def _with_form(column: dict[str, Any]) -> dict[str, Any]:
    return {**column, "form": NumberFormat(**column.get("form", {}))}


def _by_position(frame: Any) -> bool:
    return isinstance(frame, (np.ndarray, Tensor)) and not getattr(getattr(frame, "dtype", None), "names", None)
