"""Claim: two workers of one core each search at least 1.8 times as fast as one, and find the same networks.

A table of `--rows` rows (20,000) and 20 columns, one plan (an MLP of two layers of `--width`, 256), `--trials` trials (64) of 12 epochs, no budget: the same
trials on every arm. Arms: the local engine on one thread, Ray with one node of one core, and with two nodes of one core, in turns, `--repeats` times (3);
medians count. A last arm runs the local search in two processes at once, which share nothing: what two cores of this machine give to anybody, as they share
memory bandwidth. Seconds are those of the search alone: without the start of the cluster and without the last training, which this process does. The
networks of all arms are compared by SHA-256, and the run is added to the file. On an idle machine with two cores or more; the driver takes a part of one.

    python -m benchmarks.cluster [--repeats 3] [--rows 20000] [--trials 64] [--width 256] [--batch 256] [--out benchmarks/results/cluster.json]
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.two_nodes import two_nodes

import temperance as tp

ARMS = ("local", "1 worker", "2 workers", "2 local at once")


def table(rows: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, 20)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] + x[:, 2] + draw.normal(size=rows) > 0).astype(int)


@dataclass(frozen=True)
class Build:
    """An MLP of two layers."""

    width: int

    def __call__(self, data: Any) -> torch.nn.Module:
        return tp.nets.MLP(data.in_features, data.out_features, hidden=(self.width, self.width))


def searched(rows: int, trials: int, width: int, batch: int, **engine: Any) -> tuple[float, str]:
    """Seconds of the search, and a hash of its best networks."""
    found = tp.search(Build(width), table(rows), trials=trials, epochs=12, batch_size=batch, retrain=None, ensemble=1, **engine)
    digest = hashlib.sha256()
    for trial in found.trials:
        digest.update(repr((trial.config.number, trial.score, trial.status)).encode())
        for outcome in trial.outcomes:
            for name, tensor in sorted((outcome.state or {}).items()):
                digest.update(name.encode() + tensor.numpy(force=True).tobytes())
    return found.timing["search"], digest.hexdigest()[:16]


def at_once(asked: argparse.Namespace) -> tuple[float, str]:
    """The mean seconds of two local searches in two processes that run at once, and their hashes."""
    command = [sys.executable, "-m", "benchmarks.cluster", "--alone"]
    command += [f"--{name}={getattr(asked, name)}" for name in ("rows", "trials", "width", "batch")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    said = [json.loads(process.communicate()[0]) for process in both]
    return statistics.mean(took for took, _ in said), "+".join(sorted({digest for _, digest in said}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--alone", action="store_true", help="one local search, for the last arm")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cluster.json")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    work = asked.rows, asked.trials, asked.width, asked.batch
    if asked.alone:
        print(json.dumps(searched(*work)))
        return
    arms = asked.arms.split(",")
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    hashes = set[str]()
    for _ in range(asked.repeats):
        for arm in arms:
            nodes = ARMS.index(arm)
            if nodes == 0:
                took, digest = searched(*work)
            elif nodes < len(ARMS) - 1:
                with two_nodes(nodes=nodes) as (address, _):
                    took, digest = searched(*work, engine="ray", address=address)
            else:
                took, digest = at_once(asked)
            seconds[arm].append(round(took, 2))
            hashes.add(digest)
            print(f"{arm}: {took:.1f} s, {digest}", flush=True)
    median = {arm: statistics.median(times) for arm, times in seconds.items()}

    def ratio(one: str, other: str, times: float = 1.0) -> float | None:
        return round(times * median[one] / median[other], 3) if one in median and other in median else None

    said = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "ray")},
        "rows": asked.rows,
        "trials": asked.trials,
        "width": asked.width,
        "batch": asked.batch,
        "seconds": seconds,
        "two_for_one": ratio("1 worker", "2 workers"),
        "two_at_once": ratio("local", "2 local at once", 2.0),
        "one_for_local": ratio("local", "1 worker"),
        "same_networks": len(hashes) == 1,
    }
    runs = [*(json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else []), said]
    asked.out.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(said))


if __name__ == "__main__":
    main()
