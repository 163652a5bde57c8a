"""What the lectures say of loss surfaces: symmetries, saddles in high dimensions, the error of minibatch gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tests.diagnose.planted import blobs
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

import temperance as tp
from temperance.diagnose.given import matched, subject_of
from temperance.diagnose.hessian import flat


def network() -> nn.Module:
    return tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(6, 5)), 0).double()


def loss_of(net: nn.Module) -> float:
    return matched(subject_of(net, blobs(50, 0)[:2])[0]).loss()


@given(st.floats(0.01, 100.0), st.integers(0, 4))
def test_scaling_a_relu_unit_and_its_reader_leaves_the_loss(alpha: float, unit: int) -> None:
    net = network()
    before = loss_of(net)
    with torch.no_grad():
        net.hidden[0].linear.weight[unit] *= alpha
        net.hidden[0].linear.bias[unit] *= alpha
        net.hidden[1].linear.weight[:, unit] /= alpha
    assert loss_of(net) == pytest.approx(before, rel=1e-12)


def test_scaling_does_not_leave_it_where_units_are_not_homogeneous() -> None:
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(6,), activation="tanh"), 0).double()
    before = loss_of(net)
    with torch.no_grad():
        net.hidden[0].linear.weight *= 3
        net.hidden[0].linear.bias *= 3
        net.output.weight /= 3
    assert abs(loss_of(net) - before) > 1e-3


@given(st.permutations(range(6)))
def test_permuting_hidden_units_leaves_the_loss(order: list[int]) -> None:
    net = network()
    before = loss_of(net)
    with torch.no_grad():
        net.hidden[0].linear.weight.copy_(net.hidden[0].linear.weight[order])
        net.hidden[0].linear.bias.copy_(net.hidden[0].linear.bias[order])
        net.hidden[1].linear.weight.copy_(net.hidden[1].linear.weight[:, order])
    assert loss_of(net) == pytest.approx(before, rel=1e-12)


@pytest.mark.parametrize(("n", "share"), [(2, 0.293), (3, 0.050), (4, 0.005)])
def test_extrema_are_rare_among_random_hessians(n: int, share: float) -> None:
    """Symmetric matrices with Gaussian entries (variance two on the diagonal): all eigenvalues have one sign ever more seldom."""
    draws = 200_000
    a = np.random.default_rng(n).normal(size=(draws, n, n))
    values = np.linalg.eigvalsh(a + a.swapaxes(1, 2))
    found = ((values > 0).all(1) | (values < 0).all(1)).mean()
    # the number is rounded to three digits; four deviations of a share of so many draws
    assert abs(found - share) < 0.0005 + 4 * math.sqrt(share * (1 - share) / draws)


def test_the_error_of_a_minibatch_gradient_falls_with_the_root_of_its_rows() -> None:
    """E‖g_m − g‖² = tr Σ / m for m rows drawn with replacement, Σ the covariance of single rows' gradients."""
    net, (X, y, _) = network(), blobs(300, 0)
    params = {name: p.detach() for name, p in net.named_parameters()}

    def loss(p: dict[str, torch.Tensor], row: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(net, p, (row[None],)), label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(params, torch.from_numpy(X).double(), torch.from_numpy(y))
    rows = torch.cat([g.flatten(1) for g in each.values()], 1).numpy()
    _, whole = matched(subject_of(net, (X, y))[0]).gradient()
    np.testing.assert_allclose(flat(whole), rows.mean(0), rtol=1e-9, atol=1e-12)
    trace = ((rows - rows.mean(0)) ** 2).sum(1).mean()
    rng = np.random.default_rng(0)
    for m in (4, 16, 64):
        drawn = rows[rng.integers(0, 300, size=(1000, m))].mean(1)
        squared = ((drawn - rows.mean(0)) ** 2).sum(1)
        assert abs(squared.mean() - trace / m) < 4 * squared.std() / math.sqrt(1000)
