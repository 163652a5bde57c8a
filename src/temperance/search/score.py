"""Scores on test rows, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.ambient import plainly
from temperance.core.batch import map_leaves
from temperance.core.criterion import Criterion
from temperance.data.dataset import Dataset
from temperance.data.splits import Split
from temperance.train.allocator import keep_freed_memory
from temperance.train.metrics import Metric, metrics_of

REPLICATES = 400
BLOCK = 1024
BLOCKS = (64, 256, BLOCK)
"""Sizes of the blocks of a prediction: the largest, and smaller ones for what is left, so that one row does not cost as much as a thousand."""


@plainly
def predict(model: nn.Module, criterion: Criterion, x: Any, block: int | None = None) -> Any:
    """Predictions of a network in padded blocks of few fixed sizes, so that a row's prediction does not depend on its neighbours.

    On a processor a row has the same bits in a block of any of the sizes; elsewhere all blocks have the largest one. A block goes to where the network is, and
    its predictions come back to where the rows are.

    Args:
        model: a plain network, in evaluation mode for the time of the call.
        criterion: turns outputs into probabilities or values.
        x: a tensor or a dict of tensors.
        block: rows per block, instead of :data:`BLOCKS`; the last one is filled up with copies of its first row.

    Returns:
        ``(n, outputs)``, of a network with several heads a dict of these.
    """
    keep_freed_memory()
    leaf = next(iter(x.values())) if isinstance(x, dict) else x
    n = len(leaf)
    where = next((p.device for p in model.parameters()), leaf.device)
    sizes = (block,) if block is not None else BLOCKS if where.type == "cpu" else BLOCKS[-1:]
    largest = sizes[-1]
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    parts: list[Any] = []
    try:
        with torch.no_grad():
            for a in range(0, n, largest):
                size = next((size for size in sizes if n - a <= size), largest)
                part = map_leaves(lambda t, a=a, size=size: _padded(t[a : a + size], size).to(where), x)
                parts.append(map_leaves(lambda t, a=a: t[: n - a].to(leaf.device), criterion.predict(model(part))))
    finally:
        for module, flag in flags:
            module.training = flag
    return map_leaves(lambda *leaves: torch.cat(leaves), *parts)


def _padded(rows: Tensor, size: int) -> Tensor:
    short = size - len(rows)
    return rows if not short else torch.cat([rows, rows[:1].expand(short, *rows.shape[1:])])


def counted(data: Dataset) -> Any:
    """What every row counts in a score ``(n,)``, nothing where its target is missing; a dict by head for several heads."""
    weight = torch.ones(len(data), device=data.leaves()[0].device) if data.weight is None else data.weight
    if data.labeled is None:
        return map_leaves(lambda _: weight, data.y)
    return map_leaves(lambda known: weight * known, data.labeled)


def test_rows(data: Dataset, split: Split) -> Dataset | None:
    """The test rows that have a target; ``None`` where there are none."""
    rows = data.known(split.test)
    return data.take(rows) if len(rows) else None


def heads_table(predictions: Any, data: Dataset, metric: Metric, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """The metric over heads, and every metric of every head as ``"head: metric"``, each with a 95 % bootstrap interval over rows.

    Args:
        predictions: probabilities or values ``(n, outputs)`` by head.
        data: with several heads; missing targets do not count.
        metric: over heads.
        seed: of the resampling.
    """
    assert isinstance(data.y, dict) and isinstance(data.task, dict)
    n, weight = len(data), counted(data)
    value = float(metric(predictions, data.y, weight))
    counts = torch.from_numpy(np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=REPLICATES).astype(np.float32))
    drawn = [float(metric(predictions, data.y, {name: w * count for name, w in weight.items()})) for count in counts]
    low, high = np.quantile(drawn, [0.025, 0.975])
    out = {metric.name: {"value": value, "low": float(low), "high": float(high)}}
    for name, kind in data.task.items():
        known = weight[name] > 0
        if known.any():
            table = score_table(predictions[name][known], data.y[name][known], kind, weight=weight[name][known], seed=seed)
            out |= {f"{name}: {key}": scores for key, scores in table.items()}
    return out


def in_units(task: str, predictions: Tensor, y: Tensor, mean: Any = None, sd: Any = None) -> tuple[Tensor, Tensor]:
    """Values in the target's own units, if a mean and a standard deviation are given."""
    if task != "regression" or mean is None:
        return predictions, y
    m, s = torch.as_tensor(mean, dtype=torch.float64), torch.as_tensor(sd, dtype=torch.float64)
    return predictions.double() * s + m, y.double() * s + m


def score_table(
    predictions: Tensor, y: Tensor, task: str, *, weight: Tensor | None = None, seed: int = 0, metrics: list[Metric] | None = None
) -> dict[str, dict[str, float]]:
    """Every metric of the task with a 95 % bootstrap interval over rows.

    Args:
        predictions: probabilities or values ``(n, outputs)``.
        y: targets ``(n, outputs)``.
        task: which metrics apply.
        weight: row weights ``(n,)``.
        metrics: some of them only.
        seed: of the resampling.

    Returns:
        metric name to ``value``, ``low``, ``high``.

    Example:
        >>> table = score_table(torch.eye(2).repeat(20, 1), torch.eye(2).repeat(20, 1), "classification")
        >>> table["accuracy"]
        {'value': 1.0, 'low': 1.0, 'high': 1.0}
    """
    n = len(y)
    base = torch.ones(n) if weight is None else weight
    generator = np.random.default_rng(seed)
    out: dict[str, dict[str, float]] = {}
    counts = torch.from_numpy(generator.multinomial(n, np.full(n, 1.0 / n), size=REPLICATES).astype(np.float32))
    for metric in metrics or metrics_of(task):
        value = float(metric(predictions, y, base))
        drawn: list[Tensor] = []
        sorting = metric.name in ("auc", "average_precision")
        few = counts[: REPLICATES // 4] if sorting else counts
        size = max(1, 2_000_000 // max(1, n * (1 if sorting else y.shape[1])))  # what sorts does so once for all of them, and column by column
        for a in range(0, len(few), size):
            w = few[a : a + size] * base
            drawn.append(metric(predictions.expand(len(w), *predictions.shape), y.expand(len(w), *y.shape), w))
        spread = torch.cat(drawn).double().numpy()
        spread = spread[np.isfinite(spread)]
        low, high = np.quantile(spread, [0.025, 0.975]) if len(spread) else (value, value)
        out[metric.name] = {"value": value, "low": float(low), "high": float(high)}
    return out
