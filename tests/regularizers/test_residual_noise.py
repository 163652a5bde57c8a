"""Stochastic depth, ShakeDrop and Shake-Shake: random factors on the branches of residual blocks."""

import math

import pytest
import torch
from scipy import stats
from tests.regularizers.helpers import Loop, bound, context
from torch import Tensor, nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.core.program import Program
from temperance.core.random import Rng
from temperance.nets import MLP, Residual, ResidualNet
from temperance.regularizers import ShakeDrop, ShakeShake, StochasticDepth


def factors(regularizer: StochasticDepth | ShakeDrop | ShakeShake, shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """What a branch of ones becomes, and the gradient that flows back into it."""
    h = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    out = bound(regularizer).hidden(h, context(seed))
    (back,) = torch.autograd.grad(out.sum(), h)
    return out.detach(), back


# Stochastic depth


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_whole_branches_are_dropped_a_row(rate: float) -> None:
    out, back = factors(StochasticDepth(rate), (5000, 3, 2))
    kept = 1 - round(rate * 65536) / 65536
    assert torch.equal(out, out[:, :1, :1].expand_as(out)) and torch.equal(out, back)
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, 1 / kept], dtype=torch.float64))
    assert abs((out[:, 0, 0] == 0).double().mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / 5000)


def test_one_draw_for_a_minibatch() -> None:
    seen = {factors(StochasticDepth(0.5, mask="batch"), (4, 3), seed)[0].unique().item() for seed in range(20)}
    assert seen == {0.0, 2.0}


def test_where_a_branch_is_dropped_the_block_is_its_shortcut_and_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), Residual(nn.Linear(4, 4)), Residual(nn.Linear(4, 4)), nn.Linear(4, 1)).double()
    masks = {"1.branch": 0.0, "2.branch": 2.0}
    monkeypatch.setattr(Rng, "keep_mask", lambda self, rate, shape, dtype: next(draws))
    draws = iter(torch.full((1, 1), m, dtype=torch.float64) for m in masks.values())
    loop = Loop(Cocktail(StochasticDepth(0.5)), net, SquaredError())
    assert loop.program.modules["stochastic_depth"] == tuple(masks)
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, 1, dtype=torch.float64)
    total, _, grads, _ = loop.gradient(full_batch(x, y, weight=torch.ones(5, dtype=torch.float64)))
    with torch.no_grad():
        h = net[0](x)
        expected = net[3](h + 2 * net[2].branch(h)).square().mean()
    torch.testing.assert_close(total, expected)
    assert not grads["1.branch.branch.weight"].any() and grads["2.branch.branch.weight"].all()


def test_a_linear_network_at_evaluation_is_the_mean_of_all_depths() -> None:
    """Two linear blocks, all four subsets of branches by enumeration, weighted by their probabilities."""
    torch.manual_seed(0)
    net = nn.Sequential(Residual(nn.Linear(3, 3)), Residual(nn.Linear(3, 3))).double()
    x, rate, mean = torch.randn(4, 3, dtype=torch.float64), 0.3, torch.zeros(4, 3, dtype=torch.float64)
    for first in (0, 1):
        for second in (0, 1):
            h = x + first / (1 - rate) * net[0].branch(x)
            mean += (1 - rate) ** (first + second) * rate ** (2 - first - second) * (h + second / (1 - rate) * net[1].branch(h))
    torch.testing.assert_close(net(x), mean, rtol=1e-12, atol=1e-12)


def test_a_network_without_branches_says_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"`where` of StochasticDepth is OutputsOf\(type_name='Branch'.* matches nothing in MLP. Its module types are"):
        Program(Cocktail(StochasticDepth()), MLP(3, 1, hidden=(4,)), SquaredError())
    program = Program(Cocktail(StochasticDepth(where="hidden.*.activation")), MLP(3, 1, hidden=(4, 4), skip=True), SquaredError())
    assert len(program.modules["stochastic_depth"]) == 2


# ShakeDrop


