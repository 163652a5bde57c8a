"""Claim: a population trains its networks several times faster than the same networks one after another, and than one process a core.

Shapes (hidden units, hidden layers, inputs, classes), regularizers, batch size and data are those of the baseline file, which is run as it is before and
after the population (A B A), on the same machine in the same run. Ours does everything the baseline does, every strength, rate and learning rate a
member's own: rows gathered, MixUp with a permutation a member, label smoothing, dropout, L2, decay, AdamW, proximal L1; single precision
throughout. Milliseconds for one step of one network: wall-clock of a whole run over steps and members (not the median of single steps, so that
reshuffling rows and the numbers computed ahead count), the median of --repeats runs. Written after every shape; nothing is left out.

    python -m benchmarks.throughput --baseline FILE [--shapes 0,1,2,3,4] [--members 8,32,128,512] [--eager-members 8,32]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks.curves import STYLE

import temperance as tp
from temperance.report.svg import Canvas, Frame, Scale, scale_for
from temperance.train.compiled import BLOCK

SHAPES = [(64, 2, 20, 4), (128, 3, 30, 4), (256, 3, 50, 4), (512, 4, 50, 4), (100, 1, 784, 10)]
REACH = [(7.0, 4.0), (3.5, 2.0), (2.1, 1.3), (1.3, 1.05), (1.8, 1.3)]
ROWS, BATCH = 10_000, 128
Row = dict[str, Any]


def population(shape: tuple[int, int, int, int], members: int, compiled: bool) -> tp.Population:
    """The networks of the benchmark, no two alike."""
    width, layers, features, classes = shape
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(ROWS, features, generator=generator), torch.randint(0, classes, (ROWS,), generator=generator)
    data = tp.data.as_dataset(x, y.numpy(), classes=tuple(range(classes)))
    people: list[tp.Member] = []
    for i in range(members):
        share = i / members
        cocktail = tp.Cocktail(
            tp.MixUp(0.2 + 0.1 * share), tp.LabelSmoothing(0.1), tp.Dropout(0.2 + 0.1 * share), tp.L2(1e-4 * (1 + share)), tp.L1(1e-6 * (1 + share))
        )
        people.append(tp.Member(cocktail, tp.optim.AdamW(1e-3 * (1 + share), weight_decay=1e-3), seed=i))
    network = tp.nets.MLP(features, classes, hidden=(width,) * layers)
    return tp.Population(network, people, data, batch_size=BATCH, total_steps=10**6, memory="16G", compile=compiled, check_every=10**9)


def measured(shape: tuple[int, int, int, int], sizes: list[int], compiled: bool, repeats: int, seconds: float) -> list[Row]:
    """Every size of population in turn, again and again, so that a machine that slows down slows all of them."""
    rows: list[Row] = []
    made: list[tuple[tp.Population, int]] = []
    for members in sizes:
        before = resident()
        one = population(shape, members, compiled)
        began = time.perf_counter()
        one.run(1)
        first = time.perf_counter() - began
        one.run(BLOCK + 1)
        began = time.perf_counter()
        one.run(2 * BLOCK + 1)
        steps = BLOCK * max(1, round(seconds / repeats / (time.perf_counter() - began)))
        refused = [k.refused for chunk in one.chunks if (k := chunk.group.kernel) is not None and k.refused]
        assert not refused, refused
        made.append((one, steps))
        rows.append({"members": members, "ms_all": [], "first_step_seconds": first, "bytes_a_member": (resident() - before) / members})
    at = [2 * BLOCK + 1 for _ in sizes]
    for _ in range(repeats):
        for i, (one, steps) in enumerate(made):
            at[i] += steps
            began = time.perf_counter()
            one.run(at[i])
            rows[i]["ms_all"].append(1e3 * (time.perf_counter() - began) / steps / sizes[i])
    for row in rows:
        row["ms"] = statistics.median(row["ms_all"])
    return rows


def resident() -> float:
    """Bytes of memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() if Path("/proc/self/statm").exists() else float("nan")


