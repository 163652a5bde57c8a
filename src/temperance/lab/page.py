"""The pages of the lab: one an experiment, and a gallery of all; each a single file that loads nothing from anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from temperance import __version__
from temperance.lab.chart import Slider, drawn
from temperance.lab.experiment import TOPICS
from temperance.lab.rules import Interval
from temperance.lab.verdict import Verdict
from temperance.report import words


def page(verdict: Verdict) -> str:
    """One experiment's page: question, claim, what to expect, figure, verdict, numbers, code."""
    kind, figure = type(verdict.experiment), verdict.drawing
    slider = _slider(figure) if isinstance(figure, Slider) else None
    rules = [{"text": words.first_capital(j.rule.text), "holds": j.holds, "control_holds": j.control_holds} for j in verdict.rules]
    return _render(
        "page.html",
        script=Markup(_file("lab.js")),
        **_facts(verdict),
        slider=slider,
        start=figure.start if isinstance(figure, Slider) else 0,
        frames=drawn(figure),
        rules=rules,
        numbers=[_row(verdict, name) for name in verdict.numbers],
        seeds=words.count(len(verdict.seeds), "seed") if len(verdict.seeds) > 1 else "Nothing here is random, or one seed was asked for",
        seconds=words.duration(verdict.seconds),
        next=kind.next,
        limits=kind.limits,
        code=kind.code(),
    )


def gallery(verdicts: Sequence[Verdict]) -> str:
    """The page that shows all verdicts with a thumbnail each."""
    topics = []
    for topic in TOPICS:
        entries = [{**_facts(v), "figure": v.figure} for v in verdicts if type(v.experiment).topic == topic]
        if entries:
            topics.append((topic, entries))
    wrong = [v.name for v in verdicts if not v.sound]
    summary = "All hold, and every control fails." if not wrong else f"Not so: {words.listing(wrong)}."
    return _render("gallery.html", version=__version__, count=words.count(len(verdicts), "experiment"), summary=summary, topics=topics)


def cell(verdict: Verdict) -> str:
    """What a notebook shows."""
    rules = [f"{j.rule.text}: {'yes' if j.holds else 'no'}" for j in verdict.rules]
    return _render("cell.html", **_facts(verdict), figure=verdict.figure, rules=rules)


def table(kinds: Mapping[str, Any]) -> str:
    """All experiments as a Markdown table by topic: what is claimed, by whom, and with what control the verdict fails."""
    lines: list[str] = []
    for topic in TOPICS:
        own = [(name, kind) for name, kind in kinds.items() if kind.topic == topic]
        if not own:
            continue
        lines += ["", f"## {topic}", "", "| experiment | claim | source | verdict | control |", "|---|---|---|---|---|"]
        for name, kind in own:
            claim = kind.claim + (f" *As printed:* {kind.printed}" if kind.printed else "")
            word = "as printed: refuted" if kind.printed else "holds"
            lines.append(f"| `{name}` | {' | '.join(_cell(text) for text in (claim, kind.source, word, kind.control))} |")
    return "\n".join(lines[1:])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("\\*As printed:\\*", "*As printed:*").replace("_", "\\_")


def _facts(verdict: Verdict) -> dict[str, Any]:
    kind = type(verdict.experiment)
    texts = {name: getattr(kind, name) for name in ("topic", "question", "claim", "source", "expect", "control", "printed")}
    return {
        **texts,
        "name": verdict.name,
        "word": words.first_capital(verdict.word),
        "sound": verdict.sound,
        "control_fails": verdict.control_fails,
        "version": __version__,
    }


def _slider(figure: Slider) -> dict[str, Any]:
    shown = [words.number(value) for value in figure.values]
    return {
        "label": figure.label,
        "key": figure.key,
        "last": len(figure.values) - 1,
        "start": figure.start,
        "stops": " ".join(f"{float(value):g}" for value in figure.values),
        "words": "|".join(shown),
        "now": shown[figure.start],
    }


def _row(verdict: Verdict, name: str) -> dict[str, str]:
    """One number: its mean, the 95 % interval where a rule is about it, else the lowest and highest seed, and the control's mean."""
    values, averaged = verdict.numbers[name], any(j.rule.on_average and j.rule.number == name for j in verdict.rules)
    found = Interval.of(values)
    low, high = (_whole(end) for end in ((found.low, found.high) if averaged else (min(values), max(values))))
    span = f"{low} to {high}" + (" (95\u00a0%)" if averaged else "") if low != high else words.NOTHING
    return {"name": name, "mean": _whole(found.mean), "span": span, "control": _whole(Interval.of(verdict.control[name]).mean)}


def _whole(value: float) -> str:
    """A number that no line break divides."""
    return words.number(value).replace(" ", "\u00a0")


def _render(template: str, **facts: Any) -> str:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["code"] = with_code
    style = Markup(resources.files("temperance.report").joinpath("style.css").read_text(encoding="utf-8") + _file("lab.css"))
    return environment.from_string(_file(template)).render(style=style, **facts)


def with_code(text: str) -> Markup:
    """Text in which names between backticks are code.

    Example:
        >>> str(with_code("`u_curve`: λ < 1"))
        '<code>u_curve</code>: λ &lt; 1'
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _file(name: str) -> str:
    return resources.files("temperance.lab").joinpath(name).read_text(encoding="utf-8")
