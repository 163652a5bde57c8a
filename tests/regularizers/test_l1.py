from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from sklearn.linear_model import ElasticNet, Lasso
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows

from temperance.core.acting import metric_of
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.data.dataset import Dataset
from temperance.regularizers import L1, L2
from temperance.train.member import Member
from temperance.train.optimizers import SGD, AdaGrad, Adam, AdamW, NAdam, Optimizer, RMSProp
from temperance.train.population import Population

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)


def prox(w: torch.Tensor, threshold: float) -> torch.Tensor:
    return bound(L1(threshold)).after_step({"w": w}, context(lr=torch.tensor(1.0, dtype=w.dtype)))["w"]


@given(st.lists(numbers, min_size=1, max_size=8), st.floats(0, 10))
def test_the_prox_is_soft_thresholding(values: list[float], threshold: float) -> None:
    w = np.array(values)
    expected = np.sign(w) * np.maximum(np.abs(w) - threshold, 0.0)
    found = prox(torch.tensor(values, dtype=torch.float64), threshold).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert np.all(found[np.abs(w) <= threshold] == 0.0)


@given(numbers, st.floats(0.01, 10))
def test_the_prox_minimizes_its_objective(w: float, threshold: float) -> None:
    v = prox(torch.tensor([w], dtype=torch.float64), threshold).item()

    def objective(u: float) -> float:
        return 0.5 * (u - w) ** 2 + threshold * abs(u)

    slack = 1e-9 * (1 + w * w)
    assert all(objective(v) <= objective(v + step) + slack for step in (-1.0, -1e-3, 1e-3, 1.0))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8), st.floats(0, 10))
def test_the_prox_is_non_expansive(pairs: list[tuple[float, float]], threshold: float) -> None:
    a, b = (torch.tensor(side, dtype=torch.float64) for side in zip(*pairs, strict=True))
    before, after = (a - b).norm(), (prox(a, threshold) - prox(b, threshold)).norm()
    assert after <= before * (1 + 1e-12) + 1e-9


