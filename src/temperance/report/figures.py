"""The figures of the report: how good beside rivals, learning curves, penalties, the gap, the classes, one strength on its range.

A figure says n in its caption and names its axes with their units. Each is drawn at the size it is read at: a wide one twice
(page and phone), a panel once, because panels stack.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.svg import Canvas, Frame, Scale, scale_for, text_width, tick_labels

if TYPE_CHECKING:
    import pandas

WIDE, PANEL = 720, 350
_MOST_POINTS = 400


@dataclass(frozen=True)
class Figure:
    """Drawings with their caption.

    Attributes:
        panels: The drawings, side by side where there is room.
        caption: What is seen, with n.
        narrow: A second drawing for narrow screens, in place of ``panels``.
        legend: Pairs (style class, label).
        more: Further panels, folded away.
    """

    panels: list[Markup]
    caption: str
    narrow: Markup | None = None
    legend: list[tuple[str, str]] = field(default_factory=list)
    more: list[Markup] = field(default_factory=list)


@dataclass(frozen=True)
class Estimate:
    """A score with its interval; unknown parts are None."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    ours: bool = False
    seconds: float | None = None

    @property
    def width(self) -> float | None:
        """Length of the interval."""
        return None if self.low is None or self.high is None else self.high - self.low

    def text(self, decimals: int, between: str = " to ") -> str:
        """The value and, in brackets, its interval."""
        between = words.interval(self.low, self.high, decimals, between)
        return words.fixed(self.value, decimals) + (f" ({between})" if between else "")


# ------------------------------------------------------------------------------------------------ scores beside rivals


def comparison(rows: Sequence[Estimate], axis: str, caption: str, *, greater: bool) -> Figure:
    """Dots with intervals, one row a model, on one axis; a far-off trivial rule is an arrow at the edge with its number."""
    wide = _comparison(rows, axis, WIDE, greater)
    if "arrow" in wide:
        caption += " An arrow points to a value beyond the axis."
    return Figure([wide], caption, narrow=_comparison(rows, axis, PANEL, greater))


def _window(rows: Sequence[Estimate]) -> list[float]:
    """The values the axis must hold: all, except a trivial rule that would squeeze the others into a corner."""
    ends = [[v for v in (r.value, r.low, r.high) if v is not None] for r in rows]
    near = [v for r, e in zip(rows, ends, strict=True) if not is_trivial(r.name) for v in e]
    every = [v for e in ends for v in e]
    if len(near) < 2:
        return every
    span = max(near) - min(near)
    return every if max(every) - min(every) <= 2.5 * span or span == 0 else near


def is_trivial(name: str) -> bool:
    """Whether a rival is a rule that ignores the columns."""
    return re.search(r"\b(majority|mean|median|constant|dummy)\b", name.lower()) is not None


