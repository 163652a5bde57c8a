"""Optimizers and schedules against torch.optim, member by member, and against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from torch import Tensor, nn

import temperance as tp
from temperance.core.criterion import SquaredError
from temperance.core.schedule import SCHEDULES, Exponential, InverseTime, StepDecay, UntilEnd
from temperance.core.wiring import observed
from temperance.data.dataset import Dataset
from temperance.train.compiled import compiler_missing
from temperance.train.least_squares import least_squares
from temperance.train.member import Member
from temperance.train.optimizers import OPTIMIZERS, Adadelta, AdaGrad, BlockDescent, DeltaBarDelta, Muon, NAdam, RMSProp, optimizer_from_dict
from temperance.train.optimizers.muon import hidden_matrices
from temperance.train.population import Population

N = 7
SHAPES = {"0.weight": torch.Size([2, 2]), "0.bias": torch.Size([2]), "1.scale": torch.Size([])}
SGDS = [(0.05, 0.0), (0.01, 0.5), (0.1, 0.9), (0.02, 0.99)]
ADAMS = [(1e-2, 0.9, 0.999, 1e-8), (1e-3, 0.8, 0.99, 1e-6), (0.1, 0.0, 0.9, 1e-3), (3e-3, 0.95, 0.9999, 1e-10)]


def gradients(step: int, member: int) -> Tensor:
    return torch.randn(N, generator=torch.Generator().manual_seed(1000 * member + step), dtype=torch.float64)


def sweep(optimizers: list[tp.optim.Optimizer], steps: int, decayed: int = 0, factor: Callable[[int], float] = lambda t: 1.0) -> Tensor:
    """All members at once, each with its own numbers."""
    k = len(optimizers)
    theta = torch.linspace(-1, 1, k * N, dtype=torch.float64).reshape(k, N).clone()
    slots = optimizers[0].start(theta, SHAPES)
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
    mine = sweep([tp.optim.SGD(lr, momentum, nesterov) for lr, momentum in numbers], 100)
    for i, (lr, momentum) in enumerate(numbers):
        theirs = reference(lambda p, lr=lr, m=momentum: torch.optim.SGD(p, lr=lr, momentum=m, nesterov=nesterov), i, len(numbers), 100)
        torch.testing.assert_close(mine[i], theirs, rtol=1e-10, atol=1e-10)


def test_adam() -> None:
    mine = sweep([tp.optim.Adam(lr, b1, b2, eps) for lr, b1, b2, eps in ADAMS], 100)
    for i, (lr, b1, b2, eps) in enumerate(ADAMS):
        theirs = reference(lambda p, lr=lr, b=(b1, b2), eps=eps: torch.optim.Adam(p, lr=lr, betas=b, eps=eps), i, len(ADAMS), 100)
        torch.testing.assert_close(mine[i], theirs, rtol=1e-10, atol=1e-10)


def test_adamw_decays_weights_alone() -> None:
    """The leading columns are weights; biases and norms behind them are a group without decay."""
    decays = [0.0, 0.01, 0.1, 1.0]
    mine = sweep([tp.optim.AdamW(lr, b1, b2, eps, decay) for (lr, b1, b2, eps), decay in zip(ADAMS, decays, strict=True)], 100, decayed=4)
    for i, ((lr, b1, b2, eps), decay) in enumerate(zip(ADAMS, decays, strict=True)):

        def make(p: list[nn.Parameter], lr: float = lr, b: Any = (b1, b2), eps: float = eps, decay: float = decay) -> torch.optim.Optimizer:
            return torch.optim.AdamW([{"params": p[:1], "weight_decay": decay}, {"params": p[1:], "weight_decay": 0.0}], lr=lr, betas=b, eps=eps)

        torch.testing.assert_close(mine[i], reference(make, i, len(ADAMS), 100, split=4), rtol=1e-10, atol=1e-10)


TORCH: dict[str, tuple[list[tp.optim.Optimizer], Callable[[list[nn.Parameter], dict[str, float]], torch.optim.Optimizer]]] = {
    "AdaGrad": (
        [AdaGrad(lr, eps) for lr, eps in ((0.1, 1e-7), (0.01, 1e-3), (1.0, 0.1))],
        lambda p, h: torch.optim.Adagrad(p, lr=h["lr"], eps=h["eps"]),
    ),
    "RMSProp": (
        [RMSProp(lr, rho, momentum, eps, inside=False) for lr, rho, momentum, eps in ((0.01, 0.9, 0.0, 1e-6), (0.1, 0.99, 0.9, 1e-2), (1e-3, 0.0, 0.5, 1e-8))],
        lambda p, h: torch.optim.RMSprop(p, lr=h["lr"], alpha=h["rho"], momentum=h["momentum"], eps=h["eps"]),
    ),
    "Adadelta": (
        [Adadelta(lr, rho, eps) for lr, rho, eps in ((1.0, 0.9, 1e-6), (0.3, 0.5, 1e-2), (2.0, 0.99, 1e-4))],
        lambda p, h: torch.optim.Adadelta(p, lr=h["lr"], rho=h["rho"], eps=h["eps"]),
    ),
    "NAdam": (
        [NAdam(*numbers) for numbers in ((2e-3, 0.9, 0.999, 1e-8, 4e-3), (0.1, 0.8, 0.9, 1e-3, 0.0), (0.01, 0.0, 0.99, 1e-6, 0.5))],
        lambda p, h: torch.optim.NAdam(p, lr=h["lr"], betas=(h["beta1"], h["beta2"]), eps=h["eps"], momentum_decay=h["momentum_decay"]),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_against_torch(name: str) -> None:
    """A hundred steps of members with numbers of their own."""
    chosen, theirs = TORCH[name]
    mine = sweep(chosen, 100)
    for i, o in enumerate(chosen):
        close = 1e-6 if name == "NAdam" else 1e-10  # torch keeps the product of its momenta in single precision
        torch.testing.assert_close(mine[i], reference(lambda p, o=o: theirs(p, o.hypers()), i, len(chosen), 100), rtol=close, atol=close)


def numpy_rmsprop(h: dict[str, float], w: np.ndarray, grads: list[np.ndarray], nesterov: bool) -> np.ndarray:
    """At theta itself, the gradient belonging to the look-ahead point, which is what is returned."""
    theta, v, r = w, np.zeros_like(w), np.zeros_like(w)
    for g in grads:
        r = h["rho"] * r + (1 - h["rho"]) * g * g
        v = h["momentum"] * v - h["lr"] * g / np.sqrt(h["eps"] + r)
        theta = theta + v
    return theta + h["momentum"] * v if nesterov else theta


def numpy_adam_inside(h: dict[str, float], w: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(grads, 1):
        m, v = h["beta1"] * m + (1 - h["beta1"]) * g, h["beta2"] * v + (1 - h["beta2"]) * g * g
        w = w - h["lr"] * (m / (1 - h["beta1"] ** t)) / np.sqrt(v / (1 - h["beta2"] ** t) + h["eps"])
    return w


def numpy_delta_bar_delta(h: dict[str, float], w: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
    rate, mean = np.full_like(w, h["lr"]), np.zeros_like(w)
    for g in grads:
        rate = np.where(mean * g > 0, rate + h["kappa"], np.where(mean * g < 0, rate * (1 - h["phi"]), rate))
        mean = (1 - h["theta"]) * g + h["theta"] * mean
        w = w - rate * g
    return w


TRANSCRIBED: dict[str, tuple[list[tp.optim.Optimizer], Callable[..., np.ndarray]]] = {
    "RMSProp inside": ([RMSProp(0.01, 0.9, m, eps) for m, eps in ((0.0, 1e-6), (0.9, 1e-2))], lambda h, w, g: numpy_rmsprop(h, w, g, False)),
    "RMSProp with Nesterov": (
        [RMSProp(lr, 0.95, m, 1e-4, nesterov=True) for lr, m in ((0.01, 0.9), (0.1, 0.5), (0.02, 0.0))],
        lambda h, w, g: numpy_rmsprop(h, w, g, True),
    ),
    "Adam inside": ([tp.optim.Adam(lr, b1, b2, eps, inside=True) for lr, b1, b2, eps in ADAMS], numpy_adam_inside),
    "DeltaBarDelta": ([DeltaBarDelta(*n) for n in ((0.01, 1e-3, 0.1, 0.7), (0.1, 0.05, 0.5, 0.0), (0.02, 0.0, 0.0, 0.9))], numpy_delta_bar_delta),
}


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_against_a_transcription(name: str) -> None:
    chosen, theirs = TRANSCRIBED[name]
    mine = sweep(chosen, 100)
    for i, o in enumerate(chosen):
        start = torch.linspace(-1, 1, len(chosen) * N, dtype=torch.float64).reshape(len(chosen), N)[i].numpy()
        np.testing.assert_allclose(mine[i].numpy(), theirs(o.hypers(), start, [gradients(t, i).numpy() for t in range(100)]), rtol=1e-10, atol=1e-10)


def test_dead_units_stay_and_are_numbers() -> None:
    """No gradient, no step: without a number under the root this would be 0 / 0."""
    for optimizer in (AdaGrad(), RMSProp(), RMSProp(inside=False), Adadelta(), NAdam(), DeltaBarDelta(), BlockDescent(), Muon()):
        theta = torch.ones(1, N)
        slots = optimizer.start(theta, SHAPES)
        hypers = {name: torch.tensor([value]) for name, value in optimizer.hypers().items()}
        for t in range(3):
            optimizer.sweep(theta, torch.zeros(1, N), slots, hypers, hypers["lr"], t, 0, {0: torch.Size([2, 2])} if optimizer.by_matrix else None)
        assert torch.equal(theta, torch.ones(1, N))


def test_an_eps_inside_the_root_stops_small_gradients() -> None:
    """With 1e-8 there, a gradient of 1e-6 moves a hundredth of the way that Adam moves it otherwise, as with 1e-4 outside."""
    moved: list[float] = []
    for optimizer in (tp.optim.Adam(0.1), tp.optim.Adam(0.1, inside=True), tp.optim.Adam(0.1, eps=1e-4)):
        theta = torch.zeros(1, N, dtype=torch.float64)
        hypers = {name: torch.tensor([value], dtype=torch.float64) for name, value in optimizer.hypers().items()}
        optimizer.sweep(theta, torch.full_like(theta, 1e-6), optimizer.start(theta, SHAPES), hypers, hypers["lr"], 0, 0)
        moved.append(-float(theta[0, 0]))
    assert moved[0] == pytest.approx(0.1 / 1.01) and moved[1] == pytest.approx(1e-3, rel=1e-3) and moved[2] == pytest.approx(1e-3, rel=0.02)


# Blocks


@pytest.mark.parametrize(
    ("by", "blocks", "expected"),
    [
        ("unit", 3, [0, 0, 1, 1, 0, 1, 2]),  # a row of the matrix with its bias; the scale by itself
        ("unit", 2, [0, 0, 0, 0, 0, 0, 1]),
        ("tensor", 3, [0, 0, 0, 0, 1, 1, 2]),
        ("coordinate", 7, [0, 1, 2, 3, 4, 5, 6]),
        ("coordinate", 3, [0, 0, 0, 1, 1, 2, 2]),
    ],
)
def test_blocks(by: str, blocks: int, expected: list[int]) -> None:
    theta = torch.zeros(2, N)
    optimizer = BlockDescent(0.5, blocks, by)
    slots = optimizer.start(theta, SHAPES)
    assert slots["block"].tolist() == [expected] * 2
    for t in range(blocks + 1):
        before, lr = theta.clone(), torch.tensor([0.5, 0.25])
        optimizer.sweep(theta, torch.ones(2, N), slots, {"lr": lr}, lr, t, 0)
        assert (before - theta).tolist() == [[rate if b == t % blocks else 0.0 for b in expected] for rate in (0.5, 0.25)]


def test_too_many_blocks() -> None:
    with pytest.raises(tp.ConfigError, match=r"Expected `blocks` of BlockDescent in \[1, 3\], got 4. The network has 3 units."):
        BlockDescent(blocks=4).start(torch.zeros(1, N), SHAPES)


def system(n: int = 40, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) @ np.diag(np.linspace(0.5, 2.0, d)) + rng.normal(size=(n, 1))
    return X, X @ np.linspace(-1, 2, d) + 0.5 * rng.normal(size=n)


@pytest.mark.parametrize("block", [1, 2, 4, 6])
def test_least_squares_is_exact(block: int) -> None:
    X, y = system()
    np.testing.assert_allclose(least_squares(X, y, block=block).numpy(), np.linalg.lstsq(X, y)[0], rtol=1e-7)
    ridge = least_squares(X, y, l2=torch.tensor([0.01, 1.0]), block=block)
    for w, lam in zip(ridge, (0.01, 1.0), strict=True):
        np.testing.assert_allclose(w.numpy(), Ridge(alpha=lam * len(y), fit_intercept=False).fit(X, y).coef_, rtol=1e-7)
    once = least_squares(X, y, block=6, sweeps=1)
    np.testing.assert_allclose(once.numpy(), np.linalg.lstsq(X, y)[0], rtol=1e-9)


def test_coordinate_descent_reaches_lasso_and_elastic_net() -> None:
    X, y = system()
    both = least_squares(X, y, l1=torch.tensor([0.3, 0.2]), l2=torch.tensor([0.0, 0.3]))
    for w, theirs in zip(both, (Lasso(0.3, fit_intercept=False, tol=1e-12), ElasticNet(0.5, l1_ratio=0.4, fit_intercept=False, tol=1e-12)), strict=True):
        theirs.fit(X, y)
        np.testing.assert_allclose(w.numpy(), theirs.coef_, rtol=1e-6, atol=1e-9)
        assert ((w.numpy() == 0) == (theirs.coef_ == 0)).all()
    assert least_squares([[1.0, 0.0], [2.0, 0.0]], [1.0, 2.0]).tolist() == [1.0, 0.0]  # a column of zeros


@pytest.mark.parametrize("kind", [list, np.asarray, torch.tensor])
def test_least_squares_keeps_double_precision(kind: Any) -> None:
    """Numbers of Python, and strengths, are not rounded to single precision on the way."""
    w = least_squares(kind([[0.1], [0.2]]) if kind is not torch.tensor else torch.tensor([[0.1], [0.2]], dtype=torch.float64), [0.1, 0.3], l2=0.1, l1=0.01)
    assert w.dtype == torch.float64
    assert w.item() == pytest.approx(((0.1 * 0.1 + 0.2 * 0.3) / 2 - 0.01) / ((0.01 + 0.04) / 2 + 0.1), rel=1e-14)


def test_what_least_squares_refuses() -> None:
    X, y = system()
    with pytest.raises(tp.DataError, match="the shapes"):
        least_squares(X, y[:3])
    with pytest.raises(tp.ConfigError, match=r"`block` of least_squares in \[1, 1\], got 2. With l1"):
        least_squares(X, y, l1=0.1, block=2)
    with pytest.raises(tp.ConfigError, match="`l2` of least_squares"):
        least_squares(X, y, l2=-1.0)


def test_coordinate_descent_in_the_trainer_is_that_of_the_solver() -> None:
    """With unit curvature in every coordinate a step of rate one puts it at its minimum: Gauss and Seidel's method."""
    X, y = system()
    X = X / np.sqrt((X**2).mean(0))
    data = Dataset(torch.as_tensor(X), torch.as_tensor(y).unsqueeze(1), "regression")
    net = nn.Linear(6, 1, bias=False).double()
    nn.init.zeros_(net.weight)
    member = Member(tp.Cocktail(), BlockDescent(1.0, 6, "coordinate"))
    made = Population(net, [member], data, criterion=SquaredError(half=True), batch_size=len(y), total_steps=18, check_every=18)
    made.run()
    np.testing.assert_allclose(made.model(0).state_dict()["weight"][0].numpy(), least_squares(X, y, sweeps=3).numpy(), rtol=1e-10)


