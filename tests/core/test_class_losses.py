"""Losses of classes beside the cross-entropy, against kornia, torch and their limits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.losses import BinaryCrossEntropy, FocalLoss, SoftmaxCrossEntropy
from temperance.nets.average import mean_output

G = torch.Generator().manual_seed(0)
Z = 3.0 * torch.randn(20, 4, generator=G, dtype=torch.float64)
CLASSES = torch.arange(20) % 4
HARD = F.one_hot(CLASSES, 4).double()
SOFT = 0.7 * HARD + 0.3 * HARD.roll(1, 0)


def test_focal_loss_is_kornias() -> None:
    kornia = pytest.importorskip("kornia")
    for gamma in (0.5, 2.0, 5.0):
        theirs = kornia.losses.focal_loss(Z, CLASSES, alpha=None, gamma=gamma, reduction="none").sum(1)
        torch.testing.assert_close(FocalLoss(gamma).per_row(Z, HARD), theirs)
    torch.testing.assert_close(FocalLoss(0).per_row(Z, SOFT), SoftmaxCrossEntropy().per_row(Z, SOFT))


def test_a_row_that_is_sure_has_finite_slopes() -> None:
    z = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    for loss in (FocalLoss(0.5), FocalLoss(2.0), BinaryCrossEntropy()):
        (slope,) = torch.autograd.grad(loss.per_row(z, torch.tensor([[1.0, 0.0], [1.0, 0.0]])).sum(), z)
        assert slope.isfinite().all() and slope[0].abs().max() < 1e-6 and slope[1, 0] < 0


def test_binary_cross_entropy_is_torchs() -> None:
    for threshold, target in ((None, SOFT), (0.5, HARD), (0.0, (SOFT > 0).double())):
        theirs = F.binary_cross_entropy_with_logits(Z, target, reduction="none").sum(1)
        torch.testing.assert_close(BinaryCrossEntropy(threshold).per_row(Z, SOFT), theirs)
    loss = BinaryCrossEntropy()
    assert loss.divergence(Z, Z).abs() < 1e-12 < loss.divergence(Z, Z.flip(0))


@pytest.mark.parametrize("loss", [FocalLoss(), BinaryCrossEntropy(), SoftmaxCrossEntropy()])
def test_an_average_of_networks_predicts_the_mean_of_their_predictions(loss) -> None:
    outs = torch.stack([Z, Z.flip(0)])
    torch.testing.assert_close(loss.predict(mean_output(outs, torch.tensor([0.3, 0.7]), loss.task)), 0.3 * loss.predict(Z) + 0.7 * loss.predict(Z.flip(0)))


@pytest.mark.parametrize("loss", [FocalLoss(), BinaryCrossEntropy(0.2)])
def test_they_train_with_what_needs_probabilities(loss) -> None:
    """Mixing, smoothing and consistency, for a population and alone alike."""
    cocktail = tp.Cocktail(tp.MixUp(0.4), tp.LabelSmoothing(0.1), tp.VAT(0.5), tp.MeanTeacher(1.0))
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    done = tp.fit(net, cocktail.grid(mixup__alpha=[0.0, 0.4]), (x.numpy(), y.numpy()), epochs=6, batch_size=16, criterion=loss, optimizer=tp.optim.Adam(0.02))
    assert all(outcome.score > 0.7 for outcome in done.outcomes)  # the most frequent class has one half


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FocalLoss(-1.0), r"`gamma` of FocalLoss in \[0, inf\), got -1\.0"),
        (lambda: FocalLoss(True), "`gamma`"),
        (lambda: BinaryCrossEntropy(1.0), r"`threshold` of BinaryCrossEntropy in \[0, 1\) or None, got 1\.0"),
        (lambda: FocalLoss().per_row(Z, CLASSES), r"one-hot or soft targets of that shape for FocalLoss, got \(20, 4\) and \(20,\)"),
    ],
)
def test_what_cannot_be_used_is_refused(make, words: str) -> None:
    with pytest.raises(ConfigError, match=f"^Expected .*{words}"):
        make()
