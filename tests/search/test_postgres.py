"""Fits whose trials are on a PostgreSQL server, which is started here: killed, taken over, shared, and with the server restarted."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.cli.test_end_to_end import FIT, SHORT, digests, short_fit
from tests.search import test_shared as small

from temperance.search.shared.study import SharedStudy

pytestmark = pytest.mark.slow
psycopg = pytest.importorskip("psycopg", reason="psycopg is an extra: pip install 'temperance[postgres]'")
BIN = next((path.parent for path in [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *map(Path, filter(None, [shutil.which("initdb")]))]), None)
if BIN is None:
    pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)", allow_module_level=True)
PASSWORD = "p4ss/w@rd"
ESCAPED = "p4ss%2Fw%40rd"


@dataclass
class Server:
    """A server of our own.

    Attributes:
        folder: of its data.
        port: on this machine.
        who: the user that it runs as, since it refuses to run as root.
    """

    folder: Path
    port: int
    who: dict[str, Any]

    @property
    def address(self) -> str:
        return f"postgresql://ada:{ESCAPED}@127.0.0.1:{self.port}/postgres"

    def control(self, *command: str) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        call = [str(BIN / "pg_ctl"), "-D", str(self.folder / "data"), "-o", options, "-w", "-l", str(self.folder / "log"), *command]
        subprocess.run(call, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self.who)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows; none while the server starts, or before the tables are there."""
        with suppress(psycopg.Error), psycopg.connect(self.address) as connection:
            return connection.execute(sql).fetchall()
        return []


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="temperance-postgres-"))
    who: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    try:
        (folder / "password").write_text(PASSWORD)
        if who:
            shutil.chown(folder, "nobody", "nogroup")
            shutil.chown(folder / "password", "nobody", "nogroup")
        call = [str(BIN / "initdb"), "-D", str(folder / "data"), "-U", "ada", "-A", "scram-sha-256", "--pwfile", str(folder / "password")]
        subprocess.run(call, check=True, cwd=folder, stdout=subprocess.DEVNULL, **who)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        made = Server(folder, port, who)
        made.control("start")
        yield made
        made.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of 80 rows, and what a fit without a database makes of it."""
    folder = tmp_path_factory.mktemp("postgres")
    age = [round(-2 + i / 20, 2) for i in range(80)]
    rows = {"age": age, "job": [["cook", "smith", "pilot"][i % 3] for i in range(80)], "rich": ["yes" if a + i % 3 > 0.7 else "no" for i, a in enumerate(age)]}
    pd.DataFrame(rows).to_csv(folder / "people.csv", index=False)
    code, text = short_fit(folder, *FIT, "--out", "local")
    assert code == 0, text
    return folder


def when(server: Server, study: str, rounds: int, do: Callable[[subprocess.Popen[str]], None]) -> Callable[[subprocess.Popen[str]], None]:
    """Do something once a round after so many finished ones has begun."""

    def wait(process: subprocess.Popen[str]) -> None:
        closed = f"SELECT count(*) FROM temperance_rounds WHERE study = '{study}' AND closed IS NOT NULL"
        begun = f"SELECT count(*) FROM temperance_rounds WHERE study = '{study}' AND closed IS NULL"
        while process.poll() is None and not (server.ask(closed) == [(rounds,)] and server.ask(begun) == [(1,)]):
            time.sleep(0.02)
        do(process)

    return wait


def same_files(one: Path, two: Path) -> bool:
    return digests(one) == digests(two) and (one / "model" / "model.json").read_bytes() == (two / "model" / "model.json").read_bytes()


def test_small_searches_go_on_and_are_taken_over(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: killed in each of its rounds, and hanging while another one does the rest; the same trials and networks as without a database."""
    with small.short_rounds():
        whole = small.find(None)
        for when in (4, 17):
            small.kill(server.address, when)
        assert small.same(whole, small.find(server.address))
        monkeypatch.setattr(small.shared, "BEAT", 1e9)  # the one that hangs renews nothing
        others: list[Any] = []

        def hang(number: int, _: Any) -> None:
            if number == 12 and not others:
                monkeypatch.setattr(small.shared, "BEAT", 0.05)
                others.append(small.find(server.address))

        assert small.same(whole, small.find(server.address, hang, mode="over")) and small.same(whole, others[0])
    drivers = server.ask("SELECT driver FROM temperance_rounds WHERE study = 'study' ORDER BY round")
    assert len(set(drivers)) == 2 and drivers[1] == drivers[2] != drivers[0]


