"""Columns in one of a few plain forms, whatever library they came from.

After :func:`plain_frame` a column is ``float64``, an integer type, ``bool`` (``boolean`` where values are missing), text (blank is
missing), ``category`` or ``datetime64`` in UTC without a zone. What fits none of these (lists, bytes, complex numbers) stays as it
is and is refused by name when its kind is decided.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types

TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
_DAY = 86_400.0
_EAGER = int(pd.__version__.split(".")[0]) < 3  # where a copy that is not deep would share what is written into it later


def level_name(value: Any) -> str:
    """The text of one value, the same for 3, 3.0 and "3".

    Example:
        >>> level_name(3.0), level_name(" red "), level_name(True), level_name(2.5)
        ('3', 'red', 'True', '2.5')
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)):
        return str(int(value)) if np.isfinite(value) and value == int(value) else repr(float(value))
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else str(value)


def plain_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with text labels, rows counted from 0, and every column in a plain form; the input is left as it is.

    Example:
        >>> import pandas as pd
        >>> plain_frame(pd.DataFrame({0: [True, None], 1: [" a", ""]}, index=[7, 7])).dtypes.astype(str).to_dict()
        {'0': 'boolean', '1': 'str'}
    """
    if _is_plain(frame):
        out = frame.copy(deep=_EAGER)
    else:
        columns = [plain_column(cast(pd.Series, frame.iloc[:, i])).reset_index(drop=True) for i in range(frame.shape[1])]
        out = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(len(frame)))
    out.columns = pd.Index([str(label) for label in frame.columns], dtype=object)
    return out


def _is_plain(frame: pd.DataFrame) -> bool:
    """Whether every column is one of NumPy's numbers in a plain form and rows are counted from 0; taking columns apart costs more than most predictions."""
    index = frame.index
    numbers = all(isinstance(dtype, np.dtype) and (dtype == np.float64 or dtype.kind in "iub") for dtype in frame.dtypes)
    return numbers and frame.shape[1] > 0 and isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None


def plain_column(series: pd.Series) -> pd.Series:
    """One column in a plain form (see the module)."""
    dtype = series.dtype
    if isinstance(dtype, pd.ArrowDtype):
        return plain_column(pa.table({"x": pa.array(series)}).to_pandas(date_as_object=False, ignore_metadata=True)["x"])
    if isinstance(dtype, pd.CategoricalDtype):
        return series
    if isinstance(dtype, pd.SparseDtype):
        return plain_column(series.sparse.to_dense())
    if isinstance(dtype, pd.PeriodDtype):
        return series.dt.to_timestamp()
    if isinstance(dtype, pd.DatetimeTZDtype):
        return series.dt.tz_convert("UTC").dt.tz_localize(None)
    if types.is_timedelta64_dtype(dtype):
        return series.dt.total_seconds() / _DAY
    if types.is_bool_dtype(dtype):
        return series if dtype == np.dtype(bool) else series.astype("boolean" if series.isna().any() else "bool")
    if dtype == np.float64:
        return series
    if types.is_float_dtype(dtype):
        return pd.Series(series.to_numpy(np.float64, na_value=np.nan), name=series.name)
    if types.is_integer_dtype(dtype):
        return _integers(series)
    if isinstance(dtype, pd.StringDtype):
        return _text(series)
    return _objects(series) if dtype == np.dtype(object) else series


def _integers(series: pd.Series) -> pd.Series:
    if isinstance(series.dtype, np.dtype):
        return series
    if series.isna().any():
        return pd.Series(series.to_numpy(np.float64, na_value=np.nan), name=series.name)
    return pd.Series(series.to_numpy(cast(Any, series.dtype).numpy_dtype), name=series.name)


def _text(series: pd.Series) -> pd.Series:
    text = series.astype(TEXT).str.strip()
    return text.where(text != "", np.nan)


def _objects(series: pd.Series) -> pd.Series:
    """A column of Python objects, by what they are."""
    name, missing = series.name, series.isna().to_numpy()
    values = series.to_numpy(dtype=object, copy=True)
    values[missing] = None
    kind = types.infer_dtype(values, skipna=True)
    known = values[~missing]
    if kind == "empty":
        return pd.Series(np.full(len(series), np.nan), name=name)
    if kind == "string":
        return _text(pd.Series(values, name=name, dtype=TEXT))
    if kind == "boolean":
        return plain_column(pd.Series(values, name=name).astype("boolean"))
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        if kind == "integer" and not missing.any():
            return pd.Series(pd.to_numeric(values), name=name)
        return _scatter(known.astype(np.float64), missing, name)
    if kind in ("date", "datetime", "datetime64"):
        return pd.Series(pd.to_datetime(values, utc=True), name=name).dt.tz_localize(None)
    if kind in ("timedelta", "timedelta64"):
        return plain_column(pd.Series(pd.to_timedelta(values), name=name))
    if kind == "time":
        seconds = [((value.hour * 60 + value.minute) * 60 + value.second) + value.microsecond / 1e6 for value in known]
        return _scatter(np.array(seconds) / _DAY, missing, name)
    if all(isinstance(value, (str, bool, int, float, Decimal, np.bool_, np.number)) for value in known) and not any(map(np.iscomplexobj, known)):
        values[~missing] = [level_name(value) for value in known]
        return _text(pd.Series(values, name=name, dtype=TEXT))
    return pd.Series(values, name=name, dtype=object)


def _scatter(known: np.ndarray, missing: np.ndarray, name: Any) -> pd.Series:
    out = np.full(len(missing), np.nan)
    out[~missing] = known
    return pd.Series(out, name=name)
