"""The ablation of parts: every part can be taken out, and the table says what it was worth."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks.without import REGULARIZERS

from benchmarks import ablation
from temperance.core.registry import lookup
from temperance.search.plans import default_regularizers


def test_every_default_regularizer_is_taken_out() -> None:
    assert {lookup(name) for name in REGULARIZERS} == {type(r) for r in default_regularizers("classification")}


@pytest.mark.parametrize("part", ["nothing", "training on all rows", "periodic numbers", "regularizers"])
def test_a_fit_without_it(part: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 1300))
    frame = pd.DataFrame({"u": u, "v": v, "target": np.where(u + v * v + rng.normal(size=1300) > 1, "yes", "no")})
    frame.to_csv(tmp_path / "t.csv", index=False)
    options = ["--target", "target", "--trials", "6", "--without", "neighbors"]
    command = [sys.executable, "-m", "benchmarks.without", part, "fit", str(tmp_path / "t.csv"), *options, "--out", str(tmp_path / "out")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    said = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert (said["ensemble"]["trained"] == "none") == (part == "training on all rows")
    words = json.dumps(said)
    assert ("periodic" in words) == (part != "periodic numbers")
    assert ("weight_decay" in words) == (part != "regularizers")


def test_what_is_changed_is_there() -> None:
    """A part whose name in the package has changed would be taken out of nothing."""
    places = "temperance.search.plans.COLUMN_STEP for_tables temperance.data.encode._often temperance.train.trace.REPAID temperance.search.ending._again"
    code = f"""
import importlib
from benchmarks.without import PARTS
before, module = {{}}, None
for word in {places.split()!r}:
    name, _, attribute = word.rpartition(".")
    module = importlib.import_module(name) if name else module
    before[module, attribute] = getattr(module, attribute)
for part in PARTS.values():
    part()
assert all(getattr(*key) is not value for key, value in before.items())
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_loss_is_compared_with_that_of_the_whole_on_the_same_split() -> None:
    def line(part: str, name: str, seed: int, loss: float, budget: str = "60s") -> dict[str, str]:
        return {"without": part, "set": name, "seed": str(seed), "loss": str(loss), "budget": budget}

    lines = [line("nothing", "a", 1, 0.2), line("nothing", "a", 2, 0.4), line("nothing", "b", 1, 1.0), line("nothing", "a", 1, 9.0, "20s")]
    lines += [line("averages", "a", 1, 0.4), line("averages", "a", 2, 0.4), line("averages", "b", 1, 1.1), line("averages", "b", 2, 5.0)]
    found = ablation.figures(lines, "60s")
    assert found == {"averages": {"a": pytest.approx(math.log(2) / 2), "b": pytest.approx(math.log(1.1))}}
    assert ablation.table(found).splitlines()[2].startswith("| averages | 2 | +22.1 (+9.5 to +34.7) | 2 |")
