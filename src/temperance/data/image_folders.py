"""Images in folders: one folder a class, PNG and JPEG files of any size."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from temperance.core.errors import DataError
from temperance.data.images import Images, Shape, size_in_words
from temperance.data.messages import listing

SUFFIXES = (".png", ".jpg", ".jpeg")
LARGEST_SIDE = 64
MOST_VALUES = 1 << 28  # of all images together: a gigabyte as numbers
MOST_BAD = 0.1  # share of the files; three may always be left out
_LEARN, _TEST = ("train", "training"), ("test", "testing")


def read_folder(path: Path, labels: bool, shape: Shape | None, what: str) -> Images:
    """The images below a folder in one size, by default the median one, at most 64 a side; those of ``test`` last.

    Args:
        path: the folder, or one file.
        labels: the folders that hold the files are the classes; else every file below is taken, in the order of the names.
        shape: channels, height and width.
        what: the name of the argument, for messages.

    Raises:
        DataError: no images, fewer than two class folders, more than a tenth of the files cannot be read.
    """
    if labels:
        parts, notes = _by_class(path, what)
    else:
        parts, notes = [[(file, "") for file in image_files(path, what)]], []
    root = path.parent if path.is_file() else path
    listed = [item for part in parts for item in part]
    sizes, bad = _headers([file for file, _ in listed])
    if sizes and shape is None:
        shape, said = _common(list(sizes.values()))
        notes.append(said)
    array, kept, worse = load_files([file for file, _ in listed if file not in bad], shape or (1, 1, 1))
    bad.update(worse)
    if bad:
        if not kept or len(bad) > max(3, MOST_BAD * len(listed)):
            raise DataError(f"Expected images in {str(path)!r}, got {len(bad):,} of {len(listed):,} files that cannot be read: {told(bad, root)}. Mend them.")
        notes.append(left_out(bad, len(listed), root))
    if array.shape[1] == 3 and labels and (array[:, :1] == array).all():
        array = np.ascontiguousarray(array[:, :1])
    later = {file for file, _ in parts[1]} if len(parts) > 1 else set[Path]()
    classes = dict(listed)
    found = np.array([classes[file] for file in kept], dtype=object) if labels else None
    return Images(array, found, tuple(file.relative_to(root).as_posix() for file in kept), sum(file in later for file in kept), "folder", tuple(notes))


def load_files(files: Sequence[Path], shape: Shape) -> tuple[np.ndarray, list[Path], dict[Path, str]]:
    """The images of files in one shape, those files that could be read, and why the others could not."""
    out = np.empty((len(files), *shape), np.uint8)
    kept: list[Path] = []
    bad: dict[Path, str] = {}
    for file in files:
        try:
            out[len(kept)] = _decoded(file, shape)
        except Exception as error:  # whatever Pillow's decoders raise is told with the name of the file
            bad[file] = _reason(error)
        else:
            kept.append(file)
    return out[: len(kept)], kept, bad


def told(bad: Mapping[Path, str], root: Path) -> str:
    """The files that cannot be read, and why."""
    first = "; ".join(f"{file.relative_to(root)} ({reason})" for file, reason in list(bad.items())[:5])
    return f"{first}; and {len(bad) - 5} more" if len(bad) > 5 else first


def left_out(bad: Mapping[Path, str], total: int, root: Path) -> str:
    """The same as a note."""
    return f"{len(bad):,} of {total:,} files cannot be read and {'is' if len(bad) == 1 else 'are'} left out: {told(bad, root)}"


def image_files(path: Path, what: str = "data") -> list[Path]:
    """The PNG and JPEG files below a folder in the order of their names, or the one file.

    Raises:
        DataError: there are none.
    """
    files = [path] if path.is_file() else _files(path)
    if not files:
        raise DataError(f"Expected PNG or JPEG files in `{what}`, got none in {str(path)!r}{_instead(path)}. Name the folder with the images.")
    return files


def natural(text: str) -> list[Any]:
    """A key by which 2.png comes before 10.png."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.casefold()) for part in re.split(r"(\d+)", text)] + [(2, 0, text)]


def _files(folder: Path) -> list[Path]:
    found = [file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
    return sorted((file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts)), key=lambda f: natural(f.as_posix()))


def _folders(folder: Path) -> list[Path]:
    return sorted((inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith(".")), key=lambda f: natural(f.name))


def _instead(folder: Path) -> str:
    """What the folder holds, for messages."""
    if folder.is_file():
        return ""
    names = sorted(other.name for other in folder.iterdir())
    return f" but {listing(names, most=4)}" if names else ", it is empty"


