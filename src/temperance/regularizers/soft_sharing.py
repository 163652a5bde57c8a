"""SoftSharing: parameters that are to stay near each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength
from temperance.regularizers._norms import half_squares
from temperance.regularizers._pairs import check_patterns, pairs


@register
class SoftSharing(Regularizer):
    """Pulls parameters that belong together towards each other, such as those of two networks for two related tasks.

    What: adds half the squared distance between the two parameters of each pair to the loss.

    Formula: J + lam/2 · Σ ‖θ_A - θ_B‖² over the pairs. Pairs are found by name: ``first="left.*", second="right.*"`` pairs left.0.weight with
    right.0.weight, because ``*`` stands for the same text in both. Without patterns each of the selected parameters is paired with the earliest one of the
    same shape and last name, and one that has no such twin is left alone.

    When: two parts of a network do similar things, but not the same: heads or branches of related tasks, neighboring layers of equal shape. As lam grows it
    becomes one shared parameter (see Tying). Units of a hidden layer have no order, so two networks should start from the same weights.

    Composes: with everything. Unlike L2 it does not pull to zero; the common value of a pair is free.

    Cost: one pass over the paired parameters forward, one backward.

    Reference: Nowlan & Hinton (1992), Simplifying neural networks by soft weight-sharing; Lasserre, Bishop & Minka (2006), Principled hybrids of
    generative and discriminative models.

    Args:
        lam: strength.
        first: pattern of names on one side, with ``*`` and ``?``; None to pair by shape.
        second: pattern of names on the other side.
        where: the parameters among which pairs are looked for; by default weight matrices and kernels.

    Raises:
        ConfigError: patterns that match nothing, leave a parameter without its partner, or pair different shapes.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> w = {"left.weight": torch.tensor([[1.0, 2.0]]), "right.weight": torch.tensor([[1.0, 4.0]])}
        >>> tp.SoftSharing(0.5, "left.*", "right.*").bind().penalty(w, {}, None)
        tensor(1.)
    """

    spec: ClassVar[str] = "4 soft sharing"
    reference: ClassVar[str] = "Nowlan & Hinton 1992; Lasserre, Bishop & Minka 2006"

    lam: Strength = strength(1e-2, off=0.0, low=1e-5, high=1.0, log=True, meaning="weight of half the squared distance of pairs")
    first: str | None = None
    second: str | None = None
    where: Any = Weights()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_patterns(self.first, self.second, type(self).__name__)

    def init(self, params: Params) -> dict[str, Tensor]:
        pairs(params, self.first, self.second, type(self).__name__)  # says at the start what cannot be paired
        return {}

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        return half_squares([params[a] - params[b] for a, b in pairs(params, self.first, self.second, type(self).__name__)], self.lam)