def baseline(path: Path, shape: int, steps: int) -> Row:
    command = [sys.executable, str(path), "--json", "--steps", str(steps), "--shapes", str(shape)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["ms"][0]


def one_shape(i: int, path: Path, modes: dict[str, list[int]], repeats: int, seconds: float, steps: int) -> Row:
    """Baseline, population, baseline."""
    first = baseline(path, i, steps)
    found = {mode: measured(SHAPES[i], sizes, mode == "compiled", repeats, seconds) for mode, sizes in modes.items()}
    last = baseline(path, i, steps)
    row: Row = {"shape": SHAPES[i], **{key: (first[key] + last[key]) / 2 for key in ("a", "a2", "floor")}, "baseline": [first, last], "modes": found}
    for mode, runs in found.items():
        best = min(runs, key=lambda run: run["ms"])
        row[mode] = {
            "ms": best["ms"],
            "members": best["members"],
            "times_a": row["a"] / best["ms"],
            "times_a2": row["a2"] / best["ms"],
            "of_floor": row["floor"] / best["ms"],
            "largest_keeps": best["ms"] / max(runs, key=lambda run: run["members"])["ms"],
            "member_rows_a_second": BATCH / best["ms"] * 1e3,
        }
    if "compiled" in found and "eager" in found:
        slow, fast = row["eager"]["ms"], row["compiled"]["ms"]
        row["member_steps_that_repay_compiling"] = found["compiled"][0]["first_step_seconds"] / max(slow - fast, 1e-9) * 1e3
    return row


def table(rows: list[Row]) -> str:
    lines = ["shape                  a      a2   floor | mode      best K     ms   of a  of a2  of floor  largest K keeps  reach"]
    for row in rows:
        for mode in ("compiled", "eager"):
            if mode in row:
                b, (r, r2) = row[mode], REACH[SHAPES.index(tuple(row["shape"]))]
                reached = "reached" if b["times_a"] >= r and b["times_a2"] >= r2 else "not reached"
                lines.append(
                    f"{tuple(row['shape'])!s:20} {row['a']:6.3f} {row['a2']:6.3f} {row['floor']:6.3f} | {mode:8} {b['members']:6} {b['ms']:8.4f} "
                    f"{b['times_a']:5.1f}x {b['times_a2']:5.1f}x {b['of_floor']:8.2f} {b['largest_keeps']:14.2f}    {r:g}/{r2:g} {reached}"
                )
    return "\n".join(lines)


def picture(rows: list[Row], machine: str) -> str:
    """Cost of one step of one network against the number of networks, one panel a shape."""
    canvas = Canvas(1120, 330, "Cost of a step against the size of the population")
    canvas.rect(0, 0, 1120, 330, "paper")
    canvas.text(16, 24, f"Milliseconds for one step of one network, {machine}", "head")
    for i, row in enumerate(rows):
        frame = Frame(44 + 218 * i, 76, 216 + 218 * i, 250)
        lines = {mode: [(run["members"], run["ms"]) for run in row["modes"][mode]] for mode in row["modes"]}
        levels = {"a": row["a"], "a2": row["a2"], "floor": row["floor"]}
        values = [ms for line in lines.values() for _, ms in line] + list(levels.values())
        sizes = [k for line in lines.values() for k, _ in line]
        x, y = Scale(min(sizes) * 0.8, max(sizes) * 1.25, frame.left, frame.right, log=True), scale_for([0.0, *values], frame.bottom, frame.top)
        frame.grid(canvas, x, y, "networks", "", x_ticks=3)
        canvas.text(frame.left, frame.top - 12, f"{row['shape'][1]} x {row['shape'][0]} units, {row['shape'][2]} in", "title")
        for j, value in enumerate(levels.values()):
            canvas.line(frame.left, y(value), frame.right, y(value), f"line c{j + 2}")
        for j, line in enumerate(lines.values()):
            canvas.polyline([(x(k), y(ms)) for k, ms in line], f"line c{j}")
    names = [*rows[0]["modes"], "one after another", "a process a core", "floor: products and one sweep"]
    for i, name in enumerate(names):
        canvas.line(44 + 200 * i, 306, 64 + 200 * i, 306, f"line c{i}")
        canvas.text(70 + 200 * i, 310, name, f"c{i}")
    text = str(canvas.svg()).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head = text.index(">") + 1
    return f"{text[:head]}<style>{STYLE}</style>{text[head:]}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, required=True)
    parser.add_argument("--shapes", default="0,1,2,3,4")
    parser.add_argument("--members", default="8,32,128,512")
    parser.add_argument("--eager-members", default="8,32", help="sizes of the same without a compiler; empty to leave that out")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="about how long each size is measured")
    parser.add_argument("--steps", type=int, default=60, help="steps of the baseline")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "throughput.json")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    sizes = {"compiled": args.members, "eager": args.eager_members}
    modes = {mode: [int(k) for k in text.split(",")] for mode, text in sizes.items() if text}
    cores = os.cpu_count()
    for i in map(int, args.shapes.split(",")):
        rows.append(one_shape(i, args.baseline, modes, args.repeats, args.seconds, args.steps))
        record = {
            "date": time.strftime("%Y-%m-%d"),
            "cores": cores,
            "machine": platform.machine(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "load": os.getloadavg(),
            "batch": BATCH,
            "rows": rows,
        }
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        args.out.with_suffix(".svg").write_text(picture(rows, f"{cores} CPU cores, median of n = {args.repeats} runs"), encoding="utf-8")
        print(table(rows[-1:]), flush=True)
    print("\n" + table(rows))
    print(json.dumps({"rows": [{key: row[key] for key in row if key not in ("modes", "baseline")} for row in rows]}))


if __name__ == "__main__":
    main()
