"""temperance: regularization cocktails for neural networks, in the right dose.

Say what network and what data; temperance finds which regularizers, in which strength, make it generalize, and proves it. Names are loaded when
they are first used, so that importing the package and asking the command line for help stay quick.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A matrix product's last bit must not depend on where the matrices lie in memory, or a member would depend on its slot. MKL reads this at its first
# product; no cost could be measured.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

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
        (
            "SGD",
            "Adam",
            "AdamW",
            "EarlyStopping",
            "Fit",
            "Member",
            "Optimizer",
            "Outcome",
            "Population",
            "bootstrap",
            "combine",
            "fit",
            "folds",
            "load_population",
            "save_population",
        ),
        "temperance.train",
    ),
    "Search": "temperance.search.result",
    **dict.fromkeys(("TemperanceClassifier", "TemperanceRegressor"), "temperance.estimators"),
}
_MODULES = ("core", "data", "estimators", "nets", "regularizers", "report", "search", "train")

if TYPE_CHECKING:
    from temperance import nets as nets
    from temperance.core.attach import Attached as Attached
    from temperance.core.attach import attach as attach
    from temperance.core.batch import Batch as Batch
    from temperance.core.cocktail import Cocktail as Cocktail
    from temperance.core.criterion import (
        Heads as Heads,
    )
    from temperance.core.criterion import (
        SigmoidCrossEntropy as SigmoidCrossEntropy,
    )
    from temperance.core.criterion import (
        SoftmaxCrossEntropy as SoftmaxCrossEntropy,
    )
    from temperance.core.criterion import (
        SquaredError as SquaredError,
    )
    from temperance.core.errors import ConfigError as ConfigError
    from temperance.core.errors import DataError as DataError
    from temperance.core.errors import TemperanceError as TemperanceError
    from temperance.core.regularizer import Context as Context
    from temperance.core.regularizer import Regularizer as Regularizer
    from temperance.core.regularizer import register as register
    from temperance.core.schedule import (
        Constant as Constant,
    )
    from temperance.core.schedule import (
        Cosine as Cosine,
    )
    from temperance.core.schedule import (
        FlatCosine as FlatCosine,
    )
    from temperance.core.schedule import (
        Linear as Linear,
    )
    from temperance.core.schedule import (
        Restarts as Restarts,
    )
    from temperance.core.schedule import (
        Schedule as Schedule,
    )
    from temperance.core.schedule import (
        WarmUp as WarmUp,
    )
    from temperance.core.selector import (
        AllParameters as AllParameters,
    )
    from temperance.core.selector import (
        Hidden as Hidden,
    )
    from temperance.core.selector import (
        Named as Named,
    )
    from temperance.core.selector import (
        OfType as OfType,
    )
    from temperance.core.selector import (
        Selector as Selector,
    )
    from temperance.core.selector import (
        Weights as Weights,
    )
    from temperance.core.selector import (
        outputs_of as outputs_of,
    )
    from temperance.core.strength import option as option
    from temperance.core.strength import strength as strength
    from temperance.data import Dataset as Dataset
    from temperance.data import as_dataset as as_dataset
    from temperance.data import read_table as read_table
    from temperance.data import table_dataset as table_dataset
    from temperance.estimators import TemperanceClassifier as TemperanceClassifier
    from temperance.estimators import TemperanceRegressor as TemperanceRegressor
    from temperance.regularizers import *  # noqa: F403
    from temperance.search.result import Search as Search
    from temperance.search.search import search as search
    from temperance.train import (
        SGD as SGD,
    )
    from temperance.train import (
        Adam as Adam,
    )
    from temperance.train import (
        AdamW as AdamW,
    )
    from temperance.train import (
        EarlyStopping as EarlyStopping,
    )
    from temperance.train import (
        Fit as Fit,
    )
    from temperance.train import (
        Member as Member,
    )
    from temperance.train import (
        Optimizer as Optimizer,
    )
    from temperance.train import (
        Outcome as Outcome,
    )
    from temperance.train import (
        Population as Population,
    )
    from temperance.train import (
        bootstrap as bootstrap,
    )
    from temperance.train import (
        combine as combine,
    )
    from temperance.train import (
        fit as fit,
    )
    from temperance.train import (
        folds as folds,
    )
    from temperance.train import (
        load_population as load_population,
    )
    from temperance.train import (
        save_population as save_population,
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
