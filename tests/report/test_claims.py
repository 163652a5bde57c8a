"""What the report says of the trials is true of the trials: facts are drawn, sentences are read back and counted again."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from temperance.report import verdicts
from temperance.report.facts import Facts, shipped
from temperance.report.rounding import Rounding, rounding
from temperance.report.sections import search, stopping
from temperance.report.trials import state_of
from temperance.report.tried import of_summary, ran

NAMES = ("L2", "Dropout", "MixUp", "MaxNorm")
OFF: dict[str, Any] = {"L2": 0.0, "Dropout": 0.0, "MixUp": 0.0, "MaxNorm": "inf"}
ENDS = (
    "finished",
    "stopped: no improvement for 20 evals",
    "dropped at epoch 1",
    "diverged at step 5: loss is nan",
    "out of time",
    "interrupted",
    "not started",
)


@st.composite
def fits(draw: Any) -> dict[str, Any]:
    """A summary of a few trials: how each ended, and which regularizers it had on; the first is the winner."""
    table: list[dict[str, Any]] = []
    for k in range(draw(st.integers(1, 6))):
        end = draw(st.sampled_from(ENDS if k else ENDS[:2]))
        score = None if end.startswith(("diverged", "not")) else draw(st.floats(0, 1))
        on = draw(st.sets(st.sampled_from(NAMES)))
        strengths = {f"{name.lower()}.s": 0.5 if name in on else OFF[name] for name in NAMES}
        table.append({"trial": k, "status": end, "score": score, "epochs": 0.0 if score is None else 3.0, "strengths": strengths})
    rows = [{"regularizer": n, "strength": "s", "key": f"{n.lower()}.s", "value": table[0]["strengths"][f"{n.lower()}.s"], "off": OFF[n]} for n in NAMES]
    return {"cocktail": {"rows": rows}, "search": {"trials": len(table), "table": table, "space": rows, "metric": "accuracy"}}


def on_in(row: dict[str, Any]) -> set[str]:
    return {name for name in NAMES if row["strengths"][f"{name.lower()}.s"] == 0.5}


@given(fits())
def test_what_was_tried_is_what_a_trial_that_ran_had_on(summary: dict[str, Any]) -> None:
    used, began = of_summary(summary), [row for row in summary["search"]["table"] if row["status"] != "not started"]
    text = " ".join(used.said)
    assert set(used.on) == on_in(summary["search"]["table"][0])
    assert used.trials == len(began)
    for name in set(NAMES) - set(used.on):
        n = sum(name in on_in(row) for row in began)
        never = re.search(r"Never tried in [^:]*: ([^.]*)\.", text)
        told = re.search(rf"\b{name} \(on in (\d+)\)", text)
        assert (told is not None and int(told[1]) == n) if n else (told is None and never is not None and name in never[1])
    for name in used.on:
        assert name not in text
    assert f"{len(began)} trials" in text or "the only trial" in text or "trials" not in text
    if not used.on:
        assert ("chosen" in used.head) == (len(began) > 1 and any(on_in(row) for row in began))


@given(fits())
def test_trials_are_counted_by_their_ends(summary: dict[str, Any]) -> None:
    table = summary["search"]["table"]
    told = search(Facts(summary))
    assert told is not None
    began = sum(row["status"] != "not started" for row in table)
    assert told["said"].startswith(f"{began} trial{'s' if began != 1 else ''} ran")
    assert ("not started" in told["said"]) == (began < len(table))
    if len(table) > 1 and any(state_of(row["status"], row["score"]) not in ("finished", "not started") for row in table):
        for state in ("finished", "cut short", "dropped", "diverged"):
            n = sum(state_of(row["status"], row["score"]) == state for row in table)
            assert (f"{n} {state}" in told["said"]) == (n > 0)
    assert ("optimistic" in told["note"]) == (sum(row["score"] is not None for row in table) > 1)


@pytest.mark.parametrize(
    ("status", "score", "state"),
    [
        ("stopped: no improvement for 20 evals", 0.5, "finished"),
        ("stopped: the best possible score", 1.0, "finished"),
        ("finished", 0.5, "finished"),
        ("out of time", 0.5, "cut short"),
        ("interrupted", 0.5, "cut short"),
        ("dropped after the head start", 0.5, "dropped"),
        ("diverged at step 3: loss is nan", None, "diverged"),
        ("finished", None, "no score"),
        ("not started", None, "not started"),
    ],
)
def test_a_trial_is_what_its_status_says(status: str, score: float | None, state: str) -> None:
    assert state_of(status, score) == state
    assert ran({"status": status, "score": score, "epochs": 1.0 if score is not None else 0.0}) == (state not in ("not started", "no score"))


numbers = st.floats(-1, 1).map(lambda v: round(v, 4))


@given(numbers, numbers, st.integers(1, 400))
def test_an_answer_is_what_its_interval_says(a: float, b: float, n: int) -> None:
    low, high = min(a, b), max(a, b)
    found = verdicts.answer({"value": (a + b) / 2, "low": low, "high": high}, n)
    assert found == ("yes" if low > 0 and n >= 20 else "no" if high < 0 and n >= 20 else verdicts.TOO_CLOSE)
    assert verdicts.answer({"value": a, "low": None, "high": None}, n) == verdicts.TOO_CLOSE


def test_what_was_not_measured_is_not_answered() -> None:
    shown = Rounding(3, 3)
    assert verdicts.helped({}, "accuracy", shown) is None
    unknown = verdicts.helped({"answer": None, "why": "no rows were kept apart"}, "accuracy", shown)
    assert unknown == {"head": "Not measured", "text": "No rows were kept apart."}
    plain = verdicts.helped({"answer": "no", "why": "every strength is off"}, "accuracy", shown)
    assert plain == {"head": "No", "text": "Every strength is off."}
    gap = verdicts.overfits({"answer": None, "train": 0.9, "held": 0.8, "value": 0.1, "rows": "validation"}, "accuracy", shown)
    assert gap is not None and gap["head"] == "Not measured on test rows" and "0.800 on validation rows" in gap["text"] and "untouched" not in gap["text"]
    few = verdicts.helped({"answer": verdicts.TOO_CLOSE, "value": 0.1, "low": 0.05, "high": 0.2, "with": 0.9, "without": 0.8, "n": 12}, "accuracy", shown)
    assert few is not None and few["head"] == "Too close to tell" and "fewer than 20 rows" in few["text"]


@given(st.floats(0.05, 0.99), st.floats(1e-4, 0.2), st.floats(1e-4, 0.1))
def test_one_number_of_decimals_for_all_scores(value: float, half: float, wide: float) -> None:
    table = {"accuracy": {"value": value, "low": value - half, "high": value + half}}
    found = rounding({"scores": {"test": table}, "rivals": [{"difference": {"value": half, "low": half - wide, "high": half + wide}}]}, "accuracy")
    assert 3 <= found.decimals <= 5 and found.decimals <= found.fine <= found.decimals + 1
    assert math.isclose(float(found.score(value)), value, abs_tol=0.5 * 10**-found.decimals + 1e-12)
    assert found.signed(0.0) == f"{0:.{found.fine}f}" and found.signed(-0.1).startswith("−") and found.signed(0.1).startswith("+")


@pytest.mark.parametrize(
    ("kind", "n", "text"),
    [
        ("one", 1, "the network"),
        ("seeds", 4, "the average of 4 networks with the chosen cocktail"),
        ("folds", 5, "one per fold"),
        ("greedy", 2, "of 2 configurations"),
    ],
)
def test_the_model_that_ships_is_named(kind: str, n: int, text: str) -> None:
    assert text in shipped({"ensemble": {"kind": kind, "networks": n, "configurations": 2}})


def test_retraining_is_told_only_where_it_was_done() -> None:
    assert "trained again" not in stopping(Facts({"stopping": {"best_step": 3, "retrain": "none"}}))
    assert "for as many epochs as the best check" in stopping(Facts({"stopping": {"best_step": 3, "retrain": "same_epochs"}}))
