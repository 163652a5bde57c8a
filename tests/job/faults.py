"""A disk on which the k-th operation of a file fails, or at which the process dies."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from typing import Any

import pytest

CHANGES = ("replace", "rename", "mkdir", "unlink", "rmdir", "fsync", "ftruncate", "open")


class Disk:
    """Counts what is done to files; at the k-th, ``fault`` is called before it is done, and of a write after half of it.

    Attributes:
        done: operations until now.
    """

    def __init__(self, k: int, fault: Callable[[], Any]) -> None:
        self.k, self.fault, self.done = k, fault, 0

    def step(self, half: Callable[[], Any] | None = None) -> None:
        self.done += 1
        if self.done == self.k:
            if half is not None:
                half()
            self.fault()

    def install(self, patch: pytest.MonkeyPatch, names: tuple[str, ...] = CHANGES) -> None:
        for name in names:
            patch.setattr(os, name, self._counted(getattr(os, name) if name != "fsync" else lambda handle: None))  # no test cuts the power
        patch.setattr(io, "open", self._opened(io.open))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.step()
            return real(*arguments, **options)

        return call

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+"):
                return real(file, mode, *arguments, **options)
            self.step()
            return _Written(real(file, mode, *arguments, **options), self)

        return call


class _Written:
    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def write(self, content: Any) -> int:
        def half() -> None:
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._disk.step(half)
        return self._file.write(content)

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def killed_at(k: int, work: Callable[[], Any]) -> bool:
    """Do something in a process of its own that dies at its k-th operation; whether it lived."""
    child = os.fork()
    if not child:
        try:
            Disk(k, lambda: os._exit(9)).install(pytest.MonkeyPatch())
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), "it failed before it was killed"
    return code == 0
