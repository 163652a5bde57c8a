import math

import pytest
import torch
from scipy import stats
from tests.regularizers.helpers import Loop, bound, context
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.random import Rng, key_of
from temperance.core.regularizer import Context
from temperance.regularizers import GaussianDropout, HiddenNoise


@pytest.mark.parametrize(("form", "scale"), [("additive", 0.3), ("multiplicative", 0.6)])
def test_distribution(form: str, scale: float) -> None:
    """Units at 2: their noise has a standard deviation of sigma, or of sigma times 2."""
    h = bound(HiddenNoise(0.3, form=form)).hidden(torch.full((200, 100), 2.0, dtype=torch.float64), context())
    assert stats.kstest(h.flatten().numpy(), stats.norm(2.0, scale).cdf).pvalue > 1e-3


def test_units_at_zero_are_left_alone_by_the_multiplicative_form() -> None:
    h = torch.tensor([[0.0, 1.0, 0.0]]).expand(50, 3)
    noisy = bound(HiddenNoise(0.5, form="multiplicative"), torch.float32).hidden(h, context())
    assert torch.equal(noisy[:, [0, 2]], h[:, [0, 2]]) and (noisy[:, 1] != 1).all()


def test_rows_and_units_have_noise_of_their_own_and_evaluation_none() -> None:
    noise = bound(HiddenNoise(1.0)).hidden(torch.zeros(40, 30, dtype=torch.float64), context())
    assert len(noise.unique()) == noise.numel()
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1))
    loop = Loop(Cocktail(HiddenNoise(0.5)), net, SquaredError())
    x = torch.ones(2, 3)
    assert torch.equal(loop.program.forward(loop.params, {}, x, "eval")[0], net(x))


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
def test_expected_loss_of_a_linear_readout(form: str) -> None:
    """E mean (h̃ᵀw - y)² = mean (hᵀw - y)² + sigma² |w|², or + sigma² Σ_j w_j² mean h_j² where the noise multiplies."""
    g = torch.Generator().manual_seed(0)
    h, y, w = (torch.randn(shape, generator=g, dtype=torch.float64) for shape in ((20, 5), (20,), (5,)))
    sigma = 0.4
    noisy = bound(HiddenNoise(sigma, form=form))
    losses = torch.vmap(lambda key: (noisy.hidden(h, Context(rng=Rng(key, 3))) @ w - y).square().mean())(key_of(0) + torch.arange(4000))
    extra = w.square().sum() if form == "additive" else (w.square() * h.square().mean(0)).sum()
    assert abs(losses.mean() - (h @ w - y).square().mean() - sigma**2 * extra) < 5 * losses.std() / math.sqrt(len(losses))


# Gaussian dropout


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_gaussian_dropout_has_the_mean_and_variance_of_dropout(rate: float) -> None:
    factors = bound(GaussianDropout(rate)).hidden(torch.ones(300, 200, dtype=torch.float64), context())
    assert stats.kstest(factors.flatten().numpy(), stats.norm(1.0, math.sqrt(rate / (1 - rate))).cdf).pvalue > 1e-3


def test_gaussian_dropout_is_multiplicative_noise() -> None:
    h = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one = bound(GaussianDropout(0.2)).hidden(h, context())
    two = bound(HiddenNoise(0.5, form="multiplicative")).hidden(h, context())
    torch.testing.assert_close(one, two, rtol=1e-14, atol=0)


def test_gaussian_dropout_acts_on_hidden_units_of_a_network() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Sigmoid())
    loop = Loop(Cocktail(GaussianDropout(0.3)), net, SquaredError())
    assert loop.program.modules["gaussian_dropout"] == ("1",)
    batch = full_batch(torch.ones(5, 3), torch.zeros(5, 2))
    plain = Loop(Cocktail(), net, SquaredError()).gradient(batch)[0]
    assert loop.gradient(batch)[0] != plain
