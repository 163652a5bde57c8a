"""Columns in one of a few plain forms, whatever library they came from.

After :func:`plain_frame` a column is ``float64``, an integer type (``Int64`` or ``UInt64`` where values are missing), ``bool``
(``boolean`` where values are missing), text (blank is missing), ``category`` or ``datetime64`` in UTC without a zone. What fits none
of these (lists, bytes, complex numbers) stays as it is and is refused by name when its kind is decided.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types

from temperance.data.cells import exact

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


def plain_names(labels: Sequence[Any]) -> list[str]:
    """The names of columns: text without blanks around it; columns without a name are numbered.

    Example:
        >>> plain_names([" age ", 3, ""])
        ['age', '3', 'unnamed_2']
    """
    return [str(label).strip() or f"unnamed_{i}" for i, label in enumerate(labels)]


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
    out.columns = pd.Index(plain_names(list(frame.columns)), dtype=object)
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
        values: Any = pa.array(series)
        return plain_column(arrow_series(values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])).rename(cast(Any, series.name)))
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


def arrow_series(column: pa.ChunkedArray) -> pd.Series:
    """A column of Arrow as pandas has it, whole numbers beside missing ones as such."""
    if pa.types.is_integer(column.type) and column.null_count:
        wide = pa.uint64() if column.type == pa.uint64() else pa.int64()
        return column.cast(wide).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}.get)
    if pa.types.is_string_view(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.string()) if column.nbytes < 1 << 31 else column.cast(pa.large_string())
    return column.to_pandas(date_as_object=False)


def _integers(series: pd.Series) -> pd.Series:
    if isinstance(series.dtype, np.dtype):
        return series
    if series.isna().any():
        return series.astype("UInt64" if series.dtype == "UInt64" else "Int64")
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
        if _whole(known, kind):
            whole = exact(values, missing)
            if whole is not None:
                return pd.Series(whole, name=name)
            values[~missing] = [str(int(value)) for value in known]
            return _text(pd.Series(values, name=name, dtype=TEXT))
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


def _whole(known: np.ndarray, kind: str) -> bool:
    """Whether objects are whole numbers that floats might not hold."""
    if kind == "integer":
        return True
    if kind == "floating" or not all(np.isfinite(float(value)) and value == int(value) for value in known):
        return False
    return kind == "decimal" or any(abs(value) > 2**53 for value in known)


def _scatter(known: np.ndarray, missing: np.ndarray, name: Any) -> pd.Series:
    out = np.full(len(missing), np.nan)
    out[~missing] = known
    return pd.Series(out, name=name)
