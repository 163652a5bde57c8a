"""From a source of rows to tensors, splits and static plans."""

from __future__ import annotations

import hashlib
import importlib.util
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.regularizer import Regularizer
from temperance.data import Dataset, Split, TableEncoder, TargetEncoder, describe_columns, plan_split, read_table, table_dataset
from temperance.search.plans import network_plans, tabular_plans
from temperance.search.space import StaticPlan
from temperance.train.metrics import Metric, metric_for


@dataclass(eq=False)
class Prepared:
    """Data ready to train on, and how it was understood; ``weight`` holds the rows' own weights, without those that balance classes."""

    data: Dataset
    encoder: TableEncoder
    target: TargetEncoder
    split: Split
    plans: list[StaticPlan]
    metric: Metric
    columns: list[dict[str, Any]]
    notes: list[str]
    source: str
    title: str
    weight: Tensor | None = None


def name_of(source: Any) -> str:
    """A short name of a source of rows."""
    return Path(source).name if isinstance(source, (str, Path)) else type(source).__name__


def prepare(
    source: Any,
    target: str | Sequence[str],
    *,
    test: Any = None,
    ignore: Sequence[str] = (),
    weight: str | None = None,
    task: str | None = None,
    metric: str | None = None,
    model: str | None = None,
    use: Sequence[str | Regularizer] = (),
    without: Sequence[str] = (),
    seed: int = 0,
) -> Prepared:
    """Read, understand, split and encode the rows; choose the static plans.

    Raises:
        DataError, ConfigError: whatever cannot be used, with the mend.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(expected("seed", "fit", "to be a whole number in [0, inf)", seed))
    frame = read_table(source)
    targets = [target] if isinstance(target, str) else list(target)
    extra: pd.DataFrame | None = None
    if test is not None:
        extra = read_table(test, what="test data")
        missing = [name for name in frame.columns if name not in extra.columns and name not in ignore]
        if missing:
            raise DataError(f"Expected the test data to have the columns of the data, got none named {missing[0]!r}. Add it, or leave --test out.")
    n = len(frame)
    whole = frame if extra is None else pd.concat([frame, extra[[c for c in frame.columns if c in extra.columns]]], ignore_index=True)
    absent = [name for name in targets if name not in frame.columns]
    if absent:
        table_dataset(frame, targets)  # raises with near names
    values = whole[targets[0]] if len(targets) == 1 else whole[targets]
    first = TargetEncoder().fit(values, task, ", ".join(targets))
    y, labeled = first.encode(values)
    part = slice(0, n)
    split = plan_split(y[part], first.task, seed=seed, test=extra is None, labeled=None if labeled is None else labeled[part])
    if extra is not None:
        split = replace(split, test=np.arange(n, len(whole)))
    data, encoder, encoded = table_dataset(
        whole, targets, ignore=ignore, weight=weight, task=task, fit_rows=np.sort(split.folds[0][0]) if split.kind == "hold-out" else split.train
    )
    judge = metric_for(metric, encoded.task)
    notes: list[str] = []
    own_weight = data.weight
    if judge.name == "balanced_accuracy":
        data = replace(data, weight=balanced(data, split.train))
        notes.append("rows are weighted so that every class counts alike, as the metric is balanced accuracy")
    if data.labeled is not None and isinstance(data.labeled, Tensor):
        count = int((~data.labeled).sum())
        notes.append(f"{count:,} rows have no target: they only serve regularizers that need none, such as VAT (--use VAT)")
    columns = describe_columns(list(encoder.columns))
    if model is not None:
        build = load_build(model)
        plans = network_plans(build, data, use=use, without=without)
    else:
        plans = tabular_plans(data, split.folds[0][0].tolist(), use=use, without=without)
    label = ", ".join(targets)
    return Prepared(data, encoder, encoded, split, plans, judge, columns, notes, name_of(source), f"{label} in {name_of(source)}", own_weight)


def balanced(data: Dataset, rows: Any) -> Tensor:
    """Weights that give every class the same total over the training rows, times the rows' own."""
    assert isinstance(data.y, Tensor)
    own = torch.ones(len(data)) if data.weight is None else data.weight
    totals = (data.y[rows] * own[rows, None]).sum(0)
    per_class = totals.sum() / (len(totals) * totals.clamp_min(1e-12))
    return own * (data.y * per_class).sum(1).clamp_min(1e-6)


def load_build(text: str) -> Callable[[Any], nn.Module]:
    """The function of ``FILE.py:build``, which the user named.

    Raises:
        ConfigError: no such file or function, or the file cannot be run.
    """
    file, _, name = text.rpartition(":")
    if not file or not name.isidentifier():
        raise ConfigError(f"Expected `--model` to be written FILE.py:build, got {text!r}.")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"Expected `--model` to name a Python file, got {file!r}, which does not exist.")
    spec = importlib.util.spec_from_file_location(f"temperance_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"Expected `--model` to name a Python file, got {file!r}.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises is told as the user's
        raise ConfigError(f"`--model`: {file} cannot be run: {type(error).__name__}: {error}.") from error
    if not callable(getattr(module, name, None)):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError(f"Expected {file} to have a function {name!r}, found {', '.join(known) or 'none'}.")
    build = getattr(module, name)

    def checked(data: Any) -> nn.Module:
        try:
            return build(data)
        except Exception as error:  # likewise
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == spec.origin]
            where = f"{file}:{lines[-1]}" if lines else file
            raise ConfigError(f"`--model`: {name}(data) failed at {where}: {type(error).__name__}: {error}.") from error

    return checked


def fingerprint(data: Dataset) -> str:
    """A short hash of the encoded rows, so that a replay knows the data is the same."""
    digest = hashlib.blake2b(digest_size=12)
    for leaf in data.leaves():
        digest.update(np.ascontiguousarray(leaf.numpy()).tobytes())
    return digest.hexdigest()
