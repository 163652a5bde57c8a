"""What ``fit`` and ``replay`` show: the data as understood and the space before training, the progress, the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from temperance.cli.progress import Progress
from temperance.cli.screen import Screen, clean
from temperance.report import tried, verdicts, words
from temperance.report.averages import decimals_of
from temperance.report.facts import scored, shipped, ships
from temperance.report.rounding import Rounding, rounding
from temperance.report.strengths import is_off

MOST_COLUMNS = 20

__all__ = ["Progress", "show_replay", "show_result", "show_understood"]


def number(value: Any) -> str:
    """A strength as it could be typed.

    Example:
        >>> number(2.31e-5), number(0.21), number("inf"), number(None)
        ('2.31e-05', '0.21', 'inf', '-')
    """
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{float(value):.3g}"


def span(low: Any, high: Any) -> str:
    return f"{number(low)} to {number(high)}"


# Before training


def show_understood(screen: Screen, facts: Mapping[str, Any], source: str) -> None:
    """The data as it was understood and what will be searched, before anything is trained."""
    columns: Sequence[Mapping[str, Any]] = facts["columns"]
    image, name = facts.get("images"), Path(source).name or Path(source).resolve().name
    if image:
        size = f"{image['height']} x {image['width']} pixels, {image['colors']}"
        screen.heading(f"{name}: {words.count(facts['rows'], 'image')} of {size}, and {facts['target']}")
    else:
        screen.heading(f"{name}: {words.count(facts['rows'], 'row')}, {words.count(len(columns), 'column')} to learn from and {facts['target']}")
        screen.show(_columns(screen, columns[:MOST_COLUMNS]))
    hidden = columns[MOST_COLUMNS:]
    if hidden:
        kinds = [f"{n} {kind}" for kind in ("number", "category", "date", "boolean", "ignored") if (n := sum(c["kind"] == kind for c in hidden))]
        screen.show(Text(f"and {len(hidden)} more: {', '.join(kinds)}"))
    screen.show(Text())
    screen.facts(_decisions(facts))
    screen.show(Text(), *_space(screen, facts["space"]), Text())


def _columns(screen: Screen, columns: Sequence[Mapping[str, Any]]) -> Table:
    noted = any(c["notes"] for c in columns)
    headers = ("column", "kind", "missing", "distinct", "example", *(("notes",) if noted else ()))
    table = screen.table(headers, right=("missing", "distinct"), narrow=("column", "example"), most=28 if not noted or screen.width >= 100 else 18)
    for c in columns:
        cells = [c["column"], c["kind"], f"{c['missing']:,}" if c["missing"] else "", f"{c['distinct']:,}", c["example"], c["notes"]]
        table.add_row(*(Text(clean(cell)) for cell in cells[: len(headers)]), style="dim" if c["kind"] == "ignored" else None)
    return table


def _decisions(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    classes: Sequence[str] = facts["classes"]
    few = ", ".join(words.shorten(str(c), 24) for c in classes[:6]) + (f" and {len(classes) - 6} more" if len(classes) > 6 else "")
    what = {"classification": "classes", "multilabel": "labels"}.get(facts["task"], "")
    split = facts["split"]
    kept = f"{split['test']:,} are kept for the final score" if split["test"] else "no rows are kept apart"
    if split["test"] and not facts.get("keeps_test", True):
        kept += ", then what ships trains on all rows"
    if split.get("folds"):
        parts = f"{split['folds']} folds, each trains on about {split['train']:,} rows and validates on {split['validation']:,}; {kept}"
    else:
        parts = f"{split['train']:,} rows train, {split['validation']:,} validate, {kept}"
    trials = facts["trials"]
    limits = [str(facts["budget"]) if facts["budget"] is not None else "", words.count(trials, "trial") if trials is not None else ""]
    limit = ", at most ".join(part for part in limits if part)
    if facts["budget"] is None:
        limit += "; no time limit, so the same seed gives the same model"
    return [
        ("Target", f"{facts['target']}: {facts['task']}" + (f", {len(classes)} {what} ({few})" if classes else "")),
        ("Split", f"{parts}\n{words.sentence(split['reason'])}"),
        *[("Note", words.stopped(note)) for note in facts.get("notes", ())],
        *[("Warning", words.stopped(text)) for text in facts.get("warnings", ())],
        ("Budget", limit),
        *([("Search", words.strategy(facts["strategy"]))] if facts.get("strategy") else []),
        *([("Device", facts["device"])] if facts.get("device", "cpu") != "cpu" else []),
        ("Metric", f"{words.metric_name(facts['metric'])} on validation rows decides"),
    ]


def _space(screen: Screen, space: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The static plans, then every strength with its range, once."""
    plans = screen.table(("network", "epochs", "batch", "learning rate"), right=("epochs", "batch"))
    strengths: dict[str, Mapping[str, Any]] = {}
    for plan in space:
        strengths.update(plan["strengths"])
    for plan in space:
        lacking = sorted({name.partition(".")[0] for name in strengths} - {name.partition(".")[0] for name in plan["strengths"]})
        without = f" (without {', '.join(lacking)})" if lacking else ""
        plans.add_row(Text(clean(f"{plan['plan']}: {plan['network']}{without}")), f"{plan['epochs']:g}", f"{plan['batch_size']}", span(*plan["lr"]))
    table = screen.table(("strength", "searched", "scale", "off at"))
    for name, s in strengths.items():
        table.add_row(Text(name), span(s["low"], s["high"]), "log" if s["log"] else "linear", number(s["off"]))
    return [plans, Text(), table]


