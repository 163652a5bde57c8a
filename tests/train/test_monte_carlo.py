"""Monte-Carlo dropout: closed forms of a linear network, entropies against NumPy, and nothing touched."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import temperance as tp
from temperance.nets import RecurrentNet
from temperance.train.monte_carlo import Draws, monte_carlo

RATE, PASSES = 0.25, 4000


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_mean_and_variance_of_a_linear_network() -> None:
    """Dropping h = x A: mean hᵀw + b, variance rate / (1 - rate) Σ_j (h_j w_j)²; within five standard errors."""
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 1)).double()
    with torch.no_grad():
        net[1].weight.copy_(draw(1, 6, seed=1))
    x = draw(5, 4)
    h, w, b = net[0](x).detach(), net[1].weight.detach()[0], net[1].bias.detach()
    found = monte_carlo(net, tp.Cocktail(tp.Dropout(RATE, where="0")), x, PASSES)
    terms = h * w
    variance = RATE / (1 - RATE) * terms.square().sum(1)
    assert ((found.mean[:, 0] - (terms.sum(1) + b)).abs() < 5 * (variance / PASSES).sqrt()).all()
    # the variance of a squared deviation from its own fourth moment: kurtosis of one mask m / (1 - rate) is (1 - 3 p q) / (p q)
    fourth = (terms**4).sum(1) * ((1 - 3 * RATE * (1 - RATE)) / (RATE * (1 - RATE)) - 3) * (RATE / (1 - RATE)) ** 2 + 3 * variance**2
    error = ((fourth - variance**2) / PASSES).sqrt()
    assert ((found.std[:, 0].square() - variance).abs() < 5 * error).all()
    assert found.entropy is None and found.mutual_information is None and found.passes == PASSES


def test_input_dropout_and_weight_noise_count() -> None:
    """Linear regression: input dropout has variance rate / (1 - rate) Σ (x_j w_j)², weight noise sigma² Σ x_j²."""
    net = nn.Linear(3, 1).double()
    x, w = draw(4, 3), net.weight.detach()[0]
    cases = [
        (tp.Dropout(0.0, input_rate=RATE, where="*"), net, RATE / (1 - RATE) * (x * w).square().sum(1)),
        (tp.WeightNoise(0.2), net, 0.04 * x.square().sum(1)),
    ]
    for regularizer, model, variance in cases:
        wrapped = nn.Sequential(model)
        found = monte_carlo(wrapped, tp.Cocktail(regularizer), x, PASSES)
        torch.testing.assert_close(found.std[:, 0], variance.sqrt(), rtol=0.1, atol=0)


def test_entropies_are_those_of_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against NumPy and scipy on the probabilities of every single pass."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    x, cocktail = draw(6, 3), tp.Cocktail(tp.Dropout(0.5))
    logits = _every_pass(net, cocktail, x, 7, monkeypatch)
    p = torch.softmax(logits, -1).numpy()
    found = monte_carlo(net, cocktail, x, 7, task="classification")
    np.testing.assert_allclose(found.mean.numpy(), p.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std.numpy(), p.std(0), rtol=1e-9, atol=1e-12)
    total = stats.entropy(p.mean(0), axis=-1)
    assert found.entropy is not None and found.mutual_information is not None
    np.testing.assert_allclose(found.entropy.numpy(), total, rtol=1e-12)
    np.testing.assert_allclose(found.mutual_information.numpy(), total - stats.entropy(p, axis=-1).mean(0), rtol=1e-9, atol=1e-12)
    several = monte_carlo(net, cocktail, x, 7, task="multilabel")
    q = torch.sigmoid(logits).numpy()
    both = stats.entropy(np.stack([q.mean(0), 1 - q.mean(0)]), axis=0).sum(-1)
    assert several.entropy is not None
    np.testing.assert_allclose(several.entropy.numpy(), both, rtol=1e-9)


def _every_pass(net: nn.Module, cocktail: tp.Cocktail, x: Tensor, passes: int, patch: pytest.MonkeyPatch) -> Tensor:
    """The outputs of each pass, as the last layer gives them, one pass at a time."""
    seen: list[Tensor] = []
    call: Any = Draws.__call__

    def watched(self: Any, key: Tensor, rows: Any) -> Tensor:
        out = call(self, key, rows)
        seen.append(out)
        return out

    with patch.context() as inner:
        inner.setattr(Draws, "__call__", watched)
        monte_carlo(net, cocktail, x, passes, memory=1)
    return torch.stack(seen)


def test_a_network_that_is_sure_of_its_mask_has_no_mutual_information() -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    found = monte_carlo(net, tp.Cocktail(tp.Dropout(0.0)), torch.ones(2, 3), 5, task="classification")
    torch.testing.assert_close(found.mean, torch.softmax(net(torch.ones(2, 3)).detach(), -1))
    assert found.mutual_information is not None and (found.std == 0).all() and (found.mutual_information < 1e-6).all()


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {
            "own dropout": (nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)), torch.randn(9, 3)),
            "convolution": (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)), torch.randn(9, 1, 6, 6)),
            "recurrent": (nn.Sequential(RecurrentNet(3, 4, 5), nn.Tanh(), nn.Linear(5, 2)), torch.randn(9, 4, 3)),
        }


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.usefixtures("generators_untouched")
def test_nothing_is_touched(name: str, training: bool, generators_untouched: Callable[[], None]) -> None:
    net, x = networks()[name]
    net.train(training)
    next(net.children()).train(not training)
    before = {key: value.clone() for key, value in net.state_dict().items()}, [m.training for m in net.modules()], x.clone()
    hooks = [len(m._forward_hooks) for m in net.modules()]
    found = monte_carlo(net, tp.Cocktail(tp.Dropout(0.2)), x, 6)
    generators_untouched()
    assert all(torch.equal(value, before[0][key]) for key, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == before[1] and torch.equal(x, before[2])
    assert [len(m._forward_hooks) for m in net.modules()] == hooks and not found.mean.requires_grad
    assert (found.std > 0).any()


@pytest.mark.parametrize("name", networks())
def test_seeds_chunks_and_passes(name: str) -> None:
    """The same seed gives the same numbers, whatever passes run together; another seed others; one network of nn.Dropout modules needs no cocktail."""
    net, x = networks()[name]
    cocktail = tp.Cocktail() if name == "own dropout" else tp.Cocktail(tp.Dropout(0.4))
    first, again, one_by_one, other = (monte_carlo(net, cocktail, x, 12, seed, memory=memory) for seed, memory in ((0, "1G"), (0, "1G"), (0, 1), (1, "1G")))
    assert torch.equal(first.mean, again.mean) and torch.equal(first.std, again.std)
    torch.testing.assert_close(first.mean, one_by_one.mean)
    torch.testing.assert_close(first.std, one_by_one.std, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(first.mean, other.mean)


def test_blocks_of_rows() -> None:
    """Rows may come in blocks; a mask of the whole minibatch is then the same in each."""
    net, x = networks()["own dropout"]
    cocktail = tp.Cocktail(tp.Dropout(0.4, mask="batch", where="2"))
    plain = nn.Sequential(*[m for m in net if not isinstance(m, nn.Dropout)])
    whole, cut = (monte_carlo(plain, cocktail, x, 20, batch_size=size) for size in (256, 4))
    torch.testing.assert_close(whole.mean, cut.mean)
    torch.testing.assert_close(whole.std, cut.std, rtol=1e-4, atol=1e-6)


def test_a_hard_row_is_less_certain() -> None:
    """Between two classes the entropy is near ln 2, far off it is not; a mean of probabilities is one."""
    g = torch.Generator().manual_seed(0)
    X = torch.cat([torch.randn(100, 2, generator=g) - 2, torch.randn(100, 2, generator=g) + 2])
    cocktail = tp.Cocktail(tp.Dropout(0.3))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = tp.nets.MLP(2, 2, hidden=(16,))
    done = tp.fit(net, cocktail, (X.numpy(), np.repeat([0, 1], 100)), epochs=20, validation=None, optimizer=tp.optim.AdamW(1e-2))
    found = monte_carlo(done.model, cocktail, torch.tensor([[0.0, 0.0], [3.0, 3.0]]), 200, task="classification")
    torch.testing.assert_close(found.mean.sum(1), torch.ones(2))
    assert found.entropy is not None and found.mutual_information is not None
    assert found.entropy[0] > 2 * found.entropy[1] and found.entropy[0] < math.log(2) + 1e-6
    assert (found.mutual_information <= found.entropy).all() and found.mutual_information[0] > found.mutual_information[1]


def test_messages() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    x = torch.zeros(1, 2)
    with pytest.raises(tp.ConfigError, match=r"^Expected `passes` of monte_carlo to be a whole number in \[1, inf\), got 0"):
        monte_carlo(net, tp.Cocktail(tp.Dropout()), x, 0)
    with pytest.raises(tp.ConfigError, match=r"^Expected `cocktail` of monte_carlo to hold a regularizer that acts on hidden units or weights, got "):
        monte_carlo(net, tp.Cocktail(tp.MixUp()), x)
    with pytest.raises(tp.ConfigError, match=r"^Expected `model` of monte_carlo to return one tensor, got 'dict'. Wrap it"):
        monte_carlo(tp.nets.TwoHeads(2, {"a": 1, "b": 1}, hidden=(3,)), tp.Cocktail(tp.Dropout()), x)
