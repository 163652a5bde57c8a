"""What a search found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion
from temperance.core.errors import ConfigError
from temperance.core.shown import in_notebook, shown
from temperance.data.dataset import Dataset
from temperance.data.splits import Split
from temperance.search.attribution.explanation import Explanation
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
        scores: every metric of ``scored`` on the test rows, with intervals.
        gap: the winner's scores with and without its cocktail.
        refit: how the model came about.
        scored: the networks whose scores these are: those of ``refit`` where they have seen no test row, else the best states of the search.
        rungs: what each round did.
        ended: ``"done"`` or ``"interrupted"``.
        timing: seconds of each part.
        ensemble: the networks that ship: members, gain, ``v`` and ``c``, predicted and measured squared error.
        data: all rows.
        loss: what training minimized.
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
    data: Dataset | None = field(default=None, repr=False)
    loss: Any = field(default=None, repr=False)

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
        """The deciding metric on test rows: value, low, high; empty without test rows."""
        return self.scores.get(self.metric.name, {})

    def explain(
        self,
        seeds: int = 8,
        *,
        budget: str | float | None = None,
        memory: str | int = "4G",
        device: str | torch.device | None = None,
        precision: str = "fp32",
        path: str | Path | None = None,
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Explanation:
        """Which regularizers of the winner help: train it without each of them, and with each other one, and measure the difference on the test rows.

        Every cocktail trains with the same seeds, on the rows that the search trained on, and keeps its best state on the validation rows. All but the
        strengths stay as the winner has them: network, learning rate and length of training. A difference has an interval for other rows and other seeds,
        corrected for the number of comparisons. See docs/explain.md.

        Args:
            seeds: networks of each cocktail.
            budget: seconds, or ``"90s"``, ``"5m"``, ``"1h"``; what is measured by then is told.
            memory: what populations may plan for.
            device: where they train; by default where the data are.
            precision: ``"bf16"`` for products of 16 bits in training.
            path: a file for what is measured; a later call with it goes on from there.
            on_progress: called with a dict: ``phase``, ``done`` in [0, 1], ``left`` seconds, ``metric``.

        Raises:
            ConfigError: settings that cannot work, or a budget that is too small for two seeds.
            DataError: the search kept no test rows.
            KeyboardInterrupt: interrupted before a first seed was measured; later, what there is is returned.

        Example:
            >>> import torch, temperance as tp
            >>> X, y = torch.randn(60, 5).numpy(), torch.arange(60).numpy() % 2
            >>> found = tp.search(lambda data: tp.nets.MLP(5, 2, hidden=(8,)), (X, y), trials=2, epochs=2)
            >>> set(found.explain(seeds=2).table()["answer"])  # 12 test rows are too few
            {'cannot tell'}
        """
        from temperance.search.attribution.explain import explain

        if self.data is None or self.winner.population is None:
            raise ConfigError("Expected a search with its rows and its winner's training, got one without. Search again, and explain what that returns.")
        return explain(
            self.winner.config,
            self.data,
            self.split,
            self.metric,
            steps=self.winner.population.total_steps,
            criterion=self.loss,
            scored_by=self.criterion,
            seeds=seeds,
            budget=budget,
            memory=memory,
            device=device,
            precision=precision,
            path=path,
            on_progress=on_progress,
        )

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
