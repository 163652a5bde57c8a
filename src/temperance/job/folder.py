"""The folder a fit writes to."""

from __future__ import annotations

import os
from pathlib import Path

from temperance.core.errors import ConfigError

FILES = ("summary.json", "history.csv", "cocktail.json", "study.db", "report.html", "run.json")


def claim(out: str | Path, overwrite: bool) -> Path:
    """Make the folder, or empty one of an earlier fit; before anything is computed.

    Only files that a fit writes are removed.

    Raises:
        ConfigError: it exists and ``overwrite`` is false, it is a file, it holds other things, or it cannot be written.
    """
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"Expected `--out` to name a folder, got {str(path)!r}, which is a file. Choose another name.")
    ours = [path / name for name in FILES if (path / name).exists()]
    if path.exists() and any(path.iterdir()):
        if not overwrite:
            raise ConfigError(f"Expected `--out` to name a new or empty folder, got {str(path)!r}, which holds files. Choose another name, or add --overwrite.")
        if not ours and not (path / "model").is_dir():
            raise ConfigError(f"Expected `--overwrite` to replace an earlier fit, got {str(path)!r}, which holds other files. Choose another folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".probe"
        probe.write_text("", encoding="utf-8")
        probe.unlink()
        for file in ours:
            file.unlink()
        for name in ("model.safetensors", "model.json"):
            (path / "model" / name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Expected `--out` to name a folder that can be written, got {str(path)!r}: {os.strerror(error.errno or 0)}. Choose another folder."
        ) from None
    return path


def release(path: Path) -> None:
    """Remove the folder again if it is empty but for the file of trials."""
    try:
        (path / "study.db").unlink(missing_ok=True)
        path.rmdir()
    except OSError:
        return
