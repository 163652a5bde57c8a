"""The section on the average that ships: who is in it, what it gains, and how its error falls with the number of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from temperance.report import words
from temperance.report.facts import Facts, saw_test, scored
from temperance.report.figures import PANEL, Figure
from temperance.report.rounding import Rounding
from temperance.report.svg import Canvas, Frame, Scale, scale_for

_KINDS = {
    "greedy": "The model averages {networks} of {configurations}, picked one after another: of those that lower the error of the average on "
    "validation rows each time the one that gives it the best score",
    "seeds": "The model averages {networks} of the winner's configuration, each trained with its own seed",
    "folds": "The model averages {networks} of the winner's configuration, one per fold",
    "one": "The model is one network of the winner's configuration",
}


def section(facts: Facts) -> dict[str, Any] | None:
    """What the template lays out: sentences, a table of gains, numbers, members and the figure; ``None`` where nothing was averaged or weighed."""
    e = facts.part("ensemble")
    n = words.finite(e.get("networks"))
    if not e or n is None or (n < 2 and not e.get("selection")):
        return None
    error = dict(e.get("error") or {})
    n_test = words.finite(facts.scores.get("n_test"))
    fine = decimals_of(error)
    members = [m for m in e.get("members") or [] if isinstance(m, Mapping)]
    return {
        "said": [*_said(e, error, fine, saw=saw_test(facts.summary)), *_measured(facts, error)],
        "gains": _gains(facts, error, fine, _rows(e) if _selected(e) else None, n_test, validation=_selected(e)),
        "facts": _facts(e, error, fine, n_test),
        "members": [_member(m) for m in members] if len(members) > 1 else [],
        "figure": figure(error, fine, n_test),
    }


def decimals_of(error: Mapping[str, Any]) -> int:
    """The decimals of every squared error of the section."""
    test, validation = error.get("test") or {}, error.get("validation") or {}
    values = [*error.values(), *test.values(), *validation.values(), *(test.get("path") or []), *(error.get("larger") or {}).values()]
    known = [abs(v) for v in (words.finite(v) for v in values if isinstance(v, float)) if v is not None]
    return max(words.decimals_for(known), 4 if not known or max(known) < 10 else 0)


def _rows(e: Mapping[str, Any]) -> float | None:
    return words.finite((e.get("selection") or {}).get("rows"))


def _selected(e: Mapping[str, Any]) -> bool:
    """Whether what was selected on validation rows is what ships."""
    return e.get("kind") == "greedy"


def _name(error: Mapping[str, Any]) -> str:
    return str(error.get("name") or "squared error")


def _measured(facts: Facts, error: Mapping[str, Any]) -> list[str]:
    """Whose error was measured on test rows, where it is not what ships."""
    if not saw_test(facts.summary) or not error.get("test"):
        return []
    return [f"Measured on test rows is {scored(facts.summary)}: the best states of the search."]


def _said(e: Mapping[str, Any], error: Mapping[str, Any], decimals: int, *, saw: bool) -> list[str]:
    kind, trained = str(e.get("kind")), str(e.get("trained") or "none")
    text = _KINDS.get(kind, "The model averages {networks}").format(
        networks=words.count(e.get("networks"), "network"), configurations=words.count(e.get("configurations"), "configuration")
    )
    text += f", and trained again on all rows{'' if saw else ' but the test rows'}." if trained != "none" and kind == "greedy" else "."
    if trained == "none" and kind == "greedy":
        text += " They are the best states of the search."
    out = [text]
    s = e.get("selection") or {}
    if s:
        tried = f"{words.count(s.get('pool'), 'trial')} were weighed on {words.count(s.get('rows'), 'validation row')}."
        many = (words.finite(e.get("networks")) or 0) > (words.finite(e.get("configurations")) or 0)
        if kind == "greedy" and trained != "none" and many:
            tried += " A configuration that was picked more than once was trained with as many seeds."
        elif kind != "greedy":
            tried += _left_alone(s)
        out.append(tried)
    validation = error.get("validation") or {}
    seen, honest, single = (words.finite(validation.get(key)) for key in ("seen", "average", "single"))
    if seen is not None and honest is not None and _selected(e):
        said = f"On the rows that it was selected on, the {_name(error)} of the average is {words.fixed(seen, decimals)}, "
        said += f"on rows that took no part in it {words.fixed(honest, decimals)}. The table has the latter."
        out.append(("Selection is optimistic. " if honest > seen else "") + said)
    elif single is not None and honest is not None and words.finite(s.get("configurations")) != 1:
        out.append(
            f"Weighed, not shipped: on validation rows that took no part in choosing, the {_name(error)} of the best single network is "
            f"{words.fixed(single, decimals)}, that of the selected average {words.fixed(honest, decimals)}."
        )
    return out


def _left_alone(s: Mapping[str, Any]) -> str:
    """Why the winner's configuration ships although averages were weighed."""
    if words.finite(s.get("configurations")) == 1:
        return " The best selection was the winner alone."
    if s.get("better"):
        return " An average of several configurations was better, but it could not be trained again, so the winner's configuration ships."
    return " On rows that took no part in choosing, averages were worse than the best single network beyond noise, so the winner's configuration ships."


