"""Population-based training: the worst copy the best, and numbers move a little or are drawn anew."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.search.small import config, hold_out, small_plan, two_classes, two_folds

from temperance.search import Search, search_plans
from temperance.search.evolve import FACTORS, Evolve

DATA = two_classes()


def find(**settings: Any) -> Search:
    return search_plans([small_plan(epochs=12.0)], DATA, **{"trials": 24, "split": hold_out(), "retrain": None, "strategy": "pbt", **settings})


def test_the_worst_go_on_from_the_best() -> None:
    found = find()
    copies = [t for t in found.trials if t.parent is not None]
    assert len(copies) >= 8 and len(found.trials) == 24
    for trial in copies:
        parent = trial.parent
        assert parent is not None and parent.config.plan is trial.config.plan
        epoch = trial.history()[0]["epoch"]
        assert parent.history()[0]["epoch"] < epoch
        assert trial.config.strengths != parent.config.strengths or trial.config.lr != parent.config.lr
    ended = [t for t in found.trials if t.status.startswith("dropped")]
    assert len(ended) == len(copies)
    full = [t for t in found.trials if t.status == "finished"]
    assert {t.outcomes[0].steps for t in full} == {max(t.outcomes[0].steps for t in full)}


def test_it_repeats_and_goes_over_folds() -> None:
    assert repr(find().table().to_dict("list")) == repr(find().table().to_dict("list"))
    folded = find(split=two_folds(), trials=12)
    assert all(len(t.outcomes) == 2 for t in folded.trials)
    assert any(t.parent is not None for t in folded.trials)


def test_a_copy_that_wins_is_refitted() -> None:
    found = find(retrain="same_epochs", seed=3)
    assert found.refit.how == "same_epochs"
    assert 0 <= found.score["value"] <= 1


def test_numbers_are_perturbed_or_drawn_anew_within_their_ranges() -> None:
    plan = small_plan()
    evolve = Evolve()
    evolve.random = np.random.default_rng(0)
    base = config(plan, 0, lr=0.02, dropout__rate=0.2, weight_decay__lam=0.1)
    made = [evolve.explored(base, 1 + i, 1.0, frozenset({"ema.decay"})) for i in range(400)]
    specs = plan.cocktail.specs()
    moved = {base.lr * f for f in FACTORS}
    for one in made:
        assert plan.lr[0] <= one.lr <= plan.lr[1]
        assert one.strengths["ema.decay"] == specs["ema.decay"].off
        assert all(v == specs[k].off or specs[k].low <= v <= specs[k].high for k, v in one.strengths.items())
    share = np.mean([one.lr in moved for one in made])
    assert abs(share - 0.75) < 4 * (0.75 * 0.25 / 400) ** 0.5
