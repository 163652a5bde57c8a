"""What every test shares: one thread, reproducible examples, shared data sets, and a watch over the global generators."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]
TABULAR = Path(os.environ.get("TEMPERANCE_DATA", REPOSITORY.parent / "shared" / "data" / "tabular"))

# A pretended card is registered for the whole process: tests/test_devices.py runs what needs one in processes of its own.
ON_A_CARD = ("laws/card.py", "laws/on_a_card.py", "job/on_a_card.py", "benchmarks/gpu_on_a_card.py")
collect_ignore = [] if "TEMPERANCE_CARD" in os.environ else [*ON_A_CARD]

# The same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones. The time of a first torch call says nothing about a test.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def _seed_global_generators(name: str) -> None:
    """The same draws for the same name, whatever ran before: weights of torch's own modules come from the global generator."""
    seed = zlib.crc32(name.encode())
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 the global generator is the one meant
    random.seed(seed)


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    """What several tests share is the same whichever of them comes first."""
    if fixturedef.scope != "function":
        _seed_global_generators(f"{fixturedef.baseid}::{fixturedef.argname}")


@pytest.fixture(autouse=True)
def same_draws(request: pytest.FixtureRequest) -> None:
    """A test that draws from the global generators draws the same in every run, alone or among others."""
    _seed_global_generators(request.node.nodeid)


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Bitwise comparisons hold at one recorded thread count, so each test starts at one thread and leaves the count as it found it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tabular() -> Callable[[str], Path]:
    """`tabular("adult")` is the path of that shared data set; the test is skipped where the file is not there."""

    def path_of(name: str) -> Path:
        path = TABULAR / f"{name}.parquet"
        if not path.is_file():
            pytest.skip(f"the data set {path.name} is not here; TEMPERANCE_DATA names the folder that holds it")
        return path

    return path_of


def _generator_states() -> dict[str, Any]:
    """The state of every global generator, as values that compare with ==."""
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 the global generator is the one under watch
    return {
        "torch": torch.get_rng_state().tolist(),
        "torch.cuda": [state.tolist() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
        "numpy": {**numpy_state, "state": {key: np.asarray(value).tolist() for key, value in numpy_state["state"].items()}},
        "random": random.getstate(),
    }


@pytest.fixture
def generators_untouched() -> Iterator[Callable[[], None]]:
    """Fails a test that moved a global generator of torch, numpy or random; the value is the check, for calls in between."""
    before = _generator_states()

    def check() -> None:
        after = _generator_states()
        moved = [name for name, state in before.items() if state != after[name]]
        assert not moved, f"moved the global generator of {', '.join(moved)}"

    yield check
    check()
