"""Sentences of the first screen, from small summaries."""

from __future__ import annotations

from typing import Any

import pytest

from temperance.report import answers
from temperance.report.facts import Facts


@pytest.mark.parametrize(("classes", "told"), [(["no", "yes"], "no or yes"), (["a", "b", "c"], "one of 3 classes"), ([], "a class")])
def test_what_is_predicted_and_from_how_many_columns(classes: list[str], told: str) -> None:
    columns = [{"name": "x", "kind": "number"}, {"name": "id", "kind": "ignored"}, {"name": "y", "kind": "category"}, {"name": "z", "kind": "category"}]
    facts = Facts({"target": "y", "task": "classification", "data": {"classes": classes, "columns": columns, "rows": 90}})
    assert answers.task(facts) == f"Predicted: y, {told}, from 2 columns (90 rows)."


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("worse", "It is worse than majority class: do not use it as it is."),
        ("too close to tell", "It is not shown to be better than majority class: do not use it as it is."),
        ("better", ""),
    ],
)
def test_a_rule_that_ignores_the_columns_is_told_where_it_is_not_beaten(answer: str, told: str) -> None:
    one: dict[str, Any] = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}
    rival = {"name": "majority class", "test": one, "difference": {"value": 0.0, "low": -0.02, "high": 0.02, "answer": answer}}
    assert answers.beside(Facts({"target": "y", "scores": {"test": one, "n_test": 90}, "rivals": [rival]})) == told


def test_a_strength_that_is_off_is_not_in_the_cocktail() -> None:
    rows = [
        {"regularizer": "Dropout", "strength": "rate", "value": 0.25, "off": 0.0},
        {"regularizer": "L2", "strength": "lam", "value": 0.0, "off": 0.0},
        {"regularizer": "MaxNorm", "strength": "c", "value": "inf", "off": float("inf")},
    ]
    found = answers.brew(Facts({"cocktail": {"rows": rows}}))
    assert found is not None and found["items"] == [("Dropout", "rate 0.25")]


@pytest.mark.parametrize(("test", "told"), [(20, "20 kept for the final score"), (0, "none kept apart")])
def test_how_the_rows_were_divided(test: int, told: str) -> None:
    assert answers.rows(Facts({"data": {"split": {"train": 60, "validation": 20, "test": test}}})).endswith(told)
