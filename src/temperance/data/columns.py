"""What each column of a table is: a number, a category, a date, a boolean, or nothing to learn from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types

from temperance.core.errors import ConfigError, DataError, expected
from temperance.data.cells import MISSING, is_code, may_have_thousands
from temperance.data.date_text import ORDERS, Order, date_of, date_order
from temperance.data.messages import first, ignore_hint, listing, near, row_name
from temperance.data.number_text import PLAIN, NumberFormat, looks_like_number, measured, number_format
from temperance.data.parse import days, distinct, is_iso, levels, numbers
from temperance.data.plain import level_name, plain_frame

Kind = Literal["number", "category", "date", "boolean", "ignored"]
MOSTLY = 0.9  # from this share of numbers (dates) on, any other text is taken for a mistake and not for a level
UNIQUE = 0.95  # above this share of distinct texts a column names its rows
UNIQUE_ROWS = 50
_EMPTY = "leave the cell empty if the value is missing"


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
        form: how numbers are written, where they are text.
        order: of day and month, where dates are text that is not in ISO 8601.
    """

    name: str
    kind: Kind
    notes: str
    n_missing: int
    n_unique: int
    example: str
    form: NumberFormat = PLAIN
    order: Order = ""


def infer_columns(frame: pd.DataFrame, ignore: Sequence[str] = (), *, keep: Sequence[str] = (), dates: str | None = None) -> list[Column]:
    """Decide the kind of every column.

    Integers, floats and text that is all numbers are numbers; datetimes and text that is all dates are dates; everything else is a category,
    up to text that is different in almost every row (above 95 % of more than 50). Columns without any value, with one value only and
    without gaps, or named in ``ignore`` are ignored, each with its reason.

    Args:
        frame: the table.
        ignore: names of columns to leave out.
        keep: names of columns that stay categories though they are different in almost every row.
        dates: ``"dayfirst"`` or ``"monthfirst"`` for dates such as 03/12/2026; by default the column decides, by a day above 12.

    Raises:
        DataError: a name in ``ignore`` or ``keep`` that is no column; an infinite value; a few texts in a column of numbers or dates; dates
            that may be day first or month first; values that are no single value, such as lists.
        ConfigError: another word for ``dates``.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": [31, 47], "job": ["cook", "smith"], "born": ["1990-02-01", None], "unit": ["cm", "cm"]})
        >>> [(column.name, column.kind) for column in infer_columns(frame)]
        [('age', 'number'), ('job', 'category'), ('born', 'date'), ('unit', 'ignored')]
    """
    if dates not in (None, *ORDERS):
        mend = "Leave it out to have the column decide."
        raise ConfigError(expected("dates", "the table", f"to be {' or '.join(ORDERS)}", dates, mend))
    frame = plain_frame(frame)
    asked: list[set[str]] = []
    for what, names in (("ignore", ignore), ("keep", keep)):
        given = [str(name).strip() for name in ([names] if isinstance(names, str) else names)]
        for name in given:
            if name not in frame.columns:
                raise DataError(f"Expected `{what}` to name columns of the table, got {name!r}. {near(name, list(frame.columns))}")
        asked.append(set(given))
    looks = [_Look(name, frame[name], name in asked[1], cast(Any, dates)) for name in frame.columns]
    found = [look.column(look.name in asked[0]) for look in looks]
    if not any(column.form.decimal == "," for column in found):
        return found
    return [look.among_commas(column) for look, column in zip(looks, found, strict=True)]


