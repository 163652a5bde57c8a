"""Easy rows first: which rows are seen when, and what does not change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

import temperance as tp
from temperance.core.random import key_of
from temperance.data.dataset import Dataset
from temperance.train.compiled import compiler_missing
from temperance.train.curriculum import Curriculum, Pace
from temperance.train.member import Member
from temperance.train.population import Population
from temperance.train.rows import RowSampler

N, BATCH, STEPS = 40, 8, 50


def paced(curricula: list[Curriculum | None], seeds: list[int], rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The rows of every step without and with the curricula, ``(steps, members, batch)``."""
    k = len(curricula)
    table = torch.arange(N).expand(k, N) if rows is None else rows
    counts = torch.full((k,), table.shape[1])
    keys = torch.stack([key_of(seed) for seed in seeds])
    sampler = RowSampler(table, counts, keys, BATCH)
    usual = torch.stack([sampler.at(t) for t in range(STEPS)])
    return usual, Pace(curricula, table, counts, keys).at(usual, 0, torch.full((k,), float(STEPS), dtype=torch.float64))


def difficulty() -> Tensor:
    """Of row i: i, in an order that is not that of the rows."""
    return torch.randperm(N, generator=torch.Generator().manual_seed(3)).double()


def test_only_open_rows_are_seen() -> None:
    """At step t the easiest start + (1 - start) min(1, t / (end steps)) of the rows, and nothing else changes."""
    levels = difficulty()
    usual, seen = paced([Curriculum(levels, start=0.25, end=0.6)], [0])
    for t in range(STEPS):
        count = round(10 + 30 * min(1.0, t / (0.6 * STEPS)) + 0.4999)
        assert float(levels[seen[t, 0]].max()) < count
        known = levels[usual[t, 0]] < count
        assert torch.equal(seen[t, 0][known], usual[t, 0][known])
        if t >= 0.6 * STEPS:
            assert torch.equal(seen[t], usual[t])


def test_open_rows_are_equally_likely() -> None:
    """Over 400 members and 12 first steps each of the 10 open rows is a tenth of what is seen."""
    levels = difficulty()
    _, seen = paced([Curriculum(levels, start=0.25, end=1.0)] * 400, list(range(400)))
    first = levels[seen[0]].flatten()
    shares = torch.bincount(first.long(), minlength=10) / len(first)
    assert len(shares) == 10
    torch.testing.assert_close(shares, torch.full((10,), 0.1), rtol=0, atol=5 * (0.1 * 0.9 / len(first)) ** 0.5)


@given(st.lists(st.integers(0, 3), min_size=N, max_size=N), st.floats(0.05, 0.9))
def test_equal_rows_open_together(levels: list[int], start: float) -> None:
    table = torch.tensor(levels).double()
    _, seen = paced([Curriculum(table, start=start, end=1.0)], [1])
    hardest = table.sort().values[max(0, -int(-(start * N - 1e-9) // 1) - 1)]
    assert float(table[seen[0, 0]].max()) <= float(hardest)


def test_off_is_absent() -> None:
    usual, seen = paced([Curriculum(difficulty(), start=1.0), None], [0, 1])
    assert torch.equal(usual, seen)


def test_a_member_sees_the_same_rows_in_company() -> None:
    curricula = [Curriculum(difficulty(), start=0.3), None, Curriculum(-difficulty(), start=0.1, end=1.0)]
    _, together = paced(curricula, [5, 6, 7])
    for i in (0, 2):
        _, alone = paced([curricula[i]], [5 + i])
        assert torch.equal(alone[:, 0], together[:, i])
    own = torch.stack([torch.arange(0, N, 2), torch.arange(1, N, 2)])
    levels = difficulty()
    _, halves = paced([Curriculum(levels, start=0.5, end=1.0)] * 2, [5, 6], own)
    for i in (0, 1):
        assert bool((halves[:, i] % 2 == i).all())
        assert float(levels[halves[0, i]].max()) <= float(levels[own[i]].sort().values[9])


# In the trainer


def data() -> Dataset:
    g = torch.Generator().manual_seed(0)
    return Dataset(torch.randn(N, 4, generator=g), torch.eye(3)[torch.randint(0, 3, (N,), generator=g)], "classification")


def members() -> list[Member]:
    curriculum = Curriculum(difficulty(), start=0.2, end=0.7)
    made = [Member(tp.Cocktail(tp.L2(0.01 * i)), tp.optim.SGD(0.1), seed=i, curriculum=curriculum) for i in range(3)]
    return [made[0], replace(made[1], curriculum=None), replace(made[2], length=0.5)]


def population(people: list[Member], **settings: Any) -> Population:
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(4, 3, hidden=(6,)), 0)
    return Population(net, people, data(), batch_size=BATCH, total_steps=20, check_every=10, **settings)


def finals(made: Population) -> list[dict[str, Tensor]]:
    out = [o.final for o in made.run()]
    return [state for state in out if state is not None]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in b)


def test_in_a_population() -> None:
    people = members()
    together = finals(population(people))
    for i, member in enumerate(people):
        assert same(finals(population([member]))[0], together[i])
    plain = finals(population([replace(m, curriculum=None) for m in people]))
    assert [same(a, b) for a, b in zip(together, plain, strict=True)] == [False, True, False]
    off = [replace(m, curriculum=Curriculum(difficulty(), start=1.0)) for m in people]
    assert all(same(a, b) for a, b in zip(finals(population(off)), plain, strict=True))


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    through = finals(population(members()))
    first = population(members())
    first.run(until=7)
    tp.train.save_population(first, tmp_path)
    again = finals(tp.train.load_population(population(members()), tmp_path))
    assert all(same(a, b) for a, b in zip(again, through, strict=True))


@pytest.mark.slow
@pytest.mark.skipif(bool(compiler_missing()), reason="no C++ compiler is here, and nothing is compiled without one")
def test_compiled_as_plain() -> None:
    made = population(members(), compile=True)
    for ours, theirs in zip(finals(made), finals(population(members())), strict=True):
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5)
    assert not made.notes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curriculum([1.0], start=0.0), r"`start` of Curriculum in \(0, 1\], got 0.0"),
        (lambda: Curriculum([1.0], end=1.5), r"`end` of Curriculum in \(0, 1\], got 1.5"),
        (lambda: Curriculum([1.0, float("nan")]), "`difficulty` of Curriculum to be one finite number per row"),
        (lambda: population([Member(curriculum=Curriculum([1.0, 2.0]))]), "`difficulty` of Curriculum to have a number for each of the 40 rows, got 2"),
        (lambda: tp.fit(tp.nets.MLP(4, 3), members(), data()), "`validation` of fit to be None, a Dataset or a pair"),
        (lambda: tp.fit(tp.nets.MLP(4, 3), members(), data(), validation=data(), retrain="same_steps"), "`retrain` of fit to be None where members have"),
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(tp.ConfigError, match=message):
        make()
