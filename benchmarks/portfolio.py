"""Which few cocktails together suit most tables? Makes `src/temperance/search/known_tables.json`, where searches over tables begin.

Data: the tables of the folder on which no benchmark of peers is run, so that none of them is ever scored by what it has chosen. The fifth of the rows that
table benchmarks test on (seed 11) is left out, at most 6,000 of the rest are kept; they are split 60/20/20 by seed 5. Every plan that a search would try
on the table trains the same candidates, drawn once, to the same number of steps; a candidate's figure is its log-loss (RMSE) on the last fifth, at
the check that the second fifth chooses.

Choice: greedily the candidate with which the best three of the portfolio lose least against the best candidate, on average over tables and plans; a loss
counts as a share of the best figure, a quarter at most. Proof: for each table the portfolio is chosen from the other tables, and its regret there is set
beside that of as many candidates drawn at random (mean of 500 draws).

    python -m benchmarks.portfolio --data FOLDER --rows FILE.csv [--sets ..] [--choose]
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmarks.known import short
from benchmarks.search import ROOT
from sklearn.model_selection import train_test_split

from temperance.core.cocktail import Cocktail
from temperance.job.prepare import prepare
from temperance.search.plans import default_regularizers, tabular_plans
from temperance.search.score import predict
from temperance.search.space import Config, StaticPlan, one_average
from temperance.train.metrics import metric_for
from temperance.train.population import Population

TABLES = "Australian,anneal,auto-mpg,blood-transfusion,car,cpu_act,diamonds,skin-segmentation,walking-activity,wine-quality"
NUMBERS = ("auto-mpg", "cpu_act", "diamonds")
CANDIDATES, STEPS, CHECKS, MOST_ROWS = 40, 1000, 25, 6000
ON = {"label_smoothing": 0.25, "mixup": 0.35, "cutmix": 0.3, "input_noise": 0.35, "dropout": 0.6, "weight_decay": 0.85, "ema": 0.85}
OFTEN = {"dropout.input_rate": 0.15}
RATES = (0.35, 1.6)  # times the plan's own learning rate
PORTFOLIO, AVERAGED, WORST = 8, 3, 0.25
OUT = ROOT / "src" / "temperance" / "search" / "known_tables.json"


def candidates(cocktail: Cocktail) -> list[dict[str, Any]]:
    """The candidates, the same for every table: a mild one, the plain network, and draws."""
    generator, specs = np.random.default_rng(1), cocktail.specs()
    off = {name: spec.off for name, spec in specs.items()}
    mild = {**off, "weight_decay.lam": 0.1, "dropout.rate": 0.1}
    out: list[dict[str, Any]] = [{"rate": 1.0, "length": 1.0, "strengths": mild}, {"rate": 1.0, "length": 1.0, "strengths": off}]
    while len(out) < CANDIDATES:
        strengths = dict(off)
        for name, spec in specs.items():
            on, u = generator.random() < OFTEN.get(name, ON[name.partition(".")[0]]), generator.random()
            low = max(spec.low, 0.02) if name == "weight_decay.lam" else spec.low
            inside = low * (spec.high / low) ** u if spec.log else low + u * (spec.high - low)
            if on:
                strengths[name] = float(1.0 - 0.15 * 0.02**u if name == "ema.decay" else inside)  # from 0.85 to 0.997, evenly in log(1 - decay)
        rate = float(RATES[0] * (RATES[1] / RATES[0]) ** generator.random())
        out.append({"rate": rate, "length": float(generator.choice([0.3, 0.6, 1.0])), "strengths": strengths})
    return out


def figures(data: Path, name: str) -> list[dict[str, Any]]:
    """Every candidate's figure on one table, for every plan."""
    frame = pd.read_parquet(data / f"{name}.parquet")
    classes = name not in NUMBERS
    strata = frame["target"].astype(str) if classes else None
    known, _ = train_test_split(np.arange(len(frame)), test_size=0.2, random_state=11, stratify=strata)
    if len(known) > MOST_ROWS:
        known, _ = train_test_split(known, train_size=MOST_ROWS, random_state=5, stratify=None if strata is None else strata.iloc[known])
    train, test = train_test_split(known, test_size=0.2, random_state=5, stratify=None if strata is None else strata.iloc[known])
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / part for part in ("train.parquet", "test.parquet")]
        for place, rows in zip(places, (train, test), strict=True):
            frame.iloc[rows].reset_index(drop=True).to_parquet(place)
        task = "classification" if classes else "regression"
        options: dict[str, Any] = {"ignore": (), "use": (), "without": (), "keep": (), "weight": None, "na": None, "dates": None}
        ready = prepare(places[0], "target", test=places[1], metric=None, model=None, task=task, seed=5, budget=60, **options)
    (first, second), held = ready.split.folds[0], ready.data.take(torch.as_tensor(ready.split.test))
    out: list[dict[str, Any]] = []
    for plan in tabular_plans(ready.data, first.tolist()):
        rows, validation = (ready.data.take(torch.as_tensor(part)) for part in (first, second))
        out += [{"set": name, "plan": plan.name, "candidate": i, "figure": f} for i, f in enumerate(_scored(plan, rows, validation, held))]
    return out


