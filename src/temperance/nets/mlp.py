"""Multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.activations import activation as make_activation
from temperance.nets.init import check_scheme, initialize


def make_norm(norm: str | None, width: int) -> nn.Module | None:
    """BatchNorm or LayerNorm over ``width`` features, or ``None``: without a norm the module is absent, not an identity."""
    if norm is None:
        return None
    if norm == "batch":
        return nn.BatchNorm1d(width)
    if norm == "layer":
        return nn.LayerNorm(width)
    raise ConfigError(expected("norm", "a network", "in [None, 'batch', 'layer']", norm))


def check_widths(name: str, owner: str, widths: Sequence[int]) -> tuple[int, ...]:
    """``widths`` as a tuple of positive integers, or an error that names the argument."""
    out = tuple(widths)
    if any(int(width) != width or width < 1 for width in out):
        raise ConfigError(expected(name, owner, "as positive integers", out))
    return tuple(int(width) for width in out)


class Dense(nn.Module):
    r"""One fully connected layer: :math:`h' = \phi(\mathrm{norm}(W h + b))`, with ``skip`` plus :math:`h` or :math:`S h`.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        activation: name of :math:`\phi`.
        norm: ``None``, ``"batch"`` or ``"layer"``.
        skip: add the input (where the widths are equal) or a linear map of it without bias (where they are not), after He et al.,
            *Deep residual learning for image recognition* (2016).

    Shapes:
        ``(n, in_features)`` to ``(n, out_features)``.

    Example:
        >>> import torch
        >>> Dense(3, 5, skip=True)(torch.zeros(2, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(self, in_features: int, out_features: int, activation: str = "relu", norm: str | None = None, skip: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.norm = make_norm(norm, out_features)
        self.activation = make_activation(activation)
        self.skip = skip
        self.shortcut = nn.Linear(in_features, out_features, bias=False) if skip and in_features != out_features else None

    def forward(self, h: Tensor) -> Tensor:
        out = self.linear(h)
        if self.norm is not None:
            out = self.norm(out)
        out = self.activation(out)
        if self.skip:
            out = out + (h if self.shortcut is None else self.shortcut(h))
        return out


class MLP(nn.Module):
    r"""Fully connected network, :math:`y = W_L h_{L-1} + b_L` with :math:`h_l = \phi(\mathrm{norm}(W_l h_{l-1} + b_l))`.

    Every activation is a module of its own, so a hook on it sees the hidden units. The output is linear (logits or values).

    Args:
        in_features: number of inputs of a row after flattening.
        out_features: number of outputs; ``None`` leaves the output layer out, and the last hidden layer is returned.
        hidden: widths of the hidden layers; empty for a linear model.
        activation: name of :math:`\phi`, a key of ``temperance.nets.ACTIVATIONS``.
        norm: ``None``, ``"batch"`` (Ioffe and Szegedy, *Batch normalization*, 2015) or ``"layer"`` (Ba et al., *Layer normalization*, 2016).
        skip: residual connections around the hidden layers.
        init: how first weights are drawn, here and by :func:`~temperance.nets.initialize`: ``"torch"``, ``"uniform"``, ``"xavier"``, ``"he"``,
            ``"orthogonal"`` or ``"sparse"``.

    Shapes:
        ``(n, ...)``, flattened to ``(n, in_features)``; the output is ``(n, width)``.

    Attributes:
        width: number of columns of the output.

    Raises:
        ConfigError: a width below one, an unknown activation or norm, no hidden layer with ``out_features=None``.

    Source:
        Rumelhart, Hinton and Williams, *Learning representations by back-propagating errors* (1986).

    Example:
        >>> import torch
        >>> MLP(28 * 28, 10, hidden=(64, 64), norm="batch")(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int | None,
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        norm: str | None = None,
        skip: bool = False,
        init: str = "torch",
    ) -> None:
        super().__init__()
        hidden = check_widths("hidden", "MLP", hidden)
        check_widths("in_features", "MLP", (in_features,))
        widths = (in_features, *hidden)
        self.hidden = nn.ModuleList(Dense(a, b, activation, norm, skip) for a, b in pairwise(widths))
        if out_features is None:
            if not hidden:
                raise ConfigError("Expected `hidden` of MLP with at least one width where `out_features` is None, got (). Give a width.")
            self.output = None
            self.width = widths[-1]
        else:
            check_widths("out_features", "MLP", (out_features,))
            self.output = nn.Linear(widths[-1], out_features)
            self.width = out_features
        if check_scheme("init", "MLP", init) != "torch":
            self.init_scheme = init
            initialize(self, int(torch.randint(2**31, ())))

    def forward(self, x: Tensor) -> Tensor:
        h = x.unsqueeze(1) if x.dim() == 1 else x.flatten(1)
        for layer in self.hidden:
            h = layer(h)
        return h if self.output is None else self.output(h)
