"""Shared by the tests of the command line: a runner, small tables, and a stand-in for the main job."""

from __future__ import annotations

import importlib
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.report import example
from typer.testing import CliRunner, Result

from temperance.cli.app import app

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TEMPERANCE_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, here and in programs started from here, also where the tests were started with it ignored, as under ``nohup``."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("fit", "t.csv", ...)` in an empty folder; arguments that are no text are written as text."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: Any, **environment: str) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], env=environment, prog_name="temperance")

    return call


@pytest.fixture
def people(tmp_path: Path) -> pd.DataFrame:
    """Eighty rows: a number, a category, a date, a constant, two classes, a value and two labels; `people.csv` in the working folder."""
    rng = np.random.default_rng(0)
    n = 80
    age, job = rng.normal(size=n).round(3), rng.choice(["cook", "smith", "pilot"], n)
    rich = np.where(age + 0.5 * (job == "pilot") + 0.3 * rng.normal(size=n) > 0.2, "yes", "no")
    born = pd.date_range("1990-01-01", periods=n).strftime("%Y-%m-%d")
    columns = {
        "age": age,
        "job": job,
        "born": born,
        "unit": "cm",
        "rich": rich,
        "price": (3 * age + 10).round(2),
        "a": (age > 0).astype(int),
        "b": (age > 0.5).astype(int),
    }
    frame = pd.DataFrame(columns)
    frame.to_csv(tmp_path / "people.csv", index=False)
    return frame


def understood(columns: int = 23) -> dict[str, Any]:
    """What a job tells before training, made up."""
    kinds = ("number", "category", "ignored")
    about = [
        {
            "column": f"column_{i}" if i else "[red]a\x1b[2Jb",
            "kind": kinds[i % 3],
            "missing": 2799 if i == 1 else 0,
            "distinct": 74 + i,
            "example": "a value that is longer than any table has room for",
            "notes": "has the same value in every row" if i % 3 == 2 else "",
        }
        for i in range(columns)
    ]
    strengths = {"dropout.rate": {"low": 0.02, "high": 0.8, "log": False, "off": 0.0}, "max_norm.c": {"low": 0.5, "high": 8.0, "log": True, "off": "inf"}}
    plan = {"regularizers": ["dropout", "max_norm"], "strengths": strengths, "epochs": 26.0, "batch_size": 256, "lr": [3e-4, 1e-2]}
    lean = {
        **plan,
        "plan": "lean",
        "network": "MLP 64, piecewise numbers, with a name that is rather long",
        "strengths": {"dropout.rate": strengths["dropout.rate"]},
    }
    return {
        "rows": 48842,
        "columns": about,
        "target": "income",
        "task": "classification",
        "classes": ["<=50K", ">50K"],
        "split": example.summary()["data"]["split"],
        "space": [{**plan, "plan": "mlp", "network": "MLP 256-256, plain numbers"}, lean],
        "budget": "2m",
        "trials": None,
        "strategy": "keep",
        "metric": "accuracy",
        "notes": ["12 rows have no target"],
    }


class Stub:
    """Stands in for `temperance.job`: remembers the arguments, tells a little, and returns or raises what it was given."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.raises: BaseException | None = None
        self.reports: list[dict[str, Any]] = [{"phase": "round 1", "done": 0.5, "left": 61.0, "trials": 4, "best": 0.8512, "metric": "accuracy"}]
        self.before: Callable[[dict[str, Any]], None] = lambda arguments: None

    def fit_table(self, source: Any, target: Any, *, on_progress: Any, on_understood: Any, **rest: Any) -> Any:
        self.calls.append({"source": source, "target": target, **rest})
        on_understood(understood())
        for report in self.reports:
            on_progress(report)
        self.before(rest)
        if self.raises is not None:
            raise self.raises
        return types.SimpleNamespace(folder=Path(rest["out"]), summary=example.summary(), search=None)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """The stand-in, in the place of `temperance.job`."""
    importlib.import_module("temperance.job.folder")  # the stand-in is no package from which it could be imported later

    made = Stub()
    module = types.ModuleType("temperance.job")
    module.__dict__["fit_table"] = made.fit_table
    monkeypatch.setitem(sys.modules, "temperance.job", module)
    return made