def _by_class(path: Path, what: str) -> tuple[list[list[tuple[Path, str]]], list[str]]:
    """Files with their class, those to learn from and those for testing apart; and what is to be said about it."""
    if path.is_file():
        raise DataError(f"Expected `{what}` to be a folder with a folder for each class, got one image, {str(path)!r}. Name the folder.")
    outer, notes = {folder.name.lower(): folder for folder in _folders(path)}, list[str]()
    learn = next((outer[name] for name in _LEARN if name in outer), None)
    test = next((outer[name] for name in _TEST if name in outer), None)
    parts = [_classes(folder, what) for folder in ((path,) if learn is None else (learn,) if test is None else (learn, test))]
    if learn is not None:
        others = [folder.name for folder in _folders(path) if folder not in (learn, test)]
        notes.append(f"{learn.name} holds the images to learn from" + (f", {test.name} the {len(parts[1]):,} test images" if test is not None else ""))
        notes += [f"{listing(others)} beside {'it' if test is None else 'them'} left out"] if others else []
    loose = [file for file in _files(path) if file.parent == path]
    if loose:
        notes.append(f"{len(loose):,} images that are in no class folder are left out")
    empty = [folder.name for folder in _folders(learn or path) if not _files(folder)]
    notes += [f"{listing(empty)} without images left out"] if empty else []
    return parts, notes


def _classes(folder: Path, what: str) -> list[tuple[Path, str]]:
    """The files of the class folders with their class."""
    found = [(file, inner.name) for inner in _folders(folder) for file in _files(inner)]
    classes = sorted({label for _, label in found})
    if not found:
        loose = f"{len(_files(folder)):,} images without a class folder" if _files(folder) else f"none in {str(folder)!r}{_instead(folder)}"
        mend = "Make a folder for each class and put its PNG or JPEG files there."
        raise DataError(f"Expected class folders with images in `{what}`, got {loose}. {mend}")
    if len(classes) < 2:
        inside = folder / classes[0]
        mend = f"Name {str(inside)!r}." if sum(bool(_files(inner)) for inner in _folders(inside)) > 1 else "Name the folder above it."
        raise DataError(f"Expected at least two class folders with images in `{what}`, got {classes[0]!r} alone in {str(folder)!r}. {mend}")
    return found


def _headers(files: Sequence[Path]) -> tuple[dict[Path, Shape], dict[Path, str]]:
    """Channels, height and width of every file, and why some cannot be read; the pixels are not."""
    sizes: dict[Path, Shape] = {}
    bad: dict[Path, str] = {}
    for file in files:
        try:
            with _image(file) as image:
                turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                w, h = reversed(image.size) if turned else image.size
                sizes[file] = (1 if image.mode in ("1", "L", "LA", "I", "I;16", "F") else 3, h, w)
        except Exception as error:  # likewise
            bad[file] = _reason(error)
    return sizes, bad


def _common(sizes: Sequence[Shape]) -> tuple[Shape, str]:
    """The size that all images are brought to, and the reason in words."""
    middle = [max(1, round(median(s[k] for s in sizes))) for k in (1, 2)]
    c = max(s[0] for s in sizes)
    shrunk = min(1.0, LARGEST_SIDE / max(middle), (MOST_VALUES / (len(sizes) * c * middle[0] * middle[1])) ** 0.5)
    h, w = (max(1, round(side * shrunk)) for side in middle)
    shape = (c, h, w)
    least, most = (" x ".join(str(end(s[k] for s in sizes)) for k in (1, 2)) for end in (min, max))
    if least == most and shrunk == 1.0:
        return shape, f"all images have {h} x {w} pixels"
    why = "the median" if shrunk == 1.0 else f"the median, {middle[0]} x {middle[1]}, made smaller"
    which = f"of {least} pixels" if least == most else f"from {least} to {most} pixels"
    return shape, f"images {which} are brought to {size_in_words(shape).partition(',')[0]}, {why}"


def _image(file: Path) -> Any:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file, formats=("PNG", "JPEG"))


def _decoded(file: Path, shape: Shape) -> np.ndarray:
    """One image, upright, on white where it is transparent, in this shape."""
    from PIL import Image, ImageOps

    c, h, w = shape
    with _image(file) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "I;16", "F"):
            image = Image.fromarray((np.asarray(image).astype(np.float64) / 257).clip(0, 255).round().astype(np.uint8))
        elif "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if c == 1 else "RGB")
        if image.size != (w, h):
            image = image.resize((w, h), Image.Resampling.BILINEAR)
        array = np.asarray(image)
    return array[None] if c == 1 else np.moveaxis(array, 2, 0)


def _reason(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0]
    if "cannot identify" in text:
        return "not a PNG or JPEG image"
    return text.rstrip(".") or type(error).__name__
