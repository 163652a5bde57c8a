"""PGD: adversarial training with several gradient steps."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from temperance.core.batch import Batch, map_float
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._inputs import attack, checked_bounds, clean_and_attacked, unit_of


@register
class PGD(Regularizer):
    """Trains on the rows and on the worst rows that several small steps find nearby.

    What: the attack of FGSM, repeated with smaller steps from a random start, and put back into the box around the row after each.

    Formula: x₀ = x + eps s u, u uniform on [-1, 1]; x_{i+1} = Π(x_i + (2.5 / steps) eps s · sign(∇ J(x_i))), Π the projection on
    |x_i - x| <= eps s; loss (1 - share) J(x) + share J(x_steps). s is the standard deviation of each input over the training rows.

    When: where robustness is the aim; a network that resists PGD resists most attacks of that size. Otherwise FGSM regularizes about as well for
    less. Codes of categories are not moved.

    Composes: as FGSM; a cocktail takes one of them.

    Cost: ``steps`` forward and backward passes for the attack, one more for the attacked rows.

    Reference: Madry et al. (2018), Towards deep learning models resistant to adversarial attacks.

    Args:
        eps: how far each input may move, in its standard deviations; in raw units if ``bounds`` are given.
        share: the part of the loss on moved rows.
        steps: gradient steps of the attack.
        bounds: None, or the lowest and highest legal input, such as (0, 1) for images: moved rows are cut off there.

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
    bounds: Any = option(None, meaning="lowest and highest legal input")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bounds", checked_bounds(self.bounds, type(self).__name__))

    def is_off(self) -> bool:
        return any(self.peak(name) == 0.0 for name in ("eps", "share"))

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        unit = unit_of(batch.x, ctx) if self.bounds is None else unit_of(batch.x, Context())
        radius = map_float(lambda leaf, one: self.eps.to(leaf.dtype) * one, batch.x, unit)
        start = map_float(lambda leaf: 2.0 * ctx.rng.uniform(tuple(leaf.shape), leaf.dtype) - 1.0, batch.x)
        moved = attack(batch, params, radius, start, 2.5 / self.steps, self.steps, self.bounds, ctx)
        return clean_and_attacked(self.label, objective, params, batch, moved, self.share, torch.logical_and(self.eps > 0, self.share > 0))
