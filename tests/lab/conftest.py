"""Verdicts that several tests look at."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable

import pytest

import temperance as tp
from temperance.lab import Verdict


@pytest.fixture
def quick(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Verdict]:
    """The quick verdict of an experiment, which runs once for all tests and all of their processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def verdict(name: str) -> Verdict:
        path = shared / f"verdict-{name}.pickle"
        if not path.exists():
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(pickle.dumps(tp.lab.run(name, quick=True)))
            part.replace(path)
        return pickle.loads(path.read_bytes())

    return verdict
