"""Images in folders: one folder a class, image files of any size."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from temperance.core.errors import DataError
from temperance.data.image_files import KINDS, LARGEST_SIDE, SUFFIXES, Picture, Told, gathered
from temperance.data.images import Images, Shape
from temperance.data.messages import listing

LEARN, VALIDATE, TEST = ("train", "training"), ("val", "valid", "validation", "dev"), ("test", "testing")
_OF_SYSTEMS = ("thumbs.db", "desktop.ini")


def read_folder(path: Path, labels: bool, shape: Shape | None, what: str, told: Told | None = None, side: int = LARGEST_SIDE) -> Images:
    """The images below a folder in one size, by default the median one, at most ``side`` a side; those of ``val``, then those of ``test`` last.

    Args:
        path: the folder, or one file.
        labels: the folders that hold the files are the classes; else every file below is taken, in the order of the names.
        shape: channels, height and width.
        what: the name of the argument, for messages.
        told: hears the share that is read.
        side: pixels that no side may exceed where ``shape`` does not say it.

    Raises:
        DataError: no images, fewer than two class folders, more than a tenth of the files cannot be read.
    """
    if labels:
        parts, notes = _by_class(path, what)
    else:
        parts, notes = [[(file, "") for file in image_files(path, what)], [], []], []
    pictures = in_folder([file for part in parts for file, _ in part], path)
    classes = np.array([name for part in parts for _, name in part], dtype=object) if labels else None
    held, later = len(parts[1]), len(parts[2])
    return gathered(pictures, classes, shape, held=held, untouched=later, kind="folder", notes=notes, place=str(path), told=told, side=side)


def in_folder(files: list[Path], path: Path) -> list[Picture]:
    """Files by their names in the folder."""
    root = path.parent if path.is_file() else path
    return [Picture(file.relative_to(root).as_posix(), file) for file in files]


def image_files(path: Path, what: str = "data") -> list[Path]:
    """The image files below a folder in the order of their names, or the one file.

    Raises:
        DataError: there are none.
    """
    files = [path] if path.is_file() else _files(path)
    if not files:
        raise DataError(f"Expected {KINDS} files in `{what}`, got none in {str(path)!r}{_instead(path)}. Name the folder with the images.")
    return files


def natural(text: str) -> list[Any]:
    """A key by which 2.png comes before 10.png."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.casefold()) for part in re.split(r"(\d+)", text)] + [(2, 0, text)]


def _files(folder: Path) -> list[Path]:
    return [file for file in _all_files(folder) if file.suffix.lower() in SUFFIXES]


def _all_files(folder: Path) -> list[Path]:
    """Every file below a folder that is neither hidden nor a system's own, in the order of the names."""
    found = [file for file in folder.rglob("*") if file.is_file() and file.name.lower() not in _OF_SYSTEMS]
    return sorted((file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts)), key=lambda f: natural(f.as_posix()))


def _folders(folder: Path) -> list[Path]:
    return sorted((inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith(".")), key=lambda f: natural(f.name))


def _instead(folder: Path) -> str:
    """What the folder holds, for messages."""
    if folder.is_file():
        return ""
    names = sorted(other.name for other in folder.iterdir())
    kinds = _kinds(_all_files(folder)) if any(other.is_dir() for other in folder.iterdir()) else ""
    return f" but {listing(names, most=4)}{f', with {kinds} in them' if kinds else ''}" if names else ", it is empty"


def _kinds(files: list[Path]) -> str:
    """How many files there are of each suffix.

    Example:
        >>> _kinds([Path("a.heic"), Path("b.HEIC"), Path("c")])
        '2 .heic and 1 without a suffix'
    """
    counts = Counter(file.suffix.lower() for file in files).most_common(4)
    told = [f"{count:,} {suffix or 'without a suffix'}" for suffix, count in counts]
    return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _by_class(path: Path, what: str) -> tuple[list[list[tuple[Path, str]]], list[str]]:
    """Files with their class, those to learn from, to validate and to test with apart; and what is to be said about it."""
    if path.is_file():
        raise DataError(f"Expected `{what}` to be a folder with a folder for each class, got one image, {str(path)!r}. Name the folder.")
    outer, notes = {folder.name.lower(): folder for folder in _folders(path)}, list[str]()
    learn, held, test = (next((outer[name] for name in names if name in outer), None) for names in (LEARN, VALIDATE, TEST))
    if learn is None:
        held = test = None
    parts = [_classes(learn or path, what), *(_labeled(folder, notes) for folder in (held, test))]
    if learn is not None:
        told = [f"{folder.name} {the}" for folder, part, the in _roles(held, test, parts) if folder is not None and part]
        notes.insert(0, ", ".join([f"{learn.name} holds the images to learn from", *told]))
        others = [folder.name for folder in _folders(path) if folder not in (learn, held, test)]
        notes += [f"{listing(others)} beside {'them' if told else 'it'} left out"] if others else []
    inside = [folder for folder in (learn or path, held, test) if folder is not None]
    other = [file for folder in inside for file in _all_files(folder) if file.suffix.lower() not in SUFFIXES]
    notes += [f"files that are no {KINDS} images are left out: {_kinds(other)}"] if other else []
    loose = [file for file in _files(path) if file.parent == path]
    if loose:
        notes.append(f"{len(loose):,} images that are in no class folder are left out")
    empty = [folder.name for folder in _folders(learn or path) if not _files(folder)]
    notes += [f"{listing(empty)} without images left out"] if empty else []
    return parts, notes


def _roles(held: Path | None, test: Path | None, parts: list[list[tuple[Path, str]]]) -> list[tuple[Path | None, list[tuple[Path, str]], str]]:
    """What the folders beside that to learn from are for."""
    return [(held, parts[1], f"the {len(parts[1]):,} to validate with"), (test, parts[2], f"the {len(parts[2]):,} test images")]


def _labeled(folder: Path | None, notes: list[str]) -> list[tuple[Path, str]]:
    """The files of the class folders beside those to learn from; none where it has images without classes, which is said."""
    if folder is None:
        return []
    found = _found(folder)
    loose = len(_files(folder)) - len(found)
    if loose:
        notes.append(f"{loose:,} images of {folder.name} are in no class folder and left out: predict them when the model is there")
    return found


def _found(folder: Path) -> list[tuple[Path, str]]:
    return [(file, inner.name) for inner in _folders(folder) for file in _files(inner)]


def _classes(folder: Path, what: str) -> list[tuple[Path, str]]:
    """The files of the class folders with their class."""
    found = _found(folder)
    classes = sorted({label for _, label in found})
    if not found:
        loose = f"{len(_files(folder)):,} images without a class folder" if _files(folder) else f"none in {str(folder)!r}{_instead(folder)}"
        mend = f"Make a folder for each class and put its {KINDS} files there, or write a CSV file of paths and labels."
        raise DataError(f"Expected class folders with images in `{what}`, got {loose}. {mend}")
    if len(classes) < 2:
        inside = folder / classes[0]
        mend = f"Name {str(inside)!r}." if sum(bool(_files(inner)) for inner in _folders(inside)) > 1 else "Name the folder above it."
        raise DataError(f"Expected at least two class folders with images in `{what}`, got {classes[0]!r} alone in {str(folder)!r}. {mend}")
    return found
