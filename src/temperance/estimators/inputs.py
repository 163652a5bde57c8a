"""The X of an estimator: checked as scikit-learn checks it, then encoded as a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import validation

from temperance.data import TableEncoder, read_table
from temperance.data.columns import Column, infer_columns
from temperance.data.dataset import Tree

_validate: Any = validation.validate_data  # its types are inferred from its defaults, which are strings


def is_table(X: Any) -> bool:
    """Whether X has columns with names and types of their own: a frame of pandas or polars, a table of pyarrow."""
    return hasattr(X, "columns")


def checked(estimator: Any, X: Any, *, reset: bool) -> pd.DataFrame:
    """X as a plain frame, after scikit-learn's checks of names and numbers of columns.

    Frames and arrays with text are tables: each column is understood by itself, and missing values are welcome. Other arrays are numbers, in
    which NaN is missing.

    Args:
        estimator: whose ``n_features_in_`` and ``feature_names_in_`` are set (``reset``) or compared.
        X: a frame or a 2-D array.
        reset: true when fitting.

    Raises:
        ValueError: wrong shape, too few rows, infinite or complex values, other columns than those fitted.
        TypeError: sparse X, or values that are neither numbers nor text.
    """
    least = 2 if reset else 1
    if is_table(X):
        frame = read_table(X, what="X")
        _validate(estimator, X if isinstance(X, pd.DataFrame) else frame, reset=reset, skip_check_array=True)
        if len(frame) < least:
            raise ValueError(f"Found X with {len(frame)} sample(s) while a minimum of {least} is required by {type(estimator).__name__}.")
        return frame
    if _has_text(X):
        X = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        array = _validate(estimator, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=least)
        if array.dtype.kind == "U":  # what NumPy makes of a NaN among text
            array = array.astype(object)
            array[array == "nan"] = None
    else:
        array = _validate(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=least)
    return read_table(pd.DataFrame(array, columns=pd.Index([f"x{i}" for i in range(array.shape[1])])), what="X")


def _has_text(X: Any) -> bool:
    if hasattr(X, "toarray") or (isinstance(X, np.ndarray) and X.dtype.kind not in "OUST"):
        return False
    array = np.asarray(X, dtype=object)
    return array.ndim == 2 and any(isinstance(value, str) for value in array.flat)


def fit_encoder(frame: pd.DataFrame) -> TableEncoder:
    """An encoder of the training rows.

    Columns with the same value in every row are left out, as everywhere; where no other is left they are kept, so that a search over columns
    meets a poor model and not an error.
    """
    columns = infer_columns(frame)
    if all(column.kind == "ignored" for column in columns):
        columns = [Column(c.name, "number", c.notes, c.n_missing, c.n_unique, c.example) if frame[c.name].dtype.kind in "iuf" else c for c in columns]
    return TableEncoder().fit(frame, columns=columns)


def encoded(encoder: TableEncoder, frame: pd.DataFrame, plain: bool) -> Tree:
    """The rows as tensors, columns taken by position: ``{"num", "cat"}``, or ``num`` alone where the network wants a ``plain`` tensor."""
    named = frame.set_axis([column.name for column in encoder.columns], axis=1)
    x = encoder.transform(named)
    return x["num"] if plain else x
