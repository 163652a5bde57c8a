"""L2SP: a penalty on the distance from where training starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength
from temperance.regularizers._norms import half_squares


@register
class L2SP(Regularizer):
    """Pulls every weight towards its value at the start of training, such as that of a pretrained network.

    What: adds half the squared distance between the weights and those at the start to the loss (SP: starting point).

    Formula: J + lam/2 · Σ (w - w₀)², so the gradient gains lam · (w - w₀). Where J is quadratic with curvature D along a direction, its minimizer w* goes to
    (D w* + lam w₀) / (D + lam) there. Early stopping is its neighbor: that of few steps from w₀. Read as a prior: Gaussian with variance 1/(n lam) around w₀.

    When: fine-tuning with few rows: what the network has learned before is kept, where L2 would unlearn it. From random weights it makes no sense;
    give a new output layer L2 instead: ``L2SP(where="body.*")`` beside ``L2(where="head.*")``.

    Composes: with everything. The start is that of this run: a network that is retrained starts again from where the retraining starts.

    Cost: one pass over the weights forward, one backward, and a copy of them.

    Reference: Li, Grandvalet & Davoine (2018), Explicit inductive bias for transfer learning with convolutional networks.

    Args:
        lam: strength.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> sp = tp.L2SP(0.5).bind()
        >>> start = sp.init({"w": torch.tensor([[1.0, 2.0]])})
        >>> sp.penalty({"w": torch.tensor([[1.0, 4.0]])}, {}, Context(state=start))
        tensor(1.)
    """

    spec: ClassVar[str] = "1 L2-SP"
    reference: ClassVar[str] = "Li, Grandvalet & Davoine 2018"

    lam: Strength = strength(1e-2, off=0.0, low=1e-5, high=1.0, log=True, meaning="weight of half the squared distance from the start")
    where: Any = Weights()

    def init(self, params: Params) -> dict[str, Tensor]:
        return {name: w.detach().clone() for name, w in params.items()}

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        start = ctx.state or self.init(params)
        return half_squares([w - start[name] for name, w in params.items()], self.lam)
