"""What is each part of `temperance fit` worth on tables? The loss with one part taken out, beside the loss of the whole, on development splits.

Data, budget and metric are those of `benchmarks.peers`: nine tables with classes and three with numbers, at most 10,000 training rows, log-loss (RMSE),
a minute on two cores. Splits have seeds 100, 101 and 102, on which nothing is scored. A figure is the mean over tables of
log(loss without the part / loss of the whole), in per cent, each table's the mean over its splits; above zero the part helps. The interval (95 %) is from
tables drawn again. Beside it stands what a second fit of the whole (another seed of the search) differs by: what lies within that is noise. One row a fit
is kept in the CSV file and not run again.

    python -m benchmarks.ablation --data FOLDER [--parts "the portfolio"] [--budget 60s] [--seeds 100,101,102] [--sets adult] [--report]
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from benchmarks.csv_lines import read, write
from benchmarks.peers import CLASSES, NUMBERS, interval, ours, split
from benchmarks.without import PARTS

OUT = Path(__file__).parent / "results" / "ablation.csv"
COLUMNS = ("set", "seed", "without", "budget", "loss", "right", "seconds", "trials", "networks", "cores", "torch", "date")
AGAIN = "nothing, again"  # the whole with another seed of the search
OTHER = 1000  # added to the seed


def figures(lines: Sequence[Mapping[str, str]], budget: str) -> dict[str, dict[str, float]]:
    """Of each part and table the mean of log(loss without / loss of the whole) over the splits that have both.

    Example:
        >>> line = {"set": "adult", "seed": "100", "budget": "60s"}
        >>> lines = [{**line, "without": "nothing", "loss": "0.5"}, {**line, "without": "the portfolio", "loss": "1.0"}]
        >>> figures(lines, "60s")
        {'the portfolio': {'adult': 0.69}}
    """
    loss = {(line["without"], line["set"], line["seed"]): float(line["loss"]) for line in lines if line["budget"] == budget}
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (part, name, seed), value in loss.items():
        whole = loss.get(("nothing", name, seed))
        if part != "nothing" and whole is not None:
            found[part][name].append(math.log(value / whole))
    return {part: {name: float(np.mean(values)) for name, values in tables.items()} for part, tables in found.items()}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """A line a part, the most useful one first.

    Example:
        >>> print(table({"the portfolio": {"adult": 0.02, "kc1": -0.01}}).splitlines()[2])
        | the portfolio | 2 | +0.5 (-1.0 to +2.0) | 1 | adult +2.0, kc1 -1.0 |
    """
    out = ["| without | tables | loss, % | worse on | each, % |", "|---|---|---|---|---|"]
    for part, tables in sorted(found.items(), key=lambda item: -np.mean(list(item[1].values()))):
        values = 100.0 * np.array(list(tables.values()))
        low, high = interval(values)
        each = ", ".join(f"{name} {100 * value:+.1f}" for name, value in sorted(tables.items(), key=lambda item: -item[1]))
        out.append(f"| {part} | {len(values)} | {values.mean():+.1f} ({low:+.1f} to {high:+.1f}) | {int((values > 0).sum())} | {each} |")
    return "\n".join(out)


def measure(given: argparse.Namespace, name: str, seed: int, part: str) -> None:
    key = {"set": name, "seed": str(seed), "without": part, "budget": given.budget}
    if any(all(line[k] == value for k, value in key.items()) for line in read(given.out)):
        return
    train, test, classes = split(given.data, name, seed)
    fit, own = ("benchmarks.without", "nothing" if part == AGAIN else part, "fit"), seed + (OTHER if part == AGAIN else 0)
    facts = ours(train, test, classes, own, given.budget, fit)
    scores = {"loss": facts["log_loss" if classes else "rmse"], "right": facts["accuracy" if classes else "r2"]}
    where = {"cores": os.cpu_count(), "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
    write(given.out, COLUMNS, {**key, **scores, **where, **{k: facts[k] for k in ("seconds", "trials", "networks")}}, digits=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the tables")
    parser.add_argument("--parts", default=";".join([*PARTS, AGAIN]), help="separated by semicolons")
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--sets", default=",".join([*CLASSES, *NUMBERS]))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--report", action="store_true", help="print the table and do nothing else")
    given = parser.parse_args()
    if not given.report:
        if given.data is None:
            parser.error("expected --data FOLDER with the tables")
        if unknown := [part for part in given.parts.split(";") if part not in (*PARTS, AGAIN)]:
            parser.error(f"expected --parts to be of {', '.join([*PARTS, AGAIN])}, got {', '.join(unknown)}")
        for seed in map(int, given.seeds.split(",")):
            for name in given.sets.split(","):
                for part in given.parts.split(";"):
                    measure(given, name, seed, part)
    print(table(figures(read(given.out), given.budget)))


if __name__ == "__main__":
    main()