def _comparison(rows: Sequence[Estimate], axis: str, width: int, greater: bool) -> Markup:
    wide = width >= 600
    decimals = words.decimals_for([r.value for r in rows], [r.width for r in rows])
    texts = [r.text(decimals, " to " if wide else "–") for r in rows]
    if wide:
        names = max([text_width(r.name, 13.5) for r in rows] + [120])
        left, right = min(names + 22, 250), width - max(text_width(t, 13) for t in texts) - 22
        step, first = 31, 16
    else:
        left, right, step, first = 10.0, width - 10.0, 48, 30
    bottom = first + step * (len(rows) - 1) + (20 if wide else 14)
    canvas = Canvas(width, bottom + 38, f"{axis}: " + "; ".join(f"{r.name} {t}" for r, t in zip(rows, texts, strict=True)), "wide" if wide else "narrow")
    x = scale_for(_window(rows), left + 8, right - 8, margin=0.05)
    ticks = x.ticks(6 if wide else 4)
    for value, label in zip(ticks, tick_labels(ticks), strict=True):
        canvas.line(x(value), 2 if wide else first - 8, x(value), bottom, "rule")
        canvas.text(x(value), bottom + 16, label, "tick", "middle")
    canvas.line(left, bottom, right, bottom, "axis")
    canvas.text(right, bottom + 33, f"{axis}, {'higher' if greater else 'lower'} is better", "title", "end")
    for k, (row, text) in enumerate(zip(rows, texts, strict=True)):
        y = first + k * step
        who = "ours" if row.ours else "rival"
        if wide:
            canvas.text(0, y + 4.5, words.shorten(row.name, 30), f"name {who}")
            canvas.text(width, y + 4.5, text, f"value {who}", "end")
        else:
            canvas.text(0, y - 12, words.shorten(row.name, int((width - text_width(text, 13.5) - 12) / text_width("n", 13.5))), f"name {who}")
            canvas.text(width, y - 12, text, f"value {who}", "end")
        if row.value is None:
            continue
        if not x.low <= row.value <= x.high:
            edge, sign = (left, 1) if row.value < x.low else (right, -1)
            canvas.polyline([(edge + sign * 7, y - 5), (edge, y), (edge + sign * 7, y + 5)], f"arrow {who}")
            continue
        if row.low is not None and row.high is not None:
            canvas.line(x.clamp(row.low), y, x.clamp(row.high), y, f"interval {who}")
        canvas.dot(x(row.value), y, 4.8 if row.ours else 4, f"estimate {who}", title=f"{row.name}: {text}")
    return canvas.svg()


# ------------------------------------------------------------------------------------------------ curves over training

Line = tuple[list[tuple[float, float]], str]


def curves(history: pandas.DataFrame | None, run: str, column: str, clock: str) -> list[list[tuple[float, float]]]:
    """The points (clock, column) of ``run``, one list a trial, without gaps and thinned to what can be seen."""
    if history is None or not {"run", column, clock} <= set(history.columns):
        return []
    rows = history[history["run"] == run]
    groups = [part for _, part in rows.groupby("trial", dropna=False)] if "trial" in rows.columns else [rows]
    found: list[list[tuple[float, float]]] = []
    for part in groups:
        pairs = ((words.finite(a), words.finite(b)) for a, b in zip(part[clock].tolist(), part[column].tolist(), strict=True))
        points = sorted((a, b) for a, b in pairs if a is not None and b is not None)
        every = math.ceil(len(points) / _MOST_POINTS)
        if points:
            found.append(points[::every] + ([points[-1]] if (len(points) - 1) % every else []) if every > 1 else points)
    return found


def clock_of(history: pandas.DataFrame | None) -> tuple[str, str]:
    """The column that serves as x, with its axis title: epochs where they are known, else steps."""
    if history is not None and "epoch" in history.columns and any(words.finite(v) is not None for v in history["epoch"].tolist()):
        return "epoch", "epochs (passes over the training rows)"
    return "step", "optimizer steps"


def _curve_panel(lines: list[Line], x_title: str, y_title: str, stop: float | None, *, log: bool | None = None) -> Markup:
    ys = [y for points, _ in lines for _, y in points]
    if log is None:
        log = bool(ys) and min(ys) > 0 and max(ys) / min(ys) > 20
    frame = Frame(46, 32, PANEL - 8, 206)
    canvas = Canvas(PANEL, 242, f"{y_title} against {x_title}")
    xs = [x for points, _ in lines for x, _ in points]
    x = Scale(min([0.0, *xs]), max([*xs, 1e-9]), frame.left, frame.right)
    y = scale_for(ys, frame.bottom, frame.top, log=log)
    frame.grid(canvas, x, y, x_title, y_title + (", log scale" if log else ""), y_ticks=5)
    if stop is not None and x.low <= stop <= x.high:
        at = x(stop)
        canvas.line(at, frame.top, at, frame.bottom, "stop")
        late = at > (frame.left + frame.right) / 2
        canvas.text(
            at + (-5 if late else 5),
            frame.top + 9,
            f"kept: {'epoch' if x_title.startswith('epoch') else 'step'} {words.number(stop)}",
            "note",
            "end" if late else "start",
        )
    for points, css in lines:
        canvas.polyline([(x(a), y(b)) for a, b in points], f"curve {css}")
        if len(points) == 1:
            canvas.dot(x(points[0][0]), y(points[0][1]), 3, f"point {css}")
    if stop is not None:
        for points, css in lines:
            if css == "validation":
                near = min(points, key=lambda p: abs(p[0] - stop))
                canvas.dot(x(near[0]), y(near[1]), 4, "point validation")
    return canvas.svg()


