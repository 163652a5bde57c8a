"""Small data, plans and splits for the tests of the search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.schedule import FlatCosine
from temperance.data import Dataset, Split, as_dataset
from temperance.nets import MLP, build_seeded
from temperance.regularizers import EMA, Dropout, InputNoise, WeightDecay
from temperance.search.space import Config, StaticPlan, default_strengths
from temperance.train.metrics import metric_for
from temperance.train.optimizers import AdamW

ACCURACY = metric_for("accuracy", "classification")


def two_classes(n: int = 90, seed: int = 0) -> Dataset:
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 3)).astype(np.float32)
    return as_dataset(X, (X[:, 0] + 0.8 * generator.normal(size=n) > 0).astype(int))


def small_plan(name: str = "small", hidden: int = 8, **changes: Any) -> StaticPlan:
    def build(seed: int) -> nn.Module:
        return build_seeded(lambda: MLP(3, 2, hidden=(hidden,)), seed)

    cocktail = Cocktail(InputNoise(0.1), Dropout(0.2), WeightDecay(0.1), EMA(0.9))
    plan = StaticPlan(name, build, cocktail, AdamW(FlatCosine(0.01, flat=0.5)), (1e-3, 1e-1), 15, 3.0)
    return replace(plan, **changes)


def config(plan: StaticPlan, number: int, lr: float = 0.01, seed: int = 7, length: float = 1.0, **strengths: float) -> Config:
    named = {key.replace("__", "."): value for key, value in strengths.items()}
    return Config(number, plan, {**default_strengths(plan.cocktail, ()), **named}, lr, seed, length)


def hold_out(n: int = 90) -> Split:
    """A third of the rows each: to learn from, to validate on, untouched."""
    rows = np.arange(n)
    train, validation, test = rows[rows % 3 == 0], rows[rows % 3 == 1], rows[rows % 3 == 2]
    return Split(train, validation, [(train, validation)], test, "hold-out", "given")


def two_folds(n: int = 90) -> Split:
    """Two folds of a third of the rows each, the last third untouched."""
    rows = np.arange(n)
    known, test = rows[rows % 3 < 2], rows[rows % 3 == 2]
    return Split(known, None, [(known[::2], known[1::2]), (known[1::2], known[::2])], test, "k-fold", "given")


def same_bits(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
