"""How long threads spin is set for the command alone, and never over what the user has said."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from temperance.cli import waiting
from temperance.cli.waiting import ALONE, CROWDED, limit_spinning


@pytest.fixture
def counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waiting, "APART", 0.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)

    def made(running: int) -> Path:
        path = tmp_path / "loadavg"
        path.write_text(f"0.10 0.20 0.30 {running}/250 4711\n")
        return path

    return made


@pytest.mark.parametrize(("running", "threads", "expected"), [(1, 4, ALONE), (2, 4, CROWDED), (3, 2, ALONE), (4, 2, CROWDED), (5, 1, CROWDED), (0, 4, ALONE)])
def test_threads_spin_less_where_other_programs_need_the_cores(counts, running: int, threads: int, expected: int):
    environment = {"OMP_NUM_THREADS": str(threads)}
    limit_spinning(environment, counts(running))
    assert environment["GOMP_SPINCOUNT"] == str(expected)


@pytest.mark.parametrize("said", [{"GOMP_SPINCOUNT": "5"}, {"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "passive"}])
def test_what_the_user_said_stays(counts, said: dict[str, str]):
    environment = dict(said)
    limit_spinning(environment, counts(9))
    assert environment == said


@pytest.mark.parametrize("content", [None, "", "0.1 0.2", "a b c d/e f"])
def test_a_system_that_does_not_count_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None):
    monkeypatch.setattr(waiting, "APART", 0.0)
    path = tmp_path / "loadavg"
    if content is not None:
        path.write_text(content)
    environment: dict[str, str] = {}
    limit_spinning(environment, path)
    assert environment == {}


def test_only_the_command_sets_it_and_before_torch_is_loaded():
    code = (
        "import os, sys, temperance.cli\n"
        "print(os.environ.get('GOMP_SPINCOUNT'))\n"
        "import temperance.cli.waiting as w\n"
        "w.limit_spinning = lambda e: print('torch' in sys.modules)\n"
        "sys.argv = ['temperance', '--version']\n"
        "temperance.cli.main()\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean, check=True).stdout.split()
    assert out[:2] == ["None", "False"]
