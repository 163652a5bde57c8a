"""What a figure is, and the two that show scores: the model beside its rivals, and the gap between training and test rows.

A figure says n in its caption and names its axes with their units. Each is drawn at the size it is read at: a wide one twice
(page and phone), a panel once, because panels stack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from temperance.core.errors import ConfigError, expected
from temperance.core.files import write_whole
from temperance.core.shown import in_notebook
from temperance.report import words
from temperance.report.rounding import Rounding
from temperance.report.svg import Canvas, scale_for, text_width, tick_labels

WIDE, PANEL = 720, 350


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

    def _repr_html_(self) -> str:
        return in_notebook(self, "figure")

    def save(self, path: str | Path) -> None:
        """Write the figure as a page that loads nothing from anywhere.

        Args:
            path: a file that ends in ``.html``; it is replaced.

        Raises:
            ConfigError: another ending.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(expected("path", "save", "to end in .html", str(path), "A browser shows it and prints it."))
        head = '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        write_whole(path, f"{head}<title>{escape(path.stem)}</title>\n{self._repr_html_()}\n</html>\n")


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


def comparison(rows: Sequence[Estimate], axis: str, caption: str, *, greater: bool, decimals: int) -> Figure:
    """Dots with intervals, one row a model, on one axis; a far-off trivial rule is an arrow at the edge with its number."""
    wide = _comparison(rows, axis, WIDE, greater, decimals)
    if "arrow" in wide:
        caption += " An arrow points to a value beyond the axis."
    return Figure([wide], caption, narrow=_comparison(rows, axis, PANEL, greater, decimals))


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


def _comparison(rows: Sequence[Estimate], axis: str, width: int, greater: bool, decimals: int) -> Markup:
    wide = width >= 600
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


# ------------------------------------------------------------------------------------------------ the gap


def gap(groups: Sequence[tuple[str, Mapping[str, Any]]], axis: str, caption: str, *, greater: bool, sizes: Mapping[str, Any], shown: Rounding) -> Figure:
    """Score on training, validation and test rows, with the cocktail and without: the length of the bar is the gap."""
    labels = [("train-dot", "training rows"), ("validation-tick", "validation rows"), ("test-dot", "test rows")]
    used = {k for _, scores in groups for k in scores if words.finite(scores[k]) is not None}
    legend = [
        (css, name + (f", n = {int(n):,}" if (n := words.finite(sizes.get(css.split("-")[0]))) is not None else ""))
        for css, name in labels
        if css.split("-")[0] in used
    ]
    return Figure([_gap(groups, axis, WIDE, greater, shown)], caption, narrow=_gap(groups, axis, PANEL, greater, shown), legend=legend)


def _gap(groups: Sequence[tuple[str, Mapping[str, Any]]], axis: str, width: int, greater: bool, shown: Rounding) -> Markup:
    wide = width >= 600
    left, right = (170.0, width - 120.0) if wide else (10.0, width - 10.0)
    step, first = (46, 26) if wide else (58, 44)
    bottom = first + step * (len(groups) - 1) + 26
    values = [v for _, scores in groups for v in map(words.finite, scores.values()) if v is not None]
    x = scale_for(values, left + 8, right - 8)
    canvas = Canvas(width, bottom + 38, f"{axis} on training, validation and test rows", "wide" if wide else "narrow")
    ticks = x.ticks(6 if wide else 4)
    for value, label in zip(ticks, tick_labels(ticks), strict=True):
        canvas.line(x(value), 4 if wide else first - 12, x(value), bottom, "rule")
        canvas.text(x(value), bottom + 16, label, "tick", "middle")
    canvas.line(left, bottom, right, bottom, "axis")
    canvas.text(right, bottom + 33, f"{axis}, {'higher' if greater else 'lower'} is better", "title", "end")
    for k, (name, scores) in enumerate(groups):
        y = first + k * step
        who = "ours" if k == 0 else "rival"
        train, test = words.finite(scores.get("train")), words.finite(scores.get("test"))
        end = test if test is not None else words.finite(scores.get("validation"))
        text = "" if train is None or end is None else f"gap {shown.signed(train - end if greater else end - train)}"
        canvas.text(0, y + 4.5 if wide else y - 18, name, f"name {who}")
        canvas.text(width, y + 4.5 if wide else y - 18, text, f"value {who}", "end")
        if train is not None and end is not None:
            canvas.line(x(train), y, x(end), y, f"span {who}")
        middle = words.finite(scores.get("validation"))
        if middle is not None:
            canvas.line(x(middle), y - 10, x(middle), y + 10, "validation-tick")
        for rows, value in (("train", train), ("test", test)):
            if value is not None:
                canvas.dot(x(value), y, 6, f"{rows}-dot", title=f"{name}, {rows}: {shown.score(value)}")
    return canvas.svg()
