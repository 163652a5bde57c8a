"""What did well on other tables: makes `src/temperance/search/known_networks.json`, where searches over anyone's own network begin.

Data: the classification tables of the folder that `search.py` does not use. The fifth of the rows that table benchmarks test on (seed 11) is left out; the
rest is split 60/20/20 by seed 5 and encoded as `search.py` does. Network, space and batch size are those of `search.py`; strategy keep, search seed 3.
The best four trials a table, by validation accuracy, then loss, that were not dropped; three digits of each number.

    python -m benchmarks.known --data FOLDER [--seconds 42] [--sets ..]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

import temperance as tp
from benchmarks import search as bench

BEST = 4
OUT = bench.ROOT / "src" / "temperance" / "search" / "known_networks.json"
TABLES = (
    "Australian,anneal,arrhythmia,bank-marketing,blood-transfusion,car,cnae-9,connect-4,jasmine,kc1,kr-vs-kp,mfeat-factors,nomao,segment,shuttle,"
    "skin-segmentation,sylvine,walking-activity"
)


def rows_of(path: Path) -> dict[str, np.ndarray]:
    """The encoded rows, without those that table benchmarks test on."""
    frame = pd.read_parquet(path)
    known, _ = train_test_split(np.arange(len(frame)), test_size=0.2, random_state=11, stratify=frame["target"].astype(str))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / path.name
        frame.iloc[known].reset_index(drop=True).to_parquet(place)
        return bench.encoded(place, 5)


def best_of(rows: dict[str, np.ndarray], seconds: float) -> list[dict[str, Any]]:
    """The best configurations of one search: learning rate and the strengths that are on."""
    data, split = bench.dataset(rows)
    found = tp.search(
        bench.build,
        data,
        budget=seconds,
        metric="accuracy",
        seed=3,
        use=bench.USE,
        without=bench.WITHOUT,
        split=split,
        batch_size=bench.BATCH,
        epochs=bench.epochs_of(rows),
        lr=bench.RATES,
        retrain=None,
        strategy="keep",
        ensemble=1,
    )
    ended = [t for t in found.trials if t.score == t.score and not t.status.startswith("dropped")]
    ranked = sorted(ended, key=lambda t: (-t.score, t.at_best("validation_loss"), t.config.number))
    return [{"lr": short(t.config.lr), "strengths": {name: short(v) for name, v in t.config.strengths.items() if v}} for t in ranked[:BEST]]


def short(value: float) -> float:
    """Three digits.

    Example:
        >>> short(0.0123456)
        0.0123
    """
    return float(f"{value:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with <set>.parquet, target in the column `target`")
    parser.add_argument("--sets", default=TABLES)
    parser.add_argument("--seconds", type=float, default=42.0)
    args = parser.parse_args()
    entries: list[dict[str, Any]] = []
    for name in args.sets.split(","):
        entries += best_of(rows_of(args.data / f"{name}.parquet"), args.seconds)
        print(f"{name}: {len(entries)} configurations so far", flush=True)
    OUT.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
