"""Curves over training: what the winner learned and when it stopped, and each penalty apart from the data loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, Figure
from temperance.report.svg import Canvas, Frame, Scale, scale_for

if TYPE_CHECKING:
    import pandas

_MOST_POINTS = 400
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


def _curve_panel(lines: list[Line], x_title: str, y_title: str, stop: float | None, *, log: bool | None = None, marked: str = "validation") -> Markup:
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
            f"best: {'epoch' if x_title.startswith('epoch') else 'step'} {words.number(stop)}",
            "note",
            "end" if late else "start",
        )
    for points, css in lines:
        canvas.polyline([(x(a), y(b)) for a, b in points], f"curve {css}")
        if len(points) == 1:
            canvas.dot(x(points[0][0]), y(points[0][1]), 3, f"point {css}")
    if stop is not None:
        for points, css in lines:
            if css == marked:
                near = min(points, key=lambda p: abs(p[0] - stop))
                canvas.dot(x(near[0]), y(near[1]), 4, f"point {marked}")
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
        parts.append("The dashed rule marks the best check.")
    names = [
        ("train", "training rows"),
        ("validation", "validation rows"),
        ("train thin", "training, no cocktail"),
        ("validation thin", "validation, no cocktail"),
    ]
    return Figure(panels, " ".join(parts), legend=[(css, label) for css, label in names if css in seen])


GROWS = (("weight_norm", "norm of the weights, ‖w‖"), ("non_linearity", "non-linearity (share of the outputs' variation)"))


def growth(history: pandas.DataFrame | None, summary: Mapping[str, Any]) -> Figure | None:
    """The winner's norm of the weights and non-linearity by epoch, its stopping point, and the run without a cocktail."""
    clock, x_title = clock_of(history)
    stop = stopping_point(history, summary.get("stopping") or {}, clock)
    panels: list[Markup] = []
    seen: set[str] = set()
    said: list[str] = []
    for column, title in GROWS:
        winner = curves(history, "winner", column, clock)
        lines: list[Line] = [(points, "series-1 thin") for points in curves(history, "without", column, clock)] + [(points, "series-1") for points in winner]
        if not winner:
            continue
        seen |= {css for _, css in lines}
        panels.append(_curve_panel(lines, x_title, title, stop, log=False, marked="series-1"))
        said.append(column)
    if not panels:
        return None
    parts = ["One network, one seed."]
    if folds := words.finite(((summary.get("data") or {}).get("split") or {}).get("folds")):
        parts = [f"Means over {words.count(folds, 'fold')}, one network each."]
    if "weight_norm" in said:
        parts.append("‖w‖ is the Euclidean norm of all weight matrices and kernels that train, without biases.")
    if "non_linearity" in said:
        parts.append("Non-linearity is what no straight line explains of the outputs' variation from one training row to another, over n = 64 pairs of rows.")
    if "series-1 thin" in seen:
        parts.append("Thin lines: the same network with every strength off.")
    if stop is not None:
        parts.append("The dashed rule marks the best check.")
    names = [("series-1", "with the cocktail"), ("series-1 thin", "without it")]
    return Figure(panels, " ".join(parts), legend=[(css, label) for css, label in names if css in seen])


def grown(history: pandas.DataFrame | None, summary: Mapping[str, Any]) -> str:
    """How much the winner's weights and non-linearity changed from the first check to the best one; nothing where that is unknown."""
    clock, _ = clock_of(history)
    stop = stopping_point(history, summary.get("stopping") or {}, clock)
    told: list[str] = []
    for (column, _), name in zip(GROWS, ("‖w‖", "non-linearity"), strict=True):
        for points in curves(history, "winner", column, clock)[:1]:
            last = points[-1] if stop is None else min(points, key=lambda p: abs(p[0] - stop))
            if last[0] > points[0][0]:
                told.append(f"{name} goes from {words.number(points[0][1])} to {words.number(last[1])}")
    return "" if not told else f"From the first check to the {'last' if stop is None else 'best'} one, {' and '.join(told)}."


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
