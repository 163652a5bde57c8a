"""Rivals of the search benchmark: one network at a time in a one-thread process, by a careful PyTorch loop that holds no code of the package.

Two such workers make an arm. TPE's share one Optuna study, in a journal file; random search needs none. Either trains the same network, batch size,
schedule, regularizers and early stopping as the package does, and every epoch of every network counts at once (anytime).

A worker's clock is its own process CPU seconds plus the seconds in which it waited for the study's file (lock, write, flush): with one thread on an
idle core that is wall-clock time, and on a busy machine other work does not count against it. Scoring test rows does not count. Denormal
numbers are flushed to zero, and the process keeps freed memory (environment of `search.py`): both make it faster.

Checked (`search.py --check`, 60 seeds, best validation accuracy, mean ± sd) against tp.fit: credit-g, nothing on, 76.54 ± 0.99 and 76.51 ± 0.83; all nine
strengths on, 76.92 ± 1.02 and 76.92 ± 0.92; vehicle 83.34 ± 1.02 and 83.30 ± 1.18, 78.29 ± 1.41 and 78.03 ± 1.38. Without random numbers the two loops
reach the same weights (tests/benchmarks). With the baseline's regularizers a step takes 0.9 times the baseline's.

    python -m benchmarks.rivals JOB.json                          one worker, as `benchmarks/search.py` starts it
    python -m benchmarks.rivals --baseline FILE [--steps 300]     milliseconds a step beside those of the baseline file, at the same shape
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.storages.journal import JournalFileBackend
from torch import Tensor, nn
from torch.nn import functional as F

FLAT, WARMUP = 0.5, 0.02
SWITCH = ".on"
FOREACH: Any = torch  # whose functions over lists of tensors have no types
STRENGTHS = (
    "label_smoothing.epsilon",
    "mixup.alpha",
    "input_noise.sigma",
    "dropout.rate",
    "dropout.input_rate",
    "weight_decay.lam",
    "ema.decay",
    "l2.lam",
    "l1.lam",
)


@dataclass(frozen=True)
class Space:
    """What is searched: the range and the off value of each strength, ``label.field``, and the range of the learning rate."""

    strengths: Mapping[str, Mapping[str, Any]]
    lr: tuple[float, float]

    def suggest(self, trial: Any) -> tuple[dict[str, float], float]:
        """A switch for each strength, a number where it is on, and the learning rate."""
        out: dict[str, float] = {}
        for name, spec in self.strengths.items():
            on = trial.suggest_categorical(name + SWITCH, [True, False])
            out[name] = trial.suggest_float(name, spec["low"], spec["high"], log=spec["log"]) if on else spec["off"]
        return out, trial.suggest_float("learning_rate", *self.lr, log=True)

    def params(self, strengths: Mapping[str, float], lr: float) -> dict[str, Any]:
        """The Optuna parameters of a configuration that is given."""
        on = {name: strengths.get(name, spec["off"]) != spec["off"] for name, spec in self.strengths.items()}
        return {**{name + SWITCH: flag for name, flag in on.items()}, **{name: strengths[name] for name, flag in on.items() if flag}, "learning_rate": lr}


@dataclass(frozen=True)
class Part:
    """Encoded rows ``x (n, features)`` and classes ``y (n,)``."""

    x: Tensor
    y: Tensor

    def accuracy(self, logits: Tensor) -> float:
        return float((logits.argmax(1) == self.y).sum()) / len(self.y)


@dataclass(frozen=True)
class Check:
    """What is known after an epoch: the validation score of the network as it would be shipped now."""

    step: int
    score: float
    network: nn.Module


def schedule(total: int) -> list[float]:
    """The learning rate's factor at every step: a linear warm-up, constant, then a half cosine to zero."""
    shares = [t / total for t in range(total)]
    down = [0.5 * (1.0 + math.cos(math.pi * min(max((p - FLAT) / (1.0 - FLAT), 0.0), 1.0))) for p in shares]
    return [p / WARMUP if p < WARMUP else d for p, d in zip(shares, down, strict=True)]


def network(features: int, classes: int, hidden: Sequence[int], rate: float) -> nn.Sequential:
    """The MLP, with dropout after every hidden layer where there is any; torch's own first weights."""
    layers: list[nn.Module] = []
    widths = [features, *hidden]
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU(inplace=True), *([nn.Dropout(rate)] if rate else [])]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