def _scored(plan: StaticPlan, rows: Any, validation: Any, held: Any) -> list[float]:
    """The figure of every candidate: NaN where it diverged."""
    metric = metric_for("log_loss" if rows.task == "classification" else "rmse", rows.task)
    made = candidates(tabular_cocktail())
    specs = plan.cocktail.specs()
    members: list[Any] = []
    for i, one in enumerate(made):
        strengths = one_average(plan.cocktail, {name: one["strengths"][name] for name in specs})
        config = Config(i, plan, strengths, one["rate"] * plan.optimizer.hypers()["lr"], 100 * i + 7, one["length"])
        members.append(config.member(initial=plan.initial(config.seed)))
    every = max(1, STEPS // CHECKS)
    population = Population(
        plan.build(7), members, rows, validation, metric=metric, batch_size=plan.batch_size, total_steps=STEPS, check_every=every, compile=False
    )
    found: list[float] = []
    for i, outcome in enumerate(population.run()):
        if not outcome.usable:
            found.append(math.nan)
            continue
        predictions = predict(population.model(i), population.scored_by, held.x)
        found.append(float(metric(predictions[None], held.y[None], torch.ones(1, len(held.y)))[0]))
    return found


def tabular_cocktail() -> Cocktail:
    """The regularizers that a search over a table with classes tries."""
    return Cocktail(*default_regularizers("classification"))


def regrets(table: pd.DataFrame) -> pd.DataFrame:
    """``(set, plan)`` times candidates: what each loses against the best, as a share of the best figure, :data:`WORST` at most."""
    wide = table.set_index(["set", "plan", "candidate"])["figure"].unstack("candidate")
    best = wide.min(axis=1)
    return (wide.sub(best, axis=0).div(best.abs().clip(lower=0.01), axis=0)).fillna(WORST).clip(upper=WORST)


def best_few(lost: pd.DataFrame) -> pd.Series:
    """The mean of each row's :data:`AVERAGED` smallest regrets: what ships is an average."""
    return pd.Series(np.sort(lost.to_numpy(), axis=1)[:, :AVERAGED].mean(axis=1), lost.index)


def chosen(table: pd.DataFrame, count: int) -> list[int]:
    """The portfolio, in the order in which it is picked; every set counts the same."""
    lost = regrets(table)
    names = lost.index.get_level_values("set")
    weight = pd.Series([1.0 / sum(names == name) for name in names], lost.index)
    picked: list[int] = []
    for _ in range(count):
        rest = [int(c) for c in lost.columns if c not in picked]
        picked.append(min(rest, key=lambda c: (float((best_few(lost[[*picked, c]]) * weight).sum()), c)))
    return picked


def proof(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """For each set the regret of a portfolio chosen without it, and of random ones of the same size."""
    generator, lost = np.random.default_rng(0), regrets(table)
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(table["set"]):
        own = lost.loc[[name]]
        mine = chosen(table[table["set"] != name], count)
        drawn = [best_few(own[list(generator.choice(own.columns, count, replace=False))]).mean() for _ in range(500)]
        rows.append({"set": name, "portfolio": best_few(own[mine]).mean(), "random": float(np.mean(drawn))})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with <set>.parquet, target in the column `target`")
    parser.add_argument("--rows", type=Path, required=True, help="CSV file of figures, extended by the sets that are missing")
    parser.add_argument("--sets", default=TABLES)
    parser.add_argument("--choose", action="store_true", help="choose from the figures there are, and write the portfolio")
    args = parser.parse_args()
    table = pd.read_csv(args.rows) if args.rows.exists() else pd.DataFrame(columns=["set", "plan", "candidate", "figure"])
    for name in () if args.choose else args.sets.split(","):
        if name not in set(table["set"]):
            table = pd.concat([table, pd.DataFrame(figures(args.data, name))], ignore_index=True)
            table.to_csv(args.rows, index=False)
            print(f"{name}: {len(table):,} figures so far", flush=True)
    if args.choose:
        made, picked = candidates(tabular_cocktail()), chosen(table, PORTFOLIO)
        entries = [_entry(made[c]) for c in picked]
        OUT.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n", encoding="utf-8")
        shown = proof(table, PORTFOLIO)
        print(shown.round(4).to_string(index=False))
        print(shown.drop(columns="set").mean().round(4).to_string())


def _entry(one: dict[str, Any]) -> dict[str, Any]:
    return {"rate": short(one["rate"]), "length": one["length"], "strengths": {k: short(v) for k, v in one["strengths"].items() if v}}


if __name__ == "__main__":
    main()
