"""A Ray cluster of two nodes: the files of a fit are those of the local engine, also where a worker is killed while it trains."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from benchmarks.two_nodes import training, two_nodes
from tests.cli.test_end_to_end import FIT, digests, short_fit

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason="Ray is an extra: pip install 'temperance[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, int]]:
    with two_nodes() as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of 80 rows, and what the local engine makes of it."""
    folder = tmp_path_factory.mktemp("ray")
    age = [round(-2 + i / 20, 2) for i in range(80)]
    rows = {"age": age, "job": [["cook", "smith", "pilot"][i % 3] for i in range(80)], "rich": ["yes" if a + i % 3 > 0.7 else "no" for i, a in enumerate(age)]}
    pd.DataFrame(rows).to_csv(folder / "people.csv", index=False)
    code, text = short_fit(folder, *FIT, "--out", "local")
    assert code == 0, text
    return folder


def once(what: Callable[[], list[int]], seconds: float = 120.0) -> list[int]:
    began = time.monotonic()
    while not (found := what()):
        assert time.monotonic() - began < seconds
        time.sleep(0.005)
    return found


def test_the_same_files_as_those_of_the_local_engine(cluster: tuple[str, int], home: Path) -> None:
    code, text = short_fit(home, *FIT, "--out", "ray", "--engine", "ray", "--address", cluster[0])
    assert code == 0 and "Traceback" not in text, text
    assert digests(home / "ray") == digests(home / "local")


def test_a_worker_that_is_killed_while_it_trains_changes_nothing(cluster: tuple[str, int], home: Path) -> None:
    killed: list[int] = []

    def kill(process: subprocess.Popen[str]) -> None:
        killed.append(once(lambda: training(cluster[1]))[0])
        os.kill(killed[0], signal.SIGKILL)

    code, text = short_fit(home, *FIT, "--out", "killed", "--engine", "ray", "--address", cluster[0], kill=kill)
    assert code == 0 and "Traceback" not in text, text
    assert killed and digests(home / "killed") == digests(home / "local")


def test_a_driver_that_is_killed_goes_on_with_either_engine(cluster: tuple[str, int], home: Path) -> None:
    for engine in (["--engine", "ray", "--address", cluster[0]], []):

        def kill(process: subprocess.Popen[str]) -> None:
            lines = home / "cut" / ".run" / "trials" / "trials.jsonl"
            while process.poll() is None and not (lines.is_file() and lines.read_bytes().count(b'"end"') >= 1):
                time.sleep(0.01)
            process.kill()

        short_fit(home, *FIT, "--out", "cut", "--overwrite", "--engine", "ray", "--address", cluster[0], kill=kill)
        assert not (home / "cut" / "run.json").exists() or json.loads((home / "cut" / "run.json").read_text(encoding="utf-8"))
        code, text = short_fit(home, *FIT, "--out", "cut", "--resume", *engine)
        assert code == 0, text
        assert digests(home / "cut") == digests(home / "local")


def test_no_cluster_and_no_room_are_told(cluster: tuple[str, int], home: Path) -> None:
    code, text = short_fit(home, *FIT, "--out", "none", "--engine", "ray", "--address", "127.0.0.1:1")
    assert code == 2 and "Expected a Ray cluster at '127.0.0.1:1', found none" in " ".join(text.split()), text
    code, text = short_fit(home, *FIT[:-1], "2", "--out", "none", "--engine", "ray", "--address", cluster[0])
    wanted = "Expected room for a worker with 2 CPU on a machine of the Ray cluster, found {'CPU': 1.0}, {'CPU': 1.0}. "
    assert code == 2 and wanted in " ".join(text.split()) and "--threads" in text, text
