"""A little drawing board for figures: scales with round ticks, and SVG whose colours come from the page's style sheet.

Everything is drawn in CSS pixels and coloured by class, so one drawing serves light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from temperance.report import words


@dataclass(frozen=True)
class Scale:
    """Maps ``[low, high]`` to ``[start, stop]`` pixels, linearly or by logarithm."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, 1e-300))
        share = 0.5 if high == low else (value - low) / (high - low)
        return self.start + share * (self.stop - self.start)

    def clamp(self, value: float) -> float:
        """The pixel of ``value``, held inside the axis."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, most: int = 5) -> list[float]:
        """Round numbers inside the axis, at most about ``most`` of them."""
        return _log_ticks(self.low, self.high, most) if self.log else _linear_ticks(self.low, self.high, most)


def scale_for(values: Iterable[float], start: float, stop: float, *, log: bool = False, margin: float = 0.06) -> Scale:
    """A scale that holds all finite ``values`` with a little air; survives one value, or none."""
    known = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not known:
        return Scale(0.1 if log else 0.0, 1.0, start, stop, log)
    low, high = min(known), max(known)
    if log:
        if low == high:
            return Scale(low / 2, high * 2, start, stop, True)
        air = (high / low) ** margin
        return Scale(low / air, high * air, start, stop, True)
    air = (high - low) * margin or abs(high) * 0.05 or 0.5
    return Scale(low - air, high + air, start, stop)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(most, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = last - first + 1
    if decades >= 3:
        step = math.ceil(decades / most)
        return [10.0**k for k in range(first, last + 1, step)]
    for steps in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**k for k in range(first - 1, last + 1) for m in steps if low <= m * 10.0**k <= high]
        if len(found) <= most and len(found) > 1:
            return found
    found = _linear_ticks(low, high, most)
    return [t for t in found if t > 0] or [low]


def tick_labels(ticks: Sequence[float], log: bool = False) -> list[str]:
    """Labels with as many decimals as tell the ticks apart."""
    if log or any(0 < abs(t) < 1e-3 for t in ticks) or any(abs(t) >= 1e6 for t in ticks):
        return [words.number(t) for t in ticks]
    decimals = 0
    while decimals < 6 and any(abs(t - round(t, decimals)) > 1e-9 for t in ticks):
        decimals += 1
    return [words.fixed(t, decimals) for t in ticks]


def text_width(text: str, size: float = 12) -> float:
    """A rough width in pixels of ``text`` in the figures' sans serif."""
    return 0.58 * size * len(text)


class Canvas:
    """Collects marks and hands them out as one inline ``<svg>``; all text is escaped."""

    def __init__(self, width: float, height: float, label: str, css: str = "") -> None:
        self.width, self.height, self.label, self.css = width, height, label, css
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """A straight line."""
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{escape(css)}"/>')

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        """A line of text with its baseline at ``y``."""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{escape(css)}"{where}>{escape(text)}</text>')

    def dot(self, x: float, y: float, r: float, css: str, key: object = None, title: str = "") -> None:
        """A disc; ``key`` ties it to a row of the trials table, ``title`` shows on hover."""
        data = "" if key is None else f' data-t="{escape(str(key))}"'
        inside = f"><title>{escape(title)}</title></circle>" if title else "/>"
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" class="{escape(css)}"{data}{inside}')

    def cross(self, x: float, y: float, r: float, css: str, key: object = None) -> None:
        """A small x."""
        data = "" if key is None else f' data-t="{escape(str(key))}"'
        self._parts.append(
            f'<path d="M{x - r:.1f} {y - r:.1f}L{x + r:.1f} {y + r:.1f}M{x - r:.1f} {y + r:.1f}L{x + r:.1f} {y - r:.1f}" class="{escape(css)}"{data}/>'
        )

    def rect(self, x: float, y: float, width: float, height: float, css: str) -> None:
        """A filled rectangle."""
        self._parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" class="{escape(css)}"/>')

    def image(self, x: float, y: float, width: float, height: float, source: str, title: str = "") -> None:
        """A picture from a data URI, its pixels as squares; ``title`` shows on hover."""
        inside = f"><title>{escape(title)}</title></image>" if title else "/>"
        box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._parts.append(f'<image {box} preserveAspectRatio="none" class="pixels" href="{escape(source)}"{inside}')

    def polyline(self, points: Iterable[tuple[float, float]], css: str, key: object = None) -> None:
        """A line through ``points``; a point that is not finite breaks it."""
        path, pen = [], "M"
        for x, y in points:
            if not (math.isfinite(x) and math.isfinite(y)):
                pen = "M"
                continue
            path.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        if path:
            data = "" if key is None else f' data-t="{escape(str(key))}"'
            self._parts.append(f'<path d="{"".join(path)}" class="{escape(css)}"{data}/>')

    def clip(self, x: float, y: float, width: float, height: float, inner: Canvas) -> None:
        """Places ``inner``'s marks, drawn in this canvas's coordinates, cut off outside the rectangle."""
        box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._parts.append(f'<svg {box} viewBox="{x:.1f} {y:.1f} {width:.1f} {height:.1f}" overflow="hidden">{"".join(inner._parts)}</svg>')

    def svg(self) -> Markup:
        """The drawing as markup."""
        size = f'viewBox="0 0 {self.width:g} {self.height:g}" width="{self.width:g}"'
        head = f'<svg class="plot {escape(self.css)}" {size} role="img" aria-label="{escape(self.label)}">'
        return Markup(head + "".join(self._parts) + "</svg>")


@dataclass(frozen=True)
class Frame:
    """The plotting rectangle of a panel, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def grid(self, canvas: Canvas, x: Scale, y: Scale, x_title: str, y_title: str, *, x_ticks: int = 5, y_ticks: int = 4) -> None:
        """Light rules, tick labels, the x title at the lower right, the y title above the axis."""
        rows = y.ticks(y_ticks)
        for value, label in zip(rows, tick_labels(rows, y.log), strict=True):
            canvas.line(self.left, y(value), self.right, y(value), "rule")
            canvas.text(self.left - 7, y(value) + 3.5, label, "tick", "end")
        columns = x.ticks(x_ticks) if x_ticks else []
        canvas.line(self.left, self.bottom, self.right, self.bottom, "axis")
        for value, label in zip(columns, tick_labels(columns, x.log), strict=True):
            canvas.line(x(value), self.bottom, x(value), self.bottom + 4, "axis")
            canvas.text(x(value), self.bottom + 16, label, "tick", "middle")
        canvas.text(self.right, self.bottom + 32, x_title, "title", "end")
        canvas.text(4, self.top - 12, y_title, "title")
