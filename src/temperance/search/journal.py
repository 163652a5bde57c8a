"""What a search has finished, on disk as soon as it is finished: lines of JSON, and the networks that may still ship."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from temperance.core.files import sync_folder, write_whole
from temperance.core.interrupts import uninterrupted
from temperance.search.race import Trial
from temperance.train.outcome import Outcome

LINES = "trials.jsonl"
SHARE = 100.0  # finished trials wait until so many times the seconds that the last writing took have passed: a hundredth of a search
BEAT = 1.0  # seconds between two lines that say how much time is used


@dataclass
class Wave:
    """Trials that started together.

    Attributes:
        asked: what the sampler was asked for: ``count``, ``first``, ``length``, ``shares``.
        phase: as in the progress.
        epochs: of a full run, for every static plan.
        start: where its lines begin in the file.
        trials: the finished ones.
        closed: what its end says, ``None`` while it runs.
    """

    asked: dict[str, Any]
    phase: str
    epochs: dict[str, float]
    start: int
    trials: list[dict[str, Any]] = field(default_factory=list)
    closed: dict[str, Any] | None = None


class Journal:
    """The finished trials of a search, in a folder of their own.

    ``trials.jsonl`` has a line for the command, for the start and the end of every wave, and for trials that have just finished; ``states-N.safetensors``
    has the best states of those that may still ship. A file of states is there before the line that names it, and each line is whole or is dropped
    when it is read: a process may be killed at any moment. Lines are synced, and so are states, so that a failure of power loses no more. Nothing is
    written before the first trial has finished.

    Args:
        folder: which is made when something is written.

    Attributes:
        command: what the search was asked for, ``None`` in a new journal.
        waves: in order; only the last one may be without an end.
        spent: seconds until the last line.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LINES
        self.command: dict[str, Any] | None = None
        self.waves: list[Wave] = []
        self.spent = 0.0
        self._files: dict[str, list[int]] = {}
        self._written = set[int]()
        self._number = 0
        self._lock = threading.RLock()
        self._last = self._beat = -float("inf")
        self._took = 0.0
        self._waiting: list[bytes] = []  # lines before the first finished trial
        self._dropped = set[str]()  # files of states that go when what follows is written
        self._end = self._read()
        self._held = not self._end  # whether lines wait for the first finished trial

    # Reading

    def _read(self) -> int:
        """Take in the whole lines; where they end."""
        end = 0
        if not self.path.is_file():
            return end
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n") or not self._take(line, end):
                    break
                end += len(line)
        return end

    def _take(self, line: bytes, start: int) -> bool:
        """One line; whether it is whole and can be used."""
        try:
            said = json.loads(line)
            kind = said["kind"]
            if kind == "command":
                self.command = said["command"]
            elif kind == "wave":
                self.waves.append(Wave(said["asked"], said["phase"], said["epochs"], start))
            elif kind == "trials":
                name = said["states"]
                if name is not None:
                    self._files[name] = [t["trial"] for t in said["trials"]]
                    self._number = max(self._number, 1 + int(name.partition("-")[2].partition(".")[0]))
                self.waves[-1].trials += [{**t, "states": name} for t in said["trials"]]
            elif kind == "end":
                self.waves[-1].closed = said
            elif kind == "removed":
                self._files.pop(said["states"])
            self.spent = float(said["spent"])
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return False
        return kind != "command" or isinstance(self.command, dict)

    def states(self, wave: Wave) -> dict[int, dict[int, dict[str, Tensor]]]:
        """The states of a wave's finished trials that are there: trial, fold, name.

        Raises:
            OSError, ValueError: a file is missing or broken.
        """
        found: dict[int, dict[int, dict[str, Tensor]]] = {}
        for name in dict.fromkeys(t["states"] for t in wave.trials if t["states"] in self._files):
            try:
                tensors = load_file(self.folder / name)
            except SafetensorError as error:
                raise ValueError(f"{name}: {error}") from None
            for path, tensor in tensors.items():
                trial, fold, key = path.split("/", 2)
                found.setdefault(int(trial), {}).setdefault(int(fold), {})[key] = (
                    tensor.clone()
                )  # where a tensor lies in a file changes the last bits of products
        return found

    # Writing

    def begin(self, command: Mapping[str, Any]) -> None:
        """The first line: what the search was asked for."""
        self.command = dict(command)
        self._line({"kind": "command", "command": self.command}, 0.0)

    def start(self, asked: Mapping[str, Any], phase: str, epochs: Mapping[str, float], spent: float) -> None:
        """A wave starts."""
        self._line({"kind": "wave", "asked": dict(asked), "phase": phase, "epochs": dict(epochs)}, spent)

    def due(self) -> bool:
        """Whether finished trials may be written now without costing more than a hundredth of the time."""
        return time.monotonic() - self._last >= SHARE * self._took

    def add(self, trials: Sequence[Trial], shipping: Callable[[], Collection[int]], spent: float) -> None:
        """Trials that have finished; those written before are passed over.

        Args:
            trials: of the wave that runs.
            shipping: tells the numbers of the trials whose states are needed.
            spent: seconds so far.
        """
        new = [t for t in trials if not t.alive and t.population is not None and t.config.number not in self._written]
        if not new:
            return
        began = time.monotonic()
        wanted = shipping()
        tensors = {
            f"{t.config.number}/{fold}/{name}": tensor.detach().cpu().contiguous().clone()
            for t in new
            if t.config.number in wanted
            for fold, outcome in enumerate(t.outcomes)
            if outcome.state is not None
            for name, tensor in outcome.state.items()
        }
        with uninterrupted():
            name = None
            self.folder.mkdir(parents=True, exist_ok=True)
            if tensors:
                name = f"states-{self._number}.safetensors"
                self._number += 1
                write_whole(self.folder / name, save(tensors))
                self._files[name] = [t.config.number for t in new]
            self._line({"kind": "trials", "trials": [as_said(t) for t in new], "states": name}, spent)
            self._written |= {t.config.number for t in new}
        self._last = time.monotonic()
        self._took = self._last - began

    def end(self, said: Mapping[str, Any], shipping: Collection[int], spent: float) -> None:
        """The wave is over; states that nothing asks for any more are removed."""
        with uninterrupted():
            self._line({"kind": "end", **said}, spent)
            for name in [name for name, numbers in self._files.items() if not set(numbers) & set(shipping)]:
                self._line({"kind": "removed", "states": name}, spent, sync=False)
                del self._files[name]
                (self.folder / name).unlink(missing_ok=True)

    def drop_last(self) -> None:
        """Forget the wave that was cut: it is trained again. On disk it stays until the first of its trials has finished again."""
        wave = self.waves.pop()
        self._end, self._held = wave.start if self.waves else 0, True
        self._dropped |= {t["states"] for t in wave.trials if t["states"] is not None}
        for name in self._dropped:
            self._files.pop(name, None)
        if not self.waves:  # the command is written again
            self.begin(self.command or {})

    def know(self, wave: Wave) -> None:
        """The finished trials of a wave are as written."""
        self._written |= {int(t["trial"]) for t in wave.trials}

    def beat(self, spent: float) -> None:
        """Say how much time is used, now and then."""
        if not self._held and time.monotonic() - self._beat >= BEAT:
            self._line({"kind": "time"}, spent, sync=False)

    def _line(self, said: Mapping[str, Any], spent: float, *, sync: bool = True) -> None:
        line = json.dumps({**said, "spent": round(spent, 3)}, separators=(",", ":")).encode() + b"\n"
        with self._lock, uninterrupted():
            if self._held and said["kind"] != "trials":
                self._waiting.append(line)
                return
            line = b"".join([*self._waiting, line])
            new = not self.path.exists()
            with self.path.open("wb" if new else "r+b") as file:
                file.seek(self._end)
                file.truncate()  # what an earlier line left that was not written whole
                file.write(line)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            if new:
                sync_folder(self.folder)
            self._end += len(line)
            self._beat, self._waiting, self._held = time.monotonic(), [], False
            while self._dropped:
                (self.folder / self._dropped.pop()).unlink(missing_ok=True)

    @property
    def trials(self) -> int:
        """How many trials are finished."""
        return sum(len(wave.trials) for wave in self.waves)


def as_said(trial: Trial) -> dict[str, Any]:
    """A finished trial as plain values, without its networks."""
    return {
        **trial.config.to_dict(),
        "status": trial.status,
        "best": trial.best,
        "planned": 0 if trial.population is None else trial.population.total_steps,
        "indices": list(trial.indices),
        "outcomes": [_outcome_said(outcome) for outcome in trial.outcomes],
    }


def _outcome_said(o: Outcome) -> dict[str, Any]:
    columns = list(o.history[0]) if o.history else []
    rows = [[row[name] for name in columns] for row in o.history]
    return {"name": o.name, "status": o.status, "best": o.best, "steps": o.steps, "compiled": o.compiled, "columns": columns, "rows": rows}


def outcome_of(said: Mapping[str, Any], state: dict[str, Tensor] | None) -> Outcome:
    """An outcome as it was written."""
    history = [dict(zip(said["columns"], row, strict=True)) for row in said["rows"]]
    return Outcome(said["name"], said["status"], history, said["best"], state, None, said["steps"], said["compiled"])
