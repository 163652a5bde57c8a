"""Whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from temperance.core.criterion import criterion_for
from temperance.diagnose.finding import Finding, Skip, graded, weight_of
from temperance.diagnose.subject import Subject

BINS, DRAWS = 15, 40
LOOK, BAD = 0.02, 0.05


def calibration(subject: Subject) -> list[Finding]:
    """Measures the expected calibration error (ECE) and the temperature that would correct it.

    Formula: rows in 15 bins by confidence, ECE = Σ_b n_b/n |accuracy_b − confidence_b|. The temperature T > 0 minimizes the log-loss of softmax(z / T) on the
    same rows: above one the network is too sure, below one not sure enough. As an ECE is above zero even for perfect probabilities, it is compared
    with that of labels drawn from the probabilities themselves: bad where it is above all 40 draws and 0.05 above their mean.

    What: validation rows; on training rows, where none are given, a network is always better calibrated than elsewhere. The last bin is closed:
    confidences of exactly one count as any other.

    When: probabilities are used and not classes alone.

    Reference: Guo, Pleiss, Sun & Weinberger (2017), On calibration of modern neural networks.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(1, 2, bias=False)
        >>> _ = net.weight.data.copy_(torch.tensor([[9.0], [-9.0]]))  # always sure, three times in four right
        >>> tp.diagnose(net, (torch.ones(200, 1), torch.arange(200) % 4 // 3), checks="calibration").causes
        ('miscalibration',)
    """
    task = subject.task
    if task == "regression":
        raise Skip("values have no probabilities")
    rows = subject.train if subject.validation is None else subject.validation
    z = subject.outputs(rows).double()
    assert isinstance(rows.y, Tensor)
    y = rows.y.cpu()
    if z.dim() != 2 or z.shape != y.shape:
        raise Skip("the outputs are not one score per class")
    criterion = criterion_for(task)
    if task == "classification":
        target = y.argmax(1)
    else:
        z, target = z.reshape(-1, 1), y.reshape(-1).round().long()
    goal = torch.nn.functional.one_hot(target, z.shape[1]).double() if task == "classification" else target.double().unsqueeze(1)

    def loss(log_t: float) -> float:
        return float(criterion.per_row(z * np.exp(-log_t), goal).mean())

    best: Any = minimize_scalar(loss, bounds=(-3.0, 5.0), method="bounded")
    t = float(np.exp(best.x))
    p, mended = criterion.predict(z), criterion.predict(z / t)
    before, after = ece(p, target), ece(mended, target)
    rng = subject.rng("calibration")
    drawn = [ece(p, _draw(p, rng.uniform((len(p),), torch.float64))) for _ in range(DRAWS)]
    noise, highest = float(np.mean(drawn)), float(np.max(drawn))
    value = {
        "ece": before,
        "ece_by_chance": noise,
        "temperature": t,
        "ece_after": after,
        "log_loss": loss(0.0),
        "log_loss_after": float(best.fun),
        "rows": len(y),
    }
    data = {"bins": reliability(p, target), "tempered": reliability(mended, target)}
    where = "training" if subject.validation is None else "validation"
    text = (
        f"Confidence and accuracy differ by {before:.3f} on {len(y):,} {where} rows, {noise:.3f} of it by chance; a temperature of {t:.2f} leaves {after:.3f}."
    )
    verdict = graded(before - noise, LOOK, BAD) if before > highest else "fine"
    if verdict == "fine":
        return [Finding("calibration", "calibration", value, text, data=data)]
    sure = "too sure" if t > 1 else "not sure enough"
    remedy = f"The network is {sure}: divide its scores by {t:.2f}" + (
        "; LabelSmoothing, MixUp, EarlyStopping, WeightDecay and averages of networks make it less sure." if t > 1 else ", smooth labels less, regularize less."
    )
    return [Finding("calibration", "miscalibration", value, text, verdict, remedy, weight_of(before - noise, BAD), data)]


def ece(p: Tensor, target: Tensor) -> float:
    """The expected calibration error of probabilities ``(n, classes)``, or of one label's ``(n, 1)``.

    Example:
        >>> round(ece(torch.tensor([[0.6, 0.4], [0.2, 0.8]]), torch.tensor([0, 1])), 4)
        0.3
    """
    return error_of(reliability(p, target))


def error_of(bins: Sequence[Mapping[str, Any]]) -> float:
    """The expected calibration error, Σ n_b / n · |right_b - confidence_b|, of bins as :func:`reliability` makes them.

    Source:
        Guo et al., *On calibration of modern neural networks* (2017).

    Example:
        >>> round(error_of([{"n": 3, "confidence": 0.9, "right": 1.0}, {"n": 1, "confidence": 0.6, "right": 0.0}]), 3)
        0.225
    """
    n = sum(b["n"] for b in bins)
    return sum(b["n"] * abs(b["right"] - b["confidence"]) for b in bins) / max(n, 1)


def reliability(p: Tensor, target: Tensor) -> list[dict[str, float]]:
    """Rows, confidence and share of right rows of every bin that has rows.

    The bins are ``[b / 15, (b + 1) / 15)``; the last one is closed, so a confidence of exactly 1 is in it. The confidence of a row is the largest
    probability of its classes; where ``p`` has one column it is the probability of the label, and a row counts as right where it has the label.

    Args:
        p: probabilities ``(n, classes)``, or of one label ``(n, 1)``.
        target: classes ``(n,)``, or zeros and ones.

    Example:
        >>> [(b["n"], b["confidence"], b["right"]) for b in reliability(torch.tensor([[1.0], [1.0], [0.0]]), torch.tensor([1, 0, 0]))]
        [(1, 0.0, 0.0), (2, 1.0, 0.5)]
    """
    p = p.double()
    confidence, right = (p[:, 0], target.double()) if p.shape[1] == 1 else (p.max(1).values, (p.argmax(1) == target).double())
    index = (confidence * BINS).long().clamp_max(BINS - 1)
    out: list[dict[str, float]] = []
    for b in range(BINS):
        inside = index == b
        if bool(inside.any()):
            row = {"n": int(inside.sum()), "confidence": float(confidence[inside].mean()), "right": float(right[inside].mean())}
            out.append({"low": b / BINS, "high": (b + 1) / BINS, **row})
    return out


def _draw(p: Tensor, uniform: Tensor) -> Tensor:
    """Labels drawn from probabilities."""
    if p.shape[1] == 1:
        return (uniform < p[:, 0]).long()
    return (uniform.unsqueeze(1) > p.cumsum(1)).sum(1).clamp_max(p.shape[1] - 1)
