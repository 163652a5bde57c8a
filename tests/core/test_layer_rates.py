"""Learning rates by layer: which parameters form a layer, and that an optimizer moves them so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.core.layer_rates import layer_decay


def rates_by_name(model: nn.Module, **settings: float) -> dict[str, float]:
    rates = {id(p): group["lr"] for group in layer_decay(model, **settings) for p in group["params"]}
    return {name: rates[id(p)] for name, p in model.named_parameters() if id(p) in rates}


def test_every_layer_has_its_rate_and_vectors_go_with_the_layer_before() -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    found = rates_by_name(net, lr=1.0, decay=0.5)
    assert found == {name: {"0": 0.25, "1": 0.25, "2": 0.25, "4": 0.5, "5": 0.5, "6": 1.0}[name[0]] for name, _ in net.named_parameters()}
    assert set(rates_by_name(net, lr=0.3, decay=1.0).values()) == {0.3}


def test_frozen_and_shared_parameters() -> None:
    first, last = nn.Linear(3, 3), nn.Linear(3, 3)
    last.weight = first.weight
    net = nn.Sequential(first, nn.Linear(3, 3), last)
    net[1].requires_grad_(False)
    # the last module has no matrix of its own, so that its bias goes with the layer before it, which is frozen
    assert rates_by_name(net, lr=1.0, decay=0.1) == {"0.weight": 0.1, "0.bias": 0.1, "2.bias": 1.0}
    with pytest.raises(ConfigError, match=r"^0\.weight has no shape yet.*Call the network once"):
        layer_decay(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2)), lr=1.0)
    with pytest.raises(ConfigError, match=r"`model` of layer_decay with parameters that train, got 'Sequential'"):
        layer_decay(net.requires_grad_(False), lr=1.0)


def test_plain_descent_moves_each_layer_in_proportion() -> None:
    net = tp.nets.MLP(3, 2, hidden=(4, 4)).double()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    net(torch.ones(5, 3, dtype=torch.float64)).square().sum().backward()
    torch.optim.SGD(layer_decay(net, lr=0.1, decay=0.5)).step()
    rates = rates_by_name(net, lr=0.1, decay=0.5)
    assert len(set(rates.values())) == 3
    for name, p in net.named_parameters():
        torch.testing.assert_close(before[name] - p.detach(), rates[name] * p.grad)


@pytest.mark.parametrize("settings", [{"lr": 0.0}, {"lr": True}, {"lr": 1.0, "decay": 0.0}, {"lr": 1.0, "decay": 1.1}, {"lr": 1.0, "decay": float("nan")}])
def test_numbers_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `(lr|decay)` of layer_decay in \(0, "):
        layer_decay(nn.Linear(2, 2), **settings)