# Matrices


def numpy_muon(h: dict[str, float], w: np.ndarray, grads: list[np.ndarray]) -> np.ndarray:
    m, (rows, columns) = np.zeros_like(w), w.shape
    for g in grads:
        m = h["momentum"] * m + g
        x = g + h["momentum"] * m
        x = x / np.linalg.norm(x)
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        w = (1 - h["lr"] * h["weight_decay"]) * w - h["lr"] * max(1.0, rows / columns) ** 0.5 * (u * s) @ vt
    return w


MUONS = [Muon(0.1, momentum=0.9, weight_decay=0.3), Muon(0.02, momentum=0.0, adam_lr=0.05), Muon(0.5, momentum=0.95, adam_lr=1e-4, weight_decay=0.01)]


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6), (6, 1)])
def test_muon_by_singular_values(shape: tuple[int, int]) -> None:
    """The iteration acts on singular values alone; columns before and behind the matrix are AdamW's, which decays the weights among them."""
    size, k = math.prod(shape), len(MUONS)
    theta = torch.linspace(-1, 1, k * (size + 5), dtype=torch.float64).reshape(k, size + 5).clone()
    start, generator = theta.clone(), torch.Generator().manual_seed(0)
    grads = torch.randn(6, k, size + 5, generator=generator, dtype=torch.float64)
    slots = MUONS[0].start(theta, {"w": torch.Size([size + 5])})
    hypers = {name: torch.tensor([o.hypers()[name] for o in MUONS], dtype=torch.float64) for name in MUONS[0].hypers()}
    for t in range(6):
        MUONS[0].sweep(theta, grads[t].clone(), slots, hypers, hypers["lr"] / (t + 1), t, size + 3, {2: torch.Size(shape)})
    for i, o in enumerate(MUONS):
        w, rest = start[i, 2 : 2 + size].reshape(shape).numpy(), torch.cat([start[i, :2], start[i, 2 + size :]])
        parts = [nn.Parameter(rest[:3].clone()), nn.Parameter(rest[3:].clone())]
        theirs = torch.optim.AdamW([{"params": parts[:1]}, {"params": parts[1:], "weight_decay": 0.0}], lr=o.adam_lr, weight_decay=o.weight_decay)
        m = np.zeros_like(w)
        for t in range(6):
            g = grads[t, i, 2 : 2 + size].reshape(shape).numpy()
            m = o.momentum * m + g
            direction = g + o.momentum * m
            w = numpy_muon({"lr": o.hypers()["lr"] / (t + 1), "weight_decay": o.weight_decay, "momentum": 0.0}, w, [direction])
            left = torch.cat([grads[t, i, :2], grads[t, i, 2 + size :]])
            for part, g_rest in zip(parts, (left[:3], left[3:]), strict=True):
                part.grad = g_rest.clone()
            for group in theirs.param_groups:
                group["lr"] = o.adam_lr / (t + 1)
            theirs.step()
        np.testing.assert_allclose(theta[i, 2 : 2 + size].reshape(shape).numpy(), w, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(torch.cat([theta[i, :2], theta[i, 2 + size :]]), torch.cat([p.detach() for p in parts]), rtol=1e-9, atol=1e-9)


def test_muon_leaves_tied_and_output_weights_to_adamw() -> None:
    """What a pass shows decides, not the order of declaration; a table that is the output layer too is no hidden matrix."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.out, self.tied = nn.Embedding(5, 4), nn.Linear(4, 3), nn.Linear(4, 5, bias=False)
            self.first, self.second, self.free = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(2, 2)
            self.tied.weight = self.table.weight

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(self.second(torch.relu(self.first(self.table(x[:, 0].long())))))
            return self.out(h) + self.tied(h).sum(1, keepdim=True)

    net = Net()
    weights = [name for name, p in net.named_parameters() if p.dim() > 1]
    found = hidden_matrices(net, weights, observed(net, torch.zeros(2, 1)))
    assert found == {"first.weight": torch.Size([4, 4]), "second.weight": torch.Size([4, 4])}
    data = Dataset(torch.zeros(8, 1), torch.zeros(8, 3), "regression")
    for cocktail in (tp.Cocktail(), tp.Cocktail(tp.Dropout(0.1, where=tp.selectors.outputs_of(nn.Linear)))):  # which needs a pass by itself
        made = Population(net, [Member(cocktail, Muon())], data, batch_size=8, total_steps=1)
        assert made.chunks[0].group.matrices == found


def test_muon_against_torch() -> None:
    """torch's own multiplies matrices in 16 bits, of which eight are digits: five steps of a polynomial whose slope is up to 3.4 leave two of them."""
    o = MUONS[0]
    theta, generator = torch.linspace(-1, 1, 15).reshape(1, 15).clone(), torch.Generator().manual_seed(1)
    w = nn.Parameter(theta.reshape(3, 5).clone())
    theirs = torch.optim.Muon([w], lr=o.hypers()["lr"], momentum=o.momentum, weight_decay=o.weight_decay)
    slots, hypers = o.start(theta, {}), {name: torch.tensor([value]) for name, value in o.hypers().items()}
    for t in range(4):
        g = torch.randn(1, 15, generator=generator)
        w.grad = g.reshape(3, 5).clone()
        theirs.step()
        o.sweep(theta, g, slots, hypers, hypers["lr"], t, 15, {0: torch.Size([3, 5])})
    torch.testing.assert_close(theta.reshape(3, 5), w.detach(), rtol=0.0, atol=4 * 0.1 * 0.05)


def test_muon_takes_hidden_matrices_alone() -> None:
    """A step of a hidden matrix has equal singular values; the output layer, the embedding table and the biases move by their own rate in each number."""
    net = tp.nets.build_seeded(lambda: tp.nets.TabularNet(2, (3, 20), 3, hidden=(6, 4), numbers="periodic"), 0)
    g = torch.Generator().manual_seed(0)
    x = {"num": torch.randn(32, 2, generator=g), "cat": torch.stack([torch.randint(0, 3, (32,), generator=g), torch.randint(0, 20, (32,), generator=g)], 1)}
    data = Dataset(x, torch.eye(3)[torch.randint(0, 3, (32,), generator=g)], "classification", cardinalities=(3, 20))
    made = Population(net, [Member(tp.Cocktail(), Muon(0.02, adam_lr=1e-3))], data, batch_size=32, total_steps=1)
    final, before = made.run()[0].final, net.state_dict()
    assert final is not None
    hidden = {name for name in final if name.startswith("body") and name.endswith("weight")} - {"body.output.weight"}
    assert len(hidden) == 2
    for name, value in final.items():
        moved = value - before[name]
        if name in hidden:
            rows, columns = moved.shape
            singular = torch.linalg.svdvals(moved) / (0.02 * max(1.0, rows / columns) ** 0.5)
            assert ((singular > 0.3) & (singular < 1.3)).all(), name
        elif name in dict(net.named_parameters()):
            assert float(moved.abs().max()) == pytest.approx(1e-3, rel=0.01), name


# In a population


NEW: list[Callable[[int], tp.optim.Optimizer]] = [
    lambda i: AdaGrad(0.05 / (i + 1), 10.0 ** (-7 + i)),
    lambda i: RMSProp(0.01 / (i + 1), 0.9 - 0.1 * i, 0.2 * i),
    lambda i: RMSProp(0.01 / (i + 1), 0.9, 0.2 * i, inside=False, nesterov=True),
    lambda i: Adadelta(1.0 / (i + 1), 0.9 - 0.1 * i, 10.0 ** (-6 + i)),
    lambda i: NAdam(0.01 / (i + 1), 0.9 - 0.1 * i, momentum_decay=0.01 * i),
    lambda i: tp.optim.Adam(0.01 / (i + 1), 0.9 - 0.1 * i, inside=True),
    lambda i: DeltaBarDelta(0.05 / (i + 1), 1e-3 * (i + 1), 0.1 * i, 0.5),
    lambda i: BlockDescent(0.1 / (i + 1), 3),
    lambda i: Muon(0.05 / (i + 1), momentum=0.9 - 0.1 * i, adam_lr=0.01 / (i + 1), weight_decay=0.1 * i),
]


def digits() -> Dataset:
    g = torch.Generator().manual_seed(0)
    return Dataset(torch.randn(24, 5, generator=g), torch.eye(3)[torch.randint(0, 3, (24,), generator=g)], "classification")


def trained(members: list[Member], **settings: Any) -> list[dict[str, Tensor]]:
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(5, 3, hidden=(7,), activation="tanh"), 0)
    made = Population(net, members, digits(), batch_size=8, total_steps=12, check_every=12, **settings)
    made.run()
    assert not made.notes, made.notes
    finals = [o.final for o in made.outcomes]
    return [final for final in finals if final is not None]


