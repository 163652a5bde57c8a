"""The drawings of curves over a strength and over rows: what stands where, and what their captions say."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import temperance as tp
from temperance.report.score_curves import figure, mean
from temperance.train.curves import Curve

FACTS: dict[Any, Any] = {"x": "value", "strength": "l2.lam", "meaning": "weight of it", "log": True, "off": 0.0, "metric": "accuracy", "greater": True}
FACTS.update({"task": "classification", "train": 80, "validation": 20})
VALUES, SCORES = [0.0, 0.01, 0.1, 1.0], [0.6, 0.7, 0.8, 0.5]


def over_strength(n: Any = 3, sd: float = 0.01, facts: dict[Any, Any] | None = None, **columns: Any) -> Curve:
    losses = [1 - s for s in SCORES]
    given = {"train_loss": losses, "train_score": SCORES, "validation_loss": losses, "validation_score": SCORES}
    spreads = {f"{name}_sd": [sd] * 4 for name in given}
    curve = Curve({"value": VALUES, "n": n, **given, **spreads, **columns})
    curve.attrs = FACTS | (facts or {})
    return curve


def silent() -> Curve:
    """Every network diverged."""
    return over_strength(train_loss=math.nan, train_score=math.nan, validation_loss=math.nan, validation_score=math.nan)


def over_rows() -> Curve:
    curve = Curve({"rows": [10, 10, 40, 40], "model": ["network", "SVM"] * 2, "n": 3, "validation_score": [0.5, 0.6, 0.8, 0.7], "validation_score_sd": 0.02})
    curve.attrs = {"x": "rows", "metric": "accuracy", "greater": True, "task": "classification", "train": 40, "validation": 20}
    return curve


def dots(panel: str, css: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(rf'<circle cx="([\d.]+)" cy="([\d.]+)" r="3.2" class="point {css}"', panel)]


def stop(panel: str) -> float:
    (x,) = re.findall(r'<line x1="([\d.]+)" y1="32.0" x2="[\d.]+" y2="206.0" class="stop"', panel)
    return float(x)


@pytest.mark.parametrize("n", [2, 3, 10])
def test_intervals_are_students(n: int) -> None:
    values = np.random.default_rng(0).normal(size=n)
    found = mean(1.0, float(values.mean()), float(values.std(ddof=1)), n)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values)))


def test_places_on_the_axes() -> None:
    """Equal steps of the logarithm are equal steps on the page; off stands apart, on the left."""
    drawn = figure(over_strength())
    assert len(drawn.panels) == 2
    for panel, title in zip(drawn.panels, ("data loss (nats per row)", "accuracy (fraction of rows)"), strict=True):
        assert f">{title}</text>" in panel and ">l2.lam, log scale</text>" in panel and ">off</text>" in panel
        x = [a for a, _ in dots(panel, "validation")]
        assert len(x) == 4 and x[0] < 60 < x[1] - 20
        assert x[2] - x[1] == pytest.approx(x[3] - x[2], abs=0.11)
        assert panel.count('class="interval validation"') == panel.count('class="interval train"') == 4
    y = [b for _, b in dots(drawn.panels[1], "validation")]
    assert (y[0] - y[2]) / (y[3] - y[2]) == pytest.approx(0.2 / 0.3, abs=0.01), "0.8, 0.6 and 0.5 on a linear scale"


@pytest.mark.parametrize(("greater", "place", "said"), [(True, 2, "best: 0.1"), (False, 3, "best: 1")])
def test_the_best_is_that_of_the_score(greater: bool, place: int, said: str) -> None:
    for panel in figure(over_strength(facts={"greater": greater})).panels:
        assert stop(panel) == dots(panel, "validation")[place][0] and f">{said}</text>" in panel


def test_off_may_be_the_best() -> None:
    best = figure(over_strength(validation_score=[0.9, 0.7, 0.8, 0.5])).panels[1]
    assert stop(best) == dots(best, "validation")[0][0] and ">best: off</text>" in best


def test_a_strength_that_is_off_at_infinity() -> None:
    curve = over_strength(facts={"off": math.inf}, value=[math.inf, 0.01, 0.1, 1.0])
    assert [a for a, _ in dots(figure(curve).panels[0], "train")] == [a for a, _ in dots(figure(over_strength()).panels[0], "train")]


def test_captions_say_n_and_what_the_bars_are() -> None:
    said = figure(over_strength()).caption
    assert said.startswith("n = 3 seeds a point, trained on 80 rows and scored on 20 validation rows. Bars are 95 % intervals of the mean over seeds")
    assert "l2.lam is the weight of it; at the left end it is off. The dashed rule marks the best mean score" in said
    assert figure(over_strength(n=[3, 3, 1, 2])).caption.startswith("n = 1 to 3 seeds a point")
    assert figure(over_rows()).caption.startswith("n = 3 seeds a point, scored on 20 validation rows. Bars are")


def test_one_seed_has_no_interval() -> None:
    drawn = figure(over_strength(n=1, sd=math.nan))
    assert "interval" not in drawn.panels[0] and "intervals" not in drawn.caption and drawn.caption.startswith("n = 1 seed a point")


def test_a_value_that_diverged_for_every_seed_leaves_a_gap() -> None:
    drawn = figure(over_strength(validation_score=[0.6, math.nan, 0.8, 0.5], n=[3, 0, 3, 3]))
    assert len(dots(drawn.panels[1], "validation")) == 3 and len(dots(drawn.panels[1], "train")) == 4
    assert not any("circle" in panel for panel in figure(silent()).panels)


def test_losses_of_very_different_sizes_are_drawn_by_logarithm() -> None:
    panel = figure(over_strength(train_loss=[1e-4, 1e-3, 1e-2, 0.1], train_loss_sd=1.0)).panels[0]
    assert ">data loss (nats per row), log scale</text>" in panel
    assert all(32 <= y <= 206 for _, y in dots(panel, "train"))
    assert all(32 <= float(end) <= 206 for end in re.findall(r'y[12]="([\d.]+)" (?=[^>]*class="interval)', panel))


def test_rows_are_on_a_log_scale_with_a_line_a_model() -> None:
    drawn = figure(over_rows())
    assert drawn.legend == [("series-1", "network"), ("series-2", "SVM")]
    (panel,) = drawn.panels
    assert ">training rows, log scale</text>" in panel and ">validation accuracy (fraction of rows)</text>" in panel
    network, rival = dots(panel, "series-1"), dots(panel, "series-2")
    assert [a for a, _ in network] == [a for a, _ in rival] and network[0][1] > rival[0][1] and network[1][1] < rival[1][1]


def test_tables_that_lost_their_columns_are_refused() -> None:
    mend = "Draw it before it is cut"
    for cut in (over_strength().drop(columns="n"), over_rows()[["rows", "model"]], Curve({"a": [1]})):
        with pytest.raises(tp.ConfigError, match=mend):
            figure(cut)


@pytest.fixture(scope="module")
def measured() -> tuple[Curve, Curve]:
    x, y = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)).numpy(), torch.arange(60).numpy() % 2
    net, mix = tp.nets.MLP(4, 2, hidden=(8,)), tp.Cocktail(tp.L2())
    strength = tp.validation_curve(net, mix, (x, y), "l2.lam", points=2, seeds=2, epochs=2)
    return strength, tp.learning_curve(net, mix, (x, y), sizes=[12, 24], seeds=2, epochs=2)


def test_what_was_measured_is_drawn(measured: tuple[Curve, Curve], tmp_path: Path) -> None:
    for curve, said in zip(measured, ("trained on 48 rows and scored on 12 validation rows", "scored on 12 validation rows"), strict=True):
        drawn = curve.copy().plot()
        assert said in drawn.caption and drawn.panels
        drawn.save(tmp_path / "curve.html")
        page = (tmp_path / "curve.html").read_text(encoding="utf-8")
        assert page.startswith("<!doctype html>") and "<title>curve</title>" in page and drawn.panels[0] in page
        assert not re.search(r"(src|href)=|@import|url\(", page)
        assert drawn._repr_html_() in page


def test_pages_end_in_html() -> None:
    with pytest.raises(tp.ConfigError, match=r"Expected `path` of save to end in \.html, got 'curve\.png'"):
        figure(over_rows()).save("curve.png")


def test_a_network_with_two_heads_has_a_loss_alone() -> None:
    facts: dict[Any, Any] = {name: value for name, value in FACTS.items() if name not in ("metric", "greater")} | {"task": ""}
    curve = over_strength()
    curve.attrs = facts
    (panel,) = figure(curve).panels
    assert ">data loss (mean per row)</text>" in panel and stop(panel) == dots(panel, "validation")[3][0], "the least of the scores, which are losses"
