"""The values of a plain column read as numbers, as days, or as the names of levels; each distinct value is parsed once."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types

from temperance.data.cells import as_numbers, time_of_day
from temperance.data.date_text import Order, date_of
from temperance.data.number_text import PLAIN, NumberFormat
from temperance.data.plain import TEXT, level_name

_ISO = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}(:\d{2}(:\d{2}(\.\d+)?)?)?\s?(Z|[+-]\d{2}:?\d{2})?)?")
_WHOLE = re.compile(r"([+-]?\d+)(\.0*)?")
_DAY_US = 86_400e6


def distinct(series: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """Codes of the rows, -1 where missing, and the distinct values they point to."""
    codes, values = pd.factorize(series)
    return np.asarray(codes), list(values)


def numbers(series: pd.Series, form: NumberFormat = PLAIN) -> tuple[np.ndarray, np.ndarray]:
    """Values as float64, NaN where missing or no number, and a mask of the rows that hold something else than a number.

    Text is read as ``form`` has it; a time of day is a fraction of a day.

    Example:
        >>> import pandas as pd
        >>> numbers(pd.Series(["1.5", None, "two"]))
        (array([1.5, nan, nan]), array([False, False,  True]))
    """
    if types.is_numeric_dtype(series.dtype):  # booleans count as 0 and 1
        return series.to_numpy(np.float64, na_value=np.nan), np.zeros(len(series), bool)
    if types.is_datetime64_any_dtype(series.dtype):
        return np.full(len(series), np.nan), series.notna().to_numpy()
    if form == PLAIN and isinstance(series.dtype, pd.StringDtype):
        text: Any = pa.array(series.astype(TEXT), type=pa.string(), from_pandas=True)
        quick = as_numbers(text if isinstance(text, pa.ChunkedArray) else pa.chunked_array([text]))
        if quick is not None:
            return quick.to_numpy(), np.zeros(len(series), bool)
    codes, values = distinct(series)
    out = np.array([_number(level_name(value), form) for value in values] + [np.nan])[codes]
    return out, np.isnan(out) & (codes >= 0)


def days(series: pd.Series, order: Order = "") -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970-01-01 (UTC) as float64, NaN where missing or no date, and a mask of the rows that hold something else.

    Dates are datetime values or text in ISO 8601 (2024-03-01, 2024-03-01T12:00, with or without a zone), or text as people write it, with
    day and month in this order.

    Example:
        >>> import pandas as pd
        >>> days(pd.Series(["1970-01-02", "1970-01-02 12:00", "soon"]))
        (array([1. , 1.5, nan]), array([False, False,  True]))
    """
    if types.is_datetime64_any_dtype(series.dtype):
        return _stamps(series), np.zeros(len(series), bool)
    if types.is_numeric_dtype(series.dtype):
        return np.full(len(series), np.nan), series.notna().to_numpy()
    codes, values = distinct(series)
    names = [level_name(value) for value in values]
    iso = pd.Series([name if is_iso(name) else None for name in names] + [None], dtype=object)
    table = _stamps(pd.to_datetime(iso, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None))
    other = {i: date for i, name in enumerate(names) if np.isnan(table[i]) and (date := date_of(name, order)) is not None}
    if other:
        table[list(other)] = _stamps(pd.Series(list(other.values())))
    out = table[codes]
    return out, np.isnan(out) & (codes >= 0)


def is_iso(text: str) -> bool:
    """Whether text has the form of a date in ISO 8601."""
    return _ISO.fullmatch(text) is not None


def levels(series: pd.Series, boolean: bool = False) -> tuple[np.ndarray, list[str]]:
    """Codes of the rows, -1 where missing, and the names they point to; ``boolean`` folds true, 1 and True into one name.

    Example:
        >>> import pandas as pd
        >>> levels(pd.Series([3.0, None, 3.0, 4.0]))
        (array([ 0, -1,  0,  1]), ['3', '4'])
    """
    codes, values = distinct(series)
    names = [level_name(value) for value in values]
    return codes, [_BOOLEAN.get(name.casefold(), name) for name in names] if boolean else names


def rewritten(name: str, boolean: bool = False) -> str:
    """The name of a level as its number would be written; other text stays.

    Example:
        >>> rewritten("3.0"), rewritten("007"), rewritten("1.0", boolean=True), rewritten("red")
        ('3', '7', 'True', 'red')
    """
    whole = _WHOLE.fullmatch(name)
    number = str(int(whole.group(1))) if whole else name if (value := PLAIN.value(name)) is None else level_name(value)
    return _BOOLEAN.get(number.casefold(), number) if boolean else number


_BOOLEAN = {"true": "True", "1": "True", "false": "False", "0": "False"}


def _number(name: str, form: NumberFormat) -> float:
    value = form.value(name)
    if value is None:
        value = time_of_day(name)
    return np.nan if value is None else value


def _stamps(series: pd.Series) -> np.ndarray:
    stamps = series.to_numpy("datetime64[us]")
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / _DAY_US)
