"""The rows that experiments on real data use: scikit-learn's digits, or a table of one's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from sklearn.datasets import load_digits

import temperance as tp


def split(seed: int, train: int, data: Any = None) -> tuple[tp.data.Dataset, tp.data.Dataset, tp.data.Dataset]:
    """Training, validation and test rows: so many to train on, half of the rest for each of the others, at most 600.

    Args:
        seed: of the split.
        train: rows to train on, at most half of a table of one's own.
        data: a Dataset; without one the 1,797 digits of scikit-learn, 64 pixels from 0 to 1.

    Example:
        >>> [len(part) for part in split(0, 200)]
        [200, 600, 600]
    """
    if data is None:
        found: Any = load_digits()
        data = tp.data.as_dataset(found.data / 16.0, found.target)
    data = _plain(data)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    first = min(train, len(data) // 2)
    rest = min((len(data) - first) // 2, 600)
    return data.take(order[:first]), data.take(order[first : first + rest]), data.take(order[first + rest : first + 2 * rest])


def network(data: tp.data.Dataset, width: int = 64, seed: int = 0) -> Any:
    """A network with one hidden layer for these rows.

    Example:
        >>> network(split(0, 50)[0], 8)(torch.zeros(2, 64)).shape
        torch.Size([2, 10])
    """
    inputs: Any = data.x
    net = tp.nets.MLP(inputs[0].numel(), data.out_features, hidden=(width,))
    tp.nets.initialize(net, seed)
    return net


def _plain(data: tp.data.Dataset) -> tp.data.Dataset:
    """The rows as one matrix: numbers, and a column for each category."""
    if not isinstance(data.x, dict):
        return data
    parts = [leaf if leaf.is_floating_point() else _indicators(leaf, data.cardinalities) for leaf in data.x.values()]
    return dataclasses.replace(data, x=torch.cat(parts, 1), cardinalities=())


def _indicators(codes: torch.Tensor, cardinalities: tuple[int, ...]) -> torch.Tensor:
    columns = [torch.nn.functional.one_hot(column, many) for column, many in zip(codes.T, cardinalities, strict=True)]
    return torch.cat(columns, 1).float() if columns else torch.zeros(len(codes), 0)
