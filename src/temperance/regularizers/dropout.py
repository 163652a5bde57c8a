"""Dropout on inputs and hidden units."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from temperance.core.batch import Batch, map_float
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.selector import Hidden, Nothing, Selector
from temperance.core.strength import Strength, option, strength

LOWEST = -1.7580993408473766  # the limit of SELU on the left


@register
class Dropout(Regularizer):
    """Removes random units in every training step, so that none can rely on another being there.

    What: multiplies hidden units, and if asked inputs, by 0 with probability ``rate`` and by 1 / (1 - rate) otherwise. At evaluation nothing is
    done, because the scaling keeps the mean. Output units are never dropped.

    Formula: h <- h ⊙ m / (1 - rate), m ~ Bernoulli(1 - rate). For linear regression on dropped inputs the expected loss is
    ‖y - Xw‖² + rate / (1 - rate) · Σ_j w_j² Σ_i x_ij². The rate is rounded to a multiple of 1/65536, so that the mean is exact. With
    ``mask="exact"`` exactly d = round(rate · units) of a layer's units are off (half to even, at least one stays) and the others are multiplied by
    units / (units - d). With ``dropped="alpha"`` dropped units become α = -1.7581 in place of 0, and h <- a h + b with a = ((1 - rate) (1 + rate
    α²))^(-1/2), b = -a α rate, which keeps mean 0 and variance 1, those of networks of SELU. Scaling in training is the same as training unscaled and
    multiplying the weights, not the biases, that read these units by 1 - rate at the end. The network at evaluation is the mean of all thinned
    networks where all is linear; for a softmax whose last affine layer alone reads dropped units it is their renormalized geometric mean; elsewhere
    it only comes near the ensemble.

    When: large networks that over-fit; 0.1 to 0.5 on hidden units, at most 0.2 on inputs. On small networks, on noisy regression and shortly
    before BatchNorm it often hurts. ``mask="batch"`` and ``"exact"`` make the gradient noisier.

    Composes: units are hidden after earlier regularizers of the list have changed them. All passes of one step see the same masks, except those at
    evaluation statistics (attacks), which see none. MaxNorm is its usual companion.

    Cost: one random mask and one multiplication for each selected activation.

    Reference: Srivastava et al. (2014), Dropout; Gal & Ghahramani (2016) for ``share_calls``; Tompson et al. (2015) for ``mask="channel"``;
    Nielsen (2015), Neural networks and deep learning, for ``mask="exact"``; Klambauer et al. (2017), Self-normalizing neural networks, for
    ``dropped="alpha"``.

    Args:
        rate: probability that a hidden unit is dropped.
        input_rate: probability that an entry of a floating input is dropped; category codes are left alone.
        mask: ``"row"`` draws for every row, ``"batch"`` once for all rows (one thinned network per step), ``"channel"`` for every row and channel,
            ``"exact"`` once for all rows with exactly that share of the units off.
        share_calls: one mask for all calls of a module within a step, as for recurrent cells.
        where: the modules whose outputs are dropped, by default activations before another layer; None for inputs only.
        dropped: what dropped hidden units become: ``"zero"``, or ``"alpha"``, the lowest value of SELU.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> tp.Dropout(0.5).bind().hidden(torch.ones(2, 4), Context()).unique()
        tensor([0., 2.])
    """

    spec: ClassVar[str] = "2 dropout"
    reference: ClassVar[str] = "Srivastava et al. 2014"

    rate: Strength = strength(0.5, off=0.0, low=0.02, high=0.6, valid="[0, 1)", meaning="share of hidden units dropped")
    input_rate: Strength = strength(0.0, off=0.0, low=0.01, high=0.4, valid="[0, 1)", meaning="share of input entries dropped")
    mask: str = option("row", choices=("row", "batch", "channel", "exact"), meaning="what shares one mask")
    share_calls: bool = option(False, choices=(False, True), meaning="one mask for all calls of a module")
    where: Any = Hidden()
    dropped: str = option("zero", choices=("zero", "alpha"), meaning="what dropped hidden units become")

    @classmethod
    def stand_in(cls, module: nn.Module, where: Selector, name: str) -> Dropout | None:
        mask = {nn.Dropout: "row", nn.Dropout1d: "channel", nn.Dropout2d: "channel", nn.Dropout3d: "channel"}.get(type(module))
        return None if mask is None else cls(rate=float(getattr(module, "p", 0.0)), mask=mask, where=where, name=name)

    def wants(self, site: str) -> bool:
        return site != "hidden" or not isinstance(self.where, Nothing)

    def drives(self, site: str) -> tuple[str, ...]:
        return ("rate",) if site == "hidden" else ("input_rate",)

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        mask = self._mask(self.rate, h, ctx)
        if self.dropped == "zero":
            return h * mask
        rate = _exact_share(self.rate, h) if self.mask == "exact" else self.rate
        a = ((1.0 - rate) * (1.0 + rate * LOWEST**2)).rsqrt()
        out = a * torch.where(mask > 0, h, LOWEST) - a * LOWEST * rate
        return torch.where(self.rate > 0, out.to(h.dtype), h)

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return batch._replace(x=map_float(lambda leaf: leaf * self._mask(self.input_rate, leaf, ctx), batch.x))

    def _mask(self, rate: Tensor, h: Tensor, ctx: Context) -> Tensor:
        return exact_mask(rate, h, ctx) if self.mask == "exact" else ctx.rng.keep_mask(rate, self._shape(h), h.dtype)

    def _shape(self, h: Tensor) -> tuple[int, ...]:
        if self.mask == "batch":
            return (1, *h.shape[1:])
        return (*h.shape[:2], *[1] * (h.dim() - 2)) if self.mask == "channel" else tuple(h.shape)


def exact_mask(rate: Tensor, h: Tensor, ctx: Context) -> Tensor:
    """A mask ``(1, ...)`` of a layer with round(rate · units) zeros at random places; the other entries make its mean exactly one."""
    shape = tuple(h.shape[1:])
    units = math.prod(shape)
    off = _off(rate, units)
    kept = ctx.rng.permutation(units) >= off
    return torch.where(kept, units / (units - off), torch.zeros_like(off)).to(h.dtype).reshape(1, *shape)


def _off(rate: Tensor, units: int) -> Tensor:
    """How many of a layer's units are off."""
    return (rate * units).round().clamp_max(max(units - 1, 0))


def _exact_share(rate: Tensor, h: Tensor) -> Tensor:
    """The share of a layer's units that are off."""
    units = math.prod(h.shape[1:])
    return _off(rate, units) / units
