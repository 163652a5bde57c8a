"""The gradient noise scale against per-row gradients, and against a covariance that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.core.random import Rng, key_of, stream_of
from temperance.diagnose.finding import Finding
from temperance.diagnose.noise_scale import estimated, fieller


def linear(d: int, start: float = 0.0) -> nn.Linear:
    net = nn.Linear(d, 1, bias=False)
    nn.init.constant_(net.weight, start)
    return net.double()


def found(net: nn.Module, x: Tensor, y: Tensor, seed: int = 0) -> Finding:
    return tp.diagnose(net, (x, y), criterion=nn.MSELoss(), checks="noise_scale", rows=10**6, seed=seed)["noise_scale"]


def rows_of(n: int, d: int, seed: int, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """y = x · 1 + noise: in floats of double precision, never whole numbers."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=draw, dtype=torch.float64)
    return x, x.sum(1) + noise * torch.randn(n, generator=draw, dtype=torch.float64)


def test_minibatches_of_one_row_give_the_sample_covariance() -> None:
    """With 30 rows every minibatch is a row: the estimates are the textbook's, from gradients written out by hand."""
    x, y = rows_of(30, 4, 1)
    g = (2 * (x @ torch.full((4,), 0.3, dtype=torch.float64) - y)[:, None] * x).numpy()
    value = found(linear(4, 0.3), x, y).value
    noise = np.trace(np.cov(g.T))
    signal = np.square(g.mean(0)).sum() - noise / 30
    assert (value["minibatches"], value["batch_size"]) == (30, 1)
    assert value["noise"] == pytest.approx(noise, rel=1e-6) and value["signal"] == pytest.approx(signal, rel=1e-6)
    assert value["noise_scale"] == pytest.approx(noise / signal, rel=1e-6)


def test_larger_minibatches_give_b_times_their_covariance() -> None:
    """By the two batch sizes of the paper: (n |G_n|² - b |G_b|²) / (n - b), and (|G_b|² - |G_n|²) / (1 / b - 1 / n)."""
    x, y = rows_of(96, 3, 2)
    order = Rng(key_of(5), stream_of("diagnose", "noise_scale")).permutation(96).reshape(32, 3)
    g = (2 * -y[:, None] * x).numpy()[order.numpy()].mean(1)
    small, large = np.square(g).sum(1).mean(), np.square(g.mean(0)).sum()
    value = found(linear(3), x, y, seed=5).value
    assert value["batch_size"] == 3
    assert value["signal"] == pytest.approx((96 * large - 3 * small) / 93, rel=1e-6)
    assert value["noise"] == pytest.approx((small - large) / (1 / 3 - 1 / 96), rel=1e-6)


def test_the_interval_holds_the_true_scale() -> None:
    """x ~ N(0, I), y = x · 1 + e, weights 0: rows of gradient -2 x y with mean -2 · 1 and trace of the covariance 4 (d (d + 1) + d)."""
    d = 5
    truth = (d * (d + 1.0) + d) / d
    inside = 0
    middle: list[float] = []
    for seed in range(60):
        value = found(linear(d), *rows_of(400, d, seed), seed=seed).value
        inside += value["low"] <= truth <= value["high"]
        middle.append(value["noise_scale"])
    assert inside >= 51  # of 60 at 95 %: fewer has a chance of 1 in 2,000
    assert np.median(middle) == pytest.approx(truth, rel=0.1)


def test_a_fitted_network_has_no_signal_and_a_biased_one_no_noise() -> None:
    x, y = rows_of(320, 4, 3)
    best = linear(4)
    with torch.no_grad():
        best.weight.copy_(torch.linalg.lstsq(x, y[:, None]).solution.T)
    end = found(best, x, y)
    assert end.value["high"] == math.inf and end.verdict == "fine"
    assert "cannot be told from noise" in end.meaning and end.value["low"] == 320
    x, y = torch.ones(64, 1, dtype=torch.float64), torch.full((64,), 2.5, dtype=torch.float64)
    alike = found(linear(1), x, y)
    assert alike.value["noise"] == pytest.approx(0.0, abs=1e-12) and alike.value["noise_scale"] == pytest.approx(0.0, abs=1e-12)
    assert "The gradient of 1 row" in alike.meaning


def test_jackknife_by_leaving_out_for_real() -> None:
    """The variances behind the interval, by estimating again without each minibatch."""
    g = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1.0

    def both(part: Tensor) -> tuple[float, float]:
        pairs = part @ part.T
        k = len(part)
        return float(pairs.sum() - pairs.diag().sum()) / (k * (k - 1)), 7 * float(part.var(0).sum())

    mean = g.mean(0)
    ratio, low, high, signal, noise = estimated(g.square().sum(1), g @ mean, float(mean @ mean), 7)
    assert (signal, noise) == pytest.approx(both(g), rel=1e-9) and ratio == pytest.approx(noise / signal)
    left = np.array([both(torch.cat([g[:k], g[k + 1 :]])) for k in range(9)])
    spread = 8 / 9 * (left - left.mean(0)).T @ (left - left.mean(0))
    assert (low, high) == pytest.approx(fieller(noise, signal, spread[1, 1], spread[0, 1], spread[0, 0], 2.306004135), rel=1e-6)


@pytest.mark.parametrize("covariance", [0.0, 0.02])
def test_fieller_covers_as_often_as_it_says(covariance: float) -> None:
    """Of ratios of two normal numbers with known variances the interval holds 95 %."""
    rng = np.random.default_rng(0)
    pairs = rng.multivariate_normal([2.0, 1.0], [[0.09, covariance], [covariance, 0.04]], 4000)
    held = [low <= 2.0 <= high for a, b in pairs for low, high in [fieller(a, b, 0.09, covariance, 0.04, 1.959964)]]
    assert abs(np.mean(held) - 0.95) < 0.014  # four standard errors


def test_a_denominator_that_may_be_zero_leaves_a_lower_end_alone() -> None:
    """There the ratio is as far from the estimates as the interval allows; beyond every ratio is possible."""
    a, b, vaa, vab, vbb, t = 2.0, 0.1, 0.04, 0.002, 0.01, 2.0
    low, high = fieller(a, b, vaa, vab, vbb, t)
    assert high == math.inf and (a - low * b) ** 2 == pytest.approx(t**2 * (vaa - 2 * low * vab + low**2 * vbb))
    assert 0 < low < a / b


def test_too_few_rows_are_skipped() -> None:
    skipped = tp.diagnose(linear(2), rows_of(7, 2, 0), criterion=nn.MSELoss(), checks="noise_scale").skipped
    assert skipped == (("noise_scale", "the noise of a gradient shows in 8 training rows or more"),)
