"""What `import temperance as tp` shows: a surface that can be held in the head, and names that stood there before."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pickletools
import pkgutil
import pydoc
import subprocess
import sys
import warnings
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import temperance as tp
from temperance.core.attach import attach
from temperance.core.registry import REGISTRY

VERBS = ("diagnose", "fit", "learning_curve", "load", "robustness", "search", "validation_curve")
SUBJECTS = ("data", "ensemble", "lab", "losses", "nets", "optim", "schedules", "selectors", "train")
OLD = sorted(tp._ALIASES.items())


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


# What is shown


def test_surface_is_small() -> None:
    shown = dir(tp)
    assert len(shown) <= 90 and len(set(shown) - set(tp.regularizers.__all__)) <= 39
    assert {*VERBS, *SUBJECTS, "Cocktail", "TemperanceClassifier", "attach", *tp.regularizers.__all__} <= set(shown)
    assert shown == tp.__all__ and all(hasattr(tp, name) for name in shown)


def test_star_import_takes_the_surface() -> None:
    taken: dict[str, object] = {}
    exec("from temperance import *", taken)
    assert set(dir(tp)) <= set(taken) and taken["search"] is tp.search


@pytest.mark.parametrize("name", dir(tp))
def test_every_name_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(tp, name)) or ""), f"the docstring of tp.{name} has no example"


def test_a_registered_class_of_a_users_own_is_found_but_not_shown() -> None:
    class Own(tp.Regularizer):
        pass

    REGISTRY["OwnOfATest"] = Own
    try:
        assert tp.OwnOfATest is Own and "OwnOfATest" not in dir(tp)
    finally:
        del REGISTRY["OwnOfATest"]
        vars(tp).pop("OwnOfATest", None)


@pytest.mark.parametrize("package", ["temperance", *(f"temperance.{m.name}" for m in pkgutil.iter_modules(tp.__path__) if m.ispkg)])
def test_packages_say_what_is_public(package: str) -> None:
    module = importlib.import_module(package)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_subjects_are_modules(subject: str) -> None:
    module = getattr(tp, subject)
    assert isinstance(module, ModuleType) and module.__name__ == f"temperance.{subject}" and module.__all__


# Functions under a package's name


def test_the_verb_is_the_function_whatever_was_imported() -> None:
    code = """
