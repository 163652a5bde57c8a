"""Ways out of messages about idx files: the file that is refused, and the one that the message asks for in its place."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.image_files import idx_bytes, some, write_idx
from tests.ways.harness import check, way

from temperance.data.read_images import read_images

X, Y = some(20)
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def read(folder: Path, name: str = "") -> bool:
    return len(read_images(folder / name if name else folder)) > 0


def again(folder: Path) -> bool:
    """The two files copied anew."""
    write_idx(folder, "train", X, Y)
    return read(folder, IMAGES)


def damage(folder: Path, name: str, content: bytes) -> bool:
    (folder / name).write_bytes(content)
    return read(folder, IMAGES)


def typed(folder: Path) -> bool:
    """Numbers of four bytes in place of bytes."""
    floats = X.astype(">f4")
    head = bytes([0, 0, 0x0D, 3]) + b"".join(int(n).to_bytes(4, "big") for n in X.shape)
    return damage(folder, IMAGES, head + floats.tobytes())


def as_npz(folder: Path) -> bool:
    np.savez(folder / "train.npz", x=X.astype(np.float32), y=Y)
    return len(read_images(folder / "train.npz")) == 20


def in_place(folder: Path, name: str, array: np.ndarray, packed: bool = False) -> bool:
    (folder / name).write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    return read(folder, IMAGES)


def without_labels(folder: Path) -> bool:
    (folder / LABELS).unlink()
    return read(folder, IMAGES)


def later(folder: Path, side: int) -> bool:
    write_idx(folder, "t10k", np.zeros((4, side, side), np.uint8), np.arange(4) % 2)
    return read(folder, IMAGES)


def moved(folder: Path) -> bool:
    (folder / "elsewhere").mkdir()
    (folder / "t10k-images-idx3-ubyte").rename(folder / "elsewhere" / "t10k-images-idx3-ubyte")
    return read(folder, IMAGES)


def two(folder: Path) -> bool:
    write_idx(folder, "letters", X, Y)
    return read(folder)


Step = Callable[[Path], Any]
WAYS: dict[str, tuple[Step, str, tuple[Step, ...]]] = {
    "cut off": (lambda f: damage(f, IMAGES, idx_bytes(X)[:50]), "Copy or download it again.", (again,)),
    "something else": (lambda f: damage(f, LABELS, b"labels"), "Copy or download it again.", (again,)),
    "floats": (typed, "Save the arrays as .npz instead.", (as_npz,)),
    "the labels in place of the images": (lambda f: read(f, LABELS), "Name the one with `images` in its name.", (lambda f: read(f, IMAGES),)),
    "a table": (lambda f: damage(f, IMAGES, idx_bytes(X.reshape(20, -1))), "Name the file with the images.", (again,)),
    "no labels": (
        without_labels,
        "Put it there.",
        (lambda f: in_place(f, LABELS, Y), lambda f: in_place(f, f"{LABELS}.gz", Y, packed=True)),
    ),
    "labels of another set": (lambda f: in_place(f, LABELS, Y[:5]), "Take the two files of one data set.", (again,)),
    "test images of another size": (lambda f: later(f, 4), "Move it away.", (moved,)),
    "several files": (two, "Name one file.", (lambda f: read(f, IMAGES), lambda f: read(f, "letters-images-idx3-ubyte"))),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_way_out_works(name: str, tmp_path: Path) -> None:
    wrong, says, follow = WAYS[name]
    write_idx(tmp_path, "train", X, Y)
    check(way(lambda: wrong(tmp_path), says, *(lambda step=step: step(tmp_path) for step in follow)))
