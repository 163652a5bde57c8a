"""LabelSmoothing: targets that are less than certain."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._targets import by_task


@register
class LabelSmoothing(Regularizer):
    """Takes a little probability from the true class and gives it to all classes alike.

    What: replaces the target distribution by a mixture with the uniform one, so that no finite logit gap is too small for ever.

    Formula, for k classes: y <- (1 - epsilon) y + epsilon / k. With ``exclude_true``: y <- (1 - epsilon) y + epsilon (1 - y) / (k - 1), which
    is the first form with epsilon · k / (k - 1), and whose expected loss is that of flipping each label with probability epsilon. The best logit gap
    for k = 10, epsilon = 0.1 is ln 91 = 4.511, or ln 81 = 4.394 with ``exclude_true``. Each output of a multi-label task is a choice of k = 2.

    When: label noise, over-confident classifiers, poor calibration. Bad where scores have to rank rare events, and for a teacher of a student
    network. Regression has no classes: its heads are left alone.

    Composes: it is linear in y, so before or after MixUp and CutMix gives the same targets. Row weights stay.

    Cost: nothing to speak of.

    Reference: Szegedy et al. (2016), Rethinking the Inception architecture; Müller, Kornblith & Hinton (2019), When does label smoothing help?

    Args:
        epsilon: the mass that is spread.
        exclude_true: spread it over the other classes only.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> batch = full_batch(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
        >>> tp.LabelSmoothing(0.1).bind().batch(batch, Context()).y
        tensor([[0.9500, 0.0500]])
    """

    spec: ClassVar[str] = "2 targets"
    reference: ClassVar[str] = "Szegedy et al. 2016; Müller, Kornblith & Hinton 2019"
    keeps_inputs: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")
    soft_targets: ClassVar[bool] = True

    epsilon: Strength = strength(0.1, off=0.0, low=0.005, high=0.2, valid="[0, 1)", meaning="probability mass spread over classes")
    exclude_true: bool = option(False, choices=(False, True), meaning="spread over the other classes only")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return by_task(lambda y, task: self._smooth(y, task, ctx), batch, ctx)

    def _smooth(self, y: Tensor, task: str, ctx: Context) -> Tensor:
        if task == "regression":
            return y
        k, epsilon = 2 if task == "multilabel" else y.shape[-1], self.epsilon.to(y.dtype)
        mass = y.sum(-1, keepdim=True) if ctx.constants.get("partial_targets") and task != "multilabel" else 1.0
        if self.exclude_true:
            return (1.0 - epsilon) * y + epsilon * (mass - y) / max(k - 1, 1)
        return (1.0 - epsilon) * y + epsilon * mass / k
