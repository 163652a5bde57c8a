"""The figures of curves over a strength and over the number of rows: means over seeds, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from temperance.core.errors import ConfigError
from temperance.report import words
from temperance.report.figures import PANEL, Figure
from temperance.report.strengths import is_off
from temperance.report.svg import Canvas, Frame, Scale, scale_for

if TYPE_CHECKING:
    from temperance.train.curves import Curve

COVERED = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over seeds at one place of the x axis; ``x`` is None where the strength is off."""

    x: float | None
    value: float
    low: float
    high: float


Series = tuple[str, str, list[Mean]]  # style class, name in the legend, means


def mean(x: float | None, value: float, sd: float, n: float) -> Mean:
    """A mean with its 95 % interval by Student's t; of one seed there is none.

    Example:
        >>> found = mean(1.0, 0.5, 0.1, 4)
        >>> round(found.high - found.value, 4), mean(1.0, 0.5, float("nan"), 1).low
        (0.1591, 0.5)
    """
    from scipy.stats import t

    half = float(t.ppf((1 + COVERED) / 2, n - 1)) * sd / math.sqrt(n) if n > 1 and math.isfinite(sd) else 0.0
    return Mean(x, value, value - half, value + half)


def figure(curve: Curve) -> Figure:
    """The drawing of a curve over a strength, or over the number of rows.

    Raises:
        ConfigError: a table that has lost its columns.
    """
    if curve.attrs.get("x") == "value" and {"value", "n", "train_loss", "validation_loss", "train_score", "validation_score"} <= set(curve.columns):
        return _of_strength(curve)
    if curve.attrs.get("x") == "rows" and {"rows", "model", "n", "validation_score"} <= set(curve.columns):
        return _of_rows(curve)
    columns = ", ".join(map(str, curve.columns))
    raise ConfigError(f"Expected the table of `validation_curve` or `learning_curve` with its columns, got {columns}. Draw it before it is cut.")


def _of_strength(curve: Curve) -> Figure:
    facts = curve.attrs
    task = "nats per row" if facts["task"] in ("classification", "multilabel") else "mean per row"
    greater = bool(facts.get("greater", False))
    score = words.metric_axis(facts["metric"]) if "metric" in facts else "loss"
    series = {name: _series(curve, name) for name in ("loss", "score")}
    held = series["score"][1][2]
    best = (max if greater else min)(held, key=lambda m: m.value) if held else None
    title = str(facts["strength"])
    panels = [_strength_panel(series["loss"], title, f"data loss ({task})", best, log=facts["log"])]
    if "metric" in facts:
        panels.append(_strength_panel(series["score"], title, score, best, log=facts["log"]))
    more = f"{title} is the {facts['meaning']}; at the left end it is off." if facts["meaning"] else "At the left end the strength is off."
    return Figure(panels, _caption(curve, f"{more} The dashed rule marks the best mean score on validation rows."), legend=LEGEND)


LEGEND = [("train", "training rows"), ("validation", "validation rows")]


def _series(curve: Curve, quantity: str) -> list[Series]:
    out: list[Series] = []
    for css, name in LEGEND:
        column = f"{css}_{quantity}"
        found: list[Mean] = []
        for row in curve.to_dict("records"):
            value = words.finite(row[column])
            if value is not None:
                x = None if is_off(row["value"], curve.attrs["off"]) else float(row["value"])
                found.append(mean(x, value, float(row.get(f"{column}_sd", math.nan)), float(row["n"])))
        out.append((css, name, found))
    return out


