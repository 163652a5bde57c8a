"""Claim: a member's step of a convolutional network costs at most 1.1 times a plain, well-written PyTorch loop with the same regularizers.

The loop has its network and its images channels last and a fused AdamW, with label smoothing, weight decay and random shifts by two pixels.
A member has the same by LabelSmoothing, WeightDecay and RandomCrop, once by plain steps and once by compiled ones. Random images, 128 a step, one
thread; each number is the median step of a run, in milliseconds of processor time, and the ways take turns. Beside the medians stands the
range over runs. Networks that are in the CSV file are not run again.

    python -m benchmarks.image_speed [--runs 5] [--steps 12] [--out benchmarks/results/image_speed.csv]
    python -m benchmarks.image_speed --report
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
import torch.nn.functional as F
from benchmarks.csv_lines import read, write
from torch import Tensor, nn

import temperance as tp
from temperance.nets import ConvNet, ResNet, build_seeded

OUT = Path(__file__).parent / "results" / "image_speed.csv"
COLUMNS = ("network", "way", "run", "ms", "cores", "torch", "date")
ROWS, BATCH, CLASSES, PAD, WARM = 1024, 128, 10, 2, 2
WAYS = ("loop", "member", "compiled")
NETWORKS: dict[str, tuple[tuple[int, int, int], Callable[[tuple[int, int, int]], nn.Module]]] = {
    f"{name} {'x'.join(map(str, (*shape[1:], shape[0])))}": (shape, build)
    for shape in ((1, 28, 28), (3, 32, 32))
    for name, build in {
        "ConvNet 16-32": lambda s: ConvNet(s, CLASSES, channels=(16, 32), readout="flatten"),
        "ResNet 16-32-64": lambda s: ResNet(s, CLASSES),
    }.items()
}


def loop(network: nn.Module, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """Seconds of every step of the plain loop."""
    network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] -- the overload is missing
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    took: list[float] = []
    order = torch.cat([torch.randperm(len(x)) for _ in range(1 + steps * BATCH // len(x))])
    for step in range(steps):
        began = time.process_time()
        rows = order[step * BATCH : (step + 1) * BATCH]
        images = shifted(x[rows]).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        F.cross_entropy(network(images), y[rows], label_smoothing=0.1).backward()
        optimizer.step()
        took.append(time.process_time() - began)
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


def member(network: nn.Module, x: Tensor, y: Tensor, steps: int, compiled: bool) -> list[float]:
    """Seconds of every step of a member."""
    data = tp.data.Dataset(x, F.one_hot(y, CLASSES).float(), "classification")
    cocktail = tp.Cocktail(tp.LabelSmoothing(0.1), tp.WeightDecay(0.05), tp.RandomCrop(PAD))
    members = [tp.Member(cocktail, tp.optim.AdamW(1e-3))]
    population = tp.Population(network, members, data, batch_size=BATCH, total_steps=steps, compile=compiled)
    population.compile()
    group, took = population.chunks[0].group, list[float]()
    assert group.compiled == compiled, population.plan()  # without a compiler it would be the plain step
    for _ in range(steps):
        began = time.process_time()
        group.train_step()
        took.append(time.process_time() - began)
    return took


def measured(name: str, way: str, steps: int) -> float:
    """Milliseconds of the median step of a run, without the first ones."""
    shape, build = NETWORKS[name]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(ROWS, *shape, generator=generator), torch.randint(0, CLASSES, (ROWS,), generator=generator)
    network = build_seeded(lambda: build(shape), 0)
    took = loop(network, x, y, WARM + steps) if way == "loop" else member(network, x, y, WARM + steps, way == "compiled")
    return 1e3 * statistics.median(took[WARM:])


def table(lines: Sequence[dict[str, str]]) -> str:
    """Medians over runs, and how much longer a member takes than the loop of the same run, with the range over runs.

    Example:
        >>> times = {"loop": ("10", "12"), "member": ("11", "12"), "compiled": ("9", "9")}
        >>> lines = [{"network": "ConvNet 16-32 28x28x1", "way": w, "run": str(i), "ms": ms} for w, own in times.items() for i, ms in enumerate(own)]
        >>> print(table(lines).splitlines()[2])
        | ConvNet 16-32 28x28x1 | 2 | 11.0 | 11.5 | 1.05 (1.00 to 1.10) | 9.0 | 0.82 (0.75 to 0.90) |
    """
    out = ["| network | runs | loop, ms | member, ms | of the loop's | compiled, ms | of the loop's |", "|---|---|---|---|---|---|---|"]
    for name in NETWORKS:
        own = {way: {line["run"]: float(line["ms"]) for line in lines if (line["network"], line["way"]) == (name, way)} for way in WAYS}
        runs = sorted(set.intersection(*(set(times) for times in own.values())))
        if not runs:
            out.append(f"| {name} | 0 |  |  |  |  |  |")
            continue
        cells = [f"{statistics.median(own['loop'][run] for run in runs):.1f}"]
        for way in WAYS[1:]:
            ratios = [own[way][run] / own["loop"][run] for run in runs]
            cells += [f"{statistics.median(own[way][run] for run in runs):.1f}", f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"]
        out.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(out)


def run(out: Path = OUT, runs: int = 5, steps: int = 12) -> str:
    """Measure what is not in the file yet; the table."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        have = {(line["network"], line["way"], line["run"]) for line in read(out)}
        for name in NETWORKS:
            for number in range(runs):
                for way in WAYS:
                    if (name, way, str(number)) in have:
                        continue
                    facts = {"network": name, "way": way, "run": number, "ms": measured(name, way, steps), "cores": os.cpu_count()}
                    write(out, COLUMNS, {**facts, "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()}, digits=2)
    finally:
        torch.set_num_threads(threads)
    return table(read(out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--report", action="store_true", help="print the table and do nothing else")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    print(table(read(given.out)) if given.report else run(given.out, given.runs, given.steps))


if __name__ == "__main__":
    main()
