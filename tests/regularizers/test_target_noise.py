import math

import pytest
import torch
from scipy import stats
from tests.regularizers.helpers import bound, context, linear_rows
from torch import Tensor, nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SoftmaxCrossEntropy
from temperance.core.errors import ConfigError
from temperance.core.program import Program
from temperance.core.random import Rng, key_of
from temperance.core.regularizer import Context
from temperance.regularizers import TargetNoise


def test_distribution_in_units_of_the_target() -> None:
    batch = full_batch(torch.zeros(10000, 1), torch.full((10000, 2), 3.0, dtype=torch.float64))
    scale = torch.tensor([1.0, 20.0], dtype=torch.float64)
    for constants, unit in (({}, torch.ones(2)), ({"target_scale": scale}, scale)):
        y = bound(TargetNoise(0.1)).batch(batch, context(constants={"tasks": "regression", **constants})).y
        for j in range(2):
            assert stats.kstest(y[:, j].numpy(), stats.norm(3.0, 0.1 * unit[j].item()).cdf).pvalue > 1e-3


def test_expected_squared_error_gains_a_constant_and_its_gradient_stays() -> None:
    """E mean (xᵀw - ỹ)² = mean (xᵀw - y)² + sigma²; the mean of the gradients is the gradient."""
    batch, sigma = linear_rows(), 0.5
    w = torch.tensor([1.0, -2.0, 0.5, 1.5, 0.1, -0.3], dtype=torch.float64)

    def loss(w: Tensor, key: Tensor) -> Tensor:
        y = bound(TargetNoise(sigma)).batch(batch, Context(rng=Rng(key, 3))).y
        return (batch.x @ w - y[:, 0]).square().mean()

    keys = key_of(0) + torch.arange(4000)
    grads, losses = torch.vmap(torch.func.grad_and_value(loss), in_dims=(None, 0))(w, keys)
    residual = batch.x @ w - batch.y[:, 0]
    assert abs(losses.mean() - residual.square().mean() - sigma**2) < 5 * losses.std() / math.sqrt(len(losses))
    exact = 2 * batch.x.T @ residual / len(residual)
    assert ((grads.mean(0) - exact).abs() < 5 * grads.std(0) / math.sqrt(len(losses))).all()


def test_heads_of_classes_are_left_alone() -> None:
    y = {"kind": torch.eye(3), "price": torch.zeros(3, 1)}
    tasks = {"kind": "classification", "price": "regression"}
    out = bound(TargetNoise(0.1), torch.float32).batch(full_batch(torch.zeros(3, 1), y), context(constants={"tasks": tasks})).y
    assert out["kind"] is y["kind"] and (out["price"] != 0).all()
    scale = {"kind": torch.ones(3), "price": torch.tensor([10.0])}
    wide = bound(TargetNoise(0.1), torch.float32).batch(full_batch(torch.zeros(3, 1), y), context(constants={"tasks": tasks, "target_scale": scale})).y
    torch.testing.assert_close(wide["price"], 10 * out["price"])


def test_classes_are_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"TargetNoise serves regression, and the task is classification\. Leave it out"):
        Program(Cocktail(TargetNoise()), nn.Linear(2, 2), SoftmaxCrossEntropy())
