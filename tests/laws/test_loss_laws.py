"""Off is absent for the loss that is given: with every regularizer off, attach gives what the criterion itself gives on the network's own output."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.registry import REGISTRY
from temperance.core.regularizer import Regularizer

ROWS = 12
G = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 5, generator=G)
CLASSES = torch.randint(0, 3, (ROWS,), generator=G)
HOLES = torch.where(torch.arange(ROWS) % 4 == 1, -100, CLASSES)
PROBABILITIES = torch.softmax(torch.randn(ROWS, 3, generator=G), 1)
LABELS = (torch.rand(ROWS, 3, generator=G) > 0.5).float()
VALUES = torch.randn(ROWS, 3, generator=G)
COUNTS = torch.poisson(torch.full((ROWS, 3), 2.0), generator=G)
SIGNS = 2 * LABELS - 1
MAP = torch.randint(0, 3, (ROWS, 2, 4), generator=G)
WEIGHT = torch.tensor([1.0, 2.0, 5.0])


class Own(nn.Module):
    """A loss with a parameter and a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, out: Tensor, y: Tensor) -> Tensor:
        self.seen += 1
        return self.scale * F.cross_entropy(out, y)


class Focal(nn.CrossEntropyLoss):
    """A loss of torch with another forward."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        p = torch.softmax(input, 1).gather(1, target[:, None])
        return -((1 - p) ** 2 * p.log()).mean()


def plain(width: int = 3, *last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, width), *last)


def mapped() -> nn.Module:
    return plain(24, nn.Unflatten(1, (3, 2, 4)))


CE = nn.CrossEntropyLoss
CASES: dict[str, tuple[Callable[[], Any], Tensor, Callable[[], nn.Module]]] = {
    "CrossEntropy": (CE, CLASSES, plain),
    "CrossEntropy, holes": (CE, HOLES, plain),
    "CrossEntropy, all options": (lambda: CE(weight=WEIGHT, ignore_index=1, label_smoothing=0.1), CLASSES, plain),
    "CrossEntropy, sum": (lambda: CE(reduction="sum"), CLASSES, plain),
    "CrossEntropy, probabilities": (lambda: CE(weight=WEIGHT, label_smoothing=0.1), PROBABILITIES, plain),
    "CrossEntropy, map": (lambda: CE(weight=WEIGHT, ignore_index=2), MAP, mapped),
    "CrossEntropy, sequence": (CE, MAP[:, 0], lambda: plain(12, nn.Unflatten(1, (3, 4)))),
    "cross_entropy itself": (lambda: F.cross_entropy, CLASSES, plain),
    "partial": (lambda: functools.partial(F.cross_entropy, label_smoothing=0.3), CLASSES, plain),
    "subclass": (Focal, CLASSES, plain),
    "own module": (Own, CLASSES, plain),
    "own function": (lambda: lambda out, y: (out - y).abs().sum(1).max(), VALUES, plain),
    "NLL": (lambda: nn.NLLLoss(weight=WEIGHT, ignore_index=0), CLASSES, lambda: plain(3, nn.LogSoftmax(1))),
    "KLDiv": (lambda: nn.KLDivLoss(reduction="batchmean"), PROBABILITIES, lambda: plain(3, nn.LogSoftmax(1))),
    "BCEWithLogits": (lambda: nn.BCEWithLogitsLoss(weight=WEIGHT, pos_weight=WEIGHT), LABELS, plain),
    "BCEWithLogits, flat": (nn.BCEWithLogitsLoss, LABELS[:, 0], lambda: plain(1, nn.Flatten(0))),
    "BCE": (nn.BCELoss, LABELS, lambda: plain(3, nn.Sigmoid())),
    "MultiLabelSoftMargin": (nn.MultiLabelSoftMarginLoss, LABELS, plain),
    "MSE": (nn.MSELoss, VALUES, plain),
    "MSE, sum": (lambda: nn.MSELoss(reduction="sum"), VALUES, plain),
    "L1": (nn.L1Loss, VALUES, plain),
    "SmoothL1": (lambda: nn.SmoothL1Loss(beta=0.5), VALUES, plain),
    "Huber": (lambda: nn.HuberLoss(delta=0.5), VALUES, plain),
    "PoissonNLL": (nn.PoissonNLLLoss, COUNTS, plain),
    "GaussianNLL": (lambda: lambda out, y: F.gaussian_nll_loss(out[:, :1], y, F.softplus(out[:, 1:2])), VALUES[:, :1], plain),
    "MultiMargin": (nn.MultiMarginLoss, CLASSES, plain),
    "MultiLabelMargin": (nn.MultiLabelMarginLoss, torch.stack([CLASSES, -torch.ones_like(CLASSES), CLASSES], 1), plain),
    "SoftMargin": (nn.SoftMarginLoss, SIGNS, plain),
    "HingeEmbedding": (nn.HingeEmbeddingLoss, SIGNS, plain),
    "CosineEmbedding": (lambda: lambda out, y: F.cosine_embedding_loss(out, y, torch.ones(len(y))), VALUES, plain),
}


def both(name: str, *regularizers: Regularizer, steps: int | None = None, training: bool = True) -> list[tuple[Tensor, list[Tensor | None]]]:
    """The loss and the gradients that attach gives, and those of the criterion itself."""
    make, y, build = CASES[name]
    out: list[tuple[Tensor, list[Tensor | None]]] = []
    for attached in (True, False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            model = build().train(training)
        criterion = make()
        own = list(criterion.parameters()) if isinstance(criterion, nn.Module) else []
        if attached:
            reg = tp.Cocktail(*regularizers).attach(model, torch.optim.SGD(model.parameters(), lr=0.1), criterion, total_steps=steps)
            loss = reg.loss(X, y)
        else:
            loss = criterion(model(X), y)
        loss.backward()
        out.append((loss.detach(), [p.grad for p in (*model.parameters(), *own)]))
    return out


def same(pair: list[tuple[Tensor, list[Tensor | None]]]) -> bool:
    (loss, grads), (expected, others) = pair
    return torch.equal(loss, expected) and all(a is not None and b is not None and torch.equal(a, b) for a, b in zip(grads, others, strict=True))


def off(cls: type[Regularizer]) -> Regularizer:
    """With every strength at its off value."""
    return cls(**{name: spec.off for name, spec in cls.strengths().items()})


@pytest.mark.parametrize("name", CASES)
def test_off_is_absent_bit_for_bit(name: str) -> None:
    assert [cls.__name__ for cls in REGISTRY.values() if cls.strengths() and not same(both(name, off(cls)))] == []


@pytest.mark.parametrize("name", CASES)
def test_evaluation_is_the_criterion_itself(name: str) -> None:
    assert same(both(name, tp.L2(0.1), training=False))


@pytest.mark.parametrize("name", [name for name in CASES if "Margin" not in name and "Hinge" not in name])
def test_targets_are_as_given_in_a_step_in_which_a_schedule_is_at_off(name: str) -> None:
    assert same(both(name, tp.MixUp(tp.schedules.WarmUp(0.5, fraction=0.5)), tp.CutMix(tp.schedules.WarmUp(0.5, fraction=0.5)), steps=10))
