"""Claim: a population of small networks trains several times faster than the same networks one after another.

Shapes, regularizers, batch size and data are those of the baseline file, which is run as it is before and after the population (A B A), on the
same machine in the same run. Ours does everything the baseline does, every strength, rate and learning rate a member's own: rows gathered,
MixUp with a permutation a member, label smoothing, dropout, L2, decay, AdamW, proximal L1. Milliseconds for one step of one network: the median of
`--steps` steps after the trace. Eager mode: no compiler is used.

    python benchmarks/throughput.py --baseline FILE [--shapes 0] [--members 8,32,64,128] [--steps 60] [--out benchmarks/results/throughput.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

import temperance as tp
from temperance.train import trace

SHAPES = [(64, 2, 20, 4), (128, 3, 30, 4), (256, 3, 50, 4), (512, 4, 50, 4), (100, 1, 784, 10)]


def population_ms(shape: tuple[int, int, int, int], members: int, steps: int) -> float:
    """Milliseconds a step and member of a population of this size."""
    width, layers, features, classes = shape
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(10_000, features, generator=generator), torch.randint(0, classes, (10_000,), generator=generator)
    data = tp.as_dataset(x, y.numpy(), classes=tuple(range(classes)))
    people: list[tp.Member] = []
    for i in range(members):
        share = i / members
        cocktail = tp.Cocktail(
            tp.MixUp(0.2 + 0.1 * share), tp.LabelSmoothing(0.1), tp.Dropout(0.2 + 0.1 * share), tp.L2(1e-4 * (1 + share)), tp.L1(1e-6 * (1 + share))
        )
        people.append(tp.Member(cocktail, tp.AdamW(1e-3 * (1 + share), weight_decay=1e-3), seed=i))
    network = tp.nets.MLP(features, classes, hidden=(width,) * layers)
    population = tp.Population(network, people, data, batch_size=128, total_steps=10**6, memory="12G")
    times: list[float] = []
    chunks = population.chunks
    for chunk in chunks:
        for _ in range(trace.AFTER + 3):
            chunk.group.train_step()
    for _ in range(steps):
        began = time.perf_counter()
        for chunk in chunks:
            chunk.group.train_step()
        times.append(time.perf_counter() - began)
    assert all(chunk.group._forward_backward.traced for chunk in chunks)
    return 1e3 * statistics.median(times) / members


def baseline(path: Path, shapes: list[int], steps: int) -> list[dict[str, float]]:
    out = subprocess.run(
        [sys.executable, str(path), "--json", "--steps", str(steps), "--shapes", ",".join(map(str, shapes))], check=True, capture_output=True, text=True
    ).stdout
    return json.loads(out)["ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, required=True)
    parser.add_argument("--shapes", default="0")
    parser.add_argument("--members", default="8,32,64,128")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "throughput.json")
    args = parser.parse_args()
    shapes = [int(i) for i in args.shapes.split(",")]
    before = baseline(args.baseline, shapes, args.steps)
    measured = {i: {k: population_ms(SHAPES[i], k, args.steps) for k in map(int, args.members.split(","))} for i in shapes}
    after = baseline(args.baseline, shapes, args.steps)
    rows: list[dict[str, object]] = []
    for i, first, last in zip(shapes, before, after, strict=True):
        a, a2 = (statistics.mean([first[key], last[key]]) for key in ("a", "a2"))
        best = min(measured[i], key=lambda k: measured[i][k])
        ms = measured[i][best]
        rows.append(
            {
                "shape": SHAPES[i],
                "a": a,
                "a2": a2,
                "floor": statistics.mean([first["floor"], last["floor"]]),
                "ms_by_members": measured[i],
                "best_members": best,
                "times_a": a / ms,
                "times_a2": a2 / ms,
            }
        )
        print(
            f"{SHAPES[i]}  one after another {a:.3f} ms, a process a core {a2:.3f}, population of {best} {ms:.4f}: {a / ms:.1f}x and {a2 / ms:.1f}x", flush=True
        )
        print("   " + "  ".join(f"K={k} {v:.4f} ms" for k, v in measured[i].items()))
    record = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "mode": "eager, traced",
        "batch": 128,
        "rows": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
