"""The first screen: what was predicted, how well, beside what, whether the cocktail helped, whether it over-fits, and what is in it."""

from __future__ import annotations

from typing import Any

from temperance.report import figures, strengths, tried, verdicts, words
from temperance.report.facts import Facts, scored, ships


def task(facts: Facts) -> str:
    """What was predicted from what, in one sentence."""
    target, kind = str(facts.summary.get("target") or ""), str(facts.summary.get("task") or "")
    names = [str(c) for c in facts.data.get("classes") or []]
    known = f"one of {len(names)} classes" if len(names) > 2 else words.listing(names, "or") if names else "a class"
    what = {
        "classification": known,
        "multilabel": f"any of {words.count(len(names), 'label')}" if names else "labels",
        "regression": ("numbers" if ", " in target else "a number") + (f" in {facts.unit}" if facts.unit else ""),
    }.get(kind, "")
    columns = [c for c in facts.data.get("columns") or [] if str(c.get("name")) != target and c.get("kind") != "ignored"]
    text = f"Predicted: {target}" + (f", {what}," if what else ",") if target else ""
    image = facts.data.get("images") or {}
    if text and columns:
        text += f" from {words.count(len(columns), 'column')}"
    elif text and image:
        text += f" from {image.get('colors')} images of {image.get('height')} × {image.get('width')} pixels"
        text += f", read as the features of {image['backbone']}," if image.get("backbone") else ""
    if text and facts.data.get("source"):
        text += f" of {facts.data['source']}"
    if text and words.finite(facts.data.get("rows")) is not None:
        text += f" ({words.count(facts.data['rows'], 'image' if image else 'row')})"
    return text.rstrip(",") + "." if text else ""


def answer(facts: Facts) -> dict[str, str] | None:
    """The score on test rows in words, whose it is, and where it stands among the rivals."""
    ours = next((r for r in facts.estimates(facts.metric) if r.ours and r.value is not None), None)
    if ours is None:
        return None
    between = words.interval(ours.low, ours.high, facts.shown.decimals)
    return {
        "n": words.count(facts.n_test, "test row") if facts.n_test is not None else "test rows",
        "model": scored(facts.summary),
        "metric": words.article(words.metric_name(facts.metric)),
        "value": facts.shown.score(ours.value) + (f" {facts.unit}" if facts.unit else ""),
        "interval": f"({between})" if between else "",
        "verdict": " ".join(text for text in (beside(facts), ships(facts.summary)) if text),
    }


def beside(facts: Facts) -> str:
    """How what was scored stands beside its rivals, on the same rows; a rule that ignores the columns is told only where it is not beaten."""
    rivals = [r for r in facts.summary.get("rivals") or [] if (r.get("difference") or {}).get("answer") is not None]
    known = [(rival, str(rival.get("name") or "rival")) for rival in rivals]
    said = [verdicts.beside(rival, facts.shown) for rival, name in known if not figures.is_trivial(name)]
    text = f"It is {'; '.join(said)} (+ is better)." if said else ""
    trivial = [(rival["difference"]["answer"], name) for rival, name in known if figures.is_trivial(name)]
    worse = [name for found, name in trivial if found == "worse"]
    close = [name for found, name in trivial if found == verdicts.TOO_CLOSE]
    if worse:
        text += f" It is worse than {words.listing(worse)}: do not use it as it is."
    if close:
        text += f" It is not shown to be better than {words.listing(close)}: do not use it as it is."
    return text.strip()


def comparison(facts: Facts) -> figures.Figure | None:
    """Our score beside the rivals'."""
    rows = facts.estimates(facts.metric)
    if not any(r.value is not None for r in rows):
        return None
    n = words.count(facts.n_test, "test row") if facts.n_test is not None else "the test rows"
    how = f"{words.first_capital(str(facts.scores['interval']))}." if facts.scores.get("interval") else ""
    same = "The same rows for every model. " if len(rows) > 1 else ""
    ours = f"temperance is {scored(facts.summary)}. " if any(r.ours for r in rows) and facts.summary.get("ensemble") else ""
    caption = f"{'n = ' if facts.n_test is not None else 'On '}{n}. {ours}{same}{how}".strip()
    return figures.comparison(rows, facts.axis, caption, greater=facts.greater, decimals=facts.shown.decimals)


def helped(facts: Facts) -> dict[str, str] | None:
    """Did the cocktail help?"""
    found = facts.part("verdicts")
    return verdicts.helped(found.get("cocktail") or {}, str(found.get("metric") or facts.metric), facts.shown, f" {facts.unit}" if facts.unit else "")


def overfitting(facts: Facts) -> dict[str, str] | None:
    """Does the network score better on rows it was trained on?"""
    found = facts.part("verdicts")
    return verdicts.overfits(found.get("overfitting") or {}, str(found.get("metric") or facts.metric), facts.shown, f" {facts.unit}" if facts.unit else "")


def brew(facts: Facts) -> dict[str, Any] | None:
    """The chosen regularizers, short."""
    cocktail = facts.part("cocktail")
    on: dict[str, list[str]] = {}
    for row in cocktail.get("rows") or []:
        if not strengths.is_off(row.get("value"), row.get("off")):
            on.setdefault(str(row.get("regularizer") or ""), []).append(f"{row.get('strength', '')} {words.number(row.get('value'))}".strip())
    if not cocktail.get("rows"):
        return {"head": "", "items": [(str(cocktail["repr"]), "")], "rest": ""} if cocktail.get("repr") else None
    used = tried.of_summary(facts.summary)
    return {"head": used.head, "items": [(name, ", ".join(doses)) for name, doses in on.items()], "rest": " ".join(used.said)}


def rows(facts: Facts) -> str:
    """How the rows were divided."""
    s = facts.split
    folds, test = words.finite(s.get("folds")), words.finite(s.get("test"))
    last = "" if test is None else f"{test:,.0f} kept for the final score" if test else "none kept apart"
    if folds and words.finite(s.get("train")) is not None:
        first = f"{folds:,.0f} folds, each with about {s['train']:,} rows to train on" + (
            f" and {s['validation']:,} to choose by" if s.get("validation") else ""
        )
        return "; ".join(part for part in (first, last) if part)
    parts = [(s.get("train"), "to train on"), (s.get("validation"), "to choose by")]
    return words.listing([*(f"{int(n):,} {what}" for value, what in parts if (n := words.finite(value)) is not None), *([last] if last else [])])
