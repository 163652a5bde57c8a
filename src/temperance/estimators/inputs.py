"""The X of an estimator: checked as scikit-learn checks it, then encoded as a table, or as images where it has four dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import validation
from torch import nn

from temperance.core.errors import DataError
from temperance.data import TableEncoder
from temperance.data.columns import Column, infer_columns
from temperance.data.dataset import Tree
from temperance.data.read import read_cells
from temperance.estimators.features import FeatureEncoder
from temperance.estimators.images import PART, PixelEncoder, checked_images, dimensions

Rows = pd.DataFrame | np.ndarray
"""The checked X: a plain frame, or images."""
Encoder = TableEncoder | PixelEncoder

_validate: Any = validation.validate_data  # its types are inferred from its defaults, which are strings


def is_table(X: Any) -> bool:
    """Whether X has columns with names and types of their own: a frame of pandas or polars, a table of pyarrow."""
    return hasattr(X, "columns")


def checked(estimator: Any, X: Any, *, reset: bool) -> Rows:
    """X as a plain frame, or images as an array in its own type, after scikit-learn's checks of names and numbers of columns.

    Frames and arrays with text are tables: each column is understood by itself, and missing values are welcome. Other arrays are numbers, in
    which NaN is missing. Arrays of four dimensions are images.

    Args:
        estimator: whose ``n_features_in_`` and ``feature_names_in_`` are set (``reset``) or compared.
        X: a frame, a 2-D array, or images ``(n, channels, height, width)``.
        reset: true when fitting.

    Raises:
        ValueError: wrong shape, too few rows, infinite or complex values, other columns or other images than those fitted.
        TypeError: sparse X, or values that are neither numbers nor text.
    """
    least = 2 if reset else 1
    encoder = None if reset else estimator.encoder_
    if dimensions(X) > 2:
        return checked_images(estimator, X, encoder, least)
    if isinstance(encoder, PixelEncoder):
        raise DataError(f"Expected images (n, {', '.join(map(str, encoder.shape))}) in `X` as fitted, got rows of columns. Reshape X.")
    if is_table(X):
        frame = read_cells(X, what="X")[0]
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
    return read_cells(pd.DataFrame(array, columns=pd.Index([f"x{i}" for i in range(array.shape[1])])), what="X")[0]


def _has_text(X: Any) -> bool:
    if hasattr(X, "toarray") or (isinstance(X, np.ndarray) and X.dtype.kind not in "OUST"):
        return False
    array = np.asarray(X, dtype=object)
    return array.ndim == 2 and any(isinstance(value, str) for value in array.flat)


def taken(rows: Rows, index: np.ndarray) -> Rows:
    """Some of the rows."""
    return rows.iloc[index].reset_index(drop=True) if isinstance(rows, pd.DataFrame) else rows[index]


def fit_encoder(rows: Rows, learned: np.ndarray | None = None, backbone: nn.Module | None = None) -> Encoder:
    """An encoder of the rows; means of images come from the ``learned`` ones (``None``: all). With a ``backbone`` images become its features.

    Columns with the same value in every row are left out, as everywhere; where no other is left they are kept, so that a search over columns
    meets a poor model and not an error.
    """
    if not isinstance(rows, pd.DataFrame):
        return (PixelEncoder() if backbone is None else FeatureEncoder(backbone)).fit(rows, learned)
    if backbone is not None:
        raise DataError("Expected images (n, channels, height, width) in `X` with a `backbone`, got rows of columns. Reshape X, or leave the backbone out.")
    columns = infer_columns(rows)
    if all(column.kind == "ignored" for column in columns):
        columns = [Column(c.name, "number", c.notes, c.n_missing, c.n_unique, c.example) if rows[c.name].dtype.kind in "iuf" else c for c in columns]
    return TableEncoder().fit(rows, columns=columns)


def encoded(encoder: Encoder, rows: Rows, plain: bool) -> Tree:
    """The rows as tensors: images as one, columns and features as ``{"num", "cat"}``, or as ``num`` alone where the network wants a ``plain`` tensor."""
    if isinstance(encoder, PixelEncoder):
        assert isinstance(rows, np.ndarray)
        pixels: Any = encoder.transform(rows)
        return pixels["num"] if plain and isinstance(pixels, dict) else pixels
    assert isinstance(rows, pd.DataFrame)
    named = rows.set_axis([column.name for column in encoder.columns], axis=1)
    x = encoder.transform(named)
    return x["num"] if plain else x


def parts_of(rows: Rows) -> Iterator[Rows]:
    """A table as it is, images some at a time: as tensors, all at once would take four times the memory of bytes."""
    if isinstance(rows, pd.DataFrame):
        yield rows
    else:
        yield from (rows[a : a + PART] for a in range(0, len(rows), PART))
