"""The space follows from the strengths: draws, Optuna's parameters and configurations say the same."""

from __future__ import annotations

import json
import math

import numpy as np
import optuna
import pytest
from tests.search.small import config, small_plan

from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError
from temperance.core.schedule import FlatCosine
from temperance.regularizers import EMA, L1, SWA, Dropout, Lookahead, MaxNorm, MixUp, WeightDecay
from temperance.search.plans import default_regularizers
from temperance.search.space import Config, as_params, chosen_regularizers, default_strengths, draw, one_average, suggest

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


def test_parameters_of_a_drawn_configuration_suggest_it_again() -> None:
    """as_params and suggest are inverse to each other, switched-off strengths included."""
    generator = np.random.default_rng(1)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(20):
        strengths, rate, length = draw(generator, WIDE)
        made = Config(number, WIDE, strengths, rate, 7, length)
        study.enqueue_trial(as_params(made))
        trial = study.ask()
        assert suggest(trial, WIDE) == (strengths, rate, length)
        assert trial.params == as_params(made)


def test_a_suggested_configuration_round_trips_and_off_is_the_off_value() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    specs = WIDE.cocktail.specs()
    seen: set[tuple[str, bool]] = set()
    for number in range(20):
        trial = study.ask()
        strengths, rate, length = suggest(trial, WIDE)
        for name, spec in specs.items():
            on = trial.params[f"{name}.on"]
            seen.add((name, on))
            assert spec.low <= strengths[name] <= spec.high if on else strengths[name] == spec.off
            assert (name in trial.params) == on
        made = Config(number, WIDE, strengths, rate, 7, length)
        assert as_params(made) == trial.params
    assert seen == {(name, on) for name in specs for on in (True, False)}


def test_one_length_is_no_parameter() -> None:
    plan = small_plan()
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    assert suggest(trial, plan)[2] == 1.0
    assert "length" not in trial.params
    assert "length" not in as_params(config(plan, 0))


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


@pytest.mark.parametrize(("use", "without"), [(["Dropot"], []), ([], ["Dropot"])])
def test_unknown_names_are_refused_with_near_ones(use: list[str], without: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"'?Dropot'?(.|\n)*Dropout"):
        chosen_regularizers(default_regularizers("classification"), use, without)


@pytest.mark.parametrize("use", ["L1", L1(0.1)])
def test_both_wanted_and_unwanted_is_refused(use: str | L1) -> None:
    with pytest.raises(ConfigError, match=r"L1 is both in `use` and in `without`\. Choose one\."):
        chosen_regularizers([], [use], ["L1"])
