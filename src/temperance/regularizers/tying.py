"""Tying: one parameter in the place of two."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.errors import ConfigError
from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, option, strength
from temperance.regularizers._pairs import Pairs, check_patterns, pairs, transposed


@register
class Tying(Regularizer):
    """Makes one parameter of each pair the same as the other one, or its transpose, wholly or in part.

    What: the forward pass sees the second parameter moved to the first one by the part ``share``. With share = 1 they are one parameter with two uses, and
    the gradients of both uses add up in the first.

    Formula: W_B + share (W_A - W_B) in the place of W_B, so W_A gains the gradient share · ∂J/∂W_B and W_B keeps the rest; with ``transpose`` W_A has its
    first two dimensions exchanged. After the step W_B is set to the same mixture, so that what is evaluated and shipped is tied too. Pairs are found by
    name: ``first="encoder.*", second="decoder.*"`` pairs encoder.0.weight with decoder.0.weight, because ``*`` stands for the same text in both. Without
    patterns each of the selected parameters is paired with the earliest one of the same (or transposed) shape and last name, if there is one.

    When: parts of a network should do the same by their nature: auto-encoders (the decoder is the encoder's transpose), input and output embeddings, layers
    applied again and again. It halves the parameters of the pair; where the parts have to differ it under-fits. With share < 1 the two may differ by
    what the last few steps have done; SoftSharing puts a price on the difference instead.

    Composes: runs after all other changes of the weights, so the second parameter follows the first whatever they did. Penalties see both and
    report both; at share = 1 only their pull on the first one counts. For layers that are one module used twice no regularizer is needed.

    Cost: two element-wise passes over the second parameters.

    Reference: LeCun et al. (1989), Backpropagation applied to handwritten zip code recognition; Press & Wolf (2017), Using the output embedding to improve
    language models.

    Args:
        share: how far the second parameter is moved to the first; 1 ties them, 0 switches it off.
        first: pattern of names of the parameters that stay, with ``*`` and ``?``; None to pair by shape.
        second: pattern of names of the parameters that follow.
        transpose: whether the second is the transpose of the first.
        where: the parameters among which pairs are looked for; by default weight matrices and kernels.

    Raises:
        ConfigError: patterns that match nothing, leave a parameter without its partner, or pair different shapes; partners that are not trained together.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> w = {"in.weight": torch.tensor([[1.0, 2.0]]), "out.weight": torch.zeros(2, 1)}
        >>> tp.Tying(1.0, "in.*", "out.*", transpose=True).bind().weights(w, Context())["out.weight"]
        tensor([[1.],
                [2.]])
    """

    spec: ClassVar[str] = "4 tying and sharing"
    reference: ClassVar[str] = "LeCun et al. 1989; Press & Wolf 2017"
    rank: ClassVar[int] = 4

    share: Strength = strength(1.0, off=0.0, low=0.05, high=1.0, valid="[0, 1]", meaning="how far one parameter follows the other")
    first: str | None = None
    second: str | None = None
    transpose: bool = option(False, choices=(False, True), meaning="tie to the transpose")
    where: Any = Weights()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_patterns(self.first, self.second, type(self).__name__)

    def init(self, params: Params) -> dict[str, Tensor]:
        self._pairs(params)  # says at the start what cannot be paired
        return {}

    def weights(self, params: Params, ctx: Context) -> Params:
        return self._tied(params)

    def looks_at(self) -> str:
        return "selected"

    def after_step(self, params: Params, ctx: Context) -> Params:
        lacking = [name for name in ctx.names if name not in params]
        if lacking and self.first is None:
            raise ConfigError(
                f"Tying pairs parameters by their shapes, and {lacking[0]} is not trained together with the others: it is frozen. "
                "Name the pairs with `first` and `second`, or leave it out with `where`."
            )
        return self._tied(params)

    def _pairs(self, params: Params) -> Pairs:
        return pairs(params, self.first, self.second, type(self).__name__, self.transpose)

    def _tied(self, params: Params) -> Params:
        seen = dict(params)
        for a, b in self._pairs(params):
            lead = transposed(params[a]) if self.transpose else params[a]
            seen[b] = torch.where(self.share > 0, torch.lerp(params[b], lead, self.share.to(lead.dtype)), params[b])
        return seen
