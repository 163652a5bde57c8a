"""What the search benchmark's rows say: anytime curves merged, read off, compared in pairs and drawn."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from temperance.report.svg import Canvas, Frame, Scale, scale_for

Curve = Sequence[Sequence[float]]
Run = Mapping[str, Any]
TESTS: Any = scipy_stats  # whose results have no types
RIVALS = {"tpe": "TPE, one at a time", "random": "random, one at a time"}
AVERAGED = "+average"  # an arm whose networks may ship as an average
COLOURS = ("#0b6e4f", "#c8553d", "#6b7280", "#7a5195", "#1d6fa5", "#a67c00")
STYLE = (
    ".paper{fill:#fff}text{font:12px system-ui,sans-serif;fill:#1f2937}.tick{fill:#4b5563;font-size:11px}.rule{stroke:#e5e7eb}.axis{stroke:#6b7280}"
    ".head{font-size:14px;font-weight:600}.line{fill:none;stroke-width:2}"
    + "".join(f".c{i}{{stroke:{colour}}}text.c{i}{{stroke:none;fill:{colour};font-weight:600}}" for i, colour in enumerate(COLOURS))
)


def label(arm: str) -> str:
    """An arm in words: a rival, or a strategy of the package.

    Example:
        >>> label("tpe"), label("keep+average")
        ('TPE, one at a time', 'temperance, keep, averaged')
    """
    single = arm.removesuffix(AVERAGED)
    return RIVALS.get(single, f"temperance, {single}") + (", averaged" if arm != single else "")


def arms_of(rows: Iterable[Run], ours: str) -> list[str]:
    """The arms that have rows: ours, the rivals, then other strategies."""
    there = dict.fromkeys(row["arm"] for row in rows)
    known = dict.fromkeys([ours, ours.removesuffix(AVERAGED), *(arm for rival in RIVALS for arm in (rival, rival + AVERAGED))])
    order = [*known, *sorted(arm for arm in there if arm not in known)]
    return [arm for arm in order if arm in there]


def merged(curves: Iterable[Curve]) -> list[list[float]]:
    """The anytime curve of several workers: entries by time, kept where the validation score improves on all before.

    Example:
        >>> merged([[[1.0, 0.5, 0.4], [3.0, 0.7, 0.6]], [[2.0, 0.6, 0.5], [4.0, 0.65, 0.9]]])
        [[1.0, 0.5, 0.4], [2.0, 0.6, 0.5], [3.0, 0.7, 0.6]]
    """
    out: list[list[float]] = []
    for entry in sorted((list(entry) for curve in curves for entry in curve), key=lambda e: (e[0], -e[1])):
        if not out or entry[1] > out[-1][1]:
            out.append(entry)
    return out


def at(run: Run, seconds: float) -> tuple[float, float]:
    """Validation and test score of what would be shipped at this time: the last entry's; before the first check that is the most frequent class.

    Example:
        >>> at({"constant": {"validation": 0.5, "test": 0.4}, "curve": [[2.0, 0.6, 0.7]]}, 1.0)
        (0.5, 0.4)
    """
    found = (run["constant"]["validation"], run["constant"]["test"])
    for when, validation, test, *_ in run["curve"]:
        if when > seconds:
            break
        if validation > run["constant"]["validation"]:
            found = (validation, test)
    return found


def reached(run: Run, score: float, part: int = 0) -> float:
    """Seconds until the validation score (or, with ``part=1``, the test score) is at least this; infinite where it never is.

    Example:
        >>> reached({"curve": [[2.0, 0.6, 0.7]]}, 0.6), reached({"curve": [[2.0, 0.6, 0.7]]}, 0.7), reached({"curve": [[2.0, 0.6, 0.7]]}, 0.7, 1)
        (2.0, inf, 2.0)
    """
    return next((entry[0] for entry in _inside(run) if entry[1 + part] >= score), math.inf)


def kept_from(run: Run, score: float) -> float:
    """Seconds from which the validation score never is below this again.

    Example:
        >>> kept_from({"curve": [[2.0, 0.6, 0.7], [3.0, 0.5, 0.7], [4.0, 0.6, 0.7]]}, 0.6)
        4.0
    """
    curve = _inside(run)
    below = [i for i, entry in enumerate(curve) if entry[1] < score]
    first = below[-1] + 1 if below else 0
    return curve[first][0] if first < len(curve) else math.inf


def _inside(run: Run) -> Curve:
    """What came before the time was over."""
    return [entry for entry in run["curve"] if entry[0] <= run.get("seconds", math.inf)]


def moments(seconds: float) -> list[float]:
    """The four times that are reported: a sixth, a third, two thirds and all of the budget.

    Example:
        >>> moments(180)
        [30.0, 60.0, 120.0, 180.0]
    """
    return [seconds / 6, seconds / 3, seconds * 2 / 3, float(seconds)]


def report(rows: Sequence[Run], seconds: float, ours: str) -> str:
    """Everything that is claimed, as Markdown; ``ours`` is the strategy that is compared with every other arm."""
    runs = {(row["set"], row["seed"], row["arm"]): row for row in rows if row["seconds"] == seconds}
    sets = list(dict.fromkeys(name for name, _, _ in runs))
    arms = arms_of(runs.values(), ours)
    machines = sorted({f"{row['cores']} cores, {row['machine']}, torch {row['torch']}, optuna {row['optuna']}" for row in runs.values()})
    dates = sorted({row["date"] for row in runs.values()})
    seeds = ", ".join(map(str, sorted({key[1] for key in runs})))
    lines = [
        f"# Search: the same data, space and {seconds:g} seconds",
        "",
        f"{len(runs)} runs, {len(sets)} data sets, seeds {seeds}; {dates[0]} to {dates[-1]}; {'; '.join(machines)}.",
        'Accuracy in per cent. Medians over seeds of the validation score of what would ship at each time, and of its test score. "Averaged": what a greedy',
        "selection ships, from the same runs; without the word: the best network alone. Before the first check of a run its score is that of the most frequent",
        "class. One-at-a-time rivals have two one-thread workers whose clock is CPU seconds.",
    ]
    for k, part in enumerate(("validation", "test")):
        lines += ["", f"## {part.capitalize()}", "", f"| data | arm | n | {' | '.join(f'{t:.3g} s' for t in moments(seconds))} |", f"|---|---|---|{'---|' * 4}"]
        for name in sets:
            for arm in arms:
                mine = [run for key, run in runs.items() if key[0] == name and key[2] == arm]
                if mine:
                    numbers = " | ".join(f"{100 * statistics.median(at(run, t)[k] for run in mine):.2f}" for t in moments(seconds))
                    lines.append(f"| {name} | {label(arm)} | {len(mine)} | {numbers} |")
    for rival in ("tpe", "tpe" + AVERAGED):
        lines += _shares(runs, seconds, ours, rival)
    for other in arms:
        if other != ours:
            lines += _pairs(runs, seconds, ours, other)
    return "\n".join(lines) + "\n"


def _both(runs: Mapping[tuple[str, int, str], Run], ours: str, other: str) -> list[tuple[str, int, Run, Run]]:
    """Data set, seed, our run and the other arm's, where both are there."""
    return [(name, seed, run, runs[name, seed, other]) for (name, seed, arm), run in runs.items() if arm == ours and (name, seed, other) in runs]


