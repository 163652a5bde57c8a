"""What ``explain`` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from temperance.report import words
from temperance.report.explanation import Wording, sentences, table

if TYPE_CHECKING:
    from temperance.cli.screen import Screen


def show(screen: Screen, facts: Mapping[str, Any], folder: str) -> None:
    """The sentences, the differences, and the doses."""
    screen.heading(f"Why {folder} works")
    for text in sentences(facts):
        screen.show(Text(text), Text())
    heads, rows = table(facts)
    shown = screen.table(heads, right=(heads[3], heads[4]))
    for row in rows:
        shown.add_row(*row)
    screen.show(shown)
    if facts["doses"]:
        said = Wording(facts)
        names = ("strength", "dose", heads[3].replace("with it", "against the chosen dose"), "interval")
        doses = screen.table(names, right=names[1:])
        for curve in facts["doses"]:
            for point in curve["points"]:
                name = f"{curve['regularizer']} {curve['strength']}, chosen {words.number(curve['chosen'])}"
                doses.add_row(name, words.number(point["dose"]), said.signed(point["value"]), said.between(point) or words.NOTHING)
        screen.show(Text(), doses)
