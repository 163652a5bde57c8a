"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion
from temperance.core.shown import in_notebook, shown
from temperance.data.splits import Split
from temperance.search.race import Trial
from temperance.search.refit import Refit
from temperance.train.metrics import Metric
from temperance.train.recipe import Recipe


@shown
@dataclass(eq=False)
class Search:
    """What :func:`search` returns.

    Attributes:
        model: what ships, a plain network trained again on all rows: the winner, or an average of several.
        winner: the best trial.
        trials: every trial, in order.
        metric: what decided.
        split: the rows of each part.
        scores: every metric of ``scored`` on the untouched test rows, with intervals.
        gap: the winner's scores with and without its cocktail.
        refit: how the model came about.
        scored: the networks whose scores these are: those of ``refit`` where they have seen no test row, else the best states of the search.
        rungs: what each round did.
        ended: ``"done"`` or ``"interrupted"``.
        timing: seconds of each part.
        ensemble: the networks that ship: members, gain, ``v`` and ``c``, predicted and measured squared error.
    """

    model: nn.Module
    winner: Trial
    trials: list[Trial]
    metric: Metric
    criterion: Criterion
    split: Split
    scores: dict[str, dict[str, float]]
    gap: dict[str, Any]
    refit: Refit
    scored: Refit
    rungs: list[dict[str, Any]]
    ended: str
    timing: dict[str, float]
    without: Trial | None = field(default=None, repr=False)
    notes: list[str] = field(default_factory=list)
    ensemble: dict[str, Any] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        return in_notebook(self, "search")

    @property
    def saw_test(self) -> bool:
        """Whether the model that ships was trained on the test rows too."""
        return self.scored is not self.refit

    @property
    def cocktail(self) -> Cocktail:
        """The winner's regularizers."""
        return self.winner.config.cocktail

    @property
    def recipe(self) -> Recipe:
        """How to train the networks that ship again, on these rows or on others; for one target."""
        return Recipe(self.cocktail, tuple(self.refit.courses), str(self.criterion.tasks), self.refit.how)

    @property
    def score(self) -> dict[str, float]:
        """The deciding metric on untouched rows: value, low, high; empty without test rows."""
        return self.scores.get(self.metric.name, {})

    def table(self) -> pd.DataFrame:
        """Every trial as a row."""
        rows = [t.row() for t in self.trials]
        return pd.DataFrame([{**{k: v for k, v in row.items() if k != "strengths"}, **row["strengths"]} for row in rows])

    def history(self) -> pd.DataFrame:
        """Every check of every trial, then of the control; numbers are means over folds."""
        rows = [{"run": "winner" if t is self.winner else "search", "trial": t.config.number, **row} for t in self.trials for row in t.history()]
        if self.without is not None:
            rows += [{"run": "without", "trial": self.winner.config.number, **row} for row in self.without.history()]
        return pd.DataFrame(rows)
