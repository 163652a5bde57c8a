"""NormBall: a cap on the length of all weights of a layer, or of all layers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, option, strength


@register
class NormBall(Regularizer):
    """Keeps the weights of each layer, or of all layers together, within a ball.

    What: after each step, weights that are longer than ``radius`` are scaled back to that length, all by the same factor.

    Formula: w <- w · min(1, radius / ‖w‖₂), the Euclidean projection on ‖w‖₂ <= radius; w is one weight matrix (its Frobenius norm), or with
    ``over="all"`` all selected ones, laid end to end. It is the constraint whose penalty is L2: for each radius some lam has the same minimizers.

    When: instead of L2 where the size that weights may reach is easier to say than a price for it: inside the ball nothing is pulled, so no weight is held
    near a dead end at zero, and a large learning rate cannot blow the weights up. A radius that the weights never reach does nothing; before a
    normalization layer the length of the weights has no meaning.

    Composes: runs last, after decay and proximal steps; zeros stay zeros. In a loop of your own the ball of ``"all"`` is that of the weights which share a
    learning rate; frozen weights do not count.

    Cost: one reduction and one multiplication over the weights.

    Reference: Goodfellow, Bengio & Courville (2016), Deep learning, section 7.2: norm penalties as constrained optimization.

    Args:
        radius: the largest length; infinity switches it off.
        over: ``"layer"`` for a ball for each weight matrix, ``"all"`` for one ball.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.NormBall(1.0).bind().after_step({"a": torch.tensor([[3.0], [4.0]]), "b": torch.tensor([[0.5]])}, None)
        {'a': tensor([[0.6000],
                      [0.8000]]), 'b': tensor([[0.5000]])}
    """

    spec: ClassVar[str] = "1 MaxAbs and balls"
    reference: ClassVar[str] = "Goodfellow, Bengio & Courville 2016"
    rank: ClassVar[int] = 2

    radius: Strength = strength(5.0, off=float("inf"), low=0.5, high=50.0, log=True, valid="(0, inf]", meaning="largest length of the weights")
    over: str = option("layer", choices=("layer", "all"), meaning="a ball for each layer, or one for all")
    where: Any = Weights()

    def looks_at(self) -> str:
        return "moved" if self.over == "all" else "parameter"

    def after_step(self, params: Params, ctx: Context) -> Params:
        squares = {name: w.square().sum() for name, w in params.items()}
        if self.over == "all":
            squares = dict.fromkeys(squares, torch.stack([*squares.values()]).sum())
        return {name: w * self._factor(squares[name].sqrt()) for name, w in params.items()}

    def _factor(self, length: Tensor) -> Tensor:
        outside = length > self.radius
        return torch.where(outside, self.radius / torch.where(outside, length, torch.ones_like(length)), torch.ones_like(length))
