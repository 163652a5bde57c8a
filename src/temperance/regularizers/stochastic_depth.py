"""StochasticDepth: residual blocks that are skipped at random."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.selector import OutputsOf
from temperance.core.strength import Strength, option, strength


@register
class StochasticDepth(Regularizer):
    """Skips residual branches at random, so that a deep network trains as an ensemble of shallower ones.

    What: multiplies the output of each residual branch by 0 with probability ``rate`` and by 1 / (1 - rate) otherwise; where it is 0, the block is
    its shortcut alone. At evaluation every branch is there, and the scaling keeps the mean.

    Formula: y = x + b / (1 - rate) · F(x), b ~ Bernoulli(1 - rate), for each row, or for each minibatch with ``mask="batch"`` as it was first
    described. There the branch is unscaled in training and multiplied by 1 - rate at evaluation, which is the same network with the last layer of
    each branch divided by 1 - rate.

    When: deep residual networks (ten blocks and more), where it also shortens the way of the gradient; 0.1 to 0.5. In shallow ones a lost block
    is a large part of the network: use Dropout there. Rates that rise with depth do better than one for all blocks: give several entries
    with a ``where`` and a rate each, such as ``StochasticDepth(0.1, where="blocks.0.branch")``.

    Composes: with Dropout inside the branches. BatchNorm inside a branch sees all rows, also those whose branch is then dropped.

    Cost: one random number per row and branch, one multiplication; the branch is computed all the same.

    Reference: Huang et al. (2016), Deep networks with stochastic depth; Larsson, Maire & Shakhnarovich (2017) for whole paths.

    Args:
        rate: probability that a branch is dropped.
        mask: ``"row"`` draws for every row, ``"batch"`` once for all rows of a minibatch.
        where: the modules whose outputs are added to their inputs; by default ``Branch`` of temperance.nets.Residual. For ``MLP(skip=True)`` these
            are the activations, ``where=tp.selectors.outputs_of(nn.ReLU, except_output=False)``.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.regularizer import Context
        >>> tp.StochasticDepth(0.5).bind().hidden(torch.ones(200, 3, 4), Context()).mean((1, 2)).unique()
        tensor([0., 2.])
    """

    spec: ClassVar[str] = "2 stochastic depth"
    reference: ClassVar[str] = "Huang et al. 2016"

    rate: Strength = strength(0.2, off=0.0, low=0.02, high=0.6, valid="[0, 1)", meaning="share of residual branches dropped")
    mask: str = option("row", choices=("row", "batch"), meaning="what shares one draw")
    where: Any = OutputsOf("Branch", except_output=False)

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        rows = 1 if self.mask == "batch" else h.shape[0]
        return h * ctx.rng.keep_mask(self.rate, (rows, *[1] * (h.dim() - 1)), h.dtype)
