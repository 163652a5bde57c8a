"""Data sets in one call: from a table with a target column, or from arrays of any shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from temperance.core.batch import rows_of
from temperance.core.errors import DataError
from temperance.data.cells import named_markers
from temperance.data.columns import infer_columns
from temperance.data.dataset import Dataset
from temperance.data.encode import TableEncoder
from temperance.data.messages import first, listing, near, row_name, shown
from temperance.data.parse import numbers
from temperance.data.read import decimal_commas, read_cells, typed_series
from temperance.data.targets import TargetEncoder


def table_dataset(
    frame: Any,
    target: str | Sequence[str],
    *,
    encoder: TableEncoder | None = None,
    target_encoder: TargetEncoder | None = None,
    ignore: Sequence[str] = (),
    weight: str | None = None,
    task: str | None = None,
    fit_rows: Any = None,
    na: str | Sequence[str] | None = None,
    dates: str | None = None,
    keep: Sequence[str] = (),
) -> tuple[Dataset, TableEncoder, TargetEncoder]:
    """A data set from a table, and the two encoders that made it.

    Args:
        frame: anything that :func:`read_table` takes.
        target: the column to predict, or several.
        encoder: a fitted one, for further rows of the same kind; else one is fitted.
        target_encoder: likewise.
        ignore: columns to leave out.
        weight: column with the weights of the rows.
        task: overrides the task inferred from the target.
        fit_rows: positions of the training rows, from which medians, scales, levels, mean and standard deviation are learned (all
            rows by default). The kinds of the columns and the classes come from all rows.
        na: cells that count as missing, as in :func:`read_table`; those of a given ``encoder`` unless said otherwise.
        dates: ``"dayfirst"`` or ``"monthfirst"``, where the column leaves it open.
        keep: columns to learn from though they name the rows (:func:`infer_columns`).

    Raises:
        DataError: no such target, ignored or weight column; weights that are negative, missing or all 0; whatever the encoders refuse.

    Example:
        >>> frame = {"age": [20, 30, 40, 50], "job": ["cook", "smith", "cook", "smith"], "rich": ["no", "no", "yes", "yes"]}
        >>> data, encoder, target = table_dataset(frame, "rich")
        >>> data.x["num"].shape, data.cardinalities, data.classes
        (torch.Size([4, 1]), (3,), ('no', 'yes'))
    """
    markers = named_markers(na) if na is not None or encoder is None else encoder.na
    table = read_cells(frame, na=markers)[0]
    targets, ignore = given_names(target), given_names(ignore)
    weight = None if weight is None else given_names(weight)[0]
    _require(table, targets, "target")
    _require(table, ignore, "ignore")
    _require(table, given_names(keep), "keep")
    for name in ignore:
        if name in targets:
            raise DataError(f"Expected `ignore` to leave the target in, got {name!r} in both. Remove it from one of them.")
    weights = None
    if weight is not None:
        _require(table, [weight], "weight")
        if weight in targets:
            raise DataError(f"Expected `weight` to be another column than the target, got {weight!r} for both. Name the column with the weights.")
        weights = row_weights(table[weight], len(table), weight)
    inputs = table.drop(columns=[*targets, *([weight] if weight is not None else [])])
    values = target_columns(table, targets)
    if target_encoder is None:
        target_encoder = TargetEncoder().fit(values, task, ", ".join(targets), rows=fit_rows)
    if encoder is None:
        if inputs.shape[1] == 0:
            raise DataError(f"Expected columns to learn from beside the target, got {listing(table.columns)} only. Add columns.")
        left_out, kept = ([name for name in names if name in inputs.columns] for names in (ignore, given_names(keep)))
        columns = infer_columns(inputs, left_out, keep=kept, dates=dates)
        encoder = TableEncoder().fit(inputs if fit_rows is None else inputs.iloc[np.asarray(fit_rows)], columns=columns, na=markers)
    x: Any = encoder.transform(inputs)
    y, labeled = target_encoder.encode(values)
    return Dataset(x, y, target_encoder.task, weights, labeled, encoder.cardinalities, target_encoder.classes), encoder, target_encoder


def given_names(names: str | Sequence[str]) -> list[str]:
    """Names of columns as they were given, in the form that they have in a table.

    Example:
        >>> given_names("age "), given_names(["a", 3])
        (['age'], ['a', '3'])
    """
    return [str(name).strip() for name in ([names] if isinstance(names, str) or not isinstance(names, Iterable) else names)]


def target_columns(table: pd.DataFrame, targets: Sequence[str], commas: bool | None = None) -> Any:
    """The target or targets of a table that was read by its cells; text that is all numbers is numbers, in every format.

    ``commas``: whether numbers have decimal commas, where that was seen in other rows.
    """
    commas = decimal_commas(table) if commas is None else commas
    columns = {name: typed_series(table[name], commas) if isinstance(table[name].dtype, pd.StringDtype) else table[name] for name in targets}
    return columns[targets[0]] if len(targets) == 1 else pd.DataFrame(columns)


def as_dataset(X: Any, y: Any, *, task: Any = None, weight: Any = None, classes: Sequence[Any] | None = None) -> Dataset:
    """A data set from arrays, as they are: X in float32, y as one-hot classes, 0/1 labels or values in their own units.

    Args:
        X: numbers ``(n, ...)``, such as images ``(n, channels, height, width)``; or a dict of arrays, in which whole numbers stay codes.
        y: classes (whole numbers, text) or values ``(n,)``; 0/1 labels or several values ``(n, outputs)``; shares of classes
            ``(n, classes)`` with ``task="classification"``; or a dict of these, one for each head. NaN and ``None`` are missing.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``; a dict for several heads. By default whole numbers, text and
            booleans are classes, fractions are values, and columns of 0 and 1 are labels.
        weight: row weights ``(n,)``.
        classes: the labels, in order, where they are known from other rows (a validation set).

    Raises:
        DataError: a different number of rows, NaN or infinite inputs, a target that cannot be used.

    Example:
        >>> data = as_dataset(torch.randn(6, 1, 8, 8), [0, 1, 2, 0, 1, 2])
        >>> data.in_shape, data.out_features, data.task
        ((1, 8, 8), 3, 'classification')
    """
    x: Any = {str(key): _tensor(value, f"X[{key!r}]", codes=True) for key, value in X.items()} if isinstance(X, dict) else _tensor(X, "X")
    n = rows_of(x)
    weights = None if weight is None else row_weights(weight, n, "weight")
    if isinstance(y, dict):
        heads = {str(name): _head(values, task.get(name) if isinstance(task, dict) else task, str(name), None, n) for name, values in y.items()}
        gaps = any(known is not None for _, known, _, _ in heads.values())
        labeled: Any = {name: torch.ones(n, dtype=torch.bool) if known is None else known for name, (_, known, _, _) in heads.items()} if gaps else None
        return Dataset(x, {name: head[0] for name, head in heads.items()}, {name: head[2] for name, head in heads.items()}, weights, labeled)
    target, labeled, kind, labels = _head(y, task, "y", classes, n)
    return Dataset(x, target, kind, weights, labeled, (), labels)


def row_weights(values: Any, n: int, name: str, *, some: bool = True) -> Tensor:
    """Row weights as float32: finite, not negative, and with ``some`` not all 0.

    Example:
        >>> row_weights([1, 2], 2, "weight")
        tensor([1., 2.])
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    series = pd.Series(array) if not isinstance(array, pd.Series) else array
    out, wrong = numbers(series)
    bad = wrong | ~np.isfinite(out) | (out < 0)
    if len(out) != n:
        raise DataError(f"Expected `{name}` to have one weight per row ({n}), got {len(out)}. Give a weight for every row.")
    if bad.any():
        row = first(bad)
        raise DataError(f"Expected weights in [0, inf) in `{name}`, got {shown(series.iloc[row])} in {row_name(row)}. Use 0 for a row that should not count.")
    if some and not out.any():
        raise DataError(f"Expected some weight above 0 in `{name}`, got 0 in every row. Leave the weights out to count all rows alike.")
    return torch.from_numpy(out.astype(np.float32))


