"""Numbers as a reader expects them."""

from __future__ import annotations

import pytest

from temperance.report import words
from temperance.report.svg import Scale, scale_for, tick_labels
from temperance.search.strategy import STRATEGIES
from temperance.train.metrics import METRICS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1e-4, "10⁻⁴"),
        (2.345e-5, "2.35 × 10⁻⁵"),
        (0.25, "0.25"),
        (-3.0, "−3"),
        (48842, "48,842"),
        (1.5e7, "1.5 × 10⁷"),
        (0.9996, "1"),
        ("inf", "∞"),
        (float("nan"), "–"),
        (None, "–"),
        (True, "yes"),
        ("cosine", "cosine"),
    ],
)
def test_number(value: object, text: str) -> None:
    assert words.number(value) == text


def test_decimals_follow_the_interval() -> None:
    assert words.decimals_for([0.866], [0.014]) == 3
    assert words.decimals_for([0.86], [0.14]) == 2
    assert words.decimals_for([48213.0], [2500.0]) == 0
    assert words.decimals_for([0.1234]) == 3
    assert words.decimals_for([]) == 2
    assert words.fixed(-0.0001, 2) == "0.00"


@pytest.mark.parametrize(("seconds", "text"), [(0.01, "< 0.1 s"), (0.31, "0.3 s"), (59.7, "1 min"), (118, "1 min 58 s"), (7320, "2 h 2 min"), (None, "–")])
def test_duration(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_names_and_sentences() -> None:
    assert words.metric_axis("rmse", "k$") == "RMSE (k$)"
    assert words.article("R²") == "an R²" and words.article("log-loss") == "a log-loss"
    assert all(words.greater_is_better(name) is made[0].greater_is_better and words.metric_unit(name) for name, made in METRICS.items())
    assert not any(map(words.greater_is_better, ("mean_absolute_error", "brier", "ece", "mse"))) and words.greater_is_better("f1")
    assert words.date("2026-11-20T06:00:00Z") == "20 November 2026, 06:00 UTC" and words.date("soon") == "soon"
    assert words.listing(["a"]) == "a" and words.listing(["a", "b", "c"]) == "a, b and c"
    assert words.sentence("fine") == "Fine." and words.stopped("x1 is odd!") == "x1 is odd!"


@pytest.mark.parametrize(
    "scale",
    [Scale(0.0, 1.0, 0, 100), Scale(0.8437, 0.8441, 0, 100), Scale(1e-7, 0.1, 0, 100, True), Scale(0.5, 10, 0, 100, True), Scale(2.01, 2.09, 0, 100, True)],
)
def test_ticks_are_few_distinct_and_inside(scale: Scale) -> None:
    ticks = scale.ticks(5)
    labels = tick_labels(ticks, scale.log)
    assert 1 <= len(ticks) <= 7 and len(set(labels)) == len(labels)
    assert all(0 - 1e-6 <= scale(t) <= 100 + 1e-6 for t in ticks)


@pytest.mark.parametrize("values", [[], [3.0], [0.0], [float("nan")], [1.0, 1.0], [-2.0, 5.0]])
@pytest.mark.parametrize("log", [False, True])
def test_scales_survive_few_values(values: list[float], log: bool) -> None:
    scale = scale_for(values, 0, 100, log=log)
    assert scale.low < scale.high and scale.ticks()


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_is_put_into_words(name: str) -> None:
    assert words.strategy(name).startswith(f"{name}: ")
