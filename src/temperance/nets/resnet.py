"""Residual network for images: blocks of convolutions with a shortcut, narrow or wide."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.activations import activation as make_activation
from temperance.nets.conv import image_size
from temperance.nets.mlp import check_widths
from temperance.nets.residual import Residual


class PreActivation(nn.Module):
    r"""A residual branch of two 3 x 3 convolutions, each after BatchNorm and activation.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: of the first convolution; 2 halves the image.
        activation: name of the activation.
        norm: ``"batch"`` or ``None``.

    Shapes:
        ``(n, in_channels, height, width)`` to ``(n, out_channels, ceil(height / stride), ceil(width / stride))``.

    Example:
        >>> import torch
        >>> PreActivation(4, 8, stride=2)(torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        activation: str = "relu",
        norm: str | None = "batch",
    ) -> None:
        super().__init__()
        plain = norm is None
        self.norm1 = None if plain else nn.BatchNorm2d(in_channels)
        self.act1 = make_activation(activation)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=plain)
        self.norm2 = None if plain else nn.BatchNorm2d(out_channels)
        self.act2 = make_activation(activation)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=plain)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.act1(x if self.norm1 is None else self.norm1(x)))
        return self.conv2(self.act2(h if self.norm2 is None else self.norm2(h)))


class ResNet(nn.Module):
    r"""Residual network for images: a convolution, stages of blocks :math:`S(h) + F(h)`, an average over the image, and a linear layer.

    :math:`F` is BatchNorm, activation and a 3 x 3 convolution, twice. Every stage after the first halves the image in its first block,
    whose shortcut :math:`S` is then a 1 x 1 convolution. With ``widen`` k every stage has k times the channels: a wide residual network.
    A network of three stages with n blocks each has depth 6n + 2, and 6n + 4 as wide networks are counted:
    ``blocks=3`` is ResNet-20, ``blocks=4, widen=10`` WRN-28-10.

    StochasticDepth and ShakeDrop act on the branches, ShakeShake with ``branches=2``.

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        out_features: number of outputs.
        channels: channels of each stage.
        blocks: blocks of each stage.
        widen: factor of all channels but those of the first convolution.
        branches: parallel branches in each block; two or more for ShakeShake.
        activation: name of the activation.
        norm: ``"batch"`` or ``None``.
        shrink: side of the squares of pixels that become one before the first convolution; a rest at the lower and right edge is left out.

    Shapes:
        ``(n, channels, height, width)`` to ``(n, out_features)``.

    Raises:
        ConfigError: a number below one, an unknown activation or norm, a shape that is no image's.

    Source:
        He et al., *Identity mappings in deep residual networks* (2016); Zagoruyko and Komodakis, *Wide residual networks* (2016).

    Example:
        >>> import torch
        >>> ResNet((3, 32, 32), 10, blocks=1)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_features: int,
        channels: Sequence[int] = (16, 32, 64),
        blocks: int = 1,
        widen: int = 1,
        branches: int = 1,
        activation: str = "relu",
        norm: str | None = "batch",
        shrink: int = 1,
    ) -> None:
        super().__init__()
        depth, _, _ = image_size("ResNet", in_shape, shrink)
        channels = check_widths("channels", "ResNet", channels)
        if not channels:
            raise ConfigError(expected("channels", "ResNet", "with at least one width", ()))
        for name, value in (("out_features", out_features), ("blocks", blocks), ("widen", widen), ("branches", branches)):
            check_widths(name, "ResNet", (value,))
        if norm not in (None, "batch"):
            raise ConfigError(expected("norm", "ResNet", "in [None, 'batch']", norm))
        self.shrink = None if shrink == 1 else nn.AvgPool2d(shrink)
        self.input = nn.Conv2d(depth, channels[0], 3, padding=1, bias=norm is None)
        made: list[nn.Module] = []
        now = channels[0]
        for stage, width in enumerate(widen * wide for wide in channels):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                shortcut = None if stride == 1 and now == width else nn.Conv2d(now, width, 1, stride, bias=norm is None)
                made.append(Residual(*(PreActivation(now, width, stride, activation, norm) for _ in range(branches)), shortcut=shortcut))
                now = width
        self.blocks = nn.ModuleList(made)
        self.norm = nn.BatchNorm2d(now) if norm == "batch" else None
        self.activation = make_activation(activation)
        self.output = nn.Linear(now, out_features)
        self.width = out_features

    def forward(self, x: Tensor) -> Tensor:
        h = self.input(x if self.shrink is None else self.shrink(x))
        for block in self.blocks:
            h = block(h)
        if self.norm is not None:
            h = self.norm(h)
        return self.output(self.activation(h).mean((2, 3)))
