"""``-`` as the name of a file: what is on standard input."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temperance.core.errors import DataError

STDIN = "-"
NAME = "standard-input"
_STARTS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\x1f\x8b": ".csv.gz", b"BZh": ".csv.bz2", b"\x28\xb5\x2f\xfd": ".csv.zst", b"PK": ".xlsx"}


@contextmanager
def as_file(data: str) -> Iterator[str]:
    """The file to read: ``data`` itself, or for ``-`` a copy of standard input, in the format that its first bytes show; it is gone afterwards.

    Raises:
        DataError: standard input is a terminal.
    """
    if data != STDIN:
        yield data
        return
    if sys.stdin.isatty():
        raise DataError("Expected rows on standard input, got a terminal. Send a file there, such as: cat data.csv | temperance fit - --target COL.")
    with tempfile.TemporaryDirectory(prefix="temperance-") as folder:
        source = sys.stdin.buffer
        start = source.read(8)
        suffix = next((suffix for bytes_, suffix in _STARTS.items() if start.startswith(bytes_)), ".csv")
        path = Path(folder) / f"{NAME}{suffix}"
        with path.open("wb") as file:
            file.write(start)
            shutil.copyfileobj(source, file)
        yield str(path)
