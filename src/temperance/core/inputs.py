"""What a cocktail asks of the inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.batch import is_image, leaves_of, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError


def refuse_changed_inputs(cocktail: Cocktail, model: nn.Module) -> None:
    """A network that knows a training row by its inputs would see that row's own target, if they were changed before it.

    Raises:
        ConfigError: a regularizer that changes inputs, and is on.
    """
    knowing = next((type(m).__name__ for m in model.modules() if getattr(m, "knows_rows", False)), None)
    changing = next((type(r).__name__ for r in cocktail if r.changes_inputs()), None)
    if knowing and changing:
        raise ConfigError(
            f"{changing} changes the inputs of a row, and {knowing} knows a training row by its inputs: it would see the row's own target. "
            f"Leave {changing} out, or use another network."
        )


def refuse_without_images(cocktail: Cocktail, x: Any) -> None:
    """Regularizers of images need some: a leaf ``(rows, channels, height, width)`` of floating type.

    Raises:
        ConfigError: one that is not off would never act on these inputs.
    """
    wanting = [type(r).__name__ for _, r in cocktail.items() if r.acts_on == "image" and not r.is_off()]
    if wanting and not any(is_image(leaf) for leaf in leaves_of(x)):
        kind, shapes = wanting[0], ", ".join(f"(rows, {', '.join(map(str, leaf.shape[1:]))})" for leaf in leaves_of(x))
        raise ConfigError(
            f"{kind} changes images, floating inputs of shape (rows, channels, height, width), and the data has inputs of shape {shapes}. "
            f"Reshape them, leave it out with --without {kind} or take it from the cocktail."
        )


def scale_of(x: Any) -> Any:
    """Standard deviation of every floating leaf over rows, ones where it is zero: the unit of noise and attacks."""

    def one(leaf: Tensor) -> Tensor:
        if not leaf.is_floating_point() or not leaf.numel():
            return torch.ones((), dtype=leaf.dtype, device=leaf.device)
        std = leaf.float().std(0, unbiased=False) if leaf.dim() < 4 else leaf.float().std((0, 2, 3), unbiased=False, keepdim=True)[0]
        return torch.where(std > 0, std, torch.ones_like(std)).to(leaf.dtype)

    return map_leaves(one, x)
