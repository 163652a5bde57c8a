"""The section on robustness: what it says, draws and lists, and that it survives what is missing."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from tests.report.test_page import Reader

from temperance.report import robust


def score(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": None if value is None else value - 0.02, "high": None if value is None else value + 0.02}


@pytest.fixture
def facts() -> dict[str, Any]:
    return {
        "metric": "accuracy",
        "n": 1000,
        "of": 9769,
        "norm": "linf",
        "unit": "sd",
        "stays": ["categories"],
        "steps": 20,
        "restarts": 1,
        "seed": 0,
        "eps": [0.05, 0.1],
        "clean": score(0.866),
        "attacks": {"fgsm": [score(0.841), score(0.802)], "pgd": [score(0.84), score(0.79)], "margin": [score(0.84), score(0.789)]},
        "noise": [score(0.861), score(0.855)],
        "worst": [score(0.839), score(0.788)],
        "warnings": ["random <b>noise</b> does more harm"],
        "moves": [{"name": "age", "sd": 13.6}, {"name": "<i>hours</i>", "sd": 12.0}, {"name": "gain", "sd": 7500.0}, {"name": "loss", "sd": 400.0}],
    }


def test_sentences(facts: dict[str, Any]) -> None:
    first, second = robust.said(facts)
    assert first == (
        "Every number of a row may move by at most eps, in standard deviations of each input; categories stay as they are. "
        "Measured on 1,000 rows, drawn from 9,769 rows: 20 steps, 1 start an attack."
    )
    assert "the accuracy from 0.866 to 0.839 at eps 0.05, and to 0.788 at eps 0.1, where random noise of that size" in second
    assert "takes it to 0.855" in second and second.endswith("no proof that it cannot be.")
    both, none = (robust.said({**facts, "stays": stays})[0] for stays in (["categories", "missing numbers"], []))
    assert "of each input; categories and missing numbers stay as they are. Measured" in both and "of each input. Measured" in none
    images = robust.said({**facts, "unit": "raw", "norm": "l2", "of": 1000, "stays": []})[0]
    assert images.startswith("A row may move by at most eps in all (Euclidean length), in the raw units of the inputs. Measured on 1,000 rows: ")


def test_rows(facts: dict[str, Any]) -> None:
    laid_out = robust.section(facts)
    assert laid_out is not None and laid_out["head"] == ["FGSM", "PGD", "margin", "random noise", "worst of all"]
    assert [row["eps"] for row in laid_out["rows"]] == ["0", "0.05", "0.1"]
    assert [cell["value"] for cell in laid_out["rows"][2]["cells"]] == ["0.802", "0.790", "0.789", "0.855", "0.788"]
    assert laid_out["rows"][0]["cells"][0] == {"value": "0.866", "interval": "0.846–0.886"}
    assert laid_out["rows"][2]["moves"] == "age ± 1.4, <i>hours</i> ± 1.2, gain ± 750"


def test_the_page_holds_everything_and_loads_nothing(facts: dict[str, Any]) -> None:
    page = str(robust.render(facts))
    reader = Reader(page)
    for part in ("Robustness to small changes", "Random <b>noise</b> does more harm.", "<i>hours</i> ± 1.2", "n = 1,000 rows, the same in every cell."):
        assert part in reader.words
    assert "<b>" not in page and "<i>" not in page
    assert not re.search(r"https?://|@import|url\(|<script", page)
    assert [tag for tag, attributes in reader.tags if tag == "svg" and attributes.get("role") == "img"] == ["svg"]
    assert "eps (standard deviations, linf)" in reader.figures[0] and "accuracy (fraction of rows)" in reader.figures[0]
    assert len([1 for tag, attributes in reader.tags if tag == "circle" and "ours" in str(attributes.get("class"))]) == 3


def test_nothing_measured(facts: dict[str, Any]) -> None:
    assert robust.render({}) == "" and robust.section({**facts, "eps": []}) is None


def test_whatever_is_missing(facts: dict[str, Any]) -> None:
    for key in facts:
        if key in ("eps", "worst"):
            continue
        without = {k: v for k, v in facts.items() if k != key}
        assert "Robustness" in robust.render(without), key
    broken = copy.deepcopy(facts)
    broken["worst"][1], broken["attacks"]["pgd"][0] = score(None), score(None)
    assert "–" in robust.render(broken)
    values = {**facts, "metric": "rmse", "attacks": {}, "noise": []}
    assert "RMSE" in robust.render(values)
