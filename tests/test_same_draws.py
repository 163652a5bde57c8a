"""What a test draws from the global generators is the same in every run, so that no test fails by chance."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest
import torch


def drawn() -> list[float]:
    return [*torch.nn.Linear(1, 2).weight.flatten().tolist(), float(np.random.rand()), random.random()]  # noqa: NPY002 the global one is meant


def drawn_by(name: str) -> list[float]:
    seed = zlib.crc32(name.encode())
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    return drawn()


@pytest.fixture(scope="module")
def shared() -> list[float]:
    return drawn()


@pytest.mark.parametrize("before", [0, 3])
def test_a_test_draws_by_its_name(before: int, request: pytest.FixtureRequest) -> None:
    first = drawn()
    assert first == drawn_by(request.node.nodeid)
    for _ in range(before):  # nor does what this test draws reach the next one
        drawn()


@pytest.mark.parametrize("user", [0, 1])
def test_what_tests_share_is_drawn_by_its_own_name(user: int, shared: list[float]) -> None:
    assert shared == drawn_by("tests/test_same_draws.py::shared")


def test_weights_differ_from_test_to_test() -> None:
    assert drawn() != drawn_by("another")
