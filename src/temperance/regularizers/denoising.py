"""Denoising: the costs that a network reports of itself, such as those of a ladder's reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.regularizer import Context, Params, Regularizer, register
from temperance.core.selector import outputs_of
from temperance.core.strength import Strength, strength


@register
class Denoising(Regularizer):
    """Adds what a network says its reconstructions cost to the loss, for rows with and without a target.

    What: a ladder network rebuilds each of its layers from a corrupted pass, and hands the squared error of every row to a module of the type
    ``Reconstruction``. This regularizer takes these costs into the loss; without it they are computed for nothing.

    Formula: J + lam · Σ over the selected modules of the mean of their output over rows. The weight of each layer is a choice of the network.

    When: networks that are made for it (``tp.nets.LadderNet``), with few labels and many rows without. Or any network of your own that returns costs
    from a module: with ``where=tp.selectors.outputs_of("Contraction", except_output=False)`` it makes a contractive autoencoder. Weights of rows do not
    count.

    Composes: with HiddenNoise at the ladder's corruption points, ``where=tp.selectors.outputs_of("Corruption", except_output=False)``; without corruption
    there is nothing to learn from denoising. Only the pass of the data loss counts.

    Cost: a mean over what the network computes anyway.

    Reference: Vincent et al. (2008), Extracting and composing robust features with denoising autoencoders; Rasmus et al. (2015), Semi-supervised
    learning with ladder networks.

    Args:
        lam: weight of the costs.
        where: the modules whose outputs are costs; by default those of the type ``Reconstruction``.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> tp.Denoising(0.5).bind().penalty({}, {"rebuilt.0#0": torch.tensor([1.0, 3.0]), "rebuilt.1#0": torch.tensor([0.0, 2.0])}, None)
        tensor(1.5000)
    """

    spec: ClassVar[str] = "3 semi-supervised"
    reference: ClassVar[str] = "Vincent et al. 2008; Rasmus et al. 2015"

    lam: Strength = strength(1.0, off=0.0, low=1e-3, high=100.0, log=True, meaning="weight of the costs")
    where: Any = outputs_of("Reconstruction", except_output=False)

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        if not taps:
            return next(iter(params.values())).new_zeros(())
        cost = torch.stack([one.contiguous().mean() for one in taps.values()]).sum()
        return torch.where(self.lam > 0, self.lam * cost, torch.zeros_like(cost))
