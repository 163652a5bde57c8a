"""HiddenNoise: Gaussian noise on hidden units."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.selector import Hidden
from temperance.core.strength import Strength, option, strength


@register
class HiddenNoise(Regularizer):
    """Adds Gaussian noise to hidden units in every training step, or multiplies them by it.

    What: every hidden unit is disturbed separately for every row, so that what follows must not hang on its last digits. At evaluation nothing is done:
    the noise has mean zero, the factor mean one.

    Formula, with n ~ N(0, 1) for each unit and row: h <- h + sigma n, or with ``form="multiplicative"`` h <- h (1 + sigma n).

    When: as a softer dropout, and where shrinking weights does too little: noise on hidden units is input noise at a deeper level, and often
    regularizes more than a penalty does. Additive noise can be evaded by larger units (add L2 or MaxNorm, or use the other form);
    multiplicative noise leaves units at zero alone, so after ReLU it touches the active ones only. Not for networks that under-fit.

    Composes: sees the units as earlier regularizers of the list have left them. All passes of one step see the same noise, except those at
    evaluation statistics (attacks), which see none. GaussianDropout(rate) is the multiplicative form with sigma² = rate / (1 - rate).

    Cost: one normal number and two operations for each selected unit.

    Reference: Poole, Sohl-Dickstein & Ganguli (2014), Analyzing noise in autoencoders and deep networks; Goodfellow et al. (2016), section 7.5.

    Args:
        sigma: standard deviation: in the unit of the activations, or as a share of each where multiplicative.
        form: ``"additive"`` or ``"multiplicative"``.
        where: the modules whose outputs are disturbed, by default activations before another layer.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> noisy = tp.HiddenNoise(0.2).bind().hidden(torch.ones(400, 50), Context())
        >>> round(noisy.mean().item(), 1), round(noisy.std().item(), 1)
        (1.0, 0.2)
    """

    spec: ClassVar[str] = "2 hidden units"
    reference: ClassVar[str] = "Poole, Sohl-Dickstein & Ganguli 2014"

    sigma: Strength = strength(0.1, off=0.0, low=0.01, high=1.0, log=True, meaning="standard deviation of the noise")
    form: str = option("additive", choices=("additive", "multiplicative"), meaning="whether noise is added or multiplies")
    where: Any = Hidden()

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        noise = self.sigma.to(h.dtype) * ctx.rng.normal(tuple(h.shape), h.dtype)
        if self.form == "multiplicative":
            return h * (1.0 + noise)
        return torch.where(self.sigma > 0, h + noise, h)
