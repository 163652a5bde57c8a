"""The space follows from the strengths: draws, Optuna's parameters and configurations say the same."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.search.small import config, small_plan
from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError
from temperance.core.schedule import FlatCosine
from temperance.data.dataset import Dataset
from temperance.regularizers import EMA, L1, SWA, Dropout, Lookahead, MaxNorm, MixUp, WeightDecay
from temperance.search.places import numbers_of, points_of
from temperance.search.plans import default_regularizers, network_plans
from temperance.search.space import Config, as_params, chosen_regularizers, default_strengths, draw, one_average

WIDE = small_plan(cocktail=Cocktail(Dropout(), WeightDecay(), MaxNorm(), L1()), lengths=(0.25, 0.5, 1.0))


def test_draws_lie_in_the_declared_ranges_and_are_mild() -> None:
    generator = np.random.default_rng(0)
    specs = WIDE.cocktail.specs()
    drawn = [draw(generator, WIDE) for _ in range(500)]
    for name, spec in specs.items():
        values = [strengths[name] for strengths, _, _ in drawn]
        on = [value for value in values if value != spec.off]
        assert all(spec.low <= value <= spec.high for value in on)
        assert 0.28 < len(on) / len(values) < 0.42
        assert np.mean([value < (math.sqrt(spec.low * spec.high) if spec.log else (spec.low + spec.high) / 2) for value in on]) == pytest.approx(0.5, abs=0.13)
    rates = [rate for _, rate, _ in drawn]
    assert min(rates) >= WIDE.lr[0] and max(rates) <= WIDE.lr[1]
    assert {length for _, _, length in drawn} == {0.25, 0.5, 1.0}


def test_parameters_are_those_that_are_on() -> None:
    generator = np.random.default_rng(1)
    specs = WIDE.cocktail.specs()
    seen: set[tuple[str, bool]] = set()
    for number in range(20):
        strengths, rate, length = draw(generator, WIDE)
        params = as_params(Config(number, WIDE, strengths, rate, 7, length))
        for name, spec in specs.items():
            on = params[f"{name}.on"]
            seen.add((name, on))
            assert on == (strengths[name] != spec.off) == (name in params)
            assert not on or params[name] == strengths[name]
        assert (params["learning_rate"], params["length"]) == (rate, length)
    assert seen == {(name, on) for name in specs for on in (True, False)}


def test_one_length_is_no_parameter() -> None:
    assert "length" not in as_params(config(small_plan(), 0))


def test_configuration_carries_its_strengths_learning_rate_and_length() -> None:
    made = config(WIDE, 4, lr=0.02, length=0.5, dropout__rate=0.3)
    assert {name: r.is_off() for name, r in made.cocktail.items()} == {"dropout": False, "weight_decay": True, "maxnorm": True, "l1": True}
    assert made.cocktail.strengths()["dropout.rate"] == 0.3
    assert made.cocktail.strengths()["maxnorm.c"] == math.inf
    assert made.optimizer.hypers()["lr"] == 0.02
    assert isinstance(made.optimizer.lr, FlatCosine)
    member = made.member()
    assert (member.seed, member.length, member.name) == (7, 0.5, "trial 4")
    told = made.to_dict()
    assert (told["trial"], told["plan"], told["learning_rate"], told["length"], told["seed"]) == (4, "small", 0.02, 0.5, 7)
    assert json.loads(json.dumps({**told, "strengths": None}))["trial"] == 4


def test_default_strengths_are_on_for_the_named_alone() -> None:
    strengths = default_strengths(WIDE.cocktail, ["dropout"])
    specs = WIDE.cocktail.specs()
    assert strengths == {name: spec.default if name == "dropout.rate" else spec.off for name, spec in specs.items()}


def test_of_several_averages_the_last_stays() -> None:
    cocktail = Cocktail(Dropout(), EMA(0.9), SWA(0.5))
    specs = cocktail.specs()
    kept = one_average(cocktail, cocktail.strengths())
    assert all(kept[name] == spec.off for name, spec in specs.items() if name.startswith("ema."))
    assert {name: value for name, value in kept.items() if not name.startswith("ema.")} == {
        name: value for name, value in cocktail.strengths().items() if not name.startswith("ema.")
    }
    alone = {**cocktail.strengths(), **{name: spec.off for name, spec in specs.items() if name.startswith("swa.")}}
    assert one_average(cocktail, alone) == alone


def test_use_adds_replaces_and_without_leaves_out() -> None:
    default = default_regularizers("classification")
    assert [type(r) for r in chosen_regularizers(default, (), ())] == [type(r) for r in default]
    assert "LabelSmoothing" not in [type(r).__name__ for r in default_regularizers("regression")]
    own = Dropout(0.7)
    chosen = chosen_regularizers(default, ["Lookahead", "max_norm", own], ["MixUp"])
    kinds = [type(r) for r in chosen]
    assert Lookahead in kinds and MaxNorm in kinds and MixUp not in kinds
    assert kinds.count(Dropout) == 1 and own in chosen
    assert len(chosen) == len(default) + 1


@pytest.mark.parametrize(("shape", "found"), [((6,), 0), ((1, 4, 5), 3), ((3, 4, 5), 4)])
def test_images_are_augmented_and_tables_are_not(shape: tuple[int, ...], found: int) -> None:
    """CutOut, which tables can take too, is a default for images only; colors need channels."""
    data = Dataset(torch.randn(40, *shape), torch.eye(2)[torch.arange(40) % 2], "classification")

    def kinds(**settings: Any) -> list[str]:
        plan = network_plans(lambda d: nn.Sequential(nn.Flatten(), nn.Linear(d.in_features, 2)), data, **settings)[0]
        assert set(plan.likely_on) <= set(plan.cocktail.specs())
        return [type(r).__name__ for r in plan.cocktail]

    names = kinds()
    augmenting = [name for name in ("Affine", "RandomCrop", "ColorJitter", "CutOut") if name in names]
    assert len(augmenting) == found and "MixUp" in names
    if not found:
        with pytest.raises(ConfigError, match=r"^Blur changes images"):
            kinds(use=["Blur"])
    else:
        assert "Blur" in kinds(use=["Blur"]) and "Affine" not in kinds(without=["affine"])


@pytest.mark.parametrize(("use", "without"), [(["Dropot"], []), ([], ["Dropot"])])
def test_unknown_names_are_refused_with_near_ones(use: list[str], without: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"'?Dropot'?(.|\n)*Dropout"):
        chosen_regularizers(default_regularizers("classification"), use, without)


@pytest.mark.parametrize("use", ["L1", L1(0.1)])
def test_both_wanted_and_unwanted_is_refused(use: str | L1) -> None:
    with pytest.raises(ConfigError, match=r"L1 is both in `use` and in `without`\. Choose one\."):
        chosen_regularizers([], [use], ["L1"])


def test_a_plan_may_have_ranges_of_its_own() -> None:
    """The prior, the places of the sampler and the study use them; numbers on a range of one point have its value."""
    specs = WIDE.cocktail.specs()
    ranges = {"dropout.rate": replace(specs["dropout.rate"], low=0.7, high=0.9), "l1.lam": replace(specs["l1.lam"], low=0.25, high=0.25, log=False)}
    plan = replace(WIDE, ranges=ranges)
    generator = np.random.default_rng(0)
    drawn = [draw(generator, plan)[0] for _ in range(200)]
    rates, lams = ({one[name] for one in drawn if one[name] != 0.0} for name in ("dropout.rate", "l1.lam"))
    assert len(rates) > 20 and 0.7 <= min(rates) < max(rates) <= 0.9
    assert lams == {0.25}
    points = points_of(plan, drawn, [plan.lr[0]] * 200, [0] * 200)
    again = [numbers_of(plan, points, i)[0] for i in range(200)]
    assert [one["dropout.rate"] for one in again] == pytest.approx([one["dropout.rate"] for one in drawn])
    assert [one["l1.lam"] for one in again] == [one["l1.lam"] for one in drawn]
    assert max(as_params(config(plan, i, dropout__rate=0.8)).get("dropout.rate", 0.0) for i in range(2)) == 0.8
    assert WIDE.space() == specs


def test_of_what_excludes_each_other_one_stays_by_turns() -> None:
    plan = replace(WIDE, one_of=("dropout", "weight_decay", "l1"))
    specs = plan.cocktail.specs()
    everything = {name: spec.default for name, spec in specs.items()}
    kept = [
        [label for label in plan.one_of if any(plan.admitted(everything, n)[f"{label}.{f}"] != s.off for f, s in plan.cocktail[label].strengths().items())]
        for n in range(4)
    ]
    assert kept == [["dropout"], ["weight_decay"], ["l1"], ["dropout"]]
    assert plan.admitted(everything, 5)["maxnorm.c"] == everything["maxnorm.c"]
    two = {**everything, "l1.lam": 0.0}
    assert [plan.admitted(two, n)["weight_decay.lam"] for n in range(2)] == [0.0, everything["weight_decay.lam"]]
    none = {name: spec.off for name, spec in specs.items()}
    assert plan.admitted(none, 3) == none


def test_fixed_strengths_are_set_where_their_regularizer_is_on() -> None:
    plan = replace(WIDE, fixed={"dropout.input_rate": 0.1, "maxnorm.c": 2.0})
    assert "dropout.input_rate" not in plan.space() and "maxnorm.c" not in plan.space()
    off = {name: spec.off for name, spec in WIDE.cocktail.specs().items()}
    assert plan.admitted(off, 0) == {**off, "maxnorm.c": 2.0}
    assert plan.admitted({**off, "dropout.rate": 0.3}, 0) == {**off, "dropout.rate": 0.3, "dropout.input_rate": 0.1, "maxnorm.c": 2.0}
