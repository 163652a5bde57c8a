"""Turn images into tensors: standardized with the mean and standard deviation of the training images, a pair for each channel."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from temperance.core.errors import DataError
from temperance.data.image_files import KINDS, Picture, by_name, decoded, left_out, listed
from temperance.data.images import BYTE_VALUES, Images, Shape, Values, brought_to
from temperance.data.read_images import is_images, pictures_of, read_images

ROWS = 4096
"""Images of a batch."""


class ImageEncoder:
    """Encode images as float32 ``(n, channels, height, width)``, each channel standardized: ``(pixel / 255 - mean) / sd``.

    Attributes:
        shape: channels, height and width; images of other sizes are resized.
        mean: of every channel, in the fitted images.
        sd: standard deviation likewise; 1 where that is 0.
        values: the two values of an array that stand for 0 and 255.

    Example:
        >>> pixels = np.array([0, 255, 255, 0], np.uint8).reshape(1, 1, 2, 2)
        >>> encoder = ImageEncoder().fit(Images(pixels, None, None, 0, "npz"))
        >>> encoder.mean, encoder.sd, encoder.transform(pixels).flatten().tolist()
        ((0.5,), (0.5,), [-1.0, 1.0, 1.0, -1.0])
    """

    cardinalities: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.shape: Shape = (1, 1, 1)
        self.mean: tuple[float, ...] = ()
        self.sd: tuple[float, ...] = ()
        self.values: Values = BYTE_VALUES

    def fit(self, images: Images, rows: Any = None) -> ImageEncoder:
        """Learn the means and standard deviations: of the training rows only."""
        self.shape, self.values = images.shape, images.values
        pixels = images.pixels if rows is None else images.pixels[np.asarray(rows)]
        total, squares = np.zeros(self.shape[0]), np.zeros(self.shape[0])
        for a in range(0, len(pixels), ROWS):  # in parts: as numbers, all at once would take eight times the memory
            part = pixels[a : a + ROWS].astype(np.float64) / 255
            total += part.sum((0, 2, 3))
            squares += np.square(part).sum((0, 2, 3))
        n = len(pixels) * self.shape[1] * self.shape[2]
        spread = np.sqrt(np.maximum(squares / n - np.square(total / n), 0.0))
        self.mean = tuple((total / n).tolist())
        self.sd = tuple(np.where(spread > 1e-6, spread, 1.0).tolist())
        return self

    def transform(self, source: Any) -> Tensor:
        """Encode images, an array of bytes ``(n, channels, height, width)``, or what a path holds.

        Raises:
            DataError: other channels, or whatever reading raises.
        """
        if isinstance(source, (str, PathLike)):
            return torch.cat([self.encode(part) for part in self.batches(source)])
        return self.encode(source)

    def encode(self, images: Images | np.ndarray) -> Tensor:
        """Encode images or an array of bytes."""
        pixels = images.pixels if isinstance(images, Images) else np.asarray(images)
        if pixels.ndim != 4 or pixels.dtype != np.uint8:
            raise DataError(f"Expected images as uint8 (n, channels, height, width), got {pixels.dtype} {pixels.shape}. Give a path to have them read.")
        mean, sd = (torch.tensor(part, dtype=torch.float32).reshape(1, -1, 1, 1) for part in (self.mean, self.sd))
        out = torch.from_numpy(np.array(brought_to(pixels, self.shape))).float()
        return out.div_(255.0).sub_(mean).div_(sd)

    def decode(self, x: Tensor) -> np.ndarray:
        """The nearest bytes of encoded images."""
        mean, sd = (torch.tensor(part, dtype=torch.float32).reshape(1, -1, 1, 1) for part in (self.mean, self.sd))
        return (x * sd + mean).mul(255.0).round().clamp(0, 255).to(torch.uint8).numpy()

    def batches(self, path: str | PathLike[str], *, rows: int = ROWS, what: str = "data") -> ImageBatches:
        """The images of a path a batch at a time, for :meth:`encode`."""
        return ImageBatches(Path(path).expanduser(), self.shape, self.values, rows, what)

    def blank(self) -> Tensor:
        """One empty row."""
        return torch.zeros(1, *self.shape)

    def to_dict(self) -> dict[str, Any]:
        """The encoder as plain values for JSON."""
        return {"shape": list(self.shape), "mean": list(self.mean), "sd": list(self.sd), "values": list(self.values)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ImageEncoder:
        """The encoder of :meth:`to_dict`."""
        out = cls()
        (c, h, w), (low, high) = data["shape"], data["values"]
        out.shape, out.values, out.mean, out.sd = (c, h, w), (low, high), tuple(data["mean"]), tuple(data["sd"])
        return out


class ImageBatches:
    """The images of a path, ``rows`` at a time (fewer in the last batch), in one shape.

    Attributes:
        done: share that was read, in [0, 1].
        total: number of images; ``None`` until the source was opened.
        notes: files that cannot be read and are left out.

    Raises:
        DataError: nothing there, or not one image that can be read.
    """

    def __init__(self, path: Path, shape: Shape, values: Values, rows: int, what: str) -> None:
        self.path, self.shape, self.values, self.rows, self.what = path, shape, values, rows, what
        self.done, self.total = 0.0, None
        self.notes: list[str] = []
        if path.exists() and not is_images(path):
            mend = "Give a folder of image files, a table that lists them, an idx file or a .npz archive."
            raise DataError(f"Expected images as the model was fitted on, got {str(path)!r}. {mend}")

    def __iter__(self) -> Iterator[Images]:
        pictures = pictures_of(self.path, self.what) if self.path.exists() else None
        return self._array() if pictures is None else self._files(pictures)

    def _files(self, pictures: list[Picture]) -> Iterator[Images]:
        self.total = len(pictures)
        bad: dict[int, str] = {}
        for a in range(0, len(pictures), self.rows):
            part = pictures[a : a + self.rows]
            pixels, kept, worse = decoded(part, self.shape)
            bad.update({a + row: reason for row, reason in worse.items()})
            self.done = min(1.0, (a + self.rows) / len(pictures))
            if kept:
                yield Images(pixels, None, tuple(part[row].name for row in kept), 0, "folder")
        if bad:
            self.notes.append(left_out(by_name(bad, pictures), len(pictures)))
        if len(bad) == len(pictures):
            raise DataError(f"Expected {KINDS} images in {str(self.path)!r}, got none that can be read: {listed(by_name(bad, pictures))}. Mend them.")

    def _array(self) -> Iterator[Images]:
        images = read_images(self.path, labels=False, values=self.values, what=self.what)
        self.total = len(images)
        for a in range(0, len(images), self.rows):
            self.done = min(1.0, (a + self.rows) / len(images))
            yield images.take(slice(a, a + self.rows))
