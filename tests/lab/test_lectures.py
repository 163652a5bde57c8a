"""The page that goes through the lectures: nothing on it points to nowhere, and no experiment is left out."""

from __future__ import annotations

from tools.docs import lectures

from temperance.catalogue import rows
from temperance.lab import experiments
from temperance.lab.lectures import statements


def test_every_statement_has_an_experiment_a_card_or_a_reason() -> None:
    known, cards = experiments(), {row["name"] for row in rows()}
    for lecture, one in statements():
        assert set(one.experiments) <= set(known), one.text
        assert set(one.cards) <= cards, one.text
        assert bool(one.experiments or one.cards) != bool(one.reason), one.text
        assert one.text.endswith(".") and lecture


def test_every_experiment_belongs_to_a_statement_of_a_lecture_that_it_names() -> None:
    places: dict[str, set[str]] = {}
    for lecture, one in statements():
        for name in one.experiments:
            places.setdefault(name, set()).add(lecture)
    for name, kind in experiments().items():
        assert any(lecture in kind.source for lecture in places[name]), name


def test_the_page_marks_slips() -> None:
    text = lectures()
    assert "`slip_ascent` (a slip)" in text and "`quadratic_steps`, `slip_borderline` (a slip)" in text
    assert text.count("\n| ") == len(list(statements())) + 5
