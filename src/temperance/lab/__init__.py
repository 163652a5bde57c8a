"""The lab: claims about regularization, each with an experiment that could refute it and a control with which it must fail.

>>> import temperance as tp
>>> "quadratic_steps" in tp.lab.names()
True
"""

from temperance.lab.chart import Chart, Line, Slider
from temperance.lab.experiment import LEGENSTEIN, PATHAK, SCHONHUTH, TOPICS, WHITEHILL_14, WHITEHILL_22, Experiment, experiments, find
from temperance.lab.rules import Rule, every, on_average
from temperance.lab.verdict import Verdict, run

__all__ = [
    "LEGENSTEIN",
    "PATHAK",
    "SCHONHUTH",
    "TOPICS",
    "WHITEHILL_14",
    "WHITEHILL_22",
    "Chart",
    "Experiment",
    "Line",
    "Rule",
    "Slider",
    "Verdict",
    "every",
    "experiments",
    "find",
    "names",
    "on_average",
    "run",
]


def names() -> list[str]:
    """The names of all experiments, by topic."""
    return list(experiments())
