"""Images in idx files, the format of MNIST, and in NumPy archives."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from temperance.core.errors import DataError
from temperance.data.images import BYTE_VALUES, Images, Values
from temperance.data.messages import listing

_NAME = re.compile(r"idx\d[-.]ubyte(\.gz)?$")
_BYTES = 0x08

# idx


def is_idx(path: Path) -> bool:
    """Whether a file is in the idx format, by its name or its first bytes."""
    if path.exists() and not path.is_file():
        return False
    if _NAME.search(path.name):
        return True
    if path.suffix.lower() not in ("", ".gz", ".idx"):
        return False
    try:
        with _opened(path) as file:
            start = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E) and 1 <= start[3] <= 4


def _opened(path: Path) -> Any:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else path.open("rb")


def read_idx(path: Path, what: str = "data") -> np.ndarray:
    """The array of an idx file of bytes.

    Raises:
        DataError: not in this format, cut off, damaged, or of another type than bytes.
    """
    try:
        with _opened(path) as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".") or type(error).__name__
        raise DataError(f"Expected `{what}` to be a readable idx file, got {str(path)!r}: {reason}. Copy or download it again.") from None
    if len(data) < 4 or data[:2] != b"\0\0" or not 1 <= data[3] <= 4:
        raise DataError(
            f"Expected `{what}` to be an idx file, got {str(path)!r}, which begins with {data[:4].hex(' ') or 'nothing'}. Copy or download it again."
        )
    if data[2] != _BYTES:
        raise DataError(f"Expected an idx file of bytes (type 08), got type {data[2]:02x} in {str(path)!r}. Save the arrays as .npz instead.")
    begin = 4 + 4 * data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    size = int(np.prod(shape, dtype=object))
    if len(data) != begin + size:
        told = " x ".join(map(str, shape))
        raise DataError(f"Expected {begin + size:,} bytes for {told} in {str(path)!r}, got {len(data):,}. Copy or download it again.")
    return np.frombuffer(data, np.uint8, offset=begin).reshape(shape)


def read_idx_images(path: Path, labels: bool, what: str) -> Images:
    """The images of an idx file or of a folder of them, with their labels, and the pair for testing behind them."""
    images = path if path.is_file() else _images_in(path, what)
    pixels = _pixels(images, what)
    if not labels:
        return Images(pixels, None, None, 0, "idx")
    y, where = _labels(images, len(pixels), what)
    notes = [f"labels from {where.name}"]
    later = _beside(images, lambda name: [name.replace("train", other) for other in ("t10k", "test")] if "train" in name else [])
    if later is None:
        return Images(pixels, y, None, 0, "idx", tuple(notes))
    more = _pixels(later, what)
    if more.shape[1:] != pixels.shape[1:]:
        raise DataError(
            f"Expected images of {pixels.shape[2]} x {pixels.shape[3]} pixels in {str(later)!r}, got {more.shape[2]} x {more.shape[3]}. Move it away."
        )
    z, _ = _labels(later, len(more), what)
    notes.append(f"the {len(more):,} images of {later.name} are the test rows")
    return Images(np.concatenate([pixels, more]), np.concatenate([y, z]), None, len(more), "idx", tuple(notes))


def _pixels(path: Path, what: str) -> np.ndarray:
    array = read_idx(path, what)
    if array.ndim == 1:
        raise DataError(f"Expected `{what}` to be the idx file of the images, got that of the labels, {str(path)!r}. Name the one with `images` in its name.")
    if array.ndim == 2 or array.size == 0:
        raise DataError(f"Expected images (n, height, width) in {str(path)!r}, got shape {array.shape}. Name the file with the images.")
    return array[:, None] if array.ndim == 3 else channels_first(array, str(path))


def _images_in(folder: Path, what: str) -> Path:
    """The one images file of a folder that is not for testing."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and is_idx(file) and "labels" not in file.name.lower())
    plain = {re.sub(r"\.gz$", "", file.name): file for file in reversed(files)}  # one of a file and its packed copy
    chosen = [file for name, file in sorted(plain.items()) if not re.search(r"t10k|test", name)] or list(plain.values())
    if len(chosen) != 1:
        found = listing(sorted(plain)) if plain else f"only {listing(sorted(file.name for file in folder.iterdir()), most=4)}"
        raise DataError(f"Expected one idx file of images to train on in `{what}`, got {found} in {str(folder)!r}. Name one file.")
    return chosen[0]


def _beside(images: Path, renamed: Any) -> Path | None:
    """The first file that is there under one of the names, packed or not."""
    stem = re.sub(r"\.gz$", "", images.name)
    names = [name for new in renamed(stem) if new != stem for name in (new, f"{new}.gz")]
    return next((images.with_name(name) for name in names if images.with_name(name).is_file()), None)


def _label_names(name: str) -> list[str]:
    new = name.replace("images", "labels")
    return [new.replace("idx3", "idx1").replace("idx4", "idx1"), new]


def _labels(images: Path, n: int, what: str) -> tuple[np.ndarray, Path]:
    path = _beside(images, _label_names)
    if path is None:
        wanted = _label_names(re.sub(r"\.gz$", "", images.name))[0]
        raise DataError(f"Expected the labels of {str(images)!r} beside it, in {wanted!r} or {wanted + '.gz'!r}, got no such file. Put it there.")
    y = read_idx(path, what)
    if y.shape != (n,):
        raise DataError(f"Expected {n:,} labels in {str(path)!r}, one for each image, got shape {y.shape}. Take the two files of one data set.")
    return y.astype(np.int64), path


# npz

_SETS = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x", "y", "", ""),
    ("images", "labels", "", ""),
    ("data", "target", "", ""),
)