# After training


def show_result(screen: Screen, summary: Mapping[str, Any], folder: Path) -> None:
    """The score beside its rivals, the cocktail, the gap with and without it, and what to do next."""
    n_test, shown = summary["scores"]["n_test"], rounding(summary, str(summary["metric"]["name"]))
    if summary["scores"]["test"]:
        screen.heading(f"Score on {words.count(n_test, 'test row')}")
        screen.show(_scores(screen, summary, shown))
        screen.show(Text(f"temperance: {scored(summary)}; in brackets: {summary['scores']['interval']}", style="dim"))
        if text := ships(summary):
            screen.show(Text(text, style="dim"))
    else:
        validation = ", ".join(f"{words.metric_name(name)} {shown.score(value)}" for name, value in summary["scores"]["validation"].items())
        screen.heading(f"Score on validation rows: {validation}")
    screen.heading("Cocktail")
    screen.show(*_cocktail(screen, summary))
    answers = _answers(summary, shown)
    if answers:
        screen.show(Text())
        screen.facts(answers)
    gap = _gap(screen, summary["gap"], bool(summary["metric"]["greater_is_better"]), shown)
    if gap is not None:
        screen.heading(f"Gap ({words.metric_name(summary['gap']['metric'])})")
        screen.show(gap)
        if summary["gap"].get("note"):
            screen.show(Text(summary["gap"]["note"], style="dim"))
    screen.show(Text())
    timing = summary.get("timing", {})
    spent = [f"{part} {words.duration(timing[part])}" for part in ("search", "refit", "rivals", "report") if timing.get(part, 0) >= 0.05]
    screen.facts(
        [
            *[("Warning", words.stopped(text)) for text in summary["warnings"]],
            *([("Unlabeled", words.stopped(summary["data"]["unlabeled_use"]))] if summary["data"].get("unlabeled_use") else []),
            ("Time", words.duration(timing.get("total")) + (f": {', '.join(spent)}" if spent else "")),
            ("Trials", _trials(summary)),
            *_average(summary, shown),
            ("Report", str(folder / "report.html")),
            ("Predict", summary["predict"]),
            *([("Replay", summary["replay"])] if summary.get("replay") else []),
        ]
    )


def _trials(summary: Mapping[str, Any]) -> str:
    """How many ran, and how the search ended."""
    search = summary["search"]
    ran = search.get("ran", search["trials"])
    text = f"{ran:,}" + (f", {search['trials'] - ran:,} more not started" if search["trials"] > ran else "")
    return text + (", then interrupted" if search.get("ended") == "interrupted" else "")


def _answers(summary: Mapping[str, Any], shown: Rounding) -> list[tuple[str, str]]:
    """Whether the cocktail helped, whether the network over-fits, and how what was scored stands beside its rivals."""
    found = summary.get("verdicts") or {}
    metric = str(summary["metric"]["name"])
    said = [
        ("Helped?", verdicts.helped(found.get("cocktail") or {}, metric, shown)),
        ("Over-fits?", verdicts.overfits(found.get("overfitting") or {}, metric, shown)),
    ]
    rivals = [text for rival in summary["rivals"] if (text := verdicts.beside(rival, shown))]
    lines = [(name, f"{answer['head']}. {answer['text']}") for name, answer in said if answer is not None]
    return lines + ([("It is", "\n".join(rivals))] if rivals else [])


