"""GroupLasso: whole units, inputs or channels that become exactly zero."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, option, strength


@register
class GroupLasso(Regularizer):
    """Pulls the length of whole groups of weights towards zero by a constant, and keeps at exactly zero the groups that get there.

    What: L1 of the lengths of groups. A group vanishes as a whole, and with it a unit, an input or a channel. It acts by its proximal step after
    the optimizer's, so no term enters the loss or its report.

    Formula: J + lam · Σ_g √|g| ‖w_g‖₂ with |g| weights in group g: after the step w_g <- w_g max(0, 1 - lr lam √|g| / ‖w_g‖). A kernel counts as the
    matrix (out, rest). ``groups="rows"``: all that one unit or filter reads with. ``"columns"``: all weights of one input of that matrix, in a
    convolution one place of the filter in one channel. ``"channels"``: all weights that read one unit or channel, every place of the filter.

    When: to remove units or inputs, which makes a network smaller; single zeros (L1) rarely do. A category that enters as several columns is a group too.
    With an output row for each class, ``"rows"`` may remove a class that is rare. Under Adam the remark of the card of L1 holds.

    Composes: after decay and before projections. With L1 it is the sparse group lasso, up to the order of the two steps: L1 should stand first in the
    list. A row before BatchNorm can shrink without changing the network, so there it finds little resistance.

    Cost: one reduction and one multiplication over the weights.

    Reference: Yuan & Lin (2006), Model selection and estimation in regression with grouped variables; Wen et al. (2016) for networks.

    Args:
        lam: strength.
        groups: ``"rows"``, ``"columns"`` or ``"channels"``.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> w = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
        >>> tp.GroupLasso(2**0.5).bind().after_step({"w": w}, Context(lr=torch.tensor(0.5)))
        {'w': tensor([[2.4000, 3.2000],
                      [0.0000, 0.0000]])}
    """

    spec: ClassVar[str] = "1 group lasso"
    reference: ClassVar[str] = "Yuan & Lin 2006; Wen et al. 2016"
    rank: ClassVar[int] = 1

    lam: Strength = strength(1e-4, off=0.0, low=1e-7, high=1e-2, log=True, meaning="weight of the sum of lengths of groups")
    groups: str = option("rows", choices=("rows", "columns", "channels"), meaning="which weights vanish together")
    where: Any = Weights()

    def after_step(self, params: Params, ctx: Context) -> Params:
        return {name: self._shrunk(w, ctx.lr * self.lam) for name, w in params.items()}

    def _shrunk(self, w: Tensor, step: Tensor) -> Tensor:
        """The proximal step of one tensor, seen as (groups, places) or (places, groups)."""
        out = w.shape[0]
        if self.groups == "rows":
            shape, across = (out, -1), (1,)
        elif self.groups == "columns" or w.dim() < 3:
            shape, across = (out, -1), (0,)
        else:
            shape, across = (out, w.shape[1], -1), (0, 2)
        parts = w.reshape(shape)
        length = parts.square().sum(across, keepdim=True).sqrt()
        threshold = step * math.sqrt(math.prod(parts.shape[i] for i in across))
        stays = length > threshold
        keep = torch.where(stays, 1.0 - threshold / torch.where(stays, length, torch.ones_like(length)), torch.zeros_like(length))
        return (parts * torch.where(step > 0, keep, torch.ones_like(keep))).reshape(w.shape)
