import math

import pytest
import torch
from scipy import stats
from tests.regularizers.helpers import Loop, bound, context
from torch import Tensor, nn
from torch.nn import functional as F

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SoftmaxCrossEntropy, SquaredError
from temperance.core.errors import ConfigError
from temperance.core.program import Program
from temperance.core.random import Rng
from temperance.regularizers import LabelNoise, LabelSmoothing, MixUp


def noisy(y: Tensor, p: float, task: str = "classification", seed: int = 0) -> Tensor:
    batch = full_batch(torch.zeros(len(y), 1), y)
    return bound(LabelNoise(p), y.dtype).batch(batch, context(seed, constants={"tasks": task})).y


@pytest.mark.parametrize("k", [2, 3, 10])
def test_a_label_becomes_any_other_class_alike(k: int) -> None:
    n, p, true = 20000, 0.3, 1
    y = noisy(torch.eye(k)[torch.full((n,), true)], p)
    assert torch.equal(y.sum(1), torch.ones(n)) and set(y.unique().tolist()) == {0.0, 1.0}
    counts = torch.bincount(y.argmax(1), minlength=k).numpy()
    expected = [n * (1 - p) if c == true else n * p / (k - 1) for c in range(k)]
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_expected_loss_is_exactly_that_on_soft_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """All outcomes of the two draws, by enumeration, weighted by their probabilities: the loss on the targets {p/(k-1), 1-p}."""
    g, k, p = torch.Generator().manual_seed(0), 5, 0.2
    z, y = torch.randn(k, k, generator=g, dtype=torch.float64), torch.eye(k, dtype=torch.float64)
    loss = torch.zeros(k, dtype=torch.float64)
    for moved in (False, True):
        for step in range(k - 1):
            draws = iter((torch.full((k, 1), 0.0 if moved else 0.9), torch.full((k, 1), (step + 0.5) / (k - 1))))
            monkeypatch.setattr(Rng, "uniform", lambda self, shape, draws=draws: next(draws))
            loss += (p if moved else 1 - p) / (k - 1) * SoftmaxCrossEntropy().per_row(z, noisy(y, p))
    soft = (1 - p) * y + p / (k - 1) * (1 - y)
    torch.testing.assert_close(loss, F.cross_entropy(z, soft, reduction="none"), rtol=1e-13, atol=0)
    smoothed = [bound(LabelSmoothing(e, exclude_true=x)).batch(full_batch(y, y), context()).y for e, x in ((p, True), (p * k / (k - 1), False))]
    for targets in smoothed:
        torch.testing.assert_close(targets, soft, rtol=1e-13, atol=0)


@pytest.mark.parametrize("k", [2, 4])
def test_mean_of_the_gradients_is_the_gradient_on_soft_targets(k: int) -> None:
    g, p = torch.Generator().manual_seed(1), 0.25
    z = torch.randn(1, k, generator=g, dtype=torch.float64)
    y = torch.eye(k, dtype=torch.float64)[:1].repeat(40000, 1)
    mean = torch.softmax(z, 1) - noisy(y, p).mean(0)
    exact = torch.softmax(z, 1) - torch.tensor([1 - p] + [p / (k - 1)] * (k - 1), dtype=torch.float64)
    assert (mean - exact).abs().max() < 5 * math.sqrt(p * (1 - p) / len(y))


def test_soft_targets_keep_their_mass_and_mixing_may_come_first() -> None:
    y = torch.tensor([[0.7, 0.2, 0.1]]).repeat(500, 1)
    moved = noisy(y, 0.5)
    torch.testing.assert_close(moved.sort(1).values, y.sort(1).values)
    assert 0.4 < (moved != y).any(1).float().mean() < 0.6
    batch = full_batch(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), torch.eye(4)[torch.arange(8) % 4])
    ctx = {"constants": {"tasks": "classification"}}
    mixed = bound(MixUp(1.0), torch.float32).batch(batch, context(**ctx))
    after = bound(LabelNoise(0.9), torch.float32).batch(mixed, context(1, **ctx))
    torch.testing.assert_close(after.y.sum(1), torch.ones(8))


def test_labels_of_several_tasks() -> None:
    y = torch.tensor([[1.0, 0.0]]).repeat(4000, 1)
    flips = (noisy(y, 0.3, "multilabel") != y).float()
    assert abs(flips.mean() - 0.3) < 5 * math.sqrt(0.21 / flips.numel()) and flips.sum(1).unique().tolist() == [0.0, 1.0, 2.0]
    heads = {"kind": torch.eye(3), "price": torch.tensor([[5.0], [6.0], [7.0]])}
    tasks = {"kind": "classification", "price": "regression"}
    out = bound(LabelNoise(0.99), torch.float32).batch(full_batch(torch.zeros(3, 1), heads), context(constants={"tasks": tasks})).y
    assert out["price"] is heads["price"] and not torch.equal(out["kind"], heads["kind"])


def test_numbers_of_a_regression_are_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"LabelNoise serves classification, multilabel, and the task is regression\. Leave it out"):
        Program(Cocktail(LabelNoise()), nn.Linear(2, 1), SquaredError())


def test_every_step_draws_anew() -> None:
    net = nn.Linear(2, 3)
    loop = Loop(Cocktail(LabelNoise(0.5)), net, SoftmaxCrossEntropy())
    batch = full_batch(torch.ones(12, 2), torch.eye(3)[torch.arange(12) % 3])
    losses = set()
    for _ in range(4):
        losses.add(loop.gradient(batch)[0].item())
        loop.step += 1
    assert len(losses) > 1
