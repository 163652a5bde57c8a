"""Predicted against true values and precision against recall, on the page."""

from __future__ import annotations

from temperance.report.page import render
from temperance.report.predicted import precision_recall, residuals

TARGET = {"name": "price <in €>", "n": 900, "mean": 0.5, "low": -2.0, "high": 3.0, "points": [[10.0, 12.0], [20.0, 19.0]]}
CURVE = {"class": "ill", "n": 500, "positives": 40, "base_rate": 0.08, "average_precision": 0.6134, "weighted": False, "points": [[0.0, 1.0], [1.0, 0.08]]}


def test_the_page_shows_both_with_units_n_and_numbers_as_text() -> None:
    page = render({"residuals": {"targets": [TARGET]}, "precision_recall": CURVE})
    assert "n = 900 test rows, of which 2 are drawn." in page
    assert "mean 0.5; nine of ten lie between −2 and 3." in page
    assert 'aria-label="predicted against true values. Residuals' in page
    assert "residual: predicted − true (same unit)" in page
    assert "true price &lt;in €&gt; (its unit)" in page
    assert "average precision 0.613, base rate 0.080" in page
    assert "average precision among the scores" not in page
    assert "“ill” is the rarest class." in page and "“ill” is the rarest label." in render({"precision_recall": {**CURVE, "kind": "label"}})
    assert "The average precision among the scores is that of “well”." in render({"precision_recall": {**CURVE, "scored": "that of “well”"}})
    assert "n = 500 test rows, 40 of them ill." in page


def test_a_point_above_the_line_is_a_residual_above_zero() -> None:
    (one,) = residuals({"targets": [TARGET]})
    against, left = one["figure"].panels
    heights = [[float(part.split('"')[1]) for part in panel.split("<circle ")[1:] for part in [part[part.index("cy=") :]]] for panel in (against, left)]
    zero = float(left.rsplit('class="stop"', 1)[0].rsplit("L", 1)[1].split('"')[0].split()[1])
    assert heights[1][0] < zero < heights[1][1]  # 12 for 10 above, 19 for 20 below
    assert heights[0][1] < heights[0][0]


def test_nothing_is_shown_of_nothing() -> None:
    assert residuals({}) == [] == residuals({"targets": [{**TARGET, "points": []}]})
    assert precision_recall({}) is None
    page = render({})
    assert "Predicted against true" not in page
    assert "rare class" not in page
