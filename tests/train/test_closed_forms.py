"""What the trainer must reach where mathematics knows the answer: quadratics, ridge, lasso, decay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge
from torch import Tensor, nn

import temperance as tp
from temperance.core.criterion import SquaredError
from temperance.data.dataset import Dataset
from temperance.train.member import Member
from temperance.train.optimizers import Optimizer
from temperance.train.population import Population

D = torch.tensor([4.0, 1.0, 0.25, 0.01], dtype=torch.float64)
BEST = torch.tensor([1.0, -2.0, 3.0, -0.5], dtype=torch.float64)


def quadratic() -> Dataset:
    """Rows on which half the mean squared error is 1/2 sum_i D_i (w_i - w*_i)^2: the axes, scaled, in full batches."""
    x = torch.diag((4 * D).sqrt())
    return Dataset(x, (x @ BEST).unsqueeze(1), "regression")


def descend(cocktails: list[tp.Cocktail], steps: int, optimizer: Optimizer | list[Optimizer], data: Dataset | None = None) -> Tensor:
    """Weights ``(members, columns)`` after full-batch steps from zero, in double precision."""
    data = quadratic() if data is None else data
    assert isinstance(data.x, Tensor)
    net = nn.Linear(data.x.shape[1], 1, bias=False).double()
    nn.init.zeros_(net.weight)
    optimizers = optimizer if isinstance(optimizer, list) else [optimizer] * len(cocktails)
    members = [Member(c, o) for c, o in zip(cocktails, optimizers, strict=True)]
    made = Population(net, members, data, criterion=SquaredError(half=True), batch_size=len(data), total_steps=steps, check_every=steps)
    made.run()
    return torch.stack([made.model(i).state_dict()["weight"][0] for i in range(len(members))])


def test_shrink_factors_of_l2() -> None:
    """Along an eigen-direction of curvature D the minimizer shrinks by D / (D + lam)."""
    lams = [0.0, 0.01, 0.25, 4.0]
    w = descend([tp.Cocktail(tp.L2(lam)) for lam in lams], 900, tp.optim.SGD(0.4, 0.9))
    for i, lam in enumerate(lams):
        torch.testing.assert_close(w[i], BEST * D / (D + lam), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("tau", [1, 7, 60])
def test_early_stopping_on_a_quadratic(tau: int) -> None:
    """From zero, tau steps reach 1 - (1 - eps D)^tau of the way: L2 with lam_i = D_i r / (1 - r), r = (1 - eps D_i)^tau, per direction."""
    eps = 0.2
    stopped = descend([tp.Cocktail()], tau, tp.optim.SGD(eps))[0]
    r = (1 - eps * D) ** tau
    torch.testing.assert_close(stopped, BEST * (1 - r), rtol=1e-10, atol=1e-12)
    lam = D * r / (1 - r)
    torch.testing.assert_close(stopped, BEST * D / (D + lam), rtol=1e-10, atol=1e-12)


def test_one_strength_for_all_directions_is_first_order() -> None:
    """1 / (eps tau) matches where eps D and D / lam are small, and is off by .204 at worst, at D = 2.51 lam."""
    eps, tau = 0.01, 1000
    lam = 1 / (eps * tau)
    way = 1 - (1 - eps * D) ** tau
    assert float(abs(way - D / (D + lam))[3]) < 0.01
    steep = torch.linspace(0.01, 20, 5000, dtype=torch.float64) * lam
    gap = (1 - torch.exp(-steep / lam) - steep / (steep + lam)).abs()
    assert float(gap.max()) == pytest.approx(0.204, abs=1e-3) and float(steep[gap.argmax()] / lam) == pytest.approx(2.51, abs=0.01)


def test_lasso_thresholds_on_a_diagonal_quadratic() -> None:
    """w_i = sign(w*_i) max(|w*_i| - lam / H_ii, 0), with exact zeros."""
    lam = 0.3
    w = descend([tp.Cocktail(tp.L1(lam))], 600, tp.optim.SGD(0.2))[0]
    expected = BEST.sign() * (BEST.abs() - lam / D).clamp_min(0.0)
    torch.testing.assert_close(w, expected, rtol=1e-8, atol=1e-9)
    assert bool((w[expected == 0] == 0).all()) and int((expected == 0).sum()) == 1


def test_decay_is_l2_for_plain_descent_only() -> None:
    """Decoupled decay and L2 agree for plain descent; under momentum and Adam they do not."""
    eps, lam, steps = 1e-3, 0.5, 200
    both = [tp.Cocktail(tp.L2(lam)), tp.Cocktail(tp.WeightDecay(lam))]
    plain = descend(both, steps, tp.optim.SGD(eps))
    torch.testing.assert_close(plain[0], plain[1], rtol=1e-12, atol=1e-15)
    w = torch.zeros(4, dtype=torch.float64)
    for _ in range(steps):
        w = (1 - eps * lam) * w - eps * D * (w - BEST)
    torch.testing.assert_close(plain[1], w, rtol=1e-12, atol=1e-15)
    for optimizer in (tp.optim.SGD(eps, 0.9), tp.optim.Adam(eps)):
        two = descend(both, steps, optimizer)
        assert float((two[0] - two[1]).abs().max()) > 1e-3 * float(plain[0].abs().max())


def test_the_factor_of_decay() -> None:
    """With no gradient, every step multiplies by 1 - eps lam ([003] eq. 26: lam / n on a mean of n rows)."""
    net = nn.Linear(3, 1, bias=False).double()
    start = net.weight.detach().clone()
    data = Dataset(torch.zeros(4, 3, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64), "regression")
    members = [
        Member(tp.Cocktail(r), tp.optim.SGD(0.1))
        for r in (tp.L2(0.5), tp.WeightDecay(0.5), tp.WeightDecay(0.5, scale="none"), tp.WeightDecay(0.5, scale="schedule"))
    ]
    made = Population(net, members, data, batch_size=4, total_steps=7)
    made.run()
    for i, factor in enumerate((0.95, 0.95, 0.5, 0.5)):
        torch.testing.assert_close(made.model(i).state_dict()["weight"], start * factor**7)


# Networks without hidden layers reach scikit-learn's solutions


def rows(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 5)) @ np.diag([1.0, 0.7, 2.0, 1.0, 1.0])
    return X, X @ np.array([1.0, -2.0, 0.5, 0.0, 0.0]) + 1.5 + 0.3 * rng.normal(size=n)


def linear(cocktails: list[tp.Cocktail], steps: int, lr: float) -> list[dict[str, Any]]:
    X, y = rows()
    data = Dataset(torch.as_tensor(X), torch.as_tensor(y).unsqueeze(1), "regression")
    members = [Member(c, tp.optim.SGD(lr)) for c in cocktails]
    made = Population(nn.Linear(5, 1).double(), members, data, criterion=SquaredError(half=True), batch_size=len(y), total_steps=steps, check_every=steps)
    made.run()
    return [made.model(i).state_dict() for i in range(len(members))]


def test_ridge() -> None:
    """Half the mean squared error plus lam/2 ||w||^2 is scikit-learn's ||y - Xw||^2 + alpha ||w||^2 with alpha = n lam; no penalty on the intercept."""
    X, y = rows()
    lams = [0.01, 0.3, 2.0]
    for lam, state in zip(lams, linear([tp.Cocktail(tp.L2(lam)) for lam in lams], 700, 0.2), strict=True):
        theirs = Ridge(alpha=len(y) * lam).fit(X, y)
        np.testing.assert_allclose(state["weight"][0].numpy(), theirs.coef_, rtol=1e-7, atol=1e-8)
        assert float(state["bias"]) == pytest.approx(float(theirs.intercept_), rel=1e-7)


