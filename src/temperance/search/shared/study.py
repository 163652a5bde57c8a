"""A study in a database: what its drivers have finished, and who trains what."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from temperance.core.errors import ConfigError
from temperance.core.interrupts import uninterrupted
from temperance.search.journal import SHARE, as_said
from temperance.search.race import Trial
from temperance.search.shared.database import Database, Run

LEASE = 30.0  # seconds after which the trials of a driver that says nothing more are another's
BEAT = 5.0  # seconds between two renewals
POLL = 0.5  # seconds between two looks at what the others do
VERSION = 1
PLACES = ("source", "test")  # where a file lies does not matter, only what is in it
TABLES = (
    "CREATE TABLE IF NOT EXISTS temperance_studies (name TEXT PRIMARY KEY, version INTEGER NOT NULL, command TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS temperance_rounds (study TEXT NOT NULL, round INTEGER NOT NULL, start TEXT NOT NULL, closed TEXT, driver TEXT NOT NULL, "
    "until DOUBLE PRECISION NOT NULL, spent DOUBLE PRECISION NOT NULL, PRIMARY KEY (study, round))",
    "CREATE TABLE IF NOT EXISTS temperance_trials (study TEXT NOT NULL, trial INTEGER NOT NULL, round INTEGER NOT NULL, said TEXT NOT NULL, states {blob}, "
    "PRIMARY KEY (study, trial))",
)


def differing(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The names of what is asked for now and was not asked for earlier, wherever its files lie."""
    return [name for name in now if name not in PLACES and earlier.get(name) != now[name]]


@dataclass
class Round:
    """Trials that start together, as they stand in the database.

    Attributes:
        number: from 1.
        start: what it began with: ``asked``, ``epochs``, ``configs``, ``sampler``.
        closed: what its end says, ``None`` while it runs.
        driver: who trains it, or did.
        left: whether that driver's lease ended before the round did.
        trials: the finished ones, where they were read.
        states: the best states of those that may ship: trial, fold, name.
    """

    number: int
    start: dict[str, Any]
    closed: dict[str, Any] | None
    driver: str
    left: bool
    trials: list[dict[str, Any]] = field(default_factory=list)
    states: dict[int, dict[int, dict[str, Tensor]]] = field(default_factory=dict)


