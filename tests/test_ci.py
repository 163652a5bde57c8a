"""The script of continuous integration: it asks for a browser where there is none, and tests with or without one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "run"
TOOLS = ("bash", "sh", "dirname", "timeout", "cat")


def run(folder: Path, stubs: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in a folder of its own, where these programs stand in for the real ones."""
    (folder / ".ci").mkdir()
    shutil.copy(SCRIPT, folder / ".ci" / "run")
    programs = folder / "bin"
    programs.mkdir()
    for name in TOOLS:
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, body in ({"make": 'echo "make $*"'} | stubs).items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": str(programs), "LOG": str(folder / "log")}
    return subprocess.run([str(folder / ".ci" / "run"), *arguments], capture_output=True, text=True, check=False, env=environment, timeout=60)


APT = 'echo "$*" >> "$LOG"'
ROOT, USER = {"id": "echo 0"}, {"id": "echo 1000"}


@pytest.mark.parametrize(
    ("stubs", "asked"),
    [
        ({"apt-get": APT, **ROOT}, ["update", "install -y --no-install-recommends chromium"]),
        ({"apt-get": f"{APT}; exit 1", **ROOT}, ["update"]),
        ({"apt-get": APT, **USER}, []),
        ({"apt-get": APT, "chromium": "true", **ROOT}, []),
        (ROOT, []),
    ],
    ids=["missing", "no network", "not root", "there", "no apt"],
)
def test_the_tests_run_with_or_without_a_browser(tmp_path: Path, stubs: dict[str, str], asked: list[str]) -> None:
    done = run(tmp_path, stubs)
    log = tmp_path / "log"
    assert (done.returncode, done.stdout) == (0, "make test\n")
    assert (log.read_text(encoding="utf-8").splitlines() if log.exists() else []) == asked
    assert ("could not be installed" in done.stderr) == (asked == ["update"])


def test_the_slow_tests_ask_for_a_database_too(tmp_path: Path) -> None:
    done = run(tmp_path, {"apt-get": APT, "ls": "exit 2", **ROOT}, "slow")
    asked = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert (done.returncode, done.stdout) == (0, "make test-slow\n")
    assert [line.split()[-1] for line in asked] == ["update", "chromium", "update", "postgresql"]


def test_a_failing_test_fails_the_script(tmp_path: Path) -> None:
    assert run(tmp_path, {"make": "exit 2", **USER}).returncode == 2
