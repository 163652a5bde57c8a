"""How often a class that is predicted with a confidence is the right one: reliability, its error, and one temperature that mends it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from temperance.report import words
from temperance.report.figures import PANEL, Figure
from temperance.report.svg import Canvas, Frame, Scale, scale_for

_LEAST, _MOST = 0.05, 20.0


def tempered(p: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of the logits divided by a temperature: softmax(log p / T).

    Example:
        >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
        [[0.667, 0.333]]
    """
    logits = np.log(np.maximum(p.astype(np.float64), 1e-30)) / temperature
    logits -= logits.max(1, keepdims=True)
    out = np.exp(logits)
    return out / out.sum(1, keepdims=True)


def temperature_for(p: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the smallest log-loss on these rows, between 0.05 and 20."""
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        return float(-np.log(np.maximum(tempered(p, math.exp(log_t))[rows, labels], 1e-30)).mean())

    found: Any = minimize_scalar(loss, bounds=(math.log(_LEAST), math.log(_MOST)), method="bounded", options={"xatol": 1e-4})
    return float(math.exp(found.x))


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of ``n`` rows.

    Source:
        Wilson, *Probable inference, the law of succession, and statistical inference* (1927).

    Example:
        >>> [round(end, 3) for end in wilson(1.0, 10)]
        [0.722, 1.0]
    """
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def section(calibration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the template lays out: a sentence and the figure."""
    if not calibration or not calibration.get("bins"):
        return None
    n, ece = words.finite(calibration.get("n")), calibration.get("ece")
    said = f"Expected calibration error {words.fixed(ece, 4)}: how far confidence and share of right rows lie apart, weighted by the rows of each bin."
    after = calibration.get("tempered") or {}
    t = words.finite(after.get("temperature"))
    if t is not None:
        how = "less sure" if t > 1 else "surer"
        said += f" With one temperature T = {words.fixed(t, 2)}, fitted on the validation rows to the networks of the search, the model is {how} "
        said += f"and the error is {words.fixed(after.get('ece'), 4)}. The model ships without it."
    return {"said": said, "figure": _figure(calibration, after, int(n or 0))}


def _figure(calibration: Mapping[str, Any], after: Mapping[str, Any], n: int) -> Figure:
    bins = [b for b in calibration["bins"] if b.get("n")]
    frame = Frame(46, 32, PANEL - 8, 262)
    canvas = Canvas(PANEL, 298, "share of right rows against confidence")
    low = max(0.0, math.floor(10 * min(b["confidence"] for b in bins)) / 10 - 0.02)
    x = Scale(low, 1.02, frame.left, frame.right)
    y = Scale(-0.03, 1.03, frame.bottom, frame.top)
    frame.grid(canvas, x, y, "confidence: probability of the predicted class", "share of right rows", y_ticks=5)
    canvas.polyline([(x(low), y(low)), (x(1.0), y(1.0))], "stop")
    other = [b for b in after.get("bins") or [] if b.get("n") and b["confidence"] >= low]
    canvas.polyline([(x(b["confidence"]), y(b["right"])) for b in other], "curve validation thin")
    for b in bins:
        first, last = wilson(float(b["right"]), int(b["n"]))
        canvas.line(x(b["confidence"]), y(first), x(b["confidence"]), y(last), "interval ours")
    canvas.polyline([(x(b["confidence"]), y(b["right"])) for b in bins], "curve series-1")
    for b in bins:
        told = f"{words.count(b['n'], 'row')}: confidence {words.fixed(b['confidence'], 3)}, right {words.fixed(b['right'], 3)}"
        canvas.dot(x(b["confidence"]), y(b["right"]), 4, "estimate ours", title=told)
    legend = [("series-1", "as it is, with 95 % interval"), ("stop", "perfect")]
    if other:
        legend.insert(1, ("validation thin", f"with T = {words.fixed(after.get('temperature'), 2)}"))
    caption = f"n = {words.count(n, 'test row')} in 15 bins of equal width; bins without rows are left out. Below the diagonal the model is too sure."
    return Figure([canvas.svg(), _counts(bins, low)], caption, legend=legend)


def _counts(bins: list[Mapping[str, Any]], low: float) -> Any:
    frame = Frame(46, 32, PANEL - 8, 262)
    canvas = Canvas(PANEL, 298, "rows in each bin of confidence")
    x = Scale(low, 1.02, frame.left, frame.right)
    y = scale_for([1.0, *(float(b["n"]) for b in bins)], frame.bottom, frame.top, log=True)
    frame.grid(canvas, x, y, "confidence: probability of the predicted class", "rows, log scale", y_ticks=5)
    for b in bins:
        left, right = x(max(b["low"], low)), x(b["high"])
        canvas.rect(left + 1, y(b["n"]), right - left - 2, frame.bottom - y(b["n"]), "bar")
    return canvas.svg()
