"""Claim: with three minutes on two cores for each set, `temperance fit` has a mean balanced accuracy of 87.5 or more on 24 sets of Kadra et al. (2021).

They gave their cocktails 4 days of 20 cores for each set and published 86.77 for these 24 (XGBoost 83.34, without class weights). The protocol is
theirs: 60/20/20 by seed 11, stratified. What ships may learn from the 80 per cent, as their refitted network does, and the last fifth is scored once. It
decides nothing here. In the same run, on the same rows: HistGradientBoosting with balanced class weights, which the paper did not give its trees. Other
seeds are further splits. One row a fit is kept in the CSV file and not run again.

With ``--clock processor`` the budget counts processor time of one thread, 1.6 seconds for each second, which is what two cores gave a fit when
nothing else ran: then the figures do not depend on what else a machine does. The rows say so.

    python -m benchmarks.kadra --data FOLDER [--budget 180] [--seeds 11] [--sets anneal] [--clock wall] [--report]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmarks.csv_lines import read, write
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from temperance.data import read_images

OUT = Path(__file__).parent / "results" / "kadra.csv"
COLUMNS = ("set", "seed", "budget", "clock", "model", "train", "test", "balanced_accuracy", "seconds", "trials", "networks", "torch", "date")
IMAGES = "fashion-mnist"
PUBLISHED = {
    "anneal": 89.27,
    "kr-vs-kp": 99.85,
    "arrhythmia": 61.46,
    "mfeat-factors": 98.0,
    "credit-g": 74.64,
    "vehicle": 82.58,
    "kc1": 74.38,
    "adult": 82.44,
    "walking-activity": 63.92,
    "phoneme": 86.62,
    "skin-segmentation": 99.95,
    "nomao": 96.83,
    "cnae-9": 95.83,
    "blood-transfusion": 67.62,
    "bank-marketing": 85.99,
    "connect-4": 80.07,
    "shuttle": 99.95,
    "Australian": 87.09,
    "car": 99.59,
    "segment": 93.72,
    "jungle-chess": 97.47,
    "jasmine": 79.22,
    "sylvine": 94.05,
    IMAGES: 91.95,
}
"""Balanced accuracy of their cocktails, in per cent (their table 2)."""
RATE = 1.6  # processor seconds for a second of the budget
ON_PROCESSOR_TIME = f"import time; own = time.process_time; time.monotonic = lambda: own() / {RATE}; from temperance.cli import main; main()"
Split = tuple[Any, Any, np.ndarray, np.ndarray]


def split(data: Path, name: str, seed: int) -> Split:
    """Inputs and labels of the rows that learn, and of those that are scored: frames, or images."""
    if name == IMAGES:
        found = read_images(data / "images" / IMAGES)
        assert found.labels is not None
        x, y = found.pixels[:, 0], np.asarray(found.labels)
    else:
        frame = pd.read_parquet(data / "tabular" / f"{name}.parquet")
        x, y = frame.drop(columns="target"), frame["target"].astype(str).to_numpy()
    rows, held = train_test_split(np.arange(len(y)), test_size=0.2, random_state=seed, stratify=y)
    return _rows(x, rows), _rows(x, held), y[rows], y[held]


def _rows(x: np.ndarray | pd.DataFrame, places: Any) -> np.ndarray | pd.DataFrame:
    return x.iloc[places] if isinstance(x, pd.DataFrame) else x[places]


def ours(given: Split, seed: int, budget: float, clock: str) -> dict[str, Any]:
    """The command as a user would run it; balanced accuracy decides."""
    x, held, y, truth = given
    command = [sys.executable, *(["-c", ON_PROCESSOR_TIME] if clock == "processor" else ["-m", "temperance"])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if clock == "processor" else dict(os.environ)
    options = ["--metric", "balanced_accuracy", "--budget", f"{budget:g}s", "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if isinstance(x, pd.DataFrame):
            source, rows, options = folder / "train.parquet", folder / "held.parquet", [*options, "--target", "target", "--task", "classification"]
            x.assign(target=y).to_parquet(source)
            held.to_parquet(rows)
        else:
            source, rows = folder / "train.npz", folder / "held.npz"
            np.savez(source, x=x, y=y)
            np.savez(rows, x=held)
        began = time.perf_counter()
        subprocess.run([*command, "fit", str(source), "--out", str(folder / "out"), *options], check=True, stdout=subprocess.DEVNULL, env=environment)
        seconds = time.perf_counter() - began
        predict = [sys.executable, "-m", "temperance", "predict", str(folder / "out"), str(rows), "--out", str(folder / "p.csv")]
        subprocess.run(predict, check=True, stdout=subprocess.DEVNULL)
        predicted = pd.read_csv(folder / "p.csv", dtype=str)["prediction"].to_numpy()
        summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    score = balanced_accuracy_score(_words(truth), _words(predicted))
    return {
        "balanced_accuracy": 100.0 * float(score),
        "seconds": seconds,
        "trials": summary["search"]["trials"],
        "networks": summary["ensemble"]["networks"],
    }


def _words(labels: np.ndarray) -> list[str]:
    """As :command:`predict` writes them, whatever they were read as."""
    return [str(label).lower() for label in labels]


def trees(given: Split, seed: int) -> dict[str, Any]:
    """Boosted trees with balanced class weights, default settings."""
    x, held, y, truth = given
    if isinstance(x, pd.DataFrame):
        both = pd.concat([x, held])
        both = both.assign(**{c: both[c].astype("category") for c in both if not pd.api.types.is_numeric_dtype(both[c])})
        wide = {c for c in both if both[c].dtype == "category" and both[c].nunique() > 255}  # more than it takes
        both = both.assign(**{c: both[c].cat.codes for c in wide})
        x, held = both.iloc[: len(x)], both.iloc[len(x) :]
    else:
        x, held = x.reshape(len(x), -1), held.reshape(len(held), -1)
    began = time.perf_counter()
    model: Any = HistGradientBoostingClassifier(class_weight="balanced", categorical_features="from_dtype", random_state=seed).fit(x, y)
    seconds = time.perf_counter() - began
    return {"balanced_accuracy": 100.0 * float(balanced_accuracy_score(truth, model.predict(held))), "seconds": seconds}


def table(lines: Sequence[dict[str, str]]) -> str:
    """Balanced accuracy of each set, mean over its seeds, beside the trees and what was published; then the means.

    Example:
        >>> line = {"set": "car", "seed": "11", "budget": "180.0", "clock": "wall", "balanced_accuracy": "99.0"}
        >>> print(table([{**line, "model": "ours"}, {**line, "model": "trees", "budget": "", "clock": ""}]).splitlines()[2])
        | car | 1 | 180 s, wall | 99.00 | 99.00 | 99.59 |
    """
    out = ["| set | seeds | budget | temperance | weighted trees | published cocktail |", "|---|---|---|---|---|---|"]
    sums: dict[str, list[tuple[float, float, float]]] = {}
    for name in PUBLISHED:
        for budget in sorted({(float(line["budget"]), line["clock"]) for line in lines if line["set"] == name and line["model"] == "ours"}):
            own = {line["seed"]: float(line["balanced_accuracy"]) for line in lines if line["model"] == "ours" and _is(line, name, budget)}
            rival = {line["seed"]: float(line["balanced_accuracy"]) for line in lines if line["set"] == name and line["model"] == "trees"}
            seeds = [seed for seed in own if seed in rival]
            if not seeds:
                continue
            values = float(np.mean([own[s] for s in seeds])), float(np.mean([rival[s] for s in seeds])), PUBLISHED[name]
            kind = f"{budget[0]:g} s, {budget[1]}"
            sums.setdefault(kind, []).append(values)
            out.append(f"| {name} | {len(seeds)} | {kind} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    for kind, found in sums.items():
        out.append(f"| mean of {len(found)} |  | {kind} | " + " | ".join(f"{value:.2f}" for value in np.mean(found, axis=0)) + " |")
    return "\n".join(out)


def _is(line: dict[str, str], name: str, budget: tuple[float, str]) -> bool:
    return line["set"] == name and (float(line["budget"]), line["clock"]) == budget


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with tabular/ and images/")
    parser.add_argument("--budget", type=float, default=180.0, help="seconds")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--seeds", default="11")
    parser.add_argument("--sets", default=",".join(PUBLISHED))
    parser.add_argument("--report", action="store_true", help="print the table and do nothing else")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if not given.report:
        if given.data is None:
            parser.error("expected --data FOLDER with the data sets")
        for seed in map(int, given.seeds.split(",")):
            for name in given.sets.split(","):
                for model in ("trees", "ours"):
                    _measure(given, name, seed, model)
    print(table(read(given.out)))


def _measure(given: argparse.Namespace, name: str, seed: int, model: str) -> None:
    budget, clock = (given.budget, given.clock) if model == "ours" else ("", "")
    key = {"set": name, "seed": str(seed), "model": model, "budget": str(budget), "clock": clock}
    if any(all(line[k] == v for k, v in key.items()) for line in read(given.out)):
        return
    data = split(given.data, name, seed)
    facts = ours(data, seed, given.budget, clock) if model == "ours" else trees(data, seed)
    known = {"train": len(data[2]), "test": len(data[3]), "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
    write(given.out, COLUMNS, {**key, **known, **facts, "budget": budget}, digits=3)


if __name__ == "__main__":
    main()