def test_new_studies_at_once_make_the_tables_once_and_a_transaction_that_stands_still_is_ended(server: Server) -> None:
    """In a schema of its own, which the address names."""
    with psycopg.connect(server.address, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA fresh")
    address, start = f"{server.address}?options=-csearch_path%3Dfresh", threading.Barrier(8)

    def make(number: int) -> tuple[str, str]:
        start.wait()
        with SharedStudy(address, f"study {number}") as study, study.database.exclusive("x") as run:
            return run("SHOW idle_in_transaction_session_timeout")[0][0], run("SHOW search_path")[0][0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(make, range(8))) == {("1min", "fresh")}
    assert server.ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'fresh'") == [(3,)]


def test_killed_and_resumed_elsewhere_the_files_are_those_of_a_fit_without_a_database(server: Server, home: Path) -> None:
    storage = ("--storage", server.address)
    code, text = short_fit(home, *FIT, "--out", "killed", *storage, kill=when(server, "killed", 1, lambda process: process.kill()))
    assert code == -9, text
    code, text = short_fit(home, *FIT, "--out", "other", *storage, "--study-name", "killed", "--resume", "--seed", "1")
    assert code == 2 and "--seed 1 (before: 0)" in text and "study 'killed' of postgresql://ada@127.0.0.1" in text
    said = text
    code, text = short_fit(home, *FIT, "--out", "other", *storage, "--study-name", "killed", "--resume")
    assert code == 0 and same_files(home / "other", home / "local"), text
    files = [path.read_bytes() for folder in ("killed", "other") for path in (home / folder).rglob("*") if path.is_file()]
    assert not any(secret.encode() in found for secret in (PASSWORD, ESCAPED) for found in [*files, said.encode(), text.encode()])
    stored = server.ask("SELECT command FROM temperance_studies WHERE name = 'killed'")
    assert not any(secret in stored[0][0] for secret in (PASSWORD, ESCAPED)) and json.loads(stored[0][0])["seed"] == 0


def test_two_drivers_share_and_one_takes_what_the_other_leaves(server: Server, home: Path) -> None:
    """The first is killed in its second round; the second, there since then, trains these trials, and all others, once."""
    command = [*FIT, "--storage", server.address, "--study-name", "shared", "--resume"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    helpers: list[subprocess.Popen[str]] = []

    def help_and_kill(process: subprocess.Popen[str]) -> None:
        helper = [*SHORT, *command, "--out", "helper"]
        helpers.append(subprocess.Popen(helper, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        process.kill()

    code, _ = short_fit(home, *command, "--out", "first", kill=when(server, "shared", 1, help_and_kill))
    text = helpers[0].communicate()[0]
    assert code == -9 and helpers[0].returncode == 0, text
    rounds = server.ask("SELECT driver, closed IS NOT NULL FROM temperance_rounds WHERE study = 'shared' ORDER BY round")
    assert len({driver for driver, _ in rounds}) == 2 and all(closed for _, closed in rounds)
    assert [n for (n,) in server.ask("SELECT trial FROM temperance_trials WHERE study = 'shared' ORDER BY trial")] == list(range(12))
    assert same_files(home / "helper", home / "local"), "one died before the other proposed, so that it is as if there had been one"


def test_two_drivers_at_once_train_every_trial_once(server: Server, home: Path) -> None:
    command = [*SHORT, *FIT, "--storage", server.address, "--study-name", "both", "--resume"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    processes = [
        subprocess.Popen([*command, "--out", f"both{i}"], cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for i in (1, 2)
    ]
    texts = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], texts
    assert [n for (n,) in server.ask("SELECT trial FROM temperance_trials WHERE study = 'both' ORDER BY trial")] == list(range(12))
    tables = [json.loads((home / f"both{i}" / "summary.json").read_text(encoding="utf-8"))["search"]["table"] for i in (1, 2)]
    assert tables[0] == tables[1] and len(tables[0]) == 12


def test_a_server_that_is_restarted_while_a_fit_trains_changes_nothing(server: Server, home: Path) -> None:
    restart = when(server, "restarted", 1, lambda _: server.control("-m", "fast", "restart"))
    code, text = short_fit(home, *FIT, "--out", "restarted", "--storage", server.address, kill=restart)
    assert code == 0 and same_files(home / "restarted", home / "local"), text


def test_a_wrong_password_or_database_is_a_message(server: Server, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("age,rich\n1,yes\n")
    for address in (server.address.replace(ESCAPED, "wr0ng"), server.address + "less"):
        code, text = short_fit(tmp_path, *FIT, "--out", "refused", "--storage", address)
        assert code == 2 and "Traceback" not in text and "wr0ng" not in text and ESCAPED not in text and PASSWORD not in text
        assert "database that can be used at postgresql://ada@127.0.0.1" in text and not (tmp_path / "refused").exists()