def describe_columns(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The columns as rows of a table, for people to check.

    Example:
        >>> describe_columns([Column("age", "number", "", 2, 40, "31")])
        [{'column': 'age', 'kind': 'number', 'missing': 2, 'distinct': 40, 'example': '31', 'notes': ''}]
    """
    return [{"column": c.name, "kind": c.kind, "missing": c.n_missing, "distinct": c.n_unique, "example": c.example, "notes": c.notes} for c in columns]


def remarks(columns: Sequence[Column]) -> list[str]:
    """What people should hear of columns of text: what was converted, and what was left out or taken for names though it may not be meant so.

    Example:
        >>> remarks(infer_columns(pd.DataFrame({"pay": ["$1,200", "$900"], "day": ["03/12/2026", "13/12/2026"]})))
        ['`pay`: numbers written as text, "$1,200" is 1200', '`day`: dates with the day first, "03/12/2026" is 2026-12-03']
    """
    out = []
    for column in columns:
        if column.kind == "ignored" and column.notes.startswith(NAMES_ROWS):
            out.append(f"`{column.name}` is left out, as it {column.notes}; --keep {column.name} keeps it")
        elif column.notes.startswith((AS_TEXT, DATES, CODES, UNCLEAR)):
            out.append(f"`{column.name}`: {column.notes}")
    return out


NAMES_ROWS, AS_TEXT, DATES, CODES, LEVELS = "names the rows", "numbers written as text", "dates with", "codes", "names of levels"
UNCLEAR = f"{LEVELS}, though"


class _Look:
    """What is looked at to decide what a column is."""

    def __init__(self, name: str, series: pd.Series, keep: bool, dates: Order | None) -> None:
        self.name, self.series, self.keep = name, series, keep
        self.dates: Order | None = dates
        self.missing = series.isna().to_numpy()
        self.known = len(series) - int(self.missing.sum())
        self.example = level_name(series.iloc[first(~self.missing)]) if self.known else ""
        try:
            self.n_unique = len(distinct(series)[1])
        except TypeError:  # lists and other values without a hash
            self.n_unique = self.known

    def made(self, kind: Kind, notes: str = "", form: NumberFormat = PLAIN, order: Order = "") -> Column:
        return Column(self.name, kind, notes, len(self.series) - self.known, self.n_unique, self.example[:60], form, order)

    def column(self, asked: bool) -> Column:
        series, n_unique = self.series, self.n_unique
        if asked:
            return self.made("ignored", "left out on request")
        if self.known == 0:
            return self.made("ignored", "has no values")
        _refuse_objects(self.name, series, self.example)
        if types.is_numeric_dtype(series.dtype):
            refuse_infinite(self.name, series.to_numpy(np.float64, na_value=np.nan), series.index)
        if n_unique == 1 and self.known == len(series):
            return self.made("ignored", "has the same value in every row")
        gaps = "one value only, told apart by being missing" if n_unique == 1 else ""
        if types.is_bool_dtype(series.dtype):
            return self.made("boolean", gaps)
        if isinstance(series.dtype, pd.CategoricalDtype):
            return self.category(n_unique, gaps)
        if types.is_datetime64_any_dtype(series.dtype):
            return self.made("date", gaps or "used as days since 1970-01-01")
        if types.is_numeric_dtype(series.dtype):
            counts = _counts_rows(self.name, series) and not self.keep
            return self.made("ignored", "counts the rows and has no name") if counts else self.made("number", gaps)
        return self.text(gaps)

    def category(self, n_unique: int, notes: str) -> Column:
        if self.known > UNIQUE_ROWS and n_unique > UNIQUE * self.known and not self.keep:
            why = notes.removeprefix(LEVELS) if notes.startswith(UNCLEAR) else self._measures()
            return self.made("ignored", f"{NAMES_ROWS}: {n_unique} different texts{why}")
        return self.made("category", notes)

    def text(self, gaps: str) -> Column:
        codes, names = levels(self.series)
        if is_code(names):
            return self.category(len(names), gaps or f"{CODES} some of which begin with 0, taken as names")
        counts = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
        form = PLAIN
        values, wrong = numbers(self.series)
        if wrong.any() and (found := number_format(names, counts, MOSTLY)) is not None:
            form = found
            values, wrong = numbers(self.series, form)
        if self._all_or_mostly(wrong, "number", form):
            refuse_infinite(self.name, values, self.series.index)
            return self.made("number", gaps or _as_text(names, form), form)
        numeric = self.known - int(wrong.sum())
        order = self._order(names, counts)
        if self._all_or_mostly(days(self.series, order)[1], "date", order=order):
            return self.made("date", gaps or _dates(names, order), order=order)
        if {each.casefold() for each in names} == {"true", "false"}:
            return self.made("boolean", gaps)
        return self.category(len(names), gaps or self._unclear(names, counts, numeric))

    def among_commas(self, column: Column) -> Column:
        """The column in a table that has decimal commas: a point that may stand between thousands does."""
        if column.kind != "number" or column.form != PLAIN or not isinstance(self.series.dtype, pd.StringDtype):
            return column
        names = levels(self.series)[1]
        if not may_have_thousands(pa.chunked_array([pa.array(names, pa.string())])):
            return column
        form = NumberFormat(",", ".")
        name = max((name for name in names if "." in name), key=len)
        return replace(column, form=form, notes=f'{AS_TEXT}, "{name}" is {form.value(name):.15g}, as other columns have decimal commas')

    def _unclear(self, names: Sequence[str], counts: Sequence[int], numeric: int) -> str:
        """What is to be said of names that look like numbers."""
        if 2 * numeric > self.known and len(names) > 10:
            return f"{UNCLEAR} {numeric / self.known:.0%} of its cells are numbers"
        if sum(count for name, count in zip(names, counts, strict=True) if looks_like_number(name)) >= MOSTLY * self.known:
            return f"{UNCLEAR} its cells look like numbers, for they are written in several ways"
        return ""

    def _measures(self) -> str:
        """What is to be said of different texts that are numbers with units."""
        names = levels(self.series)[1]
        if sum(map(measured, names)) < MOSTLY * len(names):
            return ""
        return f', though they are numbers with something behind, as in "{self.example[:20]}"; write the numbers alone to learn from them'

    def _order(self, names: Sequence[str], counts: Sequence[int]) -> Order:
        try:
            found = date_order([name for name in names if not is_iso(name)], [n for name, n in zip(names, counts, strict=True) if not is_iso(name)], MOSTLY)
        except LookupError as error:
            if self.dates is not None:
                return self.dates
            ways = 'Say --dates dayfirst or --dates monthfirst (dates="dayfirst"), write them as 2026-12-31'
            got = f"got {error.args[0]!r} and no day above 12"
            raise DataError(f"Expected dates in column `{self.name}` that show which is the day, {got}. {ways}, or {ignore_hint(self.name)}.") from None
        return (self.dates or found) if found else ""

    def _all_or_mostly(self, wrong: np.ndarray, kind: str, form: NumberFormat = PLAIN, order: Order = "") -> bool:
        """True where all values are of this kind; an error where almost all are."""
        bad = int(wrong.sum())
        if 0 < bad <= (1 - MOSTLY) * self.known + 1e-9:
            share = f" ({self.known - bad} of {self.known} values are {kind}s)"
            raise wrong_value(self.name, self.series, wrong, kind, share, form, order)
        return bad == 0


def _as_text(names: Sequence[str], form: NumberFormat) -> str:
    name = max((name for name in names[:100] if re.fullmatch(r"[\d.]+", name) is None), key=len, default="")
    if not name or form.value(name) is None:
        return AS_TEXT
    return f'{AS_TEXT}, "{name}" is {form.value(name):.15g}'


def _dates(names: Sequence[str], order: Order) -> str:
    name = next((name for name in names if not is_iso(name)), None)
    if name is None:
        return "used as days since 1970-01-01"
    way = {"dayfirst": "the day first", "monthfirst": "the month first", "": "names of months or the year first"}[order]
    date = date_of(name, order)
    return f'{DATES} {way}, "{name}" is {date:%Y-%m-%d}'


def wrong_value(
    name: str, series: pd.Series, wrong: np.ndarray, kind: str, share: str = "", form: NumberFormat = PLAIN, order: Order = "", fitted: bool = False
) -> DataError:
    """The error for the first value of a column that is not of its kind; a column that was ``fitted`` cannot be left out any more."""
    row = first(wrong)
    value = level_name(series.iloc[row])
    way = "a number" if form == PLAIN else f"a number like {form.words}"
    if kind == "date":
        way = {"": "text in ISO 8601 such as 2024-03-01", "dayfirst": "dates like 31/12/2024", "monthfirst": "dates like 12/31/2024"}[order]
    empty = _EMPTY if fitted or value not in MISSING else f'{_EMPTY} (or say na={[value]!r}, --na "{value}")'
    mend = f"Write {way}, or {empty}." if fitted else f"Write {way}, {empty}, or {ignore_hint(name)}."
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


def _counts_rows(name: str, series: pd.Series) -> bool:
    """A nameless column 0, 1, 2, ... is the row index that another program wrote along."""
    return name.startswith("unnamed_") and bool((series.diff().iloc[1:] == 1).all())
