"""Images as the X of an estimator: checked, then standardized with the means of the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.utils import validation
from torch import Tensor

from temperance.core.errors import DataError
from temperance.data.images import Shape

PART = 4096
"""Images that are checked, encoded or predicted at a time: as numbers of 8 bytes, all at once would take eight times the memory of bytes."""

_FLAT = 1e-12  # standard deviation relative to the mean below which a channel has one value, but for rounding
_validate: Any = validation.validate_data  # its types are inferred from its defaults, which are strings


class PixelEncoder:
    """Encode arrays of images as float32 ``(n, channels, height, width)``, each channel standardized: ``(pixel - mean) / sd``.

    Numbers of any size are taken as they are, so that they mean the same when fitting and later. There is one exception: fitted on fractions in [0, 1], bytes
    (``uint8``) count as ``pixel / 255``.

    Attributes:
        shape: channels, height and width.
        mean: of every channel, in the training rows.
        sd: standard deviation likewise; 1 where a channel has a single value.
        fractions: whether the fitted images were fractions in [0, 1].
        whole: whether they were whole numbers beyond 1, such as bytes.

    Example:
        >>> pixels = np.array([0, 1, 1, 0]).reshape(1, 1, 2, 2)
        >>> encoder = PixelEncoder().fit(0.2 + 0.6 * pixels)
        >>> encoder.shape, encoder.mean.round(2).tolist(), encoder.sd.round(2).tolist()
        ((1, 2, 2), [0.5], [0.3])
        >>> encoder.transform((51 + 153 * pixels).astype(np.uint8)).flatten().tolist()
        [-1.0, 1.0, 1.0, -1.0]
    """

    cardinalities: tuple[int, ...] = ()
    categorical: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self.shape: Shape = (1, 1, 1)
        self.mean, self.sd = np.zeros(1), np.ones(1)
        self.fractions = self.whole = False

    def fit(self, pixels: np.ndarray, rows: np.ndarray | None = None) -> PixelEncoder:
        """Learn means and standard deviations from some rows (``None``: all); what the numbers are is told from all."""
        _, c, h, w = pixels.shape
        self.shape = c, h, w
        low, high, fractional = _range(pixels)
        self.fractions, self.whole = fractional and low >= 0 and high <= 1, not fractional and high > 1
        rows = np.arange(len(pixels)) if rows is None else rows
        count = len(rows) * h * w
        self.mean = sum((part.sum((0, 2, 3)) for part in _parts(pixels, rows)), np.zeros(c)) / count
        centers = self.mean.reshape(-1, 1, 1)
        spread = np.sqrt(sum((np.square(part - centers).sum((0, 2, 3)) for part in _parts(pixels, rows)), np.zeros(c)) / count)
        self.sd = np.where(spread > _FLAT * np.abs(self.mean), spread, 1.0)
        return self

    def check(self, pixels: np.ndarray) -> None:
        """Refuse images of another shape or on another scale than the fitted ones.

        Raises:
            DataError: such images.
        """
        if pixels.shape[1:] != self.shape:
            wanted, got = _in_words(self.shape), _in_words(pixels.shape[1:])
            raise DataError(f"Expected images of {wanted} (channels x height x width) in `X` as fitted, got {got}. Resize or convert them.")
        if not len(pixels) or not (self.fractions or self.whole) or (self.fractions and pixels.dtype == np.uint8):
            return
        low, high, fractional = _range(pixels)
        if self.fractions and not fractional and high > 1:
            raise DataError(f"Expected fractions in [0, 1] or bytes (uint8) in `X` as fitted, got whole numbers up to {high:g} in {pixels.dtype}. Scale them.")
        if self.whole and fractional and low >= 0 and high <= 1:
            raise DataError("Expected whole numbers in `X` as fitted, got fractions in [0, 1]. Multiply them by what they were divided by, such as 255.")

    def transform(self, pixels: np.ndarray) -> Tensor:
        """Encode images."""
        out = torch.empty(len(pixels), *self.shape)
        unit = 255.0 if self.fractions and pixels.dtype == np.uint8 else 1.0
        mean, sd = self.mean.reshape(-1, 1, 1), self.sd.reshape(-1, 1, 1)
        for a in range(0, len(pixels), PART):
            out[a : a + PART] = torch.from_numpy((pixels[a : a + PART].astype(np.float64) / unit - mean) / sd)
        return out


def dimensions(X: Any) -> int:
    """Dimensions of an array, or of lists of lists or arrays as far as their first elements tell.

    Example:
        >>> dimensions([np.zeros((1, 8, 8))]), dimensions([[1.0, 2.0]]), dimensions([])
        (4, 2, 1)
    """
    if hasattr(X, "ndim"):
        return int(X.ndim)
    if isinstance(X, (list, tuple)):
        return 1 + (dimensions(X[0]) if X else 0)
    return 0


def checked_images(estimator: Any, X: Any, encoder: Any, least: int) -> np.ndarray:
    """X as an array ``(n, channels, height, width)`` in its own type of numbers.

    Args:
        estimator: whose ``n_features_in_`` is set, or compared.
        X: what has more than two dimensions.
        encoder: of the fitted rows; ``None`` when fitting.
        least: rows wanted.

    Raises:
        DataError, ValueError: another shape or scale than that of images, or of the fitted ones; no numbers, missing or infinite ones; too few rows.
    """
    try:
        array = np.asarray(X)
    except ValueError:  # NumPy's words for lists of different lengths
        raise DataError("Expected images of one size in `X`, got several sizes. Resize or pad them.") from None
    if array.ndim != 4:
        mend = "For gray images without channels give X[:, None]." if array.ndim == 3 else "Reshape it."
        raise DataError(f"Expected `X` as rows (n, columns) or as images (n, channels, height, width), got shape {array.shape}. {mend}")
    if encoder is not None and not isinstance(encoder, PixelEncoder):
        raise DataError(f"Expected a table in `X` as fitted, got images of shape {array.shape}. Give rows with the fitted columns.")
    if 0 in array.shape[1:]:
        raise DataError(f"Expected images with at least one pixel in `X`, got shape {array.shape}. Give larger images.")
    if encoder is not None and len(array):
        encoder.check(array)
    elif array.shape[3] in (1, 3, 4) and array.shape[1] == array.shape[2] > 4:
        raise DataError(f"Expected images (n, channels, height, width) in `X`, got shape {array.shape}, with channels at the end. Give np.moveaxis(X, 3, 1).")
    array = _validate(estimator, array, reset=encoder is None, dtype="numeric", allow_nd=True, ensure_all_finite=False, ensure_min_samples=least)
    for a in range(0, len(array), PART):
        finite = np.isfinite(array[a : a + PART]).all((1, 2, 3))
        if not finite.all():
            raise DataError(f"Expected finite numbers in the images of `X`, got others in image {a + int(finite.argmin())}. Correct or drop it.")
    return array


def _parts(pixels: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    for a in range(0, len(rows), PART):
        yield pixels[rows[a : a + PART]].astype(np.float64)


def _range(pixels: np.ndarray) -> tuple[float, float, bool]:
    """The least and the greatest number, and whether any is not whole."""
    parts = (pixels[a : a + PART] for a in range(0, len(pixels), PART))
    fractional = pixels.dtype.kind == "f" and any(bool((part != np.floor(part)).any()) for part in parts)
    return float(pixels.min()), float(pixels.max()), fractional


def _in_words(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
