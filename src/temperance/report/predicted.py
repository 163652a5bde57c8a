"""How the answers on test rows lie: predicted against true values with residuals, and precision against recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, Figure
from temperance.report.svg import Canvas, Frame, Scale, scale_for

_FRAME = Frame(58, 32, PANEL - 8, 262)
_HEIGHT = 298


def residuals(facts: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What the template lays out for each target: a sentence and the figure."""
    return [_of_target(row) for row in (facts or {}).get("targets") or [] if row.get("points")]


def _of_target(row: Mapping[str, Any]) -> dict[str, Any]:
    mean, low, high = (words.number(row.get(key)) for key in ("mean", "low", "high"))
    said = f"Residuals (predicted − true) of {row.get('name')}: mean {mean}; nine of ten lie between {low} and {high}."
    n, drawn = words.finite(row.get("n")) or 0, len(row["points"])
    caption = f"n = {words.count(n, 'test row')}" + (f", of which {drawn:,} are drawn" if drawn < n else "") + ". "
    caption += "On the line the prediction is right. Both axes are in the unit of the target."
    return {"said": said, "figure": Figure([_against(row, said), _left(row, said)], caption, legend=[("test-dot", "test rows"), ("stop", "no error")])}


def _against(row: Mapping[str, Any], said: str) -> Markup:
    canvas = Canvas(PANEL, _HEIGHT, f"predicted against true values. {said}")
    every = [float(v) for point in row["points"] for v in point]
    x, y = scale_for(every, _FRAME.left, _FRAME.right), scale_for(every, _FRAME.bottom, _FRAME.top)
    name = words.shorten(str(row.get("name")), 22)
    _FRAME.grid(canvas, x, y, f"true {name} (its unit)", f"predicted {name} (its unit)", x_ticks=4)
    canvas.polyline([(x(v), y(v)) for v in (x.low, x.high)], "stop")
    for true, guess in row["points"]:
        canvas.dot(x(true), y(guess), 2, "test-dot")
    return canvas.svg()


def _left(row: Mapping[str, Any], said: str) -> Markup:
    canvas = Canvas(PANEL, _HEIGHT, f"residuals against predicted values. {said}")
    x = scale_for([float(guess) for _, guess in row["points"]], _FRAME.left, _FRAME.right)
    y = scale_for([0.0, *(float(guess) - float(true) for true, guess in row["points"])], _FRAME.bottom, _FRAME.top)
    name = words.shorten(str(row.get("name")), 22)
    _FRAME.grid(canvas, x, y, f"predicted {name} (its unit)", "residual: predicted − true (same unit)", x_ticks=4)
    canvas.polyline([(_FRAME.left, y(0.0)), (_FRAME.right, y(0.0))], "stop")
    for true, guess in row["points"]:
        canvas.dot(x(guess), y(guess - true), 2, "test-dot")
    return canvas.svg()


def precision_recall(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the template lays out: a sentence and the curve."""
    if not facts or not facts.get("points"):
        return None
    area, base, name = words.fixed(facts.get("average_precision"), 3), words.fixed(facts.get("base_rate"), 3), str(facts.get("class"))
    kind = "label" if facts.get("kind") == "label" else "class"
    said = f"“{name}” is the rarest {kind}. Its average precision is {area}; a model that cannot tell it apart has its base rate, {base}."
    if facts.get("scored"):
        said += f" The average precision among the scores is {facts['scored']}."
    canvas = Canvas(PANEL, _HEIGHT, f"precision against recall for {name}: average precision {area}, base rate {base}")
    x, y = Scale(0.0, 1.0, _FRAME.left, _FRAME.right), Scale(-0.03, 1.03, _FRAME.bottom, _FRAME.top)
    _FRAME.grid(canvas, x, y, "recall: share of its rows that are found", "precision: share of the found rows that are right", y_ticks=5)
    rate = words.finite(facts.get("base_rate")) or 0.0
    canvas.polyline([(x(0.0), y(rate)), (x(1.0), y(rate))], "stop")
    canvas.polyline([(x(recall), y(precision)) for recall, precision in facts["points"]], "curve series-1")
    n = words.finite(facts.get("n"))
    caption = f"n = {words.count(n, 'test row')}, {words.number(facts.get('positives'), 6)} of them {name}"
    caption += ", weighted as in the scores." if facts.get("weighted") else "."
    caption += " Along the curve, from left to right, a lower probability is enough to call a row so."
    return {"said": said, "figure": Figure([canvas.svg()], caption, legend=[("series-1", "temperance"), ("stop", "base rate")])}
