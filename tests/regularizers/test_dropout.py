import itertools
import math
from typing import Any

import pytest
import torch
from tests.regularizers.helpers import Loop, bound, context, linear_rows
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.core.program import Program
from temperance.core.random import Rng
from temperance.regularizers import Dropout


def test_values_and_share() -> None:
    h = bound(Dropout(0.3), torch.float32).hidden(torch.ones(400, 500), context())
    kept = 1 - round(0.3 * 65536) / 65536
    torch.testing.assert_close(h.unique(), torch.tensor([0.0, 1 / kept]))
    share = (h == 0).float().mean().item()
    assert abs(share - (1 - kept)) < 5 * math.sqrt(0.21 / h.numel())


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_it_is_unbiased(rate: float) -> None:
    h = bound(Dropout(rate), torch.float64).hidden(torch.ones(1000, 200, dtype=torch.float64), context(1))
    assert abs(h.mean().item() - 1) < 5 * math.sqrt(rate / (1 - rate) / h.numel())


def test_one_mask_for_what_the_option_says() -> None:
    ones = torch.ones(6, 8, 5, 5)
    whole = bound(Dropout(0.5, mask="batch"), torch.float32).hidden(ones, context())
    assert all(torch.equal(whole[0], row) for row in whole) and len(whole[0].unique()) == 2
    channel = bound(Dropout(0.5, mask="channel"), torch.float32).hidden(ones, context())
    assert torch.equal(channel, channel[:, :, :1, :1].expand_as(channel)) and not torch.equal(channel[0], channel[1])
    row = bound(Dropout(0.5), torch.float32).hidden(ones, context())
    assert not torch.equal(row, row[:, :, :1, :1].expand_as(row)) and not torch.equal(row[0], row[1])


@pytest.mark.parametrize(("rate", "units"), [(0.5, 100), (0.3, 7), (0.25, 10), (0.9, 3), (0.02, 8)])
def test_exactly_so_many_units_are_off(rate: float, units: int) -> None:
    """round(rate · units) of them, in every row the same, never all; the mean of the mask is one."""
    off = min(round(rate * units), units - 1)
    places = torch.zeros(units)
    for seed in range(60):
        h = bound(Dropout(rate, mask="exact"), torch.float32).hidden(torch.ones(4, units), context(seed))
        assert all(torch.equal(h[0], row) for row in h) and int((h[0] == 0).sum()) == off
        torch.testing.assert_close(h[0].mean(), torch.tensor(1.0))
        places += h[0] == 0
    assert (places > 0).all() or off * 60 < 5 * units  # any unit may be off
    assert torch.equal(bound(Dropout(0.0, mask="exact"), torch.float32).hidden(torch.ones(4, units), context()), torch.ones(4, units))


def test_exact_shares_hold_for_feature_maps_and_inputs() -> None:
    maps = bound(Dropout(0.5, mask="exact"), torch.float32).hidden(torch.ones(3, 2, 4, 5), context())
    assert [int((row == 0).sum()) for row in maps] == [20, 20, 20] and torch.equal(maps[0], maps[1])
    x = bound(Dropout(0.0, input_rate=0.2, mask="exact"), torch.float32).batch(full_batch(torch.ones(5, 10), torch.zeros(5, 1)), context()).x
    assert [int((row == 0).sum()) for row in x] == [2] * 5 and x.max() == 1.25


class TwoCalls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.out = nn.Linear(50, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.act(x), self.act(x)
        self.seen = (a, b)
        return self.out(a + b)


@pytest.mark.parametrize("share", [False, True])
def test_calls_share_a_mask_if_told_to(share: bool) -> None:
    net = TwoCalls()
    Loop(Cocktail(Dropout(0.5, share_calls=share)), net, SquaredError()).gradient(full_batch(torch.ones(3, 50), torch.zeros(3, 1)))
    assert torch.equal(*net.seen) is share


def test_inputs_have_their_own_rate_and_codes_are_left_alone() -> None:
    x = {"a": torch.ones(300, 20), "codes": torch.ones(300, 3, dtype=torch.long)}
    changed = bound(Dropout(0.9, input_rate=0.2), torch.float32).batch(full_batch(x, torch.zeros(300, 1)), context()).x
    assert abs((changed["a"] == 0).float().mean().item() - 0.2) < 0.03
    assert torch.equal(changed["codes"], x["codes"])


def test_inputs_only() -> None:
    net = nn.Linear(4, 1)
    with pytest.raises(ConfigError, match=r"Dropout .* matches nothing .*outputs_of"):
        Program(Cocktail(Dropout(0.5)), net, SquaredError())
    Program(Cocktail(Dropout(0.0, input_rate=0.2, where=None)), net, SquaredError())


def test_output_units_are_never_dropped() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Sigmoid())
    assert Program(Cocktail(Dropout()), net, SquaredError()).modules["dropout"] == ("1",)


