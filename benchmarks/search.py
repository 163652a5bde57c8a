"""Claim: in the same seconds and space, temperance has TPE's final validation score in a fifth of TPE's time, and never does worse than keep-the-best-k.

The fifth is a median over runs; "worse" is a paired test at 30, 60, 120 and 180 s against one epoch, then keeping the best k.

Data: adult, jungle-chess, phoneme, vehicle, credit-g; split 60/20/20 by seed 0-2 (stratified), at most 10,000 training and 3,333 validation rows, all test
rows; encoded once for all arms (standardized numbers with the mean where one is missing, one-hot categories, float32). n = 15 a comparison.
Network: MLP 128-128 with ReLU; batch 128; AdamW, learning rate in [3e-4, 3e-2], flat-cosine schedule; epochs by the package's own rule; accuracy. Space: label
smoothing, MixUp, input noise, dropout (hidden, input), weight decay, EMA, L2, L1, each with a switch and in the range that it declares. The first two
configurations of every arm are the same: mild decay and dropout, and everything off.
Arms: tpe and random (`rivals.py`: two one-thread processes, one network at a time, every epoch counts at once); keep, rungs: strategies of
`tp.search` (keep: one epoch, then the best k). A run makes two rows: the best network alone, whose test score is that of the network which gave the
validation score, and with `+average` what ships where several networks may (`averages.py`), read every three seconds: the package's own selection
among the networks in their best states until then, for a rival too. A reading counts when its selection is done; the rival's predictions are free.
The package's last reading is what the search returned.
Clocks: wall-clock for the package, all cores; each worker's CPU seconds plus its
waits for the study for the rivals, so that time lost to other work hurts only the package; shared caches still cost a rival up to a quarter, so run it on
an idle machine (the load before each run is in its row). Imports count for nobody, scoring test rows neither. Hardware and versions are in every row; a
losing row is printed like a winning one.

    python -m benchmarks.search --data FOLDER [--arms tpe,random,keep] [--sets adult] [--seeds 0,1,2] [--seconds 180] [--redo ARM]
    python -m benchmarks.search --report [--ours rungs]            search.md and search.svg from the rows
    python -m benchmarks.search --data FOLDER --check [--sets ..]  one configuration trained by the rivals' loop and by tp.fit
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from sklearn.model_selection import train_test_split

ENVIRONMENT = dict(os.environ)  # as it was before the package asked MKL for steady products, which the rivals do not need

import temperance as tp  # noqa: E402
from benchmarks import averages, curves, rivals  # noqa: E402
from temperance.core.criterion import criterion_for  # noqa: E402
from temperance.search.ending import CHOOSING, ENDED, SCORING  # noqa: E402
from temperance.search.plans import LIKELY, default_epochs, default_regularizers  # noqa: E402
from temperance.search.pool import predict_states  # noqa: E402
from temperance.search.space import chosen_regularizers  # noqa: E402
from temperance.search.strategy import DEFAULT_STRATEGY, STRATEGIES  # noqa: E402

SETS = ("adult", "jungle-chess", "phoneme", "vehicle", "credit-g")
ARMS = (*curves.RIVALS, *STRATEGIES)
MOST_TRAIN, MOST_VALIDATION = 10_000, 3_333
HIDDEN, BATCH, RATES = (128, 128), 128, (3e-4, 3e-2)
USE, WITHOUT, FIRST_RATE = ("L2", "L1"), ("CutMix",), 1e-3
WORKERS = 2
SOFTMAX = criterion_for("classification")
PARTS = ("train", "validation", "test")
ROOT, RESULTS = Path(__file__).parents[1], Path(__file__).parent / "results"


def encoded(path: Path, seed: int) -> dict[str, np.ndarray]:
    """``x_train (n, features)``, ``y_train (n,)`` and so on: everything learned from the training rows alone."""
    frame = pd.read_parquet(path)
    y = frame["target"].astype("category").cat.codes.to_numpy(np.int64)
    rest, test = train_test_split(np.arange(len(frame)), test_size=0.2, random_state=seed, stratify=y)
    train, validation = train_test_split(rest, test_size=0.25, random_state=seed, stratify=y[rest])
    draw = np.random.default_rng(seed)
    train, validation = (np.sort(draw.permutation(rows)[:most]) for rows, most in ((train, MOST_TRAIN), (validation, MOST_VALIDATION)))
    inputs = frame.drop(columns="target")
    numbers = inputs.select_dtypes("number").astype("float64")
    mean, spread = numbers.iloc[train].mean(), numbers.iloc[train].std(ddof=0).replace(0.0, 1.0)
    words = inputs.drop(columns=numbers.columns)
    x = pd.get_dummies(pd.concat([((numbers - mean) / spread).fillna(0.0), words], axis=1), columns=list(words), dtype="float64").to_numpy(np.float32)
    rows = dict(zip(PARTS, (train, validation, np.sort(test)), strict=True))
    return {f"{kind}_{part}": values[rows[part]] for kind, values in (("x", x), ("y", y)) for part in PARTS}


def space() -> rivals.Space:
    """The ranges that the regularizers declare, as plain numbers."""
    cocktail = tp.Cocktail(*chosen_regularizers(default_regularizers("classification"), USE, WITHOUT))
    return rivals.Space({name: {"low": s.low, "high": s.high, "log": s.log, "off": s.off} for name, s in cocktail.specs().items()}, RATES)


def epochs_of(rows: Mapping[str, np.ndarray]) -> float:
    return default_epochs(len(rows["x_train"]), BATCH)


def dataset(rows: Mapping[str, np.ndarray]) -> tuple[tp.data.Dataset, Any]:
    """All rows as one data set, and the split that gives every part its own."""
    from temperance.data.splits import Split

    classes = tuple(range(int(max(rows[f"y_{part}"].max() for part in PARTS)) + 1))
    data = tp.data.as_dataset(np.concatenate([rows[f"x_{p}"] for p in PARTS]), np.concatenate([rows[f"y_{p}"] for p in PARTS]), classes=classes)
    ends = np.cumsum([len(rows[f"y_{part}"]) for part in PARTS])
    train, validation, test = np.arange(ends[0]), np.arange(ends[0], ends[1]), np.arange(ends[1], ends[2])
    return data, Split(train, validation, [(train, validation)], test, "hold-out", "60/20/20 for every arm.")


def build(data: tp.data.Dataset) -> torch.nn.Module:
    return tp.nets.MLP(data.in_features, data.out_features, hidden=HIDDEN)


def ours(job: Mapping[str, Any]) -> dict[str, Any]:
    """One run of the package's search; states are put aside as they come and scored on the test rows when it is over."""
    torch.set_num_threads(os.cpu_count() or 1)
    rows = dict(np.load(job["data"]))
    data, split = dataset(rows)
    found: list[tuple[float, float, Any]] = []
    pools: list[tuple[float, list[Any]]] = []

    def note(state: Mapping[str, Any]) -> None:
        top, now = state["best_trial"], time.perf_counter() - began
        if top is not None and (not found or top.score > found[-1][1]):
            found.append((now, top.score, (top.population, top.indices[0], dict(top.population.outcomes[top.indices[0]].state))))
        if now >= averages.EVERY * (len(pools) + 1) and state["phase"] not in (ENDED, CHOOSING, SCORING):
            usable = [(t.score, t.outcomes[0].state) for t in state["each"] if t.score == t.score and t.outcomes[0].state is not None]
            pools.append((now, [usable[i][1] for i in averages.best_first([score for score, _ in usable])]))

    began, cpu = time.perf_counter(), time.process_time()
    result = tp.search(
        build,
        data,
        budget=job["seconds"],
        metric="accuracy",
        seed=job["seed"],
        use=USE,
        without=WITHOUT,
        split=split,
        batch_size=BATCH,
        epochs=job["epochs"],
        lr=RATES,
        retrain=None,
        strategy=job["arm"],
        ensemble=averages.MOST_PICKS,
        on_progress=note,
    )
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    test = rivals.Part(torch.from_numpy(rows["x_test"]), torch.from_numpy(rows["y_test"]))
    curve: list[list[float]] = []
    for seconds, score, (population, index, state) in found:
        with torch.no_grad():
            curve.append([seconds, score, test.accuracy(population.model(index, state)(test.x))])
    parts = [(torch.from_numpy(rows[f"x_{p}"]), torch.from_numpy(rows[f"y_{p}"])) for p in PARTS[1:]]
    network, shipped = build(data), list[list[float]]()
    for seconds, states in pools:
        if not states:
            continue
        started = time.perf_counter()
        chosen = averages.shipped(predict_states(network, states, SOFTMAX, parts[0][0]), parts[0][1], job["seed"])
        needed = time.perf_counter() - started
        untouched = predict_states(network, [states[i] for i in chosen.picks], SOFTMAX, parts[1][0]).mean(0)
        shipped.append([seconds + needed, chosen.validation, averages.accuracy(untouched, parts[1][1]), chosen.honest, len(set(chosen.picks))])
    with torch.no_grad():
        last = [averages.accuracy(result.model.eval()(x), y) for x, y in parts]
    told = result.ensemble
    honest = told["score"]["validation"]["average" if told["kind"] == "greedy" else "single"] if "validation" in told["score"] else last[0]
    shipped.append([wall, *last, honest, told["configurations"]])
    steps = sum(outcome.steps for trial in result.trials for outcome in trial.outcomes)
    return {"curve": curve, "shipped": shipped, "trials": len(result.trials), "steps": steps, "wall": wall, "cpu": cpu, "waited": 0.0}


