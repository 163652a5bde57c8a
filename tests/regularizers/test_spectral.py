"""SpectralNorm and SpectralPenalty against singular values from LAPACK, and against torch's own spectral norm."""

import math
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows
from torch import nn
from torch.nn.utils import parametrizations

from temperance.core.batch import Batch, full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.regularizers import EMA, SpectralNorm, SpectralPenalty

SHAPES = [(5, 3), (3, 5), (4, 4), (3, 2, 2, 2)]


def draw(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def top(w: torch.Tensor) -> float:
    return float(np.linalg.svd(w.detach().numpy().reshape(w.shape[0], -1), compute_uv=False)[0])


def settled(regularizer: SpectralNorm | SpectralPenalty, w: torch.Tensor, steps: int = 300) -> tuple[object, dict[str, torch.Tensor]]:
    """Bound, with a state that many steps at the same weights have left."""
    made = bound(regularizer)
    state = made.init({"w": w})
    for _ in range(steps):
        state = made.track(state, {"w": w}, context())
    return made, state


@pytest.mark.parametrize("shape", SHAPES)
def test_the_penalty_and_its_gradient(shape: tuple[int, ...]) -> None:
    """lam/2 s², gradient lam s u vᵀ."""
    w = draw(shape).requires_grad_()
    made, state = settled(SpectralPenalty(0.3), w.detach())
    found = made.penalty({"w": w}, {}, context(state=state))  # type: ignore[attr-defined]
    u, s, vt = np.linalg.svd(w.detach().numpy().reshape(shape[0], -1), full_matrices=False)
    assert found.item() == pytest.approx(0.15 * s[0] ** 2, rel=1e-12)
    grad = torch.autograd.grad(found, w)[0].numpy().reshape(shape[0], -1)
    np.testing.assert_allclose(grad, 0.3 * s[0] * np.outer(u[:, 0], vt[0]), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("c", [0.5, 1.0, 20.0])
def test_the_division_and_its_gradient(shape: tuple[int, ...], c: float) -> None:
    """c W / s, and the gradient through s as autograd finds it through LAPACK's singular values; no part of it changes the scale alone."""
    w, direction = draw(shape).requires_grad_(), draw(shape, 1)
    made, state = settled(SpectralNorm(c), w.detach())
    seen = made.weights({"w": w}, context(state=state))["w"]  # type: ignore[attr-defined]
    assert top(seen) == pytest.approx(c, rel=1e-12)
    s = torch.linalg.svdvals(w.reshape(shape[0], -1))[0]
    expected = w * (c / s)
    torch.testing.assert_close(seen, expected, rtol=1e-11, atol=1e-11)
    ours, theirs = (torch.autograd.grad((one * direction).sum(), w)[0] for one in (seen, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-8)
    assert (ours * w.detach()).sum().abs().item() < 1e-9 * c


def test_the_pass_is_that_of_torch() -> None:
    """With c = 1: torch's spectral norm after as many power iterations, value and gradient."""
    layer = nn.Linear(6, 4, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(3 * draw((4, 6)))
    raw = layer.weight.detach().clone()
    made, state = settled(SpectralNorm(1.0), raw)
    theirs = parametrizations.spectral_norm(layer, n_power_iterations=200)
    direction = draw((4, 6), 2)
    (theirs.weight * direction).sum().backward()
    original = theirs.parametrizations.weight.original  # type: ignore[union-attr]
    w = raw.clone().requires_grad_()
    seen = made.weights({"w": w}, context(state=state))["w"]  # type: ignore[attr-defined]
    (seen * direction).sum().backward()
    torch.testing.assert_close(seen, theirs.eval().weight, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(w.grad, original.grad, rtol=1e-9, atol=1e-10)  # type: ignore[union-attr]


def three_outputs() -> Batch:
    batch = linear_rows()
    y = torch.cat([3 * batch.y, -2 * batch.y + 2 * batch.x[:, 3:4], batch.x[:, :1]], 1)
    return full_batch(batch.x, y, weight=torch.ones(len(y), dtype=torch.float64))


def started(cocktail: Cocktail, weight: torch.Tensor) -> Loop:
    """A linear network from these weights: in a matrix of zeros nothing has a direction."""
    loop = Loop(cocktail, linear_net(6, 3), SquaredError(half=True))
    loop.params = {"weight": weight}
    loop.state = loop.program.init(loop.params)
    return loop


@pytest.mark.parametrize("c", [1.0, 2.0, 20.0])
def test_what_is_shipped_obeys(c: float) -> None:
    """The weights end with the singular value wanted, and their average within it.

    The estimate lags by what a step turns: gradients of size 8 at this rate move the weights by 4 % of c, of which the iterations find all but the square.
    """
    loop = started(Cocktail(SpectralNorm(c), EMA(0.9)), 0.1 * draw((3, 6), 5))
    w = loop.descend(three_outputs(), 0.005 / 3 * c, 400)["weight"]
    assert c * (1 - 1e-9) <= top(w) <= c * (1 + 0.04**2)
    average = loop.program.readout(loop.state, loop.params, {}, loop.values, torch.tensor(1.0), lambda p, b: b)[0]["weight"]
    assert top(average) <= c * (1 + 0.04**2)


@pytest.mark.parametrize("lr", [0.01, 0.1, 0.5])
def test_how_far_a_step_can_overshoot(lr: float) -> None:
    """A step of spectral norm d leaves the largest singular value at c (S + d) / (s - d) at most, s the estimate of S before it: ‖W v‖ never falls."""
    c, loop = 2.0, started(Cocktail(SpectralNorm(2.0)), 0.1 * draw((3, 6), 5))
    overshoots: list[float] = []
    for _ in range(60):
        w, v = loop.params["weight"], loop.state["spectral_norm"]["weight"]
        grad = loop.gradient(three_outputs())[2]["weight"]
        s, true, d = float((w @ v).norm()), top(w), top(lr * grad)
        found = top(loop.descend(three_outputs(), lr, 1)["weight"])
        assert c * (1 - 1e-9) <= found
        if d < s:
            assert found <= c * (true + d) / (s - d) * (1 + 1e-9)
        overshoots.append(found / c - 1)
    assert max(overshoots) < 0.1 and overshoots[-1] < 1e-3


@pytest.mark.parametrize(("kind", "lr"), [("Adam", 1e-3), ("Adam", 1e-1), ("SGD", 1e-3), ("SGD", 1e-1)])
def test_the_overshoot_of_training_is_what_the_card_says(kind: str, lr: float) -> None:
    """The figures of the card, read from it, for the network that it names."""
    text = " ".join((SpectralNorm.__doc__ or "").split())
    adam = {float(rate): int(more) for more, rate in re.findall(r"(\d+) % at (?:a learning rate of )?([\d.]+\d)", text)}
    sgd = dict(zip(adam, map(int, re.findall(r"\d+", text.partition("with SGD and momentum by ")[2].partition("%")[0])), strict=True))
    assert list(adam) == [0.001, 0.003, 0.01, 0.03, 0.1]
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16.0, dtype=torch.float32), torch.tensor(digits.target)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr) if kind == "Adam" else torch.optim.SGD(net.parameters(), lr, momentum=0.9)
    loop = Cocktail(SpectralNorm(1.0)).attach(net, optimizer, nn.CrossEntropyLoss())
    order, worst = torch.Generator().manual_seed(0), 0.0
    for _ in range(150):
        rows = torch.randint(0, len(x), (64,), generator=order)
        loop.loss(x[rows], y[rows]).backward()
        optimizer.step()
        optimizer.zero_grad()
        worst = max(worst, *(float(torch.linalg.svdvals(w.detach())[0]) for w in net.parameters() if w.dim() == 2))
    said = (adam if kind == "Adam" else sgd)[lr] / 100
    assert 0.5 * said - 0.005 <= worst - 1.0 <= said + 0.005  # the card has the worse of two seeds, rounded


@pytest.mark.parametrize("made", [SpectralNorm(1.0), SpectralPenalty(2.0)], ids=lambda r: type(r).__name__)
def test_the_vector_follows_the_weights(made: SpectralNorm | SpectralPenalty) -> None:
    """While the direction that is stretched most turns by a right angle, two degrees a step, the singular value is found all the way."""
    sides = torch.linalg.qr(draw((4, 4)))[0]

    def weights(step: int) -> torch.Tensor:
        a = math.radians(2 * step)
        turn = torch.eye(4, dtype=torch.float64)
        turn[0, 0], turn[0, 1], turn[1, 0], turn[1, 1] = math.cos(a), -math.sin(a), math.sin(a), math.cos(a)
        return sides @ torch.diag(torch.tensor([3.0, 1.0, 0.5, 0.1], dtype=torch.float64)) @ turn

    reg = bound(made)
    state = reg.init({"w": weights(0)})
    for step in range(1, 46):
        w = {"w": weights(step)}
        if isinstance(made, SpectralNorm):
            assert top(reg.weights(w, context(state=state))["w"]) == pytest.approx(1.0, rel=2e-3)
            assert top(reg.after_step(w, context(state=state))["w"]) == pytest.approx(1.0, rel=1e-4)
        else:
            assert reg.penalty(w, {}, context(state=state)).item() == pytest.approx(9.0, rel=4e-3)
        state = reg.track(state, w, context())


def test_what_is_shipped_is_what_was_trained() -> None:
    """Scaling after the step does not change the pass of the next one, whose loss is that of the weights as they are."""
    loop = started(Cocktail(SpectralNorm(2.0)), 0.1 * draw((3, 6), 5))
    for _ in range(5):
        w = loop.descend(three_outputs(), 0.1, 20)["weight"]
        plain = started(Cocktail(), w)
        assert loop.gradient(three_outputs())[0].item() == pytest.approx(plain.gradient(three_outputs())[0].item(), rel=1e-6)


def test_training_ends_at_the_minimum_under_the_constraint() -> None:
    """There the gradient of the plain loss is a multiple of u vᵀ (the condition of Lagrange), pointing outwards where the free minimum is longer."""
    loop = started(Cocktail(SpectralNorm(2.0)), 0.1 * draw((3, 6), 5))
    w = loop.descend(three_outputs(), 0.1, 1500)["weight"]
    grad = started(Cocktail(), w).gradient(three_outputs())[2]["weight"]
    u, s, vt = torch.linalg.svd(w, full_matrices=False)
    mu = -(u[:, 0] @ grad @ vt[0])
    assert s[0].item() == pytest.approx(2.0, rel=1e-9) and s[1] < 1.9 and mu.item() > 0.01
    torch.testing.assert_close(grad, -mu * torch.outer(u[:, 0], vt[0]), rtol=0, atol=1e-6 * mu.item())


def test_zeros_and_infinity() -> None:
    """A matrix of zeros has no direction and stays as it is; huge weights do not turn off into NaN."""
    zero = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    for reg in (SpectralNorm(1.0), SpectralPenalty(1.0)):
        made, state = settled(reg, zero.detach(), 3)
        assert torch.isfinite(state["w"]).all()
        out = made.weights({"w": zero}, context(state=state))["w"] if isinstance(reg, SpectralNorm) else made.penalty({"w": zero}, {}, context(state=state))  # type: ignore[attr-defined]
        assert torch.equal(torch.autograd.grad(out.sum(), zero)[0], torch.ones(2, 3).double() if isinstance(reg, SpectralNorm) else torch.zeros(2, 3).double())
    w = torch.full((2, 2), 1e30, requires_grad=True)
    off = bound(SpectralNorm(math.inf), torch.float32)
    seen = off.weights({"w": w}, context(state=off.init({"w": torch.ones(2, 2)})))["w"]
    assert torch.equal(seen, w)
    assert torch.equal(torch.autograd.grad(seen.sum(), w)[0], torch.ones(2, 2))
    off = bound(SpectralPenalty(0.0), torch.float32)
    value = off.penalty({"w": w}, {}, context(state=off.init({"w": torch.ones(2, 2)})))
    assert value.item() == 0.0 and torch.equal(torch.autograd.grad(value, w)[0], torch.zeros(2, 2))
