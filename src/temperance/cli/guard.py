"""What an exception becomes: one message and an exit code."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, ParamSpec

import typer

from temperance.cli.streams import going_on

P = ParamSpec("P")
BUG, BAD_INPUT, INTERRUPTED = 1, 2, 130
TRACEBACK = "TEMPERANCE_TRACEBACK"
LONGEST = 1600  # characters of a message
_OTHERS = ("OperationalError", "DatabaseError")  # of SQLite, such as a full disk, as SQLAlchemy tells them
_MENDS: dict[int, str] = {
    errno.EEXIST: "Choose another name, or add --overwrite.",
    errno.EACCES: "Choose a place that you may write to.",
    errno.EROFS: "Choose a place that can be written.",
    errno.ENOENT: "Check the path.",
    errno.ENOSPC: "Make room, or choose another disk.",
    errno.EISDIR: "Name a file.",
    errno.ENOTDIR: "Name a folder.",
}


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose exceptions are printed as one message; only bugs leave with exit code 1."""
    return _guarded(command, outlives=False)


def outliving(command: Callable[P, None]) -> Callable[P, None]:
    """A guarded command that goes on where nobody reads what it prints: what it computes goes into files."""
    return _guarded(command, outlives=True)


def _guarded(command: Callable[P, None], *, outlives: bool) -> Callable[P, None]:
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        interrupts = Interrupts()
        with going_on("stdout", "stderr") if outlives else going_on("stderr"):
            try:
                with interrupts:
                    command(*args, **kwargs)
            except (typer.Exit, BrokenPipeError):
                raise
            except KeyboardInterrupt:
                _tell("Interrupted.")
                raise typer.Exit(interrupts.code) from None
            except Exception as error:
                text, code = explain(error, kwargs.get("model"))
                if os.environ.get(TRACEBACK, "0") not in ("", "0"):
                    traceback.print_exc(file=sys.stderr)
                _tell(text)
                raise typer.Exit(code) from None

    return run


class Interrupts:
    """Ctrl-C, a closed terminal and a polite kill as KeyboardInterrupt, remembered until somebody answered it.

    One handler for SIGINT, SIGTERM and SIGHUP. It waits while a file is written (:mod:`temperance.core.interrupts`). Compiled code that calls back into
    Python may lose the exception or raise another one in its place; ``pending`` then still says that the user wants to stop. A signal that something
    else deals with, or that is ignored as under ``nohup``, is left alone, and all are put back at the end.

    Attributes:
        current: that of the command that runs.
        pending: whether an interrupt came that nobody has answered.
        code: the exit code where nothing could be shown: 128 and the number of the signal.
    """

    current: ClassVar[Interrupts]

    def __init__(self) -> None:
        self.pending = False
        self.code = INTERRUPTED
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        Interrupts.current = self
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)):
                if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, frame: object) -> None:
        from temperance.core.interrupts import postponed

        self.pending, self.code = True, 128 + number
        if not postponed():
            raise KeyboardInterrupt

    def check(self, answered: bool) -> None:
        """Raise a lost KeyboardInterrupt again; ``answered`` where work goes on because it was dealt with."""
        lost, self.pending = self.pending and not answered, False
        if lost:
            raise KeyboardInterrupt


def explain(error: Exception, model: object = None) -> tuple[str, int]:
    """The message and the exit code for an exception, with its notes: what was kept.

    Args:
        error: what a command raised.
        model: the ``FILE.py:build`` of the command, so that an error in that file is told as the user's.

    Example:
        >>> explain(FileExistsError(17, "File exists", "runs/adult"))
        ("Error: Cannot use 'runs/adult': File exists. Choose another name, or add --overwrite.", 2)
    """
    text, code = _told(error, model)
    if len(text) > LONGEST:  # what was given may be as long as a file
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"
    return " ".join([text, *getattr(error, "__notes__", ())]), code


def _told(error: Exception, model: object) -> tuple[str, int]:
    from temperance.core.errors import TemperanceError

    if isinstance(error, TemperanceError):
        return f"Error: {error}", BAD_INPUT
    own = _line_of(error, model)
    if own is not None:
        return f"Error: {own} raised {_brief(error)}. Mend your network and start again.", BAD_INPUT
    if isinstance(error, OSError):
        place = f"Cannot use {os.fspath(error.filename)!r}" if isinstance(error.filename, (str, os.PathLike)) else "A file cannot be used"
        mend = _MENDS.get(error.errno or 0, "Check the path and try again.")
        return f"Error: {place}: {error.strerror or error}. {mend}", BAD_INPUT
    if isinstance(error, MemoryError):
        return "Error: There is not enough memory. Give a smaller --memory, or fewer rows or columns.", BAD_INPUT
    frames = traceback.extract_tb(error.__traceback__)
    if (read := _read_at(frames)) or type(error).__name__ in _OTHERS:
        what = read or "A file of the fit cannot be written"
        return f"Error: {what}: {_brief(error)}. Check the file; if it is right, please report this, with {TRACEBACK}=1 the traceback is shown.", BAD_INPUT
    frame = frames[-1:]
    where = f" ({Path(frame[0].filename).name}, line {frame[0].lineno})" if frame else ""
    kept = "What a fit has computed is kept in its folder."
    return f"Error: {_brief(error)}{where}. This is a bug in temperance, please report it; with {TRACEBACK}=1 the traceback is shown. {kept}", BUG


def _read_at(frames: Sequence[traceback.FrameSummary]) -> str:
    """What was read where an error was raised, which then is the fault of what was read; else nothing."""
    folders = {Path(frame.filename).parent.name for frame in frames if "temperance" in Path(frame.filename).parts}
    files = {Path(frame.filename).stem for frame in frames if Path(frame.filename).parent.name == "job"}
    if files & {"opening", "parts"}:
        return "The folder of the fit cannot be read"
    return "The data cannot be read" if "data" in folders else ""


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f": {lines[-1].strip().rstrip('.')}" if lines else "")


def _line_of(error: BaseException, model: object) -> str | None:
    """The last line of the user's own file that took part in an error."""
    file = str(model).rpartition(":")[0] if model else ""
    if not file:
        return None
    here = os.path.realpath(file)
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if os.path.realpath(frame.filename) == here]
    return f"{file}:{lines[-1].lineno}" if lines else None


def _tell(text: str) -> None:
    from temperance.cli.screen import complain

    complain(text)