def stopping_point(history: pandas.DataFrame | None, stopping: Mapping[str, Any], clock: str) -> float | None:
    """Where the kept weights stand on the x axis."""
    best = words.finite(stopping.get(f"best_{clock}"))
    if best is not None or clock == "step" or history is None or not {"run", "step", "epoch"} <= set(history.columns):
        return best
    step = words.finite(stopping.get("best_step"))
    rows = history[(history["run"] == "winner") & (history["step"] == step)]
    return words.finite(rows["epoch"].tolist()[0]) if step is not None and len(rows) else None


def learning(history: pandas.DataFrame | None, summary: Mapping[str, Any], metric: str, axis: str, loss_unit: str) -> Figure | None:
    """Clean training and validation loss and score of the winner, its stopping point, and the run without a cocktail."""
    clock, x_title = clock_of(history)
    stop = stopping_point(history, summary.get("stopping") or {}, clock)
    panels: list[Markup] = []
    seen: set[str] = set()
    for quantity, title in (("loss", f"data loss ({loss_unit})"), ("score", axis)):
        lines: list[Line] = []
        for run, thin in (("without", " thin"), ("winner", "")):
            for rows in ("train", "validation"):
                lines += [(points, rows + thin) for points in curves(history, run, f"{rows}_{quantity}", clock)]
        if any("thin" not in css for _, css in lines):
            seen |= {css for _, css in lines}
            panels.append(_curve_panel(lines, x_title, title, stop))
    if not panels:
        return None
    split = (summary.get("data") or {}).get("split") or {}
    n_train = words.finite((summary.get("gap") or {}).get("n_train_curve")) or words.finite(split.get("train"))
    parts = [f"n = {words.count(n_train, 'training row')} measured clean" if n_train else "Training rows measured clean"]
    parts[0] += " (no noise, no dropout, no mixing, no penalty)"
    if words.finite(split.get("validation")) is not None:
        parts[0] += f" and {words.count(split['validation'], 'validation row')}"
    folds = words.finite(split.get("folds"))
    parts[0] += f". Means over {words.count(folds, 'fold')}, one network each." if folds else ". One network, one seed."
    if any("thin" in css for css in seen):
        parts.append("Thin lines: the same network with every strength off.")
    if stop is not None:
        parts.append("The dashed rule marks the weights that were kept.")
    names = [
        ("train", "training rows"),
        ("validation", "validation rows"),
        ("train thin", "training, no cocktail"),
        ("validation thin", "validation, no cocktail"),
    ]
    return Figure(panels, " ".join(parts), legend=[(css, label) for css, label in names if css in seen])


def penalties(history: pandas.DataFrame | None, summary: Mapping[str, Any], loss_unit: str) -> Figure | None:
    """Each penalty beside, and never summed with, the data loss."""
    clock, x_title = clock_of(history)
    if history is None:
        return None
    lines: list[Line] = []
    legend: list[tuple[str, str]] = []
    names = {_bare("penalty_" + str(r.get("regularizer"))): str(r.get("regularizer")) for r in (summary.get("cocktail") or {}).get("rows") or []}
    for column in [c for c in map(str, history.columns) if c.startswith("penalty_")]:
        found = [[p for p in points if p[1] != 0] for points in curves(history, "winner", column, clock)]
        found = [points for points in found if points]
        if found:
            css = f"series-{len(legend) % 5 + 1}"
            legend.append((css, names.get(_bare(column), column.removeprefix("penalty_").replace("_", " "))))
            lines += [(points, css) for points in found]
    if not lines:
        return None
    data = curves(history, "winner", "train_loss", clock) or curves(history, "winner", "loss_running", clock)
    lines += [(points, "train") for points in data]
    if data:
        legend.append(("train", "data loss, training rows"))
    everything = [y for points, _ in lines for _, y in points]
    panel = _curve_panel(lines, x_title, f"added to the objective ({loss_unit})", None, log=min(everything) > 0)
    split = (summary.get("data") or {}).get("split") or {}
    n = words.finite(split.get("train"))
    caption = f"n = {words.count(n, 'training row')}. " if n else f"n = {words.count(len(lines[0][0]), 'evaluation')}. "
    return Figure([panel], caption + "Each penalty apart from the data loss; validation and test scores contain no penalty.", legend=legend)