@pytest.mark.parametrize("make", NEW, ids=lambda make: type(make(1)).__name__)
def test_alone_as_in_company_and_in_any_slot(make: Callable[[int], tp.optim.Optimizer]) -> None:
    members = [Member(tp.Cocktail(tp.L2(0.01 * i)), make(i), seed=i) for i in range(4)]
    together, turned = trained(members), trained(members[::-1])[::-1]
    start = tp.nets.build_seeded(lambda: tp.nets.MLP(5, 3, hidden=(7,), activation="tanh"), 0).state_dict()
    for i, member in enumerate(members):
        alone = trained([member])[0]
        for name, value in alone.items():
            assert torch.equal(value, together[i][name]) and torch.equal(value, turned[i][name]), name
        assert all(not torch.equal(value, start[name]) for name, value in alone.items())


@pytest.mark.skipif(bool(compiler_missing()), reason="no C++ compiler is here, and nothing is compiled without one")
@pytest.mark.parametrize(
    "make", [pytest.param(m, marks=[] if i == 4 else pytest.mark.slow) for i, m in enumerate(NEW)], ids=lambda make: type(make(1)).__name__
)
def test_compiled_as_plain(make: Callable[[int], tp.optim.Optimizer]) -> None:
    members = [Member(tp.Cocktail(), make(i), seed=i) for i in range(3)]
    for ours, theirs in zip(trained(members, compile=True), trained(members), strict=True):
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5)


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
    made = Population(net, [Member(tp.Cocktail(), tp.optim.AdamW(0.1, weight_decay=0.5))], data, batch_size=4, total_steps=1)
    final = made.run()[0].final
    assert final is not None
    for name, p in net.named_parameters():
        torch.testing.assert_close(final[name], p.detach() * (0.95 if name == "linear.weight" else 1.0))


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from temperance.train.optimizers import base

    chosen = [tp.optim.AdamW(lr, b1, b2, eps, 0.1) for lr, b1, b2, eps in ADAMS]
    whole = sweep(list(chosen), 20, decayed=3)
    monkeypatch.setattr(base, "BLOCK_BYTES", 1)
    assert torch.equal(sweep(list(chosen), 20, decayed=3), whole)


