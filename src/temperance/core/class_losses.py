"""Losses of one class out of several beside the usual cross-entropy, on targets that may be soft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from temperance.core.criterion import Criterion, SoftmaxCrossEntropy
from temperance.core.errors import ConfigError, expected


@dataclass(frozen=True)
class FocalLoss(Criterion):
    r"""Cross-entropy that counts a class the less the surer the network is of it: :math:`-\sum_k y_k (1 - p_k)^\gamma \log p_k`.

    For rare classes, where easy rows would outweigh the others; with ``gamma`` 0 it is the cross-entropy. Its probabilities are less extreme, so
    judge it by accuracy or after calibration rather than by its own value.

    Args:
        gamma: how fast sure rows lose weight, in [0, inf).

    Source:
        Lin et al., *Focal loss for dense object detection* (2017), without its weights of classes.

    Example:
        >>> z, y = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> FocalLoss(gamma=2.0).per_row(z, y)
        tensor([0.1733, 0.0018])
    """

    task: ClassVar[str] = "classification"
    gamma: float = 2.0

    def __post_init__(self) -> None:
        if not _share(self.gamma, float("inf")):
            raise ConfigError(expected("gamma", "FocalLoss", "in [0, inf)", self.gamma, "Use 0 for the cross-entropy; 2 is usual."))

    def per_row(self, out: Tensor, y: Tensor) -> Tensor:
        _check(out, y, "FocalLoss")
        log_p = F.log_softmax(out, -1)
        if self.gamma == 0:
            return -(y * log_p).sum(-1)
        rest = (1.0 - log_p.exp()).clamp_min(torch.finfo(log_p.dtype).tiny)  # where p is 1 a power below 1 has no derivative
        return -(y * (self.gamma * rest.log()).exp() * log_p).sum(-1)

    def divergence(self, reference: Tensor, out: Tensor) -> Tensor:
        return SoftmaxCrossEntropy().divergence(reference, out)

    def predict(self, out: Tensor) -> Tensor:
        return F.softmax(out, -1)


@dataclass(frozen=True)
class BinaryCrossEntropy(Criterion):
    r"""One yes-or-no question a class: :math:`-\sum_k t_k \log \sigma(z_k) + (1 - t_k) \log(1 - \sigma(z_k))`, with :math:`t_k = y_k` or :math:`[y_k > \tau]`.

    For MixUp and CutMix: with ``threshold`` 0 a mixed row shows both of its classes, instead of shares of them. A prediction is the softmax
    of the scores, as after any other loss of classes, so that probabilities sum to one and networks can be averaged and exported.

    Args:
        threshold: the share :math:`\tau` of a target above which the class counts as there, in [0, 1); ``None`` takes the targets as they are.

    Source:
        Beyer et al., *Are we done with ImageNet?* (2020); Wightman, Touvron and Jégou, *ResNet strikes back* (2021).

    Example:
        >>> z, y = torch.zeros(1, 3), torch.tensor([[0.7, 0.3, 0.0]])
        >>> BinaryCrossEntropy(threshold=0.0).per_row(z, y), BinaryCrossEntropy().predict(z)
        (tensor([2.0794]), tensor([[0.3333, 0.3333, 0.3333]]))
    """

    task: ClassVar[str] = "classification"
    threshold: float | None = None

    def __post_init__(self) -> None:
        given = self.threshold
        if given is not None and not _share(given, 1.0):
            raise ConfigError(expected("threshold", "BinaryCrossEntropy", "in [0, 1) or None", given, "Use None to take soft targets as they are."))

    def per_row(self, out: Tensor, y: Tensor) -> Tensor:
        _check(out, y, "BinaryCrossEntropy")
        t = y if self.threshold is None else (y > self.threshold).to(out.dtype)
        return (-F.logsigmoid(-out) - t * out).sum(-1)

    def divergence(self, reference: Tensor, out: Tensor) -> Tensor:
        return SoftmaxCrossEntropy().divergence(reference, out)

    def predict(self, out: Tensor) -> Tensor:
        return F.softmax(out, -1)


def _share(given: object, end: float) -> bool:
    """Whether it is a number from 0 on and below the end."""
    return isinstance(given, int | float) and not isinstance(given, bool) and 0.0 <= given < end


def _check(out: Tensor, y: Tensor, owner: str) -> None:
    if out.dim() != 2 or out.shape != y.shape:
        raise ConfigError(
            f"Expected scores (rows, classes) and one-hot or soft targets of that shape for {owner}, got {tuple(out.shape)} and {tuple(y.shape)}. "
            "Give targets as torch.nn.functional.one_hot(y, classes).float()."
        )
