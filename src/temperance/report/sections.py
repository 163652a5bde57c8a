"""The sections of the page below the first screen, each as what the template lays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from temperance.report import answers, classes, figures, strengths, trials, tried, words
from temperance.report.facts import Facts, saw_test, scored, ships, texts
from temperance.report.figures import Estimate

_MOST_COLUMNS = 20


def _gap_groups(facts: Facts) -> list[tuple[str, Mapping[str, Any]]]:
    gap = facts.part("gap")
    known = [("with the cocktail", gap.get("with")), ("without", gap.get("without"))]
    return [(name, scores) for name, scores in known if scores and any(words.finite(v) is not None for v in scores.values())]


def score_table(facts: Facts) -> dict[str, Any] | None:
    """Every metric, every model; the best of a column is set bold, whosever it is."""
    metrics = [facts.metric] if facts.metric in facts.test else []
    metrics += [m for m in facts.test if m not in metrics]
    if not metrics:
        return None
    order = [r.name for r in facts.estimates(facts.metric)]
    columns: dict[str, dict[str, Estimate]] = {m: {r.name: r for r in facts.estimates(m)} for m in metrics}
    decimals = {m: facts.decimals(m) for m in columns}
    best = {m: next((words.fixed(r.value, decimals[m]) for r in facts.estimates(m) if r.value is not None), "") for m in metrics}
    cells = {
        name: [
            {"value": words.fixed(r.value, decimals[m]), "interval": words.interval(r.low, r.high, decimals[m], "–"), "best": False}
            | {"best": r.value is not None and words.fixed(r.value, decimals[m]) == best[m] and len(order) > 1}
            for m in metrics
            for r in [columns[m][name]]
        ]
        for name in order
    }
    first = columns[metrics[0]]
    head = [{"name": words.metric_name(m), "better": "higher" if facts.direction(m) else "lower"} for m in metrics]
    validation = facts.scores.get("validation") or {}
    chose = ", which chose the cocktail" if tried.of_summary(facts.summary).trials > 1 else ""
    said = [f"{words.metric_name(m)} {words.fixed(v, decimals.get(m, 3))}" for m, v in validation.items() if words.finite(v) is not None]
    return {
        "head": head,
        "rows": [{"name": n, "ours": first[n].ours, "cells": cells[n], "seconds": words.duration(first[n].seconds)} for n in order],
        "seconds": any(r.seconds is not None for r in first.values()),
        "n": words.count(facts.n_test, "test row") if facts.n_test is not None else "",
        "interval": words.sentence(facts.scores.get("interval") or ""),
        "ours": f"temperance is {scored(facts.summary)}. {ships(facts.summary)}".strip() if facts.summary.get("ensemble") else "",
        "validation": f"On the validation rows{chose}, the network of the search has {words.listing(said)}." if said else "",
    }


def stopping(facts: Facts) -> str:
    """When training stopped and why, in words."""
    s = facts.part("stopping")
    parts: list[str] = []
    if s.get("rule"):
        parts.append(f"Rule: {s['rule']}.")
    best, last = words.finite(s.get("best_step")), words.finite(s.get("last_step"))
    if best is not None:
        epoch = words.finite(s.get("best_epoch"))
        parts.append(f"The best check was at step {int(best):,}" + (f" (epoch {words.number(epoch)})." if epoch is not None else "."))
    if last is not None:
        parts.append(f"Training in the search ended at step {int(last):,}" + (f": {str(s['why']).replace('_', ' ')}." if s.get("why") else "."))
    again = {"same_epochs": "for as many epochs as the best check", "same_steps": "for as many steps as the best check"}
    how = str(s.get("retrain") or "none")
    if how not in ("none", "None"):
        rows = "all rows" if saw_test(facts.summary) else "training and validation rows together"
        parts.append(f"What ships was trained again on {rows}, {again.get(how, how.replace('_', ' '))}.")
    return " ".join(parts)


def cocktail(facts: Facts) -> dict[str, Any] | None:
    """The cocktail in words and numbers."""
    c = facts.part("cocktail")
    if not c:
        return None
    rows = [
        {
            "name": str(r.get("regularizer") or ""),
            "strength": str(r.get("strength") or ""),
            "value": "off" if strengths.is_off(r.get("value"), r.get("off")) else words.number(r.get("value")),
            "off": strengths.is_off(r.get("value"), r.get("off")),
            "scale": strengths.strength_scale(r),
            "log": bool(r.get("log")),
            "meaning": words.sentence(r.get("meaning") or ""),
        }
        for r in c.get("rows") or []
    ]
    told = [(name, str(c[key])) for key, name in (("network", "Network"), ("optimizer", "Optimizer")) if c.get(key)]
    if words.finite(c.get("parameters")) is not None:
        told.append(("Parameters", f"{int(c['parameters']):,}"))
    return {"sentences": [words.sentence(s) for s in texts(c.get("sentences"))], "rows": rows, "repr": str(c.get("repr") or ""), "facts": told}


def gap_figure(facts: Facts) -> figures.Figure | None:
    """The gap with and without the cocktail."""
    groups = _gap_groups(facts)
    if not groups:
        return None
    gap = facts.part("gap")
    metric = str(gap.get("metric") or facts.metric)
    sizes = {
        "train": gap.get("n_train_clean") or facts.split.get("train"),
        "validation": gap.get("n_validation") or facts.split.get("validation"),
        "test": gap.get("n_test") or facts.n_test,
    }
    ns = [words.count(sizes[k], f"{what} row") for k, what in (("train", "clean training"), ("test", "test")) if words.finite(sizes[k]) is not None]
    caption = f"n = {words.listing(ns)}. " if ns else "n as in the split of the rows. "
    caption += "Training rows are measured clean: no noise, dropout, mixing or penalty."
    caption += " Each is a network of the search, not the model that ships."
    axis = words.metric_axis(metric, facts.unit if metric == facts.metric else "")
    return figures.gap(groups, axis, caption, greater=facts.direction(metric), sizes=sizes, shown=facts.shown)


def data_section(facts: Facts) -> dict[str, Any] | None:
    """The data as understood."""
    d = facts.data
    if not d:
        return None
    total = words.finite(d.get("rows"))
    columns: list[dict[str, str]] = []
    for c in d.get("columns") or []:
        missing = words.finite(c.get("missing"))
        share = f" ({missing / total:.1%})" if missing and total else ""
        columns.append(
            {
                "name": str(c.get("name")),
                "kind": str(c.get("kind") or ""),
                "missing": words.NOTHING if missing is None else f"{int(missing):,}{share}" if missing else "none",
                "unique": words.number(c.get("unique"), 6),
                "notes": "; ".join(texts(c.get("notes"))),
            }
        )
    s, said = facts.split, []
    if s.get("kind"):
        kind, divided = words.first_capital(str(s["kind"])), answers.rows(facts)
        said.append(f"{kind}: {divided}." if divided else f"{kind}.")
    if s.get("reason"):
        said.append(words.sentence(s["reason"]))
    if words.finite(d.get("unlabeled")):
        said.append(words.sentence(d.get("unlabeled_use") or f"{words.count(d['unlabeled'], 'row')} without a target"))
    kinds: dict[str, int] = {}
    for c in columns:
        kinds[c["kind"]] = kinds.get(c["kind"], 0) + 1
    size = f"{words.count(total, 'image' if d.get('images') else 'row')}" if total is not None else ""
    if columns:
        sorts = ", ".join(f"{n} {k}" for k, n in sorted(kinds.items(), key=lambda kn: -kn[1]) if k)
        size += (", " if size else "") + words.count(len(columns), "column") + (f" ({sorts})" if sorts else "")
    return {
        "size": words.sentence(size),
        "source": str(d.get("source") or ""),
        "split": " ".join(said),
        "reason": words.sentence(s.get("reason") or ""),
        "notes": [words.stopped(n) for n in texts(d.get("notes"))],
        "classes": classes.class_bars(d.get("class_counts") or {}),
        "columns": columns[:_MOST_COLUMNS],
        "more": columns[_MOST_COLUMNS:],
        "has_notes": any(c["notes"] for c in columns),
    }


def search(facts: Facts) -> dict[str, Any] | None:
    """What was tried."""
    s = facts.part("search")
    if not s:
        return None
    table = trials.read(s, facts.winner)
    known = tried.spaces(facts.summary)
    said: list[str] = []
    n, asked = words.finite(s.get("trials")) or len(table), words.finite(s.get("asked_trials"))
    if n:
        many = tried.of_summary(facts.summary).trials if table else n
        text = f"{words.count(many, 'trial')} ran"
        if n > many:
            text += f", {n - many:,.0f} more {'was' if n - many == 1 else 'were'} not started"
        if asked and asked > n:
            text += f", of {asked:,.0f} that were asked for"
        if s.get("budget"):
            text += f", budget {s['budget']}"
        if words.finite(s.get("seconds")) is not None:
            text += f", {words.duration(s['seconds'])} used"
        said.append(text + (", then the fit was interrupted." if s.get("ended") == "interrupted" else "."))
    if s.get("strategy"):
        said.append(f"Strategy {words.strategy(s['strategy'])}.")
    rungs = [(words.finite(r.get("epoch")), words.finite(r.get("members"))) for r in s.get("rungs") or []]
    steps = [f"{int(m):,} to epoch {words.number(e)}" for e, m in rungs if e is not None and m is not None]
    if steps:
        said.append(f"Trained: {', then '.join(steps)}.")
    tally = {state: sum(t.state == state for t in table) for state in (*trials.STATES, "no score")}
    if len(table) > 1 and any(n for state, n in tally.items() if state != "finished"):
        said.append(f"{words.first_capital(words.listing([f'{n:,} {state}' for state, n in tally.items() if n]))}.")
    keys = trials.keys_of(table)
    ordered = sorted(table, key=lambda t: (not t.won, t.score is None, -(t.score or 0) if facts.greater else (t.score or 0)))
    rows = [
        {
            "trial": t.trial,
            "score": facts.shown.score(t.score),
            "sort": t.score if t.score is not None else (-1e300 if facts.greater else 1e300),
            "status": t.status,
            "state": t.state,
            "won": t.won,
            "epochs": words.number(t.epochs),
            "epochs_sort": t.epochs if t.epochs is not None else -1,
            "plan": t.plan,
            "strengths": [_strength_cell(t.strengths.get(k), known.get(tried.plain_key(k))) for k in keys],
        }
        for t in ordered
    ]
    return {
        "said": " ".join(said),
        "plans": texts(s.get("static_plans")),
        "courses": trials.courses(facts.history, table, facts.axis, greater=facts.greater, winner=facts.winner),
        "figure": trials.against_strengths(table, known, facts.axis, greater=facts.greater),
        "keys": keys,
        "rows": rows,
        "metric": words.metric_name(str(s.get("metric") or facts.metric)),
        "note": _optimistic(table),
        "has_plan": any(t.plan for t in table),
    }


def _strength_cell(value: Any, space: Mapping[str, Any] | None) -> dict[str, Any]:
    off = space is not None and strengths.is_off(value, space.get("off"))
    known = words.finite(value)
    return {
        "text": "off" if off else words.number(value),
        "off": off or value is None,
        "sort": known if known is not None else "" if value is None else str(value),
    }


def timing(facts: Facts) -> list[tuple[str, str]]:
    """Wall-clock by part, the total last."""
    t = facts.part("timing")
    parts = [(str(k).replace("_", " "), words.duration(v)) for k, v in t.items() if k != "total" and words.finite(v) is not None]
    return parts + ([("in all", words.duration(t["total"]))] if words.finite(t.get("total")) is not None else [])


def _optimistic(table: list[trials.Trial]) -> str:
    """What the scores of the table are, and what the best of many is worth."""
    scored = sum(t.score is not None for t in table)
    text = f"n = {words.count(len(table), 'trial')}; scores are on the validation rows"
    return text + (", so the best of several is optimistic." if scored > 1 else ".")
