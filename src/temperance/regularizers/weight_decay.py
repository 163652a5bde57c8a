"""WeightDecay: decay that does not pass through the optimizer."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, option, strength


@register
class WeightDecay(Regularizer):
    """Shrinks every weight by a factor in each step, apart from the gradient (decoupled decay, as in AdamW).

    What: takes a small share of the selected weights away in each step; no term enters the loss, no gradient changes.

    Formula: w <- (1 - s lam) w - d, where d is the optimizer's step: lr g for plain gradient descent. s is named by ``scale``: the learning
    rate of this step (``"lr"``), the learning rate over its peak (``"schedule"``), or one (``"none"``). The decay is that of the weights
    before the step, as in ``torch.optim.AdamW``.

    When: with Adam and momentum, where L2 decays weights with large gradients too little. With ``"lr"`` the best ``lam`` moves with the
    learning rate; ``"schedule"`` and ``"none"`` break that link. For plain gradient descent it is L2.

    Composes: with everything; it runs before proximal steps and projections. Not together with an optimizer that decays the weights itself.

    Cost: one pass over the weights, and a copy of them for the time of the optimizer's step.

    Reference: Loshchilov & Hutter (2019), Decoupled weight decay regularization.

    Args:
        lam: strength, in units that ``scale`` decides.
        scale: ``"lr"``, ``"schedule"`` or ``"none"``.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> stepped, before = {"w": torch.tensor([[1.0, 2.0]])}, {"w": torch.tensor([[2.0, 2.0]])}
        >>> tp.WeightDecay(0.1).bind().after_step(stepped, Context(lr=torch.tensor(0.5), before=before))
        {'w': tensor([[0.9000, 1.9000]])}
    """

    spec: ClassVar[str] = "1 WeightDecay"
    reference: ClassVar[str] = "Loshchilov & Hutter 2019"
    decays: ClassVar[bool] = True
    rank: ClassVar[int] = 0

    lam: Strength = strength(1e-2, off=0.0, low=1e-3, high=10.0, log=True, meaning="decay a step, in units of scale")
    scale: str = option("lr", choices=("lr", "schedule", "none"), meaning="what the decay is multiplied by")
    where: Any = Weights()

    def after_step(self, params: Params, ctx: Context) -> Params:
        share = self.lam * self._unit(ctx)
        return {name: w - share * ctx.before.get(name, w) for name, w in params.items()}

    def wants_before(self) -> bool:
        return True

    def _unit(self, ctx: Context) -> Tensor | float:
        return {"lr": ctx.lr, "schedule": ctx.lr_factor, "none": 1.0}[self.scale]
