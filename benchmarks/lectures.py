"""Claim: the numbers that the lectures on regularization name are reached, each by the means that it was published for.

Data: MNIST, Fashion-MNIST and scikit-learn's digits, pixels from 0 to 1; seeds 0-2 for weights, batches and masks, and for which rows train or keep
their label, where some do. A network is judged at its last epoch on the 10,000 test rows, of digits on the rows that do not train. Nothing is chosen on
these: strengths, widths and epochs are written down in `lecture_rows.py`. Arms and seeds of a row train as one population. Where the whole takes hours of
two cores, a smaller work is run unless `--whole` is given; the table says so, and how long the whole would take by the time of a step on this machine.
Times are of the processor, of all threads together, so that a busy machine does not lengthen them.
Every finished arm and seed is kept in the CSV file and not run again; a row that misses its reach is printed like one that does not.

    python -m benchmarks.lectures --data FOLDER [--rows digits,nielsen] [--whole] [--seeds 0,1,2] [--out benchmarks/results/lectures.csv]
    python -m benchmarks.lectures --report
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from benchmarks.csv_lines import read, write
from benchmarks.lecture_rows import ROWS, Row, Work
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

import temperance as tp
from temperance.data import read_images
from temperance.data.dataset import Dataset

ROOT = Path(__file__).parent.parent
OUT, PAGE = ROOT / "benchmarks" / "results" / "lectures.csv", ROOT / "docs" / "numbers.md"
COLUMNS: tuple[str, ...] = ("row", "arm", "seed", "work", "error", "least", "rows", "epochs", "hidden", "seconds", "whole_hours", "cores", "torch", "date")
CHECKS = 20
SEEDS = 3  # from which a mean is taken without a word
LABELED = 0.15  # share of a minibatch that has labels, where most rows have none
LONG = 2000  # steps from which a compiled step repays its compilation, whatever the network
TIMED = 10  # steps that the time of the whole is told from


def images(folder: Path, name: str) -> tuple[Dataset, Dataset | None]:
    """Training and test images ``(n, 1, height, width)`` from 0 to 1; of digits all, and no test images."""
    if name == "digits":
        found: Any = load_digits()
        return dataset(found.images[:, None] / 16.0, found.target), None
    read = read_images(folder / name)
    assert read.labels is not None
    kept = len(read) - read.untouched
    return dataset(read.pixels[:kept] / 255.0, read.labels[:kept]), dataset(read.pixels[kept:] / 255.0, read.labels[kept:])


def dataset(x: np.ndarray, y: np.ndarray) -> Dataset:
    return tp.data.as_dataset(x.astype(np.float32), y.astype(np.int64))


def chosen(data: Dataset, rows: int, seed: int, test: bool) -> tuple[Any, Any]:
    """The rows that train, as many of each class as of all rows, and those that test where the data has no test rows of its own: all others, or a fifth."""
    if test and not rows:
        return None, None
    assert isinstance(data.y, torch.Tensor)
    train, held = train_test_split(np.arange(len(data)), train_size=rows or 0.8, random_state=seed, stratify=data.y.argmax(1).numpy())
    return np.sort(train), None if test else np.sort(held)


def measured(
    row: Row, work: Work, data: Dataset, test: Dataset | None, arms: Sequence[str], seeds: Sequence[int], steps: int | None = None
) -> list[dict[str, Any]]:
    """Train the arms with these seeds as one population; a dict an arm and seed. With ``steps`` only so many, to tell the time."""
    net = row.build(data.in_features, data.out_features, hidden=work.hidden, **row.network)
    members: list[tp.Member] = []
    for name in arms:
        for seed in seeds:
            train, held = chosen(data, work.rows, seed, test is not None)
            row.start(net, seed)
            start = {key: t.clone() for key, t in net.state_dict().items()}
            members.append(tp.Member(row.arms[name].cocktail, row.arms[name].optimizer, seed, start, rows=train, validation=held, name=f"{name}, seed {seed}"))
    n = len(data) if members[0].rows is None else len(members[0].rows)
    planned = max(1, round(work.epochs * n / min(row.batch, n)))
    total = steps or planned
    settings: dict[str, Any] = {"total_steps": total, "check_every": max(1, total // CHECKS), "batch_size": row.batch, "criterion": row.criterion}
    began = time.process_time()
    population = tp.Population(net, members, data, test, metric="accuracy", compile=True if total >= LONG else None, **settings)
    population.run()
    seconds = (time.process_time() - began) / len(members)
    out: list[dict[str, Any]] = []
    for i, outcome in enumerate(population.outcomes):
        errors = [100.0 * (1.0 - check["validation_score"]) for check in outcome.history]
        last = errors[-1]
        if row.attack:
            assert outcome.final is not None  # without it the model would be the best of the checks, which look at the test rows
            last = robust_error(population.model(i, outcome.final), test, row.attack, work.attacked)
        arm, seed = arms[i // len(seeds)], seeds[i % len(seeds)]
        out.append({"arm": arm, "seed": seed, "error": last, "least": min(errors), "rows": n, "seconds": seconds, "planned": planned})
    return out


def labeled(data: Dataset, labels: int, seed: int) -> Dataset:
    """The data with so many labels left, as many of each class as of all rows; these rows repeated until every minibatch has some of them."""
    known = torch.zeros(len(data), dtype=torch.bool)
    rows = torch.as_tensor(chosen(data, labels, seed, True)[0])
    known[rows] = True
    copies = round(LABELED * len(data) / (labels * (1 - LABELED)))
    return replace(data, labeled=known).take(torch.cat([torch.arange(len(data)), rows.repeat(copies)]))


def robust_error(network: torch.nn.Module, test: Dataset | None, eps: float, rows: int) -> float:
    """Per cent of the first test rows, so many, that PGD of 100 steps from 20 starts, FGSM or the margin attack break."""
    assert test is not None
    found = tp.robustness(network, test.take(torch.arange(min(rows, len(test)))), eps=eps, bounds=(0.0, 1.0), steps=100, restarts=20)
    return 100.0 * (1.0 - found.worst[0].value)


def whole_hours(row: Row, data: Dataset, test: Dataset | None, seeds: Sequence[int]) -> float:
    """What the whole work of all arms and seeds would take here, by the time of a few steps of one network each; checks and compiled steps are left out."""
    seconds = 0.0
    some = test if test is None else test.take(torch.arange(100))
    for arm in row.arms:
        few = labeled(data, row.labels, 0) if row.labels else data
        short, more = (measured(row, row.whole, few, some, [arm], [0], steps=steps)[0] for steps in (1, 1 + TIMED))
        seconds += max(more["seconds"] - short["seconds"], 0.0) / TIMED * more["planned"] * len(seeds)
    return seconds / 3600


def rival(data: Dataset, row: Row, seed: int) -> dict[str, Any]:
    """scikit-learn's support vector machine on the same rows, with the kernel that the published number has."""
    train, held = chosen(data, row.whole.rows, seed, False)
    assert isinstance(data.x, torch.Tensor) and isinstance(data.y, torch.Tensor)
    x, y = 16.0 * data.x.flatten(1).numpy(), data.y.argmax(1).numpy()
    began = time.process_time()
    machine: Any = SVC(C=10.0, gamma=cast(Any, 0.001))
    error = 100.0 * (1.0 - machine.fit(x[train], y[train]).score(x[held], y[held]))
    return {"arm": "RBF SVM", "seed": seed, "error": error, "least": error, "rows": len(x[train]), "seconds": time.process_time() - began}


