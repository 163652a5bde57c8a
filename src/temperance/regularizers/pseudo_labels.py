"""PseudoLabels: the network's own confident answers as targets of the rows without one."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, map_leaves
from temperance.core.errors import ConfigError
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, strength
from temperance.regularizers._inputs import frozen
from temperance.regularizers._predictions import at, classifying, heads_of


@register
class PseudoLabels(Regularizer):
    """Trains on rows without a target as if the class that the network is sure of were their target.

    What: in every step the network classifies the rows of the minibatch that have no target. Where it is sure enough, its answer counts as the
    truth, so that the border between classes is pushed out of dense regions.

    Formula: J + lam · mean over rows i without a target and with max_k p_k(x_i) >= threshold of J_i(one-hot of argmax_k p_k(x_i)). p is the
    prediction of an evaluation pass (masks off, running statistics) and a constant; J_i is the loss of a row in the training pass, weights of
    rows included. A minibatch without such a row adds nothing. Of several heads, those that classify take part.

    When: few labels, many rows without, and a network that is already right more often than not; early mistakes are learned by heart. So let lam
    grow: ``PseudoLabels(tp.schedules.WarmUp(1.0, fraction=0.3))``. Without rows that lack a target it does nothing.

    Composes: with VAT, MeanTeacher and entropy-like methods. A row that MixUp made counts as without a target if one of its two rows does.

    Cost: one forward pass for the answers, one forward and backward pass for the loss on them.

    Reference: Lee (2013), Pseudo-label: The simple and efficient semi-supervised learning method; Sohn et al. (2020), FixMatch, for the threshold.

    Args:
        lam: weight of the loss on guessed targets.
        threshold: the probability from which an answer counts; at 1 none does.

    Example:
        >>> import temperance as tp
        >>> tp.PseudoLabels(tp.schedules.WarmUp(1.0, fraction=0.3), threshold=0.9)
        PseudoLabels(lam=WarmUp(value=1.0, fraction=0.3), threshold=0.9)
    """

    spec: ClassVar[str] = "3 semi-supervised"
    reference: ClassVar[str] = "Lee 2013; Sohn et al. 2020"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    lam: Strength = strength(1.0, off=0.0, low=0.05, high=5.0, log=True, meaning="weight of the loss on guessed targets")
    threshold: Strength = strength(0.95, off=1.0, low=0.5, high=0.99, valid="[0, 1]", meaning="probability from which an answer counts")

    def is_off(self) -> bool:
        return self.peak("lam") == 0.0 or self.peak("threshold") == 1.0

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        classifying(ctx.criterion, type(self).__name__, self.tasks)
        total, report, buffers, taps = objective(params, batch)
        x = map_leaves(Tensor.detach, batch.x)
        guessed = self._guessed(ctx.forward(frozen(params), x, "eval")[0], batch._replace(x=x), ctx)
        loss = ctx.criterion.marked(ctx.forward(params, x, "train")[0], guessed)
        on = torch.logical_and(self.lam > 0, self.threshold < 1)
        extra = torch.where(on, self.lam * loss, torch.zeros_like(total))
        return total + extra, {**report, self.label: extra}, buffers, taps

    def _guessed(self, out: Any, batch: Batch, ctx: Context) -> Batch:
        """The batch with guessed classes, of which those count that are sure and whose truth is missing."""
        y: dict[str | None, Tensor] = {}
        sure: dict[str | None, Tensor] = {}
        for name, criterion, _ in heads_of(ctx.criterion, type(self).__name__):
            z, known = at(out, name), at(batch.labeled, name)
            y[name], sure[name] = torch.zeros_like(z), torch.zeros_like(known)
            if criterion.task == "classification":
                if z.dim() != 2:
                    raise ConfigError(f"PseudoLabels guesses one class a row, and the network gives scores of shape {tuple(z.shape)}. Leave it out.")
                p = criterion.predict(z)
                y[name] = (p.argmax(-1, keepdim=True) == torch.arange(p.shape[-1], device=p.device)).to(p.dtype)
                sure[name] = torch.logical_and(p.amax(-1) >= self.threshold, torch.logical_not(known))
        return batch._replace(y=y[None], labeled=sure[None]) if None in y else batch._replace(y=y, labeled=sure)
