"""Claim: on a graphics card the networks are those of the processor, a population fills the card, and 840 trials of 105 epochs on 10,000 rows take minutes.

Written without a card at hand: run it on yours. It takes less than eight minutes, writes every row as it is measured, and leaves nothing out.

1. *The same numbers.* Every regularizer trains three networks for a few steps on both, in double precision: the processor and a card add in different orders,
   and in double precision that is all they may differ by (:data:`CLOSE` says how much), so that no fault hides behind rounding. Draws of whole numbers,
   masks and orders of rows have to be equal bit for bit. A regularizer that differs is named, and the exit code is 1.
2. *Throughput.* Milliseconds for one step of one network: in populations of growing size, in single precision and with products of 16 bits, beside the same
   network alone in a loop of torch with a fused AdamW, and beside the floor: the products at the speed ``bmm`` reaches and one sweep over parameters,
   gradients and moments at the speed of a copy. Medians of n = --repeats runs.
3. *A search's worth of training.* 840 networks of 512 units on 10,000 rows, a few epochs of them; seconds for 105 epochs follow in proportion.

    python -m benchmarks.gpu [--device auto] [--parts 1,2,3] [--quick] [--out FILE]
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import temperance as tp
from temperance.core.device import device_of, told
from temperance.core.random import Rng, key_of, stream_of
from temperance.core.registry import REGISTRY

SHAPES = [(64, 2, 20, 4), (128, 3, 30, 4), (256, 3, 50, 4), (512, 4, 50, 4), (100, 1, 784, 10)]
SIZES = (8, 32, 128, 512, 2048)
QUICK_SHAPES, QUICK_SIZES = [(8, 1, 4, 3)], (2, 4)
ROWS, BATCH, LIMIT = 10_000, 128, 450.0  # seconds, after which nothing further is begun
TRIALS, EPOCHS = 840, 105
STEPS = 4
# A product adds at most 1,000 numbers, each rounded by 2.2e-16, there are some ten layers and passes a step, and a step may enlarge what the one before left
# by a factor of ten where it is divided by a small second moment: 2.2e-16 * 1,000 * 10 * 10^4 = 2e-8.
CLOSE: dict[str, float] = {"rtol": 2e-8, "atol": 2e-8}
Row = dict[str, Any]


# The same numbers


def small_rows(pictures: bool, values: bool) -> Any:
    g = torch.Generator().manual_seed(1)
    x = torch.rand(40, 2, 6, 5, generator=g) if pictures else torch.randn(40, 6, generator=g)
    y = torch.randn(40, 3, generator=g) if values else torch.eye(3)[torch.arange(40) % 3]
    return tp.data.Dataset(x, y, "regression" if values else "classification")


class Small(nn.Module):
    """Dense layers, a residual branch and two parallel ones."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        blocks = tp.nets.Residual(nn.Linear(8, 8)), tp.nets.Residual(nn.Identity(), nn.Linear(8, 8))
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.Tanh(), *blocks, nn.Linear(8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def states(regularizer: Any, device: torch.device) -> list[dict[str, torch.Tensor]]:
    """The final states of three short trainings in double precision."""
    pictures, values = regularizer.acts_on == "image", "classification" not in regularizer.tasks
    rows = small_rows(pictures, values)
    network = tp.nets.build_seeded(lambda: Small(60 if pictures else 6), 0).double()
    people = [tp.Member(tp.Cocktail(regularizer), tp.optim.SGD(0.05, momentum=0.5), seed=i) for i in range(3)]
    made = tp.Population(network, people, rows, rows, batch_size=16, total_steps=STEPS, check_every=STEPS, compile=False, device=device)
    return [outcome.final or {} for outcome in made.run()]


def compared(name: str, device: torch.device) -> Row:
    """One regularizer on the processor and on the device."""
    options = {"where": tp.selectors.Hidden()} if name == "Denoising" else {"where": tp.selectors.AllParameters()} if name in ("SoftSharing", "Tying") else {}
    if name == "Distillation":
        options = {"teacher": tp.nets.build_seeded(lambda: Small(6), 1).double()}
    regularizer = REGISTRY[name](**options)
    try:
        here, there = states(regularizer, torch.device("cpu")), states(regularizer, device)
    except tp.ConfigError as error:
        return {"regularizer": name, "ok": None, "why": str(error)}
    worst = 0.0
    for one, other in zip(here, there, strict=True):
        for key, value in one.items():
            gap = (value.double() - other[key].double()).abs() / (CLOSE["atol"] + CLOSE["rtol"] * value.double().abs())
            worst = max(worst, float(gap.nan_to_num(0.0).max())) if bool((value.isnan() == other[key].isnan()).all()) else float("inf")
    return {"regularizer": name, "ok": worst <= 1.0, "of_tolerance": worst}


def draws(device: torch.device) -> Row:
    """Whether whole numbers, masks and orders are equal bit for bit, and how far normal numbers are apart, in units of the last place."""

    def drawn(where: torch.device) -> list[torch.Tensor]:
        rng = Rng(key_of(3, where), stream_of("benchmark"))
        exact = [rng.bits((1001,)), rng.uniform((1001,)), rng.keep_mask(0.3, (1001,)), rng.permutation(1001), rng.integers(17, (1001,))]
        return [t.cpu() for t in (*exact, rng.normal((1001,)))]

    here, there = drawn(torch.device("cpu")), drawn(device)
    apart = ((here[-1] - there[-1]).abs() / (torch.finfo(torch.float32).eps * here[-1].abs())).max()
    return {"exact": all(torch.equal(a, b) for a, b in zip(here[:-1], there[:-1], strict=True)), "normal_last_places": float(apart)}


# Throughput


def timed(step: Callable[[], Any], device: torch.device, seconds: float, repeats: int) -> float:
    """Milliseconds of a call: the median of runs that each take their share of the seconds."""
    step()
    waited(device)
    began = time.perf_counter()
    step()
    waited(device)
    many = max(1, round(seconds / repeats / max(time.perf_counter() - began, 1e-6)))
    found: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(many):
            step()
        waited(device)
        found.append(1e3 * (time.perf_counter() - began) / many)
    return statistics.median(found)


def waited(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def population(shape: tuple[int, int, int, int], members: int, device: torch.device, precision: str, rows: int = ROWS) -> Any:
    """Networks of which no two are alike."""
    width, layers, features, classes = shape
    g = torch.Generator().manual_seed(0)
    data = tp.data.Dataset(torch.randn(rows, features, generator=g), torch.eye(classes)[torch.randint(0, classes, (rows,), generator=g)], "classification")
    people: list[tp.Member] = []
    for i in range(members):
        share = i / members
        strengths = (tp.MixUp(0.2 + 0.1 * share), tp.LabelSmoothing(0.1), tp.Dropout(0.2 + 0.1 * share), tp.L2(1e-4 * (1 + share)), tp.L1(1e-6 * (1 + share)))
        people.append(tp.Member(tp.Cocktail(*strengths), tp.optim.AdamW(1e-3 * (1 + share), weight_decay=1e-3), seed=i))
    network = tp.nets.MLP(features, classes, hidden=(width,) * layers)
    settings = {
        "batch_size": min(BATCH, rows),
        "total_steps": 10**6,
        "check_every": 10**9,
        "memory": "64G",
        "compile": False,
        "device": device,
        "precision": precision,
    }
    return tp.Population(network, people, data, **settings)


def alone(shape: tuple[int, int, int, int], device: torch.device, seconds: float, repeats: int) -> float:
    """The same network in a loop of torch: dropout, label smoothing, decay and MixUp of one strength."""
    width, layers, features, classes = shape
    sizes = [features, *[width] * layers]
    parts = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU(), nn.Dropout(0.2))]
    network = nn.Sequential(*parts, nn.Linear(width, classes)).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3, fused=True)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    x, y = torch.randn(ROWS, features, device=device), torch.randint(0, classes, (ROWS,), device=device)

    def step() -> None:
        rows = torch.randint(0, ROWS, (BATCH,), device=device)
        other, keep = rows[torch.randperm(BATCH, device=device)], 0.9
        out = network(torch.lerp(x[other], x[rows], keep))
        (keep * loss(out, y[rows]) + (1 - keep) * loss(out, y[other])).backward()
        optimizer.step()
        optimizer.zero_grad()

    return timed(step, device, seconds, repeats)