def _gains(facts: Facts, error: Mapping[str, Any], fine: int, n_validation: float | None, n_test: float | None, *, validation: bool) -> list[dict[str, str]]:
    """A row for each kind of rows and each measure: a single network, the average, the gain.

    On validation rows the single one is the best of the search by the other rows, on test rows the winner alone.
    """
    rows: list[dict[str, str]] = []
    score, errors = facts.part("ensemble").get("score") or {}, Rounding(fine, fine)
    parts = [("validation", "validation rows", n_validation, "best of the search")] if validation else []
    for part, where, n, which in (*parts, ("test", "test rows", n_test, "the winner alone")):
        scored = (words.metric_name(facts.metric), score.get(part), 1 if facts.greater else -1, facts.shown)
        for name, pair, sign, shown in (scored, (_name(error), error.get(part), -1, errors)):
            single, average = (words.finite((pair or {}).get(k)) for k in ("single", "average"))
            if single is None or average is None:
                continue
            low, high = (words.finite((pair or {}).get(k)) for k in ("low", "high"))
            ends = sorted((sign * low, sign * high)) if low is not None and high is not None else (None, None)
            rows.append(
                {
                    "where": f"{where}, n = {int(n):,}" if n else where,
                    "measure": name,
                    "single": shown.score(single),
                    "which": which,
                    "average": shown.score(average),
                    "gain": shown.signed(sign * (average - single)),
                    "between": words.interval(ends[0], ends[1], shown.fine),
                }
            )
    return rows


def _facts(e: Mapping[str, Any], error: Mapping[str, Any], decimals: int, n_test: float | None) -> list[tuple[str, str]]:
    """``v``, ``c``, the predicted and the measured error."""
    scored = e.get("scored") or e
    n, kind = int(words.finite(scored.get("networks")) or 0), str(scored.get("kind"))
    test = error.get("test") or {}
    v, c = words.finite(error.get("v")), words.finite(error.get("c"))
    show = lambda value: words.fixed(value, decimals)  # noqa: E731
    out: list[tuple[str, str]] = []
    if v is not None and c is not None:
        m = int(words.finite(error.get("members")) or n)
        out.append(("v, one network", f"{show(v)} on the validation rows"))
        out.append(("c, a pair", f"{show(c)} on the validation rows"))
        out.append((f"predicted, M = {m}", f"v/M + (M − 1)c/M = {show(error.get('predicted'))}"))
        larger = [f"{show(value)} with M = {k}" for k, value in (error.get("larger") or {}).items()]
        out.append(("predicted, more networks", f"{words.listing([*larger, f'{show(c)} in the limit'])}"))
    elif n > 1:
        why = "each row was kept from one network only" if kind == "folds" else "every network was trained on them"
        out.append(("v and c", f"not available on validation rows: {why}"))
    rows = f" on {words.count(n_test, 'test row')}" if n_test else " on the test rows"
    if words.finite(test.get("average")) is not None:
        points = len(test.get("path") or []) or n
        folds = f", {n} networks" if points != n else ""
        out.append((f"measured, M = {points}{folds}", f"{show(test['average'])}{rows}"))
        if words.finite(test.get("v")) is not None and words.finite(test.get("c")) is not None:
            out.append(("v and c, measured", f"{show(test['v'])} and {show(test['c'])}{rows}"))
    return out


def _member(m: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trial": str(m.get("trial")),
        "won": bool(m.get("winner")),
        "plan": str(m.get("plan") or ""),
        "networks": words.number(m.get("networks")),
        "weight": words.fixed(m.get("weight"), 2),
        "regularizers": words.listing([str(r) for r in m.get("regularizers") or []]) or "none",
        "lr": words.number(m.get("learning_rate")),
    }


def figure(error: Mapping[str, Any], decimals: int, n_test: float | None) -> Figure | None:
    """The error against the number of networks: measured for the first few of those that were scored, predicted by ``v`` and ``c`` beyond.

    Where configurations were trained over folds and measured as the search left them, a point is one configuration with all its networks.
    """
    test = error.get("test") or {}
    path = [p for p in map(words.finite, test.get("path") or []) if p is not None]
    n, folds = len(path), test.get("points") == "configurations"
    if n < 2:
        return None
    v, c = words.finite(error.get("v")), words.finite(error.get("c"))
    told = v is not None and c is not None
    if not told:
        v, c = words.finite(test.get("v")), words.finite(test.get("c"))
    most = 2 * n
    expected = [] if v is None or c is None else [(m, v / m + (m - 1) * c / m) for m in range(1, most + 1)]
    frame = Frame(56, 32, PANEL - 8, 206)
    canvas = Canvas(PANEL, 242, f"{_name(error)} against the number of networks")
    x = Scale(0.5, most + 0.5, frame.left, frame.right)
    y = scale_for([*path, *(value for _, value in expected)], frame.bottom, frame.top)
    frame.grid(canvas, x, y, f"{'configurations' if folds else 'networks'} averaged, M", f"{_name(error)} (per row), lower is better", y_ticks=6)
    canvas.polyline([(x(m), y(value)) for m, value in expected], "curve validation" if told else "curve validation thin")
    canvas.polyline([(x(m), y(value)) for m, value in enumerate(path, 1)], "curve series-1 thin")
    for m, value in enumerate(path, 1):
        canvas.dot(x(m), y(value), 4, "estimate ours", title=f"M = {m}: {words.fixed(value, decimals)}")
    legend = [("won-mark", "measured on test rows")]
    if expected:
        legend.append(("validation", "v/M + (M − 1)c/M, from validation rows") if told else ("validation thin", "v/M + (M − 1)c/M, from test rows"))
    caption = f"n = {words.count(n_test, 'test row')}. " if n_test else f"n = {words.count(n, 'configuration' if folds else 'network')}. "
    what = "configurations, each the average of its networks over the folds" if folds else "networks"
    caption += f"Measured: the first M {what}{', in the order in which they were picked' if told else ''}."
    caption += (
        " The prediction is for one network of the search a configuration and row, with equal weights; the validation rows also chose them."
        if told and folds
        else " The prediction is for the networks of the search, whose validation rows also chose them: what ships was trained on more rows."
        if told
        else " The curve is the mean over all choices of M of these networks."
    )
    return Figure([Markup(canvas.svg())], caption, legend=legend)
