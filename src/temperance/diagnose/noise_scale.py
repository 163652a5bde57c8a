"""How many rows of a minibatch it takes until their gradient is as much signal as noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from temperance.diagnose.finding import Finding, Skip
from temperance.diagnose.subject import Subject, dot

BATCHES = 32
FEWEST = 8
LEVEL = 0.95


def noise_scale(subject: Subject) -> list[Finding]:
    """Estimates the gradient noise scale, the minibatch size at which the noise of a gradient is as large as the gradient itself.

    Formula: B = tr(Σ) / |G|², with the mean gradient G of the loss and the covariance Σ of the gradients of single rows. Of K disjoint minibatches of b
    rows with gradients g_k, and their mean ḡ, both are estimated without bias: |G|² as the mean of g_j · g_k over all pairs, tr(Σ) as b times the mean of
    |g_k - ḡ|² over K - 1. The interval is Fieller's for a ratio, with variances by the jackknife over minibatches: where |G|² cannot be told from zero,
    as at the end of training, it has no upper end; where the rows say nothing it begins at 0.

    What: a plain gradient step with minibatches of B rows gains half of what it gains with all rows, each at its best rate, where the loss bends
    alike in all directions; smaller minibatches gain nearly in proportion to their rows, much larger ones hardly more. It grows while a network
    learns, so it is about the network as it is; clean rows and evaluation mode, so noise of a cocktail is not in it. It is never bad.

    Cost: two gradients of all rows.

    When: to choose the batch size: at much less than B, two machines or twice the rows a step nearly halve the steps; beyond it they waste rows.

    Reference: McCandlish, Kaplan & Amodei (2018), An empirical model of large-batch training; Fieller (1954), Some problems in interval estimation.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(net.weight)
        >>> x = torch.ones(16, 1)
        >>> y = torch.tensor([1.0, 3.0] * 8)  # gradients -1 and -3: their variance is 16 / 15, and |G|² about 4 - 1 / 15
        >>> found = tp.diagnose(net, (x, y), criterion=torch.nn.MSELoss(), checks="noise_scale")["noise_scale"].value
        >>> round(found["noise_scale"], 4)  # (16 / 15) / (4 - 1 / 15)
        0.2712
    """
    parts = _minibatches(subject)
    k, b = parts.shape
    gradients = [subject.train.take(part) for part in parts]
    mean = [torch.zeros_like(p) for p in subject.params.values()]
    squares: list[float] = []
    for rows in gradients:
        _, g = subject.gradient(rows=rows)
        squares.append(dot(g, g))
        for total, one in zip(mean, g, strict=True):
            total.add_(one, alpha=1 / k)
    along = [dot(mean, subject.gradient(rows=rows)[1]) for rows in gradients]
    found = estimated(torch.tensor(squares, dtype=torch.float64), torch.tensor(along, dtype=torch.float64), dot(mean, mean), b)
    value = {"noise_scale": found[0], "low": found[1], "high": found[2], "signal": found[3], "noise": found[4], "minibatches": k, "batch_size": b}
    return [Finding("noise_scale", "noise_scale", value, _said(*found[:3], k * b))]


def _minibatches(subject: Subject) -> Tensor:
    """Positions of rows ``(minibatches, rows)``."""
    n = len(subject.train)
    if n < FEWEST:
        raise Skip(f"the noise of a gradient shows in {FEWEST} training rows or more")
    k = min(n, BATCHES)
    order = subject.rng("noise_scale").permutation(n)
    return order[: k * (n // k)].reshape(k, n // k)


def estimated(squares: Tensor, along: Tensor, whole: float, b: int) -> tuple[float, float, float, float, float]:
    """The noise scale, the ends of its interval, and the estimates of |G|² and tr(Σ).

    Args:
        squares: |g_k|² of every minibatch.
        along: g_k · ḡ.
        whole: |ḡ|².
        b: rows of a minibatch.

    Example:
        >>> found = estimated(torch.tensor([1.0, 1.0, 4.0]), torch.tensor([1.0, 1.0, 2.0]) * 4 / 3, 16 / 9, 10)  # gradients 1, 1, 2
        >>> [round(v, 3) for v in found[3:]]  # the mean product of pairs, and 10 times the variance
        [1.667, 3.333]
    """
    k = len(squares)
    signal, noise = _both(squares.mean(), torch.as_tensor(whole, dtype=torch.float64), k, b)
    left = (k * k * whole - 2 * k * along + squares) / (k - 1) ** 2  # |ḡ|² without one minibatch
    each = torch.stack(_both((squares.sum() - squares) / (k - 1), left, k - 1, b))
    away = each - each.mean(1, keepdim=True)
    spread = (k - 1) / k * away @ away.T
    ratio = float(noise / signal) if signal > 0 else math.inf
    variances = float(spread[1, 1]), float(spread[0, 1]), float(spread[0, 0])
    low, high = fieller(float(noise), float(signal), *variances, quantile(k - 1))
    if high < 0:  # rows that the network has fitted: their gradients cancel better than those of independent rows
        low, high = float(k * b), math.inf
    return ratio, max(0.0, low), high, float(signal), float(noise)


def _both(squares: Tensor, whole: Tensor, k: int, b: int) -> tuple[Tensor, Tensor]:
    """|G|² and tr(Σ) from the mean of |g_k|² over k minibatches and |ḡ|²."""
    return (k * whole - squares) / (k - 1), b * k / (k - 1) * (squares - whole)


def fieller(a: float, b: float, vaa: float, vab: float, vbb: float, t: float) -> tuple[float, float]:
    """The interval of the ratio a / b of two uncertain numbers; up to infinity where b may be zero and a is not.

    Args:
        a: the numerator, above zero.
        b: the denominator.
        vaa: variance of a.
        vab: covariance.
        vbb: variance of b.
        t: how many standard errors are within the interval.

    Example:
        >>> low, high = fieller(2.0, 1.0, 0.0, 0.0, 0.01, 2.0)  # 2 / (1 ± 0.2)
        >>> round(low, 3), round(high, 3), fieller(2.0, 0.1, 0.0, 0.0, 0.01, 2.0)[1]
        (1.667, 2.5, inf)
    """
    square, half, last = b * b - t * t * vbb, a * b - t * t * vab, a * a - t * t * vaa
    inside = half * half - square * last
    if inside < 0 or (square <= 0 and last <= 0):
        return 0.0, math.inf
    if square <= 0:  # the ratios outside of two roots, of which the positive one is the lower end
        root = last / (half + math.sqrt(inside)) if half + math.sqrt(inside) > 0 else math.inf
        return root, math.inf
    return (half - math.sqrt(inside)) / square, (half + math.sqrt(inside)) / square


def quantile(freedom: int) -> float:
    """Student's t beyond which so few lie on either side."""
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, freedom))


def _said(ratio: float, low: float, high: float, rows: int) -> str:
    if math.isfinite(high):
        return (
            f"The gradient of {_rows(ratio)} ({_short(low)} to {_short(high)}) is as much noise as signal: with fewer a plain gradient step gains nearly "
            "in proportion to them, with many more hardly anything."
        )
    if low >= 1:
        return (
            f"The gradient of all {rows:,} rows cannot be told from noise, and that of fewer than {math.floor(low):,} is more noise than signal: a larger "
            "batch size, or a smaller learning rate, makes steps that agree."
        )
    return f"{rows:,} rows are too few to tell how much of their gradient is noise."


def _rows(count: float) -> str:
    return "1 row" if round(count) <= 1 else f"{_short(count)} rows"


def _short(count: float) -> str:
    return f"{max(1.0, float(f'{count:.2g}')):,.0f}"
