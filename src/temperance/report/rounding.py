"""How many decimals a page shows: one number for its scores, one for their differences, so that no quantity is seen with two values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from temperance.report import words


@dataclass(frozen=True)
class Rounding:
    """The decimals of one metric on one page.

    Attributes:
        decimals: of scores.
        fine: of differences of scores; never fewer.
    """

    decimals: int
    fine: int

    def score(self, value: Any) -> str:
        """A score."""
        return words.fixed(value, self.decimals)

    def signed(self, value: Any) -> str:
        """A difference, with its sign."""
        known, text = words.finite(value), words.fixed(value, self.fine)
        return f"+{text}" if known is not None and known > 0 and text.strip("0.,") else text


def rounding(summary: Mapping[str, Any], metric: str) -> Rounding:
    """The decimals of the metric that decides: as its intervals on test rows warrant, at least three below 10.

    Example:
        >>> rounding({"scores": {"test": {"r2": {"value": 0.86612, "low": 0.8551, "high": 0.8774}}}}, "r2").score(0.86612)
        '0.866'
    """
    estimates = _estimates(summary, metric)
    decimals = words.decimals_for([e.get("value") for e in estimates], [_width(e) for e in estimates])
    values = [v for e in estimates if (v := words.finite(e.get("value"))) is not None] or _others(summary, metric)
    if not estimates:
        decimals = words.decimals_for(values)
    decimals = max(decimals, 3 if not values or max(map(abs, values)) < 10 else 0)
    differences = list(_differences(summary, metric))
    needed = [words.decimals_for([], [_width(d)]) for d in differences if _width(d)]
    return Rounding(decimals, min(max([decimals, *needed]), decimals + 1))


def _width(estimate: Mapping[str, Any]) -> float | None:
    low, high = words.finite(estimate.get("low")), words.finite(estimate.get("high"))
    return None if low is None or high is None else high - low


def _estimates(summary: Mapping[str, Any], metric: str) -> list[Mapping[str, Any]]:
    tables = [(summary.get("scores") or {}).get("test") or {}, *((rival.get("test") or {}) for rival in summary.get("rivals") or [])]
    found = [table.get(metric) for table in tables]
    return [e if isinstance(e, Mapping) else {"value": e} for e in found if e is not None]


def _others(summary: Mapping[str, Any], metric: str) -> list[float]:
    """Scores of the metric where no test rows are: on validation and training rows."""
    gap = summary.get("gap") or {}
    values = [*((summary.get("scores") or {}).get("validation") or {}).values()]
    values += [v for side in ("with", "without") for v in (gap.get(side) or {}).values()] if gap.get("metric", metric) == metric else []
    return [v for v in map(words.finite, values) if v is not None]


def _differences(summary: Mapping[str, Any], metric: str) -> Iterable[Mapping[str, Any]]:
    verdicts = summary.get("verdicts") or {}
    yield from (v for name in ("cocktail", "overfitting") if (v := verdicts.get(name)))
    yield from (d for rival in summary.get("rivals") or [] if (d := rival.get("difference")))
    score = (summary.get("ensemble") or {}).get("score") or {}
    for pair in (score.get("validation"), score.get("test")):
        if pair and words.finite(pair.get("single")) is not None and words.finite(pair.get("average")) is not None:
            yield {"value": pair["average"] - pair["single"], "low": pair.get("low"), "high": pair.get("high")}
