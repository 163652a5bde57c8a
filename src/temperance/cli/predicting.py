"""Where predictions go: CSV on standard output, or a CSV or Parquet file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from temperance.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas

TEXT, PARQUET = (".csv",), (".parquet", ".pq")


def check_output(out: str, data: str) -> Path:
    """The file to write, checked before anything is computed.

    Raises:
        ConfigError: another format, a folder that is not there, a folder's name, or the very file that is read.
    """
    path = Path(out)
    if path.suffix.lower() not in (*TEXT, *PARQUET):
        got = path.suffix or "no suffix"
        raise ConfigError(f"Expected `--out` to name a .csv or .parquet file, got {out!r} ({got}). Choose one of the two.")
    if path.is_dir():
        raise ConfigError(f"Expected `--out` to name a file, got the folder {out!r}. Name a file in it.")
    if not path.parent.is_dir():
        raise ConfigError(f"Expected `--out` to lie in an existing folder, got {out!r}. Make the folder {str(path.parent)!r} first.")
    if path.exists() and os.path.realpath(path) == os.path.realpath(data):
        raise ConfigError(f"Expected `--out` to be another file than the data, got {out!r} for both. Choose another name.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"Expected `--out` to be a file that can be written, got {out!r}. Choose another place.")
    return path


def write_table(table: pandas.DataFrame, path: Path | None) -> None:
    """Write the predictions; a file appears under its name only when it is complete.

    Raises:
        ConfigError: it cannot be written.
    """
    if path is None:
        table.to_csv(sys.stdout, index=False)
        sys.stdout.flush()
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        if path.suffix.lower() in PARQUET:
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"Expected `--out` to be a file that can be written, got {str(path)!r}: {error.strerror or error}. Choose another place.") from None
    finally:
        partial.unlink(missing_ok=True)
