"""What a notebook shows of a cocktail, a search, an explanation and a diagnosis: a table, and the figures where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from temperance.core.cocktail import Cocktail
from temperance.core.schedule import Schedule
from temperance.report import diagnosis as page, explanation as explaining, trials, words
from temperance.report.figures import Figure
from temperance.report.strengths import is_off

if TYPE_CHECKING:
    from temperance.diagnose.finding import Diagnosis
    from temperance.search.attribution.explanation import Explanation
    from temperance.search.result import Search

ROWS = 10


@dataclass(frozen=True)
class View:
    """What is laid out.

    Attributes:
        title: one sentence.
        columns: heads of the table.
        rows: its cells, as text.
        marked: rows that stand out.
        figures: pairs of heading and figure.
        notes: sentences below.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: Sequence[int] = ()
    figures: Sequence[tuple[str, Figure]] = ()
    notes: Sequence[str] = field(default_factory=list[str])


def cocktail(shown: Cocktail) -> str:
    """A row for each strength: the regularizer, its value, what it means and where it acts.

    Example:
        >>> import temperance as tp
        >>> "weight of half the squared norm" in cocktail(tp.Cocktail(tp.L2(1e-3)))
        True
    """
    rows: list[tuple[str, ...]] = []
    for label, regularizer in shown.items():
        where = getattr(regularizer, "where", None)
        values = regularizer.values()
        for name, spec in regularizer.strengths().items():
            value = values[name]
            said = repr(value) if isinstance(value, Schedule) else "off" if is_off(value, spec.off) else words.number(value)
            rows.append((label, name, said, spec.meaning, "" if where is None else repr(where)))
        if not values:
            rows.append((label, "", "on", "", "" if where is None else repr(where)))
    title = f"Cocktail of {words.count(len(shown), 'regularizer')}" if len(shown) else "Cocktail without regularizers"
    return _html(View(title, ("regularizer", "strength", "value", "meaning", "where"), rows))


def search(found: Search) -> str:
    """The score, the best trials, the winner among them, and the course of every trial."""
    winner = str(found.winner.config.number)
    greater, axis = found.metric.greater_is_better, words.metric_axis(found.metric.name)
    table = trials.read({"table": [trial.row() for trial in found.trials]}, winner)
    scored = sorted((t for t in table if t.score is not None), key=lambda t: (not t.won, -t.score if greater else t.score))  # pyright: ignore[reportOptionalOperand] -- filtered
    best = scored[:ROWS]
    mixes = {str(trial.config.number): _mix(trial.config.cocktail) for trial in found.trials}
    rows = [(t.trial, words.number(t.score), t.state, words.number(t.strengths["learning_rate"]), mixes[t.trial]) for t in best]
    drawn = trials.courses(found.history(), table, axis, greater=greater, winner=winner)
    score = found.score
    tested = ""
    if score:
        between = words.interval(score.get("low"), score.get("high"), 3)
        tested = f": {axis} {words.fixed(score['value'], 3)}{f' ({between})' if between else ''} on the test rows"
    notes = [f"The best {len(best)} of {len(table)} trials; the winner first."] if len(table) > len(best) else []
    view = View(
        f"Search over {words.count(len(table), 'trial')}{tested}",
        ("trial", f"validation {axis}", "state", "learning rate", "cocktail"),
        rows,
        [k for k, t in enumerate(best) if t.won],
        [] if drawn is None else [("Every trial", drawn)],
        [*notes, *map(words.stopped, found.notes)],
    )
    return _html(view)


def _mix(shown: Cocktail) -> str:
    """What is on, with its strengths, in a line."""
    specs = shown.specs()
    on = [f"{key} {words.number(value)}" for key, value in shown.strengths().items() if not is_off(value, specs[key].off)]
    return ", ".join(on) or "everything off"


def diagnosis(found: Diagnosis) -> str:
    """A row for each finding, the worst first, and the figures of the checks."""
    facts = page.laid_out(found.to_dict())
    rows, marked = [], []
    for verdict, group in facts["groups"]:
        for row in group:
            if verdict == "bad":
                marked.append(len(rows))
            rows.append((verdict, row["name"], row["meaning"], row["remedy"]))
    title = f"Found: {', '.join(facts['causes'])}" if facts["causes"] else "No cause was found"
    notes = [*([facts["deck"]] if facts["deck"] else []), *facts["notes"], *(f"Skipped {name}: {why}." for name, why in facts["skipped"])]
    return _html(View(title, ("verdict", "check", "meaning", "remedy"), rows, marked, facts["figures"], notes))


def explained(found: Explanation) -> str:
    """What an explanation says, a line a sentence."""
    return "\n".join(explaining.sentences(found.facts))


def explanation(found: Explanation) -> str:
    """A row for each regularizer, and what they say."""
    heads, rows = explaining.table(found.facts)
    first, *notes = explaining.sentences(found.facts)
    drawn = explaining.figure(found.facts)
    return _html(View(first, heads, rows, figures=[] if drawn is None else [("What each is worth", drawn)], notes=notes))


def figure(shown: Figure) -> str:
    """One figure alone."""
    return _html(View("", (), (), figures=[("", shown)]))


def _html(view: View) -> str:
    """The markup, with the style of the report inside one element, so that it touches nothing else on the page."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    style = Markup(_file("style.css").replace(":root", "&"))
    return environment.from_string(_file("notebook.html")).render(style=style, view=view)


def _file(name: str) -> str:
    return resources.files("temperance.report").joinpath(name).read_text(encoding="utf-8")
