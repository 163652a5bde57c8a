"""Recurrent networks written as linear maps and a loop over time, so that a population of them runs under ``torch.vmap``."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from temperance.core.elementwise import sigmoid
from temperance.core.errors import ConfigError, expected
from temperance.nets.mlp import check_widths

State = tuple[Tensor, ...]


class Cell(nn.Module):
    """Base of the cells: a linear map of the input and one of the hidden state, laid out as in ``torch.nn``.

    ``forward`` takes the *projected* input of one time, ``cell.input(x_t)``, and the state, and returns the new state, whose first tensor
    is the hidden state: a hook on the cell sees it at every time.

    Args:
        in_features: width of the input.
        hidden: width of the state.
    """

    gates: ClassVar[int]
    states: ClassVar[int] = 1

    def __init__(self, in_features: int, hidden: int) -> None:
        super().__init__()
        check_widths("in_features", type(self).__name__, (in_features,))
        check_widths("hidden", type(self).__name__, (hidden,))
        self.in_features, self.width = in_features, hidden
        self.input = nn.Linear(in_features, self.gates * hidden)
        self.recurrent = nn.Linear(hidden, self.gates * hidden)
        self.reset()

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None = None) -> None:
        """Redraw all parameters, uniform within one over the root of the width."""
        bound = 1 / math.sqrt(self.width)
        for parameter in self.parameters():
            parameter.uniform_(-bound, bound, generator=generator)

    def start(self, like: Tensor) -> State:
        """The zero state for the rows of ``like``, ``(n, ...)``."""
        zero = torch.zeros(like.shape[0], self.width, dtype=like.dtype, device=like.device)
        return (zero,) * self.states

    def forward(self, z: Tensor, state: State) -> State:
        raise NotImplementedError


class RNNCell(Cell):
    r"""Plain cell: :math:`h_t = \tanh(W x_t + U h_{t-1} + b)`.

    Shapes:
        projected input ``(n, hidden)`` and state ``((n, hidden),)`` to state.

    Source:
        Elman, *Finding structure in time* (1990).

    Example:
        >>> cell = RNNCell(3, 4)
        >>> x = torch.zeros(2, 3)
        >>> cell(cell.input(x), cell.start(x))[0].shape
        torch.Size([2, 4])
    """

    gates = 1

    def forward(self, z: Tensor, state: State) -> State:
        return (torch.tanh(z + self.recurrent(state[0])),)


class GRUCell(Cell):
    r"""Gated recurrent unit.

    .. math::
        r = \sigma(W_r x + U_r h), \quad u = \sigma(W_u x + U_u h), \quad
        n = \tanh(W_n x + r \odot (U_n h)), \quad h' = (1 - u) \odot n + u \odot h

    Shapes:
        projected input ``(n, 3 * hidden)`` in the order r, u, n, and state ``((n, hidden),)``, to state.

    Source:
        Cho et al., *Learning phrase representations using RNN encoder-decoder* (2014), in the form of ``torch.nn.GRU``.

    Example:
        >>> cell = GRUCell(3, 4)
        >>> x = torch.zeros(2, 3)
        >>> cell(cell.input(x), cell.start(x))[0].shape
        torch.Size([2, 4])
    """

    gates = 3

    def forward(self, z: Tensor, state: State) -> State:
        h = state[0]
        reset_in, update_in, new_in = z.chunk(3, dim=-1)
        reset_h, update_h, new_h = self.recurrent(h).chunk(3, dim=-1)
        update = sigmoid(update_in + update_h)
        new = torch.tanh(new_in + sigmoid(reset_in + reset_h) * new_h)
        return (new + update * (h - new),)


class LSTMCell(Cell):
    r"""Long short-term memory.

    .. math::
        c' = \sigma(f) \odot c + \sigma(i) \odot \tanh(g), \quad h' = \sigma(o) \odot \tanh(c'), \quad (i, f, g, o) = W x + U h + b

    Shapes:
        projected input ``(n, 4 * hidden)`` in the order i, f, g, o, and state ``((n, hidden), (n, hidden))``, to state.

    Source:
        Hochreiter and Schmidhuber, *Long short-term memory* (1997), with the forget gate of Gers et al. (2000).

    Example:
        >>> cell = LSTMCell(3, 4)
        >>> x = torch.zeros(2, 3)
        >>> len(cell(cell.input(x), cell.start(x)))
        2
    """

    gates = 4
    states = 2

    def forward(self, z: Tensor, state: State) -> State:
        h, c = state
        into, forget, new, out = (z + self.recurrent(h)).chunk(4, dim=-1)
        c = sigmoid(forget) * c + sigmoid(into) * torch.tanh(new)
        return sigmoid(out) * torch.tanh(c), c


CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}


class RecurrentNet(nn.Module):
    """Recurrent layers over a sequence, then a linear layer.

    Args:
        in_features: features at each time.
        hidden: width of the state.
        out_features: number of outputs.
        cell: ``"rnn"``, ``"gru"`` or ``"lstm"``.
        layers: number of layers, each reading the hidden states of the one below.
        readout: what the output reads: the hidden state at the ``"last"`` time, their ``"mean"`` over time, or ``"all"`` of them.

    Shapes:
        ``(n, time, in_features)`` to ``(n, out_features)``, or ``(n, time, out_features)`` with ``readout="all"``.

    Source:
        See :class:`RNNCell`, :class:`GRUCell` and :class:`LSTMCell`.

    Example:
        >>> RecurrentNet(3, 8, 2, cell="lstm")(torch.zeros(5, 7, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        cell: str = "gru",
        layers: int = 1,
        readout: Literal["last", "mean", "all"] = "last",
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ConfigError(expected("cell", "RecurrentNet", f"in {sorted(CELLS)}", cell))
        if layers < 1:
            raise ConfigError(expected("layers", "RecurrentNet", "in [1, inf)", layers))
        if readout not in ("last", "mean", "all"):
            raise ConfigError(expected("readout", "RecurrentNet", "in ['all', 'last', 'mean']", readout))
        self.readout = readout
        self.cells = nn.ModuleList(CELLS[cell](in_features if index == 0 else hidden, hidden) for index in range(layers))
        self.output = nn.Linear(hidden, out_features)
        self.width = out_features

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3:
            raise ConfigError(expected("x", "RecurrentNet", "of shape (n, time, features)", tuple(x.shape)))
        steps: list[Tensor] = []
        for cell in self.cells:
            assert isinstance(cell, Cell)
            state = cell.start(x)
            steps = []
            for z in cell.input(x).unbind(1):
                state = cell(z, state)
                steps.append(state[0])
            x = torch.stack(steps, dim=1)
        if self.readout == "all":
            return self.output(x)
        return self.output(steps[-1] if self.readout == "last" else x.mean(1))