def _strength_panel(series: Sequence[Series], x_title: str, y_title: str, best: Mean | None, *, log: bool) -> Markup:
    frame, gutter = Frame(46, 32, PANEL - 8, 206), 56.0
    places = [m.x for _, _, means in series for m in means if m.x is not None and (m.x > 0 or not log)]
    x = scale_for(places, frame.left + 46, frame.right - 6, log=log, margin=0.0)
    ends = [v for _, _, means in series for m in means for v in (m.low, m.high)]
    values = [m.value for _, _, means in series for m in means]
    tall = bool(values) and min(values) > 0 and max(values) / min(values) > 20
    y = scale_for(values if tall else ends, frame.bottom, frame.top, log=tall)
    canvas = Canvas(PANEL, 242, f"{y_title} against {x_title}")
    frame.grid(canvas, x, y, f"{x_title}{', log scale' if log else ''}", y_title + (", log scale" if tall else ""), x_ticks=4 if places else 0, y_ticks=5)
    canvas.text(gutter, frame.bottom + 16, "off", "tick", "middle")
    canvas.line(frame.left + 24, frame.top, frame.left + 24, frame.bottom, "rule")
    if best is not None:
        at = gutter if best.x is None else x(best.x)
        canvas.line(at, frame.top, at, frame.bottom, "stop")
        late = at > (frame.left + frame.right) / 2
        canvas.text(at + (-5 if late else 5), frame.top + 9, f"best: {'off' if best.x is None else words.number(best.x)}", "note", "end" if late else "start")
    for css, name, means in series:
        _draw(canvas, css, name, [(gutter if m.x is None else x(m.x), m) for m in means if m.x is None or m.x > 0 or not log], y, joined=1)
    return canvas.svg()


def _of_rows(curve: Curve) -> Figure:
    facts = curve.attrs
    series: list[Series] = []
    for k, model in enumerate(dict.fromkeys(curve["model"].tolist())):
        part = curve[curve["model"] == model].to_dict("records")
        means = [
            mean(float(row["rows"]), float(row["validation_score"]), float(row.get("validation_score_sd", math.nan)), float(row["n"]))
            for row in part
            if words.finite(row["validation_score"]) is not None
        ]
        series.append((f"series-{k % 5 + 1}", str(model), means))
    frame = Frame(46, 32, PANEL - 8, 206)
    sizes = sorted({m.x for _, _, means in series for m in means if m.x is not None})
    x = scale_for(sizes, frame.left + 6, frame.right - 6, log=True, margin=0.03)
    y = scale_for([v for _, _, means in series for m in means for v in (m.low, m.high)], frame.bottom, frame.top)
    score = words.metric_axis(facts["metric"]) if "metric" in facts else "loss"
    canvas = Canvas(PANEL, 242, f"{score} against training rows")
    frame.grid(canvas, x, y, "training rows, log scale", f"validation {score}", x_ticks=5, y_ticks=5)
    for css, name, means in series:
        _draw(canvas, css, name, [(x(m.x), m) for m in means if m.x is not None], y)
    return Figure([canvas.svg()], _caption(curve, ""), legend=[(css, name) for css, name, _ in series])


def _draw(canvas: Canvas, css: str, name: str, drawn: Sequence[tuple[float, Mean]], y: Scale, joined: int = 0) -> None:
    """Means with their intervals, joined by a line from the given one on."""
    line = [(at, y(m.value)) for at, m in drawn if m.x is not None or not joined]
    canvas.polyline(line, f"curve {css}")
    for at, m in drawn:
        if m.low < m.high:
            canvas.line(at, y.clamp(m.low), at, y.clamp(m.high), f"interval {css}")
        canvas.dot(at, y(m.value), 3.2, f"point {css}", title=f"{name}: {words.number(m.value)}")


def _caption(curve: Curve, more: str) -> str:
    """What n is, of seeds and of rows, and what the intervals are."""
    facts, seeds = curve.attrs, sorted({int(n) for n in curve["n"].tolist()})
    many = str(seeds[-1]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    trained = "" if facts["x"] == "rows" else f" trained on {words.count(facts['train'], 'row')} and"
    scored = words.count(facts["validation"], "validation row")
    text = f"n = {many} {'seed' if many == '1' else 'seeds'} a point,{trained} scored on {scored}."
    if seeds[-1] > 1:
        text += " Bars are 95 % intervals of the mean over seeds (Student's t)."
    return f"{text} {more}".strip()
