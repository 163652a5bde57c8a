"""Which regularizers of the winner help: in sentences, as rows of a table, and as a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.figures import PANEL, WIDE, Figure
from temperance.report.svg import Canvas, Frame, scale_for, text_width, tick_labels

HELPS, HURTS, NONE, UNKNOWN = "helps", "hurts", "no difference", "cannot tell"
SHORT = 6  # letters of a name that stays as it is written: MixUp, CutMix


def spoken(name: str) -> str:
    """A regularizer's name as people write it at the beginning of a sentence.

    Example:
        >>> [spoken(name) for name in ("LabelSmoothing", "Dropout", "MixUp", "EMA", "L2SP")]
        ['Label smoothing', 'Dropout', 'MixUp', 'EMA', 'L2SP']
    """
    return name if len(name) <= SHORT else re.sub(r"(?<=[a-z])([A-Z])", lambda found: f" {found[1].lower()}", name)


class Wording:
    """How the differences of one explanation are written: the metric, its direction, and how many decimals."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.greater = bool(facts["metric"]["greater_is_better"])
        self.few = bool(facts["rows"]["few"])
        self.metric = words.metric_name(str(facts["metric"]["name"]))
        score = facts["score"]["value"]
        widths = sorted(width for row in [*facts["regularizers"], facts["whole"]] if row and (width := _width(row)) is not None)
        usual = widths[len(widths) // 2 :][:1]  # the narrowest one belongs to what changes next to nothing, and would give all the others too many digits
        self.decimals = max(words.decimals_for([score], usual), 3 if score is None or abs(score) < 10 else 0)

    def between(self, row: Mapping[str, Any]) -> str:
        """The interval of a difference, + being for the regularizer; nothing where there is none."""
        return words.interval(row["low"], row["high"], self.decimals)

    def signed(self, value: Any) -> str:
        text = words.fixed(value, self.decimals)
        return f"+{text}" if (words.finite(value) or 0.0) > 0 and text.strip("0.,") else text

    def change(self, row: Mapping[str, Any], *, gone: bool) -> str:
        """What taking a regularizer away, or adding it, does to the metric: ``log-loss is 0.021 higher (0.012 to 0.030)``."""
        better = (row["value"] < 0) == gone
        low, high = sorted((abs(row["low"]), abs(row["high"])))
        direction = "higher" if better == self.greater else "lower"
        return f"{self.metric} is {words.fixed(abs(row['value']), self.decimals)} {direction} ({words.interval(low, high, self.decimals)})"


def _width(row: Mapping[str, Any]) -> float | None:
    return None if row["low"] is None else row["high"] - row["low"]


def sentences(facts: Mapping[str, Any]) -> list[str]:
    """What an explanation says to people: first which regularizers help, then what else was looked at, then how it was measured."""
    said = Wording(facts)
    on = sorted((row for row in facts["regularizers"] if row["change"] == "dropped"), key=lambda row: -(row["value"] or 0.0))
    out = [_verdicts(facts, on, said)] if on else ["The winner has every regularizer off, so there is nothing to take away."]
    out += [text for text in (_whole(facts, said), _others(facts, said), _pair(facts), _doses(facts, said)) if text]
    return [*out, _basis(facts), *_limits(facts)]


def _verdicts(facts: Mapping[str, Any], on: Sequence[Mapping[str, Any]], said: Wording) -> str:
    """A sentence for each regularizer that is on, those that help first."""
    if all(row["answer"] == UNKNOWN for row in on):
        names = _names([spoken(row["regularizer"]) for row in on])
        what = f"whether {names} helped" if len(on) == 1 else f"which of {names} helped"
        return f"Cannot tell {what}: {_why(facts, on, said)}."
    helping = [row for row in on if row["answer"] == HELPS]
    texts: list[str] = []
    for row in on:
        name = spoken(row["regularizer"])
        if row["answer"] == HELPS:
            what = "helps" if row is not helping[0] else "carries it" if _carries(facts, helping) else "helps most"
            texts.append(f"{name} {what}: without it {said.change(row, gone=True)}.")
        elif row["answer"] == HURTS:
            texts.append(f"{name} hurts: without it {said.change(row, gone=True)}.")
        elif row["answer"] == NONE:
            texts.append(f"{name} made no difference that matters ({said.between(row)}).")
        else:
            texts.append(f"{name}: {_unclear(row, said)}.")
    return " ".join(texts)


def _inside(text: str) -> str:
    """A name within a sentence: capitals of its own stay.

    Example:
        >>> [_inside(spoken(name)) for name in ("LabelSmoothing", "MixUp", "EMA", "L1")]
        ['label smoothing', 'MixUp', 'EMA', 'L1']
    """
    return words.first_lower(text) if text[1:].islower() else text


def _carries(facts: Mapping[str, Any], helping: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the first one that helps is alone in it, or has most of what all together gain."""
    whole = (facts["whole"] or {}).get("value")
    return len(helping) == 1 or (whole is not None and helping[0]["value"] > 0.5 * whole and helping[0]["value"] > 2 * helping[1]["value"])


def _unclear(row: Mapping[str, Any], said: Wording) -> str:
    if row["low"] is None:
        return "cannot tell" + (f", its networks diverged under {words.count(row['diverged'], 'seed')}" if row["diverged"] else "")
    return f"{'cannot tell' if said.few else 'too small to tell'} ({said.between(row)})"


def _why(facts: Mapping[str, Any], on: Sequence[Mapping[str, Any]], said: Wording) -> str:
    held, seeds = facts["rows"]["held"], facts["seeds"]
    if facts["rows"]["few"]:
        return f"{words.count(held, 'test row')} are too few"
    if seeds < 2:
        return f"{words.count(seeds, 'seed')} {'is' if seeds == 1 else 'are'} too few"
    intervals = [f"{said.between(row)}" for row in on if row["low"] is not None]
    what = "the interval holds" if len(intervals) == 1 else "the intervals hold"
    return f"{what} better and worse ({'; '.join(intervals)})" if intervals else "the networks diverged, or the score is not defined on these rows"


def _whole(facts: Mapping[str, Any], said: Wording) -> str:
    row = facts["whole"]
    if not row:
        return ""
    start = "All of them together"
    if row["answer"] in (HELPS, HURTS):
        return f"{start} {'help' if row['answer'] == HELPS else 'hurt'}: without any {said.change(row, gone=True)}."
    return f"{start} made no difference that matters ({said.between(row)})." if row["answer"] == NONE else f"{start}: {_unclear(row, said)}."


def _others(facts: Mapping[str, Any], said: Wording) -> str:
    """What adding another one does: each that helps by itself, the rest by name."""
    rows = [row for row in facts["regularizers"] if row["change"] == "added"]
    if not rows:
        return ""
    texts = [f"{spoken(row['regularizer'])} added ({_dose(row)}) would help: {said.change(row, gone=False)}." for row in rows if row["answer"] == HELPS]
    for answer, what in ((HURTS, "would hurt in the dose that was tried"), (NONE, "would make no difference that matters"), (UNKNOWN, "cannot be told")):
        names = [spoken(row["regularizer"]) for row in rows if row["answer"] == answer]
        if names:
            texts.append(f"{'Added, ' if answer != UNKNOWN else 'What adding '}{_names(names)} {what if answer != UNKNOWN else 'would do ' + what}.")
    return " ".join(texts)


def _names(names: Sequence[str]) -> str:
    return words.listing([_inside(name) for name in names])


def _dose(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{field} {words.number(value)}" for field, value in row["strengths"].items())


def _pair(facts: Mapping[str, Any]) -> str:
    row = facts["pair"]
    if not row:
        return ""
    one, two = spoken(row["regularizers"][0]), _inside(spoken(row["regularizers"][1]))
    decimals = words.decimals_for([row["value"]], [_width(row)])
    between = words.interval(row["low"], row["high"], max(decimals, 3))
    ways = {
        HELPS: f"{one} and {two} stand in for each other: without both more is lost than without the one and without the other taken together",
        HURTS: f"{one} and {two} need each other: without both less is lost than without the one and without the other taken together",
        NONE: f"{one} and {two} act independently",
        UNKNOWN: f"Whether {_inside(one)} and {two} need each other cannot be told",
    }
    return ways[row["answer"]] + (f" ({between})." if between else ".")


def _doses(facts: Mapping[str, Any], said: Wording) -> str:
    better = [(curve, point) for curve in facts["doses"] for point in curve["points"] if point["answer"] == HELPS]
    if not facts["doses"]:
        return ""
    if not better:
        return "No other dose of what is on is surely better."
    curve, point = max(better, key=lambda found: found[1]["value"])
    what = f"{curve['regularizer']}'s {curve['strength']} of {words.number(point['dose'])} in place of {words.number(curve['chosen'])}"
    return f"{what} would be better: {said.change(point, gone=False)}."


def _basis(facts: Mapping[str, Any]) -> str:
    rows, many = facts["rows"], facts["comparisons"]
    groups = f" in {words.count(rows['groups'], 'group')}" if rows["groups"] else ""
    folds = f", each on {rows['folds']} folds" if rows["folds"] > 1 else ""
    searched = facts.get("chosen", True) and facts.get("fresh", True)
    who = "neither the search nor these networks saw" if searched else "these networks did not see"
    text = f"Measured on {words.count(rows['held'], 'row')}{groups} that {who}, "
    text += f"under {words.count(facts['seeds'], 'seed')}{folds}"
    corrected = f", corrected for {many} comparisons" if many > 1 else ""
    return f"{text}; in brackets {100 * facts['level']:.0f} % intervals for other rows and other seeds{corrected}."


def _limits(facts: Mapping[str, Any]) -> list[str]:
    """What the differences leave open."""
    out = ["The learning rate and the length of training stay as they are, so that a cocktail tuned by itself could do better than shown."]
    if facts.get("chosen", True):
        out = [
            f"Explained is trial {facts['trial']}, the best single network: its learning rate and length of training stay as they were chosen with its "
            "cocktail, so that a cocktail tuned by itself could do better than shown."
        ]
    if facts["ended"] != "done":
        when = "Interrupted" if facts["ended"] == "interrupted" else "The time ended"
        missing = [] if facts["seeds"] == facts["asked"] else [f"after {facts['seeds']} of {words.count(facts['asked'], 'seed')}"]
        out.append(f"{when} {'; '.join(missing) or 'before other doses were measured under every seed'}: the same call goes on from there.")
    return [*out, *(words.sentence(note) for note in facts["notes"])]


def _ordered(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is on before what was added, of each the most helpful first."""
    return sorted(facts["regularizers"], key=lambda row: (row["change"] == "added", -(row["value"] if row["value"] is not None else -1e300)))


def table(facts: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows, as text: first what is on, the most helpful first, then what was added, then all of them together."""
    said = Wording(facts)
    lines = [
        (row["regularizer"], row["change"], _dose(row), said.signed(row["value"]), said.between(row) or words.NOTHING, row["answer"]) for row in _ordered(facts)
    ]
    if facts["whole"]:
        lines.append(("all of them", "dropped", "", *_numbers(facts["whole"], said)))
    return ("regularizer", "change", "dose", f"{said.metric} with it, + is better", "interval", "it ..."), lines


def _numbers(row: Mapping[str, Any], said: Wording) -> tuple[str, str, str]:
    return said.signed(row["value"]), said.between(row) or words.NOTHING, row["answer"]


def section(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the template lays out: the sentences, and the figure."""
    if not facts:
        return None
    first, *rest = sentences(facts)
    return {"head": first, "rest": rest, "figure": figure(facts)}


def figure(facts: Mapping[str, Any]) -> Figure | None:
    """Every difference with its interval on one axis, and the doses of what is on, folded away."""
    said = Wording(facts)
    rows = [_Drawn(row["regularizer"] + ("" if row["change"] == "dropped" else ", added"), row, row["change"] == "dropped") for row in _ordered(facts)]
    if facts["whole"]:
        rows.append(_Drawn("all of them", facts["whole"], True))
    rows = [one for one in rows if one.row["value"] is not None]
    if not rows:
        return None
    title = f"{said.metric} with it, + is better"
    caption = (
        f"n = {words.count(facts['rows']['held'], 'test row')} and {words.count(facts['seeds'], 'seed')}. Dots: what each regularizer is worth, "
        f"with {100 * facts['level']:.0f} % intervals for other rows and seeds, corrected for {words.count(facts['comparisons'], 'comparison')}."
    )
    if facts["margin"]:
        caption += f" A difference inside the band (±{words.number(facts['margin'], 2)}) is taken for none."
    more = [_curve(curve, said) for curve in facts["doses"] if any(p["value"] is not None for p in curve["points"])]
    drawn = [_forest(rows, title, facts["margin"], said, width) for width in (WIDE, PANEL)]
    return Figure([drawn[0]], caption, narrow=drawn[1], more=more)


@dataclass(frozen=True)
class _Drawn:
    """A line of the figure."""

    name: str
    row: Mapping[str, Any]
    ours: bool


def _forest(rows: Sequence[_Drawn], title: str, margin: float, said: Wording, width: int) -> Markup:
    """Dots with intervals about zero, a line each."""
    wide = width >= 600
    names = [words.shorten(one.name, 26 if wide else 15) for one in rows]
    texts = [said.signed(one.row["value"]) for one in rows]
    if wide:
        texts = [f"{text} ({said.between(one.row) or 'no interval'})" for text, one in zip(texts, rows, strict=True)]
    left = min(max(text_width(name, 13) for name in names) + 22, 230.0 if wide else 130.0)
    right, step = width - max(text_width(text, 13) for text in texts) - 22, 24
    bottom = 6.0 + step * len(rows)
    told = "; ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
    canvas = Canvas(width, bottom + 38, f"{title}: {told}", "wide" if wide else "narrow")
    ends = [v for one in rows for v in (one.row["value"], one.row["low"], one.row["high"]) if v is not None]
    x = scale_for([0.0, *ends], left, right)
    if margin:
        canvas.rect(x.clamp(-margin), 2, x.clamp(margin) - x.clamp(-margin), bottom - 2, "cell")
    ticks = x.ticks(6 if wide else 3)
    for value, label in zip(ticks, tick_labels(ticks), strict=True):
        canvas.line(x(value), 2, x(value), bottom, "rule")
        canvas.text(x(value), bottom + 16, label, "tick", "middle")
    canvas.line(x(0.0), 2, x(0.0), bottom, "axis")
    canvas.text(width, bottom + 33, title, "title", "end")
    for k, (name, text, one) in enumerate(zip(names, texts, rows, strict=True)):
        y, who = 18.0 + k * step, "ours" if one.ours else "rival"
        canvas.text(0, y + 4.5, name, f"name {who}")
        canvas.text(width, y + 4.5, text, f"value {who}", "end")
        if one.row["low"] is not None:
            canvas.line(x(one.row["low"]), y, x(one.row["high"]), y, f"interval {who}")
        canvas.dot(x(one.row["value"]), y, 4.2, f"estimate {who}", title=f"{name}: {text}")
    return canvas.svg()


def _curve(curve: Mapping[str, Any], said: Wording) -> Markup:
    """The differences of one strength's doses to the chosen one, which lies at zero."""
    name = f"{curve['regularizer']} {curve['strength']}"
    chosen = {"dose": curve["chosen"], "value": 0.0, "low": None, "high": None}
    points = sorted([*(p for p in curve["points"] if p["value"] is not None), chosen], key=lambda p: p["dose"])
    log = points[0]["dose"] > 0 and points[-1]["dose"] > 3 * points[0]["dose"]
    frame = Frame(62, 32, PANEL - 8, 206)
    canvas = Canvas(PANEL, 242, f"{name}: " + "; ".join(f"{words.number(p['dose'])} {said.signed(p['value'])}" for p in points))
    x = scale_for([p["dose"] for p in points], frame.left, frame.right, log=log, margin=0.04)
    y = scale_for([v for p in points for v in (p["value"], p["low"], p["high"]) if v is not None], frame.bottom, frame.top)
    frame.grid(canvas, x, y, f"{name}{', log scale' if log else ''}", f"{said.metric} against the chosen dose, + is better")
    canvas.line(frame.left, y(0.0), frame.right, y(0.0), "axis")
    canvas.polyline([(x(p["dose"]), y(p["value"])) for p in points], "curve series-1")
    for p in points:
        if p["low"] is not None:
            canvas.line(x(p["dose"]), y(p["low"]), x(p["dose"]), y(p["high"]), "interval ours")
        canvas.dot(
            x(p["dose"]), y(p["value"]), 4, "estimate ours" if p is not chosen else "estimate", title=f"{words.number(p['dose'])}: {said.signed(p['value'])}"
        )
    return canvas.svg()
