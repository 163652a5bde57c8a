"""Networks that remember the rows they train on: every member of a population its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from temperance.core.batch import map_leaves
from temperance.core.errors import ConfigError
from temperance.core.regularizer import Regularizer
from temperance.data.dataset import Dataset
from temperance.nets.neighbors import NeighborNet
from temperance.train.group import Member

PASSES = 40  # over all pairs of rows, in multiplications
AT_WORK = 6  # arrays of a number for each pair of rows in a training step, with their gradients


def remembers(model: nn.Module) -> bool:
    """Whether a network answers from training rows."""
    return isinstance(model, NeighborNet)


def with_own_rows(model: nn.Module, members: Sequence[Member], data: Dataset) -> list[Member]:
    """The members, each starting with its own training rows in memory; the network gets rows of the same number.

    Members with fewer rows decide: of the others some rows are left out, so that all can be stacked.

    Raises:
        ConfigError: data that such a network cannot use, or a regularizer that changes inputs.
    """
    assert isinstance(model, NeighborNet)
    if not isinstance(data.y, Tensor) or data.labeled is not None or data.weight is not None or not isinstance(data.x, Mapping):
        raise ConfigError(
            f"{type(model).__name__} answers from rows of a table with one target, none missing and no row weights. Use another network, as TabularNet."
        )
    for member in members:
        for regularizer in member.cocktail:
            if changes_inputs(regularizer):
                raise ConfigError(
                    f"{type(regularizer).__name__} changes the inputs of a row, and {type(model).__name__} knows a row by its inputs: it would see its own "
                    "target. Leave the regularizer out, or use another network."
                )
    device = data.y.device
    own = [torch.arange(len(data), device=device) if m.rows is None else torch.as_tensor(m.rows, dtype=torch.long).to(device) for m in members]
    fewest = min(len(rows) for rows in own)
    known: dict[int, dict[str, Tensor]] = {}
    made: list[Member] = []
    for member, rows in zip(members, own, strict=True):
        key = -1 if member.rows is None else len(made)
        if key not in known:
            part = rows[:fewest]
            known[key] = model.memory(map_leaves(lambda leaf, part=part: leaf[part], data.x), data.y[part])
        made.append(replace(member, initial={**(member.initial or {}), **known[key]}))
    model.remember(map_leaves(lambda leaf: leaf[:fewest], data.x), data.y[:fewest])
    return made


def changes_inputs(regularizer: Regularizer) -> bool:
    """Whether a regularizer shows the network other inputs than the data has.

    Example:
        >>> import temperance as tp
        >>> [changes_inputs(r) for r in (tp.InputNoise(0.1), tp.LabelSmoothing(), tp.Dropout(0.5), tp.Dropout(0.5, input_rate=0.2))]
        [True, False, False, True]
    """
    sites = [site for site in ("batch", "around") if site in regularizer.sites()]
    if regularizer.keeps_inputs or not sites:
        return False
    specs = type(regularizer).strengths()
    driven = {name for site in sites for name in regularizer.drives(site)}
    return not driven or any(regularizer.peak(name) != specs[name].off for name in driven)


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