def _bare(column: str) -> str:
    return column.removeprefix("penalty_").replace("_", "").lower()


# ------------------------------------------------------------------------------------------------ the gap


def gap(groups: Sequence[tuple[str, Mapping[str, Any]]], axis: str, caption: str, *, greater: bool, sizes: Mapping[str, Any]) -> Figure:
    """Score on training, validation and test rows, with the cocktail and without: the length of the bar is the gap."""
    labels = [("train-dot", "training rows"), ("validation-tick", "validation rows"), ("test-dot", "untouched rows")]
    used = {k for _, scores in groups for k in scores if words.finite(scores[k]) is not None}
    legend = [
        (css, name + (f", n = {int(n):,}" if (n := words.finite(sizes.get(css.split("-")[0]))) is not None else ""))
        for css, name in labels
        if css.split("-")[0] in used
    ]
    return Figure([_gap(groups, axis, WIDE, greater)], caption, narrow=_gap(groups, axis, PANEL, greater), legend=legend)


def _gap(groups: Sequence[tuple[str, Mapping[str, Any]]], axis: str, width: int, greater: bool) -> Markup:
    wide = width >= 600
    left, right = (170.0, width - 120.0) if wide else (10.0, width - 10.0)
    step, first = (46, 26) if wide else (58, 44)
    bottom = first + step * (len(groups) - 1) + 26
    values = [v for _, scores in groups for v in map(words.finite, scores.values()) if v is not None]
    x = scale_for(values, left + 8, right - 8)
    canvas = Canvas(width, bottom + 38, f"{axis} on training, validation and untouched rows", "wide" if wide else "narrow")
    ticks = x.ticks(6 if wide else 4)
    for value, label in zip(ticks, tick_labels(ticks), strict=True):
        canvas.line(x(value), 4 if wide else first - 12, x(value), bottom, "rule")
        canvas.text(x(value), bottom + 16, label, "tick", "middle")
    canvas.line(left, bottom, right, bottom, "axis")
    canvas.text(right, bottom + 33, f"{axis}, {'higher' if greater else 'lower'} is better", "title", "end")
    decimals = max(words.decimals_for(values), 3 if values and max(map(abs, values)) < 10 else 0)
    for k, (name, scores) in enumerate(groups):
        y = first + k * step
        who = "ours" if k == 0 else "rival"
        train, test = words.finite(scores.get("train")), words.finite(scores.get("test"))
        end = test if test is not None else words.finite(scores.get("validation"))
        text = "" if train is None or end is None else f"gap {words.fixed(train - end if greater else end - train, decimals)}"
        canvas.text(0, y + 4.5 if wide else y - 18, name, f"name {who}")
        canvas.text(width, y + 4.5 if wide else y - 18, text, f"value {who}", "end")
        if train is not None and end is not None:
            canvas.line(x(train), y, x(end), y, f"span {who}")
        middle = words.finite(scores.get("validation"))
        if middle is not None:
            canvas.line(x(middle), y - 10, x(middle), y + 10, "validation-tick")
        for rows, value in (("train", train), ("test", test)):
            if value is not None:
                canvas.dot(x(value), y, 6, f"{rows}-dot", title=f"{name}, {rows}: {words.fixed(value, decimals)}")
    return canvas.svg()


# ------------------------------------------------------------------------------------------------ classes, one strength


