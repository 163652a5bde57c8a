"""Addresses of databases: which are taken, what is said of the others, and that no password is repeated."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tests.search.small import two_classes

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.search.shared import database
from temperance.search.shared.database import Database, check_storage

SECRET = "s3cr3t"
ADDRESS = f"postgresql://ada:{SECRET}@db.example.org:5433/trials"


def psycopg(monkeypatch: pytest.MonkeyPatch, connect: Any = None) -> types.SimpleNamespace:
    """As much of psycopg as reading an address and failing to connect take; what it says repeats the password, as libpq may."""

    class Error(Exception):
        pass

    class ProgrammingError(Error):
        pass

    def parts(url: str) -> dict[str, str]:
        if "%ss" in url:
            raise ProgrammingError(f'invalid percent-encoded token: "{url}"')
        return {"user": "ada", "password": SECRET, "host": "db.example.org", "port": "5433", "dbname": "trials"}

    def refuse(url: str, **_: Any) -> Any:
        raise Error(f"connection failed: {url} is not allowed\nsecond line")

    conninfo = types.SimpleNamespace(conninfo_to_dict=parts)
    module = types.SimpleNamespace(Error=Error, ProgrammingError=ProgrammingError, conninfo=conninfo, connect=connect or refuse)
    monkeypatch.setitem(sys.modules, "psycopg", module)
    monkeypatch.setitem(sys.modules, "psycopg.conninfo", conninfo)
    return module


@pytest.mark.parametrize("given", ["", "trials.db", "mysql://ada:s3cr3t@host/db", "sqlite:///", "sqlite://trials.db", "postgresql://", 3, Path("trials.db")])
def test_what_is_no_address_is_refused_without_repeating_a_password(given: object) -> None:
    with pytest.raises(ConfigError, match=r"Expected `storage` to name a database.*postgresql://USER@HOST") as caught:
        check_storage(given)
    assert SECRET not in str(caught.value)


def test_no_message_has_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    psycopg(monkeypatch)
    with pytest.raises(ConfigError, match=r"database that can be used at postgresql://ada@db.example.org:5433/trials, got: connection failed") as caught:
        Database(ADDRESS)
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None
    with pytest.raises(ConfigError, match="an address that PostgreSQL can read") as caught:
        check_storage(f"postgresql://ada:{SECRET}%ss@host/db")
    assert SECRET not in str(caught.value)


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"temperance\[postgres\].*sqlite:///FILE"):
        check_storage(ADDRESS)


def test_a_file_that_is_no_database_or_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("not a database, " * 100)
    for file, why in (("no.db", "file is not a database"), ("nowhere/t.db", "unable to open"), (".", "unable to open")):
        with pytest.raises(ConfigError, match=f"{why}.*Check the path"), Database(f"sqlite:///{tmp_path / file}").exclusive("x") as run:
            run("SELECT 1 FROM sqlite_master")


def test_what_fails_in_a_transaction_leaves_nothing(tmp_path: Path) -> None:
    place = Database(f"sqlite:///{tmp_path / 't.db'}")
    with place.exclusive("x") as run:
        run("CREATE TABLE t (n INTEGER)")

    def fail() -> None:
        with place.exclusive("x") as run:
            run("INSERT INTO t VALUES (?)", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with place.exclusive("x") as run:
        assert run("SELECT * FROM t") == []
    place.close()
    with place.exclusive("x") as run:
        assert run("SELECT * FROM t") == [], "a connection is made again"
    place.close()


def test_a_server_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks between two transactions, and two attempts to make it again fail."""
    fake, attempts, settings = psycopg(monkeypatch), list[str](), dict[str, Any]()

    class Connection:
        def __init__(self, broken: bool) -> None:
            self.broken, self.description = broken, None

        def execute(self, sql: str, given: Any = ()) -> Connection:
            if self.broken:
                raise fake.Error("the server closed the connection")
            return self

        def fetchall(self) -> list[Any]:
            return []

        def transaction(self) -> Any:
            from contextlib import nullcontext

            return nullcontext()

        def close(self) -> None:
            pass

    def connect(url: str, **given: Any) -> Connection:
        attempts.append(url)
        settings.update(given)
        if len(attempts) in (2, 3):
            raise fake.Error("the server is starting up")
        return Connection(broken=len(attempts) == 1)

    fake.connect = connect
    monkeypatch.setattr(database, "PAUSE", 0.0)
    place = Database(ADDRESS)
    with pytest.raises(ConfigError, match="server closed"), place.exclusive("x", patience=-1.0):
        pass
    with place.exclusive("x") as run:
        assert run("SELECT 1") == []
    assert len(attempts) == 4
    assert (settings["tcp_user_timeout"], settings["keepalives_idle"]) == (30_000, 10), "a server that is silent is taken for gone"


def test_storage_and_name_belong_together() -> None:
    for given, lacks in (({"storage": "sqlite:///t.db"}, "study_name"), ({"study_name": "income"}, "storage")):
        with pytest.raises(ConfigError, match=f"Add `{lacks}`"):
            tp.search(lambda data: tp.nets.MLP(3, 2), two_classes(), trials=1, **given)


def test_search_goes_on_with_what_is_there(tmp_path: Path) -> None:
    def find() -> Any:
        net = {"storage": f"sqlite:///{tmp_path / 't.db'}", "study_name": "mine"}
        return tp.search(lambda data: tp.nets.MLP(3, 2, hidden=(4,)), two_classes(), trials=3, epochs=2, ensemble=1, **net)

    first, second = find(), find()
    assert first.table().equals(second.table()) and first.scores == second.scores
