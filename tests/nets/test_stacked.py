"""Networks of one structure as one batched program give what each gives alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.nets import MLP, Average, ConvNet, TabularNet, build_seeded, quantile_edges
from temperance.nets.stacked import alike, outputs_of, run_stacked, state_of
from temperance.search.score import predict

X = torch.randn(70, 4, generator=torch.Generator().manual_seed(0))
SETTINGS: list[dict[str, Any]] = [
    {"numbers": "piecewise", "edges": quantile_edges(X, 8)},
    {"numbers": "periodic", "sigma": 0.5},
    {"norm": "batch"},
    {"activation": "silu"},
]


def tables(settings: dict[str, Any], count: int = 3) -> list[nn.Module]:
    networks = [build_seeded(lambda: TabularNet(4, [3], 3, hidden=[16], **settings), seed) for seed in range(count)]
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d) and module.running_mean is not None:
                module.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    return [network.eval() for network in networks]


def rows(n: int = 70) -> dict[str, Tensor]:
    return {"num": X[:n], "cat": torch.arange(70).remainder(3)[:n, None]}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: next(iter(s)) + str(next(iter(s.values())))[:9])
def test_batched_is_the_loop(settings: dict[str, Any]) -> None:
    networks = tables(settings)
    assert alike(networks)
    with torch.no_grad():
        loop = torch.stack([network(rows()) for network in networks])
        stacked = run_stacked(networks[0], [state_of(n) for n in networks], rows())
        average = Average(networks, "classification", [3, 2, 1]).eval()
        assert average.stacked
        assert torch.allclose(stacked, loop, rtol=1e-5, atol=1e-6)  # sums of 16 float32 products in another order
        mean = (torch.tensor([3.0, 2.0, 1.0])[:, None, None] / 6 * loop.softmax(-1)).sum(0)
        assert torch.allclose(average(rows()).exp(), mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: next(iter(s)) + str(next(iter(s.values())))[:9])
def test_a_rows_prediction_does_not_depend_on_its_neighbours(settings: dict[str, Any]) -> None:
    average, criterion = Average(tables(settings), "classification").eval(), criterion_for("classification")
    whole = predict(average, criterion, rows(), block=32)
    back = torch.arange(69, -1, -1)
    assert torch.equal(predict(average, criterion, {k: v[back] for k, v in rows().items()}, block=32)[back], whole)
    assert torch.equal(predict(average, criterion, rows(3), block=32), whole[:3])


def test_what_differs_is_not_batched() -> None:
    a, b = nn.Sequential(nn.Linear(4, 2), nn.LeakyReLU(0.1)), nn.Sequential(nn.Linear(4, 2), nn.LeakyReLU(0.2))
    assert not alike([a, b]) and not alike([a])
    assert alike([a, copy.deepcopy(a)])
    assert not alike([nn.Sequential(nn.Linear(4, 2), nn.ReLU()), nn.Sequential(nn.Linear(4, 2), nn.SiLU())])
    hooked = copy.deepcopy(a)
    hooked[0].register_forward_hook(lambda *_: None)
    assert not alike([a, hooked])
    edges = [tables({"numbers": "piecewise", "edges": quantile_edges(X * s, 8)}, 1)[0] for s in (1, 2)]
    assert alike(edges)  # edges are buffers of the same shape, and differ like weights
    out = outputs_of(edges[0], [state_of(e) for e in edges], rows())
    assert torch.allclose(out, torch.stack([e(rows()) for e in edges]), rtol=1e-5, atol=1e-6)


def test_convolutions_and_recurrence_run_one_by_one() -> None:
    convs = [build_seeded(lambda: ConvNet((1, 8, 8), 2, channels=(4,)), seed) for seed in range(2)]
    assert not alike(convs)
    assert not alike([nn.GRU(2, 2), nn.GRU(2, 2)])
    average = Average(convs, "regression").eval()
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(average(x), torch.stack([c.eval()(x) for c in convs]).mean(0), atol=1e-6)


class Counting(nn.Module):
    """Its output depends on a number that vmap cannot read."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * (2 if self.inner.weight.sum().item() > 0 else 1)


def test_what_vmap_cannot_do_the_loop_does() -> None:
    networks = [Counting() for _ in range(3)]
    average = Average(networks, "regression").eval()
    assert average.stacked
    assert torch.allclose(average(X), torch.stack([n(X) for n in networks]).mean(0), atol=1e-6)


def test_training_mode_runs_every_network_itself() -> None:
    networks = [nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)) for _ in range(2)]
    average = Average(networks, "regression")
    assert average.training and average(X).shape == (70, 2)


def test_gradients_reach_every_network() -> None:
    networks: list[nn.Module] = [MLP(4, 2, hidden=(5,)) for _ in range(3)]
    average = Average(networks, "regression").eval()
    average(X).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in average.parameters())


def test_weights_are_part_of_the_state_and_must_fit() -> None:
    networks = [nn.Linear(4, 2) for _ in range(2)]
    average, other = Average(networks, "regression", [3, 1]), Average([nn.Linear(4, 2) for _ in range(2)], "regression")
    assert list(average.state_dict()) == ["weights", "networks.0.weight", "networks.0.bias", "networks.1.weight", "networks.1.bias"]
    other.load_state_dict(average.state_dict())
    assert torch.equal(other(X), average(X))
    for bad in ([1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ConfigError, match="Expected `weights` of Average to be 2 positive numbers, one per network"):
            Average(networks, "regression", bad)
