"""The pictures of a fit of images: what the network saw, what its first layer looks at, and where it is wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, Figure
from temperance.report.svg import Canvas

_NEGATIVE, _ZERO, _POSITIVE = (184, 96, 15), (247, 245, 240), (15, 84, 98)
_COLORS = 128
GAP = 4.0


@dataclass(frozen=True, eq=False)
class Pictures:
    """Arrays that the summary has no room for.

    Attributes:
        originals: bytes ``(images, channels, height, width)``.
        draws: ``(images, draws, channels, height, width)``: the same images as the batch sites of the cocktail change them.
        filters: by ``"with"`` and ``"without"``, weights ``(filters, channels, height, width)``.
        errors: bytes ``(errors, channels, height, width)``, in the order of ``summary["errors"]["worst"]``.
    """

    originals: np.ndarray
    draws: np.ndarray
    filters: Mapping[str, np.ndarray] = field(default_factory=dict)
    errors: np.ndarray | None = None


def png(pixels: np.ndarray) -> str:
    """A data URI of bytes ``(channels, height, width)``.

    Example:
        >>> png(np.zeros((1, 2, 2), np.uint8))[:22]
        'data:image/png;base64,'
    """
    from PIL import Image

    image = Image.fromarray(pixels[0]) if len(pixels) == 1 else Image.fromarray(np.moveaxis(pixels[:3], 0, 2)).quantize(_COLORS)
    return _uri(image)


def filter_png(weights: np.ndarray) -> str:
    """A data URI of one filter ``(channels, height, width)``: dark green positive, brown negative; of three channels the colors it answers to."""
    from PIL import Image

    top = float(np.abs(weights).max()) or 1.0
    if len(weights) == 3:
        return png(np.round(127.5 + 127.5 * weights / top).astype(np.uint8))
    levels = np.round(32 + 32 * weights.mean(0) / (float(np.abs(weights.mean(0)).max()) or 1.0)).astype(np.uint8)
    image = Image.fromarray(levels, mode=None).convert("P")
    shades = [_blend(_ZERO, _POSITIVE if k >= 32 else _NEGATIVE, abs(k - 32) / 32) for k in range(65)]
    image.putpalette([part for shade in shades for part in shade])
    return _uri(image)


def _blend(a: Sequence[int], b: Sequence[int], share: float) -> list[int]:
    return [round(x + share * (y - x)) for x, y in zip(a, b, strict=True)]


def _uri(image: Any) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def variation(weights: np.ndarray) -> float:
    """Mean total variation of normalized filters: the mean absolute difference of neighboring weights, over the root mean square of the filter.

    0 for a flat filter, 2/√π = 1.13 for noise; filters that are zero do not count.

    Args:
        weights: ``(filters, channels, height, width)``.

    Example:
        >>> round(variation(np.random.default_rng(0).normal(size=(50, 1, 28, 28))), 2)
        1.13
    """
    w = weights.astype(np.float64)
    size = np.sqrt(np.square(w).mean((1, 2, 3)))
    down, right = np.abs(np.diff(w, axis=2)), np.abs(np.diff(w, axis=3))
    steps = down[0].size + right[0].size
    total = (down.sum((1, 2, 3)) + right.sum((1, 2, 3))) / max(steps, 1)
    alive = size > 0
    return float((total[alive] / size[alive]).mean()) if alive.any() else 0.0


def samples(pictures: Pictures | None, facts: Mapping[str, Any] | None) -> Figure | None:
    """Training images and what the network saw in their place, several draws each."""
    if pictures is None or not facts or not len(pictures.originals):
        return None
    labels, changed = [str(v) for v in facts.get("labels") or []], [str(name) for name in facts.get("changed_by") or []]
    half = max(1, (len(pictures.originals) + 1) // 2) if changed else len(pictures.originals)
    panels = [
        (_sample_panel if changed else _plain_panel)(pictures.originals[a : a + half], pictures.draws[a : a + half], labels[a : a + half])
        for a in range(0, len(pictures.originals), half)
    ]
    caption = f"n = {words.count(len(pictures.originals), 'training image')}."
    if changed:
        steps = words.count(pictures.draws.shape[1], "step")
        caption += f" First column: as it is. The others: as {words.listing(changed)} with the winner's strengths changed it in {steps}."
        caption += " Where two images are mixed, the labels are mixed with them." if facts.get("mixed") else ""
    else:
        caption += " The winner's cocktail changes no pixel."
    return Figure(panels, caption)


def _sample_panel(originals: np.ndarray, draws: np.ndarray, labels: Sequence[str]) -> Markup:
    _, _, h, w = originals.shape
    columns = 1 + draws.shape[1]
    letters = min(max(map(len, labels), default=0), 9)
    left, top = 12.0 + 7.0 * letters, 20.0
    wide = min((PANEL - left - GAP * columns) / columns, 64.0)
    tall = wide * h / w
    canvas = Canvas(PANEL, top + len(originals) * (tall + GAP), "training images and what the network saw")
    canvas.text(left, 12, "image", "title")
    canvas.text(left + wide + 3 * GAP, 12, "as the network saw it", "title")
    for i, original in enumerate(originals):
        y = top + i * (tall + GAP)
        canvas.text(left - 8, y + tall / 2 + 4, words.shorten(labels[i], letters), "name", "end")
        canvas.image(left, y, wide, tall, png(original), title=labels[i])
        for k, draw in enumerate(draws[i]):
            canvas.image(left + 2 * GAP + (k + 1) * (wide + GAP), y, wide, tall, png(draw))
    return canvas.svg()


def _plain_panel(originals: np.ndarray, draws: np.ndarray, labels: Sequence[str]) -> Markup:
    """Images alone, with their labels, where nothing was drawn."""
    _, _, h, w = originals.shape
    columns = 5
    wide = (PANEL - GAP * (columns - 1)) / columns
    step = wide * h / w + 22
    canvas = Canvas(PANEL, -(-len(originals) // columns) * step, "training images")
    for k, (one, label) in enumerate(zip(originals, labels, strict=True)):
        x, y = (k % columns) * (wide + GAP), (k // columns) * step
        canvas.image(x, y, wide, wide * h / w, png(one), title=label)
        canvas.text(x, y + wide * h / w + 14, words.shorten(label, 9), "name")
    return canvas.svg()


def filters(pictures: Pictures | None, facts: Mapping[str, Any] | None) -> Figure | None:
    """The first layer's filters with the cocktail and without, with their total variation."""
    if pictures is None or not facts or not pictures.filters:
        return None
    told, n = facts.get("variation") or {}, int(words.finite(facts.get("n")) or 0)
    panels: list[Markup] = []
    for key, name in (("with", "with the cocktail"), ("without", "without it")):
        if key in pictures.filters:
            panels.append(_filter_panel(pictures.filters[key], f"{name}: total variation {words.fixed(told.get(key), 3)}"))
    shown, channels = next(iter(pictures.filters.values())).shape[:2]
    caption = f"n = {words.count(n, 'filter')} of {facts.get('layer')}"
    caption += f"; shown are the {shown} with the largest norm" if shown < n else ""
    caption += ", the same units in both, which began with the same weights." if len(panels) > 1 else "."
    caption += " Each filter on its own scale" + ("." if channels == 3 else ": blue-green is positive, brown negative.")
    caption += " Total variation: mean absolute difference of neighboring weights over their root mean square, mean over all filters; noise has 1.13."
    return Figure(panels, caption)


