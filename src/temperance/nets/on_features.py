"""A network on the features of another one, as one network of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from temperance.nets.backbone import a_parameter, pooled

AT_ONCE = 64  # images in a pass: the blocks of a prediction are multiples of it, so that an image has the same features in each


class OnFeatures(nn.Module):
    r"""A frozen backbone, and a network that reads its standardized features, ``head((backbone(x) - center) / spread)``.

    The backbone stays in evaluation mode and its parameters have no gradients; maps of features are averaged over the image.

    Args:
        backbone: from images to features ``(n, d)`` or maps ``(n, d, height, width)``.
        head: from ``{"num": (n, d), "cat": (n, 0)}`` to outputs, as networks of tables.
        center: mean of every feature ``(d,)``.
        spread: standard deviation likewise.
        source: where the backbone comes from, in words.

    Shapes:
        images ``(n, channels, height, width)`` with values in [0, 1], to what ``head`` returns.

    Example:
        >>> head = nn.Identity()
        >>> OnFeatures(nn.Flatten(), head, torch.zeros(4), torch.full((4,), 2.0))(torch.ones(1, 1, 2, 2))["num"].tolist()
        [[0.5, 0.5, 0.5, 0.5]]
    """

    center: Tensor
    spread: Tensor
    at_once: int | None = AT_ONCE
    """Images in a pass of the backbone; ``None`` for all, which can be traced for any number."""

    def __init__(self, backbone: nn.Module, head: nn.Module, center: Tensor, spread: Tensor, source: str = "") -> None:
        super().__init__()
        self.backbone, self.head, self.source = backbone.eval().requires_grad_(False), head, source
        self.register_buffer("center", center)
        self.register_buffer("spread", spread)

    def train(self, mode: bool = True) -> OnFeatures:
        """Training or evaluation mode of the head; the backbone stays as it is."""
        super().train(mode)
        self.backbone.eval()
        return self

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """What the head reads."""
        like = a_parameter(self.backbone).dtype
        parts = [images] if self.at_once is None else images.split(self.at_once)
        found: Any = torch.cat([pooled(self.backbone(part.to(like))) for part in parts]).to(self.center.dtype)
        num = (found - self.center) / self.spread
        return {"num": num, "cat": num.new_zeros((num.shape[0], 0), dtype=torch.int64)}

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """The same without gradients, where the images are, a few at a time."""
        parts: list[Tensor] = []
        with torch.no_grad():
            for part in images.split(self.at_once or AT_ONCE):
                short = AT_ONCE - len(part)  # blocks of one size, as a prediction has
                full = torch.cat([part, part[:1].expand(short, *part.shape[1:])]) if short > 0 else part
                parts.append(self.features(full.to(self.center.device))["num"][: len(part)].to(images.device))
        num = torch.cat(parts)
        return {"num": num, "cat": num.new_zeros((len(num), 0), dtype=torch.int64)}

    def forward(self, images: Tensor) -> Any:
        return self.head(self.features(images))


def head_of(network: nn.Module) -> nn.Module:
    """The network behind the backbone; itself where it has none."""
    return network.head if isinstance(network, OnFeatures) else network
