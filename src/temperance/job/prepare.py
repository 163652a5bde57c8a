"""From a source of rows to tensors, splits and static plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Regularizer
from temperance.core.shown import shown
from temperance.data import Dataset
from temperance.data.image_files import Told
from temperance.job.backbone import Named, named
from temperance.job.beyond import drawn_part, refuse_apart, with_further
from temperance.job.build import load_build
from temperance.job.row_warnings import class_warning
from temperance.job.sources import Rows, missing_targets, name_of, read_rows
from temperance.search.defined import on_defined_folds
from temperance.search.image_plans import image_plans
from temperance.search.kadra import METRIC, SPACES, check_space
from temperance.search.plans import network_plans, tabular_plans
from temperance.search.space import StaticPlan
from temperance.train.follow import balanced
from temperance.train.metrics import Metric, metric_for
from temperance.train.ways import DEFAULT_MEMORY


@shown
@dataclass(eq=False, kw_only=True)
class Prepared(Rows):
    """Rows ready to train on; ``weight`` holds their own weights, without those that balance classes."""

    plans: list[StaticPlan]
    metric: Metric
    source: str
    weight: Tensor | None = None


def prepare(
    source: Any,
    target: str | Sequence[str] | None = None,
    *,
    test: Any = None,
    ignore: Sequence[str] = (),
    weight: str | None = None,
    task: str | None = None,
    na: str | Sequence[str] | None = None,
    dates: str | None = None,
    keep: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    metric: str | None = None,
    model: str | None = None,
    backbone: str | Named | None = None,
    use: Sequence[str | Regularizer] = (),
    without: Sequence[str] = (),
    seed: int = 0,
    budget: float | None = None,
    space: str | None = None,
    told: Told | None = None,
    memory: str | int = DEFAULT_MEMORY,
    room: str | Path | None = None,
) -> Prepared:
    """Read, understand, split and encode the rows; choose the static plans.

    ``backbone`` is a name, or what the name stands for. ``told`` hears the share of the images, or of a table beyond ``memory``, that is read;
    ``room`` is a folder on the disk that takes such a table.

    Raises:
        DataError, ConfigError: whatever cannot be used, with the way out.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(expected("seed", "fit", "to be a whole number in [0, inf)", seed))
    check_space(space)
    if space is not None and model is not None:
        raise ConfigError(expected("model", "fit", f"to be None with the space {space!r}, which brings its networks", model, "Leave one of them out."))
    part = None if room is None else drawn_part(source, memory, seed)
    if part is not None:
        refuse_apart(part, group, time)
    given = source if part is None else part.table
    frozen = named(backbone) if isinstance(backbone, str) else backbone
    asked: dict[str, Any] = {"test": test, "ignore": ignore, "weight": weight, "task": task, "na": na, "dates": dates}
    rows = read_rows(given, target, **asked, keep=keep, group=group, time=time, seed=seed, told=told, backbone=frozen)
    if part is not None and room is not None:
        rows = with_further(rows, part, target, weight=weight, seed=seed, room=room, told=told)
    data = rows.data
    balancing = space is not None and metric is None and rows.target.task == "classification"
    judge = metric_for(METRIC if balancing else metric, rows.target.task)
    rows.split, undefined = on_defined_folds(rows.split, data, judge)
    rows.notes += undefined
    learned = rows.split.folds[0][0].tolist()
    if judge.name == "balanced_accuracy":
        rows.data = replace(data, weight=balanced(data, rows.split.train))
        if data.further is not None:
            data.further.factors = _class_factors(data, rows.data)
        rows.notes.append("rows are weighted so that every class counts alike, as the metric is balanced accuracy")
    rows.notes += missing_targets(data)
    rows.warnings += class_warning(data, judge.name)
    if space is not None:
        plans = SPACES[space](rows.data, learned, use=use, without=without)
    elif model is not None:
        plans = network_plans(load_build(model), rows.data, use=use, without=without)
    elif rows.images is not None and rows.backbone is None:
        plans = image_plans(rows.data, learned, folds=len(rows.split.folds), seconds=budget, use=use, without=without)
    else:
        plans = tabular_plans(rows.data, learned, use=use, without=without)
    return Prepared(**vars(rows), plans=plans, metric=judge, source=name_of(source), weight=data.weight)


def _class_factors(data: Dataset, weighted: Dataset) -> Tensor:
    """By what the weights of a row of each class were multiplied."""
    assert isinstance(data.y, Tensor) and weighted.weight is not None
    own = torch.ones(len(data)) if data.weight is None else data.weight
    known = own > 0
    codes, ratio = data.y.argmax(1)[known], (weighted.weight / own)[known]
    return torch.zeros(data.y.shape[1]).scatter_reduce_(0, codes, ratio, "mean", include_self=False)