def test_the_learning_rate_is_inside_the_velocity() -> None:
    """Under a schedule v <- momentum v - lr g differs from torch, where the rate multiplies at use; at a constant rate it does not."""

    def factor(t: int) -> float:
        return 1.0 - t / 50

    mine = sweep([tp.optim.SGD(0.1, 0.9)], 50, factor=factor)[0]
    theta, v = torch.linspace(-1, 1, N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    for t in range(50):
        v = 0.9 * v - 0.1 * factor(t) * gradients(t, 0)
        theta = theta + v
    torch.testing.assert_close(mine, theta, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "name", "bad"),
    [
        (tp.optim.SGD, "lr", 0.0),
        (tp.optim.SGD, "lr", float("nan")),
        (tp.optim.SGD, "lr", "0.1"),
        (tp.optim.SGD, "momentum", 1.0),
        (tp.optim.Adam, "beta1", 1.0),
        (tp.optim.Adam, "beta2", -0.1),
        (tp.optim.Adam, "eps", 0.0),
        (tp.optim.AdamW, "weight_decay", -1.0),
        (tp.optim.AdamW, "lr", tp.schedules.Cosine(-1.0)),
        (AdaGrad, "eps", 0.0),
        (RMSProp, "rho", 1.0),
        (RMSProp, "momentum", -0.1),
        (Adadelta, "rho", 1.5),
        (NAdam, "momentum_decay", -1.0),
        (DeltaBarDelta, "kappa", -1.0),
        (DeltaBarDelta, "phi", 1.0),
        (DeltaBarDelta, "theta", 1.0),
        (Muon, "momentum", 1.0),
        (Muon, "adam_lr", 0.0),
        (Muon, "weight_decay", -1.0),
    ],
)
def test_numbers_out_of_range(build: Any, name: str, bad: Any) -> None:
    with pytest.raises(tp.ConfigError, match=rf"^Expected `{name}` of {build.__name__} in [\[(]"):
        build(**{name: bad})


