"""Optimizers and schedules against torch.optim, member by member, and against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.core.schedule import SCHEDULES
from temperance.data.dataset import Dataset
from temperance.train.group import Member
from temperance.train.optimizers import OPTIMIZERS, optimizer_from_dict
from temperance.train.population import Population

N = 7
SGDS = [(0.05, 0.0), (0.01, 0.5), (0.1, 0.9), (0.02, 0.99)]
ADAMS = [(1e-2, 0.9, 0.999, 1e-8), (1e-3, 0.8, 0.99, 1e-6), (0.1, 0.0, 0.9, 1e-3), (3e-3, 0.95, 0.9999, 1e-10)]


def gradients(step: int, member: int) -> Tensor:
    return torch.randn(N, generator=torch.Generator().manual_seed(1000 * member + step), dtype=torch.float64)


def sweep(optimizers: list[tp.Optimizer], steps: int, decayed: int = 0, factor: Callable[[int], float] = lambda t: 1.0) -> Tensor:
    """All members at once, each with its own numbers."""
    k = len(optimizers)
    theta = torch.linspace(-1, 1, k * N, dtype=torch.float64).reshape(k, N).clone()
    slots = {name: torch.zeros_like(theta) for name in optimizers[0].slots}
    hypers = {name: torch.tensor([o.hypers()[name] for o in optimizers], dtype=torch.float64) for name in optimizers[0].hypers()}
    for t in range(steps):
        grad = torch.stack([gradients(t, i) for i in range(k)])
        optimizers[0].sweep(theta, grad, slots, hypers, hypers["lr"] * factor(t), t, decayed)
    return theta


def reference(make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], member: int, members: int, steps: int, split: int = N) -> Tensor:
    """torch.optim on one member, its parameters in two tensors."""
    start = torch.linspace(-1, 1, members * N, dtype=torch.float64).reshape(members, N)[member]
    parts = [nn.Parameter(start[:split].clone()), nn.Parameter(start[split:].clone())]
    optimizer = make(parts)
    for t in range(steps):
        grad = gradients(t, member)
        parts[0].grad, parts[1].grad = grad[:split].clone(), grad[split:].clone()
        optimizer.step()
    return torch.cat([p.detach() for p in parts])


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_momentum_and_nesterov(nesterov: bool) -> None:
    numbers = [(lr, m) for lr, m in SGDS if m or not nesterov]
    mine = sweep([tp.SGD(lr, momentum, nesterov) for lr, momentum in numbers], 100)
    for i, (lr, momentum) in enumerate(numbers):
        theirs = reference(lambda p, lr=lr, m=momentum: torch.optim.SGD(p, lr=lr, momentum=m, nesterov=nesterov), i, len(numbers), 100)
        torch.testing.assert_close(mine[i], theirs, rtol=1e-10, atol=1e-10)


def test_adam() -> None:
    mine = sweep([tp.Adam(lr, b1, b2, eps) for lr, b1, b2, eps in ADAMS], 100)
    for i, (lr, b1, b2, eps) in enumerate(ADAMS):
        theirs = reference(lambda p, lr=lr, b=(b1, b2), eps=eps: torch.optim.Adam(p, lr=lr, betas=b, eps=eps), i, len(ADAMS), 100)
        torch.testing.assert_close(mine[i], theirs, rtol=1e-10, atol=1e-10)


def test_adamw_decays_weights_alone() -> None:
    """The leading columns are weights; biases and norms behind them are a group without decay."""
    decays = [0.0, 0.01, 0.1, 1.0]
    mine = sweep([tp.AdamW(lr, b1, b2, eps, decay) for (lr, b1, b2, eps), decay in zip(ADAMS, decays, strict=True)], 100, decayed=4)
    for i, ((lr, b1, b2, eps), decay) in enumerate(zip(ADAMS, decays, strict=True)):

        def make(p: list[nn.Parameter], lr: float = lr, b: Any = (b1, b2), eps: float = eps, decay: float = decay) -> torch.optim.Optimizer:
            return torch.optim.AdamW([{"params": p[:1], "weight_decay": decay}, {"params": p[1:], "weight_decay": 0.0}], lr=lr, betas=b, eps=eps)

        torch.testing.assert_close(mine[i], reference(make, i, len(ADAMS), 100, split=4), rtol=1e-10, atol=1e-10)


def test_a_group_puts_weights_first() -> None:
    """A population's AdamW decays weight matrices, and no bias, norm or embedding table."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.ones(2))
            self.table, self.norm, self.linear = nn.Embedding(2, 2), nn.LayerNorm(2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return 0.0 * self.linear(self.norm(self.table(x[:, 0].long()) + self.bias))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Net()
    data = Dataset(torch.zeros(4, 1), torch.zeros(4, 2), "regression")
    made = Population(net, [Member(tp.Cocktail(), tp.AdamW(0.1, weight_decay=0.5))], data, batch_size=4, total_steps=1)
    final = made.run()[0].final
    assert final is not None
    for name, p in net.named_parameters():
        torch.testing.assert_close(final[name], p.detach() * (0.95 if name == "linear.weight" else 1.0))


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from temperance.train import optimizers

    chosen = [tp.AdamW(lr, b1, b2, eps, 0.1) for lr, b1, b2, eps in ADAMS]
    whole = sweep(list(chosen), 20, decayed=3)
    monkeypatch.setattr(optimizers, "BLOCK_BYTES", 1)
    assert torch.equal(sweep(list(chosen), 20, decayed=3), whole)


def test_the_learning_rate_is_inside_the_velocity() -> None:
    """Under a schedule v <- momentum v - lr g differs from torch, where the rate multiplies at use; at a constant rate it does not."""

    def factor(t: int) -> float:
        return 1.0 - t / 50

    mine = sweep([tp.SGD(0.1, 0.9)], 50, factor=factor)[0]
    theta, v = torch.linspace(-1, 1, N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    for t in range(50):
        v = 0.9 * v - 0.1 * factor(t) * gradients(t, 0)
        theta = theta + v
    torch.testing.assert_close(mine, theta, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "name", "bad"),
    [
        (tp.SGD, "lr", 0.0),
        (tp.SGD, "lr", float("nan")),
        (tp.SGD, "lr", "0.1"),
        (tp.SGD, "momentum", 1.0),
        (tp.Adam, "beta1", 1.0),
        (tp.Adam, "beta2", -0.1),
        (tp.Adam, "eps", 0.0),
        (tp.AdamW, "weight_decay", -1.0),
        (tp.AdamW, "lr", tp.Cosine(-1.0)),
    ],
)
def test_numbers_out_of_range(build: Any, name: str, bad: Any) -> None:
    with pytest.raises(tp.ConfigError, match=rf"^Expected `{name}` of {build.__name__} in [\[(]"):
        build(**{name: bad})


@pytest.mark.parametrize(
    "made",
    [tp.SGD(0.1, 0.9, True), tp.Adam(1e-3, 0.8), tp.AdamW(tp.FlatCosine(1e-2, flat=0.3, warmup=0.1), weight_decay=0.1), tp.SGD(tp.Restarts(0.1, cycles=2))],
)
def test_round_trip(made: tp.Optimizer) -> None:
    again = optimizer_from_dict(made.to_dict())
    assert again.to_dict() == made.to_dict() and again.static() == made.static() and again.hypers() == made.hypers()
    assert type(made).__name__ in OPTIMIZERS
    assert again.replace(lr=0.5).hypers()["lr"] == 0.5 and again.replace(lr=0.5).static() == made.static()


# Schedules


def cosine(x: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(max(x, 0.0), 1.0)))


