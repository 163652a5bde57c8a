"""Files that are written whole, and on the disk when a call returns."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

_UNABLE = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EISDIR)  # systems that cannot sync a folder


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file so that its name always means a whole one: the earlier, or this.

    The content goes into a file beside it, is synced, and takes the name. A link of that name is replaced, not followed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "a.txt", "one")
        ...     (Path(folder) / "a.txt").read_text()
        'one'
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)  # of a killed process with the same number; or a link, which the next line would not open
    try:
        with partial.open("xb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Wait until a file that somebody else wrote is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
    finally:
        os.close(handle)


def read_whole(path: Path, most: int = 1 << 33) -> bytes:
    """The content of an ordinary file. No link is followed, and nothing that blocks or never ends is read.

    Raises:
        OSError: a link, a folder, a pipe, a device, more than ``most`` bytes, or whatever reading raises.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "It is no ordinary file", str(path))
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"It has {found.st_size:,} bytes, and at most {most:,} are read", str(path))
        return file.read(most + 1)[: found.st_size]
