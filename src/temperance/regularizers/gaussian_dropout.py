"""GaussianDropout: dropout's mean and variance without zeros."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.selector import Hidden
from temperance.core.strength import Strength, strength


@register
class GaussianDropout(Regularizer):
    """Multiplies hidden units by Gaussian noise whose mean and variance are those of dropout.

    What: no unit vanishes, yet to a layer that sums over many units the disturbance looks like dropout's. At evaluation nothing is done.

    Formula: h <- h ⊙ m, m ~ N(1, rate / (1 - rate)), which are the mean and the variance of a dropout mask scaled by 1 / (1 - rate). For linear
    regression on such inputs the expected loss is dropout's, ‖y - Xw‖² + rate / (1 - rate) · Σ_j w_j² Σ_i x_ij².

    When: where dropout helps and its zeros hurt: saturating or smooth activations, small layers. A unit's sign may turn at large rates; then Dropout
    is the steadier choice. As dropout, not on small networks that under-fit, nor shortly before BatchNorm.

    Composes: as HiddenNoise, of which it is the multiplicative form with sigma² = rate / (1 - rate). All passes of one step see the same noise.

    Cost: one normal number and two operations for each selected unit.

    Reference: Srivastava et al. (2014), Dropout, section 10; Wang & Manning (2013), Fast dropout training.

    Args:
        rate: the drop probability whose mean and variance are taken.
        where: the modules whose outputs are multiplied, by default activations before another layer.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> noisy = tp.GaussianDropout(0.2).bind().hidden(torch.ones(400, 50), Context())
        >>> round(noisy.mean().item(), 1), round(noisy.std().item(), 1)
        (1.0, 0.5)
    """

    spec: ClassVar[str] = "2 Gaussian dropout"
    reference: ClassVar[str] = "Srivastava et al. 2014; Wang & Manning 2013"

    rate: Strength = strength(0.3, off=0.0, low=0.02, high=0.6, valid="[0, 1)", meaning="drop probability of the same mean and variance")
    where: Any = Hidden()

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        sigma = (self.rate / (1.0 - self.rate)).sqrt().to(h.dtype)
        return h * (1.0 + sigma * ctx.rng.normal(tuple(h.shape), h.dtype))
