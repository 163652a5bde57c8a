"""From pretrained weights: what L2SP holds on to, what a frozen layer keeps, and both in a search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import temperance as tp
from temperance.data.dataset import Dataset
from temperance.nets import MLP, build_seeded
from temperance.regularizers import L2SP

IMAGES, DIGITS = load_digits(return_X_y=True)
ROWS = torch.from_numpy(IMAGES / 16).float()
SGD: dict[str, Any] = {"optimizer": tp.optim.SGD(0.1), "steps": 40, "batch_size": 16, "validation": None}


def task_a() -> Dataset:
    """Which of the digits 0 to 4, many rows."""
    rows = np.flatnonzero(DIGITS < 5)
    return Dataset(ROWS[rows], torch.eye(5)[torch.from_numpy(DIGITS[rows])], "classification")


def task_b(n: int = 40) -> Dataset:
    """Which of the digits 5 to 9, few rows."""
    rows = np.flatnonzero(DIGITS >= 5)[:n]
    return Dataset(ROWS[rows], torch.eye(5)[torch.from_numpy(DIGITS[rows] - 5)], "classification")


@pytest.fixture(scope="module")
def pretrained() -> nn.Module:
    start = build_seeded(lambda: MLP(64, 5, (16,)), 0)
    return tp.fit(start, tp.Cocktail(), task_a(), optimizer=tp.optim.AdamW(5e-3), epochs=8, batch_size=64).model


def tuned(network: nn.Module, *regularizers: Any, **settings: Any) -> dict[str, Tensor]:
    done = tp.fit(network, tp.Cocktail(*regularizers), task_b(), **{**SGD, **settings})
    assert done.outcomes[0].final is not None
    return done.outcomes[0].final


def distance(state: dict[str, Tensor], start: dict[str, Tensor]) -> float:
    return float(torch.stack([(state[name] - start[name]).square().sum() for name in start if name.endswith("weight")]).sum().sqrt())


def test_the_strength_leads_from_plain_training_to_the_start(pretrained: nn.Module) -> None:
    """Off is plain training to the bit; the larger lam, the nearer to the start. A step of rate lr keeps 1 - lr lam of the distance: lam = 1/lr forgets it."""
    start = {name: t.clone() for name, t in pretrained.state_dict().items()}
    plain, off = tuned(pretrained), tuned(pretrained, L2SP(0.0))
    assert all(torch.equal(plain[name], off[name]) for name in plain)
    assert all(torch.equal(t, start[name]) for name, t in pretrained.state_dict().items())
    lengths = [distance(tuned(pretrained, L2SP(lam)), start) for lam in (0.0, 0.1, 1.0, 10.0)]
    assert lengths[0] > lengths[1] > lengths[2] > lengths[3]
    held, gradients = tuned(pretrained, L2SP(10.0)), _largest_gradient(pretrained)
    assert distance(held, start) < 0.1 * gradients


def _largest_gradient(network: nn.Module) -> float:
    """With lr lam = 1 what is left of all steps is the last one, lr times the gradient of a minibatch of 16 rows; the largest of any single row bounds it."""
    data, lengths = task_b(), []
    assert isinstance(data.x, Tensor) and isinstance(data.y, Tensor)
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    for x, y in zip(data.x, data.y, strict=True):
        loss = nn.functional.cross_entropy(network(x[None]), y[None])
        found = torch.autograd.grad(loss, weights)
        lengths.append(float(torch.stack([g.square().sum() for g in found]).sum().sqrt()))
    return 2.0 * max(lengths)  # the gradients are those near the start, not at it


def test_every_member_has_its_own_start(pretrained: nn.Module) -> None:
    """In one population members start from states of their own, and are held there."""
    other = build_seeded(lambda: MLP(64, 5, (16,)), 3).state_dict()
    strong = tp.Cocktail(L2SP(10.0))
    starts = [dict(pretrained.state_dict()), dict(other)]
    members = [tp.Member(strong, tp.optim.SGD(0.1), 0, initial=state) for state in starts]
    population = tp.Population(pretrained, members, task_b(), batch_size=16, total_steps=40)
    for outcome, own, theirs in zip(population.run(), starts, starts[::-1], strict=True):
        assert outcome.final is not None
        assert distance(outcome.final, own) < 0.1 * distance(outcome.final, theirs)


def test_frozen_lower_layers_stay_to_the_bit(pretrained: nn.Module) -> None:
    network = build_seeded(lambda: MLP(64, 5, (16,)), 1)
    network.load_state_dict(pretrained.state_dict())
    for parameter in network.hidden.parameters():
        parameter.requires_grad_(False)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    for regularizers in ((), (tp.WeightDecay(0.1), tp.Dropout(0.1), tp.EMA(0.9)), (L2SP(0.1),)):
        after = tuned(network, *regularizers)
        for name, t in before.items():
            assert torch.equal(after[name], t) is name.startswith("hidden."), name
    assert not any(p.requires_grad for p in tp.fit(network, tp.Cocktail(), task_b(), **SGD).model.hidden.parameters())


@pytest.mark.parametrize("frozen", [False, True])
def test_a_search_from_pretrained_weights(pretrained: nn.Module, frozen: bool) -> None:
    """Every trial, seed and the refit start from the pretrained layers under a new output layer of the seed; the search tries L2SP on the former."""

    def build(data: Dataset) -> nn.Module:
        network = MLP(64, data.out_features, (16,))
        network.hidden.load_state_dict(pretrained.hidden.state_dict())
        for parameter in network.hidden.parameters():
            parameter.requires_grad_(not frozen)
        return network

    sp = L2SP(1.0, where="hidden.*")
    use, without = () if frozen else (sp, tp.L2(1e-3, where="output.weight")), ["WeightDecay"]  # which would take the pretrained weights away
    found = tp.search(build, task_b(80), trials=5, epochs=20, batch_size=8, lr=(3e-4, 3e-3), use=use, without=without, refits=2)
    assert frozen or {"l2sp.lam", "l2.lam"} <= set(found.table().columns)
    start, (first, second) = pretrained.hidden.state_dict(), found.refit.networks
    for network in (first, second):
        moved = max(float((t - start[name]).abs().max()) for name, t in network.hidden.state_dict().items())
        assert moved == 0.0 if frozen else 0.0 < moved < 0.5, moved
    assert not torch.equal(first.output.weight, second.output.weight)
    assert found.score["value"] > 0.5