def _require(table: pd.DataFrame, names: Sequence[str], what: str) -> None:
    for name in names:
        if name not in table.columns:
            raise DataError(f"Expected `{what}` to name a column of the table, got {name!r}. {near(name, list(table.columns))}")


def _tensor(value: Any, name: str, codes: bool = False) -> Tensor:
    try:
        out = value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        hint = "Use table_dataset for tables with text."
        raise DataError(f"Expected `{name}` to be an array of numbers, got {type(value).__name__} of {np.asarray(value).dtype}. {hint}") from error
    if out.is_complex():
        raise DataError(f"Complex data not supported: expected real numbers in `{name}`, got {out.dtype}. Give real and imaginary part apart.")
    if (out.ndim < 2 and not codes) or out.ndim == 0 or len(out) == 0:
        raise DataError(f"Expected `{name}` with shape (rows, ...), got {tuple(out.shape)}. For one column use reshape(-1, 1).")
    if codes and not out.is_floating_point():
        return out.long()
    out = out.float()
    finite = torch.isfinite(out).flatten(1).all(dim=1) if out.ndim > 1 else torch.isfinite(out)
    if not finite.all():
        row = first(~finite.cpu().numpy())
        mend = "Fill or drop it; table_dataset fills missing values in tables."
        raise DataError(f"Expected finite numbers in `{name}`, got NaN or an infinite value in {row_name(row)}. {mend}")
    return out


