"""Where a search begins: near what did well on other tables, or mildly."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.search.small import small_plan

from temperance.core.cocktail import Cocktail
from temperance.data import Dataset
from temperance.nets import ColumnScale, NeighborNet
from temperance.regularizers import EMA, L1, L2, Dropout, InputNoise, LabelSmoothing, MaxNorm, MixUp, WeightDecay
from temperance.search.plans import tabular_plans
from temperance.search.prior import draws, entries, for_networks, for_tables
from temperance.search.space import PRIOR_ON, Known, draw

SEARCHED = Cocktail(LabelSmoothing(), MixUp(), InputNoise(), Dropout(), WeightDecay(), EMA(), L2(), L1())
RATES = (3e-4, 3e-2)


def test_what_is_known_lies_in_the_ranges_that_the_strengths_declare() -> None:
    specs = SEARCHED.specs()
    assert len(entries("networks")) == 72
    for entry in entries("networks"):
        assert RATES[0] <= entry["lr"] <= RATES[1]
        for name, value in entry["strengths"].items():  # three digits were kept
            assert specs[name].low * 0.995 <= value <= specs[name].high * 1.005 and value != specs[name].off


def test_draws_are_as_what_is_known() -> None:
    plan = small_plan(cocktail=Cocktail(*[r for _, r in SEARCHED.items()], MaxNorm()), lr=RATES, known=for_networks(), lengths=(0.5, 1.0))
    specs, n = plan.cocktail.specs(), 4000
    drawn = draws(plan, n, np.random.default_rng(0))
    for name, spec in specs.items():
        values = [strengths[name] for strengths, _, _ in drawn]
        on = [v for v in values if v != spec.off]
        assert all(spec.low <= v <= spec.high for v in on)
        share = np.mean([name in entry["strengths"] for entry in entries("networks")])
        expected = PRIOR_ON if share == 0 else 0.01 * 0.5 + 0.99 * share  # one kernel of 73 is over the whole range, and switches flip
        assert len(on) / n == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(n) + 0.03)
    middle = np.median([lr for _, lr, _ in drawn])
    assert middle == pytest.approx(np.median([entry["lr"] for entry in entries("networks")]), rel=0.25)
    assert {length for _, _, length in drawn} == {0.5, 1.0}


def test_other_plans_begin_mildly_and_draws_repeat() -> None:
    plan = small_plan()
    assert draws(plan, 5, np.random.default_rng(1)) == [draw(g, plan) for g in [np.random.default_rng(1)] for _ in range(5)]
    wise = replace(plan, known=for_networks())
    assert draws(wise, 5, np.random.default_rng(1)) == draws(wise, 5, np.random.default_rng(1)) != draws(plan, 5, np.random.default_rng(1))
    assert draws(wise, 0, np.random.default_rng(1)) == []


def test_a_search_over_a_table_begins_with_the_portfolio_and_the_plain_network() -> None:
    lengths = (0.3, 0.6, 1.0)
    known = for_tables(0.01, lengths)
    assert len(known) == len(entries("tables")) >= 5
    assert [one.lr for one in known] == [entry["rate"] * 0.01 for entry in entries("tables")]
    plan = small_plan(cocktail=Cocktail(Dropout(), WeightDecay()), lengths=lengths, known=known, first=3)
    begun = plan.begin()
    assert len(begun) == 4
    for (strengths, lr, length), entry in zip(begun, entries("tables")[:3], strict=False):
        assert strengths == {name: entry["strengths"].get(name, 0.0) for name in ("dropout.rate", "dropout.input_rate", "weight_decay.lam")}
        assert (lr, length) == (entry["rate"] * 0.01, entry["length"])
    assert set(begun[-1][0].values()) == {0.0}


def test_a_known_strength_is_brought_into_its_range_and_others_are_passed_over() -> None:
    plan = small_plan(cocktail=Cocktail(Dropout(0.3)))
    known = Known({"dropout.rate": 0.95, "weight_decay.lam": 1.0}, 0.01)
    assert plan.of(known) == {"dropout.rate": plan.space()["dropout.rate"].high, "dropout.input_rate": 0.0}


def test_lengths_are_drawn_as_the_known_ones_are() -> None:
    plan = small_plan(cocktail=Cocktail(Dropout()), lengths=(0.25, 0.5, 1.0), known=[Known({"dropout.rate": 0.2}, 0.01, 0.5)] * 30)
    drawn = [length for _, _, length in draws(plan, 500, np.random.default_rng(0))]
    assert np.mean([length == 0.5 for length in drawn]) > 0.9


def test_the_plans_for_tables_have_a_factor_for_each_column_and_begin_with_the_portfolio() -> None:
    generator = torch.Generator().manual_seed(0)
    x = {"num": torch.randn(40, 3, generator=generator), "cat": torch.zeros(40, 1, dtype=torch.long)}
    data = Dataset(x, torch.eye(2)[torch.arange(40) % 2], "classification", cardinalities=(4,))
    plans = tabular_plans(data, range(30))
    assert [plan.name for plan in plans] == ["piecewise", "periodic", "plain", "batchnorm", "neighbors"]
    for plan in plans[:4]:
        factors = [module for module in plan.build(0).modules() if isinstance(module, ColumnScale)]
        assert [len(module.weight) for module in factors] == [4]
        assert plan.first == len(plan.known) == len(entries("tables")) and plan.earliest == 128
        assert plan.spec is not None and plan.spec["arguments"]["column_rate"] > 1


@pytest.mark.parametrize(("rows", "sizes"), [(40, (64, 64)), (8000, (256, 128))])
def test_networks_that_answer_from_similar_rows_have_small_batches_and_few_steps(rows: int, sizes: tuple[int, int]) -> None:
    data = Dataset({"num": torch.randn(rows, 3)}, torch.eye(2)[torch.arange(rows) % 2], "classification")
    plans = {plan.name: plan for plan in tabular_plans(data, range(rows))}
    neighbors = plans["neighbors"]
    assert (plans["piecewise"].batch_size, neighbors.batch_size) == sizes
    assert round(neighbors.epochs * rows / neighbors.batch_size) == pytest.approx(1000, rel=0.05)
    assert neighbors.spec is not None and neighbors.spec["arguments"]["density"] > 0


def test_rows_without_a_target_are_no_table_that_is_known() -> None:
    data = Dataset({"num": torch.randn(40, 3)}, torch.eye(2)[torch.arange(40) % 2], "classification", labeled=torch.arange(40) % 2 == 0)
    for plan in tabular_plans(data, range(30)):
        assert plan.first == 0 and plan.begin()[0][0]["mean_teacher.lam"] > 0


@pytest.mark.parametrize(
    ("many", "two", "rows", "expected"),
    [
        (64, 0, 1300, ["piecewise", "periodic", "neighbors"]),
        (64, 36, 1300, ["piecewise", "plain", "batchnorm", "neighbors"]),
        (65, 36, 1300, ["plain", "batchnorm"]),
        (0, 3, 1300, ["piecewise", "periodic", "neighbors"]),
        (0, 100, 1300, ["plain", "batchnorm"]),
        (8, 100, 40, ["piecewise", "plain", "batchnorm", "neighbors"]),
        (8, 1017, 40, ["plain", "batchnorm"]),
    ],
)
def test_columns_of_two_values_count_for_nothing_where_numbers_are_encoded(many: int, two: int, rows: int, expected: list[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(rows, many, generator=generator), (torch.arange(rows)[:, None] % 2).float().expand(-1, two)], 1)
    data = Dataset({"num": x}, torch.eye(2)[torch.arange(rows) % 2], "classification")
    plans = tabular_plans(data, range(rows))
    assert [plan.name for plan in plans] == expected
    widths = {plan.name: plan.build(0).inputs.out_features for plan in plans}  # pyright: ignore[reportAttributeAccessIssue] -- networks for tables
    bins = 16 if rows < 2000 else 24
    if "plain" in expected and "piecewise" in expected:
        assert widths["piecewise"] == widths["plain"] + many * bins
        assert widths["neighbors"] == widths["piecewise"]


def test_networks_that_keep_rows_are_tried_where_these_can_be_compared_and_kept() -> None:
    def table(n: int = 40, numbers: int = 3, **settings: Any) -> Dataset:
        x = {"num": torch.randn(n, numbers), "cat": torch.arange(n)[:, None] % 3}
        return Dataset(x, torch.eye(2)[torch.arange(n) % 2], "classification", cardinalities=(3,), **settings)

    def names(data: Dataset, **settings: Any) -> list[str]:
        return [plan.name for plan in tabular_plans(data, range(len(data)), **settings)]

    assert names(table())[-1] == "neighbors"
    assert "neighbors" not in names(table(), without=["neighbors"])
    for other in (table(20_001), table(20_000, 60), table(labeled=torch.arange(40) % 2 == 0), table(40, 0)):
        assert "neighbors" not in names(other)
    for data in (table(), table(weight=torch.ones(40))):
        network = tabular_plans(data, range(40))[-1].build(0)
        assert isinstance(network, NeighborNet) and network.weighted == (data.weight is not None)
    (plan,) = [p for p in tabular_plans(table(), range(40), use=["L1"]) if p.name == "neighbors"]
    assert {"l1.lam", "dropout.rate", "weight_decay.lam", "ema.decay", "label_smoothing.epsilon"} <= set(plan.space())
    assert not {"input_noise.sigma", "mixup.alpha", "cutmix.p", "dropout.input_rate"} & set(plan.space())
    off = {key: value for key, value in plan.likely().items() if key == "dropout.input_rate"}
    assert set(off.values()) == {0.0}
