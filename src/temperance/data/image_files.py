"""Pictures as files or bytes: looked at, brought to one size, decoded; those that cannot be read are named."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from temperance.core.errors import DataError
from temperance.data.images import LABEL, Images, Shape, size_in_words

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
KINDS = "PNG, JPEG, WebP, BMP, GIF or TIFF"
LARGEST_SIDE = 64
MOST_VALUES = 1 << 28  # of all images together: a gigabyte as numbers
MOST_BAD = 0.1  # share of the pictures; three may always be left out
GRAY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F")
_HEADERS = 0.2  # share of the time of reading

Told = Callable[[float], None]
"""Called with the share that is done."""


@dataclass(frozen=True)
class Picture:
    """One image that is not decoded yet.

    Attributes:
        name: for people.
        data: its file, or its bytes; ``None`` where a table has none.
    """

    name: str
    data: Path | bytes | None


def gathered(
    pictures: Sequence[Picture],
    labels: np.ndarray | None,
    shape: Shape | None,
    *,
    held: int = 0,
    untouched: int = 0,
    kind: str,
    notes: list[str],
    place: str,
    told: Told | None = None,
    label_names: tuple[str, ...] = (LABEL,),
    side: int = LARGEST_SIDE,
) -> Images:
    """All pictures in one size, by default the median one, at most ``side`` a side; gray where all are.

    Args:
        pictures: the last ``untouched`` of them are for testing, the ``held`` ones before them for validation.
        labels: one for each, or ``None``.
        shape: channels, height and width.
        held: how many validate.
        untouched: how many test.
        kind: of the source.
        notes: what is known already.
        place: where they lie, for messages.
        told: hears the share that is done.
        label_names: what the labels are called.
        side: pixels that no side may exceed where ``shape`` does not say it.

    Raises:
        DataError: more than a tenth cannot be read.
    """
    tell = told or (lambda share: None)
    sizes, bad = headers(pictures, lambda share: tell(_HEADERS * share))
    if sizes and shape is None:
        shape, said = common_shape(list(sizes.values()), side)
        notes.append(said)
    rows = [row for row in range(len(pictures)) if row not in bad]
    array, kept, worse = decoded([pictures[row] for row in rows], shape or (1, 1, 1), lambda share: tell(_HEADERS + (1 - _HEADERS) * share))
    bad.update({rows[row]: reason for row, reason in worse.items()})
    rows = [rows[row] for row in kept]
    if bad:
        reasons = by_name(bad, pictures)
        if not rows or len(bad) > max(3, MOST_BAD * len(pictures)):
            raise DataError(f"Expected images in {place!r}, got {len(bad):,} of {len(pictures):,} files that cannot be read: {listed(reasons)}. Mend them.")
        notes.append(left_out(reasons, len(pictures)))
    if array.shape[1] == 3 and labels is not None and (array[:, :1] == array).all():
        array = np.ascontiguousarray(array[:, :1])
    first = len(pictures) - untouched
    later, middle = (sum(low <= row < high for row in rows) for low, high in ((first, len(pictures)), (first - held, first)))
    found = None if labels is None else labels[rows]
    return Images(array, found, tuple(pictures[row].name for row in rows), later, kind, tuple(notes), held=middle, label_names=label_names)


def decoded(pictures: Sequence[Picture], shape: Shape, told: Told | None = None) -> tuple[np.ndarray, list[int], dict[int, str]]:
    """The images in one shape, the positions of those that could be read, and why the others could not."""
    out = np.empty((len(pictures), *shape), np.uint8)
    kept: list[int] = []
    bad: dict[int, str] = {}
    for row, picture in enumerate(pictures):
        try:
            out[len(kept)] = _decoded(picture, shape)
        except Exception as error:  # whatever Pillow's decoders raise is told with the name of the file
            bad[row] = _reason(error)
        else:
            kept.append(row)
        if told is not None:
            told((row + 1) / len(pictures))
    return out[: len(kept)], kept, bad


def headers(pictures: Sequence[Picture], told: Told | None = None) -> tuple[dict[int, Shape], dict[int, str]]:
    """Channels, height and width of every picture, and why some cannot be read; the pixels are not."""
    sizes: dict[int, Shape] = {}
    bad: dict[int, str] = {}
    for row, picture in enumerate(pictures):
        try:
            with _image(picture) as image:
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                w, h = reversed(image.size) if turned else image.size
                sizes[row] = (1 if image.mode in GRAY else 3, h, w)
        except Exception as error:  # likewise
            bad[row] = _reason(error)
        if told is not None:
            told((row + 1) / len(pictures))
    return sizes, bad


def common_shape(sizes: Sequence[Shape], side: int = LARGEST_SIDE) -> tuple[Shape, str]:
    """The size that all images are brought to, and the reason in words."""
    middle = [max(1, round(median(s[k] for s in sizes))) for k in (1, 2)]
    c = max(s[0] for s in sizes)
    shrunk = min(1.0, side / max(middle), (MOST_VALUES / (len(sizes) * c * middle[0] * middle[1])) ** 0.5)
    h, w = (max(1, round(size * shrunk)) for size in middle)
    shape = (c, h, w)
    least, most = (" x ".join(str(end(s[k] for s in sizes)) for k in (1, 2)) for end in (min, max))
    if least == most and shrunk == 1.0:
        return shape, f"all images have {h} x {w} pixels"
    why = "the median" if shrunk == 1.0 else f"the median, {middle[0]} x {middle[1]}, made smaller"
    which = f"of {least} pixels" if least == most else f"from {least} to {most} pixels"
    return shape, f"images {which} are brought to {size_in_words(shape).partition(',')[0]}, {why}"


def listed(bad: Sequence[tuple[str, str]]) -> str:
    """The pictures that cannot be read, and why.

    Example:
        >>> listed([("a.png", "empty")])
        'a.png (empty)'
    """
    first = "; ".join(f"{name} ({reason})" for name, reason in bad[:5])
    return f"{first}; and {len(bad) - 5} more" if len(bad) > 5 else first


def left_out(bad: Sequence[tuple[str, str]], total: int) -> str:
    """The same as a note."""
    return f"{len(bad):,} of {total:,} files cannot be read and {'is' if len(bad) == 1 else 'are'} left out: {listed(bad)}"


def by_name(bad: Mapping[int, str], pictures: Sequence[Picture]) -> list[tuple[str, str]]:
    """Names in place of positions."""
    return [(pictures[row].name, reason) for row, reason in sorted(bad.items())]


def _image(picture: Picture) -> Any:
    from PIL import Image

    if picture.data is None:
        raise ValueError("no image")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(picture.data) if isinstance(picture.data, bytes) else picture.data, formats=FORMATS)


def _decoded(picture: Picture, shape: Shape) -> np.ndarray:
    """One image, upright, on white where it is transparent, in this shape."""
    from PIL import Image, ImageOps

    c, h, w = shape
    with _image(picture) as image:
        if image.format == "JPEG":
            image.draft(None, (2 * max(h, w), 2 * max(h, w)))  # decodes a large photograph at a half, a quarter or an eighth of its size
        image = ImageOps.exif_transpose(image)
        if image.mode in GRAY[3:]:
            image = Image.fromarray(_eight_bits(np.asarray(image)))
        elif "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if c == 1 else "RGB")
        if image.size != (w, h):
            image = image.resize((w, h), Image.Resampling.BILINEAR)
        array = np.asarray(image)
    return array[None] if c == 1 else np.moveaxis(array, 2, 0)


def _eight_bits(array: np.ndarray) -> np.ndarray:
    """Gray of 16 bits, or floats in [0, 1] or [0, 255], as bytes."""
    scale = 1 / 257
    if array.dtype.kind == "f" and array.size and array.max() <= 255:
        scale = 255.0 if array.max() <= 1 else 1.0
    return (array.astype(np.float64) * scale).clip(0, 255).round().astype(np.uint8)


def _reason(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0]
    if "cannot identify" in text:
        return f"not a {KINDS} image"
    return text.rstrip(".") or type(error).__name__
