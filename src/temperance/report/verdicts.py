"""Answers in words: did the cocktail help, does the network over-fit, is it better than its rivals; each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temperance.report import words
from temperance.report.rounding import Rounding

TOO_CLOSE = "too close to tell"
FEWEST = 20
"""On fewer rows resampling says little about what is not among them."""


def answer(difference: Mapping[str, Any], n: float | None, yes: str = "yes", no: str = "no") -> str:
    """What a difference with its interval answers: ``yes`` where all of the interval is above zero, ``no`` where all is below.

    Example:
        >>> answer({"value": 0.02, "low": 0.01, "high": 0.03}, 500), answer({"value": 0.02, "low": -0.01, "high": 0.05}, 500)
        ('yes', 'too close to tell')
    """
    low, high = words.finite(difference.get("low")), words.finite(difference.get("high"))
    if low is None or high is None or n is None or n < FEWEST:
        return TOO_CLOSE
    return yes if low > 0 else no if high < 0 else TOO_CLOSE


def apart(difference: Mapping[str, Any], shown: Rounding) -> str:
    """A difference with its interval, signed: ``+0.012 (0.004 to 0.020)``."""
    between = words.interval(difference.get("low"), difference.get("high"), shown.fine)
    return shown.signed(difference.get("value")) + (f" ({between})" if between else "")


def helped(verdict: Mapping[str, Any], metric: str, shown: Rounding, unit: str = "") -> dict[str, str] | None:
    """Whether the cocktail helped: a word, and a sentence with the two scores, their difference, and whose they are."""
    if not verdict:
        return None
    if verdict.get("answer") is None:
        return {"head": "Not measured", "text": words.sentence(verdict.get("why") or "")}
    if verdict.get("why"):
        return {"head": words.first_capital(str(verdict["answer"])), "text": words.sentence(verdict["why"])}
    n = words.finite(verdict.get("n"))
    text = (
        f"On {words.count(n, 'test row')} {words.metric_name(metric)} is {shown.score(verdict.get('with'))}{unit} with the cocktail and "
        f"{shown.score(verdict.get('without'))}{unit} without it: {apart(verdict, shown)}, + is better."
    )
    if n is not None and n < FEWEST:
        text += f" That is fewer than {FEWEST} rows."
    note = str(verdict.get("note") or "")
    return {"head": words.first_capital(str(verdict["answer"])), "text": text + (f" {words.sentence(note)}" if note else "")}


def overfits(verdict: Mapping[str, Any], metric: str, shown: Rounding, unit: str = "") -> dict[str, str] | None:
    """Whether the score on the rows that it was trained on is better than on test rows."""
    if not verdict or words.finite(verdict.get("train")) is None:
        return None
    held = words.finite(verdict.get("held"))
    rows = "test" if verdict.get("rows") == "test" else "validation"
    name = words.first_capital(words.metric_name(metric))
    text = f"{name} is {shown.score(verdict['train'])}{unit} on rows it was trained on and {shown.score(held)}{unit} on {rows} rows: "
    text += f"a gap of {apart(verdict, shown)}."
    bare = verdict.get("without")
    if words.finite(bare) is not None:
        text += f" Without the cocktail the gap is {shown.signed(bare)}."
    text += " These are scores of the search's network, not of the model that ships."
    if words.finite(verdict.get("low")) is None:
        return {"head": "Not measured on test rows", "text": text}
    return {"head": words.first_capital(str(verdict.get("answer"))), "text": text}


def beside(rival: Mapping[str, Any], shown: Rounding) -> str:
    """How the model stands beside a rival: ``better than linear model: +0.012 (0.004 to 0.020)``."""
    difference = rival.get("difference") or {}
    name, said = str(rival.get("name") or "rival"), difference.get("answer")
    if said is None:
        return ""
    what = {"better": f"better than {name}", "worse": f"worse than {name}"}.get(str(said), f"too close to {name} to tell")
    return f"{what}, {apart(difference, shown)}"
