"""temperance: regularization cocktails for neural networks, in the right dose.

Say what network and what data; temperance finds which regularizers, in which strength, make it generalize, and proves it.

- To do something: `fit`, `search`, `load`, `diagnose`, `diagnose_data`, `robustness`, `validation_curve`, `learning_curve`.
- To say what is done: `Cocktail` and the regularizers, such as `L2` and `Dropout`.
- scikit-learn's conventions: `TemperanceClassifier`, `TemperanceRegressor`, `TemperanceMultiTask`, `TangentDistanceNeighbors`.
- The rest by subject: `optim`, `schedules`, `losses`, `nets`, `selectors`, `data`, `ensemble`, `train`, `lab`.

>>> import temperance as tp
>>> print(tp.Cocktail(tp.L2(tp.schedules.Cosine(1e-3)), tp.Dropout(0.2, where=tp.selectors.Hidden())))
Cocktail(L2(lam=Cosine(value=0.001, warmup=0.0, end=0.0)), Dropout(rate=0.2, input_rate=0.0))

Names are loaded when they are first used, so that importing the package and asking the command line for help stay quick.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
import warnings
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# A matrix product's last bit must not depend on where the matrices lie in memory, or a member would depend on its slot. MKL reads this at its first
# product; no cost could be measured.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

# What `tp.<TAB>` shows beside the regularizers, by the module that holds it.
_NAMES = {
    "temperance.core.attach": "attach",
    "temperance.core.cocktail": "Cocktail",
    "temperance.core.errors": "ConfigError DataError TemperanceError",
    "temperance.core.per_layer": "per_layer",
    "temperance.core.prior": "per_row",
    "temperance.core.regularizer": "Context Regularizer register",
    "temperance.core.strength": "option strength",
    "temperance.diagnose.examine": "diagnose",
    "temperance.diagnose.robustness": "robustness",
    "temperance.job.diagnosing": "diagnose_data",
    "temperance.estimators": "TangentDistanceNeighbors TemperanceClassifier TemperanceMultiTask TemperanceRegressor",
    "temperance.job.opening": "load",
    "temperance.search.search": "search",
    "temperance.train": "EarlyStopping Member Population fit learning_curve validation_curve",
}
_HOMES: dict[str, str] = {name: home for home, names in _NAMES.items() for name in names.split()}
_SUBJECTS = ("data", "ensemble", "lab", "losses", "nets", "optim", "schedules", "selectors", "train")
_MODULES = (*_SUBJECTS, "core", "estimators", "regularizers", "report")

# Names that stood here before, by the module that holds them now. They work for two minor versions, with a warning.
_MOVED = {
    "temperance.core.attach": "Attached",
    "temperance.core.batch": "Batch",
    "temperance.data": "Dataset as_dataset image_tangents read_table table_dataset",
    "temperance.diagnose": "Diagnosis Finding",
    "temperance.diagnose.robustness": "Robustness",
    "temperance.ensemble": "Snapshots bootstrap combine folds snapshots",
    "temperance.job": "Saved",
    "temperance.losses": "Heads SigmoidCrossEntropy SoftmaxCrossEntropy SquaredError",
    "temperance.optim": "AdaGrad Adadelta Adam AdamW BlockDescent DeltaBarDelta NAdam Optimizer RMSProp SGD",
    "temperance.schedules": "Constant Cosine Exponential FlatCosine InverseTime Linear Restarts Schedule StepDecay WarmUp",
    "temperance.search": "Search",
    "temperance.selectors": "AllParameters First Hidden Last Named OfType OneOf Selector Weights outputs_of",
    "temperance.train": "Curriculum Fit MonteCarlo Outcome Pretrained Recipe least_squares load_population monte_carlo pretrain save_population",
}
_ALIASES: dict[str, str] = {name: home for home, names in _MOVED.items() for name in names.split()}

if TYPE_CHECKING:
    from temperance import (
        data as data,
        ensemble as ensemble,
        lab as lab,
        losses as losses,
        nets as nets,
        optim as optim,
        schedules as schedules,
        selectors as selectors,
        train as train,
    )
    from temperance.core.attach import attach as attach
    from temperance.core.cocktail import Cocktail as Cocktail
    from temperance.core.errors import ConfigError as ConfigError, DataError as DataError, TemperanceError as TemperanceError
    from temperance.core.per_layer import per_layer as per_layer
    from temperance.core.prior import per_row as per_row
    from temperance.core.regularizer import Context as Context, Regularizer as Regularizer, register as register
    from temperance.core.strength import option as option, strength as strength
    from temperance.diagnose.examine import diagnose as diagnose
    from temperance.diagnose.robustness import robustness as robustness
    from temperance.estimators import (
        TangentDistanceNeighbors as TangentDistanceNeighbors,
        TemperanceClassifier as TemperanceClassifier,
        TemperanceMultiTask as TemperanceMultiTask,
        TemperanceRegressor as TemperanceRegressor,
    )
    from temperance.job.diagnosing import diagnose_data as diagnose_data
    from temperance.job.opening import load as load
    from temperance.regularizers import *  # noqa: F403
    from temperance.search.search import search as search
    from temperance.train import (
        EarlyStopping as EarlyStopping,
        Member as Member,
        Population as Population,
        fit as fit,
        learning_curve as learning_curve,
        validation_curve as validation_curve,
    )


class _FrontDoor(types.ModuleType):
    """`search` and `diagnose` are functions here, although packages of these names hold their parts.

    Importing such a package would put it in the function's place.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor


def _surface() -> list[str]:
    """The public names: what is listed above, and the regularizers of the catalogue; `__version__` is there without being shown."""
    regularizers = importlib.import_module("temperance.regularizers")
    return sorted({*_HOMES, *_SUBJECTS, *regularizers.__all__})


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return _surface()
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"temperance.{name}")
    elif name in _ALIASES:
        return _renamed(name)
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


def _renamed(name: str) -> Any:
    """What an old name means, with a warning at the line that uses it."""
    home = _ALIASES[name]
    subject = home.removeprefix("temperance.")
    way = f"`tp.{subject}.{name}`" if subject in _SUBJECTS else f"`from {home} import {name}`"
    if sys._getframe(2).f_code.co_name != "_handle_fromlist":  # `from temperance import Adam` first asks whether the name is there
        warnings.warn(f"`temperance.{name}` is deprecated: write {way}.", DeprecationWarning, stacklevel=3)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return _surface()
