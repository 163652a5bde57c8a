"""Question: what is the mean rank of `temperance fit` on tables at 60 seconds on two cores, by log-loss (RMSE) and by accuracy (R2)?

Data: 9 tables with classes and 3 with numbers, from 846 to 45,000 rows; splits 75/25 with seeds 0-2 (stratified for classes), at
most 10,000 training rows, n = 36 fits a model. Peers, on the same rows, with default settings: CatBoost, ChimeraBoost, LightGBM,
XGBoost, HistGradientBoosting, RealMLP-TD and TabM-D (pytabkit), scikit-learn's MLP. Seconds are wall-clock of `fit`; for
temperance of the whole command, with start-up and report. Peers have no budget: they take what their defaults take.

One row a fit is kept in the CSV file and not run again. Development uses seeds from 100 on, never these.

    python -m benchmarks.peers --data FOLDER [--models ours,catboost] [--budget 60s] [--seeds 0,1,2] [--sets adult] [--report]
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.tabpack import MEMBERS, tab_pack
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split

CLASSES = ("credit-g", "vehicle", "kc1", "jasmine", "phoneme", "sylvine", "adult", "bank-marketing", "jungle-chess")
NUMBERS = ("california-housing", "ames-housing", "house_8L")
MOST_ROWS = 10_000
Split = tuple[pd.DataFrame, pd.DataFrame, bool]


def split(data: Path, name: str, seed: int) -> Split:
    """Training and test rows, and whether the target has classes."""
    frame, classes = pd.read_parquet(data / f"{name}.parquet"), name not in NUMBERS
    if classes:
        frame["target"] = frame["target"].astype(str)
    for column in frame.columns.drop("target"):
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].astype("string").astype(object)
    rows, strata = np.arange(len(frame)), frame["target"] if classes else None
    a, b = train_test_split(rows, test_size=0.25, random_state=seed, stratify=strata)
    if len(a) > MOST_ROWS:
        a, _ = train_test_split(a, train_size=MOST_ROWS, random_state=seed, stratify=None if strata is None else strata.iloc[a])
    return frame.iloc[np.sort(a)].reset_index(drop=True), frame.iloc[np.sort(b)].reset_index(drop=True), classes


def scores(truth: pd.Series, predicted: Any, probabilities: Any, labels: Any) -> dict[str, float]:
    """What is compared; a probability of zero counts as 1e-15, as scikit-learn has it."""
    if probabilities is None:
        return {"rmse": float(root_mean_squared_error(truth, predicted)), "r2": float(r2_score(truth, predicted))}
    p = np.asarray(probabilities, np.float64)
    labels = np.asarray(labels)
    guess = labels[p.argmax(1)]
    return {
        "accuracy": float(accuracy_score(truth, guess)),
        "balanced_accuracy": float(balanced_accuracy_score(truth, guess)),
        "log_loss": float(log_loss(truth, p / p.sum(1, keepdims=True), labels=labels)),
    }


def ours(train: pd.DataFrame, test: pd.DataFrame, classes: bool, seed: int, budget: str, fit: Sequence[str] = ("temperance", "fit")) -> dict[str, Any]:
    """The command as a user would run it, with a budget; log-loss decides where there are classes. ``fit``: the module that fits, and its first arguments."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train.to_parquet(folder / "train.parquet")
        test.drop(columns="target").to_parquet(folder / "test.parquet")
        command, quiet = [sys.executable, "-m"], {"check": True, "stdout": subprocess.DEVNULL}
        options = ["--target", "target", "--budget", budget, "--seed", str(seed), "--out", str(folder / "out")]
        task = ["--task", "classification", "--metric", "log_loss"] if classes else ["--task", "regression"]
        proba = ["--proba"] if classes else []
        began = time.perf_counter()
        subprocess.run([*command, *fit, str(folder / "train.parquet"), *options, *task], **quiet)
        seconds = time.perf_counter() - began
        predict = ["temperance", "predict", str(folder / "out"), str(folder / "test.parquet"), "--out", str(folder / "p.csv"), *proba]
        subprocess.run([*command, *predict], **quiet)
        out = pd.read_csv(folder / "p.csv", dtype={"prediction": str} if classes else None)
        summary = json.loads((folder / "out" / "summary.json").read_text())
    facts = {"seconds": seconds, "trials": summary["search"]["trials"], "networks": summary["ensemble"]["networks"], "cocktail": summary["cocktail"]["repr"]}
    if not classes:
        return {**scores(test["target"], out["prediction"], None, None), **facts}
    labels = sorted(train["target"].unique())
    columns = {c.lower(): c for c in out.columns}  # "true" is written True
    return {**scores(test["target"], None, out[[columns[label.lower()] for label in labels]], labels), **facts}