def theirs(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Both workers of a rival, started together; their curves as one."""
    if job["arm"] == "tpe":
        job["study"] = str(folder / "study.log")
        rivals.shared_study(job["study"], 0, job["first"])
    # Large blocks of memory are kept, not handed back to the system: what the package asks of glibc for itself.
    fast = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 31)}
    started: list[tuple[subprocess.Popen[str], Path]] = []
    for i in range(WORKERS):
        mine, out = folder / f"job{i}.json", folder / f"out{i}.json"
        own = {"sampler_seed": 1000 * job["seed"] + i, "first": job["first"][i : i + 1], "out": str(out), "kept": str(folder / f"kept{i}.npz")}
        mine.write_text(json.dumps({**job, **own}))
        command = [sys.executable, "-m", "benchmarks.rivals", str(mine)]
        started.append((subprocess.Popen(command, cwd=ROOT, env={**ENVIRONMENT, **fast}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True), out))
    try:
        for process, _ in started:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("A worker ended before it began; its message is above.")
        for process, _ in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.wait() for process, _ in started]
        if any(ended):
            raise RuntimeError("A worker ended before its time; its message is above.")
    finally:
        for process, _ in started:
            process.kill()
    parts = [json.loads(out.read_text()) for _, out in started]
    kept_by = [dict(np.load(folder / f"kept{i}.npz")) for i in range(WORKERS)]
    whole = {"curve": curves.merged(part["curve"] for part in parts), "shipped": averaged(kept_by, dict(np.load(job["data"])), job["seconds"], job["seed"])}
    whole["wall"] = max(part["wall"] for part in parts)
    return {**whole, **{key: sum(part[key] for part in parts) for key in ("trials", "steps", "cpu", "waited")}}


def averaged(kept_by: Sequence[Mapping[str, np.ndarray]], rows: Mapping[str, np.ndarray], seconds: float, seed: int) -> list[list[float]]:
    """What a rival would ship if it averaged as the package does: at each time, its workers' networks in their best states until then."""
    y, out = [torch.from_numpy(rows[f"y_{part}"]) for part in PARTS[1:]], list[list[float]]()
    for now in averages.times(seconds):
        last = {(w, int(trial)): i for w, own in enumerate(kept_by) for i, trial in enumerate(own["trial"]) if own["seconds"][i] <= now}
        places = sorted(((w, i) for (w, _), i in last.items()), key=lambda place: kept_by[place[0]]["seconds"][place[1]])
        if not places:
            continue
        best = [places[i] for i in averages.best_first([float(kept_by[w]["score"][i]) for w, i in places])]
        validation, test = (torch.from_numpy(np.stack([kept_by[w][part][i] for w, i in best])) for part in PARTS[1:])
        started = time.perf_counter()
        chosen = averages.shipped(validation, y[0], seed)
        needed = time.perf_counter() - started
        out.append([now + needed, chosen.validation, averages.accuracy(test[chosen.picks].mean(0), y[1]), chosen.honest, len(set(chosen.picks))])
    return out


def run(arm: str, name: str, seed: int, seconds: float, data: Path) -> list[dict[str, Any]]:
    """Two rows of the results: the best network alone, and what ships where several may."""
    rows = encoded(data / f"{name}.parquet", seed)
    load = os.getloadavg()[0]
    memory = Path("/dev/shm")  # a study in memory: its workers need not wait for a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        folder = Path(place)
        np.savez(folder / "data.npz", allow_pickle=False, **rows)
        classes, searched = int(max(rows[f"y_{p}"].max() for p in PARTS)) + 1, space()
        first = [searched.params({k: v for k, v in LIKELY.items() if k in searched.strengths}, FIRST_RATE), searched.params({}, FIRST_RATE)]
        job: dict[str, Any] = {
            "arm": arm,
            "data": str(folder / "data.npz"),
            "classes": classes,
            "seed": seed,
            "seconds": seconds,
            "epochs": epochs_of(rows),
            "hidden": HIDDEN,
            "batch": BATCH,
            "lr": RATES,
            "strengths": searched.strengths,
            "first": first,
        }
        if arm in curves.RIVALS:
            got = theirs(job, folder)
        else:
            (folder / "job.json").write_text(json.dumps({**job, "out": str(folder / "out.json")}))
            environment = {k: v for k, v in ENVIRONMENT.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
            subprocess.run([sys.executable, "-m", "benchmarks.search", "--job", str(folder / "job.json")], cwd=ROOT, env=environment, check=True)
            got = json.loads((folder / "out.json").read_text())
    most = int(np.bincount(rows["y_train"]).argmax())
    row: dict[str, Any] = {
        "set": name,
        "seed": seed,
        "arm": arm,
        "seconds": seconds,
        "epochs": job["epochs"],
        "rows": {part: len(rows[f"y_{part}"]) for part in PARTS},
        "features": rows["x_train"].shape[1],
        "classes": classes,
        "constant": {part: float((rows[f"y_{part}"] == most).mean()) for part in PARTS[1:]},
        **{key: round(got[key], 2) for key in ("trials", "steps", "wall", "cpu", "waited")},
    }
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "load": round(load, 2), "python": platform.python_version(), "torch": torch.__version__}
    row |= {"date": time.strftime("%Y-%m-%d"), **machine, "optuna": optuna.__version__, "temperance": tp.__version__}
    out: list[dict[str, Any]] = []
    for who, curve in ((arm, got["curve"]), (arm + curves.AVERAGED, got["shipped"])):
        one = {**row, "arm": who, "curve": [[round(when, 3), *(round(number, 6) for number in numbers)] for when, *numbers in curve]}
        out.append({**one, "final": dict(zip(PARTS[1:], curves.at(one, seconds), strict=True))})
    return out


def check(data: Path, sets: Sequence[str], seeds: Sequence[int]) -> None:
    """Best validation scores of the rivals' loop and of tp.fit, with the same configurations, rows and seeds."""
    everything = {
        "label_smoothing.epsilon": 0.05,
        "mixup.alpha": 0.2,
        "input_noise.sigma": 0.05,
        "dropout.rate": 0.1,
        "dropout.input_rate": 0.05,
        "weight_decay.lam": 0.05,
        "ema.decay": 0.98,
        "l2.lam": 1e-5,
        "l1.lam": 1e-5,
    }
    cocktail = tp.Cocktail(*chosen_regularizers(default_regularizers("classification"), USE, WITHOUT)).off()
    optimizer = tp.optim.AdamW(tp.schedules.FlatCosine(3e-3, flat=rivals.FLAT, warmup=rivals.WARMUP))
    torch.set_num_threads(1)
    for name in sets:
        rows = encoded(data / f"{name}.parquet", 0)
        train, validation = (rivals.Part(torch.from_numpy(rows[f"x_{p}"]), torch.from_numpy(rows[f"y_{p}"])) for p in PARTS[:2])
        both, split = dataset(rows)
        held, epochs = both.take(split.validation), epochs_of(rows)
        initial = {s: tp.nets.build_seeded(lambda: build(both), s).state_dict() for s in seeds}  # noqa: B023 -- called at once
        for label, strengths in (("nothing on", {}), ("all nine on", everything)):
            settings: dict[str, Any] = {"hidden": HIDDEN, "batch": BATCH, "epochs": epochs}
            alone = [max(c.score for c in rivals.train(train, validation, both.out_features, strengths, 3e-3, seed=s, **settings)) for s in seeds]
            members = [tp.Member(cocktail.with_strengths(strengths), optimizer, s, initial=initial[s]) for s in seeds]
            patience = tp.EarlyStopping(patience=f"{max(10, round(0.7 * epochs))} evals")
            steps = max(1, round(epochs * len(split.train) / BATCH))
            done = tp.fit(build(both), members, both.take(split.train), validation=held, steps=steps, batch_size=BATCH, early_stopping=patience)
            together = [outcome.score for outcome in done.outcomes]
            words = "  ".join(f"{who} {100 * statistics.mean(v):.2f} ± {100 * statistics.stdev(v):.2f}" for who, v in (("loop", alone), ("tp.fit", together)))
            print(f"{name:14s} {label:12s} best validation accuracy, mean ± sd over {len(seeds)} seeds: {words}", flush=True)


def kept(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["set"], row["seed"], row["arm"], row["seconds"]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The whole file anew and in one go, so that an interruption leaves the rows as they were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".part").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path.with_suffix(".part").replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with <set>.parquet, target in the column `target`")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--redo", default="", help="arms to run again although their rows exist")
    parser.add_argument("--out", type=Path, default=RESULTS / "search.jsonl")
    parser.add_argument("--report", action="store_true", help="print and write the report and the picture; runs nothing")
    parser.add_argument("--check", action="store_true", help="train one configuration by the rivals' loop and by tp.fit; runs no search")
    parser.add_argument("--ours", default=DEFAULT_STRATEGY + curves.AVERAGED, help="the arm compared with every other (default: what ships)")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    rivals.quiet()
    if args.job is not None:
        job = json.loads(args.job.read_text())
        Path(job["out"]).write_text(json.dumps(ours(job)))
        return
    rows, sets, seeds = kept(args.out), args.sets.split(","), [int(seed) for seed in args.seeds.split(",")]
    arms = args.arms.split(",")
    redo = [arm for arm in args.redo.split(",") if arm]
    strange = sorted({*arms, *redo} - set(ARMS))
    if strange:
        parser.error(f"Expected arms among {', '.join(ARMS)}, got {strange[0]!r}.")
    if not args.report:
        if args.data is None:
            parser.error("Expected --data FOLDER with the Parquet files of the data sets.")
        if args.check and len(seeds) < 2:
            parser.error("Expected --seeds with two seeds or more for --check, whose answer is a mean and a spread.")
        if args.check:
            return check(args.data, sets, seeds)
        done = {key_of(row) for row in rows if row["arm"] not in redo}
        wanted = [key for seed in seeds for name in sets for arm in arms if (key := (name, seed, arm, args.seconds)) not in done]
        for i, (name, seed, arm, seconds) in enumerate(wanted):
            print(f"run {i + 1} of {len(wanted)}, about {(len(wanted) - i) * (seconds + 8) / 60:.0f} min left: {arm} on {name}, seed {seed} ...", flush=True)
            made = run(arm, name, seed, seconds, args.data)
            rows = [other for other in kept(args.out) if key_of(other) not in map(key_of, made)] + made
            write(args.out, rows)
            for row in made:
                final = row["final"]
                numbers = f"validation {final['validation']:.4f}  test {final['test']:.4f}"
                print(f"    {curves.label(row['arm'])}: {numbers}  {row['trials']} networks  {row['wall']:.0f} s", flush=True)
        return
    if not any(row["seconds"] == args.seconds for row in rows):
        parser.error(f"Expected rows of {args.seconds:g} s in {args.out.name}, found none. Run the benchmark first, or give --seconds.")
    text = curves.report(rows, args.seconds, args.ours)
    args.out.with_suffix(".md").write_text(text, encoding="utf-8")
    args.out.with_suffix(".svg").write_text(curves.picture(rows, args.seconds, args.ours), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
