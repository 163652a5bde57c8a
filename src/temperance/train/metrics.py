"""Scores of predictions, over any leading dimensions, so that a population is scored in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from temperance.core.errors import ConfigError


@dataclass(frozen=True)
class Metric:
    """A score.

    Attributes:
        name: as given on the command line.
        greater_is_better: its direction.
        optimum: the best possible value, or ``None`` where there is none to reach.
        tasks: where it applies.
        function: ``(predictions (..., n, k), y (..., n, k), weight (..., n)) -> (...)``; predictions are probabilities or values, and dicts by
            head for :class:`OverHeads`.
    """

    name: str
    greater_is_better: bool
    optimum: float | None
    tasks: tuple[str, ...]
    function: Callable[[Any, Any, Any], Tensor]

    @property
    def sign(self) -> float:
        """1 where a greater score is better, else -1."""
        return 1.0 if self.greater_is_better else -1.0

    def __call__(self, predictions: Any, y: Any, weight: Any) -> Tensor:
        return self.function(predictions, y, weight)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(-1) / weight.sum(-1).clamp_min(1e-12)


def _accuracy(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return _mean((p.argmax(-1) == y.argmax(-1)).to(p.dtype), w)


def _exact(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return _mean(((p > 0.5) == (y > 0.5)).to(p.dtype).mean(-1), w)


def _balanced(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    hard = torch.nn.functional.one_hot(y.argmax(-1), y.shape[-1]).to(p.dtype) * w.unsqueeze(-1)
    hit = (p.argmax(-1) == y.argmax(-1)).to(p.dtype).unsqueeze(-1)
    seen = hard.sum(-2)
    recall = (hard * hit).sum(-2) / seen.clamp_min(1e-12)
    there = (seen > 0).to(p.dtype)
    return (recall * there).sum(-1) / there.sum(-1).clamp_min(1.0)


def _log_loss(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return _mean(-(y * p.clamp_min(1e-12).log()).sum(-1), w)


def _binary_log_loss(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    q = p.clamp(1e-12, 1 - 1e-7)
    return _mean(-(y * q.log() + (1 - y) * (1 - q).log()).mean(-1), w)


def _auc_one(score: Tensor, positive: Tensor, w: Tensor) -> Tensor:
    """Area under the ROC curve of one vector with ties, under each of some weights ``(weights, n)``."""
    pos, neg = _by_score(score, positive, w, descending=False)
    total = pos.sum(1) * neg.sum(1)
    below = neg.cumsum(1) - neg
    return torch.where(total > 0, (pos * (below + 0.5 * neg)).sum(1) / total, math.nan)


def _precision_one(score: Tensor, positive: Tensor, w: Tensor) -> Tensor:
    """Average precision of one vector, under each of some weights ``(weights, n)``.

    Σ (R_k - R_{k-1}) P_k over the distinct scores from the highest on, so that ties count at once.
    """
    pos, neg = _by_score(score, positive, w, descending=True)
    precision = pos.cumsum(1) / (pos + neg).cumsum(1).clamp_min(1e-300)
    return torch.where(pos.sum(1) > 0, (pos * precision).sum(1) / pos.sum(1), math.nan)


def _by_score(score: Tensor, positive: Tensor, w: Tensor, descending: bool) -> tuple[Tensor, Tensor]:
    """Weights of the positive and of the negative rows at every distinct score, ``(weights, scores)`` each."""
    order = torch.argsort(score, descending=descending, stable=True)
    y, weight = positive[order], w[:, order].double()
    _, group = torch.unique_consecutive(score[order], return_inverse=True)
    none = torch.zeros(len(w), int(group.max()) + 1 if len(group) else 0, dtype=torch.float64)
    return none.index_add(1, group, weight * y), none.index_add(1, group, weight * (1 - y))


def _auc(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """One class against the rest, macro average; for two classes the plain area."""
    return _areas(p, y, w, [1] if p.shape[-1] == 2 else range(p.shape[-1]))


def _average_precision(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """One class against the rest, macro average over the classes that are there; for two classes that of the second."""
    return _areas(p, y, w, [1] if p.shape[-1] == 2 else range(p.shape[-1]), _precision_one)


def _label_auc(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Mean of the areas of all labels."""
    return _areas(p, y, w, range(p.shape[-1]))


