"""Several networks as one: their mean prediction, as an output of the same kind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.nets.average import Average

X = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


def networks(outputs: int, scale: float = 1.0) -> list[nn.Module]:
    out: list[nn.Module] = []
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        net = nn.Linear(3, outputs)
        with torch.no_grad():
            net.weight.copy_(scale * torch.randn(outputs, 3, generator=generator))
            net.bias.copy_(torch.randn(outputs, generator=generator))
        out.append(net)
    return out


def test_probabilities_are_averaged() -> None:
    nets = networks(4)
    out = Average(nets, "classification")(X)
    mean = torch.stack([net(X).softmax(1) for net in nets]).mean(0)
    assert torch.allclose(out.softmax(1), mean, atol=1e-6)
    assert torch.allclose(out.exp(), mean, atol=1e-6)
    assert torch.allclose(criterion_for("classification").predict(out), mean, atol=1e-6)
    logits = torch.stack([net(X) for net in nets]).mean(0).softmax(1)
    assert not torch.allclose(out.exp(), logits, atol=1e-3)


def test_probabilities_of_labels_are_averaged() -> None:
    nets = networks(2)
    out = Average(nets, "multilabel")(X)
    mean = torch.stack([net(X).sigmoid() for net in nets]).mean(0)
    assert torch.allclose(out.sigmoid(), mean, atol=1e-6)
    assert torch.allclose(criterion_for("multilabel").predict(out), mean, atol=1e-6)


def test_values_are_averaged() -> None:
    nets = networks(2)
    assert torch.allclose(Average(nets, "regression")(X), torch.stack([net(X) for net in nets]).mean(0))


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_certain_networks_give_finite_outputs_and_gradients(task: str) -> None:
    average = Average(networks(3, scale=1e4), task)
    out = average(X)
    assert torch.isfinite(out).all()
    out.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in average.parameters())


def test_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Expected `networks` of Average to hold at least one network"):
        Average([], "regression")