def _shares(runs: Mapping[tuple[str, int, str], Run], seconds: float, ours: str, rival: str) -> list[str]:
    pairs = _both(runs, ours, rival)
    if not pairs:
        return []
    table: list[tuple[str, float, float, float, float]] = []
    for name, seed, mine, theirs in pairs:
        final = at(theirs, seconds)[0]
        trivial = final <= mine["constant"]["validation"]
        when, lasting = (0.0, 0.0) if trivial else (reached(mine, final), kept_from(mine, final))
        table.append((f"{name} {seed}", final, reached(theirs, final) if theirs["curve"] else seconds, when, lasting))
    whole, lasting, own = [t[3] / seconds for t in table], [t[4] / seconds for t in table], [t[3] / t[2] for t in table]
    untouched = [reached(mine, at(theirs, seconds)[1], 1) / seconds for _, _, mine, theirs in pairs]
    reach = " (reach: at most 0.2)" if rival == "tpe" else ""
    lines = ["", f"## Seconds until {label(ours)} has the final validation score of {label(rival)}", ""]
    lines += [
        f"Share of the {seconds:g} s: median {_number(statistics.median(whole))}{reach}, never below it again from {_number(statistics.median(lasting))} on. "
        f"Share of the seconds in which the rival itself first had that score: median {_number(statistics.median(own))}. "
        f"The same for test scores: first at least the rival's final one after a median of {_number(statistics.median(untouched))}. n = {len(table)}.",
        "",
        "| run | the rival's final score | it had it at, s | ours had it at, s | and kept it from, s | share of the budget | share of the rival's own time |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, final, first, when, kept), a, b in zip(table, whole, own, strict=True):
        lines.append(f"| {name} | {100 * final:.2f} | {_number(first)} | {_number(when)} | {_number(kept)} | {_number(a)} | {_number(b)} |")
    return lines


def _number(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.3g}"


def _pairs(runs: Mapping[tuple[str, int, str], Run], seconds: float, ours: str, other: str) -> list[str]:
    pairs = _both(runs, ours, other)
    if len(pairs) < 2:
        return []
    lines = ["", f"## {label(ours)} less {label(other)}, paired (n = {len(pairs)})", ""]
    lines += ["| score | at | mean difference, points | higher / equal / lower | p, paired t | p, Wilcoxon | at p < 0.05 |", "|---|---|---|---|---|---|---|"]
    for k, part in enumerate(("validation", "test")):
        for t in moments(seconds):
            gaps = np.array([100 * (at(mine, t)[k] - at(theirs, t)[k]) for _, _, mine, theirs in pairs])
            apart = float(np.ptp(gaps)) > 0
            p = float(TESTS.ttest_1samp(gaps, 0.0).pvalue) if apart else 1.0
            rank = float(TESTS.wilcoxon(gaps).pvalue) if bool(np.any(gaps != 0)) else 1.0
            verdict = "no difference" if min(p, rank) >= 0.05 else "higher" if gaps.mean() > 0 else "lower"
            counts = f"{int((gaps > 0).sum())} / {int((gaps == 0).sum())} / {int((gaps < 0).sum())}"
            lines.append(f"| {part} | {t:.3g} s | {gaps.mean():+.2f} | {counts} | {p:.3f} | {rank:.3f} | {verdict} |")
    return lines


def picture(rows: Sequence[Run], seconds: float, ours: str) -> str:
    """Mean regret against seconds, validation beside test, as a stand-alone SVG file.

    Regret is the score that the run's best arm has at the end, less an arm's score now; only (data, seed) pairs that every drawn arm has count.
    """
    runs = {(row["set"], row["seed"], row["arm"]): row for row in rows if row["seconds"] == seconds}
    arms = arms_of(runs.values(), ours)
    pairs = [pair for pair in dict.fromkeys((a, b) for a, b, _ in runs) if all((*pair, arm) in runs for arm in arms)]
    first = max(seconds / 180, 0.05)
    times = [first * (seconds / first) ** (i / 120) for i in range(121)]
    canvas = Canvas(960, 420, f"Mean regret of {len(arms)} search strategies against seconds")
    canvas.rect(0, 0, 960, 420, "paper")
    canvas.text(16, 24, f"Mean regret over {len(pairs)} runs (data sets x seeds), {seconds:g} s each", "head")
    for k, part in enumerate(("validation", "test")):
        frame = Frame(56 + 480 * k, 84, 436 + 480 * k, 340)
        lines: dict[str, list[float]] = {}
        for arm in arms:
            gaps = [[100 * (max(at(runs[(*pair, one)], seconds)[k] for one in arms) - at(runs[(*pair, arm)], t)[k]) for t in times] for pair in pairs]
            lines[arm] = [sum(column) / len(column) for column in zip(*gaps, strict=True)]
        known = [value for line in lines.values() for value in line]
        # The first seconds, when most arms have nothing to ship, would flatten the rest: the scale holds what comes after a tenth of the budget, twofold.
        late = max((value for line in lines.values() for t, value in zip(times, line, strict=True) if t >= seconds / 10), default=1.0)
        x, y = Scale(first, seconds, frame.left, frame.right, log=True), scale_for([*[v for v in known if v <= 2 * late], 0.0], frame.bottom, frame.top)
        frame.grid(canvas, x, y, "seconds (logarithmic)", "", x_ticks=6)
        canvas.text(frame.left, frame.top - 12, f"{part} accuracy, points below the best final one", "title")
        inner = Canvas(960, 420, "")
        for i, line in enumerate(lines.values()):
            inner.polyline([(x(t), y(v)) for t, v in zip(times, line, strict=True)], f"line c{i}")
        canvas.clip(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top, inner)
    for i, arm in enumerate(arms):
        x, y = 56 + 226 * (i % 4), 392 + 18 * (i // 4)
        canvas.line(x, y, x + 20, y, f"line c{i}")
        canvas.text(x + 26, y + 4, label(arm), f"c{i}")
    text = str(canvas.svg()).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head = text.index(">") + 1
    return f"{text[:head]}<style>{STYLE}</style>{text[head:]}\n"
