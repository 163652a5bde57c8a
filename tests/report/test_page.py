"""The report: self-contained, escaped, honest about who leads, and unbroken by whatever is missing."""

from __future__ import annotations

import copy
import math
import re
from html.parser import HTMLParser
from typing import Any

import pandas
import pytest
from tests.report import example

from temperance.report.page import render


class Reader(HTMLParser):
    """Collects tags with their attributes, and the text of figures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.figures: list[str] = []
        self._depth: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "figure":
            self.figures.append("")
        self._depth.append(tag) if tag in ("figure", "style", "script") else None

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self._depth and self._depth[-1] == tag:
            self._depth.pop()

    def handle_data(self, data: str) -> None:
        if self._depth and self._depth[-1] in ("style", "script"):
            return
        self.text.append(data)
        if "figure" in self._depth:
            self.figures[-1] += data

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return example.summary()


@pytest.fixture(scope="module")
def page(facts: dict[str, Any]) -> str:
    return render(facts, example.history(facts))


def test_first_screen_answers_the_four_questions(page: str) -> None:
    text = Reader(page).words
    head = text[: text.index("Scores on test rows")]
    assert "Predicted: income" in head
    assert "an accuracy of 0.866 (0.859 to 0.873)" in head
    assert "On 9,768 test rows the average of 4 networks of 3 configurations reaches" in head
    assert "worse than HistGradientBoosting (default), −0.0071 (−0.0113 to −0.0029)" in head and "better than linear model, +0.0146 (0.0096 to 0.0196)" in head
    assert "Did the cocktail help? Yes On 9,768 test rows accuracy is 0.864 with the cocktail and 0.848 without it: +0.0158" in head
    assert "Is it over-fitting? Yes" in head and "Without the cocktail the gap is +0.1033" in head
    assert "5 regularizers" in head and "Off here, on in others of the 64 trials: L1 (on in" in head
    assert head.index("native-country has 41 values") < head.index("Did the cocktail help?")


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    for tag, attributes in Reader(page).tags:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base"), tag
        for name in ("src", "href", "xlink:href", "action", "srcset", "poster", "data"):
            assert name not in attributes, (tag, name)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", page)
    assert "default-src 'none'" in page
    assert len(page) < 1_000_000


def test_every_figure_states_n_and_names_its_axes(page: str) -> None:
    shown = Reader(page).figures
    assert len(shown) == 8
    for figure in shown:
        assert re.search(r"n = [\d,]+", figure), figure
    titles = re.findall(r'class="title"[^>]*>([^<]+)<', page)
    for needed in ("accuracy (fraction of rows), higher is better", "data loss (nats per row)", "epochs (passes over the training rows)", "rows"):
        assert needed in titles
    assert any("L2 lam, log scale" in t for t in titles)
    for svg in re.findall(r'<svg class="plot (?!scale).*?</svg>', page, re.S):
        assert 'class="title"' in svg


def test_every_trial_is_listed_with_its_end(page: str, facts: dict[str, Any]) -> None:
    assert page.count("<tr data-t=") == 64
    assert "diverged at step" in page and "dropped at epoch 1" in page
    diverged = sum(math.isnan(r["score"]) for r in facts["search"]["table"])
    assert diverged > 0 and f"diverged, n = {diverged}" in page


def test_penalties_are_apart_and_named_like_their_regularizer(page: str) -> None:
    text = Reader(page).words
    section = text[text.index("Penalties, apart from the data loss") : text.index("The cocktail in words and numbers")]
    assert "L2" in section and "activation sparsity" in section and "data loss, training rows" in section


def test_the_average_is_told_with_its_gain_its_moments_and_its_members(page: str) -> None:
    text = Reader(page).words
    section = text[text.index("The average that ships") : text.index("The data as understood")]
    assert "The model averages 4 networks of 3 configurations" in section and "64 trials were weighed on 9,000 validation rows" in section
    assert "accuracy validation rows, n = 9,000 0.863 best of the search 0.866 +0.0027 0.0012 to 0.0041" in section
    assert "Brier score test rows, n = 9,768 0.1961 the winner alone 0.1843 +0.0118" in section
    assert "v/M + (M − 1)c/M = 0.1850" in section and "0.1800 in the limit" in section and "0.1843 on 9,768 test rows" in section
    assert "17 · winner" in section and "L2 and Dropout" in section


@pytest.mark.parametrize("detail", ["score", "error"])
@pytest.mark.parametrize("empty", [None, {}])
def test_any_number_of_the_average_may_be_missing(facts: dict[str, Any], detail: str, empty: Any) -> None:
    less = copy.deepcopy(facts)
    less["ensemble"][detail] = empty
    assert "The average that ships" in render(less)
    for key in facts["ensemble"][detail]:
        less["ensemble"][detail] = {k: v for k, v in facts["ensemble"][detail].items() if k != key}
        assert "The average that ships" in render(less)


def test_seeds_of_one_configuration_say_what_is_not_known(facts: dict[str, Any]) -> None:
    less = copy.deepcopy(facts)
    less["ensemble"].update(kind="seeds", configurations=1, members=less["ensemble"]["members"][:1])
    less["ensemble"]["selection"]["better"] = False
    less["ensemble"]["error"].update(v=None, c=None)
    text = Reader(render(less)).words
    assert "one with its own seed" not in text and "each trained with its own seed" in text
    assert "averages were worse than the best single network beyond noise" in text
    assert "Weighed, not shipped" in text and "best of the search" not in text
    assert "not available on validation rows: every network was trained on them" in text
    less["ensemble"]["selection"]["better"] = True
    text = Reader(render(less)).words
    assert "was better, but it could not be trained again" in text and "not better" not in text
    less["ensemble"]["kind"] = "folds"
    text = Reader(render(less)).words
    assert "each row was kept from one network only" in text and "every network was trained on them" not in text
    less["ensemble"].update(kind="one", networks=1, selection=None)
    assert "The average that ships" not in render(less)


def test_configurations_over_folds_are_one_point_each(facts: dict[str, Any]) -> None:
    less = copy.deepcopy(facts)
    less["ensemble"].update(networks=15, configurations=3, trained="none")
    less["ensemble"]["error"].update(members=3)
    less["ensemble"]["error"]["test"].update(path=[0.1961, 0.1893, 0.1843], points="configurations")
    text = Reader(render(less)).words
    assert "configurations averaged, M" in text and "measured, M = 3, 15 networks" in text
    assert "the first M configurations, each the average of its networks over the folds" in text


def test_columns_beyond_twenty_are_folded_away(page: str) -> None:
    assert "3 more columns" in page and "extra 8" in page


@pytest.mark.parametrize(
    "key", ["data", "scores", "rivals", "cocktail", "gap", "ensemble", "stopping", "search", "metric", "task", "timing", "title", "target", "replay"]
)
@pytest.mark.parametrize("gone", ["missing", "None"])
def test_any_part_may_be_missing(facts: dict[str, Any], key: str, gone: str) -> None:
    less = copy.deepcopy(facts)
    if gone == "None":
        less[key] = None
    else:
        del less[key]
    assert "</html>" in render(less, example.history(facts))


@pytest.mark.parametrize("part", ["data", "scores", "cocktail", "gap", "ensemble", "stopping", "search", "metric"])
def test_any_detail_may_be_missing(facts: dict[str, Any], part: str) -> None:
    for key in facts[part]:
        less = copy.deepcopy(facts)
        less[part][key] = None
        assert "</html>" in render(less, example.history(facts))
        del less[part][key]
        assert "</html>" in render(less, example.history(facts))


@pytest.mark.parametrize(
    "history", [None, pandas.DataFrame(), pandas.DataFrame({"run": [], "step": []}), pandas.DataFrame({"run": ["winner"], "train_loss": [0.3]})]
)
def test_smallest_summary(history: pandas.DataFrame | None) -> None:
    page = render({}, history)
    assert "A fit" in page and "<figure" not in page and "<h2>" not in page
    assert "<h1>y</h1>" in render({"target": "y"}, history)


def test_hostile_text_stays_text(facts: dict[str, Any]) -> None:
    evil = "<script>alert('x')</script>\"'><img src=http://evil.example/x onerror=1>"
    nasty = copy.deepcopy(facts)
    nasty |= {"title": evil, "target": evil, "warnings": [evil], "replay": evil, "predict": evil, "created": evil, "model": {evil: evil}}
    nasty["data"] |= {"classes": [evil, "b"], "class_counts": {evil: 3, "b": 4}, "source": evil, "notes": [evil]}
    nasty["data"]["split"]["reason"] = nasty["data"]["split"]["kind"] = evil
    nasty["data"]["columns"][0] = {"name": evil, "kind": evil, "missing": 1, "unique": 2, "notes": evil}
    nasty["rivals"][0]["name"] = evil
    nasty["metric"]["unit"] = evil
    nasty["cocktail"] |= {"repr": evil, "sentences": [evil], "network": evil}
    nasty["cocktail"]["rows"][0] |= {"regularizer": evil, "strength": evil, "meaning": evil}
    nasty["stopping"] |= {"rule": evil, "why": evil}
    nasty["search"]["static_plans"] = [evil]
    nasty["search"]["table"][0] |= {"status": evil, "plan": evil, "trial": evil, "strengths": {evil: 0.5}}
    nasty["scores"]["test"][evil] = {"value": 1.0}
    history = example.history(facts).rename(columns={"penalty_l2": f"penalty_{evil}"})
    page = render(nasty, history)
    tags = Reader(page).tags
    assert sum(tag == "script" for tag, _ in tags) == 1
    assert not any(tag == "img" or "onerror" in attributes or "src" in attributes for tag, attributes in tags)
    assert evil[:20] in Reader(page).words


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_numbers_that_are_none(facts: dict[str, Any], bad: float | None) -> None:
    sick = copy.deepcopy(facts)
    sick["scores"]["test"] = {"accuracy": {"value": bad, "low": bad, "high": bad}}
    sick["rivals"][1]["test"] = {"accuracy": {"value": 0.8, "low": bad, "high": bad}}
    sick["gap"]["with"] = {"train": bad, "validation": bad, "test": bad}
    sick["gap"]["without"] = {"train": 0.9, "test": bad}
    for row in sick["search"]["table"]:
        row["score"] = bad
    sick["cocktail"]["rows"][0]["value"] = bad
    sick["timing"] = {"total": bad, "search": bad}
    history = example.history(facts)
    history["validation_loss"] = bad
    history.loc[::3, "train_score"] = float("nan") if bad is None else bad
    page = render(sick, history)
    assert not re.search(r"\bnan\b|\binf\b|None", re.sub(r"loss is nan", "", Reader(page).words))
    assert not re.search(r'"[^"]*\bnan\b[^"]*"', re.sub(r"loss is nan", "", "".join(re.findall(r"<(?:circle|path|line|rect)[^>]*>", page))))


def test_search_of_one_trial() -> None:
    facts = example.summary(1)
    page = render(facts, example.history(facts))
    assert "1 trial ran, budget 2m" in page and "n = 1 trial" in page


def test_regression_where_lower_is_better() -> None:
    page = render(
        {
            "title": "price in houses.csv",
            "target": "price",
            "task": "regression",
            "metric": {"name": "rmse", "greater_is_better": False, "unit": "k$"},
            "scores": {"test": {"rmse": {"value": 48.21, "low": 46.9, "high": 49.6}, "r2": {"value": 0.82, "low": 0.81, "high": 0.83}}, "n_test": 4128},
            "rivals": [
                {"name": "mean", "test": {"rmse": {"value": 115.3, "low": 113.0, "high": 117.6}, "r2": {"value": -0.0001}}},
                {
                    "name": "linear model",
                    "test": {"rmse": {"value": 69.9, "low": 68.2, "high": 71.6}},
                    "difference": {"value": 21.69, "low": 20.1, "high": 23.3, "answer": "better"},
                },
            ],
            "verdicts": {
                "metric": "rmse",
                "cocktail": {"answer": "no", "value": -1.21, "low": -2.0, "high": -0.4, "with": 48.21, "without": 47.0, "n": 4128},
                "overfitting": {"answer": "too close to tell", "value": 0.31, "low": -0.2, "high": 0.8, "train": 47.9, "held": 48.21, "rows": "test"},
            },
            "gap": {"with": {"train": 47.9, "test": 48.21}, "without": {"train": 30.1, "test": 47.0}, "metric": "rmse"},
        }
    )
    text = Reader(page).words
    assert "an RMSE of 48.2 k$ (46.9 to 49.6)" in text
    assert "It is better than linear model, +21.7 (20.1 to 23.3) (+ is better)." in text and "than mean" not in text
    assert "Did the cocktail help? No" in text and "48.2 k$ with the cocktail and 47.0 k$ without it: −1.2 (−2.0 to −0.4), + is better." in text
    assert "Is it over-fitting? Too close to tell" in text and "a gap of +0.3 (−0.2 to 0.8)" in text
    assert "RMSE (k$), lower is better" in text


def test_worse_than_the_trivial_rule_is_said() -> None:
    one = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}
    same = {"value": 0.0, "low": -0.02, "high": 0.02, "answer": "too close to tell"}
    page = render({"target": "y", "scores": {"test": one, "n_test": 90}, "rivals": [{"name": "majority class", "test": one, "difference": same}]})
    assert "It is not shown to be better than majority class: do not use it as it is." in page


def test_long_search_keeps_the_page_light() -> None:
    facts = example.summary(600)
    assert len(render(facts, example.history(facts))) < 2_500_000
