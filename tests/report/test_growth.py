"""What the page shows of a network's growth: the norm of its weights and its non-linearity, with the stop marked."""

from __future__ import annotations

import math
from typing import Any

import pandas
import pytest

from temperance.report.curves import grown, growth
from temperance.report.page import render

STOPPED = {"title": "t", "stopping": {"best_step": 20, "best_epoch": 2.0}}


def history(*runs: str, **columns: list[Any]) -> pandas.DataFrame:
    """Three checks a run."""
    given = {"weight_norm": [3.0, 4.5, 6.0], "non_linearity": [0.1, 0.25, 0.3]} | columns
    return pandas.concat([pandas.DataFrame({"run": run, "trial": 0, "step": [10, 20, 30], "epoch": [1.0, 2.0, 3.0], **given}) for run in runs or ("winner",)])


def test_two_panels_with_the_stop_in_both() -> None:
    figure = growth(history("winner", "without"), STOPPED)
    assert figure is not None and len(figure.panels) == 2
    for panel, title in zip(figure.panels, ("norm of the weights, ‖w‖", "non-linearity (share of the outputs&#39; variation)"), strict=True):
        assert f">{title}</text>" in panel and ">epochs (passes over the training rows)</text>" in panel
        assert panel.count('class="stop"') == 1 and ">best: epoch 2</text>" in panel
        assert panel.count('class="point series-1"') == 1
        assert panel.count('class="curve series-1"') == panel.count('class="curve series-1 thin"') == 1
    assert figure.legend == [("series-1", "with the cocktail"), ("series-1 thin", "without it")]
    assert "n = 64 pairs of rows" in figure.caption and figure.caption.endswith("The dashed rule marks the best check.")


def test_the_dot_is_at_the_stop() -> None:
    """Of x from 0 to 3 epochs over 46 to 342 pixels, the second is at two thirds; its value is the middle of the three."""
    figure = growth(history(), STOPPED)
    assert figure is not None
    assert '<line x1="243.3" y1="32.0" x2="243.3" y2="206.0" class="stop"/>' in figure.panels[0]
    assert '<circle cx="243.3" cy="119.0" r="4" class="point series-1"/>' in figure.panels[0]


def test_means_over_folds_are_called_so() -> None:
    summary = {**STOPPED, "data": {"split": {"folds": 5}}}
    figure = growth(history(), summary)
    assert figure is not None and figure.caption.startswith("Means over 5 folds, one network each.")


def test_what_is_not_known_is_left_out() -> None:
    one = growth(history().drop(columns="non_linearity"), {})
    assert one is not None and len(one.panels) == 1 and "Non-linearity" not in one.caption and "stop" not in one.panels[0]
    assert growth(history(weight_norm=[math.nan] * 3, non_linearity=[None] * 3), STOPPED) is None
    for known in (None, history("search"), history().drop(columns=["weight_norm", "non_linearity"])):
        assert growth(known, STOPPED) is None and grown(known, STOPPED) == ""


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (STOPPED, "From the first check to the best one, ‖w‖ goes from 3 to 4.5 and non-linearity goes from 0.1 to 0.25."),
        ({}, "From the first check to the last one, ‖w‖ goes from 3 to 6 and non-linearity goes from 0.1 to 0.3."),
        ({"stopping": {"best_step": 10, "best_epoch": 1.0}}, ""),
    ],
)
def test_the_sentence_is_about_the_state_that_is_kept(summary: dict[str, Any], said: str) -> None:
    assert grown(history(), summary) == said


def test_it_is_on_the_page() -> None:
    page = render(STOPPED, history())
    assert "<h2>What changed while it trained</h2>\n<p>From the first check to the best one, ‖w‖ goes from 3 to 4.5" in page
    assert "What changed while it trained" not in render(STOPPED, history("search"))
