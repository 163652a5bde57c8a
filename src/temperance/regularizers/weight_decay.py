"""WeightDecay: decay that does not pass through the optimizer."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, option, strength


@register
class WeightDecay(Regularizer):
    """Shrinks every weight by a factor after each step, apart from the gradient (decoupled decay, as in AdamW).

    What: multiplies the selected weights by a number a little below one; no term enters the loss, no gradient changes.

    Formula: w <- (1 - s lam) w, with s named by ``scale``: the learning rate of this step (``"lr"``), the learning rate over its peak
    (``"schedule"``), or one (``"none"``). It acts on the weights that the optimizer's step has produced.

    When: with Adam and momentum, where L2 decays weights with large gradients too little. With ``"lr"`` the best ``lam`` moves with the
    learning rate; ``"schedule"`` and ``"none"`` break that link. For SGD without momentum it is L2, up to a term in the square of the learning rate.

    Composes: with everything; it runs before proximal steps and projections. Not together with an optimizer that decays the weights itself.

    Cost: one multiplication over the weights.

    Reference: Loshchilov & Hutter (2019), Decoupled weight decay regularization.

    Args:
        lam: strength, in units that ``scale`` decides.
        scale: ``"lr"``, ``"schedule"`` or ``"none"``.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> tp.WeightDecay(0.1).bind().after_step({"w": torch.tensor([[1.0, 2.0]])}, Context(lr=torch.tensor(0.5)))
        {'w': tensor([[0.9500, 1.9000]])}
    """

    spec: ClassVar[str] = "1 WeightDecay"
    reference: ClassVar[str] = "Loshchilov & Hutter 2019"
    decays: ClassVar[bool] = True
    rank: ClassVar[int] = 0

    lam: Strength = strength(1e-2, off=0.0, low=1e-3, high=1.0, log=True, meaning="decay a step, in units of scale")
    scale: str = option("lr", choices=("lr", "schedule", "none"), meaning="what the decay is multiplied by")
    where: Any = Weights()

    def after_step(self, params: Params, ctx: Context) -> Params:
        keep = 1.0 - self.lam * self._unit(ctx)
        return {name: w * keep for name, w in params.items()}

    def _unit(self, ctx: Context) -> Tensor | float:
        return {"lr": ctx.lr, "schedule": ctx.lr_factor, "none": 1.0}[self.scale]
