"""A network handed to the trainers carries none of our hooks, before, during and after training, and none after an error."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import temperance as tp


class Watched(nn.Module):
    """Notes how many hooks the network that the user holds has, whenever any copy of it is called."""

    mine: nn.Module
    counts: list[int]

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.body = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        Watched.counts.append(hooks(Watched.mine))
        if self.fails and torch.is_grad_enabled():
            raise ZeroDivisionError
        return self.body(x)


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


def data(n: int = 24) -> tp.data.Dataset:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 3, generator=g)
    return tp.data.Dataset(x, nn.functional.one_hot((x[:, 0] > 0).long(), 2).float(), "classification")


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_stays_as_it_was(fails: bool) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Watched(fails)
    Watched.mine, Watched.counts = model, []
    before = {name: t.clone() for name, t in model.state_dict().items()}

    def train() -> None:
        made = tp.Population(
            model, [tp.Member(tp.Cocktail(tp.Dropout(0.3), tp.SAM(0.1)), seed=i) for i in range(2)], data(), batch_size=8, total_steps=3, compile=False
        )
        made.run()

    if fails:
        with pytest.raises((ZeroDivisionError, tp.TemperanceError)):
            train()
    else:
        train()
    assert Watched.counts and not any(Watched.counts) and hooks(model) == 0
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items()) and model.training
