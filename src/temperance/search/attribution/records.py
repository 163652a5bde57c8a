"""What was measured, on disk as soon as it is measured: a line of JSON for each network's variant and seed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from temperance.core.files import read_whole, sync_folder, write_whole
from temperance.core.interrupts import uninterrupted

FORMAT = 1


def digest_of(facts: Mapping[str, Any]) -> str:
    """A short hash of plain values, so that lines of other data or of another winner are not gone on with."""
    return hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


class Records:
    """Scores by row of every variant and seed: ``(rows,)`` each, or ``None`` where the network diverged.

    With a path they are lines of a file, each whole or passed over, so that a process may be killed at any moment; the first line says what they are
    of. Lines of something else are replaced.

    Args:
        path: of the file; ``None`` keeps them in memory.
        of: the digest of what is measured.
        rows: how many numbers each has.
    """

    def __init__(self, path: Path | None, of: str, rows: int) -> None:
        self.path, self.rows, self.found = path, rows, dict[tuple[str, int], Tensor | None]()
        if path is None:
            return
        lines = self._lines(path)
        if next(lines, None) == {"explain": FORMAT, "of": of}:
            for line in lines:
                self._take(line)
        else:
            write_whole(path, _line({"explain": FORMAT, "of": of}))

    def _lines(self, path: Path) -> Iterator[Any]:
        """The lines of the file as values; what cannot be read is passed over."""
        try:
            content = read_whole(path)
        except FileNotFoundError:
            return
        for line in content.split(b"\n")[:-1]:
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def _take(self, said: Any) -> None:
        try:
            key = (str(said["variant"]), int(said["seed"]))
            values = None if said["rows"] is None else torch.from_numpy(np.frombuffer(base64.b64decode(said["rows"]), "<f4").copy())
        except (KeyError, TypeError, ValueError):
            return
        if values is None or len(values) == self.rows:
            self.found[key] = values

    def add(self, measured: Mapping[tuple[str, int], Tensor | None]) -> None:
        """Take in what was measured, in one writing."""
        # as they are read back, so that a process that goes on has the same numbers
        short = {key: None if values is None else values.float() for key, values in measured.items()}
        with uninterrupted():
            if self.path is not None:
                self._append(self.path, "".join(_said(*key, values) for key, values in short.items()).encode())
            self.found |= short

    def _append(self, path: Path, content: bytes) -> None:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":  # a line that was not written whole
                    content = b"\n" + content
            file.seek(0, os.SEEK_END)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)

    def __contains__(self, key: object) -> bool:
        return key in self.found

    def table(self, name: str, seeds: list[int]) -> Tensor:
        """``(seeds, rows)`` of a variant, NaN where a network diverged."""
        empty = torch.full((self.rows,), float("nan"))
        found = [self.found.get((name, seed)) for seed in seeds]
        return torch.stack([empty if values is None else values for values in found]) if found else torch.zeros(0, self.rows)


def _said(name: str, seed: int, values: Tensor | None) -> str:
    rows = None if values is None else base64.b64encode(values.numpy().astype("<f4").tobytes()).decode()
    return _line({"variant": name, "seed": seed, "rows": rows})


def _line(said: Mapping[str, Any]) -> str:
    return json.dumps(said, separators=(",", ":")) + "\n"
