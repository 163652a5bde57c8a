"""GradientNoise against the variance its formula states."""

from __future__ import annotations

import pytest
import torch

import temperance as tp
from temperance.core.random import Rng, key_of


@pytest.mark.parametrize("step", [0, 99])
def test_variance_is_that_of_the_formula(step: int) -> None:
    n, eta = 200_000, 0.04
    ctx = tp.Context(rng=Rng(key_of(0), 1), step=torch.tensor(step))
    out = tp.GradientNoise(eta).bind().grads({"w": torch.full((n,), 2.0)}, {}, ctx)["w"]
    variance = eta / (1 + step) ** 0.55
    assert abs(float(out.mean()) - 2.0) < 5 * (variance / n) ** 0.5
    assert abs(float(out.var()) / variance - 1) < 5 * (2 / n) ** 0.5  # five standard errors of a Gaussian's variance
