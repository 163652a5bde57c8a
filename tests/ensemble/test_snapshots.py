"""One run, several networks: when they are taken, what they are, and what their average predicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.data.dataset import Dataset
from temperance.ensemble import choose, diversity, error_products, snapshots, squared_error
from temperance.train.member import Member


def rows(n: int = 64, seed: int = 0) -> Dataset:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return Dataset(x, torch.eye(2)[(x[:, 0] * x[:, 1] > 0).long()], "classification")


def network() -> nn.Module:
    return tp.nets.build_seeded(lambda: tp.nets.MLP(4, 2, hidden=(8,), activation="tanh"), 0)


def test_they_are_the_states_at_the_ends_of_the_cycles() -> None:
    """By hand: a cosine from the peak to zero, three times, and the parameters after each."""
    (found,) = snapshots(network(), tp.Cocktail(), rows(), cycles=3, optimizer=tp.optim.SGD(0.2, momentum=0.9), steps=31, batch_size=64)
    assert found.steps == [11, 21, 31] and found.status == "finished" and len(found.states) == 3
    net = network()
    data = rows()
    theirs = torch.optim.SGD(net.parameters(), lr=1.0)
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    taken: list[dict[str, Tensor]] = []
    schedule = tp.schedules.Restarts(torch.tensor(0.2, dtype=torch.float64), cycles=3, growth=1.0)
    for step in range(31):
        theirs.zero_grad()
        nn.functional.cross_entropy(net(data.x), data.y).backward()  # pyright: ignore[reportArgumentType] -- a tensor here
        rate = float(schedule.at(torch.tensor(step / 31, dtype=torch.float64)))
        with torch.no_grad():
            for p, v in zip(net.parameters(), velocity, strict=True):
                assert p.grad is not None
                v.mul_(0.9).sub_(rate * p.grad)
                p.add_(v)
        if step + 1 in found.steps:
            taken.append({name: t.detach().clone() for name, t in net.named_parameters()})
    for ours, reference in zip(found.states, taken, strict=True):
        for name, value in reference.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5)


def test_population_and_averages() -> None:
    """Members' snapshots are those of the members alone; what is averaged is what would ship."""
    people = [Member(tp.Cocktail(tp.Dropout(0.1 * i), tp.EMA(0.5)), tp.optim.AdamW(0.02), seed=i) for i in range(3)]
    together = snapshots(network(), people, rows(), cycles=2, steps=12, batch_size=16)
    for i, member in enumerate(people):
        (alone,) = snapshots(network(), member, rows(), cycles=2, steps=12, batch_size=16)
        for a, b in zip(alone.states, together[i].states, strict=True):
            assert all(torch.equal(a[name], b[name]) for name in b)
    assert isinstance(people[0].optimizer.lr, float)


def test_the_average_of_snapshots() -> None:
    (found,) = snapshots(network(), tp.Cocktail(), rows(), cycles=4, steps=80, batch_size=16)
    held = rows(40, seed=1)
    assert isinstance(held.x, Tensor) and isinstance(held.y, Tensor)
    each = found.predictions(held.x)
    assert each.shape == (4, 40, 2)
    for k, net in enumerate(found.networks()):
        torch.testing.assert_close(each[k], net(held.x).softmax(-1).detach())
    torch.testing.assert_close(found.average()(held.x).softmax(-1), tp.ensemble.combine(each))
    products = error_products(each, held.y, "classification")
    assert diversity(products).at(4) == pytest.approx(float(squared_error(tp.ensemble.combine(each), held.y, "classification").mean()), rel=1e-6)
    assert diversity(products).c < diversity(products).v  # the cycles end in different places
    assert set(choose(products, picks=4)) <= {0, 1, 2, 3}


def test_a_member_that_diverges_keeps_the_cycles_before() -> None:
    """The rate of a member is its own; the one that diverges at once has no snapshot, which is an error that says so."""
    with pytest.raises(tp.ConfigError, match="at least one cycle of member wild to end well, got none: diverged at step"):
        snapshots(network(), Member(tp.Cocktail(tp.L2(1e30)), tp.optim.SGD(1e30), name="wild"), rows(), cycles=2, steps=8, batch_size=16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cycles": 0}, "`cycles` of snapshots to be a whole number from 1 to the 10 steps, got 0"),
        ({"cycles": 11}, "`cycles` of snapshots"),
        ({"optimizer": tp.optim.SGD(tp.schedules.Cosine(0.1))}, "`lr` of snapshots to be a number"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(tp.ConfigError, match=message):
        snapshots(network(), tp.Cocktail(), rows(), steps=10, **settings)


def test_members_go_through_the_same_cycles() -> None:
    with pytest.raises(tp.ConfigError, match="`length` of snapshots to be 1"):
        snapshots(network(), Member(length=0.5), rows(), steps=10, cycles=2)
