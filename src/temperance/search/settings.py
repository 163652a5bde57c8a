"""What a search is asked for, beside its plans, its data and its clock."""

from __future__ import annotations

from dataclasses import dataclass

from temperance.core.criterion import Criterion
from temperance.core.shown import shown
from temperance.train.metrics import Metric


@shown
@dataclass(frozen=True)
class Settings:
    """What a search is asked for.

    Attributes:
        metric: what decides.
        criterion: the loss.
        seed: of everything.
        memory: what populations may plan for.
        trials: how many configurations at most, or ``None``.
        refits: networks of the winner's configuration that ship.
        retrain: ``"same_epochs"``, ``"same_steps"``, or ``None`` to ship the states of the search.
        ensemble: at most so many networks of different trials are averaged.
        seeds: how many seeds near-equal configurations are trained with.
        keep_test: whether what ships has not seen the test rows.
        spare: seconds of the budget that are left for the caller.
    """

    metric: Metric
    criterion: Criterion
    seed: int = 0
    memory: str | int = "4G"
    trials: int | None = None
    refits: int = 1
    retrain: str | None = "same_epochs"
    ensemble: int = 1
    seeds: int = 1
    keep_test: bool = False
    spare: float = 0.0
