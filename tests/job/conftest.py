"""Shared by the tests of the job: a small table, and fits of a few epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from temperance.job import Job, fit_table, prepare
from temperance.search.space import StaticPlan

ROWS = 100


def make_people(n: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A number, a category, two classes, two values, two labels and weights."""
    generator = np.random.default_rng(seed)
    age, job = generator.normal(size=n).round(3), generator.choice(["cook", "smith", "pilot"], n)
    rich = np.where(age + 0.5 * (job == "pilot") + 0.4 * generator.normal(size=n) > 0.4, "yes", "no")
    return pd.DataFrame(
        {
            "age": age,
            "job": job,
            "rich": rich,
            "price": (3 * age + 10).round(2),
            "size": (generator.normal(size=n) - 20 * age).round(2),
            "a": (age > 0).astype(int),
            "b": (age > 0.5).astype(int),
            "w": generator.uniform(0.5, 2.0, n).round(2),
        }
    )


def shortened(make: Callable[..., list[StaticPlan]]) -> Callable[..., list[StaticPlan]]:
    def plans(*arguments: Any, **settings: Any) -> list[StaticPlan]:
        return [replace(plan, epochs=4.0, batch_size=16, earliest=1) for plan in make(*arguments, **settings)]

    return plans


@pytest.fixture(scope="module", autouse=True)
def few_epochs() -> Iterator[None]:
    """Every plan trains four epochs, and trials are dropped after the first of them."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tabular_plans", "network_plans", "image_plans"):
            patch.setattr(prepare, name, shortened(getattr(prepare, name)))
        yield


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "people.csv"
    make_people().to_csv(path, index=False)
    return path


Fit = Callable[..., Job]


@pytest.fixture(scope="module")
def fit(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """`fit("rich", ...)` in a folder of its own, on three columns and that target."""

    def call(target: Any, columns: tuple[str, ...] = ("age", "job"), **settings: Any) -> Job:
        used = {*columns, *([target] if isinstance(target, str) else target), *filter(None, [settings.get("weight")])}
        ignore = [name for name in make_people(2).columns if name not in used]
        return fit_table(
            settings.pop("source", people),
            target,
            **{"out": tmp_path_factory.mktemp("fit") / "out", "trials": 3, "refits": 2, "ignore": ignore, **settings},
        )

    return call


@pytest.fixture(scope="module")
def job(fit: Fit) -> Job:
    """The fit that most tests look at: six trials for classes."""
    return fit("rich", trials=6)
