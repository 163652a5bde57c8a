"""What a member knows of the data are its own training rows: beside members of other rows it is the one that has its rows as all of its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.laws.harness import VARIANTS
from tests.laws.test_trainer_laws import TABLES, VALUES, World, assert_same, cocktail_of, population, world_of
from torch import Tensor

import temperance as tp
from temperance.core.batch import map_leaves
from temperance.core.cocktail import Cocktail
from temperance.data.dataset import Dataset
from temperance.train.compiled import compiler_missing
from temperance.train.kernel import Kernels
from temperance.train.member import Member
from temperance.train.own import Scales, mean_weights, refreshed_rows, target_scale
from temperance.train.population import Population

# Rows of very different scales: few, many, and repeated ones in another order.
ROWS = [torch.arange(0, 12), torch.tensor([36, 3, 3, 20, 30, 8, 1, 14, 25, 25, 33]), torch.arange(9, 37)]


def spread(data: Dataset) -> Dataset:
    """The same rows, the later the larger: rows of a member's own have other scales than all rows."""

    def grown(leaf: Tensor) -> Tensor:
        size = torch.linspace(0.2, 3.0, len(leaf)).reshape(-1, *[1] * (leaf.dim() - 1))
        return leaf * size if leaf.is_floating_point() else leaf

    wide = replace(data, x=map_leaves(grown, data.x))
    return replace(wide, y=map_leaves(grown, data.y)) if data.task == "regression" else wide


def members(cocktail: Cocktail) -> list[Member]:
    return [Member(cocktail, tp.optim.SGD(0.05, momentum=0.5), 3 + i, rows=rows) for i, rows in enumerate(ROWS)]


def run(chosen: list[Member], data: Dataset, world: World, **settings: Any) -> Population:
    made = population(chosen, data, world=world, **{"held": world.held, "total_steps": 5, **settings})
    made.run()
    return made


def finals(made: Population, i: int) -> list[Tensor]:
    final = made.outcomes[i].final
    assert final is not None
    return [final[name] for name in sorted(final)]


def assert_own(cocktail: Cocktail, world: World, data: Dataset, places: Sequence[int] = (0, 1, 2), **settings: Any) -> Population:
    """Members of different rows end as each does on a data set that holds its rows and no others."""
    chosen = members(cocktail)
    together = run(chosen, data, world, **settings)
    for i in places:
        assert_same(finals(together, i), finals(alone(chosen[i], data, world, **settings), 0))
    return together


def alone(member: Member, data: Dataset, world: World, **settings: Any) -> Population:
    assert member.rows is not None
    return run([replace(member, rows=None)], data.take(member.rows), world, **settings)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_member_knows_its_own_rows_alone(variant: str) -> None:
    """Bit for bit, with weights of rows and missing targets, in averages that refresh BatchNorm too."""
    cocktail = cocktail_of(VARIANTS[variant])
    world = world_of(cocktail)
    assert_own(cocktail, world, spread(world.train), places=(1, 2), total_steps=3)


NOISY = Cocktail(tp.InputNoise(0.5), tp.TargetNoise(0.5), tp.PGD(0.3, steps=2), tp.EMA(0.9))


WAYS: dict[str, dict[str, Any]] = {"loop": {"way": "loop"}, "all rows per step": {"batch_size": 64}}


@pytest.mark.parametrize("way", WAYS)
def test_in_every_way_of_training(way: str) -> None:
    assert_own(NOISY, VALUES, spread(VALUES.train), places=(1, 2), total_steps=3, **WAYS[way])


def test_all_rows_by_number_are_all_rows() -> None:
    """A member that names every row is bit for bit the one that names none."""
    data = spread(VALUES.train)
    named, plain = (run([Member(NOISY, tp.optim.SGD(0.05), 3, rows=rows)], data, VALUES) for rows in (torch.arange(37), None))
    assert_same(finals(named, 0), finals(plain, 0))


def test_directions_that_are_given_stay_with_their_rows() -> None:
    data = replace(spread(TABLES.train), tangents={"num": torch.randn(37, 2, 2, generator=torch.Generator().manual_seed(4))})
    assert_own(Cocktail(tp.TangentProp(0.1)), TABLES, data)


def test_who_goes_on_keeps_its_own_rows(tmp_path: Path) -> None:
    """After others were dropped and after saving and loading, in groups put together anew."""
    chosen, data = [replace(m, seed=7 * k + m.seed) for k in range(3) for m in members(NOISY.without("ema"))], spread(VALUES.train)
    made = population(chosen, data, world=VALUES, held=VALUES.held, total_steps=5)
    made.run(2)
    made.keep([1, 2, 5, 7], "dropped")
    tp.train.save_population(made, tmp_path)
    loaded = tp.train.load_population(population(chosen, data, world=VALUES, held=VALUES.held, total_steps=5), tmp_path)
    for going in (made, loaded):
        going.run()
    for i in (1, 2, 5, 7):
        expected = finals(alone(chosen[i], data, VALUES), 0)
        for going in (made, loaded):
            assert_same(finals(going, i), expected)


@pytest.mark.skipif(bool(compiler_missing()), reason="no C++ compiler is here, and nothing is compiled without one")
def test_a_compiled_step_takes_the_scales_of_each_member() -> None:
    """They are inputs of the machine code: the step made for members of one data set serves those of another."""
    kernels: Kernels = {}
    assert_own(Cocktail(tp.InputNoise(0.5), tp.TargetNoise(0.5)), VALUES, spread(VALUES.train), compile=True, kernels=kernels)
    assert [kernel.lasting and not kernel.refused for kernel in kernels.values()] == [True]


def test_scores_are_those_of_the_rows_alone() -> None:
    """Histories too, but for the rounding of sums over rows that are padded: a few units in the last place of a sum of at most 37 terms."""
    data = spread(VALUES.train)
    together = assert_own(NOISY, VALUES, data, check_every=1)
    for i, member in enumerate(members(NOISY)):
        for ours, theirs in zip(together.outcomes[i].history, alone(member, data, VALUES, check_every=1).outcomes[0].history, strict=True):
            assert ours == pytest.approx(theirs, rel=37 * 1.2e-7, nan_ok=True)


def test_a_scale_of_rows_without_a_target_is_one() -> None:
    data = Dataset(torch.arange(6.0).reshape(3, 2), torch.tensor([[1.0], [3.0], [9.0]]), "regression", labeled=torch.tensor([True, True, False]))
    found = Scales(data).stacked([torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([1, 2])])
    assert found["target_scale"].tolist() == [[1.0], [1.0], [1.0]]
    assert Scales(data).stacked([torch.tensor([0, 1, 2, 2])])["target_scale"].tolist() == [[1.0]] == [target_scale(data).tolist()]
    assert found["input_scale"].tolist() == [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    assert Scales(data).stacked([torch.tensor([0, 2])])["input_scale"].tolist() == [[2.0, 2.0]]


def test_weights_are_divided_by_their_mean_over_ones_own_rows() -> None:
    assert mean_weights(torch.tensor([1.0, 3.0, 0.0, 8.0]), [torch.tensor([0, 1]), torch.tensor([2, 2]), torch.arange(4)]).tolist() == [2.0, 1.0, 3.0]


@pytest.mark.parametrize(("rows", "used"), [(1, 2), (2, 2), (255, 255), (256, 256), (511, 256), (2048, 2048), (10**6, 2048)])
def test_rows_that_refresh_statistics(rows: int, used: int) -> None:
    assert refreshed_rows(rows) == used
