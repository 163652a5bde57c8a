"""What a shared study was asked for, so that nobody joins another one by mistake."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from temperance.core.criterion import Criterion
from temperance.core.errors import ConfigError
from temperance.data.dataset import Dataset, fingerprint
from temperance.data.splits import Split
from temperance.search.settings import Settings
from temperance.search.shared.study import SharedStudy, differing
from temperance.search.space import StaticPlan

_TOLD = {
    "data": "other data",
    "rows": "other rows in the data",
    "network": "another file of the network",
    "split": "another split of the rows",
    "search_space": "another search space",
    "loss": "another loss",
    "torch": "another version of torch",
}


def enter(
    study: SharedStudy, plans: Sequence[StaticPlan], data: Dataset, split: Split, settings: Settings, strategy: str, budget: float | None, precision: str
) -> None:
    """Begin a study or join it, if it is the same search.

    Raises:
        ConfigError: it is another one, with the names of what differs.
    """
    now = {**_described(plans, data, split, settings, strategy, budget), "precision": precision, **study.asked}
    now = json.loads(json.dumps(now))
    refuse_other(study, study.begin(now), now)


def refuse_other(study: SharedStudy, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse what a study was not asked for.

    Raises:
        ConfigError: naming all that differs.
    """
    other = differing(earlier, now)
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
    return {
        **whole,
        "data": fingerprint(data),
        "split": rows.hexdigest(),
        "search_space": space,
        "loss": _digest(settings.criterion),
        "torch": str(torch.__version__),
    }


def _of_plan(plan: StaticPlan) -> list[Any]:
    """A plan's ranges, its length and its first weights: what its trials depend on."""
    ranges = {name: [spec.low, spec.high, spec.log, spec.off] for name, spec in plan.space().items()}
    fixed = [dict(plan.fixed), list(plan.one_of), list(plan.lengths), list(plan.lr), plan.batch_size, plan.epochs, plan.earliest, plan.longest]
    return [plan.name, repr(plan.cocktail), repr(plan.optimizer), ranges, fixed, _digest(plan.build(0))]


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(_plain(value)).encode(), digest_size=12).hexdigest()


def _plain(value: Any) -> Any:
    """A network or a loss in words that are the same in every process: with its options, which torch's losses do not show, and its weights."""
    if isinstance(value, nn.Module):
        options = [
            [place, name, option]
            for place, module in value.named_modules()
            for name, option in sorted(vars(module).items())
            if not name.startswith("_") and (option is None or isinstance(option, (bool, int, float, str)))
        ]
        weights = hashlib.blake2b(digest_size=12)
        for tensor in value.state_dict().values():
            weights.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.dim() else repr(tensor.item()).encode())
        return [_repr(value), options, weights.hexdigest()]
    if isinstance(value, Criterion):
        return [type(value).__name__, [[name, _plain(part)] for name, part in sorted(vars(value).items())]]
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else _repr(value)


def _repr(value: Any) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))  # an address is another one in every process
