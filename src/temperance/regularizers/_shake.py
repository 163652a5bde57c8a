"""What the regularizers share whose random factors differ between the forward and the backward pass."""

from __future__ import annotations

from torch import Tensor


def shaken(h: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """``h · forward``, whose gradient with respect to ``h`` is ``backward``."""
    return h * backward + (h * (forward - backward)).detach()
