"""v and c: exact on the rows they are estimated on, uncentred, weighted, and over classes summed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from temperance.ensemble import Diversity, diversity, error_products, squared_error


def random_pool(seed: int, networks: int, rows: int, outputs: int, task: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(networks, rows, outputs, generator=generator, dtype=torch.float64)
    kind = torch.randint(outputs, (rows,), generator=generator)
    y = torch.nn.functional.one_hot(kind, outputs).double() if task == "classification" else torch.randn(rows, outputs, generator=generator).double()
    weight = torch.rand(rows, generator=generator).double() + 0.1
    return raw.softmax(-1) if task == "classification" else raw, y, weight


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 12), st.integers(1, 4), st.sampled_from(["classification", "regression", "multilabel"]))
def test_the_average_of_all_has_exactly_the_predicted_error(seed: int, networks: int, rows: int, outputs: int, task: str) -> None:
    p, y, weight = random_pool(seed, networks, rows, outputs, task)
    measured = (squared_error(p.mean(0), y, task) * weight).sum() / weight.sum()
    found = diversity(error_products(p, y, task, weight))
    assert found.at(networks) == pytest.approx(float(measured), rel=1e-12, abs=1e-14)  # a few dozen roundings of 1.1e-16
    assert found.networks == networks and math.isnan(found.c) == (networks == 1)


@given(st.integers(0, 1000), st.integers(3, 5))
def test_a_part_of_the_networks_has_the_predicted_error_on_average(seed: int, networks: int) -> None:
    p, y, _ = random_pool(seed, networks, 7, 3, "classification")
    found = diversity(error_products(p, y, "classification"))
    for m in range(1, networks + 1):
        some = torch.combinations(torch.arange(networks), m)
        mean = torch.stack([squared_error(p[s].mean(0), y, "classification").mean() for s in some]).mean()
        assert found.at(m) == pytest.approx(float(mean), rel=1e-12)


def test_weights_give_the_quadratic_form() -> None:
    p, y, _ = random_pool(3, 4, 9, 2, "regression")
    a = torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64)
    products = error_products(p, y, "regression")
    measured = squared_error((a[:, None, None] * p).sum(0), y, "regression").mean()
    assert float(a @ products @ a) == pytest.approx(float(measured), rel=1e-12)
    assert torch.allclose(products, products.T)


def test_moments_are_uncentred() -> None:
    wrong_by_one = torch.ones(3, 5, 1)
    found = diversity(error_products(wrong_by_one, torch.zeros(5, 1), "regression"))
    assert (found.v, found.c) == (pytest.approx(1.0), pytest.approx(1.0))  # a shared bias is not averaged away
    assert found.at(1000) == pytest.approx(1.0)


def test_the_limits() -> None:
    found = Diversity(v=0.4, c=0.1, networks=4)
    assert found.at(1) == 0.4
    assert found.at(10**9) == pytest.approx(0.1)
    assert Diversity(v=0.4, c=math.nan, networks=1).at(1) == 0.4
    assert all(found.at(m + 1) < found.at(m) for m in range(1, 20))