def run(name: str, folder: Path, seeds: Sequence[int], whole: bool, out: Path) -> None:
    """What is still missing of a row."""
    row = ROWS[name]
    work = row.whole if whole else row.small
    kind = "whole" if work == row.whole else "smaller"
    have = {(r["arm"], int(r["seed"])) for r in read(out) if r["row"] == name and r["work"] == kind}
    data, test = images(folder, row.data)
    missing = [seed for seed in seeds if any((arm, seed) not in have for arm in row.arms)]
    facts = {"row": name, "work": kind, "epochs": work.epochs, "hidden": "-".join(map(str, work.hidden))}
    facts |= {"cores": os.cpu_count(), "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()}
    if missing:
        hours = None if kind == "whole" else round(whole_hours(row, data, test, seeds), 2)
        groups = [[seed] for seed in missing] if row.labels else [missing]
        for group in groups:
            rows = labeled(data, row.labels, group[0]) if row.labels else data
            for found in measured(row, work, rows, test, list(row.arms), group):
                distinct = {"rows": len(data)} if row.labels else {}
                write(out, COLUMNS, {**facts, "whole_hours": hours, **found, **distinct}, digits=3)
    for seed in seeds:
        if row.data == "digits" and ("RBF SVM", seed) not in have:
            write(out, COLUMNS, {**facts, "epochs": "", "hidden": "", **rival(data, row, seed)}, digits=3)


def verdict(name: str, errors: dict[str, list[float]], kind: str) -> str:
    """What a row came to."""
    if any(not errors.get(arm) for arm in ROWS[name].arms):
        return "not run"
    seeds = min(len(errors[arm]) for arm in ROWS[name].arms)
    few = "" if seeds >= SEEDS else f", {seeds} seed{'s' * (seeds > 1)} only"
    return ("reached" if ROWS[name].reached(errors) else "missed") + ("" if kind == "whole" else ", on the smaller work") + few


def report(lines: Sequence[dict[str, str]]) -> str:
    """The table: every arm with mean and standard deviation over seeds, and a verdict a row."""
    out = [
        "# The lectures' numbers",
        "",
        "Test error in per cent at the last epoch, mean and standard deviation over seeds; *least*: the mean of every run's least error over 20 checks, which",
        "looks at the test rows and is no result. Times are of the processor, hours of the whole for all arms and seeds. Made by",
        "`python -m benchmarks.lectures --data FOLDER` (resumes), settings in `benchmarks/lecture_rows.py`.",
        "",
        "| row | published | reach | work | arm | seeds | error | least | CPU seconds a network | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in ROWS.items():
        kinds = [kind for kind in ("whole", "smaller") if any(r["row"] == name and r["work"] == kind for r in lines)]
        if not kinds:
            out.append(f"| {name} | {row.published} | {row.reach} |  |  |  |  |  |  | not run |")
        for kind in kinds:
            own = [r for r in lines if r["row"] == name and r["work"] == kind]
            errors = {arm: [float(r["error"]) for r in own if r["arm"] == arm] for arm in dict.fromkeys(r["arm"] for r in own)}
            for k, (arm, values) in enumerate(errors.items()):
                part = [r for r in own if r["arm"] == arm]
                head = (name, row.published, row.reach, told(part[0], row)) if k == 0 else ("", "", "", "")
                sd = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
                cells = [arm, str(len(values)), f"{np.mean(values):.2f}{sd}", f"{np.mean([float(r['least']) for r in part]):.2f}"]
                cells += [f"{np.mean([float(r['seconds']) for r in part]):.0f}", verdict(name, errors, kind) if k == 0 else ""]
                out.append(f"| {' | '.join((*head, *cells))} |")
    reasons = [f"- `{name}`: {row.why}" for name, row in ROWS.items() if row.why and any(r["row"] == name for r in lines)]
    out += ["", "## What the numbers come from", "", *reasons] if reasons else []
    machines = sorted({f"{r['cores']} cores, torch {r['torch']}, {r['date']}" for r in lines})
    return "\n".join([*out, "", f"Machine: {'; '.join(machines)}; {platform.machine()}.", ""])


def told(line: dict[str, str], row: Row) -> str:
    """The work of a line in words."""
    work = row.whole if line["work"] == "whole" else row.small
    text = f"{int(line['rows']):,} rows, {line['epochs']} epochs, {line['hidden']} units" + (f", {work.attacked:,} rows attacked" if row.attack else "")
    return text if line["work"] == "whole" else f"{text} (the whole: about {float(line['whole_hours']):.1f} h)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mnist/ and fashion-mnist/, each with the four idx files")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--whole", action="store_true", help="the whole work, where it takes hours of two cores")
    parser.add_argument("--report", action="store_true", help="write the table and do nothing else")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    names = given.rows.split(",")
    strange = [name for name in names if name not in ROWS]
    if strange:
        parser.error(f"expected --rows among {', '.join(ROWS)}, got {strange[0]}")
    if not given.report:
        if given.data is None:
            parser.error("expected --data FOLDER with the images")
        for name in names:
            run(name, given.data, [int(seed) for seed in given.seeds.split(",")], given.whole, given.out)
    given.page.write_text(report(read(given.out)), encoding="utf-8")


if __name__ == "__main__":
    main()
