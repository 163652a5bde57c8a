"""A range at whose end the best trials lie gets more room."""

from __future__ import annotations

import math

import pytest
from tests.search.small import hold_out, small_plan, two_classes

from temperance.core.cocktail import Cocktail
from temperance.core.strength import StrengthSpec, strengths_of
from temperance.regularizers import Dropout, RandomCrop, WeightDecay
from temperance.search.places import points_of
from temperance.search.search import search_plans
from temperance.search.space import Config, StaticPlan, as_params
from temperance.search.study import Proposer, widened

LAM, RATE = strengths_of(WeightDecay)["lam"], strengths_of(Dropout)["rate"]


def plan(**settings: object) -> StaticPlan:
    return small_plan(cocktail=Cocktail(WeightDecay(), Dropout()), **settings)


def told(made: StaticPlan, lam: float, others: float = 0.01, count: int = 12) -> Proposer:
    """A sampler that has seen a quarter of good trials with one decay, and others with another."""
    proposer = Proposer(made, 0, greater=True, startup=0)
    for i in range(count):
        good = i < count // 4
        strengths = {**{name: spec.off for name, spec in made.space().items()}, "weight_decay.lam": lam if good else others}
        proposer.adopt(Config(i, made, strengths, 0.01, i))
        proposer.tell(i, 1.0 if good else 0.1 * i / count)
    return proposer


def test_the_sampler_looks_beyond_an_end_where_the_best_trials_lie() -> None:
    made = plan()
    proposer = told(made, LAM.high)
    new = proposer.ask(range(12, 52), 0)
    assert made.space()["weight_decay.lam"].high == pytest.approx(LAM.high * (LAM.high / LAM.low) ** 0.25) and set(proposer.widened) == {"weight_decay.lam"}
    assert max(c.strengths["weight_decay.lam"] for c in new) > LAM.high
    assert max(as_params(c).get("weight_decay.lam", 0.0) for c in new) > LAM.high, "what is written is what was tried"
    assert points_of(made, [{**new[0].strengths, "weight_decay.lam": LAM.high}], [0.01], [0]).values[0, 0] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("lam", "others", "count", "closed"),
    [(1.0, 0.01, 12, False), (0.01, LAM.high, 12, False), (LAM.high, 0.01, 6, False), (LAM.high, 0.01, 12, True)],
    ids=["within the range", "only the worst ones", "few trials", "a range that is closed"],
)
def test_else_the_range_stays(lam: float, others: float, count: int, closed: bool) -> None:
    made = plan(closed=closed)
    proposer = told(made, lam, others, count)
    proposer.ask(range(count, count + 4), 0)
    assert made.space()["weight_decay.lam"] == LAM and not proposer.widened


def test_dropped_trials_do_not_widen() -> None:
    made = plan()
    proposer = Proposer(made, 0, greater=True, startup=0)
    for i in range(12):
        proposer.adopt(Config(i, made, {"weight_decay.lam": LAM.high, "dropout.rate": 0.0, "dropout.input_rate": 0.0}, 0.01, i))
        proposer.tell(i, 1.0, pruned=True)
    proposer.ask(range(12, 16), 0)
    assert made.space()["weight_decay.lam"] == LAM


@pytest.mark.parametrize(("spec", "high"), [(LAM, LAM.high * (LAM.high / LAM.low) ** 0.25), (RATE, RATE.high + 0.25 * (RATE.high - RATE.low))])
def test_a_quarter_is_added_on_the_scale_of_the_range(spec: StrengthSpec, high: float) -> None:
    grown = widened(spec, [spec.high, spec.high])
    assert grown is not None and grown.high == pytest.approx(high) and grown.low == spec.low


def test_what_is_not_legal_is_never_reached() -> None:
    spec: StrengthSpec | None = RATE
    for _ in range(40):
        assert spec is not None and math.isfinite(spec.high) and spec.high < 1.0
        spec = widened(spec, [spec.high, spec.high])


def test_sizes_in_pixels_stay_within_the_image() -> None:
    pad = strengths_of(RandomCrop)["pad"]
    assert widened(pad, [pad.high] * 4) is None


def test_a_search_leaves_the_plans_that_it_is_given_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temperance.search.study.AT_END", -1.0)  # every value lies at its end
    monkeypatch.setattr("temperance.search.study.ENOUGH_TO_WIDEN", 1)
    made = small_plan()
    found = search_plans([made], two_classes(), trials=60, split=hold_out(), metric="accuracy", seed=1, retrain=None)
    assert any("was widened" in note for note in found.notes)
    assert made.ranges == {}
