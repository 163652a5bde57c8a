"""The folder that a fit writes to: one place while it runs, one rename when it is done, and nothing of anybody's is lost. See docs/safety.md."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from temperance.core.errors import ConfigError
from temperance.core.files import sync_file, sync_folder
from temperance.job.lock import LOCK, Lock

MODEL = ("model/model.safetensors", "model/model.json")
FILES = ("cocktail.json", "study.db", "history.csv", "report.html", "summary.json", "run.json")
EXPLAINED = ("explain.json", "explain.jsonl")  # what explains a fit, and goes with it when another takes its place
RUN = ".run"  # everything that a fit writes while it runs
TRIALS = "trials"  # in it: finished trials and their networks; absent before the first
UNFINISHED = "unfinished"  # what TRIALS is called where an interrupted fit is committed: the search may go on later
DONE = ".done"  # what was RUN, once the fit is done, until its files have their places
_OWN = (RUN, DONE, LOCK)


@dataclass(frozen=True)
class Claimed:
    """A folder that is ours until the end of the block.

    Attributes:
        path: of the folder.
        earlier: whether it holds a finished fit.
        note: what is to be said of the lock.
    """

    path: Path
    earlier: bool
    note: str = ""

    @property
    def run(self) -> Path:
        """Where the fit writes."""
        return self.path / RUN

    @property
    def trials(self) -> Path:
        """Where finished trials are."""
        return self.run / TRIALS

    def begin(self, resume: bool = False) -> None:
        """Make the place for what the fit writes; of an earlier one that was not finished the trials stay where it goes on, and all else makes room."""
        if self.run.exists() and not resume:
            shutil.rmtree(self.run)
        self.run.mkdir(exist_ok=True)
        for name in os.listdir(self.run):
            if name != TRIALS:
                (shutil.rmtree if (self.run / name).is_dir() else os.unlink)(self.run / name)
        sync_folder(self.path)

    def commit(self, *, unfinished: bool = False) -> None:
        """All is written: by one rename it is the fit of this folder.

        Args:
            unfinished: keep the finished trials, with which an interrupted search can go on.

        Raises:
            FileNotFoundError: a part is missing.
        """
        for name in (*FILES, *MODEL):
            sync_file(self.run / name)
        if unfinished and self.trials.is_dir():
            self.trials.rename(self.run / UNFINISHED)
        for folder in (self.run / "model", self.run):
            sync_folder(folder)
        self.run.rename(self.path / DONE)
        sync_folder(self.path)
        settle(self.path)


@contextmanager
def claimed(out: str | Path, overwrite: bool = False, resume: bool = False) -> Generator[Claimed]:
    """Lock a folder, made if need be, for the time of a fit.

    On an error or an interruption nothing that was computed is removed: what is in :data:`RUN` stays there.

    Raises:
        ConfigError: it exists and ``overwrite`` is false, nor is there anything to ``resume``; it is a file, it holds other things or links that
            lead out of it, it cannot be written, or another fit runs in it.
    """
    path = Path(out)
    if os.path.lexists(path) and not path.is_dir():
        raise ConfigError(f"Expected `--out` to name a folder, got {str(path)!r}, which is a file. Choose another name.")
    refuse_links(path)
    if path.exists():
        _check_content(path, overwrite, resume)
    try:
        lock = _locked(path)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigError(f"Expected `--out` to name a folder that can be written, got {str(path)!r}: {reason}. Choose another folder.") from None
    try:
        refuse_links(path)  # again, now that nobody else writes
        settle(path)
        _check_content(path, overwrite, resume)
        yield Claimed(path, holds_fit(path), lock.note)
    finally:
        with suppress(OSError):
            if not holds_work(path) and (path / RUN).exists():
                shutil.rmtree(path / RUN)
        lock.release()
        with suppress(OSError):
            path.rmdir()  # if nothing is in it


def _locked(path: Path) -> Lock:
    """A lock on the folder, which is made where it is missing: a fit that leaves nothing removes it, perhaps between the two."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return Lock(path)


