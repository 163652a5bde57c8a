"""Files that are written whole, and on the disk when a call returns."""

from __future__ import annotations

import errno
import os
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
