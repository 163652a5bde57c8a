import numpy as np
import pytest
import torch
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.regularizers import L2, WeightDecay


@pytest.mark.parametrize(("scale", "unit"), [("lr", 0.05), ("schedule", 0.25), ("none", 1.0)])
def test_the_factor_is_the_one_named(scale: str, unit: float) -> None:
    w = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ctx = context(lr=torch.tensor(0.05, dtype=torch.float64), lr_factor=torch.tensor(0.25, dtype=torch.float64))
    torch.testing.assert_close(bound(WeightDecay(0.1, scale=scale)).after_step({"w": w}, ctx)["w"], (1 - 0.1 * unit) * w, rtol=1e-15, atol=0)


def test_twenty_steps_by_hand() -> None:
    batch, lr, lam = linear_rows(), 0.1, 0.3
    found = Loop(Cocktail(WeightDecay(lam)), linear_net(), SquaredError()).descend(batch, lr, 20)["weight"]
    x, y, w = batch.x.numpy(), batch.y.numpy()[:, 0], np.zeros(6)
    for _ in range(20):
        w = (1 - lr * lam) * (w - lr * 2 * x.T @ (x @ w - y) / len(x))
    np.testing.assert_allclose(found.numpy()[0], w, rtol=1e-12)


def test_for_plain_gradient_descent_it_is_l2_to_first_order() -> None:
    """The two differ by a term in lr²: a tenth of the learning rate over ten times the steps brings them ten times nearer."""
    gaps = []
    for lr, steps in ((0.01, 50), (0.001, 500)):
        runs = [Loop(Cocktail(r), linear_net(), SquaredError()).descend(linear_rows(), lr, steps)["weight"] for r in (WeightDecay(0.3), L2(0.3))]
        gaps.append((runs[0] - runs[1]).abs().max().item())
    assert 0 < gaps[1] < gaps[0] / 8


def test_it_adds_nothing_to_loss_or_gradient() -> None:
    batch = linear_rows()
    with_it, without = (Loop(c, linear_net(), SquaredError()).gradient(batch) for c in (Cocktail(WeightDecay(0.3)), Cocktail()))
    assert torch.equal(with_it[0], without[0]) and torch.equal(with_it[2]["weight"], without[2]["weight"])
    assert list(with_it[1]) == ["data"]
