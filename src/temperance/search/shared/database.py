"""A connection to the database that keeps the trials: PostgreSQL, or a file of SQLite."""

from __future__ import annotations

import hashlib
import importlib
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from temperance.core.errors import ConfigError

KINDS = ("postgresql://", "postgres://", "sqlite:///")
ANSWER = 10  # seconds for a server to answer
SILENCE = 30  # seconds after which a connection without an answer is taken for broken
IDLE = 60  # seconds after which a server ends a transaction whose process does nothing more, so that others need not wait for it
PATIENCE = 300.0  # seconds in which a server that was there may come back
PAUSE = 1.0  # seconds between two attempts
Run = Callable[..., list[tuple[Any, ...]]]  # run(sql, *parameters): the rows


class StorageError(ConfigError):
    """A database that cannot be used; the message has no password."""


def check_storage(url: object) -> None:
    """Refuse what names no database, and one whose driver is not installed.

    Raises:
        ConfigError: saying what a storage looks like, or what to install.
    """
    if not isinstance(url, str) or not url.startswith(KINDS) or url in KINDS:
        got = "another kind of address" if isinstance(url, str) and "://" in url else repr(url)  # an address may hold a password
        mend = "Write postgresql://USER@HOST:PORT/DATABASE, or sqlite:///FILE for processes on one machine; a password belongs into ~/.pgpass or PGPASSWORD."
        raise ConfigError(f"Expected `storage` to name a database, got {got}. {mend}")
    if not url.startswith("sqlite"):
        dialect = _psycopg()
        try:
            dialect.conninfo.conninfo_to_dict(url)
        except dialect.ProgrammingError:  # its message repeats parts of the address, and with them perhaps a password
            mend = "Write postgresql://USER@HOST:PORT/DATABASE; a password belongs into ~/.pgpass or PGPASSWORD."
            raise ConfigError(f"Expected `storage` to be an address that PostgreSQL can read, got one that it cannot. {mend}") from None


def _psycopg() -> Any:
    try:
        module = importlib.import_module("psycopg")
        importlib.import_module("psycopg.conninfo")
    except ImportError:
        mend = "Install it with `pip install 'temperance[postgres]'`, or keep the trials in a file: sqlite:///FILE."
        raise ConfigError(f"Expected psycopg to be installed for a storage in PostgreSQL, found none. {mend}") from None
    return module


class Database:
    """One connection, with one transaction at a time for all threads of this process.

    A connection that broke is made again: a server may be restarted while nothing is being written.

    Args:
        url: ``postgresql://USER@HOST:PORT/DATABASE`` or ``sqlite:///FILE``.

    Attributes:
        shown: the address without a password.
        now: SQL for the seconds of the database's own clock.
        blob: SQL for the type of bytes.

    Raises:
        ConfigError: not an address, or nothing answers there.
    """

    def __init__(self, url: str) -> None:
        check_storage(url)
        self._url, self._lock, self._connection = url, threading.RLock(), None
        self._secrets: list[str] = []
        if url.startswith("sqlite"):
            self._file = url.removeprefix("sqlite:///")
            self.shown, self.now, self.blob = url, "((julianday('now') - 2440587.5) * 86400.0)", "BLOB"
            self._errors: tuple[type[Exception], ...] = (sqlite3.Error,)
        else:
            self._psycopg = _psycopg()
            parts = self._psycopg.conninfo.conninfo_to_dict(url)
            self._secrets = [str(parts[name]) for name in ("password", "sslpassword") if parts.get(name)]
            place = "".join([f"{parts['user']}@" if parts.get("user") else "", str(parts.get("host", "")), f":{parts['port']}" if parts.get("port") else ""])
            self.shown = f"postgresql://{place}/{parts.get('dbname', '')}"
            self.now, self.blob = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)", "BYTEA"
            self._errors = (self._psycopg.Error,)
            usual = {
                "application_name": "temperance",
                "connect_timeout": ANSWER,
                "keepalives_idle": ANSWER,
                "keepalives_interval": ANSWER,
                "keepalives_count": SILENCE // ANSWER,
                "tcp_user_timeout": 1000 * SILENCE,
            }
            self._settings = {name: value for name, value in usual.items() if name not in parts}
        self._connect()

    def _connect(self) -> None:
        try:
            if self._url.startswith("postgres"):
                self._connection = self._psycopg.connect(self._url, autocommit=True, prepare_threshold=None, **self._settings)
            else:
                self._connection = sqlite3.connect(self._file, timeout=60.0, isolation_level=None, check_same_thread=False)
        except self._errors as error:
            raise self._refused(error) from None

    @contextmanager
    def exclusive(self, name: str, *, patience: float | None = None) -> Generator[Run]:
        """One transaction, in which no other process has one of the same name; whatever ends it early undoes it.

        Args:
            name: of what is read and written.
            patience: seconds for a server that does not answer to come back, :data:`PATIENCE` by default.

        Raises:
            ConfigError: the database cannot be used.
        """
        with self._lock:
            try:
                self._ready(PATIENCE if patience is None else patience)
                with self._transaction(name) as run:
                    yield run
            except self._errors as error:
                raise self._refused(error) from None

    @contextmanager
    def _transaction(self, name: str) -> Generator[Run]:
        connection: Any = self._connection
        if isinstance(connection, sqlite3.Connection):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda sql, *given: connection.execute(sql, given).fetchall()
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            return

        def run(sql: str, *given: Any) -> list[tuple[Any, ...]]:
            found = connection.execute(sql.replace("?", "%s"), given)
            return found.fetchall() if found.description else []

        with connection.transaction():
            lock = int.from_bytes(hashlib.sha256(f"temperance {name}".encode()).digest()[:8], signed=True)
            run("SELECT set_config('idle_in_transaction_session_timeout', ?, true), pg_advisory_xact_lock(?)", f"{IDLE}s", lock)
            yield run

    def _ready(self, patience: float) -> None:
        """See that the connection works, or make it again."""
        ends = time.monotonic() + patience
        while True:
            try:
                if self._connection is None:
                    self._connect()
                connection: Any = self._connection
                connection.execute("SELECT 1")
                return
            except (StorageError, *self._errors):
                self.close()
                if time.monotonic() >= ends:
                    raise
                time.sleep(PAUSE)

    def _refused(self, error: Exception) -> StorageError:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = (lines[0] if lines else type(error).__name__).rstrip(".")
        for secret in self._secrets:
            why = why.replace(secret, "...")
        mend = "Check that the server runs, the database exists, and you may create tables in it." if self._url.startswith("postgres") else "Check the path."
        return StorageError(f"Expected a database that can be used at {self.shown}, got: {why}. {mend}")

    def close(self) -> None:
        """Let go of the connection; the next transaction makes another one."""
        with self._lock, suppress(*self._errors):
            connection: Any = self._connection
            self._connection = None
            if connection is not None:
                connection.close()