def peer(build: Callable[[bool, int], Any], prepare: Callable[[pd.DataFrame], pd.DataFrame], encode: bool = False) -> Callable[..., dict[str, Any]]:
    """A scikit-learn-like model; with ``encode`` for whole numbers as classes."""

    def run(train: pd.DataFrame, test: pd.DataFrame, classes: bool, seed: int, _budget: str) -> dict[str, Any]:
        x, held = train.drop(columns="target"), test.drop(columns="target")
        both = prepare(pd.concat([x, held], ignore_index=True))
        x, held = both.iloc[: len(x)], both.iloc[len(x) :]
        labels = np.sort(train["target"].unique()) if classes else None
        y = train["target"].to_numpy()
        if classes and encode:
            y = np.searchsorted(labels, y)
        model = build(classes, seed)
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)
        seconds = time.perf_counter() - began
        if classes:
            order = [list(model.classes_).index(c) for c in (range(len(labels)) if encode else labels)]
            return {**scores(test["target"], None, np.asarray(model.predict_proba(held))[:, order], labels), "seconds": seconds}
        return {**scores(test["target"], np.asarray(model.predict(held)).ravel(), None, None), "seconds": seconds}

    return run


def words(x: pd.DataFrame) -> pd.DataFrame:
    """Categories as strings, where a gap is a category."""
    return x.assign(**{c: x[c].fillna("missing").astype(str).astype(object) for c in x if x[c].dtype == object})


def categories(x: pd.DataFrame) -> pd.DataFrame:
    return x.assign(**{c: x[c].astype("category") for c in x if x[c].dtype == object})


def filled(x: pd.DataFrame) -> pd.DataFrame:
    """For models that take no gaps among numbers: the median."""
    x = categories(words(x))
    return x.assign(**{c: x[c].astype(float).fillna(x[c].astype(float).median()) for c in x if x[c].dtype.kind in "iuf"})


def cat_boost(classes: bool, seed: int) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    class Boost(CatBoostClassifier if classes else CatBoostRegressor):  # type: ignore[misc]
        def fit(self, x: Any, y: Any) -> Any:
            return super().fit(x, y, cat_features=[c for c in x if x[c].dtype == object], verbose=False)

    return Boost(random_seed=seed, thread_count=2, allow_writing_files=False)


def chimera_boost(classes: bool, seed: int) -> Any:
    from chimeraboost import ChimeraBoostClassifier, ChimeraBoostRegressor

    class Boost(ChimeraBoostClassifier if classes else ChimeraBoostRegressor):  # type: ignore[misc]
        def fit(self, x: Any, y: Any) -> Any:
            return super().fit(x, y, cat_features=[c for c in x if x[c].dtype == object])

    return Boost(random_state=seed, thread_count=2)


def light(classes: bool, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if classes else LGBMRegressor)(random_state=seed, n_jobs=2, verbose=-1)


def xgb(classes: bool, seed: int) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    return (XGBClassifier if classes else XGBRegressor)(random_state=seed, n_jobs=2, enable_categorical=True)


def hist(classes: bool, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=seed, categorical_features="from_dtype")


def real_mlp(classes: bool, seed: int) -> Any:
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    return (RealMLP_TD_Classifier if classes else RealMLP_TD_Regressor)(random_state=seed, n_threads=2, device="cpu")


def tab_m(classes: bool, seed: int) -> Any:
    from pytabkit import TabM_D_Classifier, TabM_D_Regressor

    return (TabM_D_Classifier if classes else TabM_D_Regressor)(random_state=seed, n_threads=2, device="cpu")


def mlp(classes: bool, seed: int) -> Any:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    prepare = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_include="category")),
    )
    return make_pipeline(prepare, (MLPClassifier if classes else MLPRegressor)(random_state=seed))


