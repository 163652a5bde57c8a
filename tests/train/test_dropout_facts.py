"""What is known about dropout: scaling, ensembles, symmetry, co-adaptation, each by enumeration or against a plain loop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from tests.regularizers.helpers import Loop, context
from torch import Tensor, nn
from torch.func import functional_call

from temperance.core.batch import Batch, full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.random import Rng
from temperance.regularizers import L2, Dropout, MaxNorm


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch_of(x: Tensor, y: Tensor) -> Batch:
    return full_batch(x, y, weight=torch.ones(len(x), dtype=torch.float64))


def network(*widths: int, activation: type[nn.Module] = nn.Tanh, seed: int = 0) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), activation()]
    net = nn.Sequential(*layers[:-1]).double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(draw(*p.shape, seed=seed + i) / 2)
    return net


# (a) Scaling in training is unscaled training with smaller weights at the end


def test_inverted_scaling_is_unscaled_training_and_multiplying_weights_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any network, here with two dropped layers, L2 and MaxNorm: the weights that read dropped units are 1/p as large, their biases are not.

    Plain descent in w' = w / p with the same 0/1 masks takes the same path where its rate is 1/p² that of w, L2's lam p² times, MaxNorm's c 1/p times as large.
    """
    keep, lr, lam, c, steps = 0.75, 0.1, 0.05, 0.6, 30
    x, y = draw(12, 3), draw(12, 2, seed=9)
    net = network(3, 6, 5, 2)
    masks: list[Tensor] = []
    generator = torch.Generator().manual_seed(4)

    def drawn(self: Rng, rate: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if rate == 0:  # of the inputs
            return torch.ones((), dtype=dtype)
        masks.append((torch.rand(shape, generator=generator) < keep).to(dtype))
        return masks[-1] / keep

    monkeypatch.setattr(Rng, "keep_mask", drawn)
    scaled = Loop(Cocktail(Dropout(1 - keep), L2(lam), MaxNorm(c)), net, SquaredError()).descend(batch_of(x, y), lr, steps)
    readers = {"2.weight", "4.weight"}
    p = {name: (w.detach() / keep if name in readers else w.detach()).requires_grad_() for name, w in net.named_parameters()}
    for step in range(steps):
        first, second = masks[2 * step], masks[2 * step + 1]
        h = first * torch.tanh(x @ p["0.weight"].T + p["0.bias"])
        h = second * torch.tanh(h @ p["2.weight"].T + p["2.bias"])
        loss = (h @ p["4.weight"].T + p["4.bias"] - y).square().mean()
        for name in ("0.weight", "2.weight", "4.weight"):
            loss = loss + 0.5 * lam * (keep**2 if name in readers else 1.0) * p[name].square().sum()
        grads = dict(zip(p, torch.autograd.grad(loss, [*p.values()]), strict=True))
        with torch.no_grad():
            for name, w in p.items():
                w -= lr / (keep**2 if name in readers else 1.0) * grads[name]
                if w.dim() > 1:
                    length = w.norm(dim=1, keepdim=True)
                    w *= (c / (keep if name in readers else 1.0) / length).clamp_max(1.0)
    final = {name: w.detach() * (keep if name in readers else 1.0) for name, w in p.items()}
    for name, w in scaled.items():
        torch.testing.assert_close(final[name], w, rtol=1e-10, atol=1e-12)
    assert (scaled["2.weight"].norm(dim=1) > c - 1e-9).any()  # the constraint was at work


# (b) Evaluation and the ensemble of all masks


def ensemble(net: nn.Module, where: str, sizes: tuple[int, ...], keep: float, x: Tensor) -> Iterator[tuple[float, Tensor]]:
    """Probability and output of every thinned network, masks of all rows alike."""
    loop = Loop(Cocktail(Dropout(1 - keep, where=where)), net, SquaredError())
    bound = loop.program.bind(loop.values, torch.zeros(()))
    for bits in itertools.product((0.0, 1.0), repeat=sum(sizes)):
        parts = iter([part / keep for part in torch.tensor(bits, dtype=torch.float64).split(sizes)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Rng, "keep_mask", lambda self, rate, shape, dtype, parts=parts: next(parts))
            out = loop.program.forward(loop.params, {}, x, "train", bound, lambda *path: context())[0]
        yield keep ** sum(bits) * (1 - keep) ** (len(bits) - sum(bits)), out


def test_a_linear_network_is_the_arithmetic_mean_of_all_thinned_ones() -> None:
    net, x = network(3, 4, 3, 2, activation=nn.Identity), draw(5, 3)
    mean = torch.stack([share * out for share, out in ensemble(net, "1|3", (4, 3), 0.6, x)]).sum(0)
    torch.testing.assert_close(net(x), mean, rtol=1e-12, atol=1e-12)


def test_a_softmax_on_dropped_units_is_the_renormalized_geometric_mean_and_not_the_arithmetic_one() -> None:
    net, x = network(3, 5, 3), 2 * draw(5, 3)
    outs = [*ensemble(net, "1", (5,), 0.5, x)]
    geometric = torch.softmax(torch.stack([share * torch.log_softmax(out, -1) for share, out in outs]).sum(0), -1)
    arithmetic = torch.stack([share * torch.softmax(out, -1) for share, out in outs]).sum(0)
    single = torch.softmax(net(x), -1)
    torch.testing.assert_close(single, geometric, rtol=1e-12, atol=1e-12)
    assert 1e-3 < (single - arithmetic).abs().max() < 0.2


def test_elsewhere_it_is_approximate() -> None:
    """Where a layer that is not linear follows the dropped units, neither mean is met; the error is of second order in the spread of the masks."""
    net, x = network(3, 4, 4, 3), draw(5, 3)
    gaps: list[float] = []
    for keep in (0.7, 0.97):
        outs = [*ensemble(net, "1|3", (4, 4), keep, x)]
        geometric = torch.softmax(torch.stack([share * torch.log_softmax(out, -1) for share, out in outs]).sum(0), -1)
        gaps.append((torch.softmax(net(x), -1) - geometric).abs().max().item())
    assert 1e-3 < gaps[0] < 0.2 and 1e-6 < gaps[1] < 0.2 * gaps[0]


# (c) Dropped weights


def test_dropped_weights_stay_for_plain_descent_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of plain descent leaves what feeds or leaves a dropped unit; a penalty, or momentum from an earlier step, moves it."""
    net, batch = network(3, 4, 2), batch_of(draw(6, 3), draw(6, 2, seed=1))
    mask = torch.tensor([[2.0, 0.0, 2.0, 0.0]], dtype=torch.float64)
    monkeypatch.setattr(Rng, "keep_mask", lambda self, rate, shape, dtype: mask if rate > 0 else torch.ones((), dtype=dtype))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}

    def unmoved(after: dict[str, Tensor]) -> list[bool]:
        incoming = (after["0.weight"] == before["0.weight"]).all(1) & (after["0.bias"] == before["0.bias"])
        return (incoming & (after["2.weight"] == before["2.weight"]).all(0)).tolist()

    assert unmoved(Loop(Cocktail(Dropout()), net, SquaredError()).descend(batch, 0.1, 5)) == [False, True, False, True]
    assert unmoved(Loop(Cocktail(Dropout(), L2(0.1)), net, SquaredError()).descend(batch, 0.1, 5)) == [False] * 4
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    functional_call(net, dict(net.named_parameters()), (batch.x,)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    reg = Cocktail(Dropout()).attach(net, optimizer, nn.MSELoss())
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    reg.loss(batch.x, batch.y).backward()
    optimizer.step()
    reg.detach()
    assert unmoved({name: p.detach() for name, p in net.named_parameters()}) == [False] * 4


# Symmetry


def symmetric(distort: float = 0.0) -> nn.Sequential:
    """All rows of W1 and entries of b1 alike, all columns of W2; its rows differ."""
    net = network(3, 4, 2)
    with torch.no_grad():
        net[0].weight.copy_(draw(1, 3).expand(4, 3) / 3)
        net[0].bias.fill_(0.3)
        net[2].weight.copy_(draw(2, 1, seed=1).expand(2, 4))
        net[0].weight[0, 0] += distort
    return net


def spread(p: dict[str, Tensor]) -> float:
    """How far hidden units differ in any of their weights."""
    return max((t - t.mean(dim, keepdim=True)).abs().max().item() for t, dim in ((p["0.weight"], 0), (p["0.bias"], 0), (p["2.weight"], 1)))


def test_equal_hidden_units_stay_equal_until_dropout_or_a_first_difference_breaks_it() -> None:
    x, y = draw(10, 3, seed=2), draw(10, 2, seed=3)
    assert not torch.equal(symmetric()[2].weight[0], symmetric()[2].weight[1])
    for cocktail in (Cocktail(), Cocktail(L2(0.1))):
        after = Loop(cocktail, symmetric(), SquaredError()).descend(batch_of(x, y), 0.1, 200)
        assert spread(after) < 1e-12 and (after["0.weight"] - symmetric()[0].weight).abs().max() > 0.01
    assert spread(Loop(Cocktail(Dropout(0.5)), symmetric(), SquaredError()).descend(batch_of(x, y), 0.1, 200)) > 0.05
    after = Loop(Cocktail(), symmetric(distort=0.1), SquaredError()).descend(batch_of(x, y), 0.1, 200)
    assert (after["2.weight"][:, :1] - after["2.weight"][:, 1:]).abs().max() > 1e-3 and torch.equal(after["2.weight"][:, 1], after["2.weight"][:, 2])


# Co-adaptation


class Mean(nn.Module):
    """The average of the hidden units, without parameters."""

    def forward(self, h: Tensor) -> Tensor:
        return h.mean(1, keepdim=True)


def pathway_error(weight: Tensor, x: Tensor, y: Tensor) -> float:
    """Mean squared error of each hidden unit as the whole network."""
    return (x @ weight.T - y).square().mean().item()


def test_dropout_makes_every_pathway_stand_on_its_own() -> None:
    """Two units that are right together and wrong alone: x3 and x4 cancel between them.

    Plain descent is content. With dropout the expected loss is (c - 1)² + rate / (1 - rate) c² / 2 along the truth, least at c = 1 / (1 + rate / (2 - 2 rate)),
    and what cancels is a penalty alone, so it goes.
    """
    rate = 0.2
    x = torch.linalg.qr(draw(64, 4)).Q * 8.0  # uncorrelated inputs of mean square one
    y = x @ torch.tensor([[2.0], [-3.0], [0.0], [0.0]], dtype=torch.float64)
    net = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Identity(), Mean()).double()
    start = torch.tensor([[2.0, -3.0, 1.0, -1.0], [2.0, -3.0, -1.0, 1.0]], dtype=torch.float64)
    with torch.no_grad():
        net[0].weight.copy_(start)
    assert (net(x) - y).abs().max() < 1e-12
    assert pathway_error(start, x, y) == pytest.approx(2.0)
    plain = Loop(Cocktail(), net, SquaredError()).descend(batch_of(x, y), 0.1, 50)["0.weight"]
    torch.testing.assert_close(plain, start, rtol=1e-10, atol=1e-10)
    loop = Loop(Cocktail(Dropout(rate, where="1")), net, SquaredError())
    loop.descend(batch_of(x, y), 0.1, 400)
    path = [loop.descend(batch_of(x, y), 0.02, 1)["0.weight"] for _ in range(400)]
    settled = torch.stack(path).mean(0)
    c = 1 / (1 + rate / (2 - 2 * rate))
    truth = torch.tensor([[2.0, -3.0, 0.0, 0.0]], dtype=torch.float64)
    assert (settled - c * truth).abs().max() < 0.1
    assert pathway_error(settled, x, y) < 0.2 < 2.0