def _check_content(path: Path, overwrite: bool, resume: bool) -> None:
    """Refuse to write over what is there, unless that was asked for, and over what no fit wrote in any case."""
    try:
        others = [name for name in os.listdir(path) if name not in _OWN]
    except FileNotFoundError:  # another fit, which left nothing, removed it this moment
        return
    if (not others and not holds_work(path) and not (path / DONE).exists()) or (resume and holds_trials(path)):
        return
    if not overwrite:
        got, what = f"Expected `--out` to name a new or empty folder, got {str(path)!r}, which holds", "an unfinished fit" if not others else "files"
        if holds_trials(path):
            raise ConfigError(f"{got} an unfinished fit with finished trials. {go_on(path)} Or choose another name, or add --overwrite to start over.")
        if resume and holds_fit(path):
            got = f"Expected `--resume` to find an unfinished fit, got {str(path)!r}, which holds"
            raise ConfigError(f"{got} a finished one. Use it, choose another name, or add --overwrite to start over.")
        raise ConfigError(f"{got} {what}. Choose another name, or add --overwrite.")
    if others and not holds_fit(path) and not (path / RUN).exists() and not (path / "model").is_dir():
        raise ConfigError(f"Expected `--overwrite` to replace an earlier fit, got {str(path)!r}, which holds other files. Choose another folder.")


def refuse_links(path: Path) -> None:
    """Refuse a folder in which a name that a fit writes to leads elsewhere.

    Raises:
        ConfigError: it does.
    """
    for name in (LOCK, RUN, DONE, "model", f"{DONE}/model", f"{RUN}/model", f"{RUN}/{TRIALS}", f"{RUN}/{UNFINISHED}", f"{DONE}/{UNFINISHED}"):
        if (path / name).is_symlink():
            mend = f"Remove the link {str(path / name)!r}, or choose another folder."
            raise ConfigError(
                f"Expected `--out` to name a folder in which a fit writes to no other place, got {str(path)!r} with a link {name!r} in it. {mend}"
            )


def place_of(path: Path, name: str) -> Path:
    """Where a part of the finished fit lies at this moment: a fit that was just committed may not have moved it yet."""
    done = path / DONE / name
    return done if os.path.lexists(done) else path / name


def readable(path: Path) -> Path:
    """The folder whose parts are read: this one, or what an unfinished fit wrote where it holds none that is finished."""
    finished = place_of(path, MODEL[-1]).exists() or not (path / RUN / MODEL[-1]).is_file()
    return path if finished else path / RUN


def holds_fit(path: Path) -> bool:
    """Whether a finished fit, or a part of one, is there."""
    return any(place_of(path, name).exists() for name in (*FILES, *MODEL))


def holds_work(path: Path) -> bool:
    """Whether an unfinished fit left something that took time: finished trials or a model."""
    return (path / RUN / MODEL[-1]).is_file() or holds_trials(path)


def holds_trials(path: Path) -> bool:
    """Whether finished trials of an unfinished fit are there."""
    trials = path / RUN / TRIALS
    return trials.is_dir() and any(trials.iterdir())


def settle(path: Path) -> None:
    """Move the parts of a committed fit to their places, also where a kill came between."""
    if (path / RUN / UNFINISHED).is_dir() and not (path / RUN / TRIALS).exists():  # killed just before the rename
        (path / RUN / UNFINISHED).rename(path / RUN / TRIALS)
    done = path / DONE
    if not done.is_dir():
        return
    for name in EXPLAINED:
        (path / name).unlink(missing_ok=True)
    for name in (*FILES, *MODEL):
        if (done / name).is_file():
            (path / name).parent.mkdir(exist_ok=True)
            (done / name).replace(path / name)
    if (done / UNFINISHED).is_dir():
        (path / RUN).mkdir(exist_ok=True)
        (done / UNFINISHED).rename(path / RUN / TRIALS)
    for folder in (path / "model", path):
        if folder.is_dir():
            sync_folder(folder)
    shutil.rmtree(done)


def go_on(path: Path) -> str:
    """What can be done with finished trials."""
    return f"The same command with --resume goes on, and `temperance finish {shlex.quote(str(path))}` makes a model of what is there."


def kept(path: Path) -> str:
    """What an error leaves, in words; empty where nothing was computed."""
    if (path / RUN / MODEL[-1]).is_file():
        return f"The model that the search found is kept in {str(path / RUN)!r}: tp.load and temperance predict take this folder."
    return f"The finished trials are kept in {str(path / RUN)!r}. {go_on(path)}" if holds_work(path) else ""
