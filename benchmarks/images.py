"""Claim: on images a search of a few minutes on two cores reaches what a good network reaches, from many images and from few, and gains by its cocktail.

Data: Fashion-MNIST and MNIST with their test images, 1,000 images of MNIST on the same test images, and scikit-learn's digits with 1,797 and 100 labels,
scored on those that do not train. Each row is `temperance fit` with a budget, once for each seed, which also draws the rows; what ships is scored, and it
never sees a test image. Beside it stands the same network without the cocktail, trained in the same run, and on digits scikit-learn's support vector
machine on the same rows. A row that misses its reach is printed like one that does not. Seeds that are in the CSV file are not run again.
``--only speed`` is the table of what a step costs, :mod:`benchmarks.image_speed`, which needs no data.

    python -m benchmarks.images --data FOLDER [--only fashion,mnist,few,digits,labels,speed] [--seeds 0,1,2] [--out benchmarks/results/images.csv]
    python -m benchmarks.images --report
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.csv_lines import read, write
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from benchmarks import image_speed
from temperance.data import read_images
from temperance.job import fit_table

OUT = Path(__file__).parent / "results" / "images.csv"
COLUMNS = ("row", "seed", "budget", "train", "test", "accuracy", "low", "high", "plain", "svm", "network", "trials", "seconds", "cores", "torch", "date")


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        data: folder of idx files, or ``"digits"``.
        rows: how many train; 0 for all of a set with test images, of digits four fifths.
        minutes: of a fit.
        reach: accuracy in per cent.
    """

    data: str
    rows: int
    minutes: float
    reach: float


ROWS = {
    "fashion": Row("fashion-mnist", 0, 10, 93.5),
    "mnist": Row("mnist", 0, 5, 99.4),
    "few": Row("mnist", 1000, 5, 96.0),
    "digits": Row("digits", 0, 5, 98.9),
    "labels": Row("digits", 100, 5, 95.0),
}


def arrays(row: Row, folder: Path, seed: int) -> dict[str, np.ndarray]:
    """The images and labels that train and those that test; the seed draws the former where not all do, as many of each class as there are."""
    if row.data == "digits":
        found: Any = load_digits()
        x, y = found.images.astype(np.uint8), found.target
        train, test = train_test_split(np.arange(len(y)), train_size=row.rows or 0.8, random_state=seed, stratify=y)
        return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    read = read_images(folder / row.data)
    assert read.labels is not None
    n = len(read) - read.untouched
    train = np.arange(n)
    if row.rows:
        train = np.sort(train_test_split(train, train_size=row.rows, random_state=seed, stratify=read.labels[:n])[0])
    x, y = read.pixels[:, 0], read.labels
    return {"x_train": x[train], "y_train": y[train], "x_test": x[n:], "y_test": y[n:]}


def plain_accuracy(summary: dict[str, Any]) -> float | None:
    """Of the same network without the cocktail on the test rows, which may be the network that was chosen; ``None`` where it was not trained.

    Example:
        >>> plain_accuracy({"verdicts": {"cocktail": {"answer": "yes", "with": 0.99, "without": 0.98}}})
        0.98
        >>> plain_accuracy({"verdicts": {"cocktail": {"answer": "no", "why": "all off"}, "overfitting": {"rows": "test", "held": 0.97}}})
        0.97
    """
    cocktail, seen = (summary["verdicts"].get(name) or {} for name in ("cocktail", "overfitting"))
    chosen = cocktail.get("answer") == "no" and "without" not in cocktail
    return seen["held"] if chosen and seen.get("rows") == "test" else cocktail.get("without")


def machine_accuracy(given: dict[str, np.ndarray]) -> float:
    """Of scikit-learn's support vector machine, with the kernel that is usual for digits."""
    machine: Any = SVC(C=10.0, gamma=0.001)  # pyright: ignore[reportArgumentType] -- a number is allowed
    return float(
        machine.fit(given["x_train"].reshape(len(given["x_train"]), -1), given["y_train"]).score(
            given["x_test"].reshape(len(given["x_test"]), -1), given["y_test"]
        )
    )


