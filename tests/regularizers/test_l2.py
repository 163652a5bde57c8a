import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows
from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.program import Program
from temperance.regularizers import L2


def test_penalty_and_gradient_are_the_formula() -> None:
    w = {
        "a": torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(),
        "b": torch.ones(2, 2).double().requires_grad_(),
    }
    value = bound(L2(0.3)).penalty(w, {}, context())
    assert value.item() == pytest.approx(0.15 * sum(np.square(p.detach().numpy()).sum() for p in w.values()), rel=1e-14)
    for grad, p in zip(torch.autograd.grad(value, list(w.values())), w.values(), strict=True):
        torch.testing.assert_close(grad, 0.3 * p.detach())


@pytest.mark.parametrize("lam", [0.01, 0.5])
def test_a_net_without_hidden_layer_is_ridge(lam: float) -> None:
    """Mean squared error + lam/2 |w|² is scikit-learn's Ridge at alpha = n lam / 2."""
    batch = linear_rows()
    w = Loop(Cocktail(L2(lam)), linear_net(), SquaredError()).descend(batch, 0.2, 400)["weight"]
    ridge = Ridge(alpha=len(batch.x) * lam / 2, fit_intercept=False).fit(batch.x.numpy(), batch.y.numpy())
    np.testing.assert_allclose(w.numpy().ravel(), ridge.coef_.ravel(), atol=1e-10)


def test_each_direction_of_a_quadratic_shrinks_by_its_curvature() -> None:
    """Half squared error has the Hessian XᵀX/n: along an eigenvector the minimizer is scaled by D / (D + lam)."""
    batch, lam = linear_rows(), 0.2
    w = Loop(Cocktail(L2(lam)), linear_net(), SquaredError(half=True)).descend(batch, 0.3, 1500)["weight"][0]
    hessian = batch.x.T @ batch.x / len(batch.x)
    free = torch.linalg.solve(hessian, batch.x.T @ batch.y[:, 0] / len(batch.x))
    d, q = torch.linalg.eigh(hessian)
    torch.testing.assert_close(q.T @ w, d / (d + lam) * (q.T @ free), rtol=1e-9, atol=1e-9)


def test_singular_least_squares_is_solved() -> None:
    batch = linear_rows(n=4, d=6)
    lam = 1e-3
    w = Loop(Cocktail(L2(lam)), linear_net(), SquaredError(half=True)).descend(batch, 0.2, 40_000 // 8)["weight"][0]
    pseudo = torch.linalg.pinv(batch.x) @ batch.y[:, 0]
    torch.testing.assert_close(w, pseudo, rtol=0.05, atol=0.05)


def test_biases_norms_and_embeddings_are_left_alone() -> None:
    net = nn.Sequential(nn.Embedding(3, 2), nn.Flatten(), nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    assert Program(Cocktail(L2(0.1)), net, SquaredError()).selected["l2"] == ("2.weight", "4.weight")


def test_huge_weights_do_not_turn_off_into_nan() -> None:
    w = torch.full((2, 2), 1e30, requires_grad=True)
    value = bound(L2(0.0), torch.float32).penalty({"w": w}, {}, context())
    value.backward()
    assert value.item() == 0.0 and torch.equal(w.grad, torch.zeros(2, 2))
