"""How alike the errors of networks are, and what that makes of their average."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 2**20  # numbers in double precision at a time
SUMMED = ("classification",)  # the Brier score sums over classes; values and labels are averaged


@dataclass(frozen=True)
class Diversity:
    r"""Uncentred second moments of the errors of networks: ``v`` of one, ``c`` of a pair.

    With errors :math:`e_i`, :math:`v = \operatorname{mean}_i \mathbb{E} e_i^2` and :math:`c = \operatorname{mean}_{i \ne j} \mathbb{E} e_i e_j`. The average
    of M such networks with equal weights has the expected squared error :math:`v/M + (M-1)c/M`: v where M = 1, and c in the limit.

    Attributes:
        v: mean squared error of one network.
        c: mean product of the errors of two; NaN for a single network.
        networks: how many they are estimated from.

    Example:
        >>> Diversity(v=0.4, c=0.1, networks=4).at(4)
        0.17500000000000002

    Source: Goodfellow, Bengio & Courville 2016, section 7.11.
    """

    v: float
    c: float
    networks: int

    def at(self, members: int) -> float:
        """The expected squared error of an average of so many networks."""
        return self.v if members == 1 else self.v / members + (members - 1) * self.c / members


def error_products(predictions: Tensor, y: Tensor, task: str, weight: Tensor | None = None) -> Tensor:
    r"""Mean products of the errors of any two networks.

    The error of an average with weights a is :math:`a^\top E a`, whatever the weights.

    Args:
        predictions: probabilities or values ``(networks, rows, outputs)``.
        y: one-hot classes, labels or values ``(rows, outputs)``.
        task: for classes the products are summed over outputs (the Brier score), otherwise averaged.
        weight: row weights ``(rows,)``.

    Returns:
        ``(networks, networks)`` in double precision.

    Example:
        >>> p = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> error_products(p, torch.tensor([[1.0, 0.0]]), "classification")
        tensor([[0., 0.],
                [0., 2.]], dtype=torch.float64)
    """
    k, n, outputs = predictions.shape
    share = torch.ones(n, dtype=torch.float64, device=predictions.device) if weight is None else weight.double()
    root = (share / share.sum() / (1 if task in SUMMED else outputs)).sqrt()[:, None]
    products = torch.zeros(k, k, dtype=torch.float64, device=predictions.device)
    rows = max(1, BLOCK // max(1, k * outputs))
    for a in range(0, n, rows):
        here = slice(a, a + rows)
        flat = ((predictions[:, here].double() - y[here].double()) * root[here]).flatten(1)
        products += flat @ flat.T
    return products


def diversity(products: Tensor) -> Diversity:
    """``v`` and ``c`` of networks of equal weight.

    Args:
        products: as :func:`error_products` gives them, ``(networks, networks)``.

    Example:
        >>> diversity(torch.tensor([[4.0, 1.0], [1.0, 2.0]]))
        Diversity(v=3.0, c=1.0, networks=2)
    """
    n, own = len(products), float(products.diagonal().sum())
    return Diversity(own / n, float("nan") if n < 2 else (float(products.sum()) - own) / (n * (n - 1)), n)


def squared_error(predictions: Tensor, y: Tensor, task: str) -> Tensor:
    """The squared error of every row ``(..., rows)``: summed over classes, averaged over values or labels.

    Example:
        >>> squared_error(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]), "classification")
        tensor([0.5000], dtype=torch.float64)
    """
    squares = (predictions.double() - y.double()).square()
    return squares.sum(-1) if task in SUMMED else squares.mean(-1)
