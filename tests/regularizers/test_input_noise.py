import math

import pytest
import torch
from scipy import stats
from tests.regularizers.helpers import bound, context, linear_rows

from temperance.core.batch import full_batch
from temperance.core.random import Rng, key_of
from temperance.core.regularizer import Context
from temperance.regularizers import InputNoise


@pytest.mark.parametrize(("distribution", "reference"), [("gaussian", stats.norm(scale=0.5)), ("laplace", stats.laplace(scale=0.5 / math.sqrt(2)))])
def test_distribution(distribution: str, reference: stats.rv_continuous) -> None:
    x = bound(InputNoise(0.5, distribution=distribution)).batch(full_batch(torch.zeros(200, 100, dtype=torch.float64), torch.zeros(200, 1)), context()).x
    assert stats.kstest(x.flatten().numpy(), reference.cdf).pvalue > 1e-3
    assert abs(x.std().item() - 0.5) < 0.02


def test_unit_is_the_scale_of_each_input_and_codes_are_left_alone() -> None:
    x = {"a": torch.zeros(5000, 2), "codes": torch.ones(5000, 1, dtype=torch.long)}
    scale = {"a": torch.tensor([1.0, 100.0]), "codes": torch.ones(())}
    noisy = bound(InputNoise(0.1), torch.float32).batch(full_batch(x, torch.zeros(5000, 1)), context(constants={"input_scale": scale})).x
    torch.testing.assert_close(noisy["a"].std(0), torch.tensor([0.1, 10.0]), rtol=0.05, atol=0)
    assert noisy["codes"] is x["codes"]


@pytest.mark.parametrize("distribution", ["gaussian", "laplace"])
def test_expected_loss_of_linear_regression_is_ridge(distribution: str) -> None:
    """E mean ((x + n)ᵀw - y)² = mean (xᵀw - y)² + sigma² |w|²."""
    batch, w, sigma = linear_rows(), torch.tensor([1.0, -2.0, 0.5, 1.5, 0.1, -0.3], dtype=torch.float64), 0.4

    def loss(key: torch.Tensor) -> torch.Tensor:
        x = bound(InputNoise(sigma, distribution=distribution)).batch(batch, Context(rng=Rng(key, 3))).x
        return (x @ w - batch.y[:, 0]).square().mean()

    losses = torch.vmap(loss)(key_of(0) + torch.arange(4000))
    expected = (batch.x @ w - batch.y[:, 0]).square().mean() + sigma**2 * w.square().sum()
    assert abs(losses.mean() - expected) < 5 * losses.std() / math.sqrt(len(losses))
