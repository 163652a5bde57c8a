"""Charts of experiments: lines, dots and bars on one pair of axes, and a slider over several of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, WIDE
from temperance.report.pictures import filter_png, png
from temperance.report.svg import Canvas, Frame, Scale, scale_for

KINDS = ("line", "dots", "bars")
HEIGHT = 330
MOST = 10  # pictures in a row


@dataclass(frozen=True)
class Line:
    """One series of a chart.

    Args:
        label: its name in the legend.
        x: numbers, a tensor or an array.
        y: likewise; what is not finite is left out.
        kind: ``"line"``, ``"dots"`` or ``"bars"``.
    """

    label: str
    x: Any
    y: Any
    kind: str = "line"

    def points(self) -> list[tuple[float, float]]:
        """Pairs of floats."""
        return [(float(a), float(b)) for a, b in zip(self.x, self.y, strict=True)]


@dataclass(frozen=True)
class Chart:
    """Up to five series on one pair of axes.

    Args:
        x: title of the x axis, with its unit.
        y: title of the y axis.
        lines: the series.
        log_x: by logarithm.
        log_y: likewise.
        names: names of the places 0, 1, 2 ... on the x axis.
        note: a sentence below, such as the numbers at this strength.
        low: the y axis reaches down to this at least.
        high: and up to this.
        pictures: rows of small images below the axes, pairs of a label and ``(n, height, width)``; weights below zero are brown.
    """

    x: str
    y: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False
    names: Sequence[str] = ()
    note: str = ""
    low: float = math.nan
    high: float = math.nan
    pictures: Sequence[tuple[str, Any]] = ()

    def legend(self) -> list[tuple[str, str, str]]:
        """Triples of style class, kind and label."""
        return [(f"series-{k % 5 + 1}", line.kind, words.typeset(line.label)) for k, line in enumerate(self.lines)]

    def svg(self, width: int, css: str = "", axes: tuple[list[float], list[float]] | None = None) -> Markup:
        """The drawing; ``axes`` are the values that both axes have to hold, by default the chart's own."""
        xs, ys = axes or extent([self])
        frame = Frame(58.0, 36.0, width - 14.0, HEIGHT - 52.0)
        x = scale_for(xs, frame.left, frame.right, log=self.log_x, margin=0.04)
        if self.names:
            x = Scale(-0.6, len(self.names) - 0.4, frame.left, frame.right)
        y = scale_for(ys, frame.bottom, frame.top, log=self.log_y)
        canvas = Canvas(
            width, HEIGHT + len(self.pictures) * (width / MOST + 26), f"{self.y} against {self.x}: " + ", ".join(line.label for line in self.lines), css
        )
        room = (frame.right - frame.left) / max(len(self.names), 1)
        crowded = any(len(name) * 6.4 > room - 4 for name in self.names)
        frame.grid(canvas, x, y, "" if crowded else self.x, self.y, x_ticks=0 if self.names else 6 if width >= WIDE else 4)
        if crowded:
            canvas.text(frame.right, frame.bottom + 46, self.x, "title", "end")
        for k, name in enumerate(self.names):
            # every other name a line lower where they have no room beside each other, and as many letters as fit then
            space = 2 * room if crowded else room
            text = name if len(name) * 6.4 <= space else name[: max(int(space / 6.4) - 1, 1)] + "…"
            canvas.text(x(k), frame.bottom + (28 if crowded and k % 2 else 16), text, "tick", "middle")
        if not self.log_y and y.low < 0 < y.high:
            canvas.line(frame.left, y(0.0), frame.right, y(0.0), "axis")
        bars = [k for k, line in enumerate(self.lines) if line.kind == "bars"]
        for k, line in enumerate(self.lines):
            self._draw(canvas, k, line, x, y, bars)
        self._pictures(canvas, width)
        return canvas.svg()

    def _pictures(self, canvas: Canvas, width: int) -> None:
        """A row of images for each pair, at most MOST of them, as wide as the drawing."""
        place = width / MOST
        for row, (label, images) in enumerate(self.pictures):
            top = HEIGHT + row * (place + 26)
            canvas.text(4, top + 12, label, "tick")
            for k, image in enumerate(np.asarray(images, dtype=np.float64)[:MOST]):
                source = filter_png(image[None]) if image.min() < 0 else png(np.round(255 * image.clip(0, 1)).astype(np.uint8)[None])
                canvas.image(k * place + 2, top + 18, place - 4, place - 4, source, f"{label}, number {k + 1}")

    def _draw(self, canvas: Canvas, k: int, line: Line, x: Scale, y: Scale, bars: list[int]) -> None:
        css = f"series-{k % 5 + 1}"
        drawn = [(x(a), y(b), b) for a, b in line.points() if math.isfinite(a) and math.isfinite(b) and (a > 0 or not x.log) and (b > 0 or not y.log)]
        if line.kind == "bars":
            places = max(len({round(p[0], 1) for p in drawn}), 1)
            step = (x.stop - x.start) / max(len(self.names), places)
            width = min(step * 0.8 / len(bars), 46.0)
            shift = (bars.index(k) - len(bars) / 2) * width
            base = y(min(max(0.0, y.low), y.high)) if not y.log else y(y.low)
            for a, b, _ in drawn:
                canvas.rect(a + shift, min(b, base), width - 1, abs(base - b), f"bar {css}")
        elif line.kind == "dots":
            for a, b, _ in drawn:
                canvas.dot(a, b, 4, f"point {css}")
        else:
            canvas.polyline([(a, b) for a, b, _ in drawn], f"curve {css}")


def extent(charts: Iterable[Chart]) -> tuple[list[float], list[float]]:
    """Every value that common axes have to hold."""
    charts = list(charts)
    pairs = [p for chart in charts for line in chart.lines for p in line.points()]
    xs, ys = [p[0] for p in pairs], [p[1] for p in pairs]
    ys += [end for chart in charts for end in (chart.low, chart.high)]
    if any(line.kind == "bars" for chart in charts for line in chart.lines) and not charts[0].log_y:
        ys.append(0.0)
    return xs, ys


@dataclass(frozen=True)
class Slider:
    """Charts of one population, one a strength, under a slider; all have the same axes.

    Args:
        label: the strength as a formula writes it, such as ``"λ"``.
        key: its name in the page's address.
        values: the strengths, in order.
        charts: one a strength.
        start: the place that is shown first.
    """

    label: str
    key: str
    values: Sequence[float]
    charts: Sequence[Chart]
    start: int = 0

    def __post_init__(self) -> None:
        if len(self.values) != len(self.charts) or not self.charts or not 0 <= self.start < len(self.charts):
            raise ValueError(f"Expected one chart for each of the {len(self.values)} values, and `start` among them, got {len(self.charts)} and {self.start}.")


@dataclass(frozen=True)
class Drawn:
    """A chart as markup: for the page, for a phone, and what stands beside it."""

    wide: Markup
    narrow: Markup
    legend: list[tuple[str, str, str]]
    note: str


def drawn(figure: Chart | Slider) -> list[Drawn]:
    """Every chart of a figure at both widths, on common axes."""
    charts = list(figure.charts) if isinstance(figure, Slider) else [figure]
    axes = extent(charts)
    return [Drawn(chart.svg(WIDE, "wide", axes), chart.svg(PANEL, "narrow", axes), chart.legend(), words.typeset(chart.note)) for chart in charts]