def test_factors_of_shake_drop() -> None:
    """With probability 1 - rate 1 / (1 - rate) in both directions, else uniform in ±1 and in (0, 1) of it."""
    rate, n = 0.4, 20000
    out, back = (t[:, 0] * (1 - rate) for t in factors(ShakeDrop(rate), (n, 2)))
    whole = (out - (1 - rate) / (1 - round(rate * 65536) / 65536)).abs() < 1e-12
    assert torch.equal(whole, out == back) and abs(whole.double().mean() - (1 - rate)) < 5 * math.sqrt(0.24 / n)
    assert stats.kstest(out[~whole].numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert stats.kstest(back[~whole].numpy(), stats.uniform(0, 1).cdf).pvalue > 1e-3
    assert abs(torch.corrcoef(torch.stack([out[~whole], back[~whole]]))[0, 1]) < 5 / math.sqrt(n * rate)


def test_the_mean_of_shake_drop_is_the_branch() -> None:
    out, _ = factors(ShakeDrop(0.5), (40000, 1))
    assert abs(out.mean() - 1) < 5 * out.std() / math.sqrt(40000)


# Shake-Shake


@pytest.mark.parametrize("k", [2, 3])
def test_weights_of_shake_shake_are_uniform_on_the_simplex(k: int) -> None:
    """Of the average over branches the weights are the factors over k; each is Beta(1, k - 1), in both directions, independently."""
    n = 10000
    out, back = (t[..., 0] / k for t in factors(ShakeShake(), (n, k, 2)))
    for weights in (out, back):
        torch.testing.assert_close(weights.sum(1), torch.ones(n, dtype=torch.float64))
        assert (weights >= 0).all()
        for j in range(k):
            assert stats.kstest(weights[:, j].numpy(), stats.beta(1, k - 1).cdf).pvalue > 1e-3
    assert abs(torch.corrcoef(torch.stack([out[:, 0], back[:, 0]]))[0, 1]) < 5 / math.sqrt(n)


def test_amount_moves_from_equal_weights() -> None:
    whole, half = (factors(ShakeShake(amount), (50, 2))[0] for amount in (1.0, 0.5))
    torch.testing.assert_close(half - 1, 0.5 * (whole - 1))


def test_a_block_is_the_convex_combination_of_its_branches() -> None:
    """Against the formula x + v F_1(x) + (1 - v) F_2(x), and at evaluation the average."""
    torch.manual_seed(0)
    net = nn.Sequential(Residual(nn.Linear(3, 3), nn.Linear(3, 3)), nn.Linear(3, 2)).double()
    loop = Loop(Cocktail(ShakeShake()), net, SquaredError())
    x = torch.randn(6, 3, dtype=torch.float64)
    mixed: list[Tensor] = []
    net[0].branch.register_forward_hook(lambda module, args, out: mixed.append(out.detach()))
    loop.gradient(full_batch(x, torch.zeros(6, 2, dtype=torch.float64), weight=torch.ones(6, dtype=torch.float64)))
    first, second = (branch(x).detach() for branch in net[0].branch.branches)
    v = mixed[0][:, 0] / (2 * first)
    torch.testing.assert_close(v, v[:, :1].expand_as(v))
    torch.testing.assert_close(mixed[0].mean(1), v * first + (1 - v) * second)
    assert (v > 0).all() and (v < 1).all() and len(v[:, 0].unique()) == 6
    torch.testing.assert_close(loop.program.forward(loop.params, {}, x, "eval")[0], net[1](x + 0.5 * first + 0.5 * second))


@pytest.mark.parametrize("regularizer", [StochasticDepth(0.3), ShakeDrop(0.3)])
def test_they_act_on_every_block_of_a_residual_network(regularizer: StochasticDepth | ShakeDrop) -> None:
    program = Program(Cocktail(regularizer), ResidualNet(4, 1, width=8, depth=3), SquaredError())
    assert [*program.modules.values()] == [("blocks.0.branch", "blocks.1.branch", "blocks.2.branch")]


def test_shake_shake_acts_on_every_block_of_two_branches() -> None:
    program = Program(Cocktail(ShakeShake()), ResidualNet(4, 1, width=8, depth=2, branches=2), SquaredError())
    assert program.modules["shake_shake"] == ("blocks.0.branch", "blocks.1.branch")
