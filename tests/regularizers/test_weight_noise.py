import math
from typing import Any

import pytest
import torch
from scipy import stats
from tests.regularizers.helpers import Loop, bound, context, linear_rows
from torch import Tensor, nn
from torch.func import functional_call

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.random import Rng, key_of
from temperance.core.regularizer import Context
from temperance.nets import RecurrentNet
from temperance.regularizers import L2, WeightNoise


@pytest.mark.parametrize(("form", "scale"), [("absolute", 0.2), ("relative", 0.6)])
def test_distribution(form: str, scale: float) -> None:
    """Weights of -3: a standard deviation of sigma, or of 3 sigma."""
    w = {"w": torch.full((200, 100), -3.0, dtype=torch.float64)}
    noisy = bound(WeightNoise(0.2, form=form)).weights(w, context())["w"]
    assert stats.kstest(noisy.flatten().numpy(), stats.norm(-3.0, scale).cdf).pvalue > 1e-3


def test_relative_noise_leaves_zeros() -> None:
    w = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    noisy = bound(WeightNoise(0.5, form="relative"), torch.float32).weights({"w": w}, context())["w"]
    assert torch.equal(noisy == 0, w == 0) and (noisy != w).sum() == 2


def test_tensors_have_noise_of_their_own_and_biases_none() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    loop = Loop(Cocktail(WeightNoise(0.1)), net, SquaredError())
    assert loop.program.selected["weight_noise"] == ("0.weight", "2.weight")
    zeros = {name: torch.zeros(4, 4) for name in ("a", "b")}
    noise = bound(WeightNoise(1.0), torch.float32).weights(zeros, context())
    assert len(torch.cat([*noise.values()]).unique()) == 32


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_expected_loss_of_linear_regression(form: str) -> None:
    """Mean squared error gains sigma² Σ_j mean x_j², or sigma² Σ_j w_j² mean x_j²: a constant, or a penalty."""
    batch, w, sigma = linear_rows(), torch.tensor([1.0, -2.0, 0.5, 1.5, 0.1, -0.3], dtype=torch.float64), 0.3
    noise = bound(WeightNoise(sigma, form=form))

    def loss(key: Tensor) -> Tensor:
        return (batch.x @ noise.weights({"w": w}, Context(rng=Rng(key, 3)))["w"] - batch.y[:, 0]).square().mean()

    losses = torch.vmap(loss)(key_of(0) + torch.arange(4000))
    unit = torch.ones_like(w) if form == "absolute" else w.square()
    expected = (batch.x @ w - batch.y[:, 0]).square().mean() + sigma**2 * (unit * batch.x.square().mean(0)).sum()
    assert abs(losses.mean() - expected) < 5 * losses.std() / math.sqrt(len(losses))


def test_the_gradient_is_taken_at_the_noisy_weights_and_penalties_see_the_quiet_ones() -> None:
    """Against autograd at weights that are disturbed beforehand by the same numbers."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    batch = full_batch(torch.randn(8, 3, dtype=torch.float64), torch.randn(8, 1, dtype=torch.float64), weight=torch.ones(8, dtype=torch.float64))
    loop = Loop(Cocktail(WeightNoise(0.3), L2(0.5)), net, SquaredError())
    _, report, grads, _ = loop.gradient(batch)
    noise = loop.program.bind(loop.values, torch.zeros(()))["weight_noise"]
    ctx = loop.program.context("weight_noise", "weights", loop.moment(0.1), {}, None)
    quiet = {name: loop.params[name] for name in ("0.weight", "2.weight")}
    loud = {name: w.detach().requires_grad_() for name, w in {**loop.params, **noise.weights(quiet, ctx)}.items()}
    (functional_call(net, loud, (batch.x,)) - batch.y).square().mean().backward()
    for name, w in loud.items():
        assert w.grad is not None
        torch.testing.assert_close(grads[name], w.grad + (0.5 * quiet[name] if name in quiet else 0.0))
    torch.testing.assert_close(report["l2"], 0.25 * sum(w.square().sum() for w in quiet.values()))


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_in_a_recurrent_network_all_times_of_a_pass_see_the_same_noise(cell: str) -> None:
    """The training pass is the plain network with one set of disturbed weights."""
    torch.manual_seed(0)
    net = RecurrentNet(2, 5, 1, cell=cell)
    loop = Loop(Cocktail(WeightNoise(0.2)), net, SquaredError())
    seen: list[dict[str, Tensor]] = []
    noise: Any = WeightNoise.weights

    def watched(self: WeightNoise, params: Any, ctx: Context) -> Any:
        out = noise(self, params, ctx)
        seen.append({name: w.detach() for name, w in out.items()})
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightNoise, "weights", watched)
        x, y = torch.randn(4, 6, 2), torch.zeros(4, 1)
        total = loop.gradient(full_batch(x, y))[0]
    assert len(seen) == 1 and "cells.0.recurrent.weight" in seen[0]
    torch.testing.assert_close(total, functional_call(net, {**loop.params, **seen[0]}, (x,)).square().mean())
