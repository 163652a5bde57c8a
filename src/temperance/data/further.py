"""Rows that train beside those in memory: encoded once, dealt at random, kept in a file without a name, and read a window at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from temperance.core.errors import ConfigError

T = TypeVar("T")
Parts = dict[str, Any]  # x (a dict of tensors), y and weight of some rows
KEPT = 3  # windows in memory: two networks' groups train abreast, and one of them may be a window ahead
PIECE = 1 << 14  # rows that are written or read in one go


class Further:
    """Encoded rows on a disk, in a random order.

    The file has no name: it is gone when nobody holds it any more, however the process ends. Rows are dealt to as many regions of the file as there
    are windows, so that every window is like the table, in whatever order its rows come.

    Args:
        x: an encoded row or more, ``num`` and ``cat``: their widths count.
        y: encoded targets, likewise.
        rows: that will come, at most.
        window: rows that are read together, about.
        seed: of the order.
        folder: on the disk that takes them.

    Attributes:
        digest: of the rows that were added, in the order in which they came.
        factors: of every class, by which weights are multiplied.

    Raises:
        ConfigError: the disk has no room.

    Example:
        >>> x, y = {"num": torch.arange(6.0).reshape(6, 1), "cat": torch.zeros(6, 0, dtype=torch.long)}, torch.ones(6, 1)
        >>> further = Further(x, y, rows=6, window=3, seed=0, folder=tempfile.gettempdir())
        >>> further.add(x, y)
        >>> len(further), sorted(further.read(0, 6)["x"]["num"].flatten().tolist())
        (6, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    """

    def __init__(self, x: Mapping[str, Tensor], y: Tensor, *, rows: int, window: int, seed: int, folder: str | Path) -> None:
        self._record = np.dtype([("num", "<f4", (x["num"].shape[1],)), ("cat", "<i2", (x["cat"].shape[1],)), ("y", "<f4", (y.shape[1],)), ("weight", "<f4")])
        self._file = _reserved(rows * self._record.itemsize, folder)
        weakref.finalize(self, self._file.close)
        regions = max(1, -(-rows // max(1, window)))
        self._starts = np.linspace(0, rows, regions + 1).astype(np.int64)
        self._held = np.zeros(regions, np.int64)
        self._draw, self._digest = np.random.default_rng([seed, 3]), hashlib.blake2b(digest_size=12)
        self._lock, self._kept = threading.RLock(), OrderedDict[Any, Any]()
        self.factors: Tensor | None = None

    def __len__(self) -> int:
        return int(self._held.sum())

    def __repr__(self) -> str:
        return f"Further({len(self):,} rows of {self._record.itemsize} bytes)"

    @property
    def digest(self) -> bytes:
        return self._digest.digest()

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return int(self._starts[-1]) * self._record.itemsize

    def add(self, x: Mapping[str, Tensor], y: Tensor, weight: Tensor | None = None) -> None:
        """Deal some rows."""
        records = np.empty(len(y), self._record)
        records["num"], records["cat"], records["y"] = x["num"].numpy(), x["cat"].numpy(), y.numpy()
        records["weight"] = 1.0 if weight is None else weight.numpy()
        self._digest.update(records.tobytes())
        counts = self._shared_out(len(records))
        order = self._draw.permutation(len(records))
        at = 0
        for region in np.flatnonzero(counts):
            part = records[order[at : at + counts[region]]]
            self._file.seek(int(self._starts[region] + self._held[region]) * self._record.itemsize)
            if self._file.write(part.tobytes()) != part.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._held[region] += len(part)
            at += len(part)

    def _shared_out(self, count: int) -> np.ndarray:
        """How many of so many rows each region gets: at random, by the room that it has left."""
        room = np.diff(self._starts) - self._held
        if count > room.sum():
            raise ValueError(f"{count} rows do not fit into the room for {room.sum()}")
        got = np.minimum(self._draw.multinomial(count, room / max(1, room.sum())), room) if count else np.zeros_like(room)
        left = count - int(got.sum())
        for region in np.argsort(-(room - got)):
            more = min(left, int(room[region] - got[region]))
            got[region], left = got[region] + more, left - more
            if not left:
                break
        return got

    def read(self, start: int, count: int) -> Parts:
        """So many rows from this place on."""
        num = torch.empty(count, *self._record["num"].shape)
        cat = torch.empty(count, *self._record["cat"].shape, dtype=torch.long)
        y, weight = torch.empty(count, *self._record["y"].shape), torch.empty(count)
        ends, done = np.cumsum(self._held), 0
        while done < count:
            region = int(np.searchsorted(ends, start + done, side="right"))
            inside = start + done - int(ends[region] - self._held[region])
            many = min(PIECE, count - done, int(self._held[region]) - inside)
            records = self._records(int(self._starts[region]) + inside, many)
            for tensor, name in ((num, "num"), (cat, "cat"), (y, "y"), (weight, "weight")):
                tensor.numpy()[done : done + many] = records[name]
            done += many
        if self.factors is not None:
            weight *= (y * self.factors).sum(1)
        return {"x": {"num": num, "cat": cat}, "y": y, "weight": weight}

    def _records(self, first: int, count: int) -> np.ndarray:
        with self._lock:
            self._file.seek(first * self._record.itemsize)
            content = self._file.read(count * self._record.itemsize)
        return np.frombuffer(content, self._record)

    def kept(self, key: Any, make: Callable[[], T]) -> T:
        """What was made for a key, or is made now; the last few are kept, for all who train on them."""
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= KEPT:
                    self._kept.popitem(last=False)
                self._kept[key] = make()
            self._kept.move_to_end(key)
            return self._kept[key]


def _reserved(size: int, folder: str | Path) -> Any:
    """A file without a name that has room for so many bytes.

    Raises:
        ConfigError: the disk has not.
    """
    try:
        file = tempfile.TemporaryFile(dir=folder, prefix=".rows-", buffering=0)  # noqa: SIM115 -- it stays open
        stats = os.statvfs(folder) if hasattr(os, "statvfs") else None
        if stats is None or stats.f_bavail * stats.f_frsize > size:
            file.truncate(size)
            if hasattr(os, "posix_fallocate") and size:
                os.posix_fallocate(file.fileno(), 0, size)
            return file
        file.close()
        got = f"{stats.f_bavail * stats.f_frsize / 1e9:.1f} GB free"
    except OSError as error:
        got = os.strerror(error.errno or 0)
    mend = "Make room there, name a folder on another disk with --out, or give more --memory."
    raise ConfigError(f"Expected room for {size / 1e9:.1f} GB of encoded rows on the disk of {str(folder)!r}, got {got}. {mend}")
