"""Bagging and folds: populations whose members differ in their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.core.random import Rng, key_of, stream_of
from temperance.train.member import Member


def bootstrap(member: Member, n: int, members: int) -> list[Member]:
    """Copies of a member, each on its own bootstrap of the ``n`` rows (Breiman, 1996).

    A bootstrap holds 1 - (1 - 1/n)^n of the rows, 63.2 % for large n. Rows left out validate the member.

    Example:
        >>> [len(m.rows) for m in bootstrap(Member(), 10, 2)]
        [10, 10]
    """
    out: list[Member] = []
    for i in range(members):
        rng = Rng(key_of(member.seed), stream_of("bootstrap", i))
        rows = rng.integers(n, (n,))
        left = torch.ones(n, dtype=torch.bool)
        left[rows] = False
        outside = left.nonzero().squeeze(1)
        out.append(replace(member, rows=rows, validation=outside if len(outside) else None, seed=member.seed + i, name=f"{member.name}bag {i}"))
    return out


def folds(member: Member, splits: Sequence[tuple[object, object]]) -> list[Member]:
    """Copies of a member, one per fold: each trains on a fold's training rows and is validated on the rows left out.

    Args:
        member: what every fold shares.
        splits: pairs of positions (train, validation), as :func:`temperance.data.plan_split` gives them.
    """
    if not splits:
        raise ConfigError(expected("splits", "folds", "to hold at least one (train, validation) pair", list(splits)))
    return [replace(member, rows=torch.as_tensor(a), validation=torch.as_tensor(b), name=f"{member.name}fold {i}") for i, (a, b) in enumerate(splits)]


def combine(predictions: Tensor, how: str = "mean") -> Tensor:
    """Predictions ``(members, rows, outputs)`` as one: their mean, or the share of votes.

    Example:
        >>> combine(torch.tensor([[[0.9, 0.1]], [[0.4, 0.6]], [[0.4, 0.6]]]), "vote")
        tensor([[0.3333, 0.6667]])
    """
    if how == "mean":
        return predictions.mean(0)
    if how == "vote":
        return (predictions.argmax(-1, keepdim=True) == torch.arange(predictions.shape[-1], device=predictions.device)).to(predictions.dtype).mean(0)
    raise ConfigError(expected("combine", "bagging", "to be 'mean' or 'vote'", how))