def floor(shape: tuple[int, int, int, int], members: int, device: torch.device, seconds: float, repeats: int) -> float:
    """Milliseconds a network of the products of a step, forward and twice back, and of one pass over parameters, gradients and two moments."""
    width, layers, features, classes = shape
    sizes = [features, *[width] * layers, classes]
    total, numbers = 0.0, 0
    for a, b in itertools.pairwise(sizes):
        left, right = torch.randn(members, BATCH, a, device=device), torch.randn(members, a, b, device=device)
        total += 3 * timed(lambda p=left, q=right: torch.bmm(p, q), device, seconds / len(sizes) / 2, repeats)
        numbers += a * b + b
    flat = torch.randn(members, 7 * numbers // 2, device=device)  # four are read and three written, of which a copy does one each
    return (total + timed(lambda: flat.clone(), device, seconds / 2, repeats)) / members


def throughput(shape: tuple[int, int, int, int], members: int, precision: str, device: torch.device, seconds: float, repeats: int) -> Row:
    made = population(shape, members, device, precision)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    made.run(1)
    at = [1]

    def stretch() -> None:
        at[0] += 8
        made.run(at[0])

    ms = timed(stretch, device, seconds, repeats) / 8 / members
    peak = torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else 0
    return {"shape": shape, "members": members, "precision": precision, "ms": ms, "member_rows_a_second": BATCH / ms * 1e3, "bytes_a_member": peak / members}


def search_worth(device: torch.device, quick: bool) -> Row:
    """Seconds for the training of a published search: 840 networks, 105 epochs, 10,000 rows."""
    rows, members, epochs = (256, 4, 1) if quick else (ROWS, TRIALS, 2)
    made = population((16, 1, 4, 3) if quick else (512, 3, 50, 4), members, device, "fp32", rows)
    steps = epochs * -(-rows // min(BATCH, rows))
    made.run(1)
    waited(device)
    began = time.perf_counter()
    made.run(1 + steps)
    waited(device)
    measured = time.perf_counter() - began
    return {"networks": members, "rows": rows, "epochs": epochs, "seconds": measured, "seconds_for_all": measured * EPOCHS / epochs * TRIALS / members}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--parts", default="1,2,3")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long each row of part 2 is measured")
    parser.add_argument("--quick", action="store_true", help="a few small rows, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    args = parser.parse_args(arguments)
    device, parts = device_of(args.device, "benchmarks.gpu") or torch.device("cpu"), args.parts.split(",")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    began, quick = time.monotonic(), args.quick
    seconds, repeats = (0.02, 2) if quick else (args.seconds, args.repeats)
    record: Row = {"date": time.strftime("%Y-%m-%d"), "device": told(device), "torch": torch.__version__, "skipped": []}

    def put(part: str, row: Row) -> None:
        record.setdefault(part, []).append(row)
        record["seconds"] = round(time.monotonic() - began, 1)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(part, json.dumps(row), flush=True)

    if "1" in parts:
        importlib.import_module("temperance.regularizers")
        put("draws", draws(device))
        names = [name for name, kind in sorted(REGISTRY.items()) if kind.__module__.startswith("temperance.")]
        for name in names[::12] if quick else names:
            put("same", compared(name, device))
    for shape in (QUICK_SHAPES if quick else SHAPES) if "2" in parts else ():
        put("alone", {"shape": shape, "ms": alone(shape, device, seconds, repeats)})
        for members in QUICK_SIZES if quick else SIZES:
            for precision in ("fp32", "bf16"):
                if time.monotonic() - began > LIMIT - (60.0 if "3" in parts else 0.0):
                    record["skipped"].append([shape, members, precision])
                    continue
                put("population", throughput(shape, members, precision, device, seconds, repeats))
        put("floor", {"shape": shape, "ms": floor(shape, QUICK_SIZES[-1] if quick else 128, device, seconds, repeats)})
    if "3" in parts:
        put("search", search_worth(device, quick))
    wrong = [row["regularizer"] for row in record.get("same", ()) if row["ok"] is False]
    print(
        f"{told(device)}: {record['seconds']} s, {len(record.get('same', ()))} regularizers compared, other than on the processor: {', '.join(wrong) or 'none'}"
    )
    return 1 if wrong or not record.get("draws", [{"exact": True}])[0]["exact"] else 0


if __name__ == "__main__":
    sys.exit(main())
