import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tests.regularizers.helpers import Loop, bound, context, linear_net

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.regularizers import L1, GroupLasso

ONE = torch.tensor(1.0, dtype=torch.float64)
shapes = st.sampled_from([(3, 4), (4, 3, 2, 2), (5, 1), (4,), (1, 7)])
kinds = st.sampled_from(["rows", "columns", "channels"])


def prox(w: torch.Tensor, lam: float, groups: str) -> torch.Tensor:
    return bound(GroupLasso(lam, groups=groups), w.dtype).after_step({"w": w}, context(lr=ONE.to(w.dtype)))["w"]


def groups_of(shape: tuple[int, ...], groups: str) -> list[tuple[slice | int, ...]]:
    """The index of every group, written out."""
    everything = slice(None)
    if groups == "rows":
        return [(i,) for i in range(shape[0])]
    if len(shape) == 1:
        return [(everything,)]
    if groups == "channels" or len(shape) == 2:
        return [(everything, j) for j in range(shape[1])]
    return [(everything, *place) for place in np.ndindex(*shape[1:])]


def by_hand(w: np.ndarray, lam: float, groups: str) -> np.ndarray:
    out = np.zeros_like(w)
    for at in groups_of(w.shape, groups):
        part = w[at]
        length, threshold = math.sqrt(float((part**2).sum())), lam * math.sqrt(part.size)
        out[at] = part * (1.0 - threshold / length) if length > threshold else 0.0
    return out


def draw(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(shapes, kinds, st.floats(0.0, 2.0), st.integers(0, 50))
def test_the_step_is_the_prox_of_the_lengths(shape: tuple[int, ...], groups: str, lam: float, seed: int) -> None:
    w = draw(shape, seed)
    found = prox(w, lam, groups).numpy()
    expected = by_hand(w.numpy(), lam, groups)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert np.array_equal(found == 0.0, expected == 0.0)


@given(shapes, kinds, st.floats(0.0, 2.0), st.integers(0, 50))
def test_it_is_non_expansive(shape: tuple[int, ...], groups: str, lam: float, seed: int) -> None:
    a, b = draw(shape, seed), draw(shape, seed + 1000)
    assert (prox(a, lam, groups) - prox(b, lam, groups)).norm() <= (a - b).norm() * (1 + 1e-12)


@given(kinds, st.integers(0, 50))
def test_it_minimizes_its_objective(groups: str, seed: int) -> None:
    """No random point nearby is better than the step's."""
    w, lam = draw((4, 3, 2), seed), 0.4
    best = prox(w, lam, groups)

    def objective(u: torch.Tensor) -> float:
        lengths = sum(math.sqrt(u[at].numel()) * u[at].norm().item() for at in groups_of((4, 3, 2), groups))
        return 0.5 * (u - w).square().sum().item() + lam * lengths

    for scale in (1.0, 1e-2, 1e-4):
        assert objective(best) <= objective(best + scale * draw((4, 3, 2), seed + 77)) + 1e-12


def test_groups_of_one_are_l1() -> None:
    w = draw((6, 1), 3)
    expected = bound(L1(0.3)).after_step({"w": w}, context(lr=ONE))["w"]
    torch.testing.assert_close(prox(w, 0.3, "rows"), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("groups", ["rows", "columns"])
def test_orthonormal_inputs_shrink_groups_of_least_squares(groups: str) -> None:
    """With XᵀX = n I the minimizer of ½‖y - Wx‖² is the prox of the least-squares weights; some groups are gone."""
    g = torch.Generator().manual_seed(0)
    x = torch.linalg.qr(torch.randn(30, 6, dtype=torch.float64, generator=g))[0] * math.sqrt(30)
    true = torch.randn(4, 6, dtype=torch.float64, generator=g) * torch.tensor([1.0, 1.0, 0.1, 1.0, 0.1, 1.0]) * torch.tensor([1.0, 1.0, 0.1, 1.0])[:, None]
    y = x @ true.T + 0.1 * torch.randn(30, 4, dtype=torch.float64, generator=g)
    batch = full_batch(x, y, weight=torch.ones(30, dtype=torch.float64))
    free = (y.T @ x / 30).numpy()
    lam = 0.2
    found = Loop(Cocktail(GroupLasso(lam, groups=groups)), linear_net(6, 4), SquaredError(half=True)).descend(batch, 0.5, 200)["weight"].numpy()
    expected = by_hand(free, lam, groups)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert np.array_equal(found == 0.0, expected == 0.0) and (found == 0.0).any() and (found != 0.0).any()


def test_off_keeps_tiny_and_huge_weights() -> None:
    w = torch.tensor([[1e-30, -0.0], [1e30, 1.0], [0.0, 0.0]])
    for groups in ("rows", "columns", "channels"):
        assert torch.equal(prox(w, 0.0, groups), w)
