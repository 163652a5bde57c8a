"""Eigenvalues against the full Hessian of tiny networks, formed by torch.func."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.diagnose.planted import blobs
from torch import nn
from torch.func import functional_call, hessian
from torch.nn import functional as F

import temperance as tp
from temperance.diagnose import diagnose_function as diagnose, hessian as own
from temperance.diagnose.given import matched, subject_of
from temperance.diagnose.hessian import Spectrum, density, effective_parameters, flat, lanczos, unflat

# torch.func.hessian takes forward derivatives, and torch loads those with a call of its own that it deprecates
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")


def network() -> nn.Module:
    return tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(6,), activation="tanh"), 0).double()


def full_hessian(net: nn.Module, X: Any, y: Any) -> np.ndarray:
    """Every entry by forward over reverse differentiation of the whole loss at once."""
    params = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}
    names, sizes = list(params), [p.numel() for p in params.values()]
    fixed = {name: p.detach() for name, p in net.named_parameters() if not p.requires_grad}

    def loss(vector: torch.Tensor) -> torch.Tensor:
        parts = {name: v.reshape(params[name].shape) for name, v in zip(names, vector.split(sizes), strict=True)}
        return F.cross_entropy(functional_call(net, {**fixed, **parts}, (torch.as_tensor(X).double(),)), torch.as_tensor(y))

    return hessian(loss)(torch.cat([p.reshape(-1) for p in params.values()])).numpy()


@pytest.fixture
def rows() -> tuple[Any, Any]:
    return blobs(600, 0, apart=0.5)[:2]  # three chunks


def test_products_are_those_of_the_full_hessian(rows: tuple[Any, Any]) -> None:
    net = network()
    subject = matched(subject_of(net, rows)[0])
    full = full_hessian(net, *rows)
    vector = np.random.default_rng(0).normal(size=len(full))
    np.testing.assert_allclose(flat(subject.hvp(unflat(vector, subject))), full @ vector, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("exact", [True, False])
def test_the_ends_of_the_spectrum(rows: tuple[Any, Any], exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    values = np.linalg.eigvalsh(full_hessian(net, *rows))
    if not exact:
        monkeypatch.setattr(own, "EXACT", 0)
    value = diagnose(net, rows, checks="curvature")["curvature"].value
    tolerance = 1e-9 if exact else 1e-3  # eigsh is asked for 1e-4 of each end
    assert value["largest"] == pytest.approx(values[-1], rel=tolerance)
    assert value["smallest"] == pytest.approx(values[0], rel=tolerance, abs=tolerance * values[-1])
    assert value["parameters"] == len(values) == 80
    if exact:
        effective = (np.maximum(values, 0) / (np.maximum(values, 0) + 1e-4)).sum()
        assert value["effective_parameters"] == pytest.approx(effective, rel=1e-6)
        assert value["mean"] == pytest.approx(values.mean(), rel=1e-9)


def test_stochastic_quadrature_is_near_the_truth(rows: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    values = np.linalg.eigvalsh(full_hessian(net, *rows))
    monkeypatch.setattr(own, "EXACT", 0)
    monkeypatch.setattr(own, "PROBES", 12)
    found = matched(subject_of(net, rows)[0]).spectrum
    for function in (lambda d: d, lambda d: np.maximum(d, 0) / (np.maximum(d, 0) + 0.1)):
        f = function(values)
        # a normalized Gaussian probe's estimate of a mean has the variance 2 var(f) / (n + 2); five deviations of twelve of them
        tolerance = 5 * np.sqrt(2 * f.var() / (len(values) + 2) / 12)
        assert abs(found.mean(function) - f.mean()) < tolerance
    again = matched(subject_of(net, rows)[0]).spectrum
    assert (again.nodes == found.nodes).all()
    assert (again.low, again.high) == (found.low, found.high)


def test_lanczos_finds_all_of_a_small_matrix() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(12, 12))
    a = a + a.T
    start = rng.normal(size=12)
    nodes, weights, (ends, vectors) = lanczos(lambda v: a @ v, start, 20)
    values, basis = np.linalg.eigh(a)
    np.testing.assert_allclose(nodes, values, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(weights, (basis.T @ start) ** 2 / (start @ start), atol=1e-8)
    np.testing.assert_allclose(a @ vectors, vectors * ends, atol=1e-7)


def test_moments_of_the_quadrature_are_exact() -> None:
    """m nodes are exact for polynomials of degree 2m − 1."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(30, 30))
    a = (a + a.T) / 10
    start = rng.normal(size=30)
    nodes, weights, _ = lanczos(lambda v: a @ v, start, 5)
    unit = start / np.linalg.norm(start)
    for degree in range(10):
        exact = unit @ np.linalg.matrix_power(a, degree) @ unit
        assert (weights * nodes**degree).sum() == pytest.approx(exact, rel=1e-9, abs=1e-9)


def test_effective_parameters_of_a_quadratic() -> None:
    """Least squares: H = 2 XᵀX / n, and the ridge solution's degrees of freedom are the trace of its hat matrix."""
    X = blobs(60, 0)[0].astype(np.float64)
    net = nn.Linear(10, 1, bias=False).double()
    found = matched(subject_of(net, (X, torch.linspace(0, 1, 60)))[0]).spectrum
    for lam in (1e-3, 0.1, 1.0, 10.0):
        hat = X @ np.linalg.solve(X.T @ X + lam * 60 / 2 * np.eye(10), X.T)
        assert effective_parameters(found, lam) == pytest.approx(np.trace(hat), rel=1e-6)


@pytest.mark.parametrize("nodes", [[-1.0, 0.0, 5.0], [0.0, 0.0, 0.0]])
def test_the_density_has_mass_one(nodes: list[float]) -> None:
    grid, height = density(Spectrum(np.array(nodes), np.array([0.2, 0.5, 0.3]), 3, nodes[0], nodes[-1], ([], [])))
    assert np.trapezoid(height, grid) == pytest.approx(1.0, abs=1e-3)


def test_frozen_and_unused_parameters(rows: tuple[Any, Any]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused, self.head = nn.Linear(10, 4), nn.Linear(3, 3), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.tanh(self.used(x)))

    net = Net().double()
    net.used.requires_grad_(False)
    found = diagnose(net, rows, checks=["curvature", "gradients"])
    assert any("2 of 6 parameters are frozen" in note for note in found.notes)
    value = found["curvature"].value
    assert value["parameters"] == 10 + 12
    values = np.linalg.eigvalsh(full_hessian(net, *rows))
    assert value["largest"] == pytest.approx(values[-1], rel=1e-6)
    net.requires_grad_(False)
    frozen = diagnose(net, rows, checks="curvature")
    assert frozen["curvature"].value["parameters"] == 44 + 12 + 10
    assert any("every parameter is frozen" in note for note in frozen.notes)