def _filter_panel(weights: np.ndarray, title: str) -> Markup:
    _, _, h, w = weights.shape
    columns = 8
    wide = (PANEL - GAP * (columns - 1)) / columns
    tall = wide * h / w
    rows = -(-len(weights) // columns)
    canvas = Canvas(PANEL, 22 + rows * (tall + GAP), title)
    canvas.text(0, 12, title, "title")
    for k, one in enumerate(weights):
        canvas.image((k % columns) * (wide + GAP), 22 + (k // columns) * (tall + GAP), wide, tall, filter_png(one))
    return canvas.svg()


def errors(pictures: Pictures | None, facts: Mapping[str, Any] | None) -> Figure | None:
    """The test images that are wrong with the most confidence."""
    if pictures is None or pictures.errors is None or not facts or not facts.get("worst"):
        return None
    rows = list(facts["worst"])
    half = max(4, -(-len(rows) // 2))
    panels = [_error_panel(pictures.errors[a : a + half], rows[a : a + half]) for a in range(0, len(rows), half)]
    n = words.finite(facts.get("n"))
    which = "all are shown" if len(rows) == facts.get("wrong") else f"shown are the {len(rows)} with the most confidence"
    caption = f"n = {words.count(n, 'test image')}, {words.number(facts.get('wrong'))} of them wrong; {which}."
    caption += " Below each: the label, what was predicted, and with what probability."
    return Figure(panels, caption)


def _error_panel(pixels: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> Markup:
    _, _, h, w = pixels.shape
    columns = 4
    step = PANEL / columns
    wide = step - 14
    tall = wide * h / w
    canvas = Canvas(PANEL, (-(-len(rows) // columns)) * (tall + 60), "images with a wrong prediction")
    for k, (one, row) in enumerate(zip(pixels, rows, strict=True)):
        x, y = (k % columns) * step, (k // columns) * (tall + 60)
        canvas.image(x, y, wide, tall, png(one), title=str(row.get("name") or ""))
        canvas.text(x, y + tall + 14, words.shorten(str(row.get("label")), 11), "name")
        canvas.text(x, y + tall + 29, words.shorten(f"as {row.get('prediction')}", 11), "tick")
        canvas.text(x, y + tall + 43, f"{words.fixed(100 * float(row.get('confidence') or 0), 0)} %", "tick")
    return canvas.svg()
