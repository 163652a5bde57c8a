"""The four equations of back-propagation, written in NumPy, against autograd and finite differences; one update by hand; saturated outputs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import Loop
from torch import nn

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.criterion import Criterion

SIZES = (3, 4, 5, 2)
Layers = list[tuple[np.ndarray, np.ndarray]]


def sigma(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def network() -> nn.Sequential:
    parts: list[nn.Module] = []
    for width, following in pairwise(SIZES):
        parts += [nn.Linear(width, following), nn.Sigmoid()]
    return tp.nets.build_seeded(lambda: nn.Sequential(*parts), 0).double()


def layers_of(net: nn.Sequential) -> Layers:
    return [(m.weight.detach().numpy().copy(), m.bias.detach().numpy().copy()) for m in net if isinstance(m, nn.Linear)]


def cost(layers: Layers, x: np.ndarray, y: np.ndarray, entropy: bool) -> float:
    """Of one row: half the squared error, or the cross-entropy summed over outputs."""
    a = x
    for w, b in layers:
        a = sigma(w @ a + b)
    return float(-(y * np.log(a) + (1 - y) * np.log(1 - a)).sum()) if entropy else float(0.5 * ((a - y) ** 2).sum())


def backpropagated(layers: Layers, x: np.ndarray, y: np.ndarray, entropy: bool) -> Layers:
    """BP1 δ^L = ∇ₐC ⊙ σ′(z^L), BP2 δ^l = (w^{l+1}ᵀ δ^{l+1}) ⊙ σ′(z^l), BP3 ∂C/∂b = δ, BP4 ∂C/∂w = δ a^{l−1}ᵀ."""
    activations, zs = [x], []
    for w, b in layers:
        zs.append(w @ activations[-1] + b)
        activations.append(sigma(zs[-1]))
    slopes = [sigma(z) * (1 - sigma(z)) for z in zs]
    a = activations[-1]
    delta = ((a - y) / (a * (1 - a)) if entropy else a - y) * slopes[-1]
    out: Layers = []
    for level in reversed(range(len(layers))):
        out.insert(0, (np.outer(delta, activations[level]), delta))
        if level:
            delta = (layers[level][0].T @ delta) * slopes[level - 1]
    return out


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 3)), rng.random(size=(6, 2))


@pytest.mark.parametrize("entropy", [False, True])
def test_the_four_equations(rows: tuple[np.ndarray, np.ndarray], entropy: bool) -> None:
    net = network()
    layers = layers_of(net)
    for x, y in zip(*rows, strict=True):
        ours = backpropagated(layers, x, y, entropy)
        out, target = net(torch.from_numpy(x)[None]), torch.from_numpy(y)[None]
        if entropy:
            loss = nn.functional.binary_cross_entropy(out, target, reduction="sum")
        else:
            loss = 0.5 * (out - target).square().sum()
        grads = torch.autograd.grad(loss, list(net.parameters()))
        for mine, theirs in zip([part for pair in ours for part in pair], grads, strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-6, atol=1e-12)
        step = 1e-5  # central differences: an error of step² and of rounding over step, both below 1e-9
        for k, pair in enumerate(layers):
            for part in range(2):
                for index in np.ndindex(pair[part].shape):
                    ends: list[float] = []
                    for sign in (1, -1):
                        moved = [(w.copy(), b.copy()) for w, b in layers]
                        moved[k][part][index] += sign * step
                        ends.append(cost(moved, x, y, entropy))
                    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(ours[k][part][index], rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_one_update_by_hand(rows: tuple[np.ndarray, np.ndarray], lam: float) -> None:
    """w ← (1 − ελ) w − ε mean gradient, b ← b − ε mean gradient: an L2 penalty shrinks weights and leaves biases."""
    lr, net = 0.7, network()
    layers, (X, Y) = layers_of(net), rows
    each = [backpropagated(layers, x, y, False) for x, y in zip(X, Y, strict=True)]
    batch = full_batch(torch.from_numpy(X), torch.from_numpy(Y), weight=torch.ones(len(X), dtype=torch.float64))
    cocktail = tp.Cocktail(tp.L2(lam)) if lam else tp.Cocktail()

    class Half(Criterion):
        """Half the squared error, summed over outputs, as the equations have it."""

        def per_row(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return 0.5 * (out - y).square().sum(-1)

    after = Loop(cocktail, net, Half()).descend(batch, lr, 1)
    for k, (w, b) in enumerate(layers):
        gw, gb = (np.mean([one[k][part] for one in each], axis=0) for part in range(2))
        np.testing.assert_allclose(after[f"{2 * k}.weight"].numpy(), (1 - lr * lam) * w - lr * gw, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(after[f"{2 * k}.bias"].numpy(), b - lr * gb, rtol=1e-9, atol=1e-12)


def test_a_saturated_output() -> None:
    """At z = −10 and y = 1 the quadratic loss hardly sees the error, cross-entropy sees all of it."""
    z, y = torch.tensor([[-10.0]], dtype=torch.float64, requires_grad=True), torch.ones(1, 1, dtype=torch.float64)
    (quadratic,) = torch.autograd.grad(tp.losses.SquaredError(half=True).per_row(torch.sigmoid(z), y).sum(), z)
    (entropy,) = torch.autograd.grad(tp.losses.SigmoidCrossEntropy().per_row(z, y).sum(), z)
    assert float(quadratic) == pytest.approx(-4.5e-5, abs=0.05e-5)
    assert float(entropy) == pytest.approx(-1.0, abs=5e-5)
    a = sigma(-10.0)
    assert float(quadratic) == pytest.approx((a - 1) * a * (1 - a), rel=1e-12)
    assert float(entropy) == pytest.approx(a - 1, rel=1e-12)
