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

_NAMES = {
    "temperance.core.attach": "Attached attach",
    "temperance.core.batch": "Batch",
    "temperance.core.choice": "First Last OneOf",
    "temperance.core.cocktail": "Cocktail",
    "temperance.core.criterion": "Heads SigmoidCrossEntropy SoftmaxCrossEntropy SquaredError",
    "temperance.core.errors": "ConfigError DataError TemperanceError",
    "temperance.core.per_layer": "per_layer",
    "temperance.core.prior": "per_row",
    "temperance.core.regularizer": "Context Regularizer register",
    "temperance.core.schedule": "Constant Cosine Exponential FlatCosine InverseTime Linear Restarts Schedule StepDecay WarmUp",
    "temperance.core.selector": "AllParameters Hidden Named OfType Selector Weights outputs_of",
    "temperance.core.strength": "option strength",
    "temperance.core.tangents": "image_tangents",
    "temperance.data": "Dataset as_dataset read_table table_dataset",
    "temperance.diagnose.finding": "Diagnosis Finding",
    "temperance.diagnose.robustness": "Robustness robustness",
    "temperance.ensemble": "Snapshots snapshots",
    "temperance.estimators": "TangentDistanceNeighbors TemperanceClassifier TemperanceMultiTask TemperanceRegressor",
    "temperance.job.opening": "load",
    "temperance.job.saved": "Saved",
    "temperance.search.result": "Search",
    "temperance.train": "AdaGrad Adadelta Adam AdamW BlockDescent Curriculum DeltaBarDelta EarlyStopping Fit Member MonteCarlo NAdam Optimizer "
    "Outcome Population Pretrained RMSProp Recipe SGD bootstrap combine fit folds learning_curve least_squares load_population "
    "monte_carlo pretrain save_population validation_curve",
}
_HOMES: dict[str, str] = {name: home for home, names in _NAMES.items() for name in names.split()}
_MODULES = ("core", "data", "diagnose", "ensemble", "estimators", "lab", "nets", "regularizers", "report", "search", "train")

if TYPE_CHECKING:
    from temperance import lab as lab, nets as nets
    from temperance.core.attach import Attached as Attached, attach as attach
    from temperance.core.batch import Batch as Batch
    from temperance.core.choice import First as First, Last as Last, OneOf as OneOf
    from temperance.core.cocktail import Cocktail as Cocktail
    from temperance.core.criterion import (
        Heads as Heads,
        SigmoidCrossEntropy as SigmoidCrossEntropy,
        SoftmaxCrossEntropy as SoftmaxCrossEntropy,
        SquaredError as SquaredError,
    )
    from temperance.core.errors import ConfigError as ConfigError, DataError as DataError, TemperanceError as TemperanceError
    from temperance.core.per_layer import per_layer as per_layer
    from temperance.core.prior import per_row as per_row
    from temperance.core.regularizer import Context as Context, Regularizer as Regularizer, register as register
    from temperance.core.schedule import (
        Constant as Constant,
        Cosine as Cosine,
        Exponential as Exponential,
        FlatCosine as FlatCosine,
        InverseTime as InverseTime,
        Linear as Linear,
        Restarts as Restarts,
        Schedule as Schedule,
        StepDecay as StepDecay,
        WarmUp as WarmUp,
    )
    from temperance.core.selector import (
        AllParameters as AllParameters,
        Hidden as Hidden,
        Named as Named,
        OfType as OfType,
        Selector as Selector,
        Weights as Weights,
        outputs_of as outputs_of,
    )
    from temperance.core.strength import option as option, strength as strength
    from temperance.core.tangents import image_tangents as image_tangents
    from temperance.data import Dataset as Dataset, as_dataset as as_dataset, read_table as read_table, table_dataset as table_dataset
    from temperance.diagnose.examine import diagnose as diagnose
    from temperance.diagnose.finding import Diagnosis as Diagnosis, Finding as Finding
    from temperance.diagnose.robustness import Robustness as Robustness, robustness as robustness
    from temperance.ensemble import Snapshots as Snapshots, snapshots as snapshots
    from temperance.estimators import (
        TangentDistanceNeighbors as TangentDistanceNeighbors,
        TemperanceClassifier as TemperanceClassifier,
        TemperanceMultiTask as TemperanceMultiTask,
        TemperanceRegressor as TemperanceRegressor,
    )
    from temperance.job.opening import load as load
    from temperance.job.saved import Saved as Saved
    from temperance.regularizers import *  # noqa: F403
    from temperance.search.result import Search as Search
    from temperance.search.search import search as search
    from temperance.train import (
        SGD as SGD,
        Adadelta as Adadelta,
        AdaGrad as AdaGrad,
        Adam as Adam,
        AdamW as AdamW,
        BlockDescent as BlockDescent,
        Curriculum as Curriculum,
        DeltaBarDelta as DeltaBarDelta,
        EarlyStopping as EarlyStopping,
        Fit as Fit,
        Member as Member,
        MonteCarlo as MonteCarlo,
        NAdam as NAdam,
        Optimizer as Optimizer,
        Outcome as Outcome,
        Population as Population,
        Pretrained as Pretrained,
        Recipe as Recipe,
        RMSProp as RMSProp,
        bootstrap as bootstrap,
        combine as combine,
        fit as fit,
        folds as folds,
        learning_curve as learning_curve,
        least_squares as least_squares,
        load_population as load_population,
        monte_carlo as monte_carlo,
        pretrain as pretrain,
        save_population as save_population,
        validation_curve as validation_curve,
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