def restarts(p: float) -> float:
    lengths = [1 / 7, 2 / 7, 4 / 7]
    start = 0.0
    for length in lengths:
        if p < start + length - 1e-12:
            return cosine((p - start) / length)
        start += length
    return 0.0


CLOSED: list[tuple[tp.Schedule, Callable[[float], float]]] = [
    (tp.Constant(0.4), lambda p: 0.4),
    (tp.Linear(0.4, end=0.25), lambda p: 0.4 * (1 - 0.75 * p)),
    (tp.Cosine(0.4), lambda p: 0.4 * cosine(p)),
    (tp.Cosine(0.4, warmup=0.2, end=0.1), lambda p: 0.4 * (p / 0.2 if p < 0.2 else 0.1 + 0.9 * cosine((p - 0.2) / 0.8))),
    (tp.FlatCosine(0.4, flat=0.6), lambda p: 0.4 * (1.0 if p < 0.6 else cosine((p - 0.6) / 0.4))),
    (tp.FlatCosine(0.4, flat=0.6, warmup=0.1, end=0.05), lambda p: 0.4 * (p / 0.1 if p < 0.1 else 1.0 if p < 0.6 else 0.05 + 0.95 * cosine((p - 0.6) / 0.4))),
    (tp.WarmUp(0.4, fraction=0.3), lambda p: 0.4 * min(1.0, p / 0.3)),
    (tp.Restarts(0.4, cycles=3, growth=2.0), lambda p: 0.4 * restarts(p)),
]


@pytest.mark.parametrize(("schedule", "value"), CLOSED, ids=lambda v: type(v).__name__ if isinstance(v, tp.Schedule) else "")
def test_a_member_gets_its_scheduled_rate(schedule: tp.Schedule, value: Callable[[float], float]) -> None:
    """Through the trainer, with members of different peaks and lengths: the learning rate of every step."""
    data = Dataset(torch.zeros(4, 1), torch.zeros(4, 1), "regression")
    members = [Member(tp.Cocktail(), tp.SGD(schedule.with_value(peak)), length=length) for peak, length in ((0.4, 1.0), (0.1, 1.0), (0.4, 0.5))]
    group = Population(nn.Linear(1, 1), members, data, batch_size=4, total_steps=40, check_every=1000).chunks[0].group
    for step in range(41):
        group.step = step
        rates = group.moment()["lr"].tolist()
        assert rates[0] == pytest.approx(value(step / 40), abs=1e-7)
        assert rates[1] == pytest.approx(0.25 * value(step / 40), abs=1e-7)
        assert rates[2] == pytest.approx(value(min(1.0, step / 20)), abs=1e-7)


def test_every_schedule_is_tested() -> None:
    assert {type(s).__name__ for s, _ in CLOSED} == {name for name, cls in SCHEDULES.items() if cls.__module__.startswith("temperance.")}


def test_cosine_is_that_of_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.04)
    for step in range(50):
        mine = tp.Cosine(torch.tensor(0.4, dtype=torch.float64), end=0.1).at(torch.tensor(step / 50, dtype=torch.float64))
        assert float(mine) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_restarts_are_those_of_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    for step in range(70):
        mine = tp.Restarts(torch.tensor(1.0, dtype=torch.float64), cycles=3, growth=2.0).at(torch.tensor((step + 1e-9) / 70, dtype=torch.float64))
        assert float(mine) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        scheduler.step()
