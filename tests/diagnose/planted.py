"""Networks and rows with a known illness, and a healthy pair."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.data.dataset import Dataset


class Scalar(nn.Module):
    """A single parameter, given back for every row: any function of one number as a network and a loss."""

    def __init__(self, x: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor([x], dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        return rows.new_ones(len(rows), 1) * self.x


def no_rows(n: int = 2) -> Dataset:
    return Dataset(torch.zeros(n, 1), torch.zeros(n, 1), "regression")


def blobs(n: int, seed: int, flipped: float = 0.0, apart: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes in ten dimensions, with labels turned over: X, y and which rows were."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    X = rng.normal(size=(n, 10))
    X[:, :2] += apart * (2 * y[:, None] - 1)
    turned = rng.random(n) < flipped
    return X.astype(np.float32), np.where(turned, 1 - y, y), turned


@cache
def trained(flipped: float = 0.0, healthy: bool = True) -> Any:
    """A network on blobs: regularized and stopped early, or trained until it knows every label by heart."""
    X, y, _ = blobs(300, 0, flipped, apart=1.0 if healthy else 2.0)
    V, v, _ = blobs(300, 1, flipped, apart=1.0 if healthy else 2.0)
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(16,) if healthy else (64,)), 0)
    if healthy:
        cocktail, settings = tp.Cocktail(tp.WeightDecay(1e-2), tp.Dropout(0.2)), {"epochs": 15, "validation": (V, v), "optimizer": tp.optim.AdamW(3e-3)}
    else:
        cocktail, settings = tp.Cocktail(), {"epochs": 150, "validation": None, "optimizer": tp.optim.Adam(5e-3)}
    return tp.fit(net, cocktail, (X, y), batch_size=32, **settings).model, (X, y), (V, v)
