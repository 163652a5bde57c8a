"""Turn targets into tensors, and the outputs of a network back into labels or values."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from temperance.core.errors import ConfigError, DataError, expected
from temperance.data.messages import first, listing, row_name, shown
from temperance.data.parse import numbers
from temperance.data.target_values import LABEL_TYPES, guess_task, label_codes, target_frame

LARGEST = 1e30  # squares of larger numbers leave the range of float32
Task = Literal["classification", "regression", "multilabel"]


class TargetEncoder:
    """Encode targets as float32 ``(n, outputs)`` and decode outputs.

    Classification gives one-hot rows, multi-label 0/1 rows, regression standardized values ``(y - mean) / sd``. Rows whose target is
    missing are marked in ``labeled``.

    Attributes:
        task: ``"classification"``, ``"regression"`` or ``"multilabel"``.
        name: of the target, for messages.
        classes: the sorted labels in their own type; for multi-label the names of the columns; empty for regression.
        outputs: width of the encoded target.
        mean: of every regression target, in the fitted rows.
        sd: standard deviation likewise.

    Example:
        >>> encoder = TargetEncoder().fit(["no", "yes", "no", "yes", None])
        >>> encoder.task, encoder.classes
        ('classification', ('no', 'yes'))
        >>> y, labeled = encoder.encode(["yes", None])
        >>> y.tolist(), labeled.tolist()
        ([[0.0, 1.0], [0.0, 0.0]], [True, False])
        >>> encoder.decode([[0.9, 0.1]]).tolist()
        ['no']
    """

    def __init__(self) -> None:
        self.task: Task = "regression"
        self.name = "target"
        self.names: tuple[str, ...] = ()
        self.classes: tuple[Any, ...] = ()
        self.label_type = "str"
        self.mean: tuple[float, ...] = ()
        self.sd: tuple[float, ...] = ()

    def fit(self, values: Any, task: str | None = None, name: str = "target", *, rows: Any = None, standardize: bool = True, least: int = 2) -> TargetEncoder:
        """Learn the task, the classes, and the mean and standard deviation.

        Without ``task``: text, booleans and categories are classes; fractions are values; whole numbers are classes where there are at
        most 20 different ones with 5 rows each on average (or two), else values; several columns of 0 and 1 are labels.

        Args:
            values: one value per row, or several columns.
            task: overrides the guess.
            name: of the target, for messages.
            rows: positions of the training rows, for mean and standard deviation (all by default). Classes come from all rows.
            standardize: false keeps regression targets in their units.
            least: rows that every class must have.

        Raises:
            DataError: nothing but missing values, one class or one value only, a class with fewer rows than ``least``, an infinite
                value, text where numbers are expected, several columns of classes.
            ConfigError: no such task.
        """
        if task is not None and task not in get_args(Task):
            mend = "Leave it out to have it inferred from the target."
            raise ConfigError(expected("task", "the target", f"to be one of {', '.join(get_args(Task))}", task, mend))
        frame = target_frame(values, name)
        if frame.isna().all().any():
            empty = listing(frame.columns[frame.isna().all()])
            raise DataError(f"Expected known values in the target, got only missing ones in {empty}. Name another target or fill it in.")
        self.name, self.names = name, tuple(frame.columns)
        self.task = cast(Task, task or guess_task(frame))
        self.classes, self.mean, self.sd = (), (), ()
        if self.task == "classification":
            self._fit_classes(frame, least)
        elif self.task == "multilabel":
            self._fit_labels(frame)
        else:
            self._fit_values(frame, rows, standardize)
        return self

    @property
    def outputs(self) -> int:
        return len(self.classes) if self.task == "classification" else len(self.names)

    def encode(self, values: Any) -> tuple[Tensor, Tensor | None]:
        """The targets ``(n, outputs)`` and which rows have one (``None``: all).

        Raises:
            DataError: a class that was not there when fitting, text where numbers are expected, an infinite value.
        """
        frame = target_frame(values, self.name)
        if frame.shape[1] != len(self.names):
            raise DataError(f"Expected target `{self.name}` with {len(self.names)} columns as fitted, got {frame.shape[1]}. Give the same targets.")
        known = frame.notna().all(axis=1).to_numpy()
        if self.task == "classification":
            codes = self.codes(values)
            y = np.zeros((len(frame), self.outputs), np.float32)
            y[np.flatnonzero(known), codes[known]] = 1
        else:
            raw = self._numbers(frame)
            if self.task == "multilabel":
                self._refuse_other_labels(frame, raw)
            else:
                raw = (raw - np.array(self.mean)) / np.array(self.sd)
            y = np.where(known[:, None], raw, 0).astype(np.float32)
        return torch.from_numpy(y), None if known.all() else torch.tensor(known)

    def codes(self, values: Any) -> np.ndarray:
        """Positions of the classes in :attr:`classes`, -1 where the target is missing."""
        series = target_frame(values, self.name).iloc[:, 0]
        codes, labels = label_codes(series, self.name, self.label_type)
        index = {label: i for i, label in enumerate(self.classes)}
        unseen = np.array([label not in index for label in labels] + [False])[codes]
        if unseen.any():
            row = first(unseen)
            known = ", ".join(repr(label) for label in self.classes[:10])
            got = f"got {labels[codes[row]]!r} in {row_name(row)}"
            raise DataError(f"Expected the classes {known} in target `{self.name}`, {got}. Drop these rows or fit on data that has this class.")
        return np.array([index[label] for label in labels if label in index] + [-1])[codes]

    def decode(self, outputs: Any) -> np.ndarray:
        """Labels from probabilities ``(n, classes)``, 0/1 labels from probabilities ``(n, labels)`` at 0.5, or values in their own units.

        Labels have the type they were given in; one regression target comes back as ``(n,)``.
        """
        array = outputs.detach().cpu().numpy() if isinstance(outputs, Tensor) else np.asarray(outputs)
        if self.task == "regression" and array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] != self.outputs:
            raise DataError(f"Expected outputs with shape (n, {self.outputs}) for target `{self.name}`, got {array.shape}. Decode the outputs of its own head.")
        if self.task == "multilabel":
            return (array >= 0.5).astype(np.int64)
        if self.task == "classification":
            return self.labels[array.argmax(axis=1)]
        out = array.astype(np.float64) * np.array(self.sd) + np.array(self.mean)
        return out[:, 0] if self.outputs == 1 else out

    @property
    def labels(self) -> np.ndarray:
        """The classes as an array; whole numbers as int64, as uint64 where they are larger, or else as objects."""
        kind = LABEL_TYPES[self.label_type][1]
        if self.label_type == "int" and not all(-(2**63) <= label < 2**63 for label in self.classes):
            kind = np.uint64 if all(0 <= label < 2**64 for label in self.classes) else object
        return np.array(self.classes, dtype=kind)

    def to_dict(self) -> dict[str, Any]:
        """The encoder as plain values for JSON; labels keep their type."""
        keys = ("task", "name", "label_type")
        lists = ("names", "classes", "mean", "sd")
        return {key: getattr(self, key) for key in keys} | {key: list(getattr(self, key)) for key in lists}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TargetEncoder:
        """The encoder of :meth:`to_dict`."""
        out = cls()
        out.task, out.name, out.label_type = data["task"], data["name"], data["label_type"]
        out.names, out.mean, out.sd = tuple(data["names"]), tuple(data["mean"]), tuple(data["sd"])
        kind = LABEL_TYPES[out.label_type][0] if out.task == "classification" else str
        out.classes = tuple(kind(label) for label in data["classes"])
        return out

    def _fit_classes(self, frame: pd.DataFrame, least: int) -> None:
        if frame.shape[1] > 1:
            mend = "Fit one column at a time, give 0/1 columns as multilabel, or use a network with one head a column."
            raise DataError(f"Expected one column of classes in target `{self.name}`, got {frame.shape[1]}: {listing(frame.columns)}. {mend}")
        self.label_type = ""
        codes, labels = label_codes(frame.iloc[:, 0], self.name, "")
        self.label_type = next(key for key, (kind, _) in LABEL_TYPES.items() if type(labels[0]) is kind)
        counts = dict(zip(labels, np.bincount(codes[codes >= 0], minlength=len(labels)).tolist(), strict=True))
        self.classes = tuple(sorted(counts))
        if len(counts) < 2:
            raise DataError(f"Expected at least two classes in target `{self.name}`, got one class: {labels[0]!r}. Name another target or add rows.")
        rare = [label for label in self.classes if counts[label] < least]
        if rare:
            shown = ", ".join(repr(label) for label in rare[:5]) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
            many = ' (or task="regression" if it is a number)' if len(rare) > 5 else ""
            often = "only once" if least == 2 else f"fewer than {least} times"
            mend = f"Merge it with another class or drop the row{many}."
            raise DataError(f"Expected every class of target `{self.name}` at least {least} times, got {shown} {often}. {mend}")

    def _fit_labels(self, frame: pd.DataFrame) -> None:
        values = self._numbers(frame)
        self._refuse_other_labels(frame, values)
        constant = [name for i, name in enumerate(frame.columns) if len(np.unique(values[~np.isnan(values[:, i]), i])) < 2]
        if constant:
            raise DataError(f"Expected both 0 and 1 in every label of target `{self.name}`, got one class in {listing(constant)}. Drop these columns.")
        self.classes = self.names

    def _fit_values(self, frame: pd.DataFrame, rows: Any, standardize: bool) -> None:
        values = self._numbers(frame)
        if not standardize:
            self.mean, self.sd = (0.0,) * len(self.names), (1.0,) * len(self.names)
            return
        for i, name in enumerate(frame.columns):
            known = values[~np.isnan(values[:, i]), i]
            if (known == known[0]).all():
                raise DataError(f"Expected different values in target `{name}`, got {known[0]} in every row. Name another target or add rows.")
        if rows is not None:
            values = values[np.asarray(rows)]
        some = [column[~np.isnan(column)] for column in values.T]
        self.mean = tuple(float(column.mean()) if len(column) else 0.0 for column in some)
        self.sd = tuple((float(column.std()) if len(column) else 0.0) or 1.0 for column in some)

    def _numbers(self, frame: pd.DataFrame) -> np.ndarray:
        columns: list[np.ndarray] = []
        for name in frame.columns:
            values, wrong = numbers(frame[name])
            for bad, what in ((wrong, "numbers"), (np.abs(values) > LARGEST, f"finite numbers up to {LARGEST:g} in size")):
                if bad.any():
                    row = first(bad)
                    mend = f'Correct it, leave it empty if it is missing, or use task="classification" where `{name}` holds classes.'
                    raise DataError(f"Expected {what} in target `{name}`, got {shown(frame[name].iloc[row])} in {row_name(row)}. {mend}")
            columns.append(values)
        return np.stack(columns, axis=1)

    def _refuse_other_labels(self, frame: pd.DataFrame, values: np.ndarray) -> None:
        bad = ~(np.isin(values, (0, 1)) | np.isnan(values))
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            got = f"got {values[row, column]:g} in column `{frame.columns[column]}`, {row_name(row)}"
            raise DataError(f'Expected 0 or 1 in every label of target `{self.name}`, {got}. Use task="regression" for other numbers.')
