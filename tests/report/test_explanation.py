"""What is said of regularizers: a sentence for each answer, its interval beside every number, and the section of the report."""

from __future__ import annotations

import re
from typing import Any

import pytest

from temperance.report.explanation import figure, sentences, spoken, table
from temperance.report.page import explained, render


def row(name: str, answer: str, value: float | None, low: float | None, high: float | None, change: str = "dropped", **more: Any) -> dict[str, Any]:
    own = {"regularizer": name, "label": name.lower(), "change": change, "strengths": {"rate": 0.2}, "seeds": 8, "diverged": 0}
    return {**own, "answer": answer, "value": value, "low": low, "high": high, **more}


def facts(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "metric": {"name": "log_loss", "greater_is_better": False},
        "trial": 17,
        "plan": "plain",
        "network": "MLP 128-128",
        "rows": {"held": 400, "few": False, "of": 400, "groups": None, "train": 1000, "validation": 250, "folds": 1},
        "seeds": 8,
        "asked": 8,
        "level": 0.95,
        "comparisons": 9,
        "margin": 0.005,
        "score": {"value": 0.3, "low": 0.27, "high": 0.33},
        "whole": None,
        "regularizers": list(rows),
        "pair": None,
        "doses": [],
        "ended": "done",
        "notes": [],
        **changes,
    }


CARRIES = row("Dropout", "helps", 0.021, 0.012, 0.030)
NOTHING = row("LabelSmoothing", "no difference", 0.0005, -0.002, 0.003)
SMALL = row("WeightDecay", "cannot tell", 0.0025, -0.004, 0.009)
HURTS = row("MixUp", "hurts", -0.02, -0.03, -0.01)


def test_what_a_manager_reads() -> None:
    assert sentences(facts(SMALL, NOTHING, CARRIES))[0] == (
        "Dropout carries it: without it log-loss is 0.021 higher (0.012 to 0.030). Weight decay: too small to tell (−0.004 to 0.009). "
        "Label smoothing made no difference that matters (−0.002 to 0.003)."
    )


def test_of_two_that_help_the_first_helps_most() -> None:
    second = row("EMA", "helps", 0.015, 0.005, 0.025)
    said = sentences(facts(second, CARRIES, whole=row("", "helps", 0.05, 0.04, 0.06)))
    assert (
        said[0] == "Dropout helps most: without it log-loss is 0.021 higher (0.012 to 0.030). EMA helps: without it log-loss is 0.015 higher (0.005 to 0.025)."
    )
    assert said[1] == "All of them together help: without any log-loss is 0.050 higher (0.040 to 0.060)."


@pytest.mark.parametrize(("name", "greater", "direction"), [("log_loss", False, "lower"), ("accuracy", True, "higher")])
def test_one_that_hurts_is_better_left_out(name: str, greater: bool, direction: str) -> None:
    said = sentences(facts(HURTS, metric={"name": name, "greater_is_better": greater}))[0]
    assert said == f"MixUp hurts: without it {name.replace('_', '-')} is 0.020 {direction} (0.010 to 0.030)."


@pytest.mark.parametrize(("name", "greater", "direction"), [("log_loss", False, "lower"), ("accuracy", True, "higher")])
def test_what_was_added(name: str, greater: bool, direction: str) -> None:
    added = [row(n, a, v, v - 0.01, v + 0.01, "added") for n, a, v in (("InputNoise", "helps", 0.02), ("CutMix", "hurts", -0.03), ("EMA", "cannot tell", 0.0))]
    said = sentences(facts(CARRIES, *added, metric={"name": name, "greater_is_better": greater}))[1]
    metric = name.replace("_", "-")
    assert said == (
        f"Input noise added (rate 0.2) would help: {metric} is 0.020 {direction} (0.010 to 0.030). Added, CutMix would hurt in the dose that was tried. "
        "What adding EMA would do cannot be told."
    )


def test_few_rows_cannot_tell_and_no_number_is_said() -> None:
    few = {"held": 12, "few": True, "of": 12, "groups": None, "train": 38, "validation": 10, "folds": 5}
    unknown = [row(name, "cannot tell", 0.1, -0.3, 0.5) for name in ("Dropout", "WeightDecay")]
    assert sentences(facts(*unknown, rows=few))[0] == "Cannot tell which of dropout and weight decay helped: 12 test rows are too few."
    assert sentences(facts(unknown[0], rows=few))[0] == "Cannot tell whether dropout helped: 12 test rows are too few."
    one = [row("Dropout", "cannot tell", 0.1, None, None, seeds=1)]
    assert sentences(facts(*one, seeds=1))[0] == "Cannot tell whether dropout helped: 1 seed is too few."


