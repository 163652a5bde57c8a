"""Small convolutional network for images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.activations import activation as make_activation
from temperance.nets.mlp import MLP, check_widths
from temperance.nets.residual import Residual


def image_size(owner: str, in_shape: Sequence[int], shrink: int) -> tuple[int, int, int]:
    """Channels, height and width of an image whose squares of ``shrink`` x ``shrink`` pixels became one.

    Raises:
        ConfigError: not three sizes, one below one, or squares larger than the image.

    Example:
        >>> image_size("ConvNet", (3, 9, 12), 2)
        (3, 4, 6)
    """
    if len(in_shape) != 3:
        raise ConfigError(expected("in_shape", owner, "as (channels, height, width)", tuple(in_shape)))
    depth, height, width = check_widths("in_shape", owner, in_shape)
    (shrink,) = check_widths("shrink", owner, (shrink,))
    if shrink > min(height, width):
        raise ConfigError(expected("shrink", owner, f"to be at most the shorter side, {min(height, width)}", shrink))
    return depth, height // shrink, width // shrink


class ConvBlock(nn.Module):
    r"""3 x 3 convolution, BatchNorm, activation, a 2 x 2 maximum where the image is large enough, and residual blocks :math:`h + F(h)` on what is left.

    :math:`F` is convolution, BatchNorm and activation, twice.

    Shapes:
        ``(n, in_channels, height, width)`` to ``(n, out_channels, height // 2, width // 2)``, or the same size where ``pool=False``.

    Example:
        >>> import torch
        >>> ConvBlock(1, 8)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, activation: str = "relu", norm: str | None = "batch", pool: bool = True, residual: int = 0) -> None:
        super().__init__()
        if norm not in (None, "batch"):
            raise ConfigError(expected("norm", "ConvNet", "in [None, 'batch']", norm))
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=norm is None)
        self.norm = nn.BatchNorm2d(out_channels) if norm == "batch" else None
        self.activation = make_activation(activation)
        self.pool = nn.MaxPool2d(2) if pool else None

        def branch() -> nn.Module:
            return nn.Sequential(*(ConvBlock(out_channels, out_channels, activation, norm, pool=False) for _ in range(2)))

        self.residual = nn.ModuleList(Residual(branch()) for _ in range(residual))

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        if self.norm is not None:
            out = self.norm(out)
        out = self.activation(out)
        out = out if self.pool is None else self.pool(out)
        for block in self.residual:
            out = block(out)
        return out


class ConvNet(nn.Module):
    r"""Blocks of convolution, BatchNorm, activation and maximum, then an average over the image or all of its points, then a linear layer.

    ``residual=(0, 1, 1)`` puts a residual block of two convolutions behind the second and the third of three blocks, where the image is
    small and they cost little: the network with which many images are learned in few epochs.

    With ``shrink`` k the network first averages squares of k x k pixels, which divides the work of the convolutions by k².

    Args:
        in_shape: ``(channels, height, width)`` of an image.
        out_features: number of outputs.
        channels: channels of each block.
        activation: name of the activation.
        norm: ``"batch"`` or ``None``.
        readout: ``"mean"`` averages each channel over the image, ``"flatten"`` keeps every point.
        hidden: widths of fully connected layers before the output.
        shrink: side of the squares of pixels that become one; a rest at the lower and right edge is left out.
        residual: how many residual blocks follow each block; none by default.

    Shapes:
        ``(n, channels, height, width)`` to ``(n, out_features)``.

    Raises:
        ConfigError: a number below one, an unknown activation, norm or readout, a shape that is no image's, not as many numbers in ``residual``
            as in ``channels``.

    Source:
        LeCun et al., *Gradient-based learning applied to document recognition* (1998); Ioffe and Szegedy, *Batch normalization* (2015);
        Lin et al., *Network in network* (2014) for the average; He et al., *Deep residual learning for image recognition* (2016).

    Example:
        >>> import torch
        >>> ConvNet((1, 8, 8), 10, channels=(8, 16))(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        out_features: int,
        channels: Sequence[int] = (32, 64),
        activation: str = "relu",
        norm: str | None = "batch",
        readout: Literal["mean", "flatten"] = "mean",
        hidden: Sequence[int] = (),
        shrink: int = 1,
        residual: Sequence[int] = (),
    ) -> None:
        super().__init__()
        depth, height, width = image_size("ConvNet", in_shape, shrink)
        channels = check_widths("channels", "ConvNet", channels)
        if not channels:
            raise ConfigError(expected("channels", "ConvNet", "with at least one width", ()))
        if readout not in ("mean", "flatten"):
            raise ConfigError(expected("readout", "ConvNet", "in ['mean', 'flatten']", readout))
        more = tuple(residual) or (0,) * len(channels)
        if len(more) != len(channels) or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in more):
            raise ConfigError(expected("residual", "ConvNet", f"to hold {len(channels)} whole numbers in [0, inf), one for each of `channels`", residual))
        self.shrink = None if shrink == 1 else nn.AvgPool2d(shrink)
        blocks: list[nn.Module] = []
        for wide, count in zip(channels, more, strict=True):
            pool = min(height, width) >= 2
            blocks.append(ConvBlock(depth, wide, activation, norm, pool, count))
            depth = wide
            if pool:
                height, width = height // 2, width // 2
        self.blocks = nn.ModuleList(blocks)
        self.readout = readout
        self.head = MLP(depth if readout == "mean" else depth * height * width, out_features, hidden, activation)
        self.width = out_features

    def forward(self, x: Tensor) -> Tensor:
        if self.shrink is not None:
            x = self.shrink(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)) if self.readout == "mean" else x)
