"""DropConnect: dropout on weights."""

from __future__ import annotations

from typing import Any, ClassVar

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import Weights
from temperance.core.strength import Strength, strength


@register
class DropConnect(Regularizer):
    """Removes random connections in every training step.

    What: the forward pass sees each selected weight multiplied by 0 with probability ``rate`` and by 1 / (1 - rate) otherwise; the weights
    themselves stay. One mask serves all rows of a minibatch.

    Formula: f(x; w ⊙ m / (1 - rate)), m ~ Bernoulli(1 - rate). The gradient of a dropped weight is zero in this step.

    When: like dropout, which it generalizes (dropping a unit drops all its connections); useful in recurrent networks, where masks on states
    destroy memory. With few rows a minibatch the shared mask makes gradients noisier than dropout does.

    Composes: penalties, decay and projections see the undropped weights. Other weight sites fold in list order.

    Cost: one random mask and one multiplication over the weights: cheap beside activations when minibatches are large.

    Reference: Wan et al. (2013), Regularization of neural networks using DropConnect; Merity, Keskar & Socher (2018) for recurrent networks.

    Args:
        rate: probability that a weight is dropped.
        where: the parameters meant; by default weight matrices and kernels.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> tp.DropConnect(0.5).bind().weights({"w": torch.ones(3, 4)}, Context())["w"].unique()
        tensor([0., 2.])
    """

    spec: ClassVar[str] = "2 DropConnect"
    reference: ClassVar[str] = "Wan et al. 2013"
    short: ClassVar[str] = "dropconnect"

    rate: Strength = strength(0.2, off=0.0, low=0.02, high=0.6, valid="[0, 1)", meaning="share of weights dropped")
    where: Any = Weights()

    def weights(self, params: Params, ctx: Context) -> Params:
        return {name: w * ctx.rng.keep_mask(self.rate, tuple(w.shape), w.dtype) for name, w in params.items()}
