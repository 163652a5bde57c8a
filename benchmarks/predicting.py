"""How many rows per second does a model that ships predict, beside RealMLP-TD (pytabkit)? Asked: half as many or more.

Data: three tables of `benchmarks.peers`, development split 100. temperance is fitted for a minute, RealMLP-TD with its default settings; then both predict the
test rows, repeated up to 20,000, from a data frame, in turns, five times each. A figure is the median, with the range. Two cores.

    python -m benchmarks.predicting --data FOLDER [--sets phoneme,adult,california-housing] [--out benchmarks/results/predicting.csv]
    python -m benchmarks.predicting --report
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from benchmarks.csv_lines import read, write
from benchmarks.peers import filled, real_mlp, split

import temperance as tp
from temperance.train.remember import remembers

OUT = Path(__file__).parent / "results" / "predicting.csv"
COLUMNS = ("set", "model", "run", "rows", "seconds", "networks", "of_similar_rows", "date")
SEED, ROWS, RUNS = 100, 20_000, 5


def models(data: Path, name: str) -> dict[str, tuple[Callable[[], Any], dict[str, Any]]]:
    """Both models, each as a call that predicts all rows, and what there is to say of it."""
    train, test, classes = split(data, name, SEED)
    many = pd.concat([test.drop(columns="target")] * (1 + ROWS // len(test)), ignore_index=True)[:ROWS]
    with tempfile.TemporaryDirectory() as place:
        train.to_parquet(Path(place) / "train.parquet")
        options = ["--target", "target", "--budget", "60s", "--out", f"{place}/out", "--task", "classification" if classes else "regression"]
        metric = ["--metric", "log_loss"] if classes else []
        subprocess.run([sys.executable, "-m", "temperance", "fit", f"{place}/train.parquet", *options, *metric], check=True, stdout=subprocess.DEVNULL)
        saved = tp.load(f"{place}/out")
    networks = list(getattr(saved.model, "networks", [saved.model]))
    facts = {"networks": len(networks), "of_similar_rows": sum(map(remembers, networks))}
    both = filled(pd.concat([train.drop(columns="target"), many], ignore_index=True))
    rival, x = real_mlp(classes, SEED), both.iloc[len(train) :]
    rival.fit(both.iloc[: len(train)], train["target"].to_numpy())
    kind = "predict_proba" if classes else "predict"
    return {"temperance": (lambda: getattr(saved, kind)(many), facts), "RealMLP-TD": (lambda: getattr(rival, kind)(x), {})}


def table(lines: Sequence[Mapping[str, str]]) -> str:
    """Rows per second, median and range.

    Example:
        >>> print(table([{"set": "adult", "model": "temperance", "rows": "100", "seconds": "0.5", "networks": "3", "of_similar_rows": "1"}]))
        | set | model | networks | rows per second |
        |---|---|---|---|
        | adult | temperance | 3, of which 1 answer from similar rows | 200 (200 to 200) |
    """
    out, runs = ["| set | model | networks | rows per second |", "|---|---|---|---|"], defaultdict[tuple[str, str, str], list[float]](list)
    for line in lines:
        words = f"{line['networks']}, of which {line['of_similar_rows']} answer from similar rows" if line["networks"] else "1"
        runs[line["set"], line["model"], words].append(int(line["rows"]) / float(line["seconds"]))
    for (name, model, words), rates in runs.items():
        out.append(f"| {name} | {model} | {words} | {statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the tables")
    parser.add_argument("--sets", default="phoneme,adult,california-housing")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--report", action="store_true", help="print the table and do nothing else")
    given = parser.parse_args()
    known = {line["set"] for line in read(given.out)}
    for name in [] if given.report else [name for name in given.sets.split(",") if name not in known]:
        made = models(given.data, name)
        for run in range(RUNS):
            for model, (predict, facts) in made.items():
                began = time.perf_counter()
                predict()
                seconds = time.perf_counter() - began
                write(
                    given.out,
                    COLUMNS,
                    {"set": name, "model": model, "run": run, "rows": ROWS, "seconds": seconds, **facts, "date": time.strftime("%Y-%m-%d")},
                    4,
                )
    print(table(read(given.out)))


if __name__ == "__main__":
    main()
