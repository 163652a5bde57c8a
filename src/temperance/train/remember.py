"""Networks that remember the rows they train on: every member of a population its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from temperance.core.batch import map_leaves
from temperance.core.errors import ConfigError
from temperance.data.dataset import Dataset
from temperance.nets.neighbors import NeighborNet
from temperance.train.member import Member

PASSES = 40  # over all pairs of rows, in multiplications
AT_WORK = 6  # arrays of a number for each pair of rows in a training step, with their gradients


def remembers(model: nn.Module) -> bool:
    """Whether a network answers from training rows."""
    return isinstance(model, NeighborNet)


def with_own_rows(model: nn.Module, members: Sequence[Member], data: Dataset) -> list[Member]:
    """The members, each starting with its own training rows in memory.

    Raises:
        ConfigError: data that such a network cannot use.
    """
    assert isinstance(model, NeighborNet)
    if not isinstance(data.y, Tensor) or data.labeled is not None or not isinstance(data.x, Mapping):
        raise ConfigError(f"{type(model).__name__} answers from rows of a table with one target, none missing. Use another network, as TabularNet.")
    device = data.y.device
    known: dict[int, dict[str, Tensor]] = {}
    made: list[Member] = []
    for member in members:
        key = -1 if member.rows is None else len(made)
        if key not in known:
            rows = torch.arange(len(data), device=device) if member.rows is None else torch.as_tensor(member.rows, dtype=torch.long).to(device)
            weight = None if data.weight is None else data.weight[rows]
            known[key] = model.memory(map_leaves(lambda leaf, rows=rows: leaf[rows], data.x), data.y[rows], weight)
        made.append(replace(member, initial={**(member.initial or {}), **known[key]}))
    return made


def with_state(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a network with a member's parameters and buffers, in evaluation mode; it remembers as many rows as the member."""
    made = copy.deepcopy(network)
    for name in getattr(made, "remembered", ()):
        setattr(made, name, getattr(made, name).new_empty(state[name].shape))
    with torch.no_grad():
        for name, tensor in (*made.named_parameters(), *made.named_buffers()):
            tensor.copy_(state[name])
    return made.eval()


def bytes_at_work(model: nn.Module, batch_size: int) -> int:
    """Bytes of comparing a minibatch with a window of rows, beside what the modules of the network put out."""
    assert isinstance(model, NeighborNet)
    return AT_WORK * 4 * batch_size * model.window


def work(model: nn.Module) -> int:
    """About how many multiplications an answer takes: one for each parameter, and of a network that remembers rows, those of comparing with each.

    Example:
        >>> work(nn.Linear(3, 2))
        8
    """
    compared = sum(len(m.rows_y) * (m.first.out_features + PASSES) for m in model.modules() if isinstance(m, NeighborNet))
    return compared + sum(p.numel() for p in model.parameters())
