"""What each column of a table is: a number, a category, a date, a boolean, or nothing to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from temperance.core.errors import DataError
from temperance.data.messages import first, ignore_hint, listing, near, row_name
from temperance.data.parse import days, distinct, levels, numbers
from temperance.data.plain import level_name, plain_frame

Kind = Literal["number", "category", "date", "boolean", "ignored"]
MOSTLY = 0.9  # from this share of numbers (dates) on, any other text is taken for a mistake and not for a level
UNIQUE = 0.95  # above this share of distinct texts a column names its rows
UNIQUE_ROWS = 50


@dataclass(frozen=True)
class Column:
    """One column as understood.

    Attributes:
        name: its label.
        kind: how it is used.
        notes: why, where that is not plain to see.
        n_missing: rows without a value.
        n_unique: distinct values, missing not counted.
        example: the first value, as text.
    """

    name: str
    kind: Kind
    notes: str
    n_missing: int
    n_unique: int
    example: str


def infer_columns(frame: pd.DataFrame, ignore: Sequence[str] = ()) -> list[Column]:
    """Decide the kind of every column.

    Integers, floats and text that is all numbers are numbers; datetimes and text in ISO 8601 are dates; everything else is a category,
    up to text that is different in almost every row (above 95 % of more than 50). Columns without any value, with one value only and
    without gaps, or named in ``ignore`` are ignored, each with its reason.

    Args:
        frame: the table.
        ignore: names of columns to leave out.

    Raises:
        DataError: a name in ``ignore`` that is no column; an infinite value; a few texts in a column of numbers or dates; values that
            are no single value, such as lists.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": [31, 47], "job": ["cook", "smith"], "born": ["1990-02-01", None], "unit": ["cm", "cm"]})
        >>> [(column.name, column.kind) for column in infer_columns(frame)]
        [('age', 'number'), ('job', 'category'), ('born', 'date'), ('unit', 'ignored')]
    """
    ignore = [ignore] if isinstance(ignore, str) else list(ignore)
    frame = plain_frame(frame)
    for name in ignore:
        if name not in frame.columns:
            raise DataError(f"Expected `ignore` to name columns of the table, got {name!r}. {near(name, list(frame.columns))}")
    return [_infer(name, frame[name], name in ignore) for name in frame.columns]


def describe_columns(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The columns as rows of a table, for people to check.

    Example:
        >>> describe_columns([Column("age", "number", "", 2, 40, "31")])
        [{'column': 'age', 'kind': 'number', 'missing': 2, 'distinct': 40, 'example': '31', 'notes': ''}]
    """
    return [{"column": c.name, "kind": c.kind, "missing": c.n_missing, "distinct": c.n_unique, "example": c.example, "notes": c.notes} for c in columns]


def _infer(name: str, series: pd.Series, asked: bool) -> Column:
    missing = series.isna().to_numpy()
    known = len(series) - int(missing.sum())
    example = level_name(series.iloc[first(~missing)]) if known else ""
    try:
        n_unique = len(distinct(series)[1])
    except TypeError:  # lists and other values without a hash
        n_unique = known

    def column(kind: Kind, notes: str = "") -> Column:
        return Column(name, kind, notes, len(series) - known, n_unique, example[:60])

    if asked:
        return column("ignored", "left out on request")
    if known == 0:
        return column("ignored", "has no values")
    _refuse_objects(name, series, example)
    if types.is_numeric_dtype(series.dtype):
        refuse_infinite(name, series.to_numpy(np.float64, na_value=np.nan), series.index)
    if n_unique == 1 and known == len(series):
        return column("ignored", "has the same value in every row")
    gaps = "one value only, told apart by being missing" if n_unique == 1 else ""
    if types.is_bool_dtype(series.dtype):
        return column("boolean", gaps)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return column("ignored", _identifier(n_unique)) if _names_rows(n_unique, known) else column("category", gaps)
    if types.is_datetime64_any_dtype(series.dtype):
        return column("date", gaps or "used as days since 1970-01-01")
    if types.is_numeric_dtype(series.dtype):
        return column("ignored", "counts the rows and has no name") if _counts_rows(name, series) else column("number", gaps)
    return _infer_text(name, series, known, column, gaps)


def _infer_text(name: str, series: pd.Series, known: int, column: Any, gaps: str) -> Column:
    values, wrong = numbers(series)
    if _all_or_mostly(name, series, wrong, known, "number"):
        refuse_infinite(name, values, series.index)
        return column("number", gaps or "numbers written as text")
    if _all_or_mostly(name, series, days(series)[1], known, "date"):
        return column("date", gaps or "used as days since 1970-01-01")
    names = levels(series)[1]
    if {each.casefold() for each in names} == {"true", "false"}:
        return column("boolean", gaps)
    return column("ignored", _identifier(len(names))) if _names_rows(len(names), known) else column("category", gaps)


def _all_or_mostly(name: str, series: pd.Series, wrong: np.ndarray, known: int, kind: str) -> bool:
    """True where all values are of this kind; an error where almost all are."""
    bad = int(wrong.sum())
    if 0 < bad <= (1 - MOSTLY) * known + 1e-9:
        raise wrong_value(name, series, wrong, kind, f" ({known - bad} of {known} values are {kind}s)")
    return bad == 0


def wrong_value(name: str, series: pd.Series, wrong: np.ndarray, kind: str, share: str = "") -> DataError:
    """The error for the first value of a column that is not of its kind."""
    row = first(wrong)
    value = level_name(series.iloc[row])
    form = "text in ISO 8601 such as 2024-03-01" if kind == "date" else "a number"
    mend = f"Write {form}, leave the cell empty if the value is missing, or {ignore_hint(name)}."
    return DataError(f"Expected {kind}s in column `{name}`{share}, got {value[:60]!r} in {row_name(series.index[row])}. {mend}")


def refuse_infinite(name: str, values: np.ndarray, rows: pd.Index) -> None:
    """Raise for the first infinite value of a column; ``rows`` numbers them."""
    infinite = np.isinf(values)
    if infinite.any():
        row = first(infinite)
        mend = f"Give a number, leave the cell empty if the value is missing, or {ignore_hint(name)}."
        raise DataError(f"Expected finite numbers in column `{name}`, got the infinite value {values[row]} in {row_name(rows[row])}. {mend}")


def _refuse_objects(name: str, series: pd.Series, example: str) -> None:
    dtype = series.dtype
    if types.is_complex_dtype(dtype):
        raise DataError(f"Complex data not supported: expected real numbers in column `{name}`, got {example}. Give real and imaginary part as two columns.")
    plain = types.is_numeric_dtype(dtype) or types.is_datetime64_any_dtype(dtype) or isinstance(dtype, (pd.CategoricalDtype, pd.StringDtype))
    if not plain:
        kinds = listing(dict.fromkeys(type(value).__name__ for value in series.dropna()), most=3)
        raise DataError(f"Expected one number, text or date in each cell of column `{name}`, got {kinds}. Spread it over columns, or {ignore_hint(name)}.")


def _names_rows(n_unique: int, known: int) -> bool:
    return known > UNIQUE_ROWS and n_unique > UNIQUE * known


def _identifier(n_unique: int) -> str:
    return f"names the rows: {n_unique} different texts"


def _counts_rows(name: str, series: pd.Series) -> bool:
    """A nameless column 0, 1, 2, ... is the row index that another program wrote along."""
    return name.startswith("unnamed_") and bool((series.diff().iloc[1:] == 1).all())
