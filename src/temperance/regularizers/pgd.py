"""PGD: adversarial training with several gradient steps."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._inputs import Attack, checked_bounds, checked_stride, clean_and_attacked


@register
class PGD(Regularizer):
    """Trains on the rows and on the worst rows that several small steps find nearby.

    What: the attack of FGSM, repeated with smaller steps from a random start, and put back into the box (or the ball) around the row after each;
    with ``restarts`` several times, and each row keeps the start from which its loss rose most.

    Formula: x₀ = x + eps s u, u uniform on [-1, 1]; x_{i+1} = Π(x_i + step_size eps s · sign(∇ J(x_i))), Π the projection on
    |x_i - x| <= eps s; loss (1 - share) J(x) + share J(x_steps). s is the standard deviation of each input over the training rows. With
    ``norm="l2"`` the sign gives way to g / ‖g‖₂, g = s ∇ J(x_i), for each row, and Π to the projection on ‖(x_i - x) / s‖₂ <= eps.

    When: where robustness is the aim; a network that resists PGD resists most attacks of that size, and ``temperance robust`` measures it. Otherwise
    FGSM regularizes about as well for less. It costs clean accuracy. Codes of categories are not moved.

    Composes: as FGSM; a cocktail takes one of them.

    Cost: ``steps`` forward and backward passes for each of the ``restarts`` (and one forward pass each, if there are several), and one forward and
    backward pass for the attacked rows.

    Reference: Madry et al. (2018), Towards deep learning models resistant to adversarial attacks.

    Args:
        eps: how far each input may move, in its standard deviations; in raw units if ``bounds`` are given.
        share: the part of the loss on moved rows.
        steps: gradient steps of the attack.
        step_size: length of one of them in eps; None for 2.5 / steps.
        restarts: random starts, of which the worst counts for each row.
        norm: ``"linf"``, a box around the row, or ``"l2"``, a ball over all of its numbers.
        bounds: None, or the lowest and highest legal input, such as (0, 1) for images: moved rows are cut off there. They and
            ``eps`` are then in the units of the rows as the network gets them: not for rows that were standardized, as the estimators do.
        mode: statistics in the attack: ``"eval"``, those kept for evaluation, or ``"train"``, those of the minibatch.

    Example:
        >>> import temperance as tp
        >>> tp.PGD(0.03, steps=3)
        PGD(eps=0.03, share=0.5, steps=3)
    """

    spec: ClassVar[str] = "3 adversarial"
    reference: ClassVar[str] = "Madry et al. 2018"
    perturbs: ClassVar[str | None] = "inputs"

    eps: Strength = strength(0.1, off=0.0, low=0.005, high=0.5, log=True, meaning="how far each input may move")
    share: Strength = strength(0.5, off=0.0, low=0.1, high=1.0, valid="[0, 1]", meaning="part of the loss on moved rows")
    steps: int = option(7, valid="[1, 1000]", meaning="gradient steps of the attack")
    step_size: Any = option(None, meaning="length of a step in eps")
    restarts: int = option(1, valid="[1, 100]", meaning="random starts")
    norm: str = option("linf", choices=("linf", "l2"), meaning="a box or a ball")
    bounds: Any = option(None, meaning="lowest and highest legal input")
    mode: str = option("eval", choices=("eval", "train"), meaning="statistics in the attack")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bounds", checked_bounds(self.bounds, type(self).__name__))
        object.__setattr__(self, "step_size", checked_stride(self.step_size, type(self).__name__))

    def is_off(self) -> bool:
        return any(self.peak(name) == 0.0 for name in ("eps", "share"))

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        stride = 2.5 / self.steps if self.step_size is None else self.step_size
        moved = Attack("PGD", self.norm, self.bounds, self.mode, self.steps, stride, self.restarts)(batch, params, self.eps, ctx)
        return clean_and_attacked(self.label, objective, params, batch, moved, self.share, torch.logical_and(self.eps > 0, self.share > 0))
