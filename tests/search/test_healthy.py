"""In a healthy search no trial diverges, whatever kinds of columns a table has."""

from __future__ import annotations

import numpy as np
import pytest

from temperance.data import TargetEncoder, plan_split, table_dataset
from temperance.search.plans import tabular_plans
from temperance.search.search import search_plans

COLUMNS = {"numbers": ["a", "b"], "words": ["c", "d"], "both": ["a", "b", "c", "d"]}


@pytest.mark.parametrize("kinds", list(COLUMNS))
def test_no_trial_diverges(kinds: str) -> None:
    generator = np.random.default_rng(0)
    table = {
        "a": generator.normal(size=90),
        "b": generator.normal(size=90),
        "c": generator.choice(["x", "y", "z"], 90),
        "d": generator.choice(list("abcdefghijkl"), 90),
    }
    frame = {name: table[name] for name in COLUMNS[kinds]}
    frame["target"] = np.where(generator.random(90) < 0.5, "yes", "no")
    encoder = TargetEncoder().fit(frame["target"])
    split = plan_split(encoder.encode(frame["target"])[0], encoder.task, seed=0, folds=2)
    data, _, _ = table_dataset(frame, "target", fit_rows=split.train)
    plans = tabular_plans(data, split.folds[0][0].tolist())
    for plan in plans:
        object.__setattr__(plan, "epochs", 2.0)
    found = search_plans(plans, data, trials=16, seed=0, split=split, retrain=None)
    assert {t.status.split(" ")[0].rstrip(":") for t in found.trials} <= {"finished", "dropped", "stopped"}
    assert any(t.config.strengths["cutmix.p"] > 0 for t in found.trials)
