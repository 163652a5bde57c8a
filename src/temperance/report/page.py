"""One self-contained HTML page about one fit: what was predicted, how well, whether it over-fits, which cocktail, and why."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from temperance.report import answers, averages, calibration, confusion, curves, explanation, importance, pictures, predicted, robust, sections, words
from temperance.report.facts import Facts, texts

if TYPE_CHECKING:
    import pandas

BEGIN, END = "<!-- explanation -->", "<!-- /explanation -->"


def render(summary: dict[str, Any], history: pandas.DataFrame | None = None, images: pictures.Pictures | None = None) -> str:
    """The report of one fit as a single HTML document that loads nothing from anywhere.

    Args:
        summary: What ``fit`` knows, in plain JSON types. Any key may be missing or None: what depends on it is left out. Values
            that are None, NaN or infinite are shown as a dash.
        history: One row an evaluation, with ``run`` (``search``, ``winner``, ``without``), ``trial``, ``step``, ``epoch``,
            ``train_loss``, ``validation_loss``, ``train_score``, ``validation_score`` and ``penalty_*`` columns, as far as known.
        images: Pictures of a fit of images, which belong to the keys ``samples``, ``filters`` and ``errors``.

    Returns:
        The page. All text from ``summary`` and ``history`` is escaped.

    Example:
        >>> "<h1>income</h1>" in render({"target": "income"})
        True
    """
    facts = Facts(summary, history)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(sentence=words.sentence, stopped=words.stopped)
    return environment.from_string(_file("template.html")).render(style=Markup(_file("style.css")), script=Markup(_file("script.js")), **context(facts, images))


def explained(page: str, facts: Mapping[str, Any]) -> str:
    """A report with the section about which regularizers help, in place of an earlier one; in reports of earlier versions at their end.

    Args:
        page: of :func:`render`.
        facts: of an explanation.

    Example:
        >>> explained("<main>a <!-- explanation -->b<!-- /explanation --> c</main>", {})
        '<main>a <!-- explanation --><!-- /explanation --> c</main>'
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    macros, section = _file("template.html").partition("<!doctype html>")[0], explanation.section(facts)
    inner = "" if section is None else environment.from_string(macros + _file("explanation.html")).render(explanation=section).strip()
    before, begun, rest = page.partition(BEGIN)
    if not begun:
        before, _, rest = page.partition("</main>")
        return f"{before}{BEGIN}{inner}{END}</main>{rest}"
    return f"{before}{BEGIN}{inner}{END}{rest.partition(END)[2]}"


def _file(name: str) -> str:
    return resources.files("temperance.report").joinpath(name).read_text(encoding="utf-8")


def context(facts: Facts, images: pictures.Pictures | None) -> dict[str, Any]:
    """Everything the template needs."""
    summary = facts.summary
    return {
        "title": str(summary.get("title") or summary.get("target") or "A fit"),
        "version": str(summary.get("temperance") or ""),
        "created": words.date(summary["created"]) if summary.get("created") else "",
        "seed": summary.get("seed"),
        "task": answers.task(facts),
        "answer": answers.answer(facts),
        "comparison": answers.comparison(facts),
        "helped": answers.helped(facts),
        "overfitting": answers.overfitting(facts),
        "brew": answers.brew(facts),
        "rows": answers.rows(facts),
        "warnings": texts(summary.get("warnings")),
        "scores": sections.score_table(facts),
        "learning": curves.learning(facts.history, summary, facts.metric, facts.axis, facts.loss_unit),
        "growth": curves.growth(facts.history, summary),
        "grown": curves.grown(facts.history, summary),
        "stopping": sections.stopping(facts),
        "penalties": curves.penalties(facts.history, summary, facts.loss_unit),
        "cocktail": sections.cocktail(facts),
        "samples": pictures.samples(images, facts.part("samples")),
        "filters": pictures.filters(images, facts.part("filters")),
        "errors": pictures.errors(images, facts.part("errors")),
        "confusion": confusion.section(facts.part("confusion")),
        "calibration": calibration.section(facts.part("calibration")),
        "residuals": predicted.residuals(facts.part("residuals")),
        "precision_recall": predicted.precision_recall(facts.part("precision_recall")),
        "importance": importance.section(facts.part("importance"), facts.axis, greater=facts.greater),
        "robustness": robust.render(facts.part("robustness")),
        "gap": sections.gap_figure(facts),
        "gap_note": str(facts.part("gap").get("note") or ""),
        "ensemble": averages.section(facts),
        "data": sections.data_section(facts),
        "search": sections.search(facts),
        "use": [
            *[(name, str(summary[key])) for key, name in (("predict", "Predict new rows"), ("replay", "Train one trial again")) if summary.get(key)],
            *[(str(name), str(code)) for name, code in summary.get("use") or []],
        ],
        "model": [(str(k).replace("_", " "), words.number(v) if not isinstance(v, str) else v) for k, v in facts.part("model").items() if _scalar(v)],
        "timing": sections.timing(facts),
    }


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
