"""Read images from a path of any of the known kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from temperance.core.errors import DataError
from temperance.data.image_arrays import is_idx, read_idx_images, read_npz_images
from temperance.data.image_files import LARGEST_SIDE, SUFFIXES, Picture, Told
from temperance.data.image_folders import image_files, in_folder, read_folder
from temperance.data.image_lists import is_image_list, listed_pictures, read_list
from temperance.data.images import Images, Shape, brought_to
from temperance.data.read import near_files, refuse_strange


def is_images(source: Any) -> bool:
    """Whether a source is read as images: a folder, an idx file, a ``.npz`` archive, an image file, a table that lists images.

    Example:
        >>> is_images("digits.npz"), is_images("train.csv")
        (True, False)
    """
    if not isinstance(source, (str, PathLike)):
        return False
    path = Path(source).expanduser()
    return path.is_dir() or path.suffix.lower() in (".npz", *SUFFIXES) or is_idx(path) or is_image_list(path)


def in_files(path: Path) -> bool:
    """Whether each image is a file of its own."""
    if path.is_dir():
        return not any(is_idx(file) for file in path.iterdir() if file.is_file())
    return path.suffix.lower() in SUFFIXES


def pictures_of(path: Path, what: str = "data") -> list[Picture] | None:
    """The images of a folder, of a table that lists them, or of one file; ``None`` for arrays.

    Raises:
        DataError: there are none.
    """
    if in_files(path):
        return in_folder(image_files(path, what), path)
    return listed_pictures(path, what)[0] if is_image_list(path) else None


def read_images(
    source: str | PathLike[str],
    *,
    labels: bool = True,
    shape: Shape | None = None,
    values: tuple[float, float] | None = None,
    what: str = "data",
    target: Sequence[str] = (),
    told: Told | None = None,
    side: int = LARGEST_SIDE,
) -> Images:
    """Read images.

    ======================  =====================================================================================================================
    source                  what is read
    ======================  =====================================================================================================================
    idx file                the file of the images, packed (``.gz``) or not, with that of the labels beside it; where its name has ``train``, the
                            pair named ``t10k`` or ``test`` is kept apart as test rows
    folder of idx files     likewise
    ``.npz``                arrays named x and y, X and Y, images and labels, or x_train, y_train, x_test and y_test; nothing pickled is loaded
    folder                  a folder for each class with PNG, JPEG, WebP, BMP, GIF or TIFF files; of folders ``train``, ``val`` and ``test``, the second
                            validates and the last is kept apart
    table                   a text file with a column of paths, relative to its folder, or a Parquet or Arrow file with paths or encoded images (bytes,
                            or bytes and path), and a column of labels; a column ``split`` of train, val and test is followed
    ======================  =====================================================================================================================

    Images in files are brought to one size: the median height and width, at most ``side``. What cannot be read is left out and noted.

    Args:
        source: a path.
        labels: whether labels are needed; without, one image file and a folder without class folders do as well.
        shape: channels, height and width that the images are brought to, instead of their own.
        values: the values of an array that become 0 and 255, instead of those that its range suggests.
        what: the name of the argument, for messages.
        target: of a table, the columns with the labels; by default the only one, or the one that is called label, class or target.
        told: called with the share that is read, for a progress bar.
        side: pixels that no side of images in files may exceed where ``shape`` does not say it.

    Raises:
        DataError: no such file, a damaged one, nothing in it, no labels, one class, more than a few files that cannot be read.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"Expected `{what}` to be an existing file or folder, got {str(source)!r}. {near_files(path)}")
    refuse_strange(path, what)
    try:
        if in_files(path):
            found = read_folder(path, labels, shape, what, told, side)
        elif is_image_list(path):
            found = read_list(path, labels, shape, what, target, told, side)
        elif path.suffix.lower() == ".npz":
            found = read_npz_images(path, labels, values, what)
        else:
            found = read_idx_images(path, labels, what)
    except OSError as error:
        raise DataError(f"Expected `{what}` to be readable, got {str(source)!r}: {error.strerror or error}. Check the path.") from None
    return found if shape is None or found.shape == shape else replace(found, pixels=brought_to(found.pixels, shape))