class Loop:
    """One network in training: ``step(t)`` is the whole inner loop."""

    def __init__(
        self,
        rows: Part,
        classes: int,
        strengths: Mapping[str, float],
        lr: float,
        *,
        hidden: Sequence[int],
        batch: int,
        total: int,
        model: nn.Module | None = None,
    ) -> None:
        s = {name: strengths.get(name, 0.0) for name in STRENGTHS}
        self.model = model or network(rows.x.shape[1], classes, hidden, s["dropout.rate"])
        self.batch, self.lr = batch, lr
        smooth = s["label_smoothing.epsilon"]
        self.x, self.y = rows.x, F.one_hot(rows.y, classes).float() * (1.0 - smooth) + smooth / classes  # linear in y, so the same before MixUp
        spread = rows.x.std(0, unbiased=False)
        self.noise = torch.where(spread > 0, spread, 1.0) * s["input_noise.sigma"] if s["input_noise.sigma"] else None
        self.input_rate, self.decay, self.l2, self.l1, self.ema = s["dropout.input_rate"], s["weight_decay.lam"], s["l2.lam"], s["l1.lam"], s["ema.decay"]
        passes = -(-total * batch // len(rows.x))
        self.order = torch.cat([torch.randperm(len(rows.x)) for _ in range(passes)])[: total * batch].reshape(total, batch)
        alpha = s["mixup.alpha"]
        self.keep: list[float] = torch.distributions.Beta(alpha, alpha).sample((total,)).tolist() if alpha else []
        self.factors = schedule(total)
        self.params = list(self.model.parameters())
        self.weights = [p for p in self.params if p.ndim > 1]
        self.optimizer = torch.optim.AdamW(self.params, lr=lr, weight_decay=0.0, fused=True)
        self.shipped = copy.deepcopy(self.model).requires_grad_(False).eval() if self.ema else self.model
        self.averages, self.mass = list(self.shipped.parameters()), 0.0

    def step(self, t: int) -> None:
        x, y = self.x.index_select(0, self.order[t]), self.y.index_select(0, self.order[t])
        if self.keep:
            mix, keep = torch.randperm(self.batch), self.keep[t]
            x, y = torch.lerp(x.index_select(0, mix), x, keep), torch.lerp(y.index_select(0, mix), y, keep)
        if self.noise is not None:
            x.addcmul_(torch.randn_like(x), self.noise)
        if self.input_rate:
            x = F.dropout(x, self.input_rate)
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(self.model(x), y).backward()
        lr = self.optimizer.param_groups[0]["lr"] = self.lr * self.factors[t]
        with torch.no_grad():
            if self.l2:
                FOREACH._foreach_add_([w.grad for w in self.weights], self.weights, alpha=self.l2)
            if self.decay:
                FOREACH._foreach_mul_(self.weights, 1.0 - lr * self.decay)
            self.optimizer.step()
            if self.l1:
                for w in self.weights:
                    w.copy_(F.softshrink(w, lr * self.l1))
            if self.ema:
                self.mass = self.ema * self.mass + 1.0 - self.ema
                FOREACH._foreach_lerp_(self.averages, self.params, (1.0 - self.ema) / self.mass)

    def outputs(self, x: Tensor) -> Tensor:
        """Logits of the state that would be shipped."""
        self.shipped.eval()
        with torch.no_grad():
            out = self.shipped(x)
        self.model.train()
        return out


def train(
    rows: Part, validation: Part, classes: int, strengths: Mapping[str, float], lr: float, *, hidden: Sequence[int], batch: int, epochs: float, seed: int
) -> Iterator[Check]:
    """Train one network, with a check after every epoch, until its steps are done or its best score is ``patience`` checks old.

    Batches are never short: rows go on into the next epoch's order, and an epoch is the nearest whole number of batches. A network whose loss is no
    number ends there.

    Raises:
        ValueError: a strength that the loop does not know.
    """
    strange = sorted(set(strengths) - set(STRENGTHS))
    if strange:
        raise ValueError(f"Expected `strengths` to hold some of {', '.join(STRENGTHS)}, got {strange[0]!r}. Add it to the loop.")
    torch.manual_seed(seed)
    batch = min(batch, len(rows.x))
    total, every = max(1, round(epochs * len(rows.x) / batch)), max(1, round(len(rows.x) / batch))
    patience = max(10, round(0.7 * epochs))
    loop = Loop(rows, classes, strengths, lr, hidden=hidden, batch=batch, total=total)
    best, since = -1.0, 0
    for t in range(total):
        loop.step(t)
        if (t + 1) % every and t + 1 < total:
            continue
        out = loop.outputs(validation.x)
        score = validation.accuracy(out)
        if not bool(torch.isfinite(out).all()):
            return
        yield Check(t + 1, score, loop.shipped)
        best, since = max(best, score), 0 if score > best else since + 1
        if since >= patience or best == 1.0:
            return


@dataclass
class Clock:
    """Process CPU seconds since the start, with waiting added and what does not count taken out."""

    start: float = field(default_factory=time.process_time)
    waited: float = 0.0
    free: float = 0.0

    def now(self) -> float:
        return time.process_time() - self.start + self.waited - self.free

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Wall-clock seconds inside the block that were not CPU seconds count too."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.waited += max(0.0, time.perf_counter() - wall - (time.process_time() - cpu))

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        cpu = time.process_time()
        try:
            yield
        finally:
            self.free += time.process_time() - cpu


class TimedJournal(JournalFileBackend):
    """The journal file, whose waits a clock counts."""

    clock: Clock | None = None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self.clock is None:
            return super().append_logs(logs)
        with self.clock.waiting():
            return super().append_logs(logs)


def shared_study(path: str, seed: int, first: Sequence[Mapping[str, Any]] = ()) -> tuple[Any, TimedJournal]:
    """The study of TPE's workers; ``first`` are the configurations to begin with, for the one who creates it."""
    journal = TimedJournal(path)
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    study = optuna.create_study(study_name="rival", storage=optuna.storages.JournalStorage(journal), sampler=sampler, direction="maximize", load_if_exists=True)
    for params in first:
        study.enqueue_trial(dict(params))
    return study, journal


def quiet() -> None:
    """Optuna without log lines and notes on experimental settings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def work(job: Mapping[str, Any], ready: Callable[[], None]) -> dict[str, Any]:
    """Search until the worker's seconds are spent; returns its curve ``[seconds, validation score, test score]`` and counts.

    With ``kept`` in the job, a file gets the probabilities of every network's best state so far, on validation and test rows; making them does not count.
    """
    held = np.load(job["data"])
    rows, validation, test = (Part(torch.from_numpy(held[f"x_{part}"]), torch.from_numpy(held[f"y_{part}"])) for part in ("train", "validation", "test"))
    space = Space(job["strengths"], tuple(job["lr"]))
    journal: TimedJournal | None = None
    if job["arm"] == "tpe":
        study, journal = shared_study(job["study"], job["sampler_seed"])
    else:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(job["sampler_seed"]), direction="maximize")
        for params in job["first"]:
            study.enqueue_trial(dict(params))
    settings: dict[str, Any] = {"hidden": job["hidden"], "batch": job["batch"], "epochs": job["epochs"], "seed": job["seed"]}
    for _ in train(rows, validation, job["classes"], {}, 1e-3, **{**settings, "epochs": 1.0}):  # torch's first calls are start-up
        pass
    ready()
    clock, wall = Clock(), time.perf_counter()
    if journal is not None:
        journal.clock = clock
    curve: list[list[float]] = []
    kept: list[tuple[float, int, float, np.ndarray, np.ndarray]] = []
    top, trials, steps, seconds = -1.0, 0, 0, float(job["seconds"])
    while clock.now() < seconds:
        trial = study.ask()
        strengths, lr = space.suggest(trial)
        best, done = -1.0, 0
        for check in train(rows, validation, job["classes"], strengths, lr, **settings):
            now = clock.now()
            if now > seconds:
                break
            if check.score > best:
                with clock.uncounted():
                    check.network.eval()
                    with torch.no_grad():
                        outputs = check.network(test.x)
                        kept.append((now, trial.number, check.score, check.network(validation.x).softmax(1).numpy(), outputs.softmax(1).numpy()))
                        if check.score > top:
                            curve.append([now, check.score, test.accuracy(outputs)])
                    check.network.train()
            top, best, done = max(top, check.score), max(best, check.score), check.step
        trials, steps = trials + (clock.now() < seconds), steps + done
        if best < 0:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, best)
    if "kept" in job:
        names = ("seconds", "trial", "score", "validation", "test")
        np.savez(job["kept"], allow_pickle=False, **{name: np.array([entry[i] for entry in kept]) for i, name in enumerate(names)})
    return {
        "curve": curve,
        "trials": trials,
        "steps": steps,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - clock.start,
        "waited": clock.waited,
    }


def speed(baseline: Path, steps: int, shape: tuple[int, int, int, int] = (128, 2, 50, 4)) -> dict[str, float]:
    """Median milliseconds a step, one thread, A B A B: the baseline's loop, ours with the same regularizers, with all of them, and with none."""
    spec = importlib.util.spec_from_file_location("baseline", baseline)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    width, depth, features, classes = shape
    same = {"dropout.rate": 0.2, "l2.lam": 1e-4, "l1.lam": 1e-6, "weight_decay.lam": 1e-3, "label_smoothing.epsilon": 0.1, "mixup.alpha": 0.2}
    more = {**same, "input_noise.sigma": 0.1, "dropout.input_rate": 0.1, "ema.decay": 0.99}
    rows = Part(torch.randn(module.ROWS, features), torch.randint(0, classes, (module.ROWS,)))
    times: dict[str, list[float]] = {"baseline": [], "same": [], "all": [], "none": []}
    for _ in range(4):
        times["baseline"].append(module.median_ms(module.plain_step(shape), steps))
        for name, strengths in (("same", same), ("all", more), ("none", {})):
            loop = Loop(rows, classes, strengths, 1e-3, hidden=[width] * depth, batch=module.BATCH, total=steps + 8)
            count = iter(range(steps + 8))
            times[name].append(module.median_ms(lambda loop=loop, count=count: loop.step(next(count)), steps))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", nargs="?", type=Path)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    quiet()
    if args.baseline is not None:
        found = speed(args.baseline, args.steps)
        print("  ".join(f"{name} {ms:.3f} ms" for name, ms in found.items()) + f"  same / baseline {found['same'] / found['baseline']:.2f}")
        return
    if args.job is None:
        parser.error("Expected JOB.json or --baseline FILE.")
    job = json.loads(args.job.read_text())

    def ready() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    Path(job["out"]).write_text(json.dumps(work(job, ready)))


if __name__ == "__main__":
    main()
