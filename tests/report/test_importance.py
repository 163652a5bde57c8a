"""What the report says of columns."""

from __future__ import annotations

from typing import Any

from temperance.report.importance import section
from temperance.report.page import render

ROWS = [{"name": "age", "value": 0.2, "low": 0.15, "high": 0.25}, {"name": "<b>", "value": -0.01, "low": -0.02, "high": 0.01}]
FOUND: dict[str, Any] = {"metric": "accuracy", "n": 2000, "repeats": 5, "of": 2, "columns": ROWS}


def test_the_figure_has_units_n_and_its_numbers_as_text() -> None:
    page = render({"metric": {"name": "accuracy"}, "importance": FOUND})
    assert "drop of accuracy (fraction of rows) when the column is shuffled: age 0.200; &lt;b&gt; −0.010" in page
    assert "n = 2,000 test rows; each column is shuffled 5 times" in page
    assert "Only shuffling “age” clearly makes" in page
    assert "<b>" not in page


def test_a_loss_rises() -> None:
    made = section(FOUND, "log-loss (nats per row)", greater=False)
    assert made is not None
    assert "rise of log-loss (nats per row) when the column is shuffled" in made["figure"].panels[0]


def test_what_was_left_out_is_told() -> None:
    assert "Not measured: no time was left for 9 columns." in render({"importance": {"why": "no time was left for 9 columns"}})
    assert section({}, "accuracy", greater=True) is None
    many = section({**FOUND, "of": 40, "first": 500}, "accuracy", greater=True)
    cut = section({**FOUND, "of": 9, "cut": 7}, "accuracy", greater=True)
    assert many is not None
    assert cut is not None
    assert "Of 40 columns these 2 cost most when each was shuffled once on 500 rows." in many["figure"].caption
    assert "enough for 2 columns of 9" in cut["figure"].caption
