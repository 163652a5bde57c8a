"""Networks for tables: numbers, one-hot codes and embeddings side by side, then an MLP."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.mlp import MLP, check_widths
from temperance.nets.numbers import Edges, Periodic, PiecewiseLinear
from temperance.nets.residual import ResidualNet

ONE_HOT_CODES = 9
"""Columns with at most this many codes (code 0 included) are one-hot, others get an embedding."""

Numbers = Literal["plain", "piecewise", "periodic"]


def embedding_width(cardinality: int) -> int:
    r"""Width of the embedding of a column: :math:`\min(32, \mathrm{round}(1.6\, m^{0.56}))` for :math:`m` codes.

    Example:
        >>> [embedding_width(m) for m in (10, 42, 1000)]
        [6, 13, 32]
    """
    return max(1, min(32, round(1.6 * cardinality**0.56)))


class CategoryEmbedding(nn.Embedding):
    r"""A vector for each code of a column. Code 0 (missing or unseen) starts at zero and learns from missing values, if there are any.

    Args:
        cardinality: number of codes :math:`m`, code 0 included.
        width: length of the vectors; :func:`embedding_width` by default.

    Shapes:
        long ``(...)`` to ``(..., width)``.

    Source:
        Guo and Berkhahn, *Entity embeddings of categorical variables* (2016).

    Example:
        >>> CategoryEmbedding(42)(torch.tensor([0, 41])).shape
        torch.Size([2, 13])
    """

    embedding = True

    def __init__(self, cardinality: int, width: int | None = None) -> None:
        super().__init__(cardinality, embedding_width(cardinality) if width is None else width)
        self.reset()

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None = None) -> None:
        """Redraw the vectors at length one on average, code 0 at zero."""
        self.weight.normal_(0, 1 / math.sqrt(self.embedding_dim), generator=generator)
        self.weight[0] = 0


class ColumnScale(nn.Module):
    r"""A learned factor for each column of a table, the same for all inputs that encode it.

    .. math:: h_j' = (1 + r\, s_{c(j)})\, h_j, \qquad s = 0 \text{ at first}

    An optimizer that moves every parameter by about its learning rate, like Adam, moves the factors ``rate`` times as fast as the weights: columns
    that carry nothing are turned down, and those that matter up, before the weights have learned much from either. The factors are no
    weights: nothing decays them (``embedding = True``).

    Args:
        sources: the column :math:`c(j)` of each input :math:`j`.
        rate: :math:`r`, how much faster than a weight a factor moves.

    Shapes:
        ``(n, len(sources))`` to the same.

    Source:
        Holzmüller, Grinsztajn and Steinwart, *Better by default* (2024): there one factor an input, with six times the learning rate.

    Example:
        >>> scale = ColumnScale([0, 0, 1])
        >>> _ = torch.nn.init.constant_(scale.weight, 0.1)
        >>> scale(torch.ones(1, 3)).tolist()
        [[2.0, 2.0, 2.0]]
    """

    embedding = True

    def __init__(self, sources: Sequence[int], rate: float = 10.0) -> None:
        super().__init__()
        if not 0 < rate < math.inf:
            raise ConfigError(expected("rate", "ColumnScale", "in (0, inf)", rate))
        self.rate = rate
        self._source = torch.tensor(list(sources), dtype=torch.long)
        self.weight = nn.Parameter(torch.zeros(max(sources, default=-1) + 1))

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Every factor at one."""
        with torch.no_grad():
            self.weight.zero_()

    def forward(self, h: Tensor) -> Tensor:
        return h * (1 + self.rate * self.weight).index_select(0, self._source.to(h.device))

    def extra_repr(self) -> str:
        return f"columns={len(self.weight)}, rate={self.rate:g}"


