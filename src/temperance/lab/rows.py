"""The rows that experiments on real data use: scikit-learn's digits, or a table of one's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from sklearn.datasets import load_digits

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.regularizer import Context


def split(seed: int, train: int, data: Any = None) -> tuple[tp.data.Dataset, tp.data.Dataset, tp.data.Dataset]:
    """Training, validation and test rows: so many to train on, half of the rest for each of the others, at most 600. Each has a target.

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
    if isinstance(data.labeled, torch.Tensor):
        data = dataclasses.replace(data.take(torch.nonzero(data.labeled)[:, 0]), labeled=None)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    first = min(train, len(data) // 2)
    rest = min((len(data) - first) // 2, 600)
    return data.take(order[:first]), data.take(order[first : first + rest]), data.take(order[first + rest : first + 2 * rest])


def images(seed: int, train: int, data: Any = None) -> tuple[tp.data.Dataset, tp.data.Dataset]:
    """Training and test rows as images ``(n, 1, height, width)`` from 0 to 1.

    Args:
        seed: of the split.
        train: rows to train on, at most half of the images of one's own.
        data: a Dataset of images; without one the digits of scikit-learn, 8 x 8 pixels. Of its other rows at most 2,000 are test rows.

    Example:
        >>> [tuple(part.x.shape) for part in images(0, 200)]
        [(200, 1, 8, 8), (1597, 1, 8, 8)]
    """
    if data is None:
        found: Any = load_digits()
        data = tp.data.as_dataset(found.images[:, None] / 16.0, found.target)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    train = min(train, len(data) // 2)
    return data.take(order[:train]), data.take(order[train : train + 2000])


def loss(net: Any, data: tp.data.Dataset) -> float:
    """The mean loss on rows: log-loss of classes, squared error of values.

    Example:
        >>> rows = split(0, 50)[0]
        >>> round(loss(lambda x: torch.zeros(len(x), 10), rows), 3)  # ln 10
        2.303
    """
    kind: Any = tp.losses.SquaredError() if data.task == "regression" else tp.losses.SoftmaxCrossEntropy()
    with torch.no_grad():
        return float(kind.per_row(net(data.x), data.y).mean())


def accuracy(net: Any, data: tp.data.Dataset, x: Any = None) -> float:
    """The share of rows that a network has right, on inputs ``x`` in the place of their own where given.

    Example:
        >>> rows = split(0, 50)[0]
        >>> accuracy(lambda x: rows.y, rows)
        1.0
    """
    target: Any = data.y
    with torch.no_grad():
        return float((net(data.x if x is None else x).argmax(1) == target.argmax(1)).double().mean())


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


def trained(net: Any, data: tp.data.Dataset, cocktails: Sequence[tp.Cocktail], seed: int = 0, steps: int = 600, lr: float = 3e-3, rows: int = 50) -> list[Any]:
    """Copies of a network after the last of so many steps of Adam, one a cocktail, trained as one population on the same rows.

    Example:
        >>> data = split(0, 50)[0]
        >>> len(trained(network(data, 8), data, [tp.Cocktail(), tp.Cocktail(tp.L2(0.1))], steps=2))
        2
    """
    members = [tp.Member(cocktail, tp.optim.Adam(lr), seed) for cocktail in cocktails]
    done = tp.fit(net, members, data, validation=None, early_stopping=None, steps=steps, batch_size=rows, check_every=steps)
    return [done.member(i) for i in range(len(members))]


def changed(regularizer: tp.Regularizer, data: tp.data.Dataset) -> torch.Tensor:
    """The inputs as a regularizer of minibatches changes them in one step.

    Example:
        >>> changed(tp.Affine(rotate=15.0), images(0, 3)[0]).shape
        torch.Size([3, 1, 8, 8])
    """
    batch: Any = regularizer.bind().batch(full_batch(data.x, data.y), Context())
    return batch.x


def _plain(data: tp.data.Dataset) -> tp.data.Dataset:
    """The rows as one matrix: numbers, and a column for each category."""
    if not isinstance(data.x, dict):
        return data
    parts = [leaf if leaf.is_floating_point() else _indicators(leaf, data.cardinalities) for leaf in data.x.values()]
    return dataclasses.replace(data, x=torch.cat(parts, 1), cardinalities=())


def _indicators(codes: torch.Tensor, cardinalities: tuple[int, ...]) -> torch.Tensor:
    columns = [torch.nn.functional.one_hot(column, many) for column, many in zip(codes.T, cardinalities, strict=True)]
    return torch.cat(columns, 1).float() if columns else torch.zeros(len(codes), 0)
