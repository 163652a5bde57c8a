"""lam / n, and penalties read as priors: against scipy's densities."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from sklearn.linear_model import Ridge
from tests.regularizers.helpers import Loop, linear_net, linear_rows
from torch import nn

import temperance as tp
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.core.prior import Gaussian, Laplace, per_row, reading


def test_the_strength_of_a_sum_over_rows() -> None:
    """scikit-learn's Ridge adds alpha ‖w‖² to the sum of squares, which is lam/2 ‖w‖² of half that sum with lam = alpha; and the factor of a step."""
    batch, alpha = linear_rows(), 7.0
    n = len(batch.x)
    w = Loop(Cocktail(tp.L2(per_row(alpha, n))), linear_net(), SquaredError(half=True)).descend(batch, 0.3, 800)["weight"].numpy().ravel()
    np.testing.assert_allclose(w, Ridge(alpha=alpha, fit_intercept=False).fit(batch.x.numpy(), batch.y.numpy()).coef_.ravel(), atol=1e-10)
    eps = 0.1
    start = torch.tensor([[2.0]], dtype=torch.float64)
    grad = tp.L2(per_row(alpha, n)).bind().penalty({"w": (leaf := start.clone().requires_grad_())}, {}, tp.Context())
    stepped = start - eps * torch.autograd.grad(grad, leaf)[0]
    assert stepped.item() == pytest.approx(2.0 * (1 - eps * alpha / n), rel=1e-6)


@pytest.mark.parametrize("bad", [0, -3, 2.5, True, "many"])
def test_rows_are_counted(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `n` of per_row to be a whole number of rows, 1 or more, got "):
        per_row(1.0, bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^Expected `rows` of describe to be a whole number of rows"):
        tp.Cocktail(tp.L2()).describe(nn.Linear(2, 2), rows=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-1.0, math.inf, math.nan, "1", None, True])
def test_strengths_are_numbers(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `lam` of per_row to be a number in \[0, inf\), got "):
        per_row(bad, 10)  # type: ignore[arg-type]


N, S = 40, 0.3


def told(regularizer: tp.Regularizer, noise: float | None = None) -> str:
    return tp.Cocktail(regularizer).describe(nn.Linear(2, 1), rows=N, noise=noise).splitlines()[-1]


def test_the_numbers_of_the_reading() -> None:
    assert told(tp.L2(0.02)).startswith("  l2: a Gaussian prior of variance 1.25 on each weight, for a mean loss over 40 rows")
    assert told(tp.L1(0.05)).startswith("  l1: a Laplace prior of scale 0.5 on each weight, for a mean loss over 40 rows")
    assert told(tp.L2(0.02), S) == "  l2: a Gaussian prior of variance 0.225 on each weight, for the mean squared error over 40 rows with noise 0.3"
    assert told(tp.L1(0.05), S) == "  l1: a Laplace prior of scale 0.09 on each weight, for the mean squared error over 40 rows with noise 0.3"
    both = "  elastic_net: a Gaussian prior of variance 1.25 times a Laplace prior of scale 0.5 on each weight, for a mean loss over 40 rows"
    assert told(tp.ElasticNet(0.02, 0.05)).startswith(both)
    assert told(tp.ElasticNet(0.0, 0.05)).startswith("  elastic_net: a Laplace prior of scale 0.5 on each weight")
    assert told(tp.L2(0.0)) == "  l2: no prior: it is off"
    symbols = tp.Cocktail(tp.ElasticNet()).describe(nn.Linear(2, 1)).splitlines()[-1]
    assert symbols.startswith("  elastic_net: a Gaussian prior of variance 1 / (n alpha) times a Laplace prior of scale 1 / (n beta) on each weight")


def test_noise_needs_rows() -> None:
    with pytest.raises(ConfigError, match=r"^Expected `rows` of describe to be given where `noise` is"):
        tp.Cocktail(tp.L2()).describe(nn.Linear(2, 1), noise=0.5)
    with pytest.raises(ConfigError, match=r"^Expected `noise` of describe to be a number in"):
        tp.Cocktail(tp.L2()).describe(nn.Linear(2, 1), rows=3, noise=-1.0)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.0), (0.0, 0.05), (0.1, 0.05)])
def test_the_mode_of_the_posterior_is_what_training_finds(alpha: float, beta: float) -> None:
    """Densities from scipy with the widths that the reading names: their posterior's mode, found without gradients of ours, is the trained network."""
    batch = linear_rows(n=N, d=3)
    w = Loop(Cocktail(tp.ElasticNet(alpha, beta)), linear_net(3), SquaredError()).descend(batch, 0.1, 800)["weight"].numpy().ravel()
    x, y = batch.x.numpy(), batch.y.numpy().ravel()
    unit = 2 * S**2

    def unlikely(v: np.ndarray) -> float:
        out = -stats.norm(x @ v, S).logpdf(y).sum()
        if alpha:
            out -= stats.norm(0.0, math.sqrt(unit / (N * alpha))).logpdf(v).sum()
        if beta:
            out -= stats.laplace(0.0, unit / (N * beta)).logpdf(v).sum()
        return float(out)

    found = optimize.minimize(unlikely, np.full(3, 0.3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000}).x
    np.testing.assert_allclose(w, found, atol=1e-5)


def test_reading_of_no_numbers() -> None:
    assert reading([Gaussian("a"), Laplace("b")], {"a": 0.0, "b": 0.0}, rows=3) == "no prior: it is off"
