"""Folds on which the score that decides is defined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from temperance.core.errors import DataError
from temperance.data.dataset import Dataset
from temperance.data.splits import Split
from temperance.search.score import counted
from temperance.train.metrics import Metric


def on_defined_folds(split: Split, data: Dataset, metric: Metric) -> tuple[Split, list[str]]:
    """The split with those of its folds on whose validation rows the metric is defined, and a note where some are not.

    An area under a curve needs rows of two classes, and of a rare class a fold may have none. A trial is judged by the mean over folds, which one
    such fold would make undefined for all trials.

    Args:
        split: of the rows.
        data: all rows.
        metric: what decides. Of several heads nothing is asked.

    Raises:
        DataError: it is defined on none.
    """
    if not isinstance(data.y, Tensor):
        return split, []
    weight = counted(data)
    sound = [(train, rows) for train, rows in split.folds if _is_defined(metric, data.y[rows], weight[rows], data.task)]
    if len(sound) == len(split.folds):
        return split, []
    if not sound:
        raise DataError(
            f"Expected validation rows on which `metric` {metric.name!r} is defined, got rows that are all of one class or value. "
            "Choose another metric, such as log_loss or rmse, or split otherwise."
        )
    out, whole = len(split.folds) - len(sound), len(split.folds)
    return replace(split, folds=sound), [f"{metric.name} is not defined on the validation rows of {out} of {whole} folds; the others judge the trials"]


def _is_defined(metric: Metric, y: Tensor, weight: Tensor, task: Any) -> bool:
    """Whether it is for predictions drawn at random: constant ones have no correlation with anything."""
    y = y.nan_to_num()
    drawn = torch.rand(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype).to(y.device)
    predictions = drawn / drawn.sum(1, keepdim=True) if task == "classification" else drawn
    return not bool(torch.as_tensor(metric(predictions, y, weight)).isnan().any())
