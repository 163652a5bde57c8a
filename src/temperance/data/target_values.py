"""Targets as plain columns: one value per row, several columns, their labels and the task they suggest."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from torch import Tensor

from temperance.core.errors import DataError
from temperance.data.messages import first, row_name
from temperance.data.number_text import is_number
from temperance.data.parse import distinct
from temperance.data.plain import plain_column, plain_frame
from temperance.data.read import read_cells

LABEL_TYPES: dict[str, tuple[type, Any]] = {"bool": (bool, np.bool_), "int": (int, np.int64), "float": (float, np.float64), "str": (str, object)}
MOST_CLASSES = 20
ROWS_A_CLASS = 5


def target_frame(values: Any, name: str = "target") -> pd.DataFrame:
    """The target as a plain frame: one column called ``name``, or several.

    Example:
        >>> target_frame([1, 2, 3], "price").columns.tolist()
        ['price']
        >>> target_frame(np.ones((3, 2)), "load").columns.tolist()
        ['load 0', 'load 1']
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu().float().numpy() if values.is_floating_point() else values.detach().cpu().numpy()
    if isinstance(values, (pd.Series, pd.Index)):
        return plain_frame(pd.Series(values).to_frame(name))
    if isinstance(values, pd.DataFrame) or hasattr(values, "columns") or isinstance(values, dict):
        frame = read_cells(values, what=name)[0]
        return frame.set_axis([name], axis=1) if frame.shape[1] == 1 else frame
    if hasattr(values, "to_pandas"):  # a column of polars or pyarrow
        return plain_frame(values.to_pandas().to_frame(name))
    if not hasattr(values, "__len__") or isinstance(values, str):
        raise DataError(f"Expected target `{name}` with one value per row, got {type(values).__name__}. Give a sequence, a Series, an array or a tensor.")
    array = values if isinstance(values, np.ndarray) else _array(values)
    if array.ndim == 2 and array.shape[1] > 1:
        return plain_frame(pd.DataFrame(array, columns=pd.Index([f"{name} {i}" for i in range(array.shape[1])])))
    if array.ndim == 0 or array.size != len(array) or len(array) == 0:
        raise DataError(f"Expected target `{name}` with shape (rows,) or (rows, outputs), got {array.shape}. Give one row of targets for each row of data.")
    return plain_column(pd.Series(array.reshape(-1), name=name)).to_frame(name)


def _array(values: Any) -> np.ndarray:
    """A list as an array that keeps the values as they are (no True to "True")."""
    values = list(values)
    nested = bool(values) and isinstance(values[0], (list, tuple, np.ndarray))
    out = np.array(values, dtype=object if not nested else None)
    return out if nested else np.fromiter(values, dtype=object, count=len(values))


def guess_task(frame: pd.DataFrame) -> str:
    """The task that the values suggest (see :meth:`TargetEncoder.fit`).

    Example:
        >>> guess_task(target_frame([0.5, 1.5, 2.0])), guess_task(target_frame(["a", "b"]))
        ('regression', 'classification')
    """
    if any(not types.is_numeric_dtype(dtype) for dtype in frame.dtypes):
        return "classification"
    if frame.shape[1] > 1:
        values = frame.to_numpy(np.float64, na_value=np.nan)
        return "multilabel" if (np.isin(values, (0, 1)) | np.isnan(values)).all() else "regression"
    series = frame.iloc[:, 0]
    if types.is_bool_dtype(series.dtype):
        return "classification"
    known = series.dropna().to_numpy(np.float64)  # whole numbers may run together here, not below
    if not np.isfinite(known).all() or (known != np.floor(known)).any():
        return "regression"
    count = series.nunique()
    return "classification" if count <= 2 or (count <= MOST_CLASSES and len(known) >= ROWS_A_CLASS * count) else "regression"


def label_codes(series: pd.Series, name: str, label_type: str) -> tuple[np.ndarray, list[Any]]:
    """Codes of the rows, -1 where missing, and the distinct labels in plain Python types.

    Whole floats become integers where values are missing, for there a column of integers cannot stay one. With ``label_type`` labels
    take that type where this loses nothing, so that 1, 1.0 and "1" are the same class.
    """
    codes, values = distinct(series)
    if types.is_datetime64_any_dtype(series.dtype):
        raise DataError(f"Expected classes in target `{name}`, got dates such as {values[0]}. Name another target or turn the dates into numbers.")
    labels = [value.item() if isinstance(value, np.generic) else value for value in values]
    for i, label in enumerate(labels):
        if type(label) not in (bool, int, float, str):
            row = row_name(first(codes == i))
            raise DataError(f"Expected text, whole numbers or booleans as classes in target `{name}`, got {type(label).__name__} in {row}. Convert it.")
        if isinstance(label, float) and not np.isfinite(label):
            row = row_name(first(codes == i))
            raise DataError(f"Expected finite classes in target `{name}`, got {label} in {row}. Correct it or leave it empty if it is missing.")
    if label_type:
        return codes, [_as_type(label, label_type) for label in labels]
    if (codes < 0).any() and all(isinstance(label, float) and label.is_integer() for label in labels):
        labels = [int(label) for label in labels]
    if len({type(label) for label in labels}) > 1:
        labels = [str(label) for label in labels]
    return codes, labels


def _as_type(label: Any, label_type: str) -> Any:
    kind = LABEL_TYPES[label_type][0]
    if type(label) is kind:
        return label
    try:
        if kind is bool:
            return {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}.get(str(label).casefold(), label)
        if kind is str:
            return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)
        if kind is int and isinstance(label, str) and re.fullmatch(r"[+-]?\d+", label):
            return int(label)  # not by way of a float, which cannot hold every one
        if isinstance(label, str) and not is_number(label):
            return label
        other = kind(float(label))
        return other if other == (float(label) if isinstance(label, str) else label) else label
    except (ValueError, OverflowError):
        return label
