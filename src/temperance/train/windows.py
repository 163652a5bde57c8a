"""Which rows are in memory while a population trains on more of them than fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from temperance.core.batch import map_leaves
from temperance.data.dataset import Dataset

_NAMES = ("x", "y", "weight", "labeled")


def window(data: Dataset, turn: int) -> Dataset:
    """The rows that train in this turn: as many as the data have in memory, of these and the further ones in a circle.

    The first turn is the data themselves. Which rows come depends on nothing else, so that all members of all populations of a data set take the
    same turns, and a window is read once for all of them.

    Args:
        data: with further rows.
        turn: how many windows were before.
    """
    n, further = len(data), data.further
    assert further is not None
    start = turn * n % (n + len(further))
    if start == 0:
        return data
    first = data.leaves()[0]
    key = first.data_ptr(), first.device, first.dtype, n, start
    return further.kept(key, lambda: (_read(data, start), data))[0]  # with the data, so that their place in memory is nobody else's meanwhile


def _read(data: Dataset, start: int) -> Dataset:
    """As many rows as the data have, from this place of the circle on."""
    n, further, parts, wanted = len(data), data.further, list[dict[str, Any]](), len(data)
    assert further is not None
    while wanted:
        if start < n:
            count = min(wanted, n - start)
            parts.append({name: _slice(getattr(data, name), start, count) for name in _NAMES})
        else:
            count = min(wanted, n + len(further) - start)
            read = further.read(start - n, count)
            weight = None if data.weight is None else read["weight"]
            known = None if data.labeled is None else map_leaves(lambda leaf, count=count: torch.ones(count, dtype=torch.bool), data.labeled)
            parts.append({**read, "weight": weight, "labeled": known})
        start, wanted = (start + count) % (n + len(further)), wanted - count
    joined = {name: None if parts[0][name] is None else _joined([part[name] for part in parts], getattr(data, name)) for name in _NAMES}
    return replace(data, **joined)


def _slice(tree: Any, start: int, count: int) -> Any:
    return None if tree is None else map_leaves(lambda leaf: leaf[start : start + count], tree)


def _joined(trees: list[Any], like: Any) -> Any:
    """The rows one after another, as the data have them."""

    def join(leaf: Tensor, *parts: Tensor) -> Tensor:
        whole = [part.to(leaf.device, leaf.dtype) for part in parts]
        return whole[0] if len(whole) == 1 else torch.cat(whole)

    return map_leaves(join, like, *trees)
