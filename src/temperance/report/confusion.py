"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, WIDE, Figure
from temperance.report.svg import Canvas

SMALL, LARGE = 12, 26
_STEPS = 5
_MOST_PAIRS = 8


def section(confusion: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the template lays out: a sentence on the most frequent confusions, and the matrix for up to 26 classes."""
    if not confusion or not confusion.get("counts"):
        return None
    classes, counts = [str(c) for c in confusion["classes"]], [[int(v) for v in row] for row in confusion["counts"]]
    pairs = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if i != j and n]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    total = sum(map(sum, counts))
    wrong = sum(n for n, _, _ in pairs)
    said = f"{words.count(wrong, 'row')} of {total:,} wrong."
    if pairs:
        told = [f"{classes[i]} taken for {classes[j]} ({n:,})" for n, i, j in pairs[:_MOST_PAIRS]]
        said += f" Most often: {words.listing(told)}."
    return {"said": said, "figure": _figure(classes, counts, total) if len(classes) <= LARGE else None}


def _figure(classes: Sequence[str], counts: Sequence[Sequence[int]], total: int) -> Figure:
    width = PANEL if len(classes) <= SMALL else WIDE
    caption = f"n = {words.count(total, 'test row')}. A row is a class, a column what it was taken for; off the diagonal are the errors, shaded by number."
    return Figure([_matrix(classes, counts, width)], caption)


def _matrix(classes: Sequence[str], counts: Sequence[Sequence[int]], width: int) -> Markup:
    k = len(classes)
    letters = max(3, min(max(map(len, classes)), 9 if width == PANEL else 14))
    left, top = 8.0 + 7.0 * letters, 34.0
    step = (width - left - 2) / k
    fits = max(1, int((step - 2) / 7))
    tall = min(step, 34.0)
    canvas = Canvas(width, top + k * tall + 4, "counts of predicted classes for every class")
    canvas.text(left, 12, "predicted", "title")
    canvas.text(left - 6, top - 7, "class", "title", "end")
    most = max((n for i, row in enumerate(counts) for j, n in enumerate(row) if i != j), default=0)
    for j, name in enumerate(classes):
        canvas.text(left + (j + 0.5) * step, top - 7, words.shorten(name, fits), "tick", "middle")
    for i, row in enumerate(counts):
        y = top + i * tall
        canvas.text(left - 6, y + tall / 2 + 4, words.shorten(classes[i], letters), "name", "end")
        for j, n in enumerate(row):
            shade = "" if i == j or not n else f" shade-{min(_STEPS, max(1, -(-_STEPS * n // max(most, 1))))}"
            canvas.rect(left + j * step + 0.5, y + 0.5, step - 1, tall - 1, f"cell{' diagonal' if i == j else ''}{shade}")
            if n:
                canvas.text(left + (j + 0.5) * step, y + tall / 2 + 4, f"{n}" if len(f"{n}") * 6.4 <= step else "…", "count" + shade, "middle")
    return canvas.svg()
