"""How far a score on validation rows may be off by chance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from temperance.train.metrics import Metric, OverHeads

BY_ROW = ("accuracy", "log_loss", "mae")


def standard_error(metric: Metric, predictions: Any, y: Any, weight: Any) -> Tensor:
    """The standard error of a score: what it would vary by on other rows of the same kind.

    A mean over rows has sqrt(sum w^2 (s - mean)^2) / sum w, which is sqrt(p (1 - p) / n) for the accuracy p. RMSE and R2 follow from the mean squared
    error by its derivative, given the spread of the targets. Balanced accuracy adds the variances of its classes. The area under the ROC curve has
    the formula of Hanley and McNeil (1982), and several areas are taken as independent. The average precision has that of the delta method: the root of the
    summed squares of its derivatives by the weights of the rows, times these weights. The mean over heads has at most the mean of their errors, since
    heads share rows. A metric that is none of these gives NaN.

    Args:
        metric: the score.
        predictions: ``(..., n, k)``; with several heads a dict of these, as are the others.
        y: ``(..., n, k)``.
        weight: ``(..., n)``.

    Returns:
        ``(...)``.

    Example:
        >>> from temperance.train.metrics import metric_for
        >>> p, y = torch.tensor([[0.9, 0.1]] * 100), torch.eye(2)[torch.arange(100) % 2]
        >>> round(float(standard_error(metric_for("accuracy", "classification"), p, y, torch.ones(100))), 4)
        0.05
    """
    if isinstance(metric.function, OverHeads):
        return metric.function(predictions, y, weight, standard_error)
    if metric.name in BY_ROW:
        return _of_mean(metric(predictions.unsqueeze(-2), y.unsqueeze(-2), weight.unsqueeze(-1)), weight)
    if metric.name in ("rmse", "r2"):  # rows are brought next to each other: the order of a strided sum depends on the number of members
        squared = (predictions - y).square()
        if metric.name == "rmse":
            error, mean = _of_mean(squared.mean(-1), weight), _mean(squared.mean(-1), weight)
            return error / (2.0 * mean.sqrt()).clamp_min(1e-12)
        center = _mean(y.movedim(-1, 0).contiguous(), weight).movedim(0, -1).unsqueeze(-2)
        spread = _mean((y - center).square().movedim(-1, 0).contiguous(), weight).movedim(0, -1).clamp_min(1e-12)
        return _of_mean((squared / spread.unsqueeze(-2)).mean(-1), weight)
    if metric.name == "balanced_accuracy":
        return _of_recalls(predictions, y, weight)
    if metric.name == "auc":
        return _of_areas(metric(predictions, y, weight), y, weight)
    if metric.name == "average_precision":
        return _of_precisions(predictions, y, weight, labels="multilabel" in metric.tasks)
    return torch.full(predictions.shape[:-2], float("nan"), dtype=predictions.dtype, device=predictions.device)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum(-1) / weight.sum(-1).clamp_min(1e-12)


def _of_mean(values: Tensor, weight: Tensor) -> Tensor:
    off = (values - _mean(values, weight).unsqueeze(-1)) * weight
    return off.square().sum(-1).sqrt() / weight.sum(-1).clamp_min(1e-12)


def _of_recalls(predictions: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    hard = torch.nn.functional.one_hot(y.argmax(-1), y.shape[-1]).to(predictions.dtype) * weight.unsqueeze(-1)
    hit = (predictions.argmax(-1) == y.argmax(-1)).to(predictions.dtype).unsqueeze(-1)
    counts = hard.sum(-2)
    recall = (hard * hit).sum(-2) / counts.clamp_min(1e-12)
    there = counts > 0
    variance = torch.where(there, recall * (1.0 - recall) / counts.clamp_min(1e-12), torch.zeros_like(recall))
    return variance.sum(-1).sqrt() / there.sum(-1).clamp_min(1)


def _of_areas(area: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    classes = 1 if y.shape[-1] == 2 else y.shape[-1]
    positive = ((y > 0.5).to(weight.dtype) * weight.unsqueeze(-1)).sum(-2)[..., -classes:]
    negative = weight.sum(-1, keepdim=True) - positive
    a = area.unsqueeze(-1)
    q1, q2 = a / (2.0 - a), 2.0 * a.square() / (1.0 + a)
    variance = a * (1.0 - a) + (positive - 1.0) * (q1 - a.square()) + (negative - 1.0) * (q2 - a.square())
    there = (positive > 0) & (negative > 0)
    each = torch.where(there, variance.clamp_min(0.0) / (positive * negative).clamp_min(1e-12), torch.zeros_like(variance))
    return each.sum(-1).sqrt() / there.sum(-1).clamp_min(1)


def _of_precisions(predictions: Tensor, y: Tensor, weight: Tensor, labels: bool) -> Tensor:
    p, shape = predictions.cpu(), predictions.shape[:-2]
    several = [1] if p.shape[-1] == 2 and not labels else range(p.shape[-1])
    members = zip(
        p.reshape(-1, *p.shape[-2:]),
        (y.cpu().expand_as(p) > 0.5).double().reshape(-1, *p.shape[-2:]),
        weight.cpu().double().expand(p.shape[:-1]).reshape(-1, p.shape[-2]),
        strict=True,
    )
    out: list[Tensor] = []
    for scores, positive, w in members:
        there = [c for c in several if float((w * positive[:, c]).sum()) > 0]
        parts = [_influence(scores[:, c], positive[:, c], w) for c in there]
        out.append((w * torch.stack(parts).mean(0)).square().sum().sqrt() if parts else torch.tensor(float("nan"), dtype=torch.float64))
    return torch.stack(out).reshape(shape).to(predictions)


def _influence(score: Tensor, positive: Tensor, w: Tensor) -> Tensor:
    """The derivative of the average precision by the weight of each row ``(n,)``."""
    _, group = torch.unique(-score, return_inverse=True)  # the highest score first
    n = int(group.max()) + 1
    hit = torch.zeros(n, dtype=torch.float64).index_add_(0, group, w * positive)
    found, every = hit.cumsum(0), torch.zeros(n, dtype=torch.float64).index_add_(0, group, w).cumsum(0).clamp_min(1e-12)
    value, total = (hit * found / every).sum() / hit.sum(), hit.sum()
    gained = (hit / every).flip(0).cumsum(0).flip(0)  # over the scores that are not above the row's
    lost = (hit * found / every.square()).flip(0).cumsum(0).flip(0)
    return (positive * (found / every - value + gained)[group] - lost[group]) / total
