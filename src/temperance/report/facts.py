"""What every section reads: the summary and the history of one fit, with the metric that decides and its rounding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from temperance.report import trials, words
from temperance.report.figures import Estimate
from temperance.report.rounding import rounding

if TYPE_CHECKING:
    import pandas


class Facts:
    """A summary whose keys may be missing or None.

    Attributes:
        metric: what decides.
        greater: its direction.
        axis: its axis title.
        shown: the decimals of its scores and of their differences.
        n_test: test rows with a target; None where that is unknown.
    """

    def __init__(self, summary: Mapping[str, Any], history: pandas.DataFrame | None = None) -> None:
        self.summary = summary
        self.history = history if history is not None and len(history) else None
        self.data = self.part("data")
        self.split: Mapping[str, Any] = self.data.get("split") or {}
        self.scores = self.part("scores")
        self.test: Mapping[str, Any] = self.scores.get("test") or {}
        metric = self.part("metric")
        self.metric = str(metric.get("name") or next(iter(self.test), "score"))
        told = metric.get("greater_is_better")
        self.greater = words.greater_is_better(self.metric) if told is None else bool(told)
        self.unit = str(metric.get("unit") or "")
        self.axis = words.metric_axis(self.metric, self.unit)
        self.shown = rounding(summary, self.metric)
        self.n_test = words.finite(self.scores.get("n_test")) or words.finite(self.split.get("test"))
        self.loss_unit = "nats per row" if summary.get("task") in ("classification", "multilabel") else "mean per row, scaled target"
        self.winner = trials.winner_of(summary, self.history)

    def part(self, key: str) -> dict[str, Any]:
        """A part of the summary, empty where it is missing."""
        return dict(self.summary.get(key) or {})

    def direction(self, metric: str) -> bool:
        """Whether more of a metric is better."""
        return self.greater if metric == self.metric else words.greater_is_better(metric)

    def estimates(self, metric: str) -> list[Estimate]:
        """Our score and the rivals', the best first, unknown ones last."""

        def read(name: str, score: Any, ours: bool, seconds: Any = None) -> Estimate:
            score = score if isinstance(score, Mapping) else {"value": score}
            return Estimate(name, *(words.finite(score.get(k)) for k in ("value", "low", "high")), ours=ours, seconds=words.finite(seconds))

        rows = [read("temperance", self.test.get(metric), True, self.part("timing").get("total"))] if metric in self.test else []
        for rival in self.summary.get("rivals") or []:
            rows.append(read(str(rival.get("name") or "rival"), (rival.get("test") or {}).get(metric), False, rival.get("seconds")))
        sign = -1.0 if self.direction(metric) else 1.0
        return sorted(rows, key=lambda r: (r.value is None, sign * (r.value or 0.0)))

    def decimals(self, metric: str) -> int:
        """The decimals of a column of scores."""
        rows = self.estimates(metric)
        return self.shown.decimals if metric == self.metric else words.decimals_for([r.value for r in rows], [r.width for r in rows])


def shipped(summary: Mapping[str, Any]) -> str:
    """The model that ships.

    Example:
        >>> shipped({"ensemble": {"kind": "greedy", "networks": 4, "configurations": 3}})
        'the average of 4 networks of 3 configurations'
        >>> shipped({"ensemble": {"kind": "one", "networks": 1}}), shipped({})
        ('the network', 'the model')
    """
    return _average(summary.get("ensemble") or {})


def scored(summary: Mapping[str, Any]) -> str:
    """The networks that were scored on test rows, so that a reader knows whose score it is.

    Example:
        >>> e = {"kind": "seeds", "networks": 4, "scored": {"kind": "folds", "networks": 5}}
        >>> scored({"ensemble": e, "scores": {"saw_test": True}})
        'the average of 5 networks with the chosen cocktail, one per fold, trained without these rows'
    """
    e = summary.get("ensemble") or {}
    return _average(e.get("scored") or e) + (", trained without these rows" if saw_test(summary) else "")


def saw_test(summary: Mapping[str, Any]) -> bool:
    """Whether what ships was trained on the test rows too, and is thus not what was scored."""
    return bool((summary.get("scores") or {}).get("saw_test"))


def ships(summary: Mapping[str, Any]) -> str:
    """A sentence on the model that ships, where it is not the one that was scored; else nothing.

    Example:
        >>> told = {"ensemble": {"kind": "one", "networks": 1}, "scores": {"saw_test": True}, "model": {"training_rows": 1200}}
        >>> ships(told)
        'The model that ships, the network, was then trained on all 1,200 rows.'
    """
    if not saw_test(summary):
        return ""
    n = words.finite((summary.get("model") or {}).get("training_rows"))
    return f"The model that ships, {shipped(summary)}, was then trained on all {words.count(n, 'row') if n else 'rows'}."


def _average(e: Mapping[str, Any]) -> str:
    n, kind = words.finite(e.get("networks")), str(e.get("kind") or "")
    if n is None:
        return "the model"
    if n < 2:
        return "the network"
    what = {
        "greedy": f" of {words.count(e.get('configurations'), 'configuration')}",
        "seeds": " with the chosen cocktail",
        "folds": " with the chosen cocktail, one per fold",
    }.get(kind, "")
    return f"the average of {words.count(n, 'network')}{what}"


def texts(value: Any) -> list[str]:
    """A text or a list of texts as a list without empties."""
    items = value if isinstance(value, list | tuple) else [value]
    return [str(item) for item in items if item not in (None, "")]
