"""The section on robustness: what attacks of growing size leave of the score, as sentences, a figure and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, Figure
from temperance.report.svg import Canvas, Frame, Scale, scale_for

NAMES = {"fgsm": "FGSM", "pgd": "PGD", "margin": "margin", "noise": "random noise", "worst": "worst of all"}
"""The curves as people call them, in the order of the columns."""
_COLOURS = {"fgsm": "series-2 thin", "pgd": "series-3 thin", "margin": "series-5 thin", "noise": "series-4", "worst": "series-1"}
_MOST_MOVES = 3


def render(facts: Mapping[str, Any]) -> Markup:
    """The section as HTML that loads nothing, in the classes of the page's style sheet; empty where nothing was measured.

    Args:
        facts: as :func:`section` takes them.

    Example:
        >>> render({})
        Markup('')
    """
    laid_out = section(facts)
    if laid_out is None:
        return Markup("")
    text = resources.files("temperance.report").joinpath("robust.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return Markup(environment.from_string(text).render(**laid_out))


def section(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is laid out: sentences, warnings, the figure and the rows of the table; ``None`` where nothing was measured.

    Args:
        facts: the plain values of :meth:`temperance.diagnose.robustness.Robustness.to_dict`; and, where they are known, ``of``, the rows that the
            measured ones were drawn from, and ``moves``, columns with the size of their unit: ``[{"name": "age", "sd": 13.6}]``.
    """
    if not facts.get("eps") or not facts.get("worst"):
        return None
    metric = str(facts.get("metric") or "accuracy")
    curves = curves_of(facts)
    return {
        "said": said(facts),
        "warnings": [words.sentence(w) for w in facts.get("warnings") or []],
        "figure": figure(facts),
        "head": [NAMES.get(name, name) for name in curves],
        "rows": rows(facts),
        "moves": bool(facts.get("moves")),
        "note": f"{words.first_capital(words.metric_name(metric))} with its 95 % interval; n = {words.count(facts.get('n'), 'row')}, the same in every cell.",
    }


def curves_of(facts: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    """The scores by name, in the order of the columns, one for each eps."""
    found = {**(facts.get("attacks") or {}), "noise": facts.get("noise") or [], "worst": facts.get("worst") or []}
    return {name: found[name] for name in [*NAMES, *(other for other in found if other not in NAMES)] if found.get(name)}


def rows(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table: the unmoved rows first, then one for each eps."""
    curves, clean = curves_of(facts), facts.get("clean") or {}
    every = [clean, *(score for scores in curves.values() for score in scores)]
    decimals = _decimals(every)

    def cell(score: Mapping[str, Any]) -> dict[str, str]:
        return {"value": words.fixed(score.get("value"), decimals), "interval": words.interval(score.get("low"), score.get("high"), decimals, "–")}

    out: list[dict[str, Any]] = [{"eps": "0", "cells": [cell(clean) for _ in curves], "moves": "the rows as they are"}]
    for k, eps in enumerate(facts["eps"]):
        out.append({"eps": words.number(eps), "cells": [cell(scores[k]) for scores in curves.values()], "moves": moves(facts, eps)})
    return out


def _decimals(scores: Sequence[Mapping[str, Any]]) -> int:
    return words.decimals_for([s.get("value") for s in scores], [(s.get("high") or 0.0) - (s.get("low") or 0.0) for s in scores])


def moves(facts: Mapping[str, Any], eps: Any) -> str:
    """What an eps is in the units of a few columns: ``age ± 1.4, hours ± 1.2``."""
    size = words.finite(eps)
    known = [(str(m.get("name")), words.finite(m.get("sd"))) for m in facts.get("moves") or []]
    shown = [f"{words.shorten(name, 24)} ± {words.number(size * sd, 2)}" for name, sd in known if size is not None and sd is not None]
    return ", ".join(shown[:_MOST_MOVES])


def said(facts: Mapping[str, Any]) -> list[str]:
    """What was done and what came out, in sentences."""
    of = words.finite(facts.get("of"))
    n = words.finite(facts.get("n")) or 0.0
    unit = "in standard deviations of each input" if facts.get("unit") == "sd" else "in the raw units of the inputs"
    room = "Every number of a row may move by at most eps" if facts.get("norm") == "linf" else "A row may move by at most eps in all (Euclidean length)"
    drawn = f", drawn from {words.count(of, 'row')}" if of is not None and of > n else ""
    stays = [str(what) for what in facts.get("stays") or []]
    still = f"; {' and '.join(stays)} stay as they are" if stays else ""
    measured = (
        f"Measured on {words.count(n, 'row')}{drawn}: {words.count(facts.get('steps'), 'step')}, {words.count(facts.get('restarts'), 'start')} an attack."
    )
    out = [f"{room}, {unit}{still}. {measured}"]
    metric, clean, worst, noise = words.metric_name(str(facts.get("metric"))), facts.get("clean") or {}, facts["worst"], facts.get("noise") or []
    decimals = _decimals([clean, *worst, *noise])
    show = lambda score: words.fixed(score.get("value"), decimals)  # noqa: E731
    text = f"Together the attacks take the {metric} from {show(clean)} to {show(worst[0])} at eps {words.number(facts['eps'][0])}"
    if len(worst) > 1:
        text += f", and to {show(worst[-1])} at eps {words.number(facts['eps'][-1])}"
    if noise:
        text += f", where random noise of that size (the worst of ten draws for each row) takes it to {show(noise[-1])}"
    out.append(f"{text}. An adversary may still find more: that a row was not broken is no proof that it cannot be.")
    return out


def figure(facts: Mapping[str, Any]) -> Figure:
    """The score against eps, one curve an attack, with the interval of the worst of all."""
    curves, clean = curves_of(facts), facts.get("clean") or {}
    sizes = [0.0, *map(float, facts["eps"])]
    metric = str(facts.get("metric") or "accuracy")
    frame = Frame(46, 32, PANEL - 8, 206)
    canvas = Canvas(PANEL, 242, f"{words.metric_name(metric)} against the size of the attack")
    values = {name: [words.finite(s.get("value")) for s in (clean, *scores)] for name, scores in curves.items()}
    ends = [words.finite(s.get(key)) for s in (clean, *curves["worst"]) for key in ("low", "high")]
    x = Scale(0.0, sizes[-1] * 1.03, frame.left, frame.right)
    y = scale_for([v for v in (*ends, *(v for line in values.values() for v in line)) if v is not None], frame.bottom, frame.top)
    unit = "standard deviations" if facts.get("unit") == "sd" else "raw units"
    frame.grid(canvas, x, y, f"eps ({unit}, {facts.get('norm')})", words.metric_axis(metric), y_ticks=5)
    for score, size in zip((clean, *curves["worst"]), sizes, strict=True):
        low, high = words.finite(score.get("low")), words.finite(score.get("high"))
        if low is not None and high is not None:
            canvas.line(x(size), y(low), x(size), y(high), "interval")
    for name, line in values.items():
        canvas.polyline([(x(a), y(b) if b is not None else float("nan")) for a, b in zip(sizes, line, strict=True)], f"curve {_COLOURS.get(name, 'train')}")
    for size, value in zip(sizes, values["worst"], strict=True):
        if value is not None:
            canvas.dot(x(size), y(value), 4, "estimate ours", title=f"eps {words.number(size)}: {words.number(value)}")
    caption = f"n = {words.count(facts.get('n'), 'row')}. For each row the worst of all that was tried, with its 95 % interval; thin lines: one attack alone."
    return Figure([canvas.svg()], caption, legend=[(_COLOURS.get(name, "train"), NAMES.get(name, name)) for name in curves])
