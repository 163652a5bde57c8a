"""The folder a fit writes to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from temperance.core.errors import ConfigError

FILES = ("summary.json", "history.csv", "cocktail.json", "study.db", "report.html", "run.json")
MODEL = ("model/model.safetensors", "model/model.json")
RUNNING = ".study.db"  # the file of trials until the fit is done
NEW = ".new"  # the results until all are written
RUN = ".run"  # everything that a fit writes while it runs, see docs/safety.md
TRIALS = "trials"  # in it: finished trials and their checkpoints; absent or empty before the first
DONE = ".done"  # what was RUN, once the fit is done, until its files have their places
LOCK = ".lock"


def claim(out: str | Path, overwrite: bool) -> Path:
    """Make the folder, before anything is computed; an earlier fit in it stays until :func:`settle`.

    Raises:
        ConfigError: it exists and ``overwrite`` is false, it is a file, it holds other things, or it cannot be written.
    """
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"Expected `--out` to name a folder, got {str(path)!r}, which is a file. Choose another name.")
    ours = [path / name for name in (*FILES, RUNNING, NEW) if (path / name).exists()]
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
        shutil.rmtree(path / NEW, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"Expected `--out` to name a folder that can be written, got {str(path)!r}: {os.strerror(error.errno or 0)}. Choose another folder."
        ) from None
    return path


def holds_fit(path: Path) -> bool:
    """Whether an earlier fit, or part of one, is there."""
    return any((path / name).exists() for name in (*FILES, *MODEL))


def settle(path: Path) -> None:
    """The fit is done: what it wrote under :data:`NEW` takes the places of an earlier one (only files that a fit writes), the file of trials its name."""
    for name in (*FILES, *MODEL):
        new, place = path / NEW / name, path / name
        if new.exists():
            place.parent.mkdir(exist_ok=True)
            new.replace(place)
        else:
            place.unlink(missing_ok=True)
    (path / RUNNING).replace(path / "study.db")
    shutil.rmtree(path / NEW, ignore_errors=True)


def release(path: Path) -> None:
    """Remove the file of trials and unfinished results, and the folder if nothing else is in it: an earlier fit stays."""
    try:
        shutil.rmtree(path / NEW, ignore_errors=True)
        (path / RUNNING).unlink(missing_ok=True)
        path.rmdir()
    except OSError:
        return