def _label_precision(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Mean of the average precisions of all labels."""
    return _areas(p, y, w, range(p.shape[-1]), _precision_one)


def _areas(p: Tensor, y: Tensor, w: Tensor, columns: Sequence[int], one: Callable[[Tensor, Tensor, Tensor], Tensor] = _auc_one) -> Tensor:
    device, p, y, w = p.device, p.cpu(), y.cpu(), w.cpu()  # as many parts as there are scores: known to the host alone
    shape, y, weights = p.shape[:-2], y.expand_as(p), w.expand(p.shape[:-1]).reshape(-1, p.shape[-2])
    rows = zip(p.reshape(-1, *p.shape[-2:]), y.reshape(-1, *p.shape[-2:]), weights.unsqueeze(1), strict=True)
    if len(weights) > 1 and _repeated(p) and _repeated(y):  # resamples of the same rows: sorted once
        first = (0,) * len(shape)
        rows = [(p[first], y[first], weights)]
    out = [torch.stack([one(a[:, c], (b[:, c] > 0.5).double(), v) for c in columns]).nanmean(0) for a, b, v in rows]
    return torch.cat(out).reshape(shape).to(device, p.dtype)


def _repeated(rows: Tensor) -> bool:
    """Whether all leading entries are the same memory, as of :meth:`Tensor.expand`."""
    return not any(stride for size, stride in zip(rows.shape[:-2], rows.stride()[:-2], strict=True) if size > 1)


def _rmse(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return _mean((p - y).square().mean(-1), w).sqrt()


def _mae(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return _mean((p - y).abs().mean(-1), w)


def _r2(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    total = w.unsqueeze(-1)
    center = (y * total).sum(-2, keepdim=True) / total.sum(-2, keepdim=True)
    residual, spread = ((p - y).square() * total).sum(-2), ((y - center).square() * total).sum(-2)
    return (1.0 - residual / spread.clamp_min(1e-12)).mean(-1)


CLASSES, LABELS, VALUES = ("classification",), ("multilabel",), ("regression",)
METRICS: dict[str, tuple[Metric, ...]] = {
    "accuracy": (Metric("accuracy", True, 1.0, CLASSES, _accuracy), Metric("accuracy", True, 1.0, LABELS, _exact)),
    "balanced_accuracy": (Metric("balanced_accuracy", True, 1.0, CLASSES, _balanced),),
    "log_loss": (Metric("log_loss", False, 0.0, CLASSES, _log_loss), Metric("log_loss", False, 0.0, LABELS, _binary_log_loss)),
    "auc": (Metric("auc", True, 1.0, CLASSES, _auc), Metric("auc", True, 1.0, LABELS, _label_auc)),
    "average_precision": (
        Metric("average_precision", True, 1.0, CLASSES, _average_precision),
        Metric("average_precision", True, 1.0, LABELS, _label_precision),
    ),
    "rmse": (Metric("rmse", False, 0.0, VALUES, _rmse),),
    "mae": (Metric("mae", False, 0.0, VALUES, _mae),),
    "r2": (Metric("r2", True, 1.0, VALUES, _r2),),
}
DEFAULT = {"classification": "accuracy", "multilabel": "log_loss", "regression": "r2"}


COMMON_SCALE = {"classification": "accuracy", "multilabel": "accuracy", "regression": "r2"}


@dataclass(frozen=True)
class OverHeads:
    """The mean of one score per head, of predictions, targets and weights that are dicts by head; heads without known targets do not count.

    Example:
        >>> mean = OverHeads((("kind", METRICS["accuracy"][0]), ("price", METRICS["r2"][0])))
        >>> p = {"kind": torch.eye(2), "price": torch.tensor([[1.0], [2.0]])}
        >>> y = {"kind": torch.eye(2).flip(0), "price": torch.tensor([[1.0], [2.0]])}
        >>> mean(p, y, {"kind": torch.tensor([1.0, 1.0]), "price": torch.ones(2)})
        tensor(0.5000)
        >>> mean(p, y, {"kind": torch.tensor([0.0, 0.0]), "price": torch.ones(2)})
        tensor(1.)
    """

    parts: tuple[tuple[str, Metric], ...]

    def __call__(self, predictions: Any, y: Any, weight: Any, measure: Callable[..., Tensor] | None = None) -> Tensor:
        """The mean over heads; ``measure(metric, predictions, y, weight)`` stands in for the score itself."""
        each: list[Tensor] = []
        there: list[Tensor] = []
        for name, metric in self.parts:
            p, w = predictions[name], weight[name]
            known = torch.where((w > 0).unsqueeze(-1), y[name], torch.zeros_like(y[name]))
            value = metric(p, known, w) if measure is None else measure(metric, p, known, w)
            counts = w.sum(-1) > 0
            each.append(torch.where(counts, value, torch.zeros_like(value)))
            there.append(counts.to(value.dtype))
        return torch.stack(each).sum(0) / torch.stack(there).sum(0).clamp_min(1.0)


def heads_metric(task: Mapping[str, str], parts: Mapping[str, Metric] | None = None) -> Metric:
    """What decides among networks with several heads: the mean over heads of the accuracy of classes and labels and the R2 of values.

    These share a scale on which 1 is best; the losses of the heads do not.

    Args:
        task: of every head by name.
        parts: other scores for some of them, of the same scale.

    Example:
        >>> heads_metric({"kind": "classification", "price": "regression"}).name
        'mean_score'
    """
    given = parts or {}
    return Metric("mean_score", True, 1.0, (), OverHeads(tuple((name, given.get(name) or metric_for(COMMON_SCALE[kind], kind)) for name, kind in task.items())))


def metric_for(name: str | None, task: Any) -> Metric:
    """The metric of this name for this task (the task's default without a name).

    Raises:
        ConfigError: unknown, or not for this task; the ones that fit are named.
    """
    if isinstance(task, dict):
        raise ConfigError("A network with several heads has no single metric; its data loss decides.")
    wanted = (name or DEFAULT[task]).lower().replace("-", "_")
    wanted = {"roc_auc": "auc", "pr_auc": "average_precision", "ap": "average_precision", "r²": "r2", "logloss": "log_loss", "acc": "accuracy"}.get(
        wanted, wanted
    )
    fitting = [key for key, made in METRICS.items() if any(task in m.tasks for m in made)]
    for metric in METRICS.get(wanted, ()):
        if task in metric.tasks:
            return metric
    raise ConfigError(f"Expected `metric` for {task} to be one of {', '.join(fitting)}, got {name!r}.")


def metrics_of(task: str) -> list[Metric]:
    """Every metric that applies to a task."""
    return [m for made in METRICS.values() for m in made if task in m.tasks]


def better_index(scores: list[float], greater: bool) -> int:
    """Position of the best score; NaN loses against every number, and the first wins a tie."""
    best = 0
    for i, score in enumerate(scores):
        if score != score:
            continue
        if scores[best] != scores[best] or (score > scores[best] if greater else score < scores[best]):
            best = i
    return best
