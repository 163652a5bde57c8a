"""ActivationSparsity: a penalty on hidden activity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Hidden
from temperance.core.strength import Strength, option, strength


@register
class ActivationSparsity(Regularizer):
    """Makes few hidden units active at a time.

    What: penalizes the activity of the selected hidden units, not the weights.

    Formula: ``form="l1"``: J + lam · mean over rows of Σ |h|. ``form="kl"``: J + lam · Σ over units of t ln(t / a) + (1 - t) ln((1 - t) / (1 - a)), with
    a the mean activity of the unit over the rows of the minibatch (and over positions of a feature map) and t the ``target``.

    When: representations that should be readable or cheap; over-complete hidden layers. ``"kl"`` is meant for units between 0 and 1 (sigmoid);
    activity beyond is cut off there and then has no gradient. Before a normalization layer the penalty can be evaded by scale.

    Composes: sees what earlier hidden regularizers of the list (dropout) have left of the units. Every call of a module counts.

    Cost: one pass over the selected activations.

    Reference: Olshausen & Field (1996), Emergence of simple-cell receptive field properties; Glorot, Bordes & Bengio (2011); Lee, Ekanadham & Ng
    (2008) for a target activity.

    Args:
        lam: strength.
        form: ``"l1"`` or ``"kl"``.
        target: wanted mean activity, for ``"kl"``.
        where: the modules whose outputs are meant; by default activations before another layer.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.ActivationSparsity(0.5).bind().penalty({}, {"1#0": torch.tensor([[1.0, -2.0], [0.0, 1.0]])}, None)
        tensor(1.)
    """

    spec: ClassVar[str] = "4 sparse representations"
    reference: ClassVar[str] = "Olshausen & Field 1996; Glorot, Bordes & Bengio 2011"

    lam: Strength = strength(1e-4, off=0.0, low=1e-7, high=1e-1, log=True, meaning="weight of the activity")
    form: str = option("l1", choices=("l1", "kl"), meaning="sum of absolute activity, or divergence from a target")
    target: float = option(0.05, meaning="wanted mean activity")
    where: Any = Hidden()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.target, bool) or not isinstance(self.target, (int, float)) or not 0.0 < self.target < 1.0:
            raise ConfigError(expected("target", "ActivationSparsity", "in (0, 1)", self.target, "It is the mean activity wanted of each unit, such as 0.05."))

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        if not taps:
            return next(iter(params.values())).new_zeros(())
        activity = torch.stack([self._activity(h) for h in taps.values()]).sum()
        return torch.where(self.lam > 0, self.lam * activity, torch.zeros_like(activity))

    def _activity(self, h: Tensor) -> Tensor:
        if self.form == "l1":  # contiguous: in that memory layout the gradient joins the others without changing a bit of theirs
            return h.contiguous().abs().sum() / h.shape[0]
        a = (h.transpose(0, 1).flatten(1).mean(1) if h.dim() > 2 else h.mean(0)).clamp(1e-6, 1.0 - 1e-6)
        t = self.target
        return (t * (math.log(t) - a.log()) + (1.0 - t) * (math.log(1.0 - t) - torch.log1p(-a))).sum()
