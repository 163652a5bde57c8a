"""What a search says of the lengths of its runs."""

from __future__ import annotations

import pytest
from tests.search.small import ACCURACY, hold_out, small_plan, two_classes

from temperance.core.criterion import criterion_for
from temperance.search.budget import Clock
from temperance.search.engine import Engine
from temperance.search.few_runs import FewRuns
from temperance.search.notes import told
from temperance.search.programs import Programs
from temperance.search.settings import Settings
from temperance.search.study import Ledger


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ({}, 20.0, []),
        ({}, 12.0, []),
        ({}, 11.0, ["for the budget, full runs are shorter than advised: small 11 of 20 epochs; a longer budget may do better"]),
        (
            {"small": 5.0},
            10.0,
            [
                "for the budget, full runs are shorter than advised: small 5 of 20 epochs; a longer budget may do better",
                "the best trials were at their best at the end of a full run, so that later ones were longer: small 10 in place of 5 epochs",
            ],
        ),
    ],
)
def test_short_and_lengthened_runs_are_told(first: dict[str, float], last: float, said: list[str]) -> None:
    plans = [small_plan(epochs=20.0)]
    engine = Engine(plans, two_classes(), hold_out(), Settings(ACCURACY, criterion_for("classification")), Clock(60.0), Ledger(None, True), Programs(False))
    engine.first_epochs, engine.epochs = first, {"small": last}
    assert told(engine) == said
    engine.few = FewRuns(engine.plans[0], 1)  # which has a sentence of its own
    assert told(engine) == []
