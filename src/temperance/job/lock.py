"""One fit or explanation at a time in a folder."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from temperance.core.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
UNLOCKED = "this file system or machine has no locks, so that nothing keeps a second one out of the folder: start none while this one runs"


class Lock:
    """An exclusive lock on a folder, held by this process until :meth:`release` or its end, however it ends.

    The system keeps the lock, not the file: what a killed process leaves locks nothing. The file says whose it is.

    Attributes:
        note: what is to be said where the system has no locks; else empty.

    Args:
        folder: to lock.
        doing: the command that works in it: ``"fit"`` or ``"explain"``.

    Raises:
        ConfigError: another process holds it.
        OSError: no file can be written there.
    """

    def __init__(self, folder: Path, doing: str = "fit") -> None:
        self.path, self.doing, self.note = folder / LOCK, doing, ""
        self._handle = self._open()
        os.ftruncate(self._handle, 0)
        os.write(self._handle, f"{doing}, process {os.getpid()} on {socket.gethostname()}\n".encode())

    def _open(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
            try:
                self._take(handle)
                if not self._is_there(handle):
                    os.close(handle)  # its holder removed it between the two
                    continue
            except BaseException:
                os.close(handle)
                raise
            return handle

    def _is_there(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.path.lstat())
        except FileNotFoundError:
            return False

    def _take(self, handle: int) -> None:
        if fcntl is None:
            self.note = UNLOCKED
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
                whose = os.read(handle, 200).decode(errors="replace").strip() or "another process"
                place = str(self.path.parent)
                instead = ", or choose another folder with --out" if self.doing == "fit" else ""
                raise ConfigError(
                    f"Expected a folder in which nothing else runs, got {place!r}, which is in use ({whose}). Wait until that is done{instead}."
                ) from None
            self.note = UNLOCKED

    def release(self) -> None:
        """Let the next one in."""
        self.path.unlink(missing_ok=True)
        os.close(self._handle)
