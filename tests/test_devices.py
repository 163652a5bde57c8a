"""Tests on a pretended card, which is registered for the whole process: each file of them runs in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
FILES = ("laws/on_a_card.py", "job/on_a_card.py", "benchmarks/gpu_on_a_card.py")


@pytest.mark.parametrize("file", FILES)
def test_on_a_pretended_card(file: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {"TEMPERANCE_CARD": "yes"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(HERE / file)]
    done = subprocess.run(command, cwd=HERE.parent, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_nothing_else_registers_the_card() -> None:
    users = [path.relative_to(HERE).as_posix() for path in HERE.rglob("*.py") if "laws.card import" in path.read_text(encoding="utf-8")]
    assert sorted(users) == sorted([*FILES, "test_devices.py"])


def test_it_is_not_registered_here() -> None:
    assert not hasattr(torch, "card")