def packed(members: int) -> Callable[..., dict[str, Any]]:
    """TabPack's recipe with so many networks; it has the budget that temperance has."""

    def run(train: pd.DataFrame, test: pd.DataFrame, classes: bool, seed: int, budget: str) -> dict[str, Any]:
        out, facts = tab_pack(train, test.drop(columns="target"), classes, seed, float(budget.removesuffix("s")), members)
        if not classes:
            return {**scores(test["target"], out[:, 0], None, None), **facts}
        return {**scores(test["target"], None, out, np.unique(train["target"])), **facts}

    return run


MODELS: dict[str, Callable[..., dict[str, Any]]] = {
    "ours": ours,
    "catboost": peer(cat_boost, words),
    "chimeraboost": peer(chimera_boost, words),
    "lightgbm": peer(light, categories),
    "xgboost": peer(xgb, categories, encode=True),
    "hist": peer(hist, categories),
    "mlp": peer(mlp, filled),
    "realmlp": peer(real_mlp, filled),
    "tabm": peer(tab_m, filled),
    "tabpack": packed(MEMBERS),
    "tabpack-8": packed(8),
}
BUDGETED = ("ours", "tabpack", "tabpack-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--sets", default=",".join([*CLASSES, *NUMBERS]))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "peers.csv")
    parser.add_argument("--report", action="store_true", help="only print the tables of what is there")
    args = parser.parse_args()
    if not args.report:
        for seed in map(int, args.seeds.split(",")):
            for name in args.sets.split(","):
                for model in args.models.split(","):
                    measure(args, name, seed, model)
    report(pd.read_csv(args.out), args.budget)


def measure(args: argparse.Namespace, name: str, seed: int, model: str) -> None:
    done = pd.read_csv(args.out) if args.out.exists() else pd.DataFrame(columns=["set", "seed", "model", "budget"])
    budget = args.budget if model in BUDGETED else "default"
    if ((done["set"] == name) & (done["seed"] == seed) & (done["model"] == model) & (done["budget"] == budget)).any():
        return
    train, test, classes = split(args.data, name, seed)
    row = {"set": name, "seed": seed, "model": model, "budget": budget, "n_train": len(train), "n_test": len(test)}
    row.update(MODELS[model](train, test, classes, seed, args.budget))
    row.update({"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "machine": platform.machine()})
    done = pd.read_csv(args.out) if args.out.exists() else done[:0]  # another process may have written meanwhile
    pd.concat([done, pd.DataFrame([row])], ignore_index=True).to_csv(args.out, index=False)
    shown = {k: round(row[k], 4) for k in ("accuracy", "log_loss", "rmse", "r2", "seconds") if k in row}
    print(f"{name:20s} seed {seed}  {model:12s} {shown}", flush=True)


def interval(each: np.ndarray) -> tuple[float, float]:
    """95 % of the mean over tables, which are drawn again."""
    low, high = np.quantile(np.random.default_rng(0).choice(each, (10_000, len(each))).mean(1), [0.025, 0.975])
    return float(low), float(high)


def report(done: pd.DataFrame, budget: str) -> None:
    """Mean ranks over sets and seeds that every model has, wins, and the reduction of log-loss against CatBoost with its interval."""
    done = done[~done["model"].isin(BUDGETED) | (done["budget"] == budget)]
    done = done.reindex(columns=list(dict.fromkeys([*done, "log_loss", "rmse", "accuracy", "r2"])))  # where only classes, or only numbers, were run
    done["loss"], done["right"] = done["log_loss"].fillna(done["rmse"]), done["accuracy"].fillna(done["r2"])
    for key, up in (("loss", False), ("right", True)):
        wanted = int(0.5 * done.groupby("model").size().max())
        table = done.pivot_table(index=["set", "seed"], columns="model", values=key).dropna(axis=1, thresh=wanted).dropna()
        ranks = table.rank(axis=1, ascending=not up)
        means = table.groupby("set").mean()
        print(f"\n{'log-loss, RMSE' if key == 'loss' else 'accuracy, R2'}: mean rank over {len(table)} fits\n{ranks.mean().sort_values().round(2).to_string()}")
        print(means.round(4).to_string())
        if key == "loss" and {"ours", "catboost"} <= set(table):
            gain = (1 - table["ours"] / table["catboost"]).groupby("set").mean()
            low, high = interval(gain.to_numpy())
            print(f"reduction against CatBoost: {gain.mean():+.4f} ({low:+.4f} to {high:+.4f}, sets drawn again); better on {(gain > 0).sum()} of {len(gain)}")


if __name__ == "__main__":
    main()
