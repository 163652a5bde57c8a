"""WeightNoise: Gaussian noise on the weights of a pass."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, option, strength


@register
class WeightNoise(Regularizer):
    """Trains with weights that are disturbed in every step, and keeps the undisturbed ones.

    What: the forward pass sees each selected weight with fresh noise; the gradient taken there moves the weight itself. So flat minima are
    preferred, where small changes of the weights cost little. All rows of a minibatch see the same noise, and in a recurrent network so do all
    time steps of a pass. At evaluation the weights are as they are.

    Formula, with n ~ N(0, 1) for each weight: f(x; w + sigma n), or with ``form="relative"`` f(x; w (1 + sigma n)), in which every weight is the
    unit of its own noise: large ones are shaken more, those at zero stay there. For linear regression with mean squared error the absolute form
    adds sigma² Σ_j mean(x_j²) to the expected loss, which does not depend on w; the relative form adds sigma² Σ_j w_j² mean(x_j²), a
    penalty. In a deep network the absolute form too is one: on the size of the gradient of the outputs with respect to the weights.

    When: recurrent networks, where noise on states is summed over time; small training sets. Absolute noise should be well below the
    weights (0.01 to 0.1 of networks in use); a layer before a normalization can evade it by growing, so give it the relative form. Not for
    a last layer of large weights and few rows, whose outputs it would swamp.

    Composes: penalties, decay and projections see the undisturbed weights. Other weight sites fold in list order. SAM is its deterministic relative.

    Cost: one normal number and two operations for each weight: cheap beside activations when minibatches are large.

    Reference: Jim, Giles & Horne (1996), An analysis of noise in recurrent neural networks; Graves (2011), Practical variational inference.

    Args:
        sigma: standard deviation, in the unit of the weights, or as a share of each where relative.
        form: ``"absolute"`` or ``"relative"``.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> noisy = tp.WeightNoise(0.1, form="relative").bind().weights({"w": torch.full((300, 40), 5.0)}, Context())["w"]
        >>> round(noisy.std().item(), 1)
        0.5
    """

    spec: ClassVar[str] = "2 weights"
    reference: ClassVar[str] = "Jim, Giles & Horne 1996; Graves 2011"

    sigma: Strength = strength(0.05, off=0.0, low=0.002, high=0.5, log=True, meaning="standard deviation of the noise on weights")
    form: str = option("absolute", choices=("absolute", "relative"), meaning="unit of the noise: one, or the size of each weight")
    where: Any = Weights()

    def weights(self, params: Params, ctx: Context) -> Params:
        return {name: self._disturbed(w, ctx) for name, w in params.items()}

    def _disturbed(self, w: Tensor, ctx: Context) -> Tensor:
        noise = self.sigma.to(w.dtype) * ctx.rng.normal(tuple(w.shape), w.dtype)
        if self.form == "relative":
            return w * (1.0 + noise)
        return torch.where(self.sigma > 0, w + noise, w)
