"""Claim: a member's convolutional step costs at most 1.1 times that of a well-written PyTorch loop, and a population is ahead of one loop a core.

The loop has its network and its images channels last and a fused AdamW, with label smoothing, weight decay and random shifts by two pixels.
A member has the same by LabelSmoothing, WeightDecay and RandomCrop, once by plain steps and once by compiled ones. Random images, 128 a step. First on one
thread: the median step of a run, in milliseconds of processor time. Then on all cores, milliseconds of wall-clock for one step of one network: a process
with such a loop a core, all at once, and a population of two networks a core. The ways take turns. Beside the medians stands the
range over runs. Runs that are in the CSV file are not run again.

    python -m benchmarks.image_speed [--runs 5] [--steps 12] [--out benchmarks/results/image_speed.csv]
    python -m benchmarks.image_speed --report
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import torch
import torch.nn.functional as F
from benchmarks.csv_lines import read, write
from torch import Tensor, nn

import temperance as tp
from temperance.nets import ConvNet, ResNet, build_seeded

OUT = Path(__file__).parent / "results" / "image_speed.csv"
COLUMNS = ("network", "way", "run", "ms", "cores", "torch", "date")
ROWS, BATCH, CLASSES, PAD, WARM = 1024, 128, 10, 2, 6
WAYS = ("loop", "member", "compiled")
ABREAST = ("processes", "population", "compiled population")  # on all cores
NETWORKS: dict[str, tuple[tuple[int, int, int], Callable[[tuple[int, int, int]], nn.Module]]] = {
    f"{name} {'x'.join(map(str, (*shape[1:], shape[0])))}": (shape, build)
    for shape in ((1, 28, 28), (3, 32, 32))
    for name, build in {
        "ConvNet 16-32": lambda s: ConvNet(s, CLASSES, channels=(16, 32), readout="flatten"),
        "ResNet 16-32-64": lambda s: ResNet(s, CLASSES),
    }.items()
}


def loop(network: nn.Module, x: Tensor, y: Tensor, steps: int, clock: Callable[[], float] = time.process_time) -> list[float]:
    """Seconds of every step of the plain loop."""
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] -- the overload is missing
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    took: list[float] = []
    order = torch.cat([torch.randperm(len(x)) for _ in range(1 + steps * BATCH // len(x))])
    for step in range(steps):
        began = clock()
        rows = order[step * BATCH : (step + 1) * BATCH]
        images = shifted(x[rows]).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        F.cross_entropy(network(images), y[rows], label_smoothing=0.1).backward()
        optimizer.step()
        took.append(clock() - began)
    return took


def shifted(images: Tensor) -> Tensor:
    """Every image moved by its own whole number of pixels.

    Example:
        >>> shifted(torch.ones(2, 1, 5, 5)).shape
        torch.Size([2, 1, 5, 5])
    """
    n, channels, height, width = images.shape
    down, across = torch.randint(0, 2 * PAD + 1, (2, n))
    wide = F.pad(images, (PAD, PAD, PAD, PAD))
    at = (down[:, None] + torch.arange(height))[:, None, :, None], (across[:, None] + torch.arange(width))[:, None, None, :]
    return wide[torch.arange(n)[:, None, None, None], torch.arange(channels)[None, :, None, None], *at]


def population(network: nn.Module, x: Tensor, y: Tensor, steps: int, compiled: bool, members: int) -> tp.Population:
    """Networks with the regularizers of the loop, their steps compiled if asked."""
    data = tp.data.Dataset(x, F.one_hot(y, CLASSES).float(), "classification")
    cocktail = tp.Cocktail(tp.LabelSmoothing(0.1), tp.WeightDecay(0.05), tp.RandomCrop(PAD))
    people = [tp.Member(cocktail, tp.optim.AdamW(1e-3), seed=seed) for seed in range(members)]
    one = tp.Population(network, people, data, batch_size=BATCH, total_steps=steps, compile=compiled, check_every=10**9)
    one.compile()
    assert all(chunk.group.compiled == compiled for chunk in one.chunks), one.plan()  # without a compiler it would be the plain step
    return one


def member(network: nn.Module, x: Tensor, y: Tensor, steps: int, compiled: bool) -> list[float]:
    """Seconds of every step of a member."""
    group, took = population(network, x, y, steps, compiled, 1).chunks[0].group, list[float]()
    for _ in range(steps):
        began = time.process_time()
        group.train_step()
        took.append(time.process_time() - began)
    return took


def side_by_side(network: nn.Module, x: Tensor, y: Tensor, steps: int, compiled: bool, cores: int) -> float:
    """Seconds for one step of one network, of a population on all cores."""
    members = 2 * cores
    one = population(network, x, y, 2 * (WARM + steps), compiled, members)  # what ends a training is not a step
    one.run(WARM)
    began = time.perf_counter()
    one.run(WARM + steps)
    return (time.perf_counter() - began) / steps / members


def processes(name: str, steps: int, cores: int) -> float:
    """Seconds for one step of one network, of as many processes with a loop as there are cores."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_ready, initargs=(context.Barrier(cores),)) as pool:
        return statistics.mean(pool.map(_one_process, [name] * cores, [steps] * cores)) / cores


