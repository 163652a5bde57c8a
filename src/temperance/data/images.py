"""Images of one size, as bytes ``(n, channels, height, width)``, with what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from temperance.core.errors import DataError
from temperance.core.shown import shown
from temperance.data.messages import row_name

Shape = tuple[int, int, int]
Values = tuple[float, float]
BYTE_VALUES: Values = (0.0, 255.0)
LABEL = "label"


@shown
@dataclass(frozen=True, eq=False)
class Images:
    """Images of one size.

    Attributes:
        pixels: bytes ``(n, channels, height, width)``, one channel for gray, three for red, green and blue.
        labels: ``(n,)``, or ``(n, targets)`` where several were asked for; ``None`` where the source has none.
        names: of the files, relative to the folder; ``None`` for arrays.
        untouched: how many of the last rows the source itself keeps apart for testing.
        kind: ``"idx"``, ``"npz"``, ``"folder"`` or ``"list"``.
        notes: how the source was understood, and what was left out.
        values: the two values that became 0 and 255.
        held: how many of the rows before those for testing the source itself gives to validate with.
        label_names: what the labels are called.
    """

    pixels: np.ndarray
    labels: np.ndarray | None
    names: tuple[str, ...] | None
    untouched: int
    kind: str
    notes: tuple[str, ...] = ()
    values: Values = BYTE_VALUES
    held: int = 0
    label_names: tuple[str, ...] = (LABEL,)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> Shape:
        """Channels, height and width."""
        _, c, h, w = self.pixels.shape
        return c, h, w

    @property
    def target(self) -> Any:
        """The labels as a target: of several, a frame with a column for each."""
        if self.labels is None or self.labels.ndim == 1:
            return self.labels
        return pd.DataFrame(self.labels, columns=list(self.label_names)).infer_objects()

    def take(self, rows: Any) -> Images:
        """The images at these positions (a slice or an array of integers)."""
        names = None if self.names is None else tuple(np.asarray(self.names, dtype=object)[rows].tolist())
        return replace(self, pixels=self.pixels[rows], labels=None if self.labels is None else self.labels[rows], names=names, untouched=0, held=0)

    def name(self, row: int) -> str:
        """The name of a file, or the number of a row."""
        return row_name(row) if self.names is None else self.names[row]

    def with_untouched(self, more: Images) -> Images:
        """These, and others as the test rows in place of those that the source keeps apart."""
        first = self.take(slice(0, len(self) - self.untouched))
        assert first.labels is not None and more.labels is not None
        kinds = {first.labels.dtype.kind, more.labels.dtype.kind}
        labels = np.concatenate([first.labels.astype(object), more.labels.astype(object)] if len(kinds) > 1 else [first.labels, more.labels])
        names = None if first.names is None or more.names is None else (*first.names, *more.names)
        notes = self.notes
        if self.untouched:
            notes = (*notes, f"other test rows were given: the {len(more):,} of them take the place of the {self.untouched:,} of the data")
        return replace(first, pixels=np.concatenate([first.pixels, more.pixels]), labels=labels, names=names, untouched=len(more), notes=notes, held=self.held)


def size_in_words(shape: Shape) -> str:
    """What an image of this shape is.

    Example:
        >>> size_in_words((1, 28, 20))
        '28 x 20 pixels, gray'
    """
    c, h, w = shape
    return f"{h} x {w} pixels, {colors(c)}"


def colors(channels: int) -> str:
    """What so many channels hold."""
    return {1: "gray", 3: "color"}.get(channels, f"{channels} channels")


def brought_to(pixels: np.ndarray, shape: Shape) -> np.ndarray:
    """Images in another size, or with gray for color and the other way round.

    Raises:
        DataError: a number of channels that has no meaning.

    Example:
        >>> brought_to(np.full((2, 3, 4, 4), 7, np.uint8), (1, 2, 2)).tolist()[0]
        [[[7, 7], [7, 7]]]
    """
    from PIL import Image

    c, h, w = shape
    if pixels.shape[1] != c:
        if {pixels.shape[1], c} != {1, 3}:
            raise DataError(f"Expected images with {colors(c)}, got {colors(pixels.shape[1])}. Give images like those of the fit.")
        share = np.array([0.299, 0.587, 0.114], np.float32)
        pixels = np.repeat(pixels, 3, axis=1) if c == 3 else np.tensordot(pixels, share, (1, 0)).round().astype(np.uint8)[:, None]
    if pixels.shape[2:] == (h, w):
        return pixels
    out = np.empty((len(pixels), c, h, w), np.uint8)
    for i, image in enumerate(pixels):
        for k, channel in enumerate(image):
            out[i, k] = np.asarray(Image.fromarray(channel).resize((w, h), Image.Resampling.BILINEAR))
    return out