import inspect
import temperance as tp
import temperance.search
import temperance.diagnose.finding
from temperance.search import *
import temperance.search as named
import temperance.search.journal as late
print(inspect.isfunction(tp.search), inspect.isfunction(tp.diagnose), named is tp.search, named.journal is late, named.__name__, named.__doc__[:4])
"""
    assert python(code).split() == ["True", "True", "True", "True", "search", "Find"]


@pytest.mark.parametrize(("verb", "argument"), [(tp.search, "ensemble"), (tp.diagnose, "checks"), (tp.fit, "epochs"), (tp.robustness, "eps")])
def test_verbs_are_functions_with_their_signature_docstring_and_pickle(verb: FunctionType, argument: str) -> None:
    assert isinstance(verb, FunctionType)
    assert argument in inspect.signature(verb).parameters and "settings" not in inspect.signature(verb).parameters
    shown = pydoc.render_doc(verb, renderer=pydoc.plaintext)
    assert shown.startswith("Python Library Documentation: function") and argument in shown and "Args:" in shown
    assert pickle.loads(pickle.dumps(verb)) is verb


def test_the_functions_lead_to_their_packages() -> None:
    import temperance.diagnose.curvature as curvature
    import temperance.search.plans as plans

    assert plans is sys.modules["temperance.search.plans"] and curvature is sys.modules["temperance.diagnose.curvature"]
    assert tp.search.plans is plans and tp.search.kadra_plans is sys.modules["temperance.search.kadra"].kadra_plans
    assert tp.diagnose.CHECKS["curvature"] is curvature.curvature


def test_attach_has_its_real_signature() -> None:
    method, function = inspect.signature(tp.Cocktail.attach), inspect.signature(attach)
    ours, theirs = list(method.parameters.values())[1:], list(function.parameters.values())[1:]
    assert ours == theirs and method.return_annotation == function.return_annotation == "Attached"


# Names that stood here before


@pytest.mark.parametrize(("name", "home"), OLD)
def test_an_old_name_warns_once_and_is_the_same_object(name: str, home: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(tp, name)
    assert [w.category for w in caught] == [DeprecationWarning] and caught[0].filename == __file__
    assert found is getattr(importlib.import_module(home), name) and name not in dir(tp)
    way = str(caught[0].message).split("`")[3]
    spoken: dict[str, object] = {"tp": tp}
    exec(way if way.startswith("from ") else f"{name} = {way}", spoken)
    assert spoken[name] is found, f"the way out does not lead to it: {way}"


def test_an_old_name_that_is_imported_warns_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from temperance import Adam  # pyright: ignore[reportAttributeAccessIssue] -- deprecated
    assert Adam is tp.optim.Adam and len(caught) == 1 and "tp.optim.Adam" in str(caught[0].message)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'temperance' has no attribute 'Adan'"):
        _ = tp.Adan


def test_every_name_of_the_first_version_is_still_there() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert all(hasattr(tp, name) for name in FIRST.split())


@pytest.mark.parametrize("name", ["Adam", "Hidden", "SoftmaxCrossEntropy", "Cosine"])
def test_pickles_by_old_paths_load(name: str) -> None:
    home = sys.modules[tp._ALIASES[name]] if tp._ALIASES[name] in sys.modules else importlib.import_module(tp._ALIASES[name])
    cls = getattr(home, name)
    old = b"ctemperance\n" + name.encode() + b"\n."  # as a class whose module was `temperance` is written
    assert "GLOBAL" in {code.name for code, *_ in pickletools.genops(old)}
    with pytest.warns(DeprecationWarning, match=name):
        assert pickle.loads(old) is cls
    thing = cls(1e-3) if name == "Cosine" else cls()
    assert not cls.__module__.startswith(tp._ALIASES[name])  # a new place is a name, not a move: what was pickled from the real module loads as before
    assert repr(pickle.loads(pickle.dumps(thing))) == repr(thing)


FIRST = """
AdaGrad Adadelta Adam AdamW AllParameters Attached Batch BlockDescent Cocktail ConfigError Constant Context Cosine Curriculum DataError Dataset
DeltaBarDelta Diagnosis EarlyStopping Exponential Finding First Fit FlatCosine Heads Hidden InverseTime Last Linear Member MonteCarlo NAdam Named OfType
OneOf Optimizer Outcome Population Pretrained RMSProp Recipe Regularizer Restarts Robustness SGD Saved Schedule Search Selector SigmoidCrossEntropy Snapshots
SoftmaxCrossEntropy SquaredError StepDecay TangentDistanceNeighbors TemperanceClassifier TemperanceError TemperanceMultiTask TemperanceRegressor WarmUp
Weights as_dataset attach bootstrap combine core data diagnose ensemble estimators fit folds image_tangents lab learning_curve least_squares load
load_population monte_carlo nets option outputs_of per_layer per_row pretrain read_table register regularizers report robustness save_population search
snapshots strength table_dataset train validation_curve
"""


# Written down


def test_the_policy_is_written() -> None:
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "## Public names" in text and "_MOVED" in text and "DeprecationWarning" in text


# Cost


def test_importing_loads_no_heavy_package() -> None:
    heavy = {"torch", "numpy", "pandas", "sklearn", "scipy", "optuna"}
    loaded = python("import sys, temperance; print(*sys.modules)").split()
    assert not heavy & set(loaded)
    assert [name for name in loaded if name.startswith("temperance")] == ["temperance"]
