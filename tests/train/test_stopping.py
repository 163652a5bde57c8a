"""Early stopping as a pure function of the history: properties, and an independent transcription."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

import temperance as tp

scores_ = st.lists(st.floats(-10, 10, allow_nan=False).map(lambda v: round(v, 2)), min_size=1, max_size=25)
with_gaps = st.lists(
    st.one_of(st.floats(-10, 10).map(lambda v: round(v, 1)), st.just(math.nan), st.just(math.inf), st.just(-math.inf)), min_size=1, max_size=25
)


def decide(rule: tp.EarlyStopping, scores: list[float], greater: bool, per_epoch: float = 1.0, optimum: float | None = None) -> Any:
    n = len(scores)
    return rule.decide(scores, [(i + 1) / per_epoch for i in range(n)], [10 * (i + 1) for i in range(n)], greater=greater, optimum=optimum)


def transcribed(scores: list[float], greater: bool, patience: int, atol: float, rtol: float) -> tuple[int, int | None]:
    """The usual loop with its state: best index, and the check at which it would stop first."""
    best = anchor = None
    at = None
    for i, s in enumerate(scores):
        sign = 1.0 if greater else -1.0
        if best is None or sign * s > sign * scores[best]:
            best = i
        if anchor is None or sign * s - sign * scores[anchor] > max(atol, rtol * abs(scores[anchor])):
            anchor = i
        elif at is None and i - anchor >= patience:
            at = i
    assert best is not None
    return best, at


@given(scores_, st.booleans(), st.integers(1, 6), st.sampled_from([0.0, 0.5]), st.sampled_from([0.0, 0.1, 0.5]))
def test_against_the_usual_loop(scores: list[float], greater: bool, patience: int, atol: float, rtol: float) -> None:
    rule = tp.EarlyStopping(patience=f"{patience} evals", atol=atol, rtol=rtol)
    verdicts = [decide(rule, scores[: i + 1], greater) for i in range(len(scores))]
    best, at = transcribed(scores, greater, patience, atol, rtol)
    assert verdicts[-1].best == best
    stops = [i for i, v in enumerate(verdicts) if v.stop]
    assert (stops[0] if stops else None) == at


@given(scores_, st.integers(1, 6), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.2]))
def test_both_directions_are_mirror_images(scores: list[float], patience: int, atol: float, rtol: float) -> None:
    """The sign of scores has no say: a negated history in the other direction gives the same verdict, the relative threshold too."""
    rule = tp.EarlyStopping(patience=f"{patience} evals", atol=atol, rtol=rtol)
    assert decide(rule, scores, True) == decide(rule, [-s for s in scores], False)


@pytest.mark.parametrize("base", [-100.0, 100.0])
@pytest.mark.parametrize("greater", [True, False])
def test_the_relative_threshold_means_the_same_for_either_sign(base: float, greater: bool) -> None:
    """An improvement by half a per cent does not count against one per cent, one by two per cent does."""
    rule = tp.EarlyStopping(patience="2 evals", rtol=0.01)
    sign = 1.0 if greater else -1.0
    for change, counts in ((0.5, False), (2.0, True)):
        verdict = decide(rule, [base, base + sign * change, base + sign * 2 * change], greater)
        assert verdict.stop is (not counts)
        assert verdict.best == 2  # the best state moves on every strict improvement


@given(with_gaps, st.booleans())
def test_purity_and_no_latch(scores: list[float], greater: bool) -> None:
    """The verdict is a function of the history: asked twice, or after other questions, it is the same; an improvement undoes a stop."""
    rule = tp.EarlyStopping(patience="3 evals", rtol=0.1)
    first = decide(rule, scores, greater)
    for other in (scores[::-1], [0.0] * 20):
        decide(rule, other, greater)
    assert decide(rule, scores, greater) == first
    better = [*scores, 1e6 if greater else -1e6]
    if all(math.isfinite(s) or s != s for s in scores):
        assert not decide(rule, better, greater).stop


@given(with_gaps, st.booleans())
def test_numbers_that_are_none_never_win(scores: list[float], greater: bool) -> None:
    verdict = decide(tp.EarlyStopping(), scores, greater)
    usable = [s for s in scores if s == s]
    if not usable:
        assert (verdict.best, verdict.stop) == (-1, False)
    else:
        assert scores[verdict.best] == (max(usable) if greater else min(usable))
        assert scores.index(scores[verdict.best]) == verdict.best  # the first of equals


def test_patience_after_an_infinite_loss() -> None:
    """From an overflowed first check any number is an improvement, with a relative threshold too."""
    rule = tp.EarlyStopping(patience="2 evals", rtol=0.1)
    assert not decide(rule, [math.inf, 5.0, 3.0], False).stop
    assert decide(rule, [math.inf, 5.0, 4.9, 4.8], False).stop


@pytest.mark.parametrize(
    ("patience", "stops_at"), [("4 evals", 4), ("2 epochs", 4), ("2.5 epochs", 5), (40, 4), ("35 steps", 4), ("1 eval", 1), ("1 epoch", 2)]
)
def test_units_of_patience(patience: Any, stops_at: int) -> None:
    """Two checks an epoch, ten steps a check, the best one first."""
    rule = tp.EarlyStopping(patience=patience)
    assert [decide(rule, [1.0] + [0.0] * i, True, per_epoch=2.0).stop for i in range(7)] == [i >= stops_at for i in range(7)]


@pytest.mark.parametrize("bad", ["soon", "0 evals", "-1 epochs", 0, True, 2.5, "3 weeks"])
def test_bad_patience(bad: Any) -> None:
    with pytest.raises(tp.ConfigError, match=r"^Expected `patience` of EarlyStopping such as '20 evals'"):
        tp.EarlyStopping(patience=bad)


@pytest.mark.parametrize("name", ["atol", "rtol", "min_epochs", "start_from"])
@pytest.mark.parametrize("bad", [-0.1, math.nan])
def test_bad_numbers(name: str, bad: float) -> None:
    settings: dict[str, Any] = {name: bad}
    with pytest.raises(tp.ConfigError, match=rf"^Expected `{name}` of EarlyStopping in \[0, inf\)"):
        tp.EarlyStopping(**settings)


def test_min_epochs_holds_stopping_back_and_keeps_the_best() -> None:
    rule = tp.EarlyStopping(patience="2 evals", min_epochs=6)
    scores = [9.0, *[1.0] * 8]
    assert [decide(rule, scores[:i], True).stop for i in range(1, 9)] == [False] * 5 + [True] * 3
    assert decide(rule, scores, True).best == 0


def test_start_from_ignores_what_comes_before() -> None:
    rule = tp.EarlyStopping(patience="2 evals", start_from=3)
    assert decide(rule, [9.0, 8.0], True).best == -1
    verdict = decide(rule, [9.0, 8.0, 1.0, 2.0, 1.5], True)
    assert verdict.best == 3 and not verdict.stop
    assert decide(rule, [9.0, 8.0, 1.0, 2.0, 1.5, 1.0], True).stop


def test_the_optimum_ends_at_once() -> None:
    scores = [0.5, 1.0]
    assert decide(tp.EarlyStopping(), scores, True, optimum=1.0).why == "the metric reached its optimum"
    assert not decide(tp.EarlyStopping(optimum=False), scores, True, optimum=1.0).stop
    assert not decide(tp.EarlyStopping(), scores, True, optimum=None).stop
    assert not decide(tp.EarlyStopping(min_epochs=5), scores, True, optimum=1.0).stop


def test_of_equal_scores_the_first() -> None:
    assert decide(tp.EarlyStopping(), [0.5, 0.7, 0.7, 0.7], True).best == 1
    assert decide(tp.EarlyStopping(patience="2 evals"), [0.5, 0.7, 0.7, 0.7], True).stop


def test_the_check_at_which_counting_starts_counts() -> None:
    verdict = tp.EarlyStopping(patience="5 evals", start_from=2.0).decide([0.9, 0.8, 0.7], [1, 2, 3], [1, 2, 3], greater=True)
    assert verdict.best == 1
