"""Budgets as words, and the clock."""

from __future__ import annotations

import math
import types
from typing import Any

import pytest

from temperance.core.errors import ConfigError
from temperance.search import budget
from temperance.search.budget import Clock, parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("5m", 300.0), ("1h", 3600.0), ("1.5h", 5400.0), (" 2 m ", 120.0), (90, 90.0), (0.5, 0.5), (None, None)]
)
def test_words(text: Any, seconds: float | None) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 min", "m5", "-5m", "5d", "1h30m", "five", True, "nan"])
def test_other_words_are_refused_with_the_mend(text: Any) -> None:
    with pytest.raises(ConfigError, match=r"Expected `budget` to be a time .* Write it like 90s, 5m or 1h\."):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0s", "0.0m", 0, -3, math.inf, math.nan])
def test_no_time_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match=r"above 0 seconds"):
        parse_budget(text)


def test_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "time", types.SimpleNamespace(monotonic=lambda: 107.0))
    clock = Clock(10.0, start=100.0)
    assert (clock.spent, clock.left(), clock.left(2.0), clock.deadline(), clock.deadline(2.0)) == (7.0, 3.0, 1.0, 110.0, 108.0)
    endless = Clock(None, start=100.0)
    assert (endless.spent, endless.left(5.0), endless.deadline(5.0)) == (7.0, math.inf, None)
