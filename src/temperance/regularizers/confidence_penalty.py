"""ConfidencePenalty: predictions that are less than certain."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, strength
from temperance.regularizers._predictions import at, classifying

TINY = 1e-30  # below it a share has neither entropy nor slope


@register
class ConfidencePenalty(Regularizer):
    """Penalizes predictions of low entropy, so that the network stays unsure where it may be.

    What: the mean entropy of the predicted probabilities, of every row with or without a target, is taken from the loss.

    Formula: J - lam · mean over rows of H(p), H(p) = -Σ_k p_k ln p_k; with several labels the sum of the entropies of all of them. It is lam times the
    divergence from p to the uniform distribution, but for a constant; label smoothing penalizes the opposite divergence.

    When: classifiers that are surer than they are right, and label noise; values about 0.1. Where calibration is corrected afterwards by a temperature
    it brings little, and far too much of it makes every prediction uniform.

    Composes: with LabelSmoothing it asks for the same twice. Sees the masks of the data loss. Values have no entropy: it is for classes and labels, and of
    several heads it regards those that have them.

    Cost: one more forward and backward pass.

    Reference: Pereyra et al. (2017), Regularizing neural networks by penalizing confident output distributions.

    Args:
        lam: weight of the entropy.

    Example:
        >>> import temperance as tp
        >>> tp.ConfidencePenalty(0.1)
        ConfidencePenalty(lam=0.1)
    """

    spec: ClassVar[str] = "outside the catalogue"
    reference: ClassVar[str] = "Pereyra et al. 2017"
    keeps_inputs: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")

    lam: Strength = strength(0.1, off=0.0, low=0.005, high=2.0, log=True, meaning="weight of the entropy")

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        total, report, buffers, taps = objective(params, batch)
        heads = classifying(ctx.criterion, type(self).__name__, self.tasks)
        out = ctx.forward(params, batch.x, "train")[0]
        sure = torch.stack([scale * -_entropy(one.predict(at(out, name)), one.task).mean() for name, one, scale in heads]).sum()
        extra = torch.where(self.lam > 0, self.lam * sure, torch.zeros_like(total))
        return total + extra, {**report, self.label: extra}, buffers, taps


def _entropy(p: Tensor, task: str) -> Tensor:
    """Of every row, in nats; of several labels the sum of theirs."""
    p = p if p.dim() > 1 else p.unsqueeze(-1)  # one label a row, without a dimension of its own
    own = -p * p.clamp_min(TINY).log()
    return (own if task == "classification" else own - (1 - p) * (1 - p).clamp_min(TINY).log()).sum(-1)
