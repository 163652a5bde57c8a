"""Text files that are packed: one stream (.gz, .bz2, .zst, .xz), or an archive with one file in it (.zip)."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from temperance.core.errors import DataError
from temperance.data.messages import listing

STREAMS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
ZIP = ".zip"
PACKED = (*STREAMS, ZIP)
DAMAGED = (lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, zlib.error, struct.error)
"""What a damaged file raises beside the errors of the operating system; the last is an unknown way of packing."""


def inner_name(path: Path, what: str = "data") -> Path:
    """The name of what a file holds: of ``t.csv.gz`` it is ``t.csv``, of an archive that of its only file.

    Raises:
        DataError: an archive without a file or with several, or with a password.

    Example:
        >>> inner_name(Path("t.csv.xz")).name, inner_name(Path("t.csv")).name
        ('t.csv', 't.csv')
    """
    suffix = path.suffix.lower()
    if suffix != ZIP:
        return path.with_suffix("") if suffix in STREAMS else path
    with zipfile.ZipFile(path) as archive:
        return Path(_only(archive, path, what).filename)


@contextmanager
def unpacked(path: Path, what: str = "data") -> Iterator[tuple[pa.NativeFile, pa.NativeFile]]:
    """The file as it lies on the disk, whose position says how much was read, and the bytes it holds."""
    with pa.OSFile(str(path)) as raw:
        suffix = path.suffix.lower()
        if suffix == ZIP:
            with zipfile.ZipFile(cast(Any, raw)) as archive, archive.open(_only(archive, path, what)) as file:
                yield raw, pa.PythonFile(file, mode="r")
        elif suffix == ".xz":
            with lzma.open(cast(Any, raw)) as file:
                yield raw, pa.PythonFile(file, mode="r")
        else:
            yield raw, pa.CompressedInputStream(raw, STREAMS[suffix]) if suffix in STREAMS else raw


def _only(archive: zipfile.ZipFile, path: Path, what: str) -> zipfile.ZipInfo:
    """The one file of an archive; what a system keeps for itself does not count."""
    files = [file for file in archive.infolist() if not file.is_dir() and not any(p.startswith((".", "__MACOSX")) for p in Path(file.filename).parts)]
    if len(files) != 1:
        got = listing([file.filename for file in files]) if files else "none"
        raise DataError(f"Expected `{what}` to be an archive with one file, got {got} in {str(path)!r}. Unpack it and name one file.")
    if files[0].flag_bits & 1:
        raise DataError(f"Expected `{what}` to be readable, got an archive with a password, {str(path)!r}. Unpack it and name the file in it.")
    return files[0]
