"""The recipe of TabPack (arXiv 2607.05380, 2026), rebuilt from its description on populations of this project, as a rival with a budget.

Networks of one to three hidden layers of 384 ReLU units train side by side at constant rates. Each draws its own dropout, decay, rates, and width and spread
of the waves that encode numbers: [x, cos 2π(wx + b)], times a scale and plus a shift that begin at zero. Muon takes the hidden matrices, AdamW the rest. A
member stops at its 17th epoch without improvement. After each epoch an average is chosen greedily among the networks of the average so far, the best states
of members that have stopped and what the others are now; a new one replaces it only where it gains. It ends at the 33rd epoch without a gain, or with the
budget.

What differs: what decides is the log-loss (RMSE), as for everyone here; products have 32 bits; a member has 400 epochs at most. Numbers go to normal
quantiles, gaps to zero, categories and columns of two values to one-hot codes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer
from torch import Tensor, nn
from torch.func import functional_call

import temperance as tp
from temperance.data.dataset import Dataset

WIDTH, WAVES, MEMBERS, PICKS = 384, 32, 64, 64
PATIENCE, WITHOUT_GAIN = 17, 33
NOISE = 1e-3  # of the quantiles that ties are spread by, as a share of a column's standard deviation


class Waves(nn.Module):
    """Every number and its waves, those beyond a member's own width masked, as ``scale * (.) + shift``, which begin at zero."""

    embedding = True

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.frequency, self.phase = nn.Parameter(torch.zeros(columns, WAVES)), nn.Parameter(torch.zeros(columns, WAVES))
        self.factor, self.shift = nn.Parameter(torch.zeros(columns, 1 + WAVES)), nn.Parameter(torch.zeros(columns, 1 + WAVES))
        self.register_buffer("used", torch.ones(1 + WAVES))

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(-1)
        whole = torch.cat([x, torch.cos(2 * math.pi * (self.frequency * x + self.phase))], -1)
        return ((whole * self.factor + self.shift) * self.used).flatten(1)


