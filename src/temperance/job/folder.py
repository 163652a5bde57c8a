"""The folder a fit writes to."""

from __future__ import annotations

import os
from pathlib import Path

from temperance.core.errors import ConfigError

FILES = ("summary.json", "history.csv", "cocktail.json", "study.db", "report.html", "run.json")
RUNNING = ".study.db"  # the file of trials until the fit is done


def claim(out: str | Path, overwrite: bool) -> Path:
    """Make the folder, before anything is computed; an earlier fit in it stays until :func:`settle`.

    Raises:
        ConfigError: it exists and ``overwrite`` is false, it is a file, it holds other things, or it cannot be written.
    """
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"Expected `--out` to name a folder, got {str(path)!r}, which is a file. Choose another name.")
    ours = [path / name for name in (*FILES, RUNNING) if (path / name).exists()]
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
        (path / RUNNING).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"Expected `--out` to name a folder that can be written, got {str(path)!r}: {os.strerror(error.errno or 0)}. Choose another folder."
        ) from None
    return path


def settle(path: Path) -> None:
    """The fit is done: remove an earlier one (only files that a fit writes), and give the file of trials its name."""
    for file in (*(path / name for name in FILES), path / "model" / "model.safetensors", path / "model" / "model.json"):
        file.unlink(missing_ok=True)
    (path / RUNNING).rename(path / "study.db")


def release(path: Path) -> None:
    """Remove the file of trials, and the folder if nothing else is in it: an earlier fit stays."""
    try:
        (path / RUNNING).unlink(missing_ok=True)
        path.rmdir()
    except OSError:
        return
