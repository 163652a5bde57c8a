"""One self-contained HTML page about one fit: what was predicted, how well, whether it over-fits, which cocktail, and why."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from temperance.report import averages, calibration, classes, confusion, curves, figures, pictures, robust, strengths, trials, words
from temperance.report.figures import Estimate

if TYPE_CHECKING:
    import pandas

_MOST_COLUMNS = 20


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
    page = _Page(summary, history, images)
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(sentence=words.sentence, stopped=words.stopped)
    return environment.from_string(_file("template.html")).render(style=Markup(_file("style.css")), script=Markup(_file("script.js")), **page.context())


def _file(name: str) -> str:
    return resources.files("temperance.report").joinpath(name).read_text(encoding="utf-8")


def _texts(value: Any) -> list[str]:
    """A text or a list of texts as a list without empties."""
    items = value if isinstance(value, list | tuple) else [value]
    return [str(item) for item in items if item not in (None, "")]


class _Page:
    """Turns a summary and a history into what the template lays out, one method a section."""

    def __init__(self, summary: Mapping[str, Any], history: pandas.DataFrame | None, images: pictures.Pictures | None = None) -> None:
        self.summary, self.images = summary, images
        self.history = history if history is not None and len(history) else None
        self.data = self._dict("data")
        self.split: Mapping[str, Any] = self.data.get("split") or {}
        self.scores = self._dict("scores")
        self.test: Mapping[str, Any] = self.scores.get("test") or {}
        metric = self._dict("metric")
        self.metric = str(metric.get("name") or next(iter(self.test), "score"))
        told = metric.get("greater_is_better")
        self.greater = words.greater_is_better(self.metric) if told is None else bool(told)
        self.unit = str(metric.get("unit") or "")
        self.axis = words.metric_axis(self.metric, self.unit)
        self.n_test = words.finite(self.scores.get("n_test")) or words.finite(self.split.get("test"))
        self.loss_unit = "nats per row" if summary.get("task") in ("classification", "multilabel") else "mean per row, scaled target"
        self.winner = trials.winner_of(summary, self.history)

    def _dict(self, key: str) -> dict[str, Any]:
        return dict(self.summary.get(key) or {})

    def context(self) -> dict[str, Any]:
        """Everything the template needs."""
        summary = self.summary
        title = str(summary.get("title") or summary.get("target") or "A fit")
        return {
            "title": title,
            "version": str(summary.get("temperance") or ""),
            "created": words.date(summary["created"]) if summary.get("created") else "",
            "seed": summary.get("seed"),
            "task": self.task(),
            "answer": self.answer(),
            "comparison": self.comparison(),
            "overfitting": self.overfitting(),
            "brew": self.brew(),
            "rows": self.rows(),
            "warnings": _texts(summary.get("warnings")),
            "scores": self.score_table(),
            "learning": curves.learning(self.history, summary, self.metric, self.axis, self.loss_unit),
            "stopping": self.stopping(),
            "penalties": curves.penalties(self.history, summary, self.loss_unit),
            "cocktail": self.cocktail(),
            "samples": pictures.samples(self.images, self._dict("samples")),
            "filters": pictures.filters(self.images, self._dict("filters")),
            "errors": pictures.errors(self.images, self._dict("errors")),
            "confusion": confusion.section(self._dict("confusion")),
            "calibration": calibration.section(self._dict("calibration")),
            "robustness": robust.render(self._dict("robustness")),
            "gap": self.gap_figure(),
            "ensemble": averages.section(summary, self.metric, self.greater),
            "gap_note": str(self._dict("gap").get("note") or ""),
            "data": self.data_section(),
            "search": self.search(),
            "use": [(name, str(summary[key])) for key, name in (("predict", "Predict new rows"), ("replay", "Train one trial again")) if summary.get(key)],
            "model": [(str(k).replace("_", " "), words.number(v) if not isinstance(v, str) else v) for k, v in self._dict("model").items() if _scalar(v)],
            "timing": self.timing(),
        }

    # -------------------------------------------------------------------------------------------- the first screen

    def task(self) -> str:
        """What was predicted from what, in one sentence."""
        target, kind = str(self.summary.get("target") or ""), str(self.summary.get("task") or "")
        names = self.data.get("classes") or []
        what = {
            "classification": f"one of {len(names)} classes" if len(names) > 2 else f"{words.listing([str(c) for c in names], 'or')}" if names else "a class",
            "multilabel": f"any of {words.count(len(names), 'label')}" if names else "several labels",
            "regression": "a number" + (f" in {self.unit}" if self.unit else ""),
        }.get(kind, "")
        columns = [c for c in self.data.get("columns") or [] if str(c.get("name")) != target]
        text = f"Predicted: {target}" + (f", {what}," if what else ",") if target else ""
        image = self.data.get("images") or {}
        if text and columns:
            text += f" from {words.count(len(columns), 'column')}"
        elif text and image:
            text += f" from {self.pixels()}"
        if text and self.data.get("source"):
            text += f" of {self.data['source']}"
        if text and words.finite(self.data.get("rows")) is not None:
            text += f" ({words.count(self.data['rows'], 'image' if image else 'row')})"
        return text.rstrip(",") + "." if text else ""

    def pixels(self) -> str:
        """The size of the images."""
        image = self.data.get("images") or {}
        return f"{image.get('colors')} images of {image.get('height')} × {image.get('width')} pixels"

    def estimates(self, metric: str) -> list[Estimate]:
        """Our score and the rivals', the best first, unknown ones last."""

        def read(name: str, score: Any, ours: bool, seconds: Any = None) -> Estimate:
            score = score if isinstance(score, Mapping) else {"value": score}
            return Estimate(name, *(words.finite(score.get(k)) for k in ("value", "low", "high")), ours=ours, seconds=words.finite(seconds))

        rows = [read("temperance", self.test.get(metric), True, self._dict("timing").get("total"))] if metric in self.test else []
        for rival in self.summary.get("rivals") or []:
            rows.append(read(str(rival.get("name") or "rival"), (rival.get("test") or {}).get(metric), False, rival.get("seconds")))
        greater = self.greater if metric == self.metric else words.greater_is_better(metric)
        return sorted(rows, key=lambda r: (r.value is None, -(r.value or 0.0) if greater else (r.value or 0.0)))

    def answer(self) -> dict[str, str] | None:
        """The score on untouched rows in words, and where it stands among the rivals."""
        rows = self.estimates(self.metric)
        ours = next((r for r in rows if r.ours and r.value is not None), None)
        if ours is None or ours.value is None:
            return None
        decimals = words.decimals_for([r.value for r in rows], [r.width for r in rows])
        name = words.metric_name(self.metric)
        between = words.interval(ours.low, ours.high, decimals)
        unit = f" {self.unit}" if self.unit else ""
        return {
            "n": words.count(self.n_test, "untouched row") if self.n_test is not None else "untouched rows",
            "metric": words.article(name),
            "value": words.fixed(ours.value, decimals) + unit,
            "interval": f"({between})" if between else "",
            "verdict": self._verdict(ours, [r for r in rows if not r.ours and r.value is not None], decimals),
        }

    def _verdict(self, ours: Estimate, rivals: list[Estimate], decimals: int) -> str:
        if not rivals or ours.value is None or rivals[0].value is None:
            return ""
        best = rivals[0]
        margin = (ours.value - rivals[0].value) * (1 if self.greater else -1)
        shown = words.fixed(abs(margin), decimals)
        overlap = ""
        if None not in (ours.low, ours.high, best.low, best.high):
            apart = (ours.low or 0) > (best.high or 0) or (best.low or 0) > (ours.high or 0)
            overlap = "; the intervals do not overlap" if apart else "; the intervals overlap"
        if float(shown.replace(",", "")) == 0:
            text = f"Level with {best.name}{overlap}."
        elif margin > 0:
            text = f"Ahead of {'the best rival, ' if len(rivals) > 1 else ''}{best.name}, by {shown}{overlap}."
        else:
            text = f"{words.first_capital(best.name)} is ahead by {shown}{overlap}."
        beaten_by = [r.name for r in rivals if figures.is_trivial(r.name) and r.value is not None and (r.value - ours.value) * (1 if self.greater else -1) >= 0]
        return text + (f" It does no better than {words.listing(beaten_by)}: do not use it as it is." if beaten_by else "")

    def comparison(self) -> figures.Figure | None:
        """Our score beside the rivals'."""
        rows = self.estimates(self.metric)
        if not any(r.value is not None for r in rows):
            return None
        n = words.count(self.n_test, "untouched row") if self.n_test is not None else "the untouched rows"
        how = f"{words.first_capital(str(self.scores['interval']))}." if self.scores.get("interval") else ""
        same = "The same rows for every model. " if len(rows) > 1 else ""
        return figures.comparison(rows, self.axis, f"{'n = ' if self.n_test is not None else 'On '}{n}. {same}{how}".strip(), greater=self.greater)

    def _gap_groups(self) -> list[tuple[str, Mapping[str, Any]]]:
        gap = self._dict("gap")
        known = [("with the cocktail", gap.get("with")), ("without", gap.get("without"))]
        return [(name, scores) for name, scores in known if scores and any(words.finite(v) is not None for v in scores.values())]

    def _gap_metric(self) -> tuple[str, bool]:
        name = str(self._dict("gap").get("metric") or self.metric)
        return name, self.greater if name == self.metric else words.greater_is_better(name)

    def overfitting(self) -> dict[str, str] | None:
        """Whether the network scores better on rows it was trained on, with numbers, against the network without cocktail."""
        groups = dict(self._gap_groups())
        ours, bare = groups.get("with the cocktail", {}), groups.get("without", {})
        train, test = words.finite(ours.get("train")), words.finite(ours.get("test"))
        if train is None or test is None:
            return None
        metric, greater = self._gap_metric()
        sign = 1 if greater else -1
        every = [v for v in map(words.finite, [*ours.values(), *bare.values()]) if v is not None]
        decimals = max(words.decimals_for(every), 3 if max(map(abs, every)) < 10 else 0)
        show = lambda v: words.fixed(v, decimals)  # noqa: E731
        score = self.test.get(metric)
        low, high = (words.finite(score.get("low")), words.finite(score.get("high"))) if isinstance(score, Mapping) else (None, None)
        inside = low is not None and high is not None and (train <= high if greater else train >= low)
        difference = sign * (train - test)
        head = "Not measurably" if inside or difference <= 0 else f"A gap of {show(difference)}"
        text = f"{words.first_capital(words.metric_name(metric))} is {show(train)} on rows it was trained on and {show(test)} on untouched rows"
        text += ", within the interval." if inside and difference > 0 else "."
        other_train, other_test = words.finite(bare.get("train")), words.finite(bare.get("test"))
        if other_train is not None and other_test is not None:
            text += f" Without the cocktail: {show(other_train)} and {show(other_test)}, a gap of {show(sign * (other_train - other_test))}."
            if sign * (other_test - test) > 0 and show(other_test) != show(test):
                text += " On these untouched rows the network without it scores better."
        return {"head": head, "text": text}

    def brew(self) -> dict[str, Any] | None:
        """The chosen regularizers, short."""
        cocktail = self._dict("cocktail")
        rows: dict[str, list[str]] = {}
        off: list[str] = []
        for row in cocktail.get("rows") or []:
            name = str(row.get("regularizer") or "")
            if strengths.is_off(row.get("value"), row.get("off")):
                off.append(name)
            else:
                rows.setdefault(name, []).append(f"{row.get('strength', '')} {words.number(row.get('value'))}".strip())
        if not rows and not off and not cocktail.get("repr"):
            return None
        items = [(name, ", ".join(strengths)) for name, strengths in rows.items()]
        if not items and cocktail.get("repr") and not off:
            return {"head": "", "items": [(str(cocktail["repr"]), "")], "rest": ""}
        head = words.count(len(items), "regularizer") if items else "None: the plain network won"
        unused = [name for name in dict.fromkeys(off) if name not in rows]
        return {"head": head, "items": items, "rest": f"Tried and left off: {words.listing(unused)}." if unused else ""}

    def rows(self) -> str:
        """How the rows were divided."""
        s = self.split
        parts = [(s.get("train"), "to train on"), (s.get("validation"), "to choose by"), (s.get("test"), "untouched until the end")]
        said = [f"{int(n):,} {what}" for value, what in parts if (n := words.finite(value)) is not None]
        return words.listing(said)

    # -------------------------------------------------------------------------------------------- sections

    def score_table(self) -> dict[str, Any] | None:
        """Every metric, every model; the best of a column is set bold, whosever it is."""
        metrics = [self.metric] if self.metric in self.test else []
        metrics += [m for m in self.test if m not in metrics]
        if not metrics:
            return None
        order = [r.name for r in self.estimates(self.metric)]
        columns: dict[str, dict[str, Estimate]] = {m: {r.name: r for r in self.estimates(m)} for m in metrics}
        decimals = {m: words.decimals_for([r.value for r in c.values()], [r.width for r in c.values()]) for m, c in columns.items()}
        best = {m: next((words.fixed(r.value, decimals[m]) for r in self.estimates(m) if r.value is not None), "") for m in metrics}
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
        head = [
            {"name": words.metric_name(m), "better": "higher" if (self.greater if m == self.metric else words.greater_is_better(m)) else "lower"}
            for m in metrics
        ]
        validation = self.scores.get("validation") or {}
        said = [f"{words.metric_name(m)} {words.fixed(v, decimals.get(m, 3))}" for m, v in validation.items() if words.finite(v) is not None]
        return {
            "head": head,
            "rows": [{"name": n, "ours": first[n].ours, "cells": cells[n], "seconds": words.duration(first[n].seconds)} for n in order],
            "seconds": any(r.seconds is not None for r in first.values()),
            "n": words.count(self.n_test, "untouched row") if self.n_test is not None else "",
            "interval": words.sentence(self.scores.get("interval") or ""),
            "validation": f"On the validation rows, which chose the cocktail: {words.listing(said)}." if said else "",
        }

    def stopping(self) -> str:
        """When training stopped and why, in words."""
        s = self._dict("stopping")
        parts: list[str] = []
        if s.get("rule"):
            parts.append(f"Rule: {s['rule']}.")
        best, last = words.finite(s.get("best_step")), words.finite(s.get("last_step"))
        if best is not None:
            epoch = words.finite(s.get("best_epoch"))
            parts.append(f"The weights of step {int(best):,}" + (f" (epoch {words.number(epoch)})" if epoch is not None else "") + " were kept.")
        if last is not None:
            parts.append(f"Training ended at step {int(last):,}" + (f": {str(s['why']).replace('_', ' ')}." if s.get("why") else "."))
        if s.get("retrain") and str(s["retrain"]).lower() not in ("none", "no", "false", "off"):
            parts.append(f"Then retrained on training and validation rows together: {str(s['retrain']).replace('_', ' ')}.")
        return " ".join(parts)

    def cocktail(self) -> dict[str, Any] | None:
        """The cocktail in words and numbers."""
        c = self._dict("cocktail")
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
        facts = [(name, str(c[key])) for key, name in (("network", "Network"), ("optimizer", "Optimizer")) if c.get(key)]
        if words.finite(c.get("parameters")) is not None:
            facts.append(("Parameters", f"{int(c['parameters']):,}"))
        return {"sentences": [words.sentence(s) for s in _texts(c.get("sentences"))], "rows": rows, "repr": str(c.get("repr") or ""), "facts": facts}

    def gap_figure(self) -> figures.Figure | None:
        """The gap with and without the cocktail."""
        groups = self._gap_groups()
        if not groups:
            return None
        gap = self._dict("gap")
        metric, greater = self._gap_metric()
        sizes = {
            "train": gap.get("n_train_clean") or self.split.get("train"),
            "validation": gap.get("n_validation") or self.split.get("validation"),
            "test": gap.get("n_test") or self.n_test,
        }
        ns = [words.count(sizes[k], f"{what} row") for k, what in (("train", "clean training"), ("test", "untouched")) if words.finite(sizes[k]) is not None]
        caption = f"n = {words.listing(ns)}. " if ns else "n as in the split of the rows. "
        caption += "Training rows are measured clean: no noise, dropout, mixing or penalty."
        return figures.gap(groups, words.metric_axis(metric, self.unit if metric == self.metric else ""), caption, greater=greater, sizes=sizes)

    def data_section(self) -> dict[str, Any] | None:
        """The data as understood."""
        d = self.data
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
                    "notes": "; ".join(_texts(c.get("notes"))),
                }
            )
        s, said = self.split, []
        if s.get("kind"):
            folds = words.finite(s.get("folds"))
            said.append(f"{words.first_capital(str(s['kind']))}{f', {int(folds)} folds' if folds else ''}: {self.rows()}." if self.rows() else f"{s['kind']}.")
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
            "notes": [words.stopped(n) for n in _texts(d.get("notes"))],
            "classes": classes.class_bars(d.get("class_counts") or {}),
            "columns": columns[:_MOST_COLUMNS],
            "more": columns[_MOST_COLUMNS:],
            "has_notes": any(c["notes"] for c in columns),
        }

    def search(self) -> dict[str, Any] | None:
        """What was tried."""
        s = self._dict("search")
        if not s:
            return None
        table = trials.read(s, self.winner)
        known = trials.spaces(self.summary)
        said: list[str] = []
        n = words.finite(s.get("trials")) or len(table)
        if n:
            text = words.count(n, "cocktail") + " tried"
            if s.get("budget"):
                text += f", budget {s['budget']}"
            if words.finite(s.get("seconds")) is not None:
                text += f", {words.duration(s['seconds'])} used"
            said.append(text + ".")
        if s.get("strategy"):
            said.append(f"Strategy {words.strategy(s['strategy'])}.")
        rungs = [(words.finite(r.get("epoch")), words.finite(r.get("members"))) for r in s.get("rungs") or []]
        steps = [f"{int(m):,} to epoch {words.number(e)}" for e, m in rungs if e is not None and m is not None]
        if steps:
            said.append(f"Trained: {', then '.join(steps)}.")
        keys = trials.keys_of(table)
        ordered = sorted(table, key=lambda t: (not t.won, t.score is None, -(t.score or 0) if self.greater else (t.score or 0)))
        scores = [t.score for t in table if t.score is not None]
        decimals = max(words.decimals_for(scores), 4 if scores and max(map(abs, scores)) < 10 else 0)
        rows = [
            {
                "trial": t.trial,
                "score": words.fixed(t.score, decimals),
                "sort": t.score if t.score is not None else (-1e300 if self.greater else 1e300),
                "status": t.status,
                "state": t.state,
                "won": t.won,
                "epochs": words.number(t.epochs),
                "epochs_sort": t.epochs if t.epochs is not None else -1,
                "plan": t.plan,
                "strengths": [self._strength_cell(t.strengths.get(k), known.get(trials.plain_key(k))) for k in keys],
            }
            for t in ordered
        ]
        return {
            "said": " ".join(said),
            "plans": _texts(s.get("static_plans")),
            "courses": trials.courses(self.history, table, self.axis, greater=self.greater, winner=self.winner),
            "figure": trials.against_strengths(table, known, self.axis, greater=self.greater),
            "keys": keys,
            "rows": rows,
            "metric": words.metric_name(str(s.get("metric") or self.metric)),
            "has_plan": any(t.plan for t in table),
        }

    @staticmethod
    def _strength_cell(value: Any, space: Mapping[str, Any] | None) -> dict[str, Any]:
        off = space is not None and strengths.is_off(value, space.get("off"))
        known = words.finite(value)
        return {
            "text": "off" if off else words.number(value),
            "off": off or value is None,
            "sort": known if known is not None else "" if value is None else str(value),
        }

    def timing(self) -> list[tuple[str, str]]:
        """Wall-clock by part, the total last."""
        t = self._dict("timing")
        parts = [(str(k).replace("_", " "), words.duration(v)) for k, v in t.items() if k != "total" and words.finite(v) is not None]
        return parts + ([("in all", words.duration(t["total"]))] if words.finite(t.get("total")) is not None else [])


def _scalar(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