class Packed(nn.Module):
    """Waves and codes, then hidden layers."""

    def __init__(self, numbers: int, codes: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.numbers, self.waves = numbers, Waves(numbers)
        self.body = tp.nets.MLP(numbers * (1 + WAVES) + codes, outputs, (WIDTH,) * depth)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(torch.cat([self.waves(x[:, : self.numbers]), x[:, self.numbers :]], 1))


def encoded(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> tuple[Tensor, Tensor, int]:
    """Inputs of both, numbers first, and how many numbers there are."""
    numeric = [c for c in train if pd.api.types.is_numeric_dtype(train[c])]
    numbers = [c for c in numeric if train[c].nunique() > 2]
    rest = [c for c in train if c not in numbers]
    parts: list[list[np.ndarray]] = [[], []]
    if numbers:
        a, b = (frame[numbers].astype(float) for frame in (train, test))
        noise = np.random.default_rng(seed).normal(0, NOISE, a.shape) * a.std().to_numpy()
        quantiles = QuantileTransformer(n_quantiles=min(1000, max(10, len(a) // 30)), output_distribution="normal", subsample=10**9, random_state=seed)
        quantiles.fit(a.to_numpy() + noise)
        for part, frame in zip(parts, (a, b), strict=True):
            part.append(np.nan_to_num(quantiles.transform(frame.to_numpy())))
    if rest:
        a, b = (frame[rest].astype("string").fillna("missing").to_numpy(dtype=object) for frame in (train, test))
        codes = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(a)
        for part, values in zip(parts, (a, b), strict=True):
            part.append(codes.transform(values))
    x, held = (torch.as_tensor(np.concatenate(part, 1), dtype=torch.float32) for part in parts)
    return x, held, len(numbers)


def drawn(sizes: tuple[int, int, int, int], seed: int, generator: np.random.Generator) -> tp.Member:
    """A member of such a :class:`Packed` network, with numbers of its own."""

    def between(low: float, high: float) -> float:
        return float(low * (high / low) ** generator.random())

    state = tp.nets.build_seeded(lambda: Packed(*sizes), seed).state_dict()
    spread, width = between(0.01, 10.0), int(generator.integers(8, WAVES + 1))
    state["waves.frequency"] = torch.as_tensor(generator.normal(0, spread, state["waves.frequency"].shape), dtype=torch.float32)
    state["waves.phase"] = torch.as_tensor(generator.random(state["waves.phase"].shape), dtype=torch.float32)
    state["waves.used"] = (torch.arange(1 + WAVES) <= width).float()
    rate = 0.0 if generator.random() < 0.5 else float(0.5 * generator.random())
    optimizer = tp.optim.Muon(between(1e-3, 0.1), adam_lr=between(1e-4, 5e-3), weight_decay=between(1e-3, 1.0))
    return tp.Member(tp.Cocktail(tp.Dropout(rate)), optimizer, seed=seed, initial=state)


class Average:
    """The average so far: predictions of its networks on the rows that choose and on those that are scored."""

    def __init__(self, y: Tensor, classes: bool) -> None:
        self.y, self.classes = y, classes
        self.loss, self.held, self.rows = math.inf, torch.empty(0), torch.empty(0)

    def losses(self, means: Tensor) -> Tensor:
        """Of averages ``(candidates, rows, outputs)``."""
        if not self.classes:
            return (means - self.y).square().mean((1, 2))
        return -(means.clamp_min(1e-15).log() * self.y).sum(2).mean(1)

    def better(self, rows: Tensor) -> list[int]:
        """The best start of a greedy order of picks among candidates, the networks of this average first among them; empty without a gain."""
        pool, picks, sums = torch.cat([self.rows, rows]) if len(self.rows) else rows, list[int](), torch.zeros_like(rows[0])
        losses: list[float] = []
        while len(picks) < PICKS:
            found = self.losses((sums + pool) / (len(picks) + 1)).nan_to_num(math.inf)
            picks.append(int(found.argmin()))
            losses.append(float(found.min()))
            sums = sums + pool[picks[-1]]
            if losses[-1] > min(losses):
                break
        best = int(np.argmin(losses))
        return picks[: best + 1] if losses[best] < self.loss * (1 - 1e-6) else []

    def replace(self, rows: Tensor, held: Tensor) -> None:
        self.rows, self.held, self.loss = rows, held, float(self.losses(rows.mean(0, keepdim=True)))


def tab_pack(train: pd.DataFrame, test: pd.DataFrame, classes: bool, seed: int, budget: float, members: int = MEMBERS) -> tuple[np.ndarray, dict[str, Any]]:
    """Probabilities or values of the test rows, and what it took."""
    began, paused = time.monotonic(), 0.0
    x, held, numbers = encoded(train.drop(columns="target"), test, seed)
    labels = np.unique(train["target"]) if classes else None
    raw = train["target"].to_numpy()
    y = torch.as_tensor(np.eye(len(labels))[np.searchsorted(labels, raw)] if labels is not None else raw[:, None].astype(float), dtype=torch.float32)
    a, b = train_test_split(np.arange(len(y)), test_size=0.2, random_state=seed, stratify=raw if classes else None)
    center, unit = (torch.zeros(1), torch.ones(1)) if classes else (y[a].mean(0), y[a].std(0))
    task = "classification" if classes else "regression"
    data, validation = (Dataset(x[torch.as_tensor(part)], (y[torch.as_tensor(part)] - center) / unit, task) for part in (a, b))
    generator, populations = np.random.default_rng(seed), list[tp.Population]()
    size = 256 if len(a) <= 10_000 else 512
    steps = math.ceil(len(a) / size)
    depths = generator.integers(1, 4, members)
    for depth in sorted(set(depths.tolist())):
        sizes = (numbers, x.shape[1] - numbers, y.shape[1], depth)
        own = [drawn(sizes, 1000 * seed + i, generator) for i in np.flatnonzero(depths == depth).tolist()]
        rule = tp.EarlyStopping(patience=f"{PATIENCE} evals")
        settings: dict[str, Any] = {"metric": "log_loss" if classes else "rmse", "batch_size": size, "check_every": steps, "clean_rows": 128}
        net = Packed(*sizes)
        populations.append(tp.Population(net, own, data, validation, total_steps=400 * steps, early_stopping=rule, **settings))
    average, without, epoch, ended = Average(validation.y, classes), 0, 0, dict[tuple[int, int], tuple[tp.Population, Mapping[str, Tensor]]]()
    while not epoch or (without < WITHOUT_GAIN and any(p.alive for p in populations) and time.monotonic() - began - paused < budget):
        epoch += 1
        pool: list[tuple[tp.Population, Mapping[str, Tensor]]] = []
        for place, population in enumerate(populations):
            population.run(epoch * steps, deadline=began + paused + budget)
            for chunk in population.chunks:
                params, buffers = chunk.group.readout()
                pool += [(population, {name: t[k].clone() for name, t in {**params, **buffers}.items()}) for k in range(len(chunk.indices))]
            for i, outcome in enumerate(population.outcomes):
                if i not in population.alive and outcome.state is not None:
                    ended[place, i] = (population, outcome.state)
        pool += ended.values()
        rows = torch.stack([predicted(population, state, validation.x, classes) for population, state in pool])
        picks = average.better(rows)
        without = 0 if picks else without + 1
        if picks:
            seconds, old = time.monotonic(), len(average.rows)
            on_test = [average.held[p] if p < old else predicted(*pool[p - old], held, classes) for p in picks]
            paused += time.monotonic() - seconds
            average.replace(torch.stack([average.rows[p] if p < old else rows[p - old] for p in picks]), torch.stack(on_test))
    out = average.held.mean(0) * unit + center
    return out.numpy(), {"seconds": time.monotonic() - began - paused, "trials": members, "networks": len(average.held), "cocktail": f"{epoch} epochs"}


def predicted(population: tp.Population, state: Mapping[str, Tensor], x: Any, classes: bool) -> Tensor:
    """Probabilities or values of one network."""
    with torch.no_grad():
        out = functional_call(population.model(0, dict(state)).eval(), dict(state), (x,))
    return out.softmax(1) if classes else out
