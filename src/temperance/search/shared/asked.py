"""What a shared study was asked for, so that nobody joins another one by mistake."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from temperance.core.errors import ConfigError
from temperance.data.dataset import Dataset, fingerprint
from temperance.data.splits import Split
from temperance.search.settings import Settings
from temperance.search.shared.study import SharedStudy
from temperance.search.space import StaticPlan

_TOLD = {"data": "other data", "split": "another split of the rows", "search_space": "another search space", "torch": "another version of torch"}


def enter(study: SharedStudy, plans: Sequence[StaticPlan], data: Dataset, split: Split, settings: Settings, strategy: str, budget: float | None) -> None:
    """Begin a study or join it, if it is the same search.

    Raises:
        ConfigError: it is another one, with the names of what differs.
    """
    now = {**_described(plans, data, split, settings, strategy, budget), **study.asked}
    now = json.loads(json.dumps(now))
    refuse_other(study, study.begin(now), now)


def refuse_other(study: SharedStudy, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse what a study was not asked for.

    Raises:
        ConfigError: naming all that differs.
    """
    other = [name for name in now if earlier.get(name) != now[name]]
    if other:
        told = ", ".join(_TOLD.get(name) or f"{name} {now[name]} (there: {earlier.get(name)})" for name in other)
        mend = "Give what the study was begun with, or choose another name for a study of its own."
        raise ConfigError(f"Expected the search of {study.place}, got {told}. {mend}")


def _described(plans: Sequence[StaticPlan], data: Dataset, split: Split, settings: Settings, strategy: str, budget: float | None) -> dict[str, Any]:
    rows = hashlib.blake2b(digest_size=12)
    for part in (*(part for pair in split.folds for part in pair), split.test):
        rows.update(np.ascontiguousarray(part, dtype=np.int64).tobytes() + b"|")
    whole = {"metric": settings.metric.name, "seed": settings.seed, "trials": settings.trials, "budget": budget, "strategy": strategy}
    space = hashlib.blake2b(json.dumps([_of_plan(plan) for plan in plans]).encode(), digest_size=12).hexdigest()
    return {**whole, "data": fingerprint(data), "split": rows.hexdigest(), "search_space": space, "torch": str(torch.__version__)}


def _of_plan(plan: StaticPlan) -> list[Any]:
    """A plan's ranges, its length and its first weights: what its trials depend on."""
    ranges = {name: [spec.low, spec.high, spec.log, spec.off] for name, spec in plan.space().items()}
    weights = hashlib.blake2b(digest_size=12)
    for tensor in plan.initial(0).values():
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    fixed = [dict(plan.fixed), list(plan.one_of), list(plan.lengths), list(plan.lr), plan.batch_size, plan.epochs, plan.earliest]
    return [plan.name, repr(plan.cocktail), repr(plan.optimizer), ranges, fixed, weights.hexdigest()]