@pytest.mark.parametrize("lam", [0.05, 0.3])
def test_a_net_without_hidden_layer_is_the_lasso(lam: float) -> None:
    batch = linear_rows()
    w = Loop(Cocktail(L1(lam)), linear_net(), SquaredError(half=True)).descend(batch, 0.3, 800)["weight"].numpy().ravel()
    lasso = Lasso(alpha=lam, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(batch.x.numpy(), batch.y.numpy().ravel())
    np.testing.assert_allclose(w, lasso.coef_, atol=1e-8)
    assert np.array_equal(w == 0.0, lasso.coef_ == 0.0) and (w == 0.0).any()


def test_with_l2_it_is_the_elastic_net() -> None:
    batch = linear_rows()
    w = Loop(Cocktail(L2(0.2), L1(0.1)), linear_net(), SquaredError(half=True)).descend(batch, 0.3, 800)["weight"].numpy().ravel()
    net = ElasticNet(alpha=0.3, l1_ratio=1 / 3, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(batch.x.numpy(), batch.y.numpy().ravel())
    np.testing.assert_allclose(w, net.coef_, atol=1e-8)


def test_on_a_diagonal_hessian_weights_below_lam_over_h_are_zero() -> None:
    h, target = torch.tensor([0.5, 1.0, 2.0, 4.0]).double(), torch.tensor([1.0, -0.2, 0.1, 0.3]).double()
    lam, lr, w = 0.3, 0.2, torch.zeros(4).double()
    reg = bound(L1(lam))
    for _ in range(500):
        w = reg.after_step({"w": w - lr * h * (w - target)}, context(lr=torch.tensor(lr, dtype=torch.float64)))["w"]
    torch.testing.assert_close(w, target.sign() * (target.abs() - lam / h).clamp_min(0), rtol=1e-10, atol=1e-12)


def test_the_subgradient_gives_no_exact_zeros() -> None:
    batch = linear_rows()
    loop = Loop(Cocktail(L1(0.3, mode="subgradient")), linear_net(), SquaredError(half=True))
    w = loop.descend(batch, 0.31, 300)["weight"]
    assert (w != 0).all()
    g = torch.autograd.grad(bound(L1(0.3, mode="subgradient")).penalty({"w": (p := w.clone().requires_grad_())}, {}, context()), p)[0]
    torch.testing.assert_close(g, 0.3 * w.sign())
    assert set(loop.gradient(batch)[1]) == {"data", "l1"}
    assert set(Loop(Cocktail(L1(0.3)), linear_net(), SquaredError()).gradient(batch)[1]) == {"data"}


def test_the_metric_divides_the_threshold_of_each_coordinate() -> None:
    w, scale = torch.tensor([[1.0, -1.0, 0.5, -0.5]]).double(), torch.tensor([[0.5, 2.0, 0.1, 1.0]]).double()
    reg, lr = bound(L1(0.4, metric="adam")), torch.tensor(0.5).double()
    found = reg.after_step({"w": w, "other": w}, context(lr=lr, metric={"w": scale}))
    torch.testing.assert_close(found["w"], w.sign() * (w.abs() - 0.2 / scale).clamp_min(0.0))
    assert torch.equal(found["other"], bound(L1(0.4)).after_step({"w": w}, context(lr=lr))["w"])


# Without momentum, so that a step is lr g over the scale.
DIVIDING: dict[str, tuple[Optimizer | None, Any]] = {
    "adam": (Adam(0.02, beta1=0.0), lambda p: torch.optim.Adam(p, 0.02, betas=(0.0, 0.999))),
    "adam inside": (Adam(0.02, beta1=0.0, eps=0.1, inside=True), None),
    "amsgrad": (None, lambda p: torch.optim.Adam(p, 0.02, betas=(0.0, 0.9), amsgrad=True)),
    "adamw": (AdamW(0.02, beta1=0.0), lambda p: torch.optim.AdamW(p, 0.02, betas=(0.0, 0.999), weight_decay=0.0)),
    "nadam": (NAdam(0.02, beta1=0.0), lambda p: torch.optim.NAdam(p, 0.02, betas=(0.0, 0.999))),
    "rmsprop": (RMSProp(0.02, inside=False, eps=0.1), lambda p: torch.optim.RMSprop(p, 0.02, alpha=0.9, eps=0.1)),
    "rmsprop inside": (RMSProp(0.02, eps=0.1), None),
    "centered": (None, lambda p: torch.optim.RMSprop(p, 0.02, alpha=0.9, eps=0.1, centered=True)),
    "adagrad": (AdaGrad(0.3), lambda p: torch.optim.Adagrad(p, 0.3, eps=1e-7)),
}


@pytest.mark.parametrize("name", DIVIDING)
def test_the_metric_is_what_a_step_was_divided_by(name: str) -> None:
    ours, theirs = DIVIDING[name]
    g = torch.Generator().manual_seed(0)
    theta, net = torch.randn(1, 6, generator=g, dtype=torch.float64), linear_net()
    slots = {} if ours is None else ours.start(theta, {"w": torch.Size([6])})
    columns = {} if ours is None else {key: torch.tensor([[value]], dtype=torch.float64) for key, value in ours.hypers().items()}
    optimizer = None if theirs is None else theirs(net.parameters())
    for t in range(4):
        grad = torch.randn(1, 6, generator=g, dtype=torch.float64)
        if ours is not None:
            before = theta.clone()
            ours.update(theta, grad.clone(), slots, columns, columns["lr"], t, 0)
            scale = ours.scale(slots, columns, t)
            assert scale is not None
            torch.testing.assert_close((before - theta) * scale, columns["lr"] * grad, rtol=1e-9, atol=1e-12)
        if optimizer is not None:
            start, net.weight.grad = net.weight.detach().clone(), grad.clone()
            optimizer.step()
            found = metric_of(optimizer, {id(net.weight): "weight"})["weight"]
            torch.testing.assert_close((start - net.weight.detach()) * found, optimizer.param_groups[0]["lr"] * grad, rtol=1e-9, atol=1e-12)


def test_in_adams_metric_the_minimizer_is_the_lasso() -> None:
    """There lr g / scale = lr lam sign(w) / scale in every coordinate. The plain step has other gradients there."""
    batch, lam = linear_rows(), 0.3
    lasso = Lasso(alpha=lam, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(batch.x.numpy(), batch.y.numpy().ravel())
    members = [Member(Cocktail(L1(lam, metric=metric)), Adam(0.03)) for metric in ("adam", "plain")]
    data = Dataset(batch.x, batch.y, "regression")
    population = Population(linear_net(), members, data, criterion=SquaredError(half=True), batch_size=len(data), total_steps=800, check_every=800)
    with_metric, plain = (o.final["weight"].numpy().ravel() for o in population.run() if o.final is not None)
    np.testing.assert_allclose(with_metric, lasso.coef_, atol=1e-5)
    assert np.array_equal(with_metric == 0.0, lasso.coef_ == 0.0) and np.abs(plain - lasso.coef_).max() > 0.01


@pytest.mark.parametrize("name", [name for name, (ours, theirs) in DIVIDING.items() if ours is not None and theirs is not None])
def test_attached_and_trained_the_metric_is_the_same(name: str) -> None:
    batch = linear_rows()
    ours, theirs = DIVIDING[name]
    assert ours is not None
    cocktail, data = Cocktail(L1(0.1, metric="adam")), Dataset(batch.x, batch.y, "regression")
    members = [Member(cocktail, ours), Member(Cocktail(L1(0.1)), ours)]
    population = Population(linear_net(), members, data, criterion=SquaredError(), batch_size=len(data), total_steps=6, check_every=6)
    final, plain = (o.final for o in population.run())
    net = linear_net()
    optimizer = theirs(net.parameters())
    reg = cocktail.attach(net, optimizer, SquaredError())
    for _ in range(6):
        reg.loss(batch.x, batch.y).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert final is not None and plain is not None and not torch.allclose(final["weight"], plain["weight"], rtol=1e-3)
    torch.testing.assert_close(final["weight"], net.weight.detach(), rtol=1e-6, atol=1e-9)


def test_without_a_metric_of_the_optimizer_it_is_the_plain_step() -> None:
    batch = linear_rows()
    members = [Member(Cocktail(L1(0.1, metric=metric)), SGD(0.1)) for metric in ("adam", "plain")]
    data = Dataset(batch.x, batch.y, "regression")
    one, two = (o.final for o in Population(linear_net(), members, data, batch_size=40, total_steps=20).run())
    assert one is not None and two is not None and torch.equal(one["weight"], two["weight"])
