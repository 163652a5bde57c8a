"""Claim: at equal data, `temperance fit --budget 2m` on two cores beats scikit-learn's MLP and keeps up with boosted trees.

Data: adult, phoneme, vehicle, credit-g (accuracy) and california-housing (R²); splits 80/20 with seeds 0-2 (stratified for classes), n = 3 a row.
Rivals, trained on the same rows in the same run: MLPClassifier / MLPRegressor with default settings on standardized numbers and one-hot
categories, and HistGradientBoosting with default settings. Seconds are the wall-clock of the whole `temperance fit` process, with start-up, refit
and report. Every finished row is kept in the CSV file and not run again; a losing row is printed like a winning one.

    python benchmarks/tables.py --data FOLDER [--budget 2m] [--seeds 0,1,2] [--sets adult,phoneme] [--out benchmarks/results/tables.csv]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SETS = {"adult": "accuracy", "phoneme": "accuracy", "vehicle": "accuracy", "credit-g": "accuracy", "california-housing": "r2"}


def rivals(train: pd.DataFrame, test: pd.DataFrame, metric: str, seed: int) -> dict[str, tuple[float, float]]:
    """Score and seconds of each rival."""
    x, y = train.drop(columns="target"), train["target"]
    held, truth = test.drop(columns="target"), test["target"]
    numbers = list(x.select_dtypes("number").columns)
    words = [c for c in x.columns if c not in numbers]
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("words", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)), words),
        ]
    )
    network = MLPRegressor(random_state=seed) if metric == "r2" else MLPClassifier(random_state=seed)
    forest = HistGradientBoostingRegressor if metric == "r2" else HistGradientBoostingClassifier
    trees = forest(random_state=seed, categorical_features="from_dtype")
    out: dict[str, tuple[float, float]] = {}
    for name, model in (("mlp", make_pipeline(prepare, network)), ("trees", trees)):
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)
        out[name] = (float(model.score(held, truth)), time.perf_counter() - began)
    return out


def ours(train: pd.DataFrame, test: pd.DataFrame, metric: str, seed: int, budget: str, folder: Path) -> dict[str, Any]:
    """Run the command as a user would."""
    train.to_parquet(folder / "train.parquet")
    test.to_parquet(folder / "test.parquet")
    command = [
        "fit",
        str(folder / "train.parquet"),
        "--test",
        str(folder / "test.parquet"),
        "--target",
        "target",
        "--budget",
        budget,
        "--metric",
        metric,
        "--seed",
        str(seed),
        "--out",
        str(folder / "out"),
    ]
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "temperance", *command], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    summary = json.loads((folder / "out" / "summary.json").read_text())
    return {
        "ours": summary["scores"]["test"][metric]["value"],
        "seconds": seconds,
        "trials": summary["search"]["trials"],
        "cocktail": summary["cocktail"]["repr"],
        "network": summary["cocktail"]["network"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "tables.csv")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = pd.read_csv(args.out) if args.out.exists() else pd.DataFrame(columns=["set", "seed", "budget"])
    for seed in map(int, args.seeds.split(",")):
        for name in args.sets.split(","):
            if ((done["set"] == name) & (done["seed"] == seed) & (done["budget"] == args.budget)).any():
                continue
            frame, metric = pd.read_parquet(args.data / f"{name}.parquet"), SETS[name]
            rows = np.arange(len(frame))
            a, b = train_test_split(rows, test_size=0.2, random_state=seed, stratify=frame["target"] if metric == "accuracy" else None)
            train, test = frame.iloc[np.sort(a)].reset_index(drop=True), frame.iloc[np.sort(b)].reset_index(drop=True)
            with tempfile.TemporaryDirectory() as folder:
                row = {
                    "set": name,
                    "seed": seed,
                    "budget": args.budget,
                    "metric": metric,
                    "n_train": len(train),
                    "n_test": len(test),
                    **ours(train, test, metric, seed, args.budget, Path(folder)),
                }
            for rival, (score, seconds) in rivals(train, test, metric, seed).items():
                row.update({rival: score, f"{rival}_seconds": seconds})
            row.update({"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()})
            done = pd.concat([done, pd.DataFrame([row])], ignore_index=True)
            done.to_csv(args.out, index=False)
            print(f"{name:20s} seed {seed}  ours {row['ours']:.4f}  mlp {row['mlp']:.4f}  trees {row['trees']:.4f}  {row['seconds']:.0f} s", flush=True)
    report(done[done["budget"] == args.budget])


def report(done: pd.DataFrame) -> None:
    """Means over seeds, and the two counts of the claim."""
    table = done.groupby("set")[["ours", "mlp", "trees", "seconds"]].agg(["mean", "std"]).round(4)
    print(table.to_string())
    mean = done.groupby("set")[["ours", "mlp", "trees"]].mean()
    above, near = int((mean["ours"] > mean["mlp"]).sum()), int((mean["ours"] >= mean["trees"] - 0.01).sum())
    print(f"better than the MLP on {above} of {len(mean)}; within 0.01 of boosted trees, or above, on {near} of {len(mean)}; n = {len(done)} fits")


if __name__ == "__main__":
    main()
