"""VAT: the same answer in every direction, for rows with and without labels."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, map_float, map_leaves
from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._inputs import frozen, gradient, normalized, unit_of


@register
class VAT(Regularizer):
    """Asks the network's own prediction to stay put when a row moves in the direction that changes it most.

    What: like adversarial training, with the prediction in place of the label; so it learns from rows whose label is missing.

    Formula: J + lam · mean over rows of KL(p(x) ‖ p(x + r)), where r maximizes the divergence among ‖r / s‖₂ <= eps for each row, found by
    power iteration on its Hessian: d <- ∇_d KL(p(x) ‖ p(x + xi s d)), normalized; r = eps s d. p(x) is a constant, s the standard
    deviation of each input. For regression and several labels the divergence is that of the criterion.

    When: few labels and many rows without; also as a smoother on fully labelled data. eps should stay below the distance at which the true label may
    change. Codes of categories are not moved.

    Composes: all of its passes use evaluation statistics with masks off; penalties count once. With FGSM or PGD it cannot be combined.

    Cost: ``power_iterations`` forward and backward passes, two more forward and one backward.

    Reference: Miyato et al. (2018), Virtual adversarial training.

    Args:
        eps: Euclidean radius for a row, in standard deviations of the inputs.
        lam: weight of the divergence.
        xi: length of the probe of the power iteration, in the same unit; about the square root of single precision, where rounding and curvature
            disturb the direction least.
        power_iterations: how often the direction is improved.

    Example:
        >>> import temperance as tp
        >>> tp.VAT(eps=2.0, lam=0.5)
        VAT(eps=2.0, lam=0.5)
    """

    spec: ClassVar[str] = "3 semi-supervised"
    reference: ClassVar[str] = "Miyato et al. 2018"
    perturbs: ClassVar[str | None] = "inputs"

    eps: Strength = strength(1.0, off=0.0, low=0.05, high=5.0, log=True, meaning="radius for a row")
    lam: Strength = strength(1.0, off=0.0, low=0.01, high=10.0, log=True, meaning="weight of the divergence")
    xi: float = option(1e-3, meaning="length of the probe")
    power_iterations: int = option(1, valid="[1, 100]", meaning="steps of the power iteration")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.xi, bool) or not isinstance(self.xi, (int, float)) or not 0.0 < self.xi < 1.0:
            raise ConfigError(expected("xi", "VAT", "in (0, 1)", self.xi, "A tenth of a per cent of a standard deviation is a good probe."))

    def is_off(self) -> bool:
        return any(self.peak(name) == 0.0 for name in ("eps", "lam"))

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        total, report, buffers, taps = objective(params, batch)
        on = torch.logical_and(self.eps > 0, self.lam > 0)
        x, unit = map_leaves(Tensor.detach, batch.x), unit_of(batch.x, ctx)
        direction = self._direction(frozen(params), x, unit, ctx)
        r = map_float(lambda leaf, d, one: torch.where(on, self.eps.to(leaf.dtype) * one * d, torch.zeros_like(leaf)), x, direction, unit)
        here = map_leaves(Tensor.detach, ctx.forward(frozen(params), x, "eval")[0])
        there = ctx.forward(params, map_float(torch.add, x, r), "eval")[0]
        extra = torch.where(on, self.lam * ctx.criterion.divergence(here, there), torch.zeros_like(total))
        return total + extra, {**report, self.label: extra}, buffers, taps

    def _direction(self, still: Params, x: Any, unit: Any, ctx: Context) -> Any:
        """Unit vectors a row along which the prediction changes most."""
        here = ctx.forward(still, x, "eval")[0]
        d = normalized(map_float(lambda leaf: ctx.rng.normal(tuple(leaf.shape), leaf.dtype), x))

        def divergence(v: Any) -> Tensor:
            moved = map_float(lambda leaf, one, u: leaf + self.xi * one * u, x, unit, v)
            return ctx.criterion.divergence(here, ctx.forward(still, moved, "eval")[0])

        for _ in range(self.power_iterations):
            d = normalized(gradient(divergence, d))
        return d
