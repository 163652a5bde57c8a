"""How many rows each class has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, WIDE, Figure
from temperance.report.svg import Canvas, Scale, text_width, tick_labels


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
