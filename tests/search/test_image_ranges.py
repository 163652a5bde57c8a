"""Ranges on images: what is counted in pixels follows their size, and mirror images are tried where they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import temperance as tp
from temperance.core.registry import REGISTRY
from temperance.core.strength import StrengthSpec
from temperance.data.dataset import Dataset
from temperance.regularizers import Affine, RandomCrop
from temperance.search.image_plans import image_plans
from temperance.search.plans import network_plans
from temperance.search.prior import draws
from temperance.search.space import StaticPlan, chosen_regularizers
from temperance.search.study import Proposer


def images(*shape: int, rows: int = 40) -> Dataset:
    return Dataset(torch.randn(rows, *shape), torch.eye(2)[torch.arange(rows) % 2], "classification")


def of_job(data: Dataset, **settings: Any) -> StaticPlan:
    return image_plans(data, range(len(data)), seconds=1e-9, **settings)[0]


def of_network(data: Dataset, **settings: Any) -> StaticPlan:
    return network_plans(lambda d: nn.Sequential(nn.Flatten(), nn.Linear(d.in_features, 8), nn.ReLU(), nn.Linear(8, 2)), data, **settings)[0]


BOTH = pytest.mark.parametrize("plan_of", [of_job, of_network])
PlanOf = Callable[..., StaticPlan]


def test_what_is_counted_in_pixels_says_for_which_side() -> None:
    found: list[str] = []
    for name, cls in REGISTRY.items():
        for field, spec in cls.strengths().items():
            assert (spec.side > 0) == ("pixel" in spec.meaning), f"{name}.{field}"
            found += [f"{name}.{field}"] if spec.side else []
            assert not spec.side or (spec.low <= spec.default <= spec.high)
    assert {"RandomCrop.pad", "Blur.sigma", "Elastic.alpha"} <= set(found)


@BOTH
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 12), (1, 28, 28), (3, 32, 32), (1, 64, 40)])
def test_ends_in_pixels_are_the_same_share_of_every_side(plan_of: PlanOf, shape: tuple[int, ...]) -> None:
    side = min(shape[1:])
    plan = plan_of(images(*shape), use=["Blur", "Elastic"])
    space, declared = plan.space(), plan.cocktail.specs()
    assert space["random_crop.pad"].high == side / 8
    for name in ("random_crop.pad", "blur.sigma", "elastic.alpha"):
        own, spec = space[name], declared[name]
        assert own.low == spec.low and own.high == pytest.approx(spec.high * side / spec.side)
        assert own.default == pytest.approx(spec.default * side / spec.side)
    assert all(space[name] == declared[name] for name in space if not declared[name].side)


@BOTH
def test_trials_stay_in_the_ranges_of_their_images(plan_of: PlanOf) -> None:
    """The drawn, the proposed and the first ones; a crop moves an image of 8 pixels by one at most."""
    plan = plan_of(images(1, 8, 8))
    proposer = Proposer(plan, 0, greater=True, startup=8)
    asked = proposer.ask(range(20), 0)
    for made in asked:
        proposer.tell(made.number, made.strengths["affine.rotate"])
    made = [c.strengths for c in (*asked, *proposer.ask(range(20, 60), 0))] + [s for s, _, _ in draws(plan, 100, np.random.default_rng(0))]
    assert {strengths["random_crop.pad"] for strengths in made} == {0.0, 1.0}
    assert all(strengths.get("affine.flip", 0.0) == 0.0 for strengths in made)
    assert max(strengths["affine.translate"] for strengths in made) <= 0.125
    assert all(plan.space()[name].low <= value <= plan.space()[name].high for name, value in plan.likely_on.items())


@pytest.mark.parametrize("side", [*range(1, 10), 28, 31, 96])
def test_no_crop_is_tried_beyond_a_quarter_of_the_side(side: int) -> None:
    spec = of_network(images(1, side, side, rows=4)).space().get("random_crop.pad")
    assert (spec is None) == (side < 4)
    assert spec is None or (spec.high == max(1.0, side / 8) and spec.low == 1.0 and 1.0 <= spec.default <= spec.high <= side / 4)


@BOTH
@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 2, 30), (3, 1, 1)])
def test_images_too_small_for_a_pixel_are_not_shifted(plan_of: PlanOf, shape: tuple[int, ...]) -> None:
    plan = plan_of(images(*shape))
    assert "random_crop" not in plan.cocktail.labels and "random_crop.pad" not in plan.space()
    asked = plan_of(images(*shape), use=["RandomCrop"])
    assert (asked.space()["random_crop.pad"].low, asked.space()["random_crop.pad"].high) == (1.0, 1.0)


@BOTH
@pytest.mark.parametrize(
    ("use", "flipped"),
    [
        ([], False),
        (["Affine"], True),
        (["affine"], True),
        ([Affine(flip=0.5)], True),
        ([Affine(flip=tp.schedules.Cosine(0.5))], True),
        ([Affine(rotate=8.0, translate=0.06)], False),
        (["RandomCrop"], False),
    ],
)
def test_mirror_images_are_tried_where_they_are_asked_for(plan_of: PlanOf, use: list[Any], flipped: bool) -> None:
    plan = plan_of(images(3, 16, 16), use=use)
    assert ("affine.flip" in plan.space()) == flipped
    assert {"affine.rotate", "affine.translate", "affine.scale", "affine.stretch", "affine.shear"} <= set(plan.space())
    on = {c.strengths["affine.flip"] > 0 for c in Proposer(plan, 0, greater=True, startup=40).ask(range(40), 0)}
    assert on == ({True, False} if flipped else {False})


def test_only_what_can_change_the_meaning_of_a_row_waits_to_be_asked_for() -> None:
    waiting = {f"{name}.{field}" for name, cls in REGISTRY.items() for field, spec in cls.strengths().items() if spec.on_request}
    assert waiting == {"Affine.flip"}


def test_tables_have_the_declared_ranges() -> None:
    plan = of_network(Dataset(torch.randn(40, 6), torch.eye(2)[torch.arange(40) % 2], "classification"))
    assert (plan.ranges, plan.fixed) == ({}, {}) and plan.space() == plan.cocktail.specs()


def test_the_smallest_of_several_images_counts() -> None:
    x = {"front": torch.randn(40, 1, 32, 32), "back": torch.randn(40, 1, 32, 16), "num": torch.randn(40, 3)}
    data = Dataset(x, torch.eye(2)[torch.arange(40) % 2], "classification")

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(32 * 32 + 32 * 16 + 3, 2)

        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.last(torch.cat([leaf.flatten(1) for leaf in x.values()], 1))

    assert network_plans(lambda d: Both(), data)[0].space()["random_crop.pad"].high == 2.0


def test_what_is_asked_for_keeps_its_place() -> None:
    """Motions come before holes and mixtures, which would be moved too."""
    default = [Affine(), RandomCrop(), tp.CutOut()]
    own = Affine(flip=0.5)
    assert [type(r) for r in chosen_regularizers(default, [own, "Blur"], [])] == [Affine, RandomCrop, tp.CutOut, tp.Blur]
    assert chosen_regularizers(default, [own], [])[0] is own


def test_a_search_on_small_images_is_mild() -> None:
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(60, 1, 8, 8)).astype(np.float32), np.arange(60) % 2
    found = tp.search(lambda data: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), (X, y), trials=16, epochs=1, ensemble=1)
    table = found.table()
    assert (table["affine.flip"] == 0.0).all() and (table["affine.rotate"] > 0).any()
    assert set(table["random_crop.pad"]) == {0.0, 1.0}


@pytest.mark.parametrize(("side", "top"), [(8, 1.0), (32, 4.0)])
def test_curves_over_a_strength_in_pixels_end_where_the_images_do(side: int, top: float) -> None:
    X, y = np.random.default_rng(0).normal(size=(20, 1, side, side)).astype(np.float32), np.arange(20) % 2
    curve = tp.validation_curve(
        nn.Sequential(nn.Flatten(), nn.Linear(side * side, 2)), tp.Cocktail(RandomCrop()), (X, y), "random_crop.pad", points=2, seeds=1, epochs=1
    )
    assert curve["value"].tolist() == sorted({0.0, 1.0, top})


def test_a_bad_strength_in_pixels_is_told_for_which_images_the_useful_ones_are() -> None:
    with pytest.raises(tp.ConfigError, match=r"Use 0 to switch it off; useful values lie between 1 and 4 for images of 32 x 32 pixels\.$"):
        RandomCrop(-1.0)


def test_a_declaration_that_does_not_depend_on_the_size_stays() -> None:
    spec: StrengthSpec = Affine.strengths()["rotate"]
    assert spec.at(8) is spec and RandomCrop.strengths()["pad"].at(0) is RandomCrop.strengths()["pad"]