@pytest.mark.parametrize(("name", "bad"), [("blocks", 0), ("blocks", 2.5), ("by", "layer")])
def test_static_fields_out_of_range(name: str, bad: Any) -> None:
    with pytest.raises(tp.ConfigError, match=rf"^Expected `{name}` of BlockDescent to be"):
        BlockDescent(**{name: bad})


@pytest.mark.parametrize(
    "made",
    [
        tp.optim.SGD(0.1, 0.9, True),
        tp.optim.Adam(1e-3, 0.8),
        tp.optim.AdamW(tp.schedules.FlatCosine(1e-2, flat=0.3, warmup=0.1), weight_decay=0.1),
        tp.optim.SGD(tp.schedules.Restarts(0.1, cycles=2)),
        tp.optim.Adam(1e-3, inside=True),
        RMSProp(StepDecay(0.1), inside=False, nesterov=True),
        NAdam(Exponential(0.1)),
        AdaGrad(InverseTime(0.1)),
        Adadelta(),
        DeltaBarDelta(0.1),
        BlockDescent(0.1, 3, "tensor"),
        Muon(tp.schedules.Cosine(0.1), momentum=0.8, adam_lr=0.01, weight_decay=0.1),
    ],
)
def test_round_trip(made: tp.optim.Optimizer) -> None:
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


