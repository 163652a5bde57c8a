import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tests.regularizers.helpers import bound, context
from torch.nn import functional as F

from temperance.core.batch import full_batch
from temperance.regularizers import LabelSmoothing, MixUp


def smooth(y: torch.Tensor, epsilon: float, exclude_true: bool = False, task: str = "classification") -> torch.Tensor:
    batch = full_batch(torch.zeros(len(y), 1), y)
    return bound(LabelSmoothing(epsilon, exclude_true=exclude_true), y.dtype).batch(batch, context(constants={"tasks": task})).y


@pytest.mark.parametrize(("exclude_true", "gap"), [(False, math.log(91)), (True, math.log(81))])
def test_best_logit_gap_for_ten_classes(exclude_true: bool, gap: float) -> None:
    """The loss on soft targets is least where the softmax equals them; checked by descending on the logits."""
    y = smooth(torch.eye(10, dtype=torch.float64)[:1], 0.1, exclude_true)
    z = torch.zeros(1, 10, dtype=torch.float64)
    for _ in range(3000):
        z = z - 2.0 * (torch.softmax(z, -1) - y)
    assert (z[0, 0] - z[0, 1]).item() == pytest.approx(gap, abs=1e-6)
    assert [round(math.log(91), 3), round(math.log(81), 3)] == [4.511, 4.394]


def test_against_torch() -> None:
    g = torch.Generator().manual_seed(0)
    z, labels = torch.randn(6, 5, generator=g, dtype=torch.float64), torch.randint(0, 5, (6,), generator=g)
    mine = -(smooth(torch.eye(5, dtype=torch.float64)[labels], 0.2) * F.log_softmax(z, -1)).sum(-1).mean()
    torch.testing.assert_close(mine, F.cross_entropy(z, labels, label_smoothing=0.2))


def test_excluding_the_true_class_is_the_loss_expected_under_flips() -> None:
    g, k, epsilon = torch.Generator().manual_seed(0), 4, 0.3
    log_p = F.log_softmax(torch.randn(k, k, generator=g, dtype=torch.float64), -1)
    soft = -(smooth(torch.eye(k, dtype=torch.float64), epsilon, True) * log_p).sum(-1)
    for true in range(k):
        flips = [(1 - epsilon if c == true else epsilon / (k - 1)) * -log_p[true, c].item() for c in range(k)]
        assert soft[true].item() == pytest.approx(sum(flips), rel=1e-13)


@given(st.integers(2, 12), st.floats(0, 0.6))
def test_the_two_conventions_are_one_map(k: int, epsilon: float) -> None:
    y = torch.eye(k, dtype=torch.float64)
    szegedy = epsilon * k / (k - 1)
    if szegedy < 1:
        torch.testing.assert_close(smooth(y, epsilon, True), smooth(y, szegedy))
    np.testing.assert_allclose(smooth(y, epsilon).sum(-1).numpy(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(smooth(y, epsilon, True).sum(-1).numpy(), 1.0, rtol=1e-12)


def test_it_commutes_with_mixup() -> None:
    batch = full_batch(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), torch.eye(4)[torch.arange(8) % 4])
    smoothing, mixing = bound(LabelSmoothing(0.1), torch.float32), bound(MixUp(1.0), torch.float32)
    ctx = {"constants": {"tasks": "classification"}}
    one = mixing.batch(smoothing.batch(batch, context(**ctx)), context(**ctx))
    two = smoothing.batch(mixing.batch(batch, context(**ctx)), context(**ctx))
    torch.testing.assert_close(one.y, two.y)


def test_several_labels_and_heads() -> None:
    y = torch.tensor([[1.0, 0.0, 1.0]])
    torch.testing.assert_close(smooth(y, 0.2, task="multilabel"), torch.tensor([[0.9, 0.1, 0.9]]))
    torch.testing.assert_close(smooth(y, 0.2, True, task="multilabel"), torch.tensor([[0.8, 0.2, 0.8]]))
    heads = {"kind": torch.tensor([[1.0, 0.0]]), "price": torch.tensor([[5.0]])}
    batch = full_batch(torch.zeros(1, 1), heads)
    out = bound(LabelSmoothing(0.2), torch.float32).batch(batch, context(constants={"tasks": {"kind": "classification", "price": "regression"}})).y
    torch.testing.assert_close(out["kind"], torch.tensor([[0.9, 0.1]]))
    assert out["price"] is heads["price"]
