"""MaxAbs: a cap on the size of every single weight."""

from __future__ import annotations

from typing import Any, ClassVar

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength


@register
class MaxAbs(Regularizer):
    """Keeps every weight between -c and c.

    What: after each step, a weight that is larger than c in size is set to c with its sign.

    Formula: w <- min(max(w, -c), c), the Euclidean projection on the constraint max |w| <= c.

    When: against single weights that blow up, and where weights are to be stored in few bits. It limits no length: a unit with many inputs may still
    have long incoming weights, which MaxNorm limits. A small c on every weight, as in the first Wasserstein critics, pushes most weights to the two ends.

    Composes: runs last, after decay and proximal steps; zeros stay zeros.

    Cost: one element-wise pass over the weights.

    Reference: Srebro & Shraibman (2005), Rank, trace-norm and max-norm, for norms as constraints; Arjovsky, Chintala & Bottou (2017) for clipped weights.

    Args:
        c: the largest size; infinity switches it off.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.MaxAbs(1.0).bind().after_step({"w": torch.tensor([[3.0, -4.0, 0.5]])}, None)
        {'w': tensor([[ 1.0000, -1.0000,  0.5000]])}
    """

    spec: ClassVar[str] = "1 MaxAbs and balls"
    reference: ClassVar[str] = "Srebro & Shraibman 2005; Arjovsky, Chintala & Bottou 2017"
    rank: ClassVar[int] = 2

    c: Strength = strength(0.5, off=float("inf"), low=0.02, high=2.0, log=True, valid="(0, inf]", meaning="largest size of a weight")
    where: Any = Weights()

    def after_step(self, params: Params, ctx: Context) -> Params:
        return {name: w.clamp(-self.c, self.c) for name, w in params.items()}