CLOSED: list[tuple[tp.schedules.Schedule, Callable[[float], float]]] = [
    (tp.schedules.Constant(0.4), lambda p: 0.4),
    (tp.schedules.Linear(0.4, end=0.25), lambda p: 0.4 * (1 - 0.75 * p)),
    (tp.schedules.Cosine(0.4), lambda p: 0.4 * cosine(p)),
    (tp.schedules.Cosine(0.4, warmup=0.2, end=0.1), lambda p: 0.4 * (p / 0.2 if p < 0.2 else 0.1 + 0.9 * cosine((p - 0.2) / 0.8))),
    (tp.schedules.FlatCosine(0.4, flat=0.6), lambda p: 0.4 * (1.0 if p < 0.6 else cosine((p - 0.6) / 0.4))),
    (
        tp.schedules.FlatCosine(0.4, flat=0.6, warmup=0.1, end=0.05),
        lambda p: 0.4 * (p / 0.1 if p < 0.1 else 1.0 if p < 0.6 else 0.05 + 0.95 * cosine((p - 0.6) / 0.4)),
    ),
    (tp.schedules.WarmUp(0.4, fraction=0.3), lambda p: 0.4 * min(1.0, p / 0.3)),
    (tp.schedules.Restarts(0.4, cycles=3, growth=2.0), lambda p: 0.4 * restarts(p)),
    (Exponential(0.4, end=0.05), lambda p: 0.4 * 0.05**p),
    (StepDecay(0.4, decay=0.3, drops=4), lambda p: 0.4 * 0.3 ** min(4, int(5 * p + 1e-9))),
    (InverseTime(0.4, rate=3.0), lambda p: 0.4 / (1 + 3 * p)),
    (UntilEnd(0.4, off=0.3), lambda p: 0.4 if p < 0.7 - 1e-6 else 0.0),
]


