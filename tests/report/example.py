"""A made-up fit, as rich as a real one: the summary and the history that the report is drawn from."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pandas

STRENGTHS = (
    ("L2", "lam", 1e-7, 1e-1, True, 0.0, "adds lam / 2 times the squared length of the weights to the objective"),
    ("Dropout", "rate", 0.05, 0.7, False, 0.0, "share of the hidden units silenced at each step"),
    ("MixUp", "alpha", 0.05, 1.0, False, 0.0, "how evenly two rows are blended"),
    ("MaxNorm", "c", 0.5, 10.0, True, "inf", "longest weight vector that may enter a unit"),
    ("LabelSmoothing", "eps", 0.01, 0.3, False, 0.0, "label mass handed to the other classes"),
    ("L1", "lam", 1e-7, 1e-2, True, 0.0, "pulls weights to exact zeros"),
    ("SAM", "rho", 0.01, 0.5, True, 0.0, "radius of the neighbourhood whose worst loss is lowered"),
)


def trials(n: int = 64, seed: int = 0) -> list[dict[str, Any]]:
    """``n`` made-up trials: most dropped at the first rung, a few diverged."""
    rng = numpy.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for k in range(n):
        strengths: dict[str, Any] = {}
        for name, strength, low, high, log, off, _ in STRENGTHS:
            if rng.random() < 0.4:
                strengths[f"{name.lower()}.{strength}"] = off
            else:
                u = rng.random()
                strengths[f"{name.lower()}.{strength}"] = float(low * (high / low) ** u if log else low + u * (high - low))
        rate = float(10 ** rng.uniform(-4, -1.3))
        score = 0.862 - 0.01 * (math.log10(rate) + 2.8) ** 2 - 0.03 * abs(strengths["dropout.rate"] - 0.2) + float(rng.normal(0, 0.003))
        status, epochs, value = "finished", 20.0, score
        if rate > 0.03 and rng.random() < 0.6:
            status, epochs, value = f"diverged at step {int(rng.integers(5, 90))}: loss is nan", 0.3, float("nan")
        elif k % 8:
            status, epochs, value = "dropped at epoch 1", 1.0, score - 0.012
        plan = "MLP 256-256, " + ("SAM" if strengths["sam.rho"] else "one pass")
        rows.append({"trial": k, "score": value, "status": status, "epochs": epochs, "plan": plan, "strengths": strengths, "learning_rate": rate})
    return rows


def summary(n_trials: int = 64) -> dict[str, Any]:
    """A made-up summary with every key."""
    table = trials(n_trials)
    finished = [r for r in table if r["status"] == "finished"] or table
    winner = max(finished, key=lambda r: -1.0 if math.isnan(r["score"]) else r["score"])

    def score(value: float, half: float) -> dict[str, float]:
        return {"value": value, "low": value - half, "high": value + half}

    def four(accuracy: float, balanced: float, loss: float, auc: float) -> dict[str, Any]:
        return {"accuracy": score(accuracy, 0.007), "balanced_accuracy": score(balanced, 0.01), "log_loss": score(loss, 0.011), "auc": score(auc, 0.006)}

    def difference(value: float, half: float, answer: str) -> dict[str, Any]:
        return {**score(value, half), "answer": answer}

    names = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race", "sex"]
    names += ["capital-gain", "capital-loss", "hours-per-week", "native-country", *[f"extra {k}" for k in range(9)]]
    columns = [
        {
            "name": name,
            "kind": "number" if k % 3 else "category",
            "missing": 2799 if name in ("workclass", "occupation") else 0,
            "unique": 74 + 31 * k,
            "notes": ["mostly zero", "log-scaled"] if name.startswith("capital") else "",
        }
        for k, name in enumerate(names)
    ]
    return {
        "temperance": "0.2.0",
        "created": "2026-11-20T06:00:00Z",
        "title": "income in adult.csv",
        "target": "income",
        "task": "classification",
        "seed": 0,
        "data": {
            "source": "adult.csv",
            "rows": 48842,
            "columns": columns,
            "classes": ["<=50K", ">50K"],
            "class_counts": {"<=50K": 37155, ">50K": 11687},
            "split": {"kind": "hold-out", "train": 30074, "validation": 9000, "test": 9768, "folds": None, "reason": "enough rows for a hold-out of 9,000"},
            "unlabeled": 0,
            "notes": ["fnlwgt was kept as a column; name it with --weight to use it as a row weight"],
        },
        "metric": {"name": "accuracy", "greater_is_better": True, "unit": ""},
        "scores": {"test": four(0.866, 0.789, 0.291, 0.921), "n_test": 9768, "interval": "95 % bootstrap over test rows", "validation": {"accuracy": 0.8634}},
        "rivals": [
            {"name": "majority class", "test": four(0.7607, 0.5, 0.5505, 0.5), "seconds": 0.01, "difference": difference(0.1053, 0.008, "better")},
            {"name": "linear model", "test": four(0.8514, 0.764, 0.3182, 0.906), "seconds": 1.2, "difference": difference(0.0146, 0.005, "better")},
            {
                "name": "HistGradientBoosting (default)",
                "test": four(0.8731, 0.798, 0.2781, 0.9282),
                "seconds": 1.9,
                "difference": difference(-0.0071, 0.0042, "worse"),
            },
        ],
        "verdicts": {
            "metric": "accuracy",
            "cocktail": {**difference(0.0158, 0.0051, "yes"), "with": 0.8635, "without": 0.8477, "n": 9768},
            "overfitting": {**difference(0.0155, 0.012, "yes"), "train": 0.879, "n_train": 2000, "held": 0.8635, "rows": "test", "n": 9768, "without": 0.1033},
        },
        "cocktail": {
            "repr": "Cocktail(L2(lam=2.3e-5), Dropout(rate=0.21), MixUp(alpha=0.2), MaxNorm(c=3.1), LabelSmoothing(eps=0.04))",
            "sentences": [
                "mixes pairs of rows gently, silences a fifth of the hidden units, and holds weights small",
                "no adversarial pass survived the first rung",
            ],
            "rows": [
                {"regularizer": name, "strength": strength, "value": value, "off": off, "low": low, "high": high, "log": log, "meaning": meaning}
                for (name, strength, low, high, log, off, meaning), value in zip(STRENGTHS, (2.3e-5, 0.21, 0.2, 3.1, 0.04, 0.0, 0.0), strict=True)
            ],
            "network": "MLP 256-256 with BatchNorm, embeddings for 3 columns",
            "optimizer": "AdamW(lr=2.1e-3), cosine",
            "parameters": 123456,
        },
        "gap": {
            "with": {"train": 0.879, "validation": 0.8634, "test": 0.8635},
            "without": {"train": 0.951, "validation": 0.849, "test": 0.8477},
            "metric": "accuracy",
            "n_train_clean": 2000,
            "n_test": 9768,
            "note": "the same network, seed and steps with every strength off",
        },
        "ensemble": {
            "kind": "greedy",
            "networks": 4,
            "configurations": 3,
            "trained": "same_epochs",
            "selection": {"pool": 64, "rows": 9000, "picks": 4, "configurations": 3, "better": True},
            "members": [
                {"trial": 17, "winner": True, "plan": "MLP 256-256", "networks": 2, "weight": 0.5, "regularizers": ["L2", "Dropout"], "learning_rate": 2e-3},
                {"trial": 3, "winner": False, "plan": "MLP 256-256", "networks": 1, "weight": 0.25, "regularizers": ["MixUp"], "learning_rate": 4e-3},
                {"trial": 40, "winner": False, "plan": "MLP 64", "networks": 1, "weight": 0.25, "regularizers": [], "learning_rate": 1e-3},
            ],
            "score": {
                "validation": {"single": 0.8634, "average": 0.8661, "gain": 0.0027, "low": 0.0012, "high": 0.0041},
                "test": {"single": 0.8641, "average": 0.866, "gain": 0.0019, "networks": 2},
            },
            "error": {
                "name": "Brier score",
                "v": 0.2,
                "c": 0.18,
                "networks": 3,
                "members": 4,
                "predicted": 0.185,
                "weighted": 0.1862,
                "larger": {"8": 0.1825, "16": 0.18125},
                "validation": {"single": 0.1975, "average": 0.1871, "noise": 0.0012, "seen": 0.1862},
                "test": {"single": 0.1961, "average": 0.1843, "path": [0.1961, 0.1893, 0.1856, 0.1843], "v": 0.1972, "c": 0.18},
            },
        },
        "stopping": {
            "rule": "EarlyStopping(patience='20 evals')",
            "best_step": 1200,
            "best_epoch": 10.2,
            "last_step": 1800,
            "why": "patience",
            "retrain": "same_epochs",
        },
        "search": {
            "trials": n_trials,
            "static_plans": ["MLP 256-256, one pass", "MLP 256-256, SAM"],
            "rungs": [{"epoch": 1, "members": n_trials}, {"epoch": 20, "members": max(n_trials // 8, 1)}],
            "budget": "2m",
            "seconds": 90.4,
            "metric": "accuracy",
            "table": table,
        },
        "timing": {"total": 118.2, "search": 90.4, "refit": 20.1, "report": 1.2},
        "model": {"folder": "model/", "format": "safetensors and JSON", "bytes": 494213},
        "warnings": ["Column native-country has 41 values; 3 of them appear once"],
        "replay": f"temperance replay runs/adult --trial {winner['trial']}",
        "predict": "temperance predict runs/adult new.csv",
    }


def history(facts: dict[str, Any] | None = None) -> pandas.DataFrame:
    """Made-up curves for the winner, for the same network without a cocktail, and for every trial of the search."""
    rng = numpy.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    for run, over, ceiling in (("winner", 0.06, 0.864), ("without", 0.55, 0.858)):
        for step in range(20, 1801, 20):
            t = step / 1800
            train = 0.29 + 0.4 * math.exp(-9 * t) - over * 0.25 * t
            noise = float(rng.normal(0, 0.0015))
            row = {"run": run, "trial": 17 if run == "winner" else -1, "step": step, "epoch": step / 117.5, "learning_rate": 2e-3 * (1 - t)}
            row |= {"loss_running": train + 0.04, "train_loss": train, "validation_loss": 0.305 + 0.38 * math.exp(-8 * t) + over * 0.4 * t**1.5 + noise}
            row |= {"train_score": 0.868 - 0.1 * math.exp(-8 * t) + over * 0.15 * t}
            row |= {"validation_score": ceiling - 0.1 * math.exp(-8 * t) - over * 0.03 * t + noise}
            if run == "winner":
                row |= {"penalty_l2": 0.002 + 0.012 * t, "penalty_activation_sparsity": 0.0009 * (1 - math.exp(-4 * t)) + 1e-5}
            rows.append(row)
    for trial in (facts or summary())["search"]["table"]:
        epochs = trial["epochs"]
        for k in range(1, max(int(epochs), 1) + 1):
            good = 0.85 if math.isnan(trial["score"]) else trial["score"]
            value = good - 0.05 * math.exp(-k / 2) + float(rng.normal(0, 0.001))
            row = {"run": "search", "trial": trial["trial"], "step": 117 * k, "epoch": float(k), "validation_score": value, "validation_loss": 1.2 - value}
            rows.append(row)
    return pandas.DataFrame(rows)
