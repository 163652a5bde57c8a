import numpy as np
import pytest
import torch
from tests.regularizers.helpers import bound, context

from temperance.regularizers import Orthogonality


def value(w: torch.Tensor, lam: float) -> torch.Tensor:
    return bound(Orthogonality(lam), w.dtype).penalty({"w": w}, {}, context())


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 2, 2, 2), (6, 1, 2)])
def test_it_is_the_sum_over_singular_values(shape: tuple[int, ...]) -> None:
    """Σ (s² - 1)² for matrices that are high or wide, with the gradient 4 lam W (WᵀW - I)."""
    w = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = value(w, 0.3)
    matrix = w.detach().numpy().reshape(shape[0], -1)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    assert found.item() == pytest.approx(0.3 * ((s**2 - 1) ** 2).sum(), rel=1e-12)
    grad = torch.autograd.grad(found, w)[0].numpy().reshape(shape[0], -1)
    np.testing.assert_allclose(grad, 4 * 0.3 * (u * (s * (s**2 - 1))) @ vt, rtol=1e-11, atol=1e-12)


def test_descent_makes_a_matrix_orthonormal() -> None:
    for shape in ((5, 3), (3, 5)):
        w = 0.5 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        for _ in range(400):
            w = (w.requires_grad_() - 0.05 * torch.autograd.grad(value(w, 1.0), w)[0]).detach()
        torch.testing.assert_close(torch.linalg.svdvals(w), torch.ones(3, dtype=torch.float64), rtol=1e-9, atol=1e-9)
        assert value(w, 1.0).item() < 1e-16


def test_several_matrices_add_up() -> None:
    params = {"a": 2 * torch.eye(2).double(), "b": torch.zeros(2, 3).double()}
    assert bound(Orthogonality(1.0)).penalty(params, {}, context()).item() == pytest.approx(2 * 9 + 2)


def test_huge_weights_do_not_turn_off_into_nan() -> None:
    w = torch.full((2, 2), 1e30, requires_grad=True)
    found = value(w, 0.0)
    found.backward()
    assert found.item() == 0.0 and torch.equal(w.grad, torch.zeros(2, 2))
