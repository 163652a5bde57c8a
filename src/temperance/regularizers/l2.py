"""L2: a penalty on the squared norm of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from temperance.core.prior import Gaussian, Prior
from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength
from temperance.regularizers._norms import half_squares


@register
class L2(Regularizer):
    """Pulls every weight towards zero in proportion to its size (ridge, Tikhonov).

    What: adds half the squared Euclidean norm of the selected weights to the loss.

    Formula: J + lam/2 · Σ w², so the gradient gains lam · w. J is the mean loss over rows; a penalty lam/(2n) · Σ w² on that mean is
    ``L2(per_row(lam, n))``, which is lam / n. Where J is quadratic with curvature D along a direction, its minimizer is shrunk there by
    D / (D + lam). Read as a prior: Gaussian with variance 1/(n lam).

    When: a safe first choice, above all where inputs are correlated or rows are few; it makes singular least squares solvable. It gives no
    exact zeros (see L1), and far too much of it leaves an almost linear network that under-fits.

    Composes: with everything. Under momentum and Adam it is not WeightDecay, because here the pull passes through the optimizer's averages.
    Not together with an optimizer that decays the weights itself.

    Cost: one pass over the weights forward, one backward.

    Reference: Hoerl & Kennard (1970), Ridge regression; Krogh & Hertz (1991), A simple weight decay can improve generalization.

    Args:
        lam: strength.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.L2(0.5).bind().penalty({"w": torch.tensor([[1.0, 2.0]])}, {}, None)
        tensor(1.2500)
    """

    spec: ClassVar[str] = "1 L2"
    reference: ClassVar[str] = "Hoerl & Kennard 1970; Krogh & Hertz 1991"
    decays: ClassVar[bool] = True
    reading: ClassVar[tuple[Prior, ...]] = (Gaussian("lam"),)

    lam: Strength = strength(1e-4, off=0.0, low=1e-7, high=1e-1, log=True, meaning="weight of half the squared norm")
    where: Any = Weights()

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        return half_squares(params.values(), self.lam)
