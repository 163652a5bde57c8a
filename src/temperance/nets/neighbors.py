"""A network for a table that answers with the targets of the most similar training rows."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.mlp import check_widths
from temperance.nets.numbers import Edges
from temperance.nets.tabular import Numbers, TableInputs

TASKS = ("classification", "multilabel", "regression")
BLOCK = 128  # rows that are compared with all remembered ones at once: with 3,000 to 10,000 of these 256 took 1.4 to 2 times as long
FINEST = 1 << 16  # steps of a number's unit in which two rows must agree to be one row
SMALLEST = 1e-6  # probability
NEAREST = 1e-2  # square of a distance: what is nearer counts as being so near, because rounding of the squares would show in its root
FEWER = (1 << 31) - 1
FAR = 1e9
LIGHTEST = 1e-30  # sum of weights: rows may weigh nothing


class Scale(nn.Module):
    """A learned factor, one at first: ``h * exp(weight)``.

    Example:
        >>> Scale()(torch.ones(1, 2))
        tensor([[1., 1.]], grad_fn=<MulBackward0>)
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Back to one."""
        with torch.no_grad():
            self.weight.zero_()

    def forward(self, h: Tensor) -> Tensor:
        return h * self.weight.exp()


class NeighborNet(nn.Module):
    r"""Softmax-weighted mean of the targets of remembered rows, by distance in a learned space.

    .. math:: \hat y(x) = \sum_j w_j(x)\, y_j, \qquad w_j(x) = \frac{e^{-s \lVert f(x) - f(x_j) \rVert}}{\sum_k e^{-s \lVert f(x) - f(x_k) \rVert}}

    :math:`f` is a linear layer on :class:`~temperance.nets.tabular.TableInputs` and one residual block, :math:`s` a learned scale. Outputs are
    :math:`\log \hat y` for classes, the log-odds of :math:`\hat y` for several labels, and :math:`\hat y` for numbers, so that the losses of other
    networks fit. Of weighted rows each :math:`e^{\ldots}` is multiplied by the weight of its row.

    The rows that a network trains on are buffers of it, and so of every saved model. :meth:`remember` sets them; a population does it for each of
    its members, with the member's own rows. A row never sees itself: remembered rows with the same inputs do not count, so nothing may change the
    inputs before they reach the network (noise or mixing of inputs). In training mode a row is compared with ``window`` of the remembered rows,
    which depend on the minibatch; else with all, and all distances are multiplied by (rows / window) to the power of ``density``.

    Args:
        num_features: number of number columns, may be zero. They should come at unit scale.
        cardinalities: number of codes of each category column, code 0 (missing or unseen) included; may be empty.
        out_features: number of outputs.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``.
        width: of the space.
        window: remembered rows that a training step compares with.
        numbers: ``"plain"``, ``"piecewise"`` or ``"periodic"``.
        edges: bin edges of each number column from ``quantile_edges``, needed by ``"piecewise"``.
        sigma: spread of the first frequencies of ``"periodic"``.
        column_rate: how much faster than a weight the factor of a column moves (:class:`~temperance.nets.tabular.ColumnScale`); 0 for no factors.
        density: exponent by which distances grow with the rows that an answer compares with, beside those of a window: among k times as many rows the
            nearest ones are about :math:`k^{-1/d}` as far, where rows lie in d dimensions. 0: distances stay as in training.
        weighted: whether remembered rows have weights.

    Shapes:
        ``{"num": float (n, num_features), "cat": long (n, len(cardinalities))}`` to ``(n, out_features)``.

    Raises:
        ConfigError: a width below one, an unknown name, edges that do not fit.

    Source:
        Goldberger, Roweis, Hinton and Salakhutdinov, *Neighbourhood components analysis* (2004); Ye, Yin, Zhan and Chao, *Revisiting nearest
        neighbor for tabular data* (2025).

    Example:
        >>> net = NeighborNet(1, (), 2, width=4)
        >>> x, y = {"num": torch.tensor([[0.0], [1.0], [5.0]])}, torch.eye(2)[[0, 0, 1]]
        >>> net.remember(x, y)
        >>> round(net({"num": torch.tensor([[0.5]])}).exp().sum().item(), 4)
        1.0
    """

    knows_rows: ClassVar[bool] = True
    rows_num: Tensor
    rows_cat: Tensor
    rows_y: Tensor
    rows_weight: Tensor

    def __init__(
        self,
        num_features: int,
        cardinalities: Sequence[int],
        out_features: int,
        task: str = "classification",
        width: int = 128,
        window: int = 1024,
        *,
        numbers: Numbers = "plain",
        edges: Edges | None = None,
        sigma: float = 0.5,
        column_rate: float = 0.0,
        density: float = 0.0,
        weighted: bool = False,
    ) -> None:
        super().__init__()
        if task not in TASKS:
            raise ConfigError(expected("task", "NeighborNet", f"in {list(TASKS)}", task))
        (width,), (window,) = check_widths("width", "NeighborNet", (width,)), check_widths("window", "NeighborNet", (window,))
        if not 0 <= density <= 1:
            raise ConfigError(expected("density", "NeighborNet", "in [0, 1]", density))
        self.task, self.window, self.out_features, self.density, self.weighted = task, window, out_features, density, weighted
        self.remembered = ("rows_num", "rows_cat", "rows_y", *(["rows_weight"] if weighted else []))  # buffers with a row for each training row
        self.inputs = TableInputs(num_features, cardinalities, numbers=numbers, edges=edges, sigma=sigma, column_rate=column_rate)
        self.first = nn.Linear(self.inputs.out_features, width)
        self.block = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.scale = Scale()
        self._factors = torch.tensor(factors(num_features + len(self.inputs.cardinalities)))
        self.register_buffer("rows_num", torch.zeros(0, num_features))
        self.register_buffer("rows_cat", torch.zeros(0, len(self.inputs.cardinalities), dtype=torch.long))
        self.register_buffer("rows_y", torch.zeros(0, out_features))
        if weighted:
            self.register_buffer("rows_weight", torch.zeros(0))

    def memory(self, x: Mapping[str, Tensor], y: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
        """The buffers that hold these rows, in an order of their own: what a window holds does not depend on how a table is sorted.

        Raises:
            ConfigError: weights for a network without ``weighted``.
        """
        if weight is not None and not self.weighted:
            raise ConfigError("The rows of NeighborNet have weights, and it was made without `weighted=True`. Make it with that, or leave the weights out.")
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(len(y))).to(y.device)
        like = self.rows_y
        num = x["num"][order] if self.inputs.num_features else like.new_zeros(len(y), 0)
        cat = x["cat"][order] if self.inputs.cardinalities else self.rows_cat.new_zeros(len(y), 0)
        made = {"rows_num": num.to(like), "rows_cat": cat.to(self.rows_cat), "rows_y": y[order].to(like)}
        if self.weighted:
            own = (y.new_ones(len(y)) if weight is None else weight[order]).double()
            made["rows_weight"] = (own / own.mean().clamp_min(LIGHTEST)).to(like)  # only their ratios count
        return made

    def remember(self, x: Mapping[str, Tensor], y: Tensor, weight: Tensor | None = None) -> None:
        """Answer from these rows from now on.

        Args:
            x: inputs as for :meth:`forward`.
            y: float ``(n, out_features)``: probabilities of classes or labels, or numbers in the unit of the output.
            weight: ``(n,)``, of zero or more, for a network with ``weighted``; only ratios count, and without it all rows count alike.

        Raises:
            ConfigError: weights for a network without ``weighted``.
        """
        for name, value in self.memory(x, y, weight).items():
            setattr(self, name, value)

    def forward(self, x: Mapping[str, Tensor]) -> Tensor:
        num, cat, y = self.rows_num, self.rows_cat, self.rows_y
        if self.weighted:  # the sum of the weights comes out of the same product as the weighted sums
            y = torch.cat([y * self.rows_weight.unsqueeze(1), self.rows_weight.unsqueeze(1)], 1)
        n, here = next(iter(x.values())).shape[0], identity(self._columns(x), self._factors)
        if self.training and y.shape[0] > self.window:
            near = (here.sum() + torch.arange(self.window, device=y.device)) % y.shape[0]
            num, cat, y = num.index_select(0, near), cat.index_select(0, near), y.index_select(0, near)
        rows = {"num": num, "cat": cat}
        places = self._place({name: torch.cat([x[name], rows[name]]) for name in x})
        if not self.training and y.shape[0] > self.window:
            places = places * (y.shape[0] / self.window) ** self.density
        there, kind = identity(self._columns(rows), self._factors), places.device.type
        if torch.is_autocast_enabled(kind):  # 16 bits hold neither a small difference of squares nor a probability near one
            with torch.autocast(kind, enabled=False):
                return self._answers(places[:n].to(y.dtype), places[n:].to(y.dtype), here, there, y)
        return self._answers(places[:n], places[n:], here, there, y)

    def _columns(self, x: Mapping[str, Tensor]) -> list[Tensor]:
        return [x[name] for name, some in (("num", self.inputs.num_features), ("cat", self.inputs.cardinalities)) if some]

    def _place(self, x: Mapping[str, Tensor]) -> Tensor:
        h = self.first(self.inputs(x))
        return self.scale(h + self.block(h))

    def _answers(self, queries: Tensor, keys: Tensor, here: Tensor, there: Tensor, y: Tensor) -> Tensor:
        middle = keys.sum(0) / max(keys.shape[0], 1)  # around which squares are smallest, and so is their rounding
        queries, keys = queries - middle, keys - middle
        ones_q, ones_k = queries.new_ones(queries.shape[0], 1), keys.new_ones(keys.shape[0], 1)
        left = torch.cat([-2 * queries, queries.square().sum(1, keepdim=True), ones_q], 1)
        right = torch.cat([keys, ones_k, keys.square().sum(1, keepdim=True)], 1)
        if self.training or torch.compiler.is_exporting() or left.shape[0] <= BLOCK:  # a training step compares with a window only
            return self._answer(left, right, here, there, y)
        blocks = zip(left.split(BLOCK), here.split(BLOCK), strict=True)
        return torch.cat([self._answer(q, right, h, there, y) for q, h in blocks])

    def _answer(self, left: Tensor, right: Tensor, here: Tensor, there: Tensor, y: Tensor) -> Tensor:
        squares = left @ right.t()  # of distances, in one product: each further pass over all pairs costs as much
        same = here.unsqueeze(1) == there
        weight = torch.softmax(torch.where(same, -FAR, -squares.clamp_min(NEAREST).sqrt()), 1)
        mean = (y.t() @ weight.t()).t()  # in this order a product with few columns is ten times as fast
        if self.weighted:
            mean = mean[:, :-1] / mean[:, -1:].clamp_min(LIGHTEST)
        if self.task == "regression":
            return mean
        mean = mean.clamp(SMALLEST, 1 - SMALLEST)
        return mean.log() if self.task == "classification" else torch.logit(mean)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Take as many rows as a state has."""
        for name in self.remembered:
            value, own = state_dict.get(prefix + name), getattr(self, name)
            if isinstance(value, Tensor) and value.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_empty(value.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # pyright: ignore[reportArgumentType] -- torch's own signature is a dict

    def extra_repr(self) -> str:
        return f"task={self.task!r}, window={self.window}" + (", weighted=True" if self.weighted else "")


def factors(columns: int) -> list[int]:
    """An odd number of 63 bits for each column, always the same ones."""
    draw = random.Random(columns)
    return [draw.getrandbits(62) * 2 + 1 for _ in range(columns)]


def identity(columns: Sequence[Tensor], by: Tensor) -> Tensor:
    """A number of 31 bits for each row, the same for equal inputs and nearly surely another for others.

    Args:
        columns: floats or codes ``(n, columns)``.
        by: a factor for each column.

    Example:
        >>> one, two, three = identity([torch.tensor([[0.5, 1.0], [0.5, 1.0], [1.0, 0.5]])], torch.tensor(factors(2))).tolist()
        >>> one == two, one == three
        (True, False)
    """
    whole = torch.cat([(leaf * FINEST).round().long() if leaf.is_floating_point() else leaf.long() for leaf in columns], 1)
    short = (whole * by.to(whole.device)) & FEWER  # sums of these are exact in double precision too, in which other programs may add them
    return (short.sum(1) & FEWER).int()  # comparing short numbers takes half the time