class TableInputs(nn.Module):
    """The columns of a table as one float vector a row: numbers, then one-hot codes, then embeddings.

    Args:
        num_features: number of number columns, may be zero.
        cardinalities: number of codes of each category column, code 0 (missing or unseen) included; may be empty.
        numbers: ``"plain"``, ``"piecewise"`` or ``"periodic"``, see ``temperance.nets.numbers``.
        edges: bin edges of each number column, needed by ``"piecewise"``.
        frequencies: waves of each column of ``"periodic"``.
        number_width: outputs of each column of ``"periodic"``.
        sigma: spread of the first frequencies of ``"periodic"``.
        shared: one map for all columns of ``"periodic"``.
        one_hot_codes: columns with at most this many codes are one-hot (code 0 is all zeros), others get an embedding.
        column_rate: how much faster than a weight the factor of a column moves (:class:`ColumnScale`); 0 for no factors.

    Shapes:
        ``{"num": float (n, num_features), "cat": long (n, len(cardinalities))}`` to ``(n, out_features)``; an absent kind of column
        may be left out of the dict.

    Example:
        >>> inputs = TableInputs(1, (3, 42))
        >>> inputs({"num": torch.tensor([[7.]]), "cat": torch.tensor([[2, 0]])})[0, :3].tolist()
        [7.0, 0.0, 1.0]
        >>> inputs.out_features
        16
    """

    def __init__(
        self,
        num_features: int,
        cardinalities: Sequence[int] = (),
        *,
        numbers: Numbers = "plain",
        edges: Edges | None = None,
        frequencies: int = 16,
        number_width: int = 8,
        sigma: float = 0.5,
        shared: bool = False,
        one_hot_codes: int = ONE_HOT_CODES,
        column_rate: float = 0.0,
    ) -> None:
        super().__init__()
        cardinalities = check_widths("cardinalities", "TableInputs", cardinalities)
        if num_features < 0:
            raise ConfigError(expected("num_features", "TableInputs", "in [0, inf)", num_features))
        if numbers not in ("plain", "piecewise", "periodic"):
            raise ConfigError(expected("numbers", "TableInputs", "in ['plain', 'piecewise', 'periodic']", numbers))
        self.num_features, self.cardinalities = num_features, cardinalities
        self.numbers = None
        width = num_features
        if numbers == "piecewise" and num_features:
            if edges is None or len(edges) != num_features:
                got = None if edges is None else f"{len(edges)} columns"
                raise ConfigError(expected("edges", "TableInputs", f"for {num_features} columns", got, "Use `quantile_edges` on training rows."))
            self.numbers = PiecewiseLinear(edges)
        elif numbers == "periodic" and num_features:
            self.numbers = Periodic(num_features, frequencies, number_width, sigma, shared)
        if self.numbers is not None:
            width = self.numbers.out_features
        small = [(index, codes) for index, codes in enumerate(cardinalities) if codes <= one_hot_codes]
        self._large = [index for index, codes in enumerate(cardinalities) if codes > one_hot_codes]
        # Same for every network of a population, so plain tensors that are never stacked: column and code of each one-hot input.
        self._column = torch.tensor([index for index, codes in small for _ in range(1, codes)], dtype=torch.long)
        self._code = torch.tensor([code for _, codes in small for code in range(1, codes)], dtype=torch.long)
        self.embeddings = nn.ModuleList(CategoryEmbedding(cardinalities[index]) for index in self._large)
        self.out_features = width + len(self._column) + sum(embedding_width(cardinalities[index]) for index in self._large)
        if not self.out_features:
            raise ConfigError("Expected at least one number or category column with two codes, got none. A network needs an input.")
        self.scale = None
        if not 0 <= column_rate < math.inf:
            raise ConfigError(expected("column_rate", "TableInputs", "in [0, inf)", column_rate, "Use 0 for no factors."))
        if column_rate:
            plain = list(range(num_features))
            one_hot = [num_features + index for index, codes in small for _ in range(1, codes)]
            vectors = [num_features + index for index in self._large for _ in range(embedding_width(cardinalities[index]))]
            numbers_from = plain if self.numbers is None else self.numbers.sources
            self.scale = ColumnScale([*numbers_from, *one_hot, *vectors], column_rate)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        parts: list[Tensor] = []
        if self.num_features:
            num = x["num"]
            parts.append(num if self.numbers is None else self.numbers(num))
        if self.cardinalities:
            codes = x["cat"]
            if len(self._column):
                hot = codes.index_select(1, self._column.to(codes.device)) == self._code.to(codes.device)
                parts.append(hot.to(parts[0].dtype if parts else self._dtype()))
            parts += [embed(codes[:, index]) for index, embed in zip(self._large, self.embeddings, strict=True)]
        out = torch.cat(parts, dim=1)
        return out if self.scale is None else self.scale(out)

    def _dtype(self) -> torch.dtype:
        return next((parameter.dtype for parameter in self.embeddings.parameters()), torch.get_default_dtype())

    def extra_repr(self) -> str:
        return f"num_features={self.num_features}, cardinalities={self.cardinalities}, out_features={self.out_features}"


