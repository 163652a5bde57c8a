"""The order of an image's numbers in memory: with the channels of a pixel side by side, convolutions on a processor are faster."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.batch import is_image, map_leaves


def filters(model: nn.Module) -> tuple[str, ...]:
    """The names of the weights of all 2-d convolutions.

    Example:
        >>> filters(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2)))
        ('0.weight',)
    """
    own = {id(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d)}
    return tuple(name for name, p in model.named_parameters() if id(p) in own)


def channels_last(images: Tensor) -> Tensor:
    """The same numbers ``(n, channels, height, width)`` with the channels of a pixel next to each other in memory.

    With a single channel both orders are one, and only the strides tell a convolution which to use.

    Example:
        >>> [channels_last(torch.zeros(2, c, 4, 5)).stride() for c in (1, 3)]
        [(20, 1, 5, 1), (60, 1, 15, 3)]
    """
    n, channels, height, width = images.shape
    if channels == 1:
        return images.contiguous().reshape(n, height, width, 1).permute(0, 3, 1, 2)
    return images.contiguous(memory_format=torch.channels_last)


def laid_out(tensors: dict[str, Tensor], names: Collection[str], x: Any) -> tuple[dict[str, Tensor], Any]:
    """Tensors of which those with these names have channels last, and inputs whose images have."""
    changed = {name: channels_last(tensors[name]) for name in names}
    return tensors | changed, map_leaves(lambda leaf: channels_last(leaf) if is_image(leaf) else leaf, x)