def read_npz_images(path: Path, labels: bool, values: Values | None, what: str) -> Images:
    """The images of a NumPy archive, with their labels, and those for testing behind them."""
    arrays = _arrays(path, what)
    known = {name.lower(): name for name in reversed(list(arrays))}
    for names in _SETS:
        x, y, later, later_y = (known.get(name, "") for name in names)
        if x and (y or not labels):
            break
    else:
        if not labels and len(arrays) == 1:
            x, y, later, later_y = next(iter(arrays)), "", "", ""
        else:
            there = ", ".join(f"`{name}` {array.shape}" for name, array in arrays.items()) or "nothing"
            wanted = "arrays x and y, X and Y, images and labels, or x_train and y_train" if labels else "an array x, X or images"
            raise DataError(f"Expected {wanted} in {str(path)!r}, got {there}. Save them under these names with np.savez_compressed.")
    pixels, values, notes = as_bytes(arrays[x], values, x, path)
    if not labels:
        return Images(pixels, None, None, 0, "npz", tuple(notes), values)
    target = _target(arrays[y], len(pixels), y, x, path)
    notes.insert(0, f"images from `{x}` and labels from `{y}`")
    if not later or not later_y:
        return Images(pixels, target, None, 0, "npz", tuple(notes), values)
    more, _, _ = as_bytes(arrays[later], values, later, path)
    if more.shape[1:] != pixels.shape[1:]:
        raise DataError(f"Expected images of one size in {str(path)!r}, got {arrays[x].shape} in `{x}` and {arrays[later].shape} in `{later}`. Resize them.")
    notes.append(f"the {len(more):,} images of `{later}` are the test rows")
    both = np.concatenate([target, _target(arrays[later_y], len(more), later_y, later, path)])
    return Images(np.concatenate([pixels, more]), both, None, len(more), "npz", tuple(notes), values)


def _arrays(path: Path, what: str) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise ValueError("it holds one array without a name")
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # whatever numpy's parser of headers and the decoders of zip files raise
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        if "pickle" in reason:  # numpy's advice is to load it all the same
            reason = "an array in it holds objects" if zipfile.is_zipfile(path) else "it is no zip file of arrays"
        mend = "Save arrays of numbers and text, without objects, with np.savez_compressed."
        raise DataError(f"Expected `{what}` to be a NumPy archive, got {str(path)!r}: {reason}. {mend}") from None


def _target(y: np.ndarray, n: int, name: str, images: str, path: Path) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape[:1] != (n,):
        raise DataError(f"Expected {n:,} labels in `{name}` of {str(path)!r}, one for each image of `{images}`, got shape {y.shape}. Give as many.")
    if y.ndim == 2 and np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all():
        return y.argmax(1)
    if y.ndim != 1:
        raise DataError(f"Expected one label an image in `{name}` of {str(path)!r}, got shape {y.shape}. Give one number or name each.")
    return y.astype(object) if y.dtype.kind in "SU" else y


def as_bytes(array: np.ndarray, values: Values | None, name: str, path: Path | None = None) -> tuple[np.ndarray, Values, list[str]]:
    """Images as bytes, the values that became 0 and 255, and notes; ``path`` is where the array was read from."""
    where, notes = f"`{name}`" + ("" if path is None else f" of {str(path)!r}"), list[str]()
    if array.dtype.kind not in "uifb":
        raise DataError(f"Expected numbers in {where}, got {array.dtype}. Save the pixels as uint8.")
    if array.ndim == 2 and array.size and round(array.shape[1] ** 0.5) ** 2 == array.shape[1]:
        side = round(array.shape[1] ** 0.5)
        array = array.reshape(-1, side, side)
        notes.append(f"the {side * side} columns of `{name}` are taken as {side} x {side} pixels")
    if array.ndim not in (3, 4) or array.size == 0:
        raise DataError(f"Expected images (n, height, width) or (n, height, width, channels) in {where}, got shape {array.shape}. Reshape the array.")
    array = array[:, None] if array.ndim == 3 else channels_first(array, where)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array), BYTE_VALUES, notes
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(1))) + 1
        raise DataError(f"Expected finite numbers in {where}, got NaN or an infinite value in image {row}. Correct or drop it.")
    low, high = float(array.min()), float(array.max())
    if values is None:
        inside = low >= 0 and high <= 255 and bool((array == np.round(array)).all())
        values = (0.0, 1.0) if low >= 0 and high <= 1 else BYTE_VALUES if inside else (low, high)
        if values not in (BYTE_VALUES, (0.0, 1.0)):
            notes.append(f"values of `{name}` from {low:g} to {high:g} became 256 shades")
    first, last = values
    span = last - first
    if low < first - span or high > last + span or (values == BYTE_VALUES and high <= 1 and not (array == np.round(array)).all()):
        known, got = f"values from about {first:g} to {last:g}, as the other images have", f"{low:g} to {high:g}"
        raise DataError(f"Expected {known}, in {where}, got {got}. Bring them to the same scale.")
    scaled = (array.astype(np.float64) - first) * (255.0 / ((last - first) or 1.0))
    return scaled.round().clip(0, 255).astype(np.uint8), values, notes


def channels_first(array: np.ndarray, where: str) -> np.ndarray:
    """``(n, channels, height, width)``, whichever of the two usual orders the array has; a fourth channel (opacity) is left out.

    Raises:
        DataError: neither order has one, three or four channels.
    """
    if array.shape[3] in (1, 3, 4) and (array.shape[1] not in (1, 3) or array.shape[3] in (1, 3)):
        array = np.moveaxis(array, 3, 1)
    elif array.shape[1] not in (1, 3, 4):
        raise DataError(f"Expected one, three or four channels at the end or after the rows in {where}, got shape {array.shape}. Reorder the axes.")
    return array[:, :3] if array.shape[1] == 4 else array
