"""Losses for `fit`, `search` and populations.

>>> import torch
>>> import temperance as tp
>>> scores, target = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])
>>> tp.losses.SoftmaxCrossEntropy().per_row(scores, target)
tensor([0.1269])

Losses of `torch.nn` and any function `(out, y) -> scalar` work as well.
"""

from temperance.core.class_losses import BinaryCrossEntropy, FocalLoss
from temperance.core.criterion import Heads, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError

__all__ = ["BinaryCrossEntropy", "FocalLoss", "Heads", "SigmoidCrossEntropy", "SoftmaxCrossEntropy", "SquaredError"]
