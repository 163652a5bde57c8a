"""A look at the data before anything is trained: every check of the columns, the rows and the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from temperance.data import Dataset, Split
from temperance.data.columns import Column
from temperance.data.targets import TargetEncoder
from temperance.diagnose.finding import Finding
from temperance.job.column_warnings import column_warnings
from temperance.job.drift import drift
from temperance.job.near_twins import near_twins
from temperance.job.order import order
from temperance.job.row_warnings import few_rows_warning, guess_warning, shared_warning, twin_warning, untaught_warning


@dataclass(frozen=True, eq=False)
class Looked:
    """What is looked at.

    Attributes:
        frame: the table in plain form, rows of a test file last.
        n: rows before those.
        columns: how its inputs were understood.
        data: the encoded rows.
        target: how targets were understood.
        values: of the target.
        targets: its columns.
        names: these in words.
        split: which rows do what.
        group: the column whose values keep rows together.
        time: the column that orders rows.
        seed: of the halves in which columns are tried.
    """

    frame: pd.DataFrame
    n: int
    columns: Sequence[Column]
    data: Dataset
    target: TargetEncoder
    values: Any
    targets: Sequence[str]
    names: str
    split: Split
    group: str | None
    time: str | None
    seed: int


def look(at: Looked, *, guessed: bool) -> list[Finding]:
    """Every check of a table; ``guessed`` where the task was."""
    task, split = at.target.task, at.split
    seen = np.setdiff1d(np.arange(len(at.frame)), split.test)
    out = look_at_target(at.values, at.names, task, guessed=guessed)
    out += _each("columns", column_warnings(at.frame, at.columns, at.targets, seen, task, at.seed))
    out += look_at_rows(at.data, split)
    apart = at.group is not None or at.time is not None
    if apart:
        out += _each("split", [*untaught_warning(at.data, split), *shared_warning(at.frame, at.group, at.n)])
    else:
        out += near_twins(at.frame, list(at.columns), at.data, split)
        out += order(at.frame.iloc[: at.n], at.columns, _targets(at), dict.fromkeys(at.targets, task))
    if apart or at.n < len(at.frame):
        out += drift(at.frame, at.columns, seen, split.test, given=at.n < len(at.frame), groups=split.groups)
    return out


def look_at_target(values: Any, names: str, task: str, *, guessed: bool) -> list[Finding]:
    """Whether the kind of the target is plain, where it was guessed."""
    return _each("task", guess_warning(values, names, task) if guessed else [])


def look_at_rows(data: Dataset, split: Split) -> list[Finding]:
    """The checks that need no columns."""
    return [*_each("rows", few_rows_warning(data, split)), *_each("twins", twin_warning(data, split))]


def doubts(findings: Sequence[Finding]) -> list[str]:
    """What is doubtful, a sentence each with its way out."""
    return [f"{f.meaning}{f': {f.remedy}' if f.remedy else ''}" for f in findings if f.verdict != "fine"]


def _each(check: str, warnings: Sequence[str]) -> list[Finding]:
    """A finding for each sentence, which ends with its way out."""
    out: list[Finding] = []
    for text in warnings:
        meaning, _, remedy = text.rpartition(": ")
        out.append(Finding(check, check, {}, meaning, "look", remedy) if meaning else Finding(check, check, {}, text, "look"))
    return out or [Finding(check, check, {}, _FINE[check])]


_FINE = {
    "task": "the kind of the target is plain, or was given",
    "columns": "no column names the rows, gives the target away or holds free text",
    "rows": "the test rows are enough to tell a score",
    "twins": "no more rows than by chance have a row with the same features on the other side of the split",
    "split": "every class is among the rows that train, and no group is on both sides",
}


def _targets(at: Looked) -> dict[str, np.ndarray]:
    """The target of the rows in the order of their file: values or codes, NaN where missing."""
    y, labeled = at.data.y, at.data.labeled
    if not isinstance(y, Tensor) or at.target.task not in ("classification", "regression"):
        return {}
    known = np.ones(len(y), bool) if not isinstance(labeled, Tensor) else labeled.numpy()
    columns = [y.argmax(1).double().numpy()] if at.target.task == "classification" else list(y.double().numpy().T)
    return {name: np.where(known, values, np.nan)[: at.n] for name, values in zip(at.targets, columns, strict=False)}