def test_expected_loss_of_linear_regression() -> None:
    """E mean (x̃ᵀw - y)² = mean (xᵀw - y)² + rate/(1-rate) Σ_j w_j² mean x_j²: mean of 4000 masks against the formula."""
    batch, w, rate = linear_rows(), torch.tensor([1.0, -2.0, 0.5, 1.5, 0.1, -0.3], dtype=torch.float64), 0.25
    key = context().rng.key
    keys = key + torch.arange(4000)

    def loss(k: torch.Tensor) -> torch.Tensor:
        x = bound(Dropout(0.0, input_rate=rate)).batch(batch, context_of(k)).x
        return (x @ w - batch.y[:, 0]).square().mean()

    losses = torch.vmap(loss)(keys)
    expected = (batch.x @ w - batch.y[:, 0]).square().mean() + rate / (1 - rate) * (w.square() * batch.x.square().mean(0)).sum()
    assert abs(losses.mean() - expected) < 5 * losses.std() / math.sqrt(len(losses))


def context_of(key: torch.Tensor) -> Any:
    from temperance.core.regularizer import Context

    return Context(rng=Rng(key, 7))


def test_worked_example_with_given_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Input 2 and hidden unit 2 dropped, raw masks: output [60, 132]; what feeds or leaves them has no gradient, nor has the weight of an input of 0."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Identity(), nn.Linear(3, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.arange(1.0, 10.0).reshape(3, 3))
        net[2].weight.copy_(torch.arange(1.0, 7.0).reshape(2, 3))
        net[0].bias.zero_()
        net[2].bias.zero_()
    monkeypatch.setattr(Rng, "keep_mask", lambda self, rate, shape, dtype: torch.tensor([[1.0, 0.0, 1.0]]))
    out: list[torch.Tensor] = []
    net.register_forward_hook(lambda module, args, output: out.append(output.detach()))
    loop = Loop(Cocktail(Dropout(0.5, input_rate=0.5, where="1")), net, SquaredError())
    _, _, grads, _ = loop.gradient(full_batch(torch.tensor([[0.0, 1.0, 2.0]]), torch.zeros(1, 2)))
    assert torch.equal(out[0], torch.tensor([[60.0, 132.0]]))
    zero = torch.zeros(3)
    assert torch.equal(grads["0.weight"][1], zero) and torch.equal(grads["0.weight"][:, 1], zero) and torch.equal(grads["0.weight"][:, 0], zero)
    assert torch.equal(grads["2.weight"][:, 1], torch.zeros(2)) and grads["0.bias"][1] == 0
    assert (grads["0.weight"][[0, 2], 2] != 0).all() and (grads["2.weight"][:, [0, 2]] != 0).all()


def test_evaluation_passes_see_no_mask() -> None:
    net = nn.Sequential(nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 1))
    loop = Loop(Cocktail(Dropout(0.5)), net, SquaredError())
    x = torch.ones(2, 3)
    out, _, _ = loop.program.forward(loop.params, loop.buffers, x, "eval")
    torch.testing.assert_close(out, net(x))


def test_for_a_softmax_layer_evaluation_is_the_renormalized_geometric_mean_of_all_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the input of the last affine layer is dropped: all 2⁴ thinned networks, weighted by their probability, against one evaluation pass."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    loop = Loop(Cocktail(Dropout(0.25)), net, SquaredError())
    x, keep, log_mean = torch.randn(5, 3, dtype=torch.float64), 0.75, torch.zeros(5, 3, dtype=torch.float64)
    values = loop.program.bind(loop.values, torch.zeros(()))
    for bits in itertools.product((0.0, 1.0), repeat=4):
        mask = torch.tensor(bits, dtype=torch.float64)
        monkeypatch.setattr(Rng, "keep_mask", lambda self, rate, shape, dtype, mask=mask: mask / keep)
        out, _, _ = loop.program.forward(loop.params, {}, x, "train", values, lambda *path: context())
        log_mean += keep ** sum(bits) * (1 - keep) ** (4 - sum(bits)) * torch.log_softmax(out, -1)
    single, _, _ = loop.program.forward(loop.params, {}, x, "eval")
    torch.testing.assert_close(torch.softmax(log_mean, -1), torch.softmax(single, -1), rtol=1e-12, atol=1e-12)


def test_alpha_dropout_keeps_mean_and_variance_and_is_torchs() -> None:
    h = torch.randn(400, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = bound(Dropout(0.3, dropped="alpha")).hidden(h, context())
    values, counts = out.round(decimals=9).unique(return_counts=True)
    low, share = values[counts.argmax()], counts.amax() / h.numel()
    assert abs(share - 0.3) < 5 * (0.21 / h.numel()) ** 0.5
    assert abs(out.mean()) < 0.02 and abs(out.var() - 1) < 0.03
    torch.manual_seed(0)
    theirs = torch.nn.functional.alpha_dropout(torch.zeros(1000, dtype=torch.float64), 0.3, training=True)  # two values: of a kept zero, and of a dropped one
    kept = bound(Dropout(0.3, dropped="alpha")).hidden(torch.zeros(10, 100, dtype=torch.float64), context())
    torch.testing.assert_close(kept.unique(), theirs.unique())
    torch.testing.assert_close(low, theirs.min(), rtol=0, atol=1e-8)


def test_alpha_dropout_of_exactly_some_units_keeps_their_mean_and_square() -> None:
    """Of three units two are off at a rate of a half: rounded, and the numbers of alpha dropout follow what is off."""
    h = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]], dtype=torch.float64)  # of mean 0 and variance 1 among the rows
    out = bound(Dropout(0.5, mask="exact", dropped="alpha")).hidden(h, context())
    assert abs(out.mean()) < 1e-12 and abs(out.square().mean() - 1) < 1e-12
