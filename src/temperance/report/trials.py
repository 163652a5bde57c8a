"""The search as it was: every trial's score against each strength, every trial's course, the table behind both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.curves import clock_of, curves
from temperance.report.figures import PANEL, Figure
from temperance.report.strengths import is_off
from temperance.report.svg import Canvas, Frame, Scale, scale_for
from temperance.report.tried import plain_key

if TYPE_CHECKING:
    import pandas

_FIRST_PANELS = 6


@dataclass(frozen=True)
class Trial:
    """One row of the search table, with its state, as :func:`state_of` gives it."""

    trial: str
    score: float | None
    state: str
    status: str
    epochs: float | None
    plan: str
    strengths: dict[str, Any]
    won: bool = False


STATES = ("finished", "cut short", "dropped", "diverged")
MARKS = {"finished": "finished", "cut short": "dropped", "dropped": "dropped", "diverged": "diverged", "no score": "diverged"}
"""How each state is drawn."""


def state_of(status: str, score: float | None) -> str:
    """The state in one or two words: one of :data:`STATES`, ``"not started"``, or ``"no score"``.

    A trial that its stopping rule ended is finished; one that the clock or an interruption ended is cut short.

    Example:
        >>> [state_of(s, 0.9) for s in ("stopped: no improvement for 20 evals", "dropped at epoch 1", "out of time")], state_of("not started", None)
        (['finished', 'dropped', 'cut short'], 'not started')
    """
    text = status.lower()
    if text.startswith("not started"):
        return "not started"
    if "diverg" in text or "non-finite" in text or re.search(r"\bnan\b", text):
        return "diverged"
    if score is None:
        return "no score"
    if text.startswith(("dropped", "pruned")):
        return "dropped"
    return "cut short" if text.startswith(("out of time", "interrupted", "running", "lost")) else "finished"


def read(search: Mapping[str, Any], winner: str | None) -> list[Trial]:
    """The table of ``summary["search"]`` as trials; ``learning_rate`` joins the strengths."""
    trials: list[Trial] = []
    for row in search.get("table") or []:
        score, status = words.finite(row.get("score")), str(row.get("status") or "finished")
        strengths = {str(k): v for k, v in (row.get("strengths") or {}).items()}
        if row.get("learning_rate") is not None:
            strengths["learning_rate"] = row["learning_rate"]
        name = str(row.get("trial", len(trials)))
        trials.append(
            Trial(name, score, state_of(status, score), status, words.finite(row.get("epochs")), str(row.get("plan") or ""), strengths, name == winner)
        )
    return trials


def winner_of(summary: Mapping[str, Any], history: pandas.DataFrame | None) -> str | None:
    """The number of the winning trial: said by the search, by the replay command, or by the history."""
    told = (summary.get("search") or {}).get("winner")
    if told is not None:
        return str(told)
    found = re.search(r"--trial[ =](\d+)", str(summary.get("replay") or ""))
    if found:
        return found.group(1)
    if history is not None and {"run", "trial"} <= set(history.columns):
        numbers = {v for v in map(words.finite, history[history["run"] == "winner"]["trial"].tolist()) if v is not None and v >= 0}
        return str(int(numbers.pop())) if len(numbers) == 1 else None
    return None


def keys_of(trials: Sequence[Trial]) -> list[str]:
    """The names of all strengths, in order of first appearance."""
    return list(dict.fromkeys(key for trial in trials for key in trial.strengths))


def _is_log(values: Sequence[float], space: Mapping[str, Any] | None) -> bool:
    positive = [v for v in values if v > 0]
    if space is not None and "log" in space:
        return bool(space["log"]) and bool(positive)
    return len(positive) > 1 and max(positive) / min(positive) > 50


def _rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    import pandas

    if len(pairs) < 5:
        return 0.0
    frame = pandas.DataFrame(list(pairs)).rank()
    return abs(words.finite(frame[0].corr(frame[1])) or 0.0) if frame[0].nunique() > 1 and frame[1].nunique() > 1 else 0.0


def _score_scale(scores: Sequence[float], start: float, stop: float, greater: bool) -> Scale:
    """Holds all scores, unless the worst tenth lies so far off that it would flatten the rest."""
    ordered = sorted(scores, reverse=greater)
    if len(ordered) >= 10:
        best, tail = ordered[0], ordered[int(0.9 * (len(ordered) - 1))]
        limit = tail - 0.5 * (best - tail)
        if abs(ordered[-1] - best) > 3 * abs(tail - best) > 0:
            ordered = [best, limit]
    return scale_for(ordered, start, stop)


def against_strengths(trials: Sequence[Trial], known: Mapping[str, Mapping[str, Any]], axis: str, *, greater: bool) -> Figure | None:
    """Validation score against each strength: filled finished, hollow dropped, crosses diverged, the winner ringed."""
    trials = [t for t in trials if t.state != "not started"]
    scored = [t.score for t in trials if t.score is not None]
    if len(trials) < 2:
        return None
    drawn: list[tuple[float, Markup]] = []
    beyond = 0
    for key in keys_of(trials):
        space = known.get(plain_key(key))
        numbers = {t.trial: words.finite(t.strengths.get(key)) for t in trials}
        seen = [v for v in numbers.values() if v is not None]
        if len(set(map(str, (t.strengths.get(key) for t in trials)))) < 2:
            continue
        pairs = [(numbers[t.trial] or 0.0, t.score) for t in trials if t.score is not None and numbers[t.trial] is not None]
        panel, outside = _strength_panel(key, trials, space, seen, scored, axis, greater)
        beyond = max(beyond, outside)
        drawn.append((_rank_correlation(pairs), panel))
    if not drawn:
        return None
    drawn.sort(key=lambda d: -d[0])
    panels = [panel for _, panel in drawn]
    drawn_as = {MARKS[state]: [s for s in (*STATES, "no score") if MARKS[s] == MARKS[state] and any(t.state == s for t in trials)] for state in STATES}
    legend = [(f"{mark}-mark", f"{words.listing(some, 'or')}, n = {sum(t.state in some for t in trials)}") for mark, some in drawn_as.items() if some]
    if any(t.won for t in trials):
        legend.append(("won-mark", "the winner"))
    caption = f"n = {words.count(len(trials), 'trial')}, each scored on the validation rows."
    if len(drawn) > 1 and len(scored) >= 5:
        caption += " Strengths are in the order of their rank correlation with the score."
    if any(t.score is None for t in trials):
        caption += " Trials that have no score are crosses in the lane under the axis."
    if beyond:
        caption += f" {words.first_capital(words.count(beyond, 'score'))} beyond the axis drawn at its edge."
    return Figure(panels[:_FIRST_PANELS], caption, legend=legend, more=panels[_FIRST_PANELS:])


def _strength_panel(
    key: str, trials: Sequence[Trial], space: Mapping[str, Any] | None, seen: Sequence[float], scored: Sequence[float], axis: str, greater: bool
) -> tuple[Markup, int]:
    log = _is_log(seen, space)
    off = space.get("off") if space is not None else None
    inside = [v for v in seen if (v > 0 or not log) and not is_off(v, off)]
    apart = [t for t in trials if key in t.strengths and words.finite(t.strengths[key]) not in inside]
    lane = any(t.score is None for t in trials)
    frame = Frame(46, 32, PANEL - 8, 178)
    gutter = frame.left + 12 if apart else None
    canvas = Canvas(PANEL, 214 if not lane else 230, f"{axis} against {key}")
    x = scale_for(inside, frame.left + (34 if apart else 0), frame.right, log=log)
    y = _score_scale(scored, frame.bottom, frame.top, greater)
    shown = Frame(frame.left, frame.top, frame.right, frame.bottom + (16 if lane else 0))
    name = f"{space['regularizer']} {space['strength']}" if space is not None and {"regularizer", "strength"} <= set(space) else key.replace("_", " ")
    unit = str(space.get("unit") or "") if space is not None else ""
    title = f"{words.first_capital(name)}{f' ({unit})' if unit else ''}{', log scale' if log else ''}"
    shown.grid(canvas, x, y, title, f"validation {axis}", x_ticks=4 if inside else 0, y_ticks=5)
    if gutter is not None:
        canvas.text(gutter, shown.bottom + 16, "off", "tick", "middle")
        canvas.line(frame.left + 26, frame.top, frame.left + 26, shown.bottom, "rule")
    outside = 0
    for trial in sorted(trials, key=lambda t: (t.won, t.state == "finished")):
        if key not in trial.strengths:
            continue
        value = words.finite(trial.strengths[key])
        at = x(value) if value is not None and value in inside else gutter
        if at is None:
            continue
        if trial.score is None:
            canvas.cross(at, frame.bottom + 8, 3.2, "diverged-mark", trial.trial)
            continue
        outside += not y.low <= trial.score <= y.high
        css = "won-mark" if trial.won else f"{MARKS[trial.state]}-mark"
        canvas.dot(at, y.clamp(trial.score), 6 if trial.won else 3.6, css, trial.trial)
    return canvas.svg(), outside


def courses(history: pandas.DataFrame | None, trials: Sequence[Trial], axis: str, *, greater: bool, winner: str | None) -> Figure | None:
    """Validation score of every trial over training: where the weak were dropped and how the winner went."""
    clock, x_title = clock_of(history)
    if history is None or not {"run", "trial", "validation_score"} <= set(history.columns):
        return None
    search = history[history["run"] == "search"]
    won = history[history["run"] == "winner"]  # a search's own history tells its winner under this name alone
    if not set(won["trial"]) <= set(search["trial"]):
        search = history[history["run"].isin(["search", "winner"])].assign(run="search")
    lines: list[tuple[str, list[tuple[float, float]]]] = []
    for trial, part in search.groupby("trial"):
        number = words.finite(trial)
        found = curves(part, "search", "validation_score", clock)
        lines += [(str(int(number)) if number is not None else str(trial), points) for points in found]
    if len(lines) < 2:
        return None
    frame = Frame(46, 32, PANEL - 8, 206)
    canvas = Canvas(PANEL, 242, f"validation {axis} of every trial against {x_title}")
    state = {t.trial: MARKS.get(t.state, "dropped") for t in trials}
    x = Scale(0.0, max(max(a for a, _ in points) for _, points in lines) or 1.0, frame.left, frame.right)
    y = _score_scale([b for _, points in lines for _, b in points], frame.bottom, frame.top, greater)
    frame.grid(canvas, x, y, x_title, f"validation {axis}")
    inner = Canvas(PANEL, 242, "")
    for trial, points in sorted(lines, key=lambda line: (line[0] == winner, state.get(line[0]) == "finished")):
        css = "course " + ("won" if trial == winner else state.get(trial, "finished"))
        inner.polyline([(x(a), y(b)) for a, b in points], css, trial)
        if len(points) == 1:
            inner.dot(x(points[0][0]), y(points[0][1]), 2.5, "course-end " + css.split()[1], trial)
    canvas.clip(frame.left - 4, frame.top - 4, frame.right - frame.left + 8, frame.bottom - frame.top + 4, inner)
    legend = [
        (f"course {c}", n)
        for c, n in (("won", "the winner"), ("finished", "finished"), ("dropped", "dropped or cut short"), ("diverged", "diverged or no score"))
    ]
    present = {"won" if t == winner else state.get(t, "finished") for t, _ in lines}
    return Figure(
        [canvas.svg()], f"n = {words.count(len(lines), 'trial')}, scored on the validation rows.", legend=[(c, n) for c, n in legend if c.split()[1] in present]
    )
