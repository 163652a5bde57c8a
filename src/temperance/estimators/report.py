"""What the training of an estimator hands back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.shown import shown
from temperance.estimators.explaining import Basis


@shown
@dataclass(frozen=True, eq=False)
class Report:
    """What led to a fitted estimator, as plain values that can be pickled.

    Attributes:
        trials: every trial as a row: score, how it ended, epochs, static plan, learning rate, strengths.
        winner: number of the trial that the model comes from.
        cocktail: its regularizers, without those that are off.
        network: the network in words.
        learning_rate: the peak learning rate.
        batch_size: rows per step.
        metric: what decided.
        score: on the validation rows, the mean over folds; NaN where nothing was validated.
        best_epoch: epoch of the best score.
        split: which rows validated.
        rungs: how many trials went on in each round.
        how: where the weights come from: ``"same_epochs"`` (trained again on all rows), ``"all_steps"`` (without early stopping),
            ``"recipe"`` or ``"none"`` (the best state on the validation rows).
        steps: steps of the final training.
        notes: anything unusual.
        interrupted: whether Ctrl-C ended the training; the weights are then the best until that moment.
    """

    trials: pd.DataFrame
    winner: int
    cocktail: Cocktail
    network: str
    learning_rate: float
    batch_size: int
    metric: str
    score: float
    best_epoch: float
    split: str
    rungs: list[dict[str, Any]]
    how: str
    steps: int
    notes: list[str]
    interrupted: bool = False


class Trained(NamedTuple):
    """A plain network, what led to it, its curves, and what explains it (``None`` for the networks of a recipe)."""

    model: nn.Module
    report: Report
    history: pd.DataFrame
    basis: Basis | None = None
