"""FGSM: adversarial training with one gradient step."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from temperance.core.batch import Batch, map_float
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._inputs import attack, checked_bounds, clean_and_attacked, unit_of


@register
class FGSM(Regularizer):
    """Trains on the rows and on the same rows moved a little in the direction that hurts most.

    What: every number of every row is moved by the same small amount, up or down, whichever raises the loss.

    Formula: (1 - share) J(x) + share J(x + eps · s · sign(∇ₓ J)), with s the standard deviation of that input over the training rows. For
    logistic regression with labels ±1 the attacked loss is softplus(-y(w·x + b) + eps Σ s |w|): an L1 penalty inside the loss.

    When: for networks that must stand small changes of their inputs; at small eps it also regularizes smooth tabular problems. It costs
    clean accuracy when eps is large, and a network can learn to fool a one-step attack (use PGD to check). Codes of categories are not moved.

    Composes: outside sits SAM, inside everything else: both passes see the same masks. The attack itself is computed at evaluation statistics
    with masks off, and BatchNorm keeps the statistics of the clean pass.

    Cost: one forward and backward pass for the attack, one more for the attacked rows: about three times a plain step.

    Reference: Goodfellow, Shlens & Szegedy (2015), Explaining and harnessing adversarial examples.

    Args:
        eps: how far each input moves, in its standard deviations; in raw units if ``bounds`` are given.
        share: the part of the loss on moved rows.
        bounds: None, or the lowest and highest legal input, such as (0, 1) for images: moved rows are cut off there.

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
    bounds: Any = option(None, meaning="lowest and highest legal input")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bounds", checked_bounds(self.bounds, type(self).__name__))

    def is_off(self) -> bool:
        return any(self.peak(name) == 0.0 for name in ("eps", "share"))

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        unit = unit_of(batch.x, ctx) if self.bounds is None else unit_of(batch.x, Context())
        radius = map_float(lambda leaf, one: self.eps.to(leaf.dtype) * one, batch.x, unit)
        moved = attack(batch, params, radius, None, 1.0, 1, self.bounds, ctx)
        return clean_and_attacked(self.label, objective, params, batch, moved, self.share, torch.logical_and(self.eps > 0, self.share > 0))
