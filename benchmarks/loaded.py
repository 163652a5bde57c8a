"""Claim: beside other programs on the same cores, training slows down in proportion to the share of the processor that is left.

Every measurement is taken on an idle machine and beside one busy process on each core, in turn (A B A B), each in a process of its own:

- steps of a population (eight networks of 256 units, and 32 of 64), plain and compiled, with OpenMP's own limit of spinning and with the two that the
  command sets for itself, and on one thread;
- `temperance fit` of a table of 20,000 rows with `--budget`: networks' steps in the same time, and how long the command took over its budget.

n = `--repeats` each; medians and all values are written. Wanted: under load at least 40 % of the idle steps, and at most 1.1 times the budget.

    python -m benchmarks.loaded [--parts steps,fit] [--repeats 3] [--budget 20] [--out benchmarks/results/loaded.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAYS: list[tuple[str, dict[str, str], int]] = [
    ("as OpenMP does", {}, 0),
    ("spins 10000", {"GOMP_SPINCOUNT": "10000"}, 0),
    ("spins 1000", {"GOMP_SPINCOUNT": "1000"}, 0),
    ("passive", {"OMP_WAIT_POLICY": "passive"}, 0),
    ("one thread", {}, 1),
]
SHAPES = {"256": ((256, 3, 50, 4), 8), "64": ((64, 2, 20, 4), 32)}
SECONDS, SLOWEST = 6.0, 60.0  # of a measurement, and of its process
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def busy(processes: int) -> Generator[None]:
    """So many processes that do nothing but run."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def steps(shape: str, compiled: bool, threads: int) -> None:
    """Print the steps of one network a second: what the measuring process does."""
    import torch
    from benchmarks.throughput import population

    torch.set_num_threads(threads or torch.get_num_threads())
    size, members = SHAPES[shape]
    made = population(size, members, compiled)
    made.run(until=3)
    made.run(until=8)  # traced by now
    began, first = time.monotonic(), made.step
    while time.monotonic() - began < SECONDS:
        made.run(until=made.step + (50 if compiled else 4))
    print(members * (made.step - first) / (time.monotonic() - began))


def measured_steps(shape: str, compiled: bool, threads: int, environment: dict[str, str]) -> float:
    """Steps of one network a second, of a process of its own; 0 where it is not done in a minute."""
    order = [sys.executable, "-m", "benchmarks.loaded", "--one", f"{shape},{int(compiled)},{threads}"]
    clean = {name: value for name, value in os.environ.items() if name not in WAITING}
    try:
        done = subprocess.run(order, env=clean | environment, capture_output=True, text=True, check=True, timeout=SLOWEST)
    except subprocess.TimeoutExpired:
        return 0.0
    return float(done.stdout.split()[-1])


def measured_fit(table: Path, budget: float) -> tuple[float, float]:
    """Steps of all networks of the search of a fit, and seconds of the command."""
    with tempfile.TemporaryDirectory() as folder:
        order = [sys.executable, "-m", "temperance", "fit", str(table), "--target", "y", "--budget", f"{budget:g}s", "--out", f"{folder}/out"]
        clean = {name: value for name, value in os.environ.items() if name not in WAITING}
        began = time.monotonic()
        subprocess.run(order, env=clean, capture_output=True, check=True)
        seconds = time.monotonic() - began
        summary = json.loads(Path(folder, "out", "summary.json").read_text())
    return float(sum(row["steps"] for row in summary["search"]["table"])), seconds


def a_table(folder: str) -> Path:
    """20,000 rows of 20 numbers, and a class that depends on some of them."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 20))
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(20)])
    frame["y"] = np.where(x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + rng.normal(size=len(x)) > 0, "yes", "no")
    path = Path(folder) / "table.parquet"
    frame.to_parquet(path)
    return path


def paired(measure: Any, repeats: int, **facts: Any) -> dict[str, Any]:
    """A measurement idle and under load, in turn."""
    idle: list[Any] = []
    loaded: list[Any] = []
    for _ in range(repeats):
        idle.append(measure())
        with busy(os.cpu_count() or 1):
            loaded.append(measure())
    row = {**facts, "idle": idle, "loaded": loaded}
    rates = [statistics.median(v[0] if isinstance(v, tuple) else v for v in values) for values in (idle, loaded)]
    row["kept"] = rates[1] / rates[0] if rates[0] else None
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="steps,fit")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=20.0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "loaded.json")
    asked = parser.parse_args()
    if asked.one:
        shape, compiled, threads = asked.one.split(",")
        steps(shape, bool(int(compiled)), int(threads))
        return
    rows: list[dict[str, Any]] = []
    if "steps" in asked.parts:
        for shape in SHAPES:
            for name, environment, threads in WAYS:
                rows.append(
                    paired(lambda s=shape, e=environment, t=threads: measured_steps(s, False, t, e), asked.repeats, units=shape, steps="plain", way=name)
                )
            rows.append(paired(lambda s=shape: measured_steps(s, True, 0, {}), asked.repeats, units=shape, steps="compiled", way=WAYS[0][0]))
    if "fit" in asked.parts:
        with tempfile.TemporaryDirectory() as folder:
            table = a_table(folder)
            rows.append(paired(lambda: measured_fit(table, asked.budget), asked.repeats, fit=asked.budget))
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