def test_lasso_and_elastic_net() -> None:
    """1/(2n) ||y - Xw||^2 + alpha |w|_1: the same alpha; the elastic net splits alpha by l1_ratio."""
    X, y = rows()
    cases: list[tuple[tp.Cocktail, Any]] = [(tp.Cocktail(tp.L1(lam)), Lasso(alpha=lam, tol=1e-12, max_iter=100_000)) for lam in (0.05, 0.4)]
    cases.append((tp.Cocktail(tp.L1(0.2), tp.L2(0.3)), ElasticNet(alpha=0.5, l1_ratio=0.4, tol=1e-12, max_iter=100_000)))
    for (_, theirs), state in zip(cases, linear([c for c, _ in cases], 900, 0.2), strict=True):
        theirs.fit(X, y)
        w = state["weight"][0].numpy()
        np.testing.assert_allclose(w, theirs.coef_, rtol=1e-6, atol=1e-7)
        assert ((w == 0) == (theirs.coef_ == 0)).all() and (w != 0).any()


def test_logistic_regression() -> None:
    """Mean cross-entropy plus lam/2 ||w||^2 is scikit-learn's C = 1 / (n lam)."""
    X, y = rows()
    labels = (y > np.median(y)).astype(int)
    data = Dataset(torch.as_tensor(X), torch.as_tensor(labels).double().unsqueeze(1), "multilabel")
    lam = 0.05
    made = Population(
        nn.Linear(5, 1).double(), [Member(tp.Cocktail(tp.L2(lam)), tp.optim.SGD(0.5, 0.9))], data, batch_size=60, total_steps=600, check_every=600
    )
    made.run()
    theirs = LogisticRegression(C=1 / (len(y) * lam), tol=1e-12, max_iter=10_000).fit(X, labels)
    np.testing.assert_allclose(made.model(0).state_dict()["weight"].numpy(), theirs.coef_, rtol=1e-6)


