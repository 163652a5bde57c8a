"""What L2 and L1 do to a fit, beyond where its minimum lies: effective parameters, spikes at zero, networks that become linear."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import temperance as tp
from temperance.core.criterion import SquaredError
from temperance.data.dataset import Dataset
from temperance.train.member import Member
from temperance.train.population import Population


def fitted(x: Tensor, y: Tensor, cocktails: list[tp.Cocktail], steps: int, lr: float = 0.3, momentum: float = 0.0) -> Tensor:
    """Weights ``(members, columns)`` of linear networks without intercept after full-batch steps from zero on half the mean squared error."""
    net = nn.Linear(x.shape[1], 1, bias=False).double()
    nn.init.zeros_(net.weight)
    members = [Member(c, tp.optim.SGD(lr, momentum)) for c in cocktails]
    made = Population(
        net, members, Dataset(x, y.unsqueeze(1), "regression"), criterion=SquaredError(half=True), batch_size=len(x), total_steps=steps, check_every=steps
    )
    made.run()
    return torch.stack([made.model(i).state_dict()["weight"][0] for i in range(len(members))])


def rows(n: int = 15, d: int = 4) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    mix = torch.randn(d, d, generator=g, dtype=torch.float64)
    x = torch.randn(n, d, generator=g, dtype=torch.float64) @ (torch.eye(d, dtype=torch.float64) + 0.4 * mix)
    return x, x @ torch.linspace(-1, 1, d, dtype=torch.float64) + 0.3 * torch.randn(n, generator=g, dtype=torch.float64)


def test_the_minimizer_in_any_basis() -> None:
    """Q (D + lam I)⁻¹ D Qᵀ w*, on a Hessian that is not diagonal."""
    x, y = rows()
    d, q = torch.linalg.eigh(x.T @ x / len(x))
    best = torch.linalg.lstsq(x, y.unsqueeze(1)).solution[:, 0]
    lams = [0.01, 0.5]
    for lam, w in zip(lams, fitted(x, y, [tp.Cocktail(tp.L2(lam)) for lam in lams], 1500, 0.2, 0.8), strict=True):
        torch.testing.assert_close(w, q @ torch.diag(d / (d + lam)) @ q.T @ best, rtol=1e-8, atol=1e-8)


def test_effective_parameters() -> None:
    """The sum of D / (D + lam) is how far the fitted values follow the targets: the trace of d fit / d y, found by moving one target at a time."""
    x, y = rows()
    n, lam, h = len(x), 0.5, 1.0
    d = torch.linalg.eigvalsh(x.T @ x / n)
    cocktail = [tp.Cocktail(tp.L2(lam))]
    start = x @ fitted(x, y, cocktail, 150)[0]
    follows = 0.0
    for i in range(n):
        moved = y.clone()
        moved[i] += h
        follows += float((x @ fitted(x, moved, cocktail, 150)[0] - start)[i]) / h
    assert follows == pytest.approx(float((d / (d + lam)).sum()), rel=1e-6)
    assert 0 < follows < x.shape[1]


def test_the_limit_of_ridge_is_the_pseudo_inverse() -> None:
    """More columns than rows: the gap to the least-squares solution of least norm shrinks in proportion to lam."""
    g = torch.Generator().manual_seed(1)
    x = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64))[0][:3] * torch.tensor([[1.5], [2.0], [2.5]], dtype=torch.float64)
    y = torch.tensor([1.0, -1.0, 2.0], dtype=torch.float64)
    best = torch.linalg.pinv(x) @ y
    lams = [1e-1, 1e-2, 1e-3]
    gaps = (fitted(x, y, [tp.Cocktail(tp.L2(lam)) for lam in lams], 3000, 0.3) - best).norm(dim=1)
    least = float((torch.linalg.svdvals(x)[:3] ** 2 / 3).min())
    for lam, gap in zip(lams, gaps.tolist(), strict=True):
        assert 0.3 * lam < gap < float(best.norm()) * lam / least


def test_l1_has_a_spike_at_zero_and_heavier_tails() -> None:
    """Of many weights, a few of them needed: L1 leaves most at exactly zero and the others large; L2 spreads, and zeroes none."""
    g = torch.Generator().manual_seed(2)
    x = torch.randn(80, 60, generator=g, dtype=torch.float64)
    w = torch.zeros(60, dtype=torch.float64)
    w[:5] = torch.tensor([3.0, -2.0, 2.0, -1.5, 1.0], dtype=torch.float64)
    y = x @ w + 0.3 * torch.randn(80, generator=g, dtype=torch.float64)
    l1, l2 = fitted(x, y, [tp.Cocktail(tp.L1(0.15)), tp.Cocktail(tp.L2(0.15))], 400, 0.2)
    assert int((l1 == 0).sum()) > 30 and int((l2 == 0).sum()) == 0
    assert stats.kurtosis(l1.numpy()) > stats.kurtosis(l2.numpy()) > 0
    np.testing.assert_array_equal(l1[:5] != 0, True)


def test_far_too_much_l2_leaves_an_almost_linear_network_that_underfits() -> None:
    """On a curve, tanh units at near-zero weights: the best straight line takes the fit over, and the error is large."""
    x = torch.linspace(-2, 2, 40, dtype=torch.float64).unsqueeze(1)
    y = torch.sin(2 * x)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    members = [Member(tp.Cocktail(tp.L2(lam)), tp.optim.SGD(0.1, 0.9)) for lam in (0.0, 0.1)]
    made = Population(net, members, Dataset(x, y, "regression"), criterion=SquaredError(half=True), batch_size=40, total_steps=1500, check_every=1500)
    made.run()
    errors: list[float] = []
    bends: list[float] = []
    for i in range(2):
        with torch.no_grad():
            out = made.model(i)(x)
        line = torch.cat([x, torch.ones_like(x)], 1)
        rest = out - line @ torch.linalg.lstsq(line, out).solution
        errors.append(float((out - y).square().mean()))
        bends.append(float(rest.square().mean() / out.var()))
    assert errors[0] < 0.01 and errors[1] > 0.8 * float(y.var())
    assert bends[0] > 0.5 and bends[1] < 0.01
