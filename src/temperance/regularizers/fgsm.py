"""FGSM: adversarial training with one gradient step."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from temperance.core.batch import Batch
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._inputs import Attack, checked_bounds, clean_and_attacked


@register
class FGSM(Regularizer):
    """Trains on the rows and on the same rows moved a little in the direction that hurts most.

    What: every number of every row is moved by the same small amount, up or down, whichever raises the loss; with ``norm="l2"`` the row moves as a
    whole along its gradient.

    Formula: (1 - share) J(x) + share J(x + eps · s · sign(∇ₓ J)), with s the standard deviation of that input over the training rows. For
    logistic regression with labels ±1 the attacked loss is softplus(-y(w·x + b) + eps Σ s |w|): an L1 penalty inside the loss. ``norm="l2"``
    adds eps · s · g / ‖g‖₂ with g = s ∇ₓ J for each row, and there softplus(-y(w·x + b) + eps ‖s w‖₂).

    When: for networks that must stand small changes of their inputs; at small eps it also regularizes smooth tabular problems. It costs
    clean accuracy when eps is large, and a network can learn to fool a one-step attack (use PGD to check). Codes of categories are not moved.

    Composes: outside sits SAM, inside everything else: both passes see the same masks. The attack itself is computed at evaluation statistics
    with masks off (``mode="train"``: at the statistics of the minibatch), and BatchNorm keeps the statistics of the clean pass.

    Cost: one forward and backward pass for the attack, one more for the attacked rows: about three times a plain step.

    Reference: Goodfellow, Shlens & Szegedy (2015), Explaining and harnessing adversarial examples.

    Args:
        eps: how far each input moves, in its standard deviations; in raw units if ``bounds`` are given.
        share: the part of the loss on moved rows.
        norm: ``"linf"`` moves every input by eps; ``"l2"`` moves the row by the Euclidean length eps.
        bounds: None, or the lowest and highest legal input, such as (0, 1) for images: moved rows are cut off there. They and
            ``eps`` are then in the units of the rows as the network gets them: not for rows that were standardized, as the estimators do.
        mode: statistics in the attack: ``"eval"``, those kept for evaluation, or ``"train"``, those of the minibatch.

    Example:
        >>> import temperance as tp
        >>> tp.FGSM(0.007, bounds=(0.0, 1.0))
        FGSM(eps=0.007, share=0.5, bounds=(0.0, 1.0))
    """

    spec: ClassVar[str] = "3 adversarial"
    reference: ClassVar[str] = "Goodfellow, Shlens & Szegedy 2015"
    perturbs: ClassVar[str | None] = "inputs"

    eps: Strength = strength(0.1, off=0.0, low=0.005, high=0.5, log=True, meaning="how far each input moves")
    share: Strength = strength(0.5, off=0.0, low=0.1, high=1.0, valid="[0, 1]", meaning="part of the loss on moved rows")
    norm: str = option("linf", choices=("linf", "l2"), meaning="a box or a ball")
    bounds: Any = option(None, meaning="lowest and highest legal input")
    mode: str = option("eval", choices=("eval", "train"), meaning="statistics in the attack")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bounds", checked_bounds(self.bounds, type(self).__name__))

    def is_off(self) -> bool:
        return any(self.peak(name) == 0.0 for name in ("eps", "share"))

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        moved = Attack("FGSM", self.norm, self.bounds, self.mode)(batch, params, self.eps, ctx)
        return clean_and_attacked(self.label, objective, params, batch, moved, self.share, torch.logical_and(self.eps > 0, self.share > 0))