def test_singular_least_squares() -> None:
    """Two equal columns: ridge solves it, and for small lam it is the pseudo-inverse."""
    g = torch.Generator().manual_seed(0)
    a = torch.randn(20, 1, generator=g, dtype=torch.float64)
    data = Dataset(torch.cat([a, a], 1), 3 * a, "regression")
    w = descend([tp.Cocktail(tp.L2(1e-6))], 150, tp.optim.SGD(0.3), data)[0]
    torch.testing.assert_close(w, torch.tensor([1.5, 1.5], dtype=torch.float64), rtol=1e-4, atol=1e-4)


def test_separable_classes_need_a_penalty() -> None:
    """Without one the weights of a logistic regression grow for ever, with it they settle."""
    data = Dataset(torch.tensor([[-1.0], [1.0]]), torch.tensor([[0.0], [1.0]]), "multilabel")
    net = nn.Linear(1, 1)
    nn.init.zeros_(net.weight)
    norms: dict[int, list[float]] = {}
    for steps in (150, 300, 600):
        made = Population(
            net, [Member(tp.Cocktail(tp.L2(lam)), tp.optim.SGD(1.0)) for lam in (0.0, 0.1)], data, batch_size=2, total_steps=steps, check_every=steps
        )
        made.run()
        norms[steps] = [float(made.model(i).state_dict()["weight"].abs()) for i in (0, 1)]
    assert norms[150][0] + 0.5 < norms[300][0] < norms[600][0] - 0.5
    assert norms[150][1] == pytest.approx(norms[600][1], rel=1e-5)


def test_per_member_numbers() -> None:
    """Rates and momenta of one population: every member as torch.optim alone."""
    optimizers: list[Optimizer] = [tp.optim.SGD(0.05, 0.0), tp.optim.SGD(0.1, 0.5), tp.optim.SGD(0.02, 0.9)]
    w = descend([tp.Cocktail()] * 3, 100, optimizers)
    for i, o in enumerate(optimizers):
        p = nn.Parameter(torch.zeros(4, dtype=torch.float64))
        theirs = torch.optim.SGD([p], lr=o.hypers()["lr"], momentum=o.hypers()["momentum"])
        for _ in range(100):
            theirs.zero_grad()
            (0.5 * (D * (p - BEST).square()).sum()).backward()
            theirs.step()
        torch.testing.assert_close(w[i], p.detach(), rtol=1e-10, atol=1e-10)