def _head(values: Any, task: str | None, name: str, classes: Sequence[Any] | None, n: int) -> tuple[Tensor, Tensor | None, str, tuple[Any, ...]]:
    """One target: its tensor, which rows have one, the task and the labels."""
    dims = np.ndim(values) if not isinstance(values, Tensor) else values.ndim
    if len(values) != n:
        raise DataError(f"Expected `{name}` to have {n} rows like X, got {len(values)}. Give one target for each row.")
    if task == "classification" and dims == 2 and np.shape(values)[1] > 1:
        return _soft(values, name, classes)
    encoder = TargetEncoder()
    if classes is not None and task in (None, "classification"):
        encoder.task, encoder.name, encoder.names = "classification", name, (name,)
        encoder.classes = tuple(label.item() if isinstance(label, np.generic) else label for label in classes)
        encoder.label_type = type(encoder.classes[0]).__name__
    else:
        whole = (isinstance(values, Tensor) and not values.is_floating_point()) or (isinstance(values, np.ndarray) and values.dtype.kind in "iu")
        listed = isinstance(values, (list, tuple)) and all(isinstance(value, (int, type(None))) for value in values)
        guess = "classification" if task is None and dims == 1 and (whole or listed) else task
        encoder.fit(values, guess, name, standardize=False, least=1)
    return (*encoder.encode(values), encoder.task, encoder.classes)


def _soft(values: Any, name: str, classes: Sequence[Any] | None) -> tuple[Tensor, Tensor | None, str, tuple[Any, ...]]:
    y = torch.as_tensor(values).float()
    known = ~torch.isnan(y).any(dim=1)
    wrong = known & ((y < 0).any(dim=1) | ((y.sum(dim=1) - 1).abs() > 1e-3))
    if wrong.any():
        row = first(wrong.cpu().numpy())
        mend = 'Divide by the sum, or use task="multilabel" for labels that do not exclude each other.'
        raise DataError(f"Expected shares of classes from 0 that add up to 1 in `{name}`, got {y[row].tolist()} in {row_name(row)}. {mend}")
    labels = tuple(range(y.shape[1])) if classes is None else tuple(classes)
    return torch.where(known[:, None], y, 0.0), None if bool(known.all()) else known, "classification", labels
