"""Encodings of the number columns of a table: bins in which a network can bend, waves with which it can oscillate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected

Edges = Sequence[Sequence[float]]


def quantile_edges(x: Tensor, bins: int = 48) -> list[list[float]]:
    """Bin edges of every column, each bin with about the same number of rows.

    A column with few distinct values gets an edge at each of them. In other columns every value that more rows share than would fill a bin
    becomes an edge, and the remaining edges are quantiles of the remaining rows: plain quantiles of a column that is mostly zero would all
    be zero, and the rest of it would go unseen.

    Args:
        x: training rows ``(n, columns)``; non-finite values are left out.
        bins: number of bins of a column with many distinct values (one more at most).

    Returns:
        A list of increasing edges for each column, ready for JSON; a constant column has a single edge.

    Example:
        >>> quantile_edges(torch.tensor([[0., 0.], [1., 0.], [2., 0.], [4., 1.]]), bins=3)
        [[0.0, 1.0, 2.0, 4.0], [0.0, 1.0]]
    """
    if x.dim() != 2:
        raise ConfigError(expected("x", "quantile_edges", "of shape (n, columns)", tuple(x.shape)))
    if bins < 1:
        raise ConfigError(expected("bins", "quantile_edges", "in [1, inf)", bins))
    return [_column_edges(column[torch.isfinite(column)], bins) for column in x.detach().cpu().float().unbind(1)]


def _column_edges(known: Tensor, bins: int) -> list[float]:
    values, counts = torch.unique(known, return_counts=True)
    if len(values) <= bins + 1:
        return values.tolist() or [0.0]
    heavy = torch.zeros(len(values), dtype=torch.bool)
    free = bins + 1
    while True:
        crowded = ~heavy & (counts * free > counts[~heavy].sum())
        if not crowded.any():
            break
        heavy |= crowded
        free = bins + 1 - int(heavy.sum())
    rows = values.double()[~heavy].repeat_interleave(counts[~heavy])
    at = torch.linspace(0, 1, free, dtype=torch.float64) * (len(rows) - 1)
    low, high = rows[at.floor().long()], rows[at.ceil().long()]
    quantiles = (low + (high - low) * at.frac()).float()
    return torch.unique(torch.cat([values[heavy], quantiles, values[[0, -1]]])).tolist()


class PiecewiseLinear(nn.Module):
    r"""Piecewise linear encoding: every bin tells how far a value has come through it.

    .. math:: e_{t}(x) = \mathrm{clip}\left(\frac{x - b_{t-1}}{b_t - b_{t-1}},\; 0,\; 1\right), \quad t = 1 \dots T

    The plain value is passed as well, so the encoding goes on beyond the outer edges; a column with a single bin needs nothing else.

    Args:
        edges: increasing bin edges :math:`b` of each column, from ``quantile_edges`` on training rows. They are kept as buffers.

    Shapes:
        ``(n, columns)`` to ``(n, out_features)``: the plain columns, then the bins of each column.

    Attributes:
        sources: the column that each output comes from.

    Source:
        Gorishniy, Rubachev and Babenko, *On embeddings for numerical features in tabular deep learning* (2022).

    Example:
        >>> encode = PiecewiseLinear([[0., 1., 3.]])
        >>> encode(torch.tensor([[0.5], [2.0], [9.0]])).tolist()
        [[0.5, 0.5, 0.0], [2.0, 1.0, 0.5], [9.0, 1.0, 1.0]]
    """

    embedding = True
    start: Tensor
    rate: Tensor

    def __init__(self, edges: Edges) -> None:
        super().__init__()
        column: list[int] = []
        start: list[float] = []
        rate: list[float] = []
        for index, row in enumerate(edges):
            steps = [b - a for a, b in pairwise(row)]
            if any(not step > 0 for step in steps):
                raise ConfigError(expected("edges", "PiecewiseLinear", "increasing in every column", list(row), "Use `quantile_edges`."))
            if len(steps) > 1:
                column += [index] * len(steps)
                start += list(row[:-1])
                rate += [1 / step for step in steps]
        self.columns = len(edges)
        self.out_features = len(edges) + len(column)
        self.sources = [*range(self.columns), *column]
        # An index that is the same for every network of a population: neither a parameter nor a buffer, so that it is never stacked.
        self._column = torch.tensor(column, dtype=torch.long)
        self.register_buffer("start", torch.tensor(start, dtype=torch.float32))
        self.register_buffer("rate", torch.tensor(rate, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        if self.out_features == self.columns:
            return x
        bins = ((x.index_select(1, self._column.to(x.device)) - self.start) * self.rate).clamp(0, 1)
        return torch.cat([x, bins], dim=1)

    def extra_repr(self) -> str:
        return f"columns={self.columns}, out_features={self.out_features}"


class Periodic(nn.Module):
    r"""Periodic embedding of each number, beside its plain value.

    .. math:: e(x_j) = A_j \cos(2\pi c_j x_j + \varphi_j) + a_j, \qquad c_{jk} \sim N(0, \sigma^2), \; \varphi_{jk} \sim U(-\pi, \pi)

    The frequencies :math:`c`, phases :math:`\varphi`, maps :math:`A` and shifts :math:`a` are learned. They place the input and do not measure
    the complexity of the network, so penalties on weights leave them alone (``embedding = True``).

    Args:
        columns: number of number columns.
        frequencies: waves :math:`k` of each column.
        width: outputs of each column beside the plain value.
        sigma: spread of the first frequencies. Columns are expected at unit scale.
        shared: one map :math:`A, a` for all columns.

    Shapes:
        ``(n, columns)`` to ``(n, columns * (1 + width))``: the plain columns, then the embedding of each column.

    Attributes:
        sources: the column that each output comes from.

    Source:
        Gorishniy, Rubachev and Babenko, *On embeddings for numerical features in tabular deep learning* (2022), in the form with phases and
        without activation of Holzmüller, Grinsztajn and Steinwart, *Better by default* (2024).

    Example:
        >>> Periodic(3, frequencies=8, width=4)(torch.zeros(2, 3)).shape
        torch.Size([2, 15])
    """

    embedding = True

    def __init__(self, columns: int, frequencies: int = 16, width: int = 8, sigma: float = 0.5, shared: bool = False) -> None:
        super().__init__()
        for name, value in (("columns", columns), ("frequencies", frequencies), ("width", width)):
            if value < 1:
                raise ConfigError(expected(name, "Periodic", "in [1, inf)", value))
        if not 0 < sigma < math.inf:
            raise ConfigError(expected("sigma", "Periodic", "in (0, inf)", sigma))
        self.columns, self.sigma, self.shared = columns, sigma, shared
        self.out_features = columns * (1 + width)
        self.sources = [*range(columns), *(column for column in range(columns) for _ in range(width))]
        maps = 1 if shared else columns
        self.frequency = nn.Parameter(torch.empty(columns, frequencies))
        self.phase = nn.Parameter(torch.empty(columns, frequencies))
        self.weight = nn.Parameter(torch.empty(maps, frequencies, width))
        self.bias = nn.Parameter(torch.empty(maps, width))
        self.reset()

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None = None) -> None:
        """Redraw all parameters: frequencies normal, phases uniform, maps and shifts as in a linear layer."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        self.frequency.normal_(0, self.sigma, generator=generator)
        self.phase.uniform_(-math.pi, math.pi, generator=generator)
        self.weight.uniform_(-bound, bound, generator=generator)
        self.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.cos((2 * math.pi) * self.frequency * x.unsqueeze(-1) + self.phase)
        out = waves @ self.weight[0] if self.shared else (waves.transpose(0, 1) @ self.weight).transpose(0, 1)
        return torch.cat([x, (out + self.bias).flatten(1)], dim=1)

    def extra_repr(self) -> str:
        return f"columns={self.columns}, out_features={self.out_features}, sigma={self.sigma}, shared={self.shared}"
