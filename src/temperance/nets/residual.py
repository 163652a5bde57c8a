"""Residual blocks whose branches are modules of their own, so that regularizers can act on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.activations import activation as make_activation
from temperance.nets.mlp import check_widths, make_norm


class Branch(nn.Module):
    """A residual branch: its output is what StochasticDepth and ShakeDrop act on.

    Args:
        branch: any module.

    Shapes:
        those of the module.

    Example:
        >>> Branch(nn.Linear(3, 5))(torch.zeros(2, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x)


class Branches(nn.Module):
    """Parallel residual branches, stacked along a new axis behind the rows: their outputs are what ShakeShake mixes.

    Args:
        branches: modules that take the same input and give outputs of one shape.

    Shapes:
        ``(n, ...)`` to ``(n, branches, ...)``.

    Example:
        >>> Branches(nn.Linear(3, 5), nn.Linear(3, 5))(torch.zeros(2, 3)).shape
        torch.Size([2, 2, 5])
    """

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.branches], 1)


class Residual(nn.Module):
    r"""A block with a shortcut, :math:`y = S(x) + F(x)`, or with :math:`K` branches :math:`y = S(x) + \frac{1}{K} \sum_k F_k(x)`.

    Args:
        branches: one module, which becomes a :class:`Branch`, or several, which become :class:`Branches`.
        shortcut: the module :math:`S` where shapes differ; by default the input itself.

    Shapes:
        those of the branches; without a shortcut these must keep the input's.

    Raises:
        ConfigError: no branch.

    Source:
        He et al., *Deep residual learning for image recognition* (2016); Gastaldi, *Shake-Shake regularization* (2017) for several branches.

    Example:
        >>> block = Residual(nn.Linear(3, 3), nn.Linear(3, 3))
        >>> block(torch.zeros(2, 3)).shape, type(block.branch).__name__
        (torch.Size([2, 3]), 'Branches')
    """

    def __init__(self, *branches: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        if not branches:
            raise ConfigError(expected("branches", "Residual", "with at least one module", (), "For example Residual(nn.Linear(8, 8))."))
        self.shortcut = shortcut
        self.branch = Branch(branches[0]) if len(branches) == 1 else Branches(*branches)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        if isinstance(self.branch, Branches):
            out = out.mean(1)
        return out + (x if self.shortcut is None else self.shortcut(x))


def _branch(width: int, activation: str, norm: str | None) -> nn.Module:
    parts = [make_norm(norm, width), nn.Linear(width, width), make_activation(activation), nn.Linear(width, width)]
    return nn.Sequential(*[part for part in parts if part is not None])


class ResidualNet(nn.Module):
    r"""Fully connected residual network: a linear layer, blocks :math:`h + W_2\, \phi(W_1\, \mathrm{norm}(h))`, then :math:`W\, \phi(\mathrm{norm}(h))`.

    Args:
        in_features: number of inputs of a row after flattening.
        out_features: number of outputs.
        width: width of the blocks.
        depth: number of blocks.
        branches: parallel branches in each block; two or more for ShakeShake.
        activation: name of :math:`\phi`.
        norm: ``"batch"``, ``"layer"`` or ``None``.

    Shapes:
        ``(n, ...)``, flattened to ``(n, in_features)``; the output is ``(n, out_features)``.

    Raises:
        ConfigError: a number below one, an unknown activation or norm.

    Source:
        He et al., *Identity mappings in deep residual networks* (2016); Gorishniy et al., *Revisiting deep learning models for tabular data* (2021).

    Example:
        >>> ResidualNet(6, 3, width=16, depth=2)(torch.zeros(5, 6)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int = 128,
        depth: int = 4,
        branches: int = 1,
        activation: str = "relu",
        norm: str | None = "batch",
    ) -> None:
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features), ("width", width), ("depth", depth), ("branches", branches)):
            check_widths(name, "ResidualNet", (value,))
        self.input = nn.Linear(in_features, width)
        self.blocks = nn.ModuleList(Residual(*[_branch(width, activation, norm) for _ in range(branches)]) for _ in range(depth))
        self.norm = make_norm(norm, width)
        self.activation = make_activation(activation)
        self.output = nn.Linear(width, out_features)
        self.width = out_features

    def forward(self, x: Tensor) -> Tensor:
        h = self.input(x.unsqueeze(1) if x.dim() == 1 else x.flatten(1))
        for block in self.blocks:
            h = block(h)
        if self.norm is not None:
            h = self.norm(h)
        return self.output(self.activation(h))
