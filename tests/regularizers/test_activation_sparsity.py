import numpy as np
import pytest
import torch
from tests.regularizers.helpers import Loop, bound, context
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.core.program import Program
from temperance.regularizers import ActivationSparsity


def test_l1_is_the_mean_over_rows_of_the_sum_over_units() -> None:
    h = torch.randn(5, 3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    taps = {"a#0": h, "a#1": 2 * h}
    value = bound(ActivationSparsity(0.3)).penalty({}, taps, context())
    assert value.item() == pytest.approx(0.3 * 3 * np.abs(h.numpy()).reshape(5, -1).sum(1).mean(), rel=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3, 2)])
def test_kl_is_the_divergence_of_bernoulli_means(shape: tuple[int, ...]) -> None:
    h = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = bound(ActivationSparsity(1.0, form="kl", target=0.1)).penalty({}, {"a#0": h}, context())
    a = h.numpy().mean(axis=(0, *range(2, h.dim())))
    assert value.item() == pytest.approx((0.1 * np.log(0.1 / a) + 0.9 * np.log(0.9 / (1 - a))).sum(), rel=1e-12)


def test_kl_stays_finite_for_dead_and_saturated_units() -> None:
    h = torch.tensor([[0.0, 1.0, 7.0]], requires_grad=True)
    value = bound(ActivationSparsity(1.0, form="kl"), torch.float32).penalty({}, {"a#0": h}, context())
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(h.grad).all()


def test_it_reads_the_hidden_units_and_thins_them_out() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    batch = full_batch(torch.randn(30, 4), torch.randn(30, 1))
    assert Program(Cocktail(ActivationSparsity()), net, SquaredError()).modules["activation_sparsity"] == ("1",)
    _, report, _, _ = Loop(Cocktail(ActivationSparsity(0.5)), net, SquaredError()).gradient(batch)
    torch.testing.assert_close(report["activation_sparsity"], 0.5 * net[1](net[0](batch.x)).sum(1).mean().detach())
    means = []
    for lam in (0.0, 0.3):
        p = Loop(Cocktail(ActivationSparsity(lam)), net, SquaredError()).descend(batch, 0.05, 100)
        means.append(torch.relu(batch.x @ p["0.weight"].T + p["0.bias"]).mean().item())
    assert means[1] < 0.5 * means[0]


@pytest.mark.parametrize("bad", [0.0, 1.0, "x", True])
def test_bad_target(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `target` of ActivationSparsity in \(0, 1\)"):
        ActivationSparsity(target=bad)
