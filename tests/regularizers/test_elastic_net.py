import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet as Reference
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.program import Program
from temperance.core.schedule import Linear
from temperance.regularizers import L1, L2, ElasticNet


@pytest.mark.parametrize(("alpha", "beta"), [(0.2, 0.1), (0.02, 0.4), (0.5, 0.01), (0.0, 0.2)])
@pytest.mark.parametrize("half", [True, False])
def test_a_net_without_hidden_layer_is_the_elastic_net(alpha: float, beta: float, half: bool) -> None:
    """Half the mean squared error: alpha + beta and the share of beta; the mean squared error: half of both strengths."""
    batch = linear_rows()
    w = Loop(Cocktail(ElasticNet(alpha, beta)), linear_net(), SquaredError(half=half)).descend(batch, 0.3 if half else 0.15, 800)["weight"].numpy().ravel()
    total = (alpha + beta) * (1.0 if half else 0.5)
    theirs = Reference(alpha=total, l1_ratio=beta / (alpha + beta), fit_intercept=False, tol=1e-14, max_iter=100_000).fit(
        batch.x.numpy(), batch.y.numpy().ravel()
    )
    np.testing.assert_allclose(w, theirs.coef_, atol=1e-8)
    assert np.array_equal(w == 0.0, theirs.coef_ == 0.0)


def test_it_is_l2_and_l1_bit_for_bit() -> None:
    batch = linear_rows()
    one, two = (
        Loop(Cocktail(*items), linear_net(), SquaredError()).descend(batch, 0.1, 50)["weight"] for items in ([ElasticNet(0.2, 0.1)], [L2(0.2), L1(0.1)])
    )
    assert torch.equal(one, two)


def test_each_strength_drives_its_own_site() -> None:
    """A site whose strength is off for everyone is left out of the program."""
    cocktail, net = Cocktail(ElasticNet()), linear_net()
    for idle, left in (("alpha", "after_step"), ("beta", "penalty")):
        program = Program(cocktail, net, SquaredError(), idle=[f"elastic_net.{idle}"])
        assert [site for site in ("penalty", "after_step") if program.of(site)] == [left]


def test_huge_weights_do_not_turn_off_into_nan() -> None:
    w = torch.full((2, 2), 1e30, requires_grad=True)
    off = bound(ElasticNet(0.0, 0.0), torch.float32)
    value = off.penalty({"w": w}, {}, context())
    value.backward()
    assert value.item() == 0.0 and torch.equal(w.grad, torch.zeros(2, 2))
    assert torch.equal(off.after_step({"w": w.detach()}, context(lr=torch.tensor(0.1)))["w"], w)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, Linear(0.4)), (Linear(0.3), 0.2)])
def test_a_schedule_drives_the_threshold_and_the_penalty_at_every_step(alpha: float | Linear, beta: float | Linear) -> None:
    """Descent by hand: the penalty and the threshold of step t are those of the schedule at t over the planned steps."""

    def at(strength: float | Linear, share: float) -> float:
        return strength.value * (1 - share) if isinstance(strength, Linear) else strength

    batch, lr = linear_rows(), 0.05
    loop = Loop(Cocktail(ElasticNet(alpha, beta)), linear_net(), SquaredError(half=True), planned=10)
    w = torch.zeros(6, dtype=torch.float64)
    for t in range(10):
        slope = batch.x.T @ (batch.x @ w - batch.y[:, 0]) / len(batch.x) + at(alpha, t / 10) * w
        stepped = w - lr * slope
        w = stepped.sign() * (stepped.abs() - lr * at(beta, t / 10)).clamp_min(0.0)
        torch.testing.assert_close(loop.descend(batch, lr, 1)["weight"][0], w, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("made", [ElasticNet(0.0, 2.0), L1(2.0)])
def test_the_threshold_is_that_of_the_rate_of_the_step(made: ElasticNet | L1) -> None:
    """The rate as its schedule has it now, not its peak: 0.1 · 2, a quarter of the way up."""
    w = {"w": torch.tensor([[1.0, -0.5, 0.1]]).double()}
    out = bound(made).after_step(w, context(lr=torch.tensor(0.1).double(), lr_factor=torch.tensor(0.25).double()))["w"]
    torch.testing.assert_close(out, torch.tensor([[0.8, -0.3, 0.0]]).double())