_START: list[Barrier] = []


def _ready(barrier: Barrier) -> None:
    _START.append(barrier)
    torch.set_num_threads(1)


def _one_process(name: str, steps: int) -> float:
    network, x, y = made(name)
    loop(network, x, y, WARM)
    _START[0].wait()
    return statistics.mean(loop(network, x, y, steps, time.perf_counter))


def made(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network with images and labels."""
    shape, build = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(ROWS, *shape, generator=generator), torch.randint(0, CLASSES, (ROWS,), generator=generator)
    return build_seeded(lambda: build(shape), 0), x, y


def measured(name: str, way: str, steps: int, cores: int) -> float:
    """Milliseconds of a step: of the median one of a run, without the first ones, on one thread; the mean one of one network on all cores."""
    if way == "processes":
        return 1e3 * processes(name, steps, cores)
    network, x, y = made(name)
    if way in ABREAST:
        return 1e3 * side_by_side(network, x, y, steps, way != "population", cores)
    took = loop(network, x, y, WARM + steps) if way == "loop" else member(network, x, y, WARM + steps, way == "compiled")
    return 1e3 * statistics.median(took[WARM:])


def table(lines: Sequence[dict[str, str]], ways: Sequence[str] = WAYS) -> str:
    """Medians over runs, and how much longer the other ways take than the first one of the same run, with the range over runs.

    Example:
        >>> times = {"loop": ("10", "12"), "member": ("11", "12"), "compiled": ("9", "9")}
        >>> lines = [{"network": "ConvNet 16-32 28x28x1", "way": w, "run": str(i), "ms": ms} for w, own in times.items() for i, ms in enumerate(own)]
        >>> print(table(lines).splitlines()[2])
        | ConvNet 16-32 28x28x1 | 2 | 11.0 | 11.5 | 1.05 (1.00 to 1.10) | 9.0 | 0.82 (0.75 to 0.90) |
    """
    heads = [f"{ways[0]}, ms", *(head for way in ways[1:] for head in (f"{way}, ms", f"of the {ways[0]}"))]
    out = [f"| network | runs | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for name in NETWORKS:
        own = {way: {line["run"]: float(line["ms"]) for line in lines if (line["network"], line["way"]) == (name, way)} for way in ways}
        runs = sorted(set.intersection(*(set(times) for times in own.values())))
        if not runs:
            out.append(f"| {name} | 0 |{'  |' * len(heads)}")
            continue
        cells = [f"{statistics.median(own[ways[0]][run] for run in runs):.1f}"]
        for way in ways[1:]:
            ratios = [own[way][run] / own[ways[0]][run] for run in runs]
            cells += [f"{statistics.median(own[way][run] for run in runs):.1f}", f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
        out.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(out)


def tables(out: Path = OUT) -> str:
    """One thread, then all cores."""
    lines = read(out)
    return f"One thread, processor time:\n\n{table(lines)}\n\nAll cores, wall-clock for one step of one network:\n\n{table(lines, ABREAST)}"


def run(out: Path = OUT, runs: int = 5, steps: int = 12) -> str:
    """Measure what is not in the file yet; the tables."""
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    have = {(line["network"], line["way"], line["run"]) for line in read(out)}
    wanted = [(used, name, number, way) for ways, used in ((WAYS, 1), (ABREAST, cores)) for name in NETWORKS for number in range(runs) for way in ways]
    try:
        for used, name, number, way in wanted:
            if (name, way, str(number)) not in have:
                torch.set_num_threads(used)
                facts = {"network": name, "way": way, "run": number, "ms": measured(name, way, steps, cores), "cores": cores}
                write(out, COLUMNS, {**facts, "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()}, digits=2)
    finally:
        torch.set_num_threads(threads)
    return tables(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--report", action="store_true", help="print the table and do nothing else")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    print(tables(given.out) if given.report else run(given.out, given.runs, given.steps))


if __name__ == "__main__":
    main()