@pytest.mark.parametrize(("schedule", "value"), CLOSED, ids=lambda v: type(v).__name__ if isinstance(v, tp.schedules.Schedule) else "")
def test_a_member_gets_its_scheduled_rate(schedule: tp.schedules.Schedule, value: Callable[[float], float]) -> None:
    """Through the trainer, with members of different peaks and lengths: the learning rate of every step."""
    data = Dataset(torch.zeros(4, 1), torch.zeros(4, 1), "regression")
    members = [Member(tp.Cocktail(), tp.optim.SGD(schedule.with_value(peak)), length=length) for peak, length in ((0.4, 1.0), (0.1, 1.0), (0.4, 0.5))]
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
        mine = tp.schedules.Cosine(torch.tensor(0.4, dtype=torch.float64), end=0.1).at(torch.tensor(step / 50, dtype=torch.float64))
        assert float(mine) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_restarts_are_those_of_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    for step in range(70):
        mine = tp.schedules.Restarts(torch.tensor(1.0, dtype=torch.float64), cycles=3, growth=2.0).at(torch.tensor((step + 1e-9) / 70, dtype=torch.float64))
        assert float(mine) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        scheduler.step()


def test_exponential_is_that_of_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    for step in range(50):
        mine = Exponential(torch.tensor(0.4, dtype=torch.float64), end=0.9**50).at(torch.tensor(step / 50, dtype=torch.float64))
        assert float(mine) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_steps_are_those_of_torch() -> None:
    """Every drop at its own step, whatever the rounding of step / steps."""
    for steps, drops in ((30, 2), (49, 6), (1000, 9)):
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=0.4)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=steps // (drops + 1), gamma=0.5)
        for step in range(steps):
            mine = StepDecay(torch.tensor(0.4), decay=0.5, drops=drops).at(torch.tensor(step / steps))
            assert float(mine) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6), (steps, step)
            optimizer.step()
            scheduler.step()
