"""Small images of two or three kinds, written as idx files, archives and folders."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = ("bar", "dot", "ring")


def pixels_of(labels: np.ndarray, side: int = 6, seed: int = 0) -> np.ndarray:
    """Gray images ``(n, side, side)`` with a mark that the label decides, on noise."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, 60, (len(labels), side, side))
    middle = side // 2
    for image, label in zip(out, labels, strict=True):
        if label == 0:
            image[:, rng.integers(1, side - 1)] = 220
        elif label == 1:
            image[middle - 1 : middle + 1, middle - 1 : middle + 1] = 220
        else:
            image[0], image[-1], image[:, 0], image[:, -1] = 220, 220, 220, 220
    return out.astype(np.uint8)


def some(n: int, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % classes
    return pixels_of(labels, seed=seed), labels


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, name: str, pixels: np.ndarray, labels: np.ndarray, packed: bool = False) -> Path:
    """The pair of files ``name-images-idx3-ubyte`` and ``name-labels-idx1-ubyte``; the path of the former."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        path = folder / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    return folder / f"{name}-images-idx3-ubyte{'.gz' if packed else ''}"


def write_folder(folder: Path, n: int = 12, classes: int = 2, *, sizes: tuple[tuple[int, int], ...] = ((6, 6),), color: bool = False, seed: int = 0) -> Path:
    """``folder/bar/0.png`` and so on; every second file is a JPEG."""
    pixels, labels = some(n, classes, seed)
    for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        place = folder / KINDS[label]
        place.mkdir(parents=True, exist_ok=True)
        height, width = sizes[i % len(sizes)]
        picture = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
        if color:
            picture = Image.merge("RGB", [picture, picture.point(lambda v: v // 2), picture.point(lambda v: 255 - v)])
        picture.save(place / f"{i}.{'jpg' if i % 4 == 3 else 'png'}")
    return folder
