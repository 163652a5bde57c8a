"""Dropout on inputs and hidden units."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from temperance.core.batch import Batch, map_float
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.selector import Hidden, Nothing
from temperance.core.strength import Strength, option, strength


@register
class Dropout(Regularizer):
    """Removes random units in every training step, so that none can rely on another being there.

    What: multiplies hidden units, and if asked inputs, by 0 with probability ``rate`` and by 1 / (1 - rate) otherwise. At evaluation nothing is
    done, because the scaling keeps the mean. Output units are never dropped.

    Formula: h <- h ⊙ m / (1 - rate), m ~ Bernoulli(1 - rate). For linear regression on dropped inputs the expected loss is
    ‖y - Xw‖² + rate / (1 - rate) · Σ_j w_j² Σ_i x_ij². The rate is rounded to a multiple of 1/65536, so that the mean is exact.

    When: large networks that over-fit; 0.1 to 0.5 on hidden units, at most 0.2 on inputs. On small networks, on noisy regression and shortly
    before BatchNorm it often hurts.

    Composes: units are hidden after earlier regularizers of the list have changed them. All passes of one step see the same masks, except those at
    evaluation statistics (attacks), which see none. MaxNorm is its usual companion.

    Cost: one random mask and one multiplication for each selected activation.

    Reference: Srivastava et al. (2014), Dropout; Gal & Ghahramani (2016) for ``share_calls``; Tompson et al. (2015) for ``mask="channel"``.

    Args:
        rate: probability that a hidden unit is dropped.
        input_rate: probability that an entry of a floating input is dropped; category codes are left alone.
        mask: ``"row"`` draws for every row, ``"batch"`` once for all rows (one thinned network a step), ``"channel"`` for every row and channel.
        share_calls: one mask for all calls of a module within a step, as for recurrent cells.
        where: the modules whose outputs are dropped, by default activations before another layer; None for inputs only.

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
    mask: str = option("row", choices=("row", "batch", "channel"), meaning="what shares one mask")
    share_calls: bool = option(False, choices=(False, True), meaning="one mask for all calls of a module")
    where: Any = Hidden()

    def wants(self, site: str) -> bool:
        return site != "hidden" or not isinstance(self.where, Nothing)

    def drives(self, site: str) -> tuple[str, ...]:
        return ("rate",) if site == "hidden" else ("input_rate",)

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        return h * ctx.rng.keep_mask(self.rate, self._shape(h), h.dtype)

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        return batch._replace(x=map_float(lambda leaf: leaf * ctx.rng.keep_mask(self.input_rate, self._shape(leaf), leaf.dtype), batch.x))

    def _shape(self, h: Tensor) -> tuple[int, ...]:
        if self.mask == "batch":
            return (1, *h.shape[1:])
        return (*h.shape[:2], *[1] * (h.dim() - 2)) if self.mask == "channel" else tuple(h.shape)
