import pytest
import torch
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.regularizers import L2, L2SP

START = torch.tensor([[0.5, 1.0, -1.0, 2.0, 0.0, -0.5]], dtype=torch.float64)


def loop(*regularizers: L2 | L2SP, start: torch.Tensor = START) -> Loop:
    net = linear_net()
    with torch.no_grad():
        net.weight.copy_(start)  # type: ignore[operator]
    return Loop(Cocktail(*regularizers), net, SquaredError(half=True))


def test_penalty_and_gradient_are_the_formula() -> None:
    sp, w = bound(L2SP(0.3)), START.clone().requires_grad_()
    state = sp.init({"w": torch.ones_like(START)})
    value = sp.penalty({"w": w}, {}, context(state=state))
    assert value.item() == pytest.approx(0.15 * float(((START - 1) ** 2).sum()), rel=1e-14)
    torch.testing.assert_close(torch.autograd.grad(value, w)[0], 0.3 * (START - 1))


@pytest.mark.parametrize("lam", [0.05, 1.0])
def test_least_squares_end_between_start_and_data(lam: float) -> None:
    """(H + lam I)⁻¹ (Xᵀy/n + lam w₀), H = XᵀX/n."""
    batch = linear_rows()
    found = loop(L2SP(lam)).descend(batch, 0.3, 1500)["weight"][0]
    hessian = batch.x.T @ batch.x / len(batch.x)
    expected = torch.linalg.solve(hessian + lam * torch.eye(6, dtype=torch.float64), batch.x.T @ batch.y[:, 0] / len(batch.x) + lam * START[0])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_from_zero_it_is_l2() -> None:
    runs = [loop(r, start=torch.zeros_like(START)).descend(linear_rows(), 0.2, 30)["weight"] for r in (L2SP(0.3), L2(0.3))]
    torch.testing.assert_close(*runs, rtol=1e-13, atol=1e-14)


def test_early_stopping_is_the_penalty_of_its_steps() -> None:
    """On a quadratic, tau steps from w₀ are L2SP with a strength for each eigen-direction, lam_i = D_i r / (1 - r), r = (1 - eps D_i)^tau."""
    batch, eps, tau = linear_rows(), 0.2, 9
    stopped = loop().descend(batch, eps, tau)["weight"][0]
    hessian = batch.x.T @ batch.x / len(batch.x)
    best = torch.linalg.solve(hessian, batch.x.T @ batch.y[:, 0] / len(batch.x))
    d, q = torch.linalg.eigh(hessian)
    r = (1 - eps * d) ** tau
    lam = d * r / (1 - r)
    expected = (d * (q.T @ best) + lam * (q.T @ START[0])) / (d + lam)
    torch.testing.assert_close(q.T @ stopped, expected, rtol=1e-10, atol=1e-11)


def test_the_start_is_kept() -> None:
    """The state is the first weights, whatever training does."""
    run = loop(L2SP(0.1))
    run.descend(linear_rows(), 0.2, 5)
    assert torch.equal(run.state["l2sp"]["weight"], START) and not torch.equal(run.params["weight"], START)