def test_networks_that_diverged_are_told() -> None:
    said = sentences(facts(CARRIES, row("SAM", "cannot tell", None, None, None, diverged=8)))[0]
    assert "SAM: cannot tell, its networks diverged under 8 seeds." in said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("helps", "Dropout and weight decay stand in for each other: without both more is lost"),
        ("hurts", "Dropout and weight decay need each other: without both less is lost"),
        ("no difference", "Dropout and weight decay act independently ("),
        ("cannot tell", "Whether dropout and weight decay need each other cannot be told ("),
    ],
)
def test_the_pair(answer: str, said: str) -> None:
    pair = {"regularizers": ["Dropout", "WeightDecay"], "comparisons": 3, "answer": answer, "value": 0.01, "low": 0.001, "high": 0.02, "diverged": 0}
    assert sentences(facts(CARRIES, pair=pair))[1].startswith(said)


def curve(*answers: str) -> dict[str, Any]:
    points = [{**row("", a, 0.02 * k, 0.02 * k - 0.01, 0.02 * k + 0.01), "dose": 0.1 * k} for k, a in enumerate(answers, start=1)]
    return {"regularizer": "Dropout", "strength": "rate", "chosen": 0.5, "off": 0.0, "comparisons": 2, "points": points}


def test_a_better_dose_is_named_with_its_interval() -> None:
    said = sentences(facts(CARRIES, doses=[curve("cannot tell", "helps")]))[1]
    assert said == "Dropout's rate of 0.2 in place of 0.5 would be better: log-loss is 0.040 lower (0.030 to 0.050)."
    assert sentences(facts(CARRIES, doses=[curve("cannot tell")]))[1] == "No other dose of what is on is surely better."


def test_how_it_was_measured_and_what_it_leaves_open_is_said_each_time() -> None:
    said = " ".join(sentences(facts(CARRIES, notes=["what ships is an average of 4 networks"], ended="interrupted", seeds=5)))
    for part in (
        "400 rows that neither the search nor these networks saw",
        "5 seeds",
        "95 % intervals",
        "9 comparisons",
        "trial 17",
        "Interrupted after 5 of 8",
    ):
        assert part in said
    assert said.endswith("What ships is an average of 4 networks.")


def test_a_table_has_every_number_with_its_interval() -> None:
    heads, rows = table(facts(SMALL, CARRIES, row("EMA", "helps", 0.1, 0.05, 0.15, "added"), whole=row("", "helps", 0.02, 0.01, 0.03)))
    assert heads[3] == "log-loss with it, + is better"
    assert [(r[0], r[1], r[3], r[4]) for r in rows] == [
        ("Dropout", "dropped", "+0.021", "0.012 to 0.030"),
        ("WeightDecay", "dropped", "+0.003", "−0.004 to 0.009"),
        ("EMA", "added", "+0.100", "0.050 to 0.150"),
        ("all of them", "dropped", "+0.020", "0.010 to 0.030"),
    ]


def test_the_figure_draws_every_interval_and_folds_the_doses_away() -> None:
    drawn = figure(facts(CARRIES, SMALL, NOTHING, row("SAM", "cannot tell", None, None, None), doses=[curve("cannot tell", "helps")]))
    assert drawn is not None
    assert len(re.findall('class="interval', drawn.panels[0])) == 3
    assert "0.012 to 0.030" in drawn.panels[0]
    assert len(drawn.more) == 1
    assert "n = 400 test rows and 8 seeds" in drawn.caption
    assert figure(facts(row("SAM", "cannot tell", None, None, None))) is None


def test_the_section_goes_into_a_report_once_and_escapes_names() -> None:
    page = render({"target": "income"})
    once = explained(page, facts(CARRIES, notes=["<b>bold</b> words"]))
    assert "Dropout carries it" in once
    assert "<b>bold" not in once
    assert explained(once, facts(HURTS)) == explained(page, facts(HURTS))
    older = page.replace("<!-- explanation --><!-- /explanation -->", "")
    assert explained(explained(older, facts(CARRIES)), facts(HURTS)).count('<section id="why">') == 1


def test_names_as_people_write_them() -> None:
    assert [spoken(name) for name in ("LabelSmoothing", "MixUp", "EMA", "PiModel")] == ["Label smoothing", "MixUp", "EMA", "Pi model"]
