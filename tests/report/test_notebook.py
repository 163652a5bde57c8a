"""What a notebook shows: tables and figures, escaped, in an element of their own."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

import temperance as tp
from temperance.diagnose import Diagnosis, Finding

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


class Seen(HTMLParser):
    """Tags that are open at the end, and the text of table cells by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def found() -> object:
    return tp.search(lambda d: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), (X, Y), trials=12, epochs=2)


def whole(text: str) -> Seen:
    """The parsed HTML, when it is one well-formed element that reaches nothing outside it."""
    seen = Seen(text)
    assert not seen.open and text.startswith('<div class="temperance">') and text.count("<style>") == 1
    style = text[text.index("<style>") : text.index("</style>")]
    assert style.replace("<style>", "").strip().startswith(".temperance {") and style.count("{") == style.count("}") and ":root" not in style
    body = text[text.index("</style>") :]
    assert not re.search(r"<script|\bon\w+=|https?://|url\(", body)
    return seen


def test_a_cocktail_is_a_table_of_its_strengths() -> None:
    cocktail = tp.Cocktail(tp.L2(1e-3), tp.Dropout(tp.schedules.Cosine(0.2)), tp.MaxNorm(math.inf), tp.L1(0.0, where="encoder.*"))
    head, *rows = whole(cocktail._repr_html_()).rows
    assert head == ["regularizer", "strength", "value", "meaning", "where"]
    assert [row[:2] for row in rows] == [key.split(".") for key in cocktail.strengths()]
    said = {f"{row[0]}.{row[1]}": row[2] for row in rows}
    assert said["l2.lam"] == "0.001" and said["dropout.rate"].startswith("Cosine(value=0.2") and said["maxnorm.c"] == said["l1.lam"] == "off"
    assert rows[-1][4] == "Named(pattern='encoder.*')"
    assert "without regularizers" in tp.Cocktail()._repr_html_()


def test_a_search_shows_its_best_trials_and_every_course(found: tp.search.Search) -> None:
    text = found._repr_html_()
    head, *rows = whole(text).rows
    assert len(rows) == 10 and rows[0][0] == str(found.winner.config.number) and text.count('class="mine"') == 1
    scores = {str(trial.config.number): trial.score for trial in found.trials}
    shown = [scores[row[0]] for row in rows[1:]]
    assert shown == sorted(shown, reverse=True) and len({row[0] for row in rows}) == 10
    assert "The best 10 of 12 trials" in text and head[-1] == "cocktail"
    drawn = text[text.index("<figure>") :]
    assert "n = 12 trials" in drawn and 'class="course won"' in drawn
    assert f"{found.score['value']:.3f}" in text[text.index("<h2>") : text.index("</h2>")]


def test_a_diagnosis_shows_findings_and_figures(found: tp.search.Search) -> None:
    diagnosis = tp.diagnose(found.model, (X, Y), lr=0.1, checks=["step", "gap", "conditioning", "oscillation"])
    seen = whole(diagnosis._repr_html_())
    assert sorted(row[1] for row in seen.rows[1:]) == sorted(f.name.replace("_", " ") for f in diagnosis.findings)
    assert "<svg" in diagnosis._repr_html_() and "Examined on 90 training rows" in diagnosis._repr_html_()


def test_text_from_outside_is_escaped() -> None:
    evil = "<script>alert(1)</script>&\"'"
    finding = Finding(evil, evil, {evil: 1.0}, evil, "bad", evil, 1.0)
    for text in (
        tp.Cocktail(tp.L2(1e-3, where=evil, name="a"))._repr_html_(),
        Diagnosis((finding,), ((evil, evil),), (evil,))._repr_html_(),
    ):
        whole(text)
        assert "<script" not in text and "&lt;script&gt;" in text


def test_a_result_without_figures_or_rows_is_shown_too() -> None:
    assert "<table" not in whole_text(Diagnosis(())) and "No cause was found" in whole_text(Diagnosis(()))


def whole_text(result: Diagnosis) -> str:
    whole(result._repr_html_())
    return result._repr_html_()


def test_nothing_is_drawn_from_the_global_generators(found: tp.search.Search) -> None:
    before = torch.get_rng_state()
    found._repr_html_()
    assert torch.equal(before, torch.get_rng_state())