def measured(name: str, row: Row, folder: Path, seed: int, minutes: float | None = None, **settings: Any) -> dict[str, Any]:
    """One fit."""
    given = arrays(row, folder, seed)
    budget = row.minutes if minutes is None else minutes
    with tempfile.TemporaryDirectory() as place:
        np.savez(Path(place) / "images.npz", **given)  # pyright: ignore[reportArgumentType] -- arrays by name
        facts = fit_table(Path(place) / "images.npz", out=Path(place) / "out", seed=seed, keep_test=True, **({"budget": 60.0 * budget} | settings)).summary
    score = facts["scores"]["test"]["accuracy"]
    return {
        "row": name,
        "seed": seed,
        "budget": budget,
        "train": len(given["x_train"]),
        "test": len(given["x_test"]),
        **{key: 100.0 * score[part] for key, part in (("accuracy", "value"), ("low", "low"), ("high", "high"))},
        "plain": None if (plain := plain_accuracy(facts)) is None else 100.0 * plain,
        "svm": 100.0 * machine_accuracy(given) if row.data == "digits" else None,
        "network": facts["model"]["network"],
        "trials": facts["search"]["trials"],
        "seconds": facts["timing"]["total"],
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def table(lines: Sequence[dict[str, str]]) -> str:
    """Mean and standard deviation over seeds, the plain network and the support vector machine beside it, and whether the reach was met.

    Example:
        >>> line = {"row": "mnist", "train": "60000", "test": "10000", "budget": "5.0", "plain": "", "svm": ""}
        >>> print(table([{**line, "accuracy": "99.5"}, {**line, "accuracy": "99.4"}]).splitlines()[3])
        | mnist | 60,000 | 10,000 | 5 | 2 | 99.45 ± 0.07 |  |  | 99.4 | reached |
    """
    out = ["| row | train | test | minutes | seeds | accuracy, % | plain network | SVM | reach | |", "|---|---|---|---|---|---|---|---|---|---|"]
    for name, row in ROWS.items():
        own = [line for line in lines if line["row"] == name]
        if not own:
            out.append(f"| {name} |  |  | {row.minutes:g} | 0 |  |  |  | {row.reach} | not run |")
            continue
        cells = [_mean(own, key) for key in ("accuracy", "plain", "svm")]
        met = float(np.mean([float(line["accuracy"]) for line in own])) >= row.reach
        head = f"{name} | {int(own[0]['train']):,} | {int(own[0]['test']):,} | {float(own[0]['budget']):g} | {len(own)}"
        out.append(f"| {head} | {' | '.join(cells)} | {row.reach} | {'reached' if met else 'missed'} |")
    return "\n".join(out)


def _mean(lines: Sequence[dict[str, str]], key: str) -> str:
    values = [float(line[key]) for line in lines if line[key]]
    sd = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{sd}" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mnist/ and fashion-mnist/, each with the four idx files")
    parser.add_argument("--only", default=",".join([*ROWS, "speed"]), help="rows of the table, and speed")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--report", action="store_true", help="print the table and do nothing else")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    asked = given.only.split(",")
    names = [name for name in asked if name != "speed"]
    strange = [name for name in names if name not in ROWS]
    if strange:
        parser.error(f"expected --only among {', '.join(ROWS)}, speed, got {strange[0]}")
    if not given.report and given.data is None and any(ROWS[name].data != "digits" for name in names):
        parser.error("expected --data FOLDER with the images")
    if not given.report:
        have = {(line["row"], line["seed"]) for line in read(given.out)}
        for name in names:
            for seed in given.seeds.split(","):
                if (name, seed) not in have:
                    write(given.out, COLUMNS, measured(name, ROWS[name], given.data, int(seed)), digits=2)
        if "speed" in asked:
            print(image_speed.run())
    if names:
        print(table(read(given.out)))


if __name__ == "__main__":
    main()
