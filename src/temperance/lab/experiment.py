"""What an experiment is, and where it is found."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from temperance.core.errors import ConfigError, expected
from temperance.lab.chart import Chart, Slider
from temperance.lab.rules import Rule

TOPICS = ("Norms", "Noise and dropout", "Data", "Structure and averaging", "Stopping", "Optimization", "Slips")

# The lectures that claims are taken from.
WHITEHILL_22 = "Whitehill, CS 453X, class 22"
WHITEHILL_14 = "Whitehill, CS/DS 541, class 14"
PATHAK = "Pathak, Regularization and optimization for training deep models"
SCHONHUTH = "Schönhuth, Deep learning, lecture 5"
LEGENSTEIN = "Legenstein, Deep learning, lecture 6"


class Experiment:
    """One claim, an experiment that could refute it, and a control with which it must.

    A file of ``temperance.lab.claims`` holds one subclass. ``measure`` gives numbers, one per seed; ``rules`` turn them into a verdict. The
    control runs the same experiment with the remedy off, or with one factor of the formula wrong: the rules must then fail, or they prove nothing.

    Attributes:
        topic: one of ``TOPICS``.
        question: the heading of the page.
        claim: what is tested, as a statement that is true.
        source: the lecture and its section.
        expect: what readers should decide before they see the verdict.
        rules: the claim holds where all of them do.
        control: what is made wrong.
        next: what to try next.
        limits: where the claim stops being true.
        printed: for a slip, the statement as the lecture prints it; the control then follows that statement.
        seeds: how many; one where nothing is random.
        quick_seeds: how many for a first look; an interval over three seeds is wide.
        slow: whether it takes longer than continuous integration has.
        takes_data: whether it runs on a table of one's own.
        classes_only: whether that table must have classes to predict.
        takes_images: whether it runs on images of one's own, such as MNIST's.
        quick: fewer seeds or steps, for a first look.
        data: a Dataset of one's own, or ``None``.
    """

    topic: ClassVar[str] = ""
    question: ClassVar[str] = ""
    claim: ClassVar[str] = ""
    source: ClassVar[str] = ""
    expect: ClassVar[str] = ""
    rules: ClassVar[tuple[Rule, ...]] = ()
    control: ClassVar[str] = ""
    next: ClassVar[str] = ""
    limits: ClassVar[str] = ""
    printed: ClassVar[str] = ""
    seeds: ClassVar[int] = 5
    quick_seeds: ClassVar[int] = 3
    slow: ClassVar[bool] = False
    takes_data: ClassVar[bool] = False
    classes_only: ClassVar[bool] = False
    takes_images: ClassVar[bool] = False

    def __init__(self, quick: bool = False, data: Any = None) -> None:
        self.quick, self.data = quick, data

    def once(self, seed: int, control: bool) -> Mapping[str, float]:
        """The numbers of one seed; ``control`` makes one thing wrong."""
        raise NotImplementedError(f"{type(self).__name__} has neither `once` nor `measure`.")

    def measure(self, seeds: Sequence[int], control: bool) -> dict[str, list[float]]:
        """The numbers of all seeds, each a list; override it where the seeds train as one population."""
        rows = [self.once(seed, control) for seed in seeds]
        return {name: [float(row[name]) for row in rows] for name in rows[0]}

    def draw(self) -> Chart | Slider:
        """The figure."""
        raise NotImplementedError(f"{type(self).__name__} has no `draw`.")

    @classmethod
    def name(cls) -> str:
        """The name of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def code(cls) -> str:
        """The text of its file."""
        return inspect.getsource(importlib.import_module(cls.__module__))


@cache
def experiments() -> dict[str, type[Experiment]]:
    """Every experiment by name, in the order of the topics."""
    home = importlib.import_module("temperance.lab.claims")
    found: dict[str, type[Experiment]] = {}
    for info in pkgutil.iter_modules(home.__path__):
        module = importlib.import_module(f"{home.__name__}.{info.name}")
        own = [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Experiment) and v.__module__ == module.__name__]
        if len(own) != 1:
            raise TypeError(f"Expected one Experiment in {module.__name__}, got {len(own)}.")
        found[info.name] = own[0]
    return dict(sorted(found.items(), key=lambda item: (TOPICS.index(item[1].topic), item[0])))


def find(name: str) -> type[Experiment]:
    """The experiment of a name, with hyphens or underscores.

    Raises:
        ConfigError: there is none.
    """
    known = experiments()
    wanted = str(name).strip().lower().replace("-", "_")
    if wanted not in known:
        import difflib

        near = difflib.get_close_matches(wanted, known, 3, 0.5)
        mend = f"Did you mean {' or '.join(near)}?" if near else "`temperance lab list` shows all."
        raise ConfigError(expected("name", "lab", "to be the name of an experiment", name, mend))
    return known[wanted]
