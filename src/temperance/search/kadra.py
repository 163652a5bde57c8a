"""The search space of Kadra et al. (2021), *Well-tuned simple nets excel on tabular datasets*, as far as the package has its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Regularizer
from temperance.core.schedule import Restarts
from temperance.core.strength import StrengthSpec
from temperance.data.dataset import Dataset
from temperance.nets import build_seeded
from temperance.regularizers import FGSM, SWA, CutMix, CutOut, Dropout, Lookahead, MixUp, ShakeDrop, ShakeShake, WeightDecay
from temperance.search.plans import suitable, table_network, table_spec
from temperance.search.space import StaticPlan, chosen_regularizers
from temperance.train.optimizers import AdamW

METRIC = "balanced_accuracy"
HIDDEN = [512] * 9
RATE, BATCH, EPOCHS = 1e-3, 128, 105.0  # epochs: 15 + 30 + 60, from restart to restart
ALL_CODES = 10**9  # no column is embedded
AUGMENTATIONS = ("mixup", "cutmix", "cutout", "fgsm")
RANGES = {
    "weight_decay.lam": (1e-5, 0.1),
    "dropout.rate": (0.0, 0.8),
    "lookahead.alpha": (0.5, 0.8),
    "swa.start": (0.75, 0.75),
    "shake_drop.rate": (0.0, 0.95),
    "mixup.alpha": (0.0, 1.0),
    "cutmix.p": (0.0, 1.0),
    "cutout.size": (0.0, 1.0),
    "fgsm.eps": (0.007, 0.007),
}
"""Uniform ranges; a range of one number is a switch."""
FIXED = {"dropout.input_rate": 0.0, "fgsm.share": 0.5, "shake_shake.amount": 1.0}
LIKELY = {"weight_decay.lam": 1e-2, "dropout.rate": 0.1}


def kadra_plans(data: Dataset, train_rows: Sequence[int], *, use: Sequence[str | Regularizer] = (), without: Sequence[str] = ()) -> list[StaticPlan]:
    """The space of Kadra et al. (2021): nine layers of 512 units with ReLU and thirteen regularizers, for tables and classes.

    A plan each for the networks without a shortcut, with one, and with two branches a block (Shake-Shake), with BatchNorm and without. AdamW at 1e-3
    with cosine restarts after 15 and 45 of 105 epochs, batches of 128 rows. Within a plan the strengths that :data:`RANGES` names are
    searched; of MixUp, CutMix, CutOut and FGSM a trial has one at most. The paper's loss, weighted by class, comes with the metric
    ``"balanced_accuracy"``. What the package does not have is listed in ``docs/search.md``.

    Args:
        data: all rows, with ``num`` and ``cat``.
        train_rows: not used; as in :func:`temperance.search.plans.tabular_plans`.
        use: regularizers to search over beside these, in their own ranges.
        without: names to leave out.

    Raises:
        ConfigError: no table, or no classes.

    Source: Kadra, Lindauer, Hutter & Grabocka (2021), Well-tuned simple nets excel on tabular datasets, NeurIPS; the ranges are those of its Table 1.

    Example:
        >>> import torch
        >>> data = Dataset({"num": torch.zeros(4, 2), "cat": torch.zeros(4, 0, dtype=torch.long)}, torch.eye(2)[[0, 1, 0, 1]], "classification")
        >>> [plan.name for plan in kadra_plans(data, range(4))]
        ['plain', 'plain-batchnorm', 'skip', 'skip-batchnorm', 'shake-shake', 'shake-shake-batchnorm']
    """
    if not isinstance(data.x, dict) or data.task != "classification":
        kind = data.task if isinstance(data.x, dict) and isinstance(data.task, str) else "several targets" if isinstance(data.x, dict) else "images"
        raise ConfigError(expected("space", "fit", f"to be None for {kind}", "kadra2021", "It is for classes in a table. Leave it out."))
    everywhere: list[Regularizer] = [MixUp(), CutMix(), CutOut(), FGSM(RANGES["fgsm.eps"][0]), Dropout(), WeightDecay(), Lookahead(), SWA()]
    plans: list[StaticPlan] = []
    for name, branches, own in (("plain", 0, []), ("skip", 1, [ShakeDrop()]), ("shake-shake", 2, [ShakeShake()])):
        for norm in (None, "batch"):
            settings = {"hidden": HIDDEN, "norm": norm, "branches": branches, "one_hot_codes": ALL_CODES}

            def made(seed: int, settings: dict[str, Any] = settings) -> nn.Module:
                return build_seeded(lambda: table_network(data, **settings), seed)

            cocktail = suitable(chosen_regularizers([*everywhere, *own], use, without), made(0), data, use)
            plans.append(_plan(name + ("-batchnorm" if norm else ""), made, cocktail, table_spec(data, **settings), branches))
    return plans


def _plan(name: str, made: Callable[[int], nn.Module], cocktail: Cocktail, spec: Any, branches: int) -> StaticPlan:
    specs = cocktail.specs()
    shortcuts = "" if not branches else ", shortcuts" if branches == 1 else f", shortcuts around {branches} branches"
    return StaticPlan(
        name,
        made,
        cocktail,
        AdamW(Restarts(RATE, cycles=3, growth=2.0)),
        (RATE, RATE),
        BATCH,
        EPOCHS,
        f"{len(HIDDEN)} layers of {HIDDEN[0]}{shortcuts}" + (", BatchNorm" if name.endswith("batchnorm") else ""),
        {key: value for key, value in LIKELY.items() if key in specs},
        spec=spec,
        closed=True,
        ranges={key: _within(specs[key], *RANGES[key]) for key in RANGES if key in specs},
        fixed={key: value for key, value in FIXED.items() if key in specs},
        one_of=tuple(label for label in AUGMENTATIONS if label in cocktail.labels),
    )


def _within(spec: StrengthSpec, low: float, high: float) -> StrengthSpec:
    """The declaration with this range on a linear scale."""
    return replace(spec, low=low, high=high, log=False)


SPACES = {"kadra2021": kadra_plans}


def check_space(space: str | None) -> None:
    """Refuse a search space that there is none of.

    Raises:
        ConfigError: an unknown name.
    """
    if space is not None and (not isinstance(space, str) or space not in SPACES):
        raise ConfigError(expected("space", "fit", f"to be {' or '.join(map(repr, SPACES))}, or None", space, "Leave it out for the usual space."))
