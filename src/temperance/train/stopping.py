"""When to stop: a pure function of the metric history."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from temperance.core.errors import ConfigError, expected


@dataclass(frozen=True)
class Verdict:
    """What the history says: the index of the best check, whether to stop, and why."""

    best: int
    stop: bool
    why: str


def better(score: float, best: float, greater: bool) -> bool:
    """Strict improvement; a score that is not a number never improves."""
    return score > best if greater else score < best


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the validation metric has not improved for a while; the best state is returned on every exit.

    The best state moves on every strict improvement. Patience counts from the last improvement by more than
    ``max(atol, rtol |best|)``, so the relative threshold means the same for scores of either sign (Prechelt, 1998; Goodfellow et al., 2016,
    algorithm 7.1). The rule is derived from the history each time it is asked: nothing is latched, so resuming cannot change it.

    Args:
        patience: ``"20 evals"``, ``"5 epochs"`` or a number of steps.
        atol: absolute improvement that resets patience.
        rtol: relative improvement that resets patience.
        min_epochs: never stop before.
        start_from: ignore checks before this epoch, for the best state too.
        optimum: stop at once where the metric reaches its best possible value.

    Example:
        >>> rule = EarlyStopping(patience="2 evals")
        >>> rule.decide([0.5, 0.7, 0.6, 0.65], [1, 2, 3, 4], [10, 20, 30, 40], greater=True)
        Verdict(best=1, stop=True, why='no improvement for 2 evals')
    """

    patience: str | int = "20 evals"
    atol: float = 0.0
    rtol: float = 0.0
    min_epochs: float = 0.0
    start_from: float = 0.0
    optimum: bool = True

    def __post_init__(self) -> None:
        self.unit()
        for name in ("atol", "rtol", "min_epochs", "start_from"):
            if not getattr(self, name) >= 0:
                raise ConfigError(expected(name, "EarlyStopping", "in [0, inf)", getattr(self, name)))

    def unit(self) -> tuple[float, str]:
        """Patience as a number and its unit: evals, epochs or steps."""
        if isinstance(self.patience, int) and not isinstance(self.patience, bool) and self.patience > 0:
            return float(self.patience), "steps"
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(eval|epoch|step)s?\s*", str(self.patience))
        if not found or float(found[1]) <= 0:
            raise ConfigError(expected("patience", "EarlyStopping", "such as '20 evals', '5 epochs' or 2000 (steps)", self.patience))
        return float(found[1]), f"{found[2]}s"

    def decide(self, scores: Sequence[float], epochs: Sequence[float], steps: Sequence[int], *, greater: bool, optimum: float | None = None) -> Verdict:
        """Judge a history of checks, oldest first.

        Args:
            scores: the validation metric.
            epochs: when, in epochs.
            steps: when, in steps.
            greater: whether greater is better.
            optimum: the metric's best possible value.
        """
        amount, unit = self.unit()
        best, anchor = -1, -1
        for i, score in enumerate(scores):
            if epochs[i] < self.start_from or score != score:
                continue
            if best < 0 or better(score, scores[best], greater):
                best = i
            margin = 0.0 if anchor < 0 or math.isinf(scores[anchor]) else max(self.atol, self.rtol * abs(scores[anchor]))
            gain = 0.0 if anchor < 0 else (score - scores[anchor] if greater else scores[anchor] - score)
            if anchor < 0 or gain > margin:
                anchor = i
        if best < 0:
            return Verdict(-1, False, "no check counts yet")
        if epochs[-1] < self.min_epochs:
            return Verdict(best, False, "before min_epochs")
        if self.optimum and optimum is not None and scores[best] == optimum:
            return Verdict(best, True, "the metric reached its optimum")
        now, then = {"evals": (len(scores) - 1, anchor), "epochs": (epochs[-1], epochs[anchor]), "steps": (steps[-1], steps[anchor])}[unit]
        if now - then >= amount:
            return Verdict(best, True, f"no improvement for {amount:g} {unit}")
        return Verdict(best, False, "improving")