def _average(summary: Mapping[str, Any], shown: Rounding) -> list[tuple[str, str]]:
    """A line on the average of several configurations, if one ships."""
    e = summary.get("ensemble") or {}
    if e.get("kind") != "greedy":
        return []
    text = shipped(summary).removeprefix("the ")
    pair = (e.get("score") or {}).get("validation") or {}
    single, average = words.finite(pair.get("single")), words.finite(pair.get("average"))
    if single is None or average is None:
        return [("Model", text)]
    gain = average - single if summary["metric"]["greater_is_better"] else single - average
    name = words.metric_name(summary["metric"]["name"])
    scores = f"{name} {shown.score(average)}, of the best single network {shown.score(single)}"
    error = (e.get("error") or {}).get("validation") or {}
    one, all_of_them = words.finite(error.get("single")), words.finite(error.get("average"))
    if one is not None and all_of_them is not None:  # what decides, beside the score
        digits = decimals_of(e["error"])
        scores += f"\n{e['error'].get('name', 'squared error')} {words.fixed(all_of_them, digits)}, of the best single network {words.fixed(one, digits)}"
    return [("Model", f"{text}\ngain {shown.signed(gain)} on validation rows that took no part in choosing it: {scores}")]


def _scores(screen: Screen, summary: Mapping[str, Any], shown: Rounding) -> Table:
    """Our score and those of the rivals; metrics that do not fit on the screen are left to the report."""
    ours = ("temperance", summary["scores"]["test"])
    rows = [ours, *((rival["name"], rival["test"]) for rival in summary["rivals"])]
    main = summary["metric"]["name"]
    names = [main, *(name for name in ours[1] if name != main)]
    while True:
        headers = [words.metric_name(name) for name in names]
        table = screen.table(("", headers[0], *headers[1:]), right=headers)
        decimals = {name: shown.decimals if name == main else _decimals([scores.get(name) for _, scores in rows]) for name in names}
        for label, scores in rows:
            cells = [_estimate(scores.get(name), decimals[name], interval=name == main) for name in names]
            table.add_row(Text(clean(label)), *cells, style="bold" if label == ours[0] else None)
        if len(names) == 1 or screen.fits(table, slack=max(0, max(len(label) for label, _ in rows) - 20)):
            return table
        names.pop()


def _decimals(estimates: Sequence[Mapping[str, Any] | None]) -> int:
    known = [e for e in estimates if e]
    widths = [e["high"] - e["low"] for e in known if words.finite(e.get("high")) is not None and words.finite(e.get("low")) is not None]
    return words.decimals_for([e.get("value") for e in known], widths)


def _estimate(estimate: Mapping[str, Any] | None, decimals: int, interval: bool) -> str:
    if not estimate:
        return words.NOTHING
    around = words.interval(estimate.get("low"), estimate.get("high"), decimals) if interval else ""
    return words.fixed(estimate.get("value"), decimals) + (f" ({around})" if around else "")


def _cocktail(screen: Screen, summary: Mapping[str, Any]) -> list[Any]:
    cocktail, used = summary["cocktail"], tried.of_summary(summary)
    table = screen.table(("regularizer", "strength", "value", "searched", "meaning"), right=("value",))
    on = [row for row in cocktail["rows"] if not is_off(row["value"], row["off"])]
    for row in on:
        cells = (row["regularizer"], row["strength"], number(row["value"]), span(row["low"], row["high"]), row["meaning"])
        table.add_row(*(Text(cell) for cell in cells))
    parts: list[Any] = [table] if on else [Text(words.first_lower(used.head))]
    parts += [Text(clean(text)) for text in used.said]
    network = f"on {cocktail['network']}: {cocktail['parameters']:,} parameters, {cocktail['optimizer']}"
    return [*parts, Text(clean(network))]


def _gap(screen: Screen, gap: Mapping[str, Any], greater: bool, shown: Rounding) -> Table | None:
    """The score on training, validation and test rows, with the cocktail and without."""
    sides = [(label, gap[key]) for key, label in (("with", "with the cocktail"), ("without", "without it")) if gap.get(key)]
    if not sides:
        return None
    parts = [(key, title) for key, title in (("train", "training"), ("validation", "validation"), ("test", "test")) if key in sides[0][1]]
    table = screen.table(("", *(title for _, title in parts), "gap"), right=("gap", *(title for _, title in parts)))
    for label, side in sides:
        first, last = words.finite(side.get("train")), words.finite(side.get(parts[-1][0]))
        difference = None if first is None or last is None else (first - last if greater else last - first)
        table.add_row(label, *(shown.score(side.get(key)) for key, _ in parts), shown.signed(difference))
    return table


def show_replay(screen: Screen, result: Mapping[str, Any]) -> None:
    """What became of a trial that was trained again."""

    def score(value: Any) -> str:
        return "none" if value is None else f"{float(value):.6g}"

    verdict = "the same number" if result["same"] else "another number; it can differ on another machine, thread count or version of torch"
    screen.heading(f"Trial {result['trial']}")
    screen.facts(
        [
            ("Status", str(result["status"])),
            ("Epochs", f"{result['epochs']:g}"),
            ("Then", score(result["score_then"])),
            ("Now", f"{score(result['score_now'])}, {verdict}"),
            ("Cocktail", str(result["cocktail"])),
        ]
    )
