"""One strength on the range that was searched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.svg import Canvas, Scale


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