def _residual(in_features: int, out_features: int | None, hidden: Sequence[int], branches: int, activation: str, norm: str | None, skip: bool) -> ResidualNet:
    """The residual network with these hidden layers: one, then two per block."""
    widths = check_widths("hidden", "TabularNet", hidden)
    if len(set(widths)) != 1 or len(widths) % 2 == 0 or len(widths) < 3:
        raise ConfigError(expected("hidden", "TabularNet", "to be 3, 5, 7 ... equal widths where `branches` is not 0", widths))
    if skip or out_features is None:
        name, got = ("skip", True) if skip else ("out_features", None)
        raise ConfigError(expected(name, "TabularNet", "to be " + ("False" if skip else "a number") + " where `branches` is not 0", got))
    return ResidualNet(in_features, out_features, widths[0], len(widths) // 2, branches, activation, norm)


class TabularNet(nn.Module):
    """Network for a table: :class:`TableInputs`, then :class:`~temperance.nets.mlp.MLP`.

    Args:
        num_features: number of number columns, may be zero. They should come at unit scale.
        cardinalities: number of codes of each category column, code 0 (missing or unseen) included; may be empty.
        out_features: number of outputs.
        hidden: widths of the hidden layers.
        activation: name of the activation.
        norm: ``None``, ``"batch"`` or ``"layer"``.
        skip: residual connections around the hidden layers.
        numbers: ``"plain"``, ``"piecewise"`` or ``"periodic"``.
        edges: bin edges of each number column from ``quantile_edges``, needed by ``"piecewise"``.
        frequencies: waves of each column of ``"periodic"``.
        number_width: outputs of each column of ``"periodic"``.
        sigma: spread of the first frequencies of ``"periodic"``.
        shared: one map for all columns of ``"periodic"``.
        branches: 0 for an MLP; from 1 on a :class:`~temperance.nets.residual.ResidualNet` of as many layers, with so many branches in each of its
            blocks of two layers. ``hidden`` is then an odd number of equal widths.
        one_hot_codes: columns with at most this many codes are one-hot (code 0 is all zeros), others get an embedding.
        column_rate: how much faster than a weight the factor of a column moves (:class:`ColumnScale`); 0 for no factors.

    Shapes:
        ``{"num": float (n, num_features), "cat": long (n, len(cardinalities))}`` to ``(n, out_features)``.

    Raises:
        ConfigError: a width below one, an unknown name, edges that do not fit, or ``hidden``, ``skip`` or ``out_features`` that ``branches`` cannot have.

    Source:
        Gorishniy et al., *Revisiting deep learning models for tabular data* (2021) and *On embeddings for numerical features in tabular
        deep learning* (2022); Holzmüller, Grinsztajn and Steinwart, *Better by default* (2024); Guo and Berkhahn, *Entity embeddings of
        categorical variables* (2016).

    Example:
        >>> net = TabularNet(2, (3, 42), 5, hidden=(16,), numbers="periodic")
        >>> net({"num": torch.zeros(4, 2), "cat": torch.zeros(4, 2, dtype=torch.long)}).shape
        torch.Size([4, 5])
    """

    def __init__(
        self,
        num_features: int,
        cardinalities: Sequence[int],
        out_features: int | None,
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        norm: str | None = None,
        skip: bool = False,
        *,
        numbers: Numbers = "plain",
        edges: Edges | None = None,
        frequencies: int = 16,
        number_width: int = 8,
        sigma: float = 0.5,
        shared: bool = False,
        branches: int = 0,
        one_hot_codes: int = ONE_HOT_CODES,
        column_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.inputs = TableInputs(
            num_features,
            cardinalities,
            numbers=numbers,
            edges=edges,
            frequencies=frequencies,
            number_width=number_width,
            sigma=sigma,
            shared=shared,
            one_hot_codes=one_hot_codes,
            column_rate=column_rate,
        )
        if branches == 0:
            self.body = MLP(self.inputs.out_features, out_features, hidden, activation, norm, skip)
        else:
            self.body = _residual(self.inputs.out_features, out_features, hidden, branches, activation, norm, skip)
        self.width = self.body.width

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.body(self.inputs(x))
