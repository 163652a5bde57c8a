"""ShakeShake: random mixtures of parallel branches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.selector import OutputsOf
from temperance.core.strength import Strength, strength
from temperance.regularizers._shake import shaken


@register
class ShakeShake(Regularizer):
    """Adds parallel branches with random weights, others in the forward than in the backward pass.

    What: a block with several branches takes their average; here it takes a random convex combination instead, drawn for every row, and the gradient
    flows back by another one. At evaluation it is the average again, which is the mean of all combinations.

    Formula, for K branches: y = x + Σ_k v_k F_k(x), v = 1/K + amount · (u - 1/K), u uniform on the simplex (for K = 2: u and 1 - u with u ~ U(0, 1)),
    with independent u forward and backward.

    When: image classification with two branches a block, BatchNorm in each, and long training with a cosine schedule; the paper trains for 1800 epochs.
    Short training and small networks do not repay it: there one wide branch with Dropout is better. ``amount`` below 1 is milder.

    Composes: with all; branches must be stacked along axis 1, as ``Branches`` of temperance.nets does. Gradients are biased on purpose.

    Cost: two random numbers per row and branch, and four operations on the branches' outputs, beside the cost of K branches.

    Reference: Gastaldi (2017), Shake-Shake regularization.

    Args:
        amount: how far the weights may move: 0 for equal weights, 1 for any convex combination.
        where: modules whose output ``(rows, branches, ...)`` is averaged over the branches; by default ``Branches`` of temperance.nets.Residual.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> branches = torch.tensor([1.0, 3.0]).expand(2000, 2)
        >>> mixed = tp.ShakeShake().bind().hidden(branches, Context()).mean(1)
        >>> round(mixed.min().item(), 1), round(mixed.mean().item(), 1), round(mixed.max().item(), 1)
        (1.0, 2.0, 3.0)
    """

    spec: ClassVar[str] = "2 shake-shake"
    reference: ClassVar[str] = "Gastaldi 2017"
    exceptions: ClassVar[Mapping[str, str]] = {"gradcheck": "the gradient is that of other random weights, on purpose"}

    amount: Strength = strength(1.0, off=0.0, low=0.1, high=1.0, valid="[0, 1]", meaning="how far branches leave equal weights")
    where: Any = OutputsOf("Branches", except_output=False)

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        forward, backward = self._weights(h, ctx), self._weights(h, ctx)
        return torch.where(self.amount > 0, shaken(h, forward, backward), h)

    def _weights(self, h: Tensor, ctx: Context) -> Tensor:
        """Weights ``(rows, branches, 1, ...)`` of mean one: exponential numbers over their mean are uniform on a simplex."""
        waits = -ctx.rng.uniform((*h.shape[:2], *[1] * (h.dim() - 2)), h.dtype).log()
        return 1.0 + self.amount.to(h.dtype) * (waits / waits.mean(1, keepdim=True) - 1.0)
