"""temperance: regularization cocktails for neural networks, in the right dose.

Say what network and what data; temperance finds which regularizers, in which strength, make it generalize, and proves it. Names are loaded when
they are first used, so that importing the package and asking the command line for help stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES: dict[str, str] = {
    **dict.fromkeys(("Cocktail",), "temperance.core.cocktail"),
    **dict.fromkeys(("Regularizer", "Context", "register"), "temperance.core.regularizer"),
    **dict.fromkeys(("strength", "option"), "temperance.core.strength"),
    **dict.fromkeys(("Batch",), "temperance.core.batch"),
    **dict.fromkeys(("Attached", "attach"), "temperance.core.attach"),
    **dict.fromkeys(("TemperanceError", "ConfigError", "DataError"), "temperance.core.errors"),
    **dict.fromkeys(("Schedule", "Constant", "Cosine", "FlatCosine", "Linear", "Restarts", "WarmUp"), "temperance.core.schedule"),
    **dict.fromkeys(("AllParameters", "Hidden", "Named", "OfType", "Selector", "Weights", "outputs_of"), "temperance.core.selector"),
    **dict.fromkeys(("Heads", "SigmoidCrossEntropy", "SoftmaxCrossEntropy", "SquaredError"), "temperance.core.criterion"),
    **dict.fromkeys(("Dataset", "as_dataset", "read_table", "table_dataset"), "temperance.data"),
    **dict.fromkeys(
        ("SGD", "Adam", "AdamW", "EarlyStopping", "Fit", "Member", "Optimizer", "Outcome", "Population", "bootstrap", "combine", "fit", "folds", "load_population", "save_population"), "temperance.train"
    ),
    **dict.fromkeys(("Search", "search"), "temperance.search"),
    **dict.fromkeys(("TemperanceClassifier", "TemperanceRegressor"), "temperance.estimators"),
}
_MODULES = ("core", "data", "estimators", "nets", "regularizers", "report", "search", "train")

if TYPE_CHECKING:
    from temperance import nets as nets
    from temperance.core.attach import Attached, attach
    from temperance.core.batch import Batch
    from temperance.core.cocktail import Cocktail
    from temperance.core.criterion import Heads, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
    from temperance.core.errors import ConfigError, DataError, TemperanceError
    from temperance.core.regularizer import Context, Regularizer, register
    from temperance.core.schedule import Constant, Cosine, FlatCosine, Linear, Restarts, Schedule, WarmUp
    from temperance.core.selector import AllParameters, Hidden, Named, OfType, Selector, Weights, outputs_of
    from temperance.core.strength import option, strength
    from temperance.data import Dataset, as_dataset, read_table, table_dataset
    from temperance.estimators import TemperanceClassifier, TemperanceRegressor
    from temperance.regularizers import *  # noqa: F403
    from temperance.search import Search, search
    from temperance.train import (
        SGD,
        Adam,
        AdamW,
        EarlyStopping,
        Fit,
        Member,
        Optimizer,
        Outcome,
        Population,
        bootstrap,
        combine,
        fit,
        folds,
        load_population,
        save_population,
    )


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"temperance.{name}")
    elif name.startswith("_"):
        raise AttributeError(f"module 'temperance' has no attribute {name!r}")
    else:
        from temperance.core.registry import REGISTRY

        importlib.import_module("temperance.regularizers")
        if name not in REGISTRY:
            raise AttributeError(f"module 'temperance' has no attribute {name!r}")
        value = REGISTRY[name]
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    from temperance.core.registry import REGISTRY

    importlib.import_module("temperance.regularizers")
    return sorted({*globals(), *_HOMES, *_MODULES, *REGISTRY})