def class_bars(counts: Mapping[str, Any], most: int = 12) -> Figure | None:
    """How many rows each class has; rare classes beyond ``most`` are summed."""
    known = sorted(((str(k), words.finite(v) or 0.0) for k, v in counts.items()), key=lambda kv: -kv[1])
    total = sum(v for _, v in known)
    if not known or total <= 0:
        return None
    shown = known if len(known) <= most else [*known[: most - 1], (f"{len(known) - most + 1} other classes", sum(v for _, v in known[most - 1 :]))]
    return Figure([_bars(shown, total, WIDE)], f"n = {words.count(total, 'row')} with a known class.", narrow=_bars(shown, total, PANEL))


def _bars(rows: Sequence[tuple[str, float]], total: float, width: int) -> Markup:
    names = 20 if width >= 600 else 14
    left = min(max(text_width(words.shorten(name, names), 13) for name, _ in rows) + 22, 200)
    right, step = width - 106.0, 24
    bottom = 6.0 + step * len(rows)
    x = Scale(0.0, max(v for _, v in rows), left, right)
    canvas = Canvas(width, bottom + 38, "rows in each class", "wide" if width >= 600 else "narrow")
    ticks = x.ticks(5 if width >= 600 else 2)
    for value, label in zip(ticks, tick_labels(ticks), strict=True):
        canvas.line(x(value), 2, x(value), bottom, "rule")
        canvas.text(x(value), bottom + 16, label, "tick", "middle")
    canvas.line(left, 2, left, bottom, "axis")
    canvas.text(right, bottom + 33, "rows", "title", "end")
    for k, (name, value) in enumerate(rows):
        y = 6 + k * step
        canvas.rect(left, y + 3, x(value) - left, step - 9, "bar")
        canvas.text(left - 9, y + 15, words.shorten(name, names), "name", "end")
        canvas.text(width, y + 15, f"{int(value):,} · {value / total:.0%}", "value", "end")
    return canvas.svg()


def is_off(value: Any, off: Any) -> bool:
    """Whether a strength stands at its off value; ``"inf"`` and infinity are the same."""
    try:
        return value is not None and off is not None and float(value) == float(off)
    except (TypeError, ValueError):
        return value == off


def strength_scale(row: Mapping[str, Any]) -> Markup | None:
    """One strength on its search range, with the off mark; None where the range is unknown."""
    low, high, value = words.finite(row.get("low")), words.finite(row.get("high")), words.finite(row.get("value"))
    log = bool(row.get("log")) and (low or 0) > 0
    if low is None or high is None or not low < high:
        return None
    width, y, gutter = 250, 11, 26
    try:
        off = float(row["off"]) if row.get("off") is not None else None
    except (TypeError, ValueError):
        off = None
    below, above = off is not None and off < low, off is not None and off > high
    left, right = 8.0 + (gutter if below else 0), width - 8.0 - (gutter if above else 0)
    x = Scale(low, high, left, right, log)
    canvas = Canvas(width, 32, f"{words.number(row.get('value'))} between {words.number(low)} and {words.number(high)}", "scale")
    canvas.line(left, y, right, y, "axis")
    if log:
        for power in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1):
            canvas.line(x(10.0**power), y - 2.5, x(10.0**power), y + 2.5, "axis")
    for end, at, anchor in ((low, left, "start"), (high, right, "end")):
        canvas.line(at, y - 4, at, y + 4, "axis")
        if off != end:
            canvas.text(at + (-3 if anchor == "start" else 3), y + 19, words.number(end), "tick", anchor)
    spot = None
    if off is not None:
        spot = 8.0 if below else width - 8.0 if above else x(off)
        canvas.dot(spot, y, 4, "off-mark")
        # held inside the drawing
        canvas.text(min(max(spot, 9.0), width - 9.0), y + 19, "off", "tick", "middle")
    if value is not None or is_off(row.get("value"), row.get("off")):
        if spot is not None and is_off(row.get("value"), row.get("off")):
            canvas.dot(spot, y, 5.5, "estimate rival")
        elif value is not None:
            canvas.dot(x.clamp(value), y, 5.5, "estimate ours")
    return canvas.svg()