class SharedStudy:
    """The rounds and finished trials of a search, in a database that several processes may use: its drivers.

    A driver leases a round of trials, renews the lease while it trains them, and writes them as they finish. What a driver leaves whose lease ends is
    another's, which trains the same trials. Leases end by the database's clock. Every operation is one transaction, so that a process may be killed at
    any moment.

    Args:
        url: of the database.
        name: of the study.
        mode: ``"join"`` takes part in one that is there, ``"new"`` refuses it, ``"over"`` replaces it.

    Attributes:
        asked: what a caller asks for, beside what a search does.
        command: what the search was asked for, ``None`` where there is no such study.
        spent: seconds of the budget that are used.

    Raises:
        ConfigError: the database cannot be used.
    """

    def __init__(self, url: str, name: str, mode: str = "join") -> None:
        if not isinstance(name, str) or not name.strip() or "\0" in name:
            raise ConfigError(f"Expected `study_name` to be a name, got {name!r}. Give the study in the database a name of your own.")
        self.database, self.name, self.mode = Database(url), name, mode
        self.asked: dict[str, Any] = {}
        self.driver = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.command: dict[str, Any] | None = None
        self._token: str | None = None  # of the study as this driver entered it
        self.spent = 0.0
        self._round: int | None = None
        self._mark: tuple[int, dict[int, int]] = (0, {})
        self._written, self._stored = set[int](), set[int]()
        self._last, self._took = -float("inf"), 0.0
        self._used, self._clock = 0.0, time.monotonic()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            with self.database.exclusive("tables") as run:  # of all studies, so that two new ones do not make them at once
                for table in TABLES:
                    run(table.format(blob=self.database.blob))
            with self._exclusive() as run:
                self._look(run)
                self._check(run)
        except BaseException:
            self.database.close()
            raise

    @property
    def place(self) -> str:
        """The study in words."""
        return f"study {self.name!r} of {self.database.shown}"

    def kept(self) -> str:
        """What is there when a search ends with an error, in words; empty where nothing is."""
        with suppress(ConfigError), self._exclusive(patience=0.0) as run:
            self._same(run)
            if done := self._done(run):
                return f"{done} finished trials are kept in {self.place}. The same command with --resume goes on, here or on another machine."
        return ""

    def _exclusive(self, patience: float | None = None) -> Any:
        return self.database.exclusive(self.name, patience=patience)

    def _look(self, run: Run) -> None:
        found = run("SELECT version, command FROM temperance_studies WHERE name = ?", self.name)
        if found and found[0][0] != VERSION:
            raise ConfigError(f"Expected {self.place} to be of this version of temperance, got another one. Choose another name with --study-name.")
        self.command = json.loads(found[0][1]) if found else None
        self._token = self.command.pop("token", None) if self.command is not None else None
        self.spent = float(run("SELECT COALESCE(MAX(spent), 0.0) FROM temperance_rounds WHERE study = ?", self.name)[0][0])

    def _same(self, run: Run) -> None:
        """Refuse a study that is no longer the one that this driver entered."""
        found = run("SELECT command FROM temperance_studies WHERE name = ?", self.name)
        if not found or json.loads(found[0][0]).get("token") != self._token:
            mend = "Choose another name with --study-name for a study of its own."
            raise ConfigError(f"Expected {self.place} as this driver entered it, got one that was started over by another driver, or removed. {mend}")

    # Beginning

    @property
    def trials(self) -> int:
        """How many trials are finished."""
        with self._exclusive() as run:
            return self._done(run)

    def begin(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Enter the study, or find that it is there.

        Args:
            command: what the search is asked for.

        Returns:
            what the study is asked for: the same, or what another driver has entered.

        Raises:
            ConfigError: it is there, and was not to be joined, or others train what was to start over.
        """
        with uninterrupted(), self._exclusive() as run:
            self._look(run)
            self._check(run)
            known = self.command
            if known is None or self._replaces(run, known, command):
                for table, key in (("temperance_trials", "study"), ("temperance_rounds", "study"), ("temperance_studies", "name")):
                    run(f"DELETE FROM {table} WHERE {key} = ?", self.name)
                known = self.command = json.loads(json.dumps(dict(command)))
                self.spent, self.mode, self._token = 0.0, "join", secrets.token_hex(8)
                run("INSERT INTO temperance_studies VALUES (?, ?, ?)", self.name, VERSION, json.dumps({**known, "token": self._token}))
            return known

    def _replaces(self, run: Run, known: Mapping[str, Any], command: Mapping[str, Any]) -> bool:
        """Whether to start over: where that is asked for, and where there is nothing to lose and something else, or something new, is asked for."""
        if self.mode == "over":
            return True
        if self._busy(run) or self._done(run):
            return False
        begun = run("SELECT COUNT(*) FROM temperance_rounds WHERE study = ?", self.name)[0][0]
        return bool(differing(known, command)) or (self.mode == "new" and begun > 0)

    def _done(self, run: Run) -> int:
        return int(run("SELECT COUNT(*) FROM temperance_trials WHERE study = ?", self.name)[0][0])

    def _busy(self, run: Run) -> list[tuple[Any, ...]]:
        return run(f"SELECT driver FROM temperance_rounds WHERE study = ? AND closed IS NULL AND until > {self.database.now}", self.name)

    def _check(self, run: Run) -> None:
        """Refuse a study that is there where a new one was asked for, and to start over one that others train."""
        busy, done = self._busy(run), self._done(run)
        if self.mode == "over" and busy:
            raise ConfigError(f"Expected --overwrite of a study that nobody trains, got {self.place}, which {_people(busy)} trains. Stop that first.")
        if self.mode == "new" and (busy or done):
            got = f"{self.place} with {done} finished trials" if done else f"{self.place}, which {_people(busy)} trains"
            mend = "The same command with --resume goes on with it, beside others that train it. Or choose another name with --study-name, or add --overwrite."
            raise ConfigError(f"Expected a study that is not there yet, got {got}. {mend}")

    def watch(self, tell: Callable[[], None]) -> None:
        """Wait until every lease was renewed or has ended, so that what a driver left a moment ago is taken for that."""
        first: dict[int, float] | None = None
        while True:
            with self._exclusive() as run:
                leases = dict(run(f"SELECT round, until FROM temperance_rounds WHERE study = ? AND closed IS NULL AND until > {self.database.now}", self.name))
            first = leases if first is None else {number: until for number, until in first.items() if leases.get(number) == until}
            if not first:
                return
            tell()
            time.sleep(POLL)

    # Taking turns

    @contextmanager
    def turn(self, taken: Collection[int], *, running: bool = False) -> Generator[list[Round]]:
        """A moment in which no other driver decides what is trained.

        Args:
            taken: numbers of the rounds whose ends this driver knows.
            running: whether to read the trials and networks of rounds that somebody trains, too.

        Returns:
            the other rounds, in order.

        Raises:
            ConfigError: another driver has started the study over.
        """
        with self._exclusive() as run:
            self._same(run)
            self._run = run
            rows = run(f"SELECT round, start, closed, driver, until <= {self.database.now} FROM temperance_rounds WHERE study = ? ORDER BY round", self.name)
            try:
                yield [self._read(run, *row, running=running) for row in rows if row[0] not in taken]
            finally:
                del self._run

    def _read(self, run: Run, number: int, start: str, closed: str | None, driver: str, ended: Any, *, running: bool) -> Round:
        try:
            found = Round(number, json.loads(start), None if closed is None else json.loads(closed), driver, closed is None and bool(ended))
            if closed is None and not found.left and not running:
                return found
            for trial, said, states in run("SELECT trial, said, states FROM temperance_trials WHERE study = ? AND round = ? ORDER BY trial", self.name, number):
                found.trials.append(json.loads(said))
                if states is not None:
                    found.states[trial] = _unpacked(bytes(states))
        except (ValueError, SafetensorError) as error:
            raise ConfigError(f"Expected round {number} of {self.place} as a driver wrote it, got {error}. Start over with --overwrite.") from None
        return found

    def lease(self, number: int, start: Mapping[str, Any] | None, mark: tuple[int, dict[int, int]], spent: float) -> None:
        """Within a turn: this driver trains a round.

        Args:
            number: of the round.
            start: what a new one begins with; ``None`` for one that another driver left.
            mark: how many rungs, and scores at each, are there before.
            spent: seconds so far.
        """
        until, self._mark = f"{self.database.now} + {LEASE}", mark
        if start is None:
            self._run(f"UPDATE temperance_rounds SET driver = ?, until = {until} WHERE study = ? AND round = ?", self.driver, self.name, number)
        else:
            values = f"(?, ?, ?, NULL, ?, {until}, ?)"
            self._run(f"INSERT INTO temperance_rounds VALUES {values}", self.name, number, json.dumps(start), self.driver, round(spent, 3))
        self._round = number
        self.beat(spent)
        if self._thread is None:
            self._thread = threading.Thread(target=self._renew, name="temperance-lease", daemon=True)
            self._thread.start()

    def _renew(self) -> None:
        """Renew the lease now and then, whatever the driver does meanwhile."""
        while not self._over.wait(BEAT):
            number = self._round
            if number is not None:
                with suppress(ConfigError), self._exclusive(patience=0.0) as run:
                    spent = round(self._used + time.monotonic() - self._clock, 3)
                    where = "WHERE study = ? AND round = ? AND driver = ? AND closed IS NULL"
                    run(f"UPDATE temperance_rounds SET until = {self.database.now} + {LEASE}, spent = ? {where}", spent, self.name, number, self.driver)

    # What a search tells

    def know(self, numbers: Collection[int], stored: Collection[int]) -> None:
        """These trials are there, and of some the networks."""
        self._written |= set(numbers)
        self._stored |= set(stored)

    def beat(self, spent: float) -> None:
        """How many seconds are used."""
        self._used, self._clock = spent, time.monotonic()

    def due(self) -> bool:
        """Whether finished trials may be written now without costing more than a hundredth of the time."""
        return time.monotonic() - self._last >= SHARE * self._took

    def add(self, trials: Sequence[Trial], shipping: Callable[[], Collection[int]], spent: float) -> None:
        """Trials of the round that have finished; those that are there already stay as they are.

        Raises:
            ConfigError: another driver has started the study over.
        """
        new = [t for t in trials if not t.alive and t.population is not None and t.config.number not in self._written]
        if not new or self._round is None:
            return
        began, wanted = time.monotonic(), shipping()
        with uninterrupted(), self._exclusive() as run:
            self._same(run)
            for t in new:
                packed = _packed(t) if t.config.number in wanted else None
                values = (self.name, t.config.number, self._round, json.dumps(as_said(t)), packed)
                run("INSERT INTO temperance_trials VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", *values)
        self.know([t.config.number for t in new], [t.config.number for t in new if t.config.number in wanted])
        self.beat(spent)
        self._last = time.monotonic()
        self._took = self._last - began

    def end(self, said: Mapping[str, Any], shipping: Collection[int], spent: float) -> None:
        """The round is over; networks that no driver will ask for any more are removed.

        Raises:
            ConfigError: another driver has started the study over.
        """
        if self._round is None:
            return
        rungs, past = self._mark
        own = {"rungs": said["rungs"][rungs:], "past": {epoch: scores[past.get(epoch, 0) :] for epoch, scores in said["past"].items()}}
        gone = sorted(self._stored - set(shipping))
        with uninterrupted(), self._exclusive() as run:
            self._same(run)
            where = "WHERE study = ? AND round = ? AND closed IS NULL"
            run(
                f"UPDATE temperance_rounds SET closed = ?, driver = ?, spent = ? {where}", json.dumps(own), self.driver, round(spent, 3), self.name, self._round
            )
            for number in gone:
                run("UPDATE temperance_trials SET states = NULL WHERE study = ? AND trial = ?", self.name, number)
        self._stored -= set(gone)
        self._round = None

    def __enter__(self) -> SharedStudy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have what is unfinished, and end the connection."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(ConfigError), uninterrupted():
            if self._round is not None:
                with self._exclusive(patience=0.0) as run:
                    run("UPDATE temperance_rounds SET until = 0.0 WHERE study = ? AND driver = ? AND closed IS NULL", self.name, self.driver)
                self._round = None
            self.database.close()


def _people(rows: Sequence[tuple[Any, ...]]) -> str:
    hosts = dict.fromkeys(f"process {row[0].split(':')[1]} on {row[0].split(':')[0]}" for row in rows)
    return " and ".join(hosts)


def _packed(trial: Trial) -> bytes | None:
    """The best states of a trial, one per fold, as safetensors."""
    tensors = {
        f"{fold}/{name}": tensor.detach().cpu().contiguous().clone()
        for fold, outcome in enumerate(trial.outcomes)
        if outcome.state is not None
        for name, tensor in outcome.state.items()
    }
    return save(tensors) if tensors else None


def _unpacked(packed: bytes) -> dict[int, dict[str, Tensor]]:
    found: dict[int, dict[str, Tensor]] = {}
    for path, tensor in load(packed).items():
        fold, name = path.split("/", 1)
        found.setdefault(int(fold), {})[name] = tensor.clone()  # where a tensor lies among others changes the last bits of products
    return found
