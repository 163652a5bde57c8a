"""Which columns the model leans on: what shuffling each of them costs its score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, WIDE, Figure
from temperance.report.svg import Canvas, scale_for, text_width, tick_labels

WHEN = " when the column is shuffled"


def section(importance: Mapping[str, Any] | None, axis: str, *, greater: bool) -> dict[str, Any] | None:
    """What the template lays out: a sentence and the figure, or why nothing was measured.

    Args:
        importance: of the summary.
        axis: the metric with its unit.
        greater: whether more of it is better.
    """
    if not importance:
        return None
    rows = [row for row in importance.get("columns") or [] if words.finite(row.get("value")) is not None]
    if not rows:
        return {"said": f"Not measured: {importance['why']}.", "figure": None} if importance.get("why") else None
    clear = [row["name"] for row in rows if (words.finite(row.get("low")) or 0.0) > 0]
    some = words.listing([f"“{words.shorten(str(name), 40)}”" for name in clear[:3]])
    if clear:
        said = f"The model leans most on {some}." if len(clear) > 3 else f"Only shuffling {some} clearly makes the score worse."
    else:
        said = "Shuffling any one column leaves the score about the same."
    said += " Columns that carry the same information stand in for each other, so each of them may look unimportant."
    return {"said": said, "figure": _figure(importance, rows, axis, greater)}


def _figure(importance: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], axis: str, greater: bool) -> Figure:
    n, repeats, of = importance.get("n"), importance.get("repeats"), words.finite(importance.get("of")) or len(rows)
    caption = f"n = {words.count(n, 'test row')}; each column is shuffled {words.count(repeats, 'time')}, and the mean is shown"
    caption += " with its 95 % interval over resampled rows. Nothing is trained again."
    if importance.get("cut"):
        caption += f" The time of the fit was enough for {words.count(len(rows), 'column')} of {of:,.0f}."
    elif of > len(rows):
        caption += f" Of {of:,.0f} columns these {len(rows)} cost most when each was shuffled once on {words.count(importance.get('first'), 'row')}."
    title = f"{'drop' if greater else 'rise'} of {axis}{WHEN}"
    return Figure([_bars(rows, title, WIDE)], caption, narrow=_bars(rows, title, PANEL))


def _bars(rows: Sequence[Mapping[str, Any]], title: str, width: int) -> Markup:
    wide = width >= 600
    letters = 26 if wide else 14
    names = [words.shorten(str(row["name"]), letters) for row in rows]
    left = min(max(text_width(name, 13) for name in names) + 22, 230.0 if wide else 120.0)
    right, step = width - (90.0 if wide else 74.0), 24
    bottom = 6.0 + step * len(rows)
    lines = [title] if wide else [title.removesuffix(WHEN), WHEN.strip()]
    known = [[words.finite(row.get(key)) for key in ("value", "low", "high")] for row in rows]
    decimals = words.decimals_for([v for v, _, _ in known], [None if a is None or b is None else b - a for _, a, b in known])
    texts = [words.fixed(v, decimals) for v, _, _ in known]
    told = "; ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
    canvas = Canvas(width, bottom + 22 + 16 * len(lines), f"{title}: {told}", "wide" if wide else "narrow")
    x = scale_for([0.0, *(v for each in known for v in each if v is not None)], left, right)
    ticks = x.ticks(5 if wide else 3)
    for value, label in zip(ticks, tick_labels(ticks), strict=True):
        canvas.line(x(value), 2, x(value), bottom, "rule")
        canvas.text(x(value), bottom + 16, label, "tick", "middle")
    canvas.line(x(0.0), 2, x(0.0), bottom, "axis")
    for k, line in enumerate(lines):
        canvas.text(width, bottom + 33 + 16 * k, line, "title", "end")
    for k, (name, text, (value, low, high)) in enumerate(zip(names, texts, known, strict=True)):
        y, start, end = 6 + k * step, x(0.0), x(value or 0.0)
        canvas.rect(min(start, end), y + 3, abs(end - start), step - 9, "bar")
        if low is not None and high is not None:
            canvas.line(x(low), y + 3 + (step - 9) / 2, x(high), y + 3 + (step - 9) / 2, "interval ours")
        canvas.text(left - 9, y + 15, name, "name", "end")
        canvas.text(width, y + 15, text, "value", "end")
    return canvas.svg()
