"""Directions in the space of images that small movements of what is shown lead along."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGE_TANGENTS = ("right", "down", "turn", "grow")


def image_tangents(images: Tensor) -> Tensor:
    """The derivatives of every image by a translation to the right and one downwards, by a rotation and by a scaling about its center.

    Numerical, by central differences between neighboring pixels; outside the image its edge goes on. One unit of a tangent moves the image by one pixel:
    rotation (from the axis to the right towards the one downwards) and growth move the middle of the image's longer ends by one pixel.

    Args:
        images: ``(n, channels, height, width)``; smooth ones (blurred strokes) have tangents that reach further.

    Returns:
        ``(n, 4, channels, height, width)``.

    Source:
        Simard, Le Cun and Denker, *Efficient pattern recognition using a new transformation distance* (1993).

    Example:
        >>> ramp = torch.arange(5.0).expand(1, 1, 3, 5)
        >>> image_tangents(ramp)[0, 0, 0, 0]
        tensor([-0.5000, -1.0000, -1.0000, -1.0000, -0.5000])
    """
    height, width = images.shape[-2:]
    dx = (torch.cat([images[..., 1:], images[..., -1:]], -1) - torch.cat([images[..., :1], images[..., :-1]], -1)) / 2
    dy = (torch.cat([images[..., 1:, :], images[..., -1:, :]], -2) - torch.cat([images[..., :1, :], images[..., :-1, :]], -2)) / 2
    reach = max(height, width, 2) / 2 - 0.5
    x = (torch.arange(width, dtype=images.dtype, device=images.device) - (width - 1) / 2) / reach
    y = ((torch.arange(height, dtype=images.dtype, device=images.device) - (height - 1) / 2) / reach).unsqueeze(-1)
    return torch.stack([-dx, -dy, y * dx - x * dy, -x * dx - y * dy], -4)
