"""Which rows a member sees: permutations, wrapping, folds and bootstraps; bags put together."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

import temperance as tp
from temperance.core.random import Rng, key_of, stream_of
from temperance.data.dataset import Dataset
from temperance.train.bagging import bootstrap
from temperance.train.member import Member
from temperance.train.rows import RowSampler, drawn


def sampler(counts: list[int], batch: int, seeds: list[int] | None = None) -> RowSampler:
    """Members with the rows 100 i, 100 i + 1, ..."""
    rows = torch.zeros(len(counts), max(counts), dtype=torch.long)
    for i, n in enumerate(counts):
        rows[i, :n] = 100 * i + torch.arange(n)
    keys = torch.stack([key_of(seed) for seed in seeds or range(len(counts))])
    return RowSampler(rows, torch.tensor(counts), keys, batch)


def walk(s: RowSampler, steps: int) -> Tensor:
    """All positions, ``(members, steps * batch)``."""
    return torch.cat([s.at(t) for t in range(steps)], 1)


@given(counts=st.lists(st.integers(4, 30), min_size=1, max_size=4), batch=st.integers(1, 4), epochs=st.integers(1, 3))
def test_every_epoch_is_a_permutation_and_wraps(counts: list[int], batch: int, epochs: int) -> None:
    steps = -(-epochs * max(counts) // batch)
    seen = walk(sampler(counts, batch), steps)
    for i, n in enumerate(counts):
        for epoch in range(steps * batch // n):
            part = seen[i, epoch * n : (epoch + 1) * n]
            assert sorted(part.tolist()) == list(range(100 * i, 100 * i + n))
        rest = seen[i, steps * batch // n * n :]
        assert len(set(rest.tolist())) == len(rest)


def test_epochs_and_members_differ() -> None:
    seen = walk(sampler([50, 50], 10, [1, 2]), 10) % 100
    orders = [tuple(seen[i, a : a + 50].tolist()) for i in (0, 1) for a in (0, 50)]
    assert len(set(orders)) == 4 and (0, *range(1, 50)) not in orders


@given(st.lists(st.integers(3, 20), min_size=2, max_size=4), st.integers(1, 3))
def test_alone_as_in_company(counts: list[int], batch: int) -> None:
    together = sampler(counts, batch, [7] * len(counts))
    for i, n in enumerate(counts):
        alone = RowSampler(together.rows[i : i + 1, :n], together.counts[i : i + 1], together.keys[i : i + 1], batch)
        assert torch.equal(walk(alone, 25)[0], walk(together, 25)[i])


def test_steps_in_any_order_and_after_compaction() -> None:
    """The rows of a step are a function of the step: resuming and leaving members do not move them."""
    s = sampler([11, 17, 13], 4)
    expected = [s.at(t) for t in range(30)]
    for t in (29, 0, 14, 15, 3):
        assert torch.equal(s.at(t), expected[t])
    kept = RowSampler(s.rows[[2, 0]], s.counts[[2, 0]], s.keys[[2, 0]], s.batch_size)
    for t in (5, 6, 20):
        assert torch.equal(kept.at(t), expected[t][[2, 0]])


def test_repeated_rows_are_drawn_as_often_as_they_stand_there() -> None:
    rows = torch.tensor([[5, 5, 5, 2, 9, 9]])
    seen = walk(RowSampler(rows, torch.tensor([6]), key_of(0).reshape(1), 2), 3)
    assert sorted(seen[0].tolist()) == [2, 5, 5, 5, 9, 9]


@given(st.integers(1, 60), st.integers(1, 60))
def test_drawn(n: int, most: int) -> None:
    rows = drawn(n, most)
    assert len(rows) == min(n, most) == len(set(rows.tolist())) and set(rows.tolist()) <= set(range(n))


# Bagging


def test_shares_of_a_bootstrap() -> None:
    """1 - (1 - 1/n)^n of the rows: 70.4 % at n = 3, 63.2 % in the limit."""
    for n, members, tolerance in ((3, 3000, 0.02), (2000, 20, 0.01)):
        bags = tp.ensemble.bootstrap(Member(), n, members)
        shares = [len(set(torch.as_tensor(m.rows).tolist())) / n for m in bags]
        expected = 1 - (1 - 1 / n) ** n
        assert sum(shares) / members == pytest.approx(expected, abs=tolerance)
        assert expected == pytest.approx({3: 0.704, 2000: 0.632}[n], abs=1e-3)


def test_a_bag_is_validated_on_the_rows_it_left_out() -> None:
    bags = tp.ensemble.bootstrap(Member(seed=4), 40, 6)
    for bag in bags:
        inside, outside = set(torch.as_tensor(bag.rows).tolist()), set(torch.as_tensor(bag.validation).tolist())
        assert not inside & outside and inside | outside == set(range(40))
    assert len({tuple(torch.as_tensor(b.rows).tolist()) for b in bags}) == 6
    assert len({b.seed for b in bags}) == 6
    again = tp.ensemble.bootstrap(Member(seed=4), 40, 2)
    assert all(torch.equal(torch.as_tensor(a.rows), torch.as_tensor(b.rows)) for a, b in zip(again, bags[:2], strict=True))


def test_folds() -> None:
    pairs = [([0, 1], [2]), ([1, 2], [0])]
    made = tp.ensemble.folds(Member(name="a "), pairs)
    assert [torch.as_tensor(m.validation).tolist() for m in made] == [[2], [0]] and [m.name for m in made] == ["a fold 0", "a fold 1"]
    with pytest.raises(tp.ConfigError, match="`splits` of folds"):
        tp.ensemble.folds(Member(), [])


def test_combine() -> None:
    p = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.6, 0.4]], [[0.3, 0.7], [0.2, 0.8]]])
    torch.testing.assert_close(tp.ensemble.combine(p), p.mean(0))
    torch.testing.assert_close(tp.ensemble.combine(p, "vote"), torch.tensor([[1 / 3, 2 / 3], [2 / 3, 1 / 3]]))
    with pytest.raises(tp.ConfigError, match="'mean' or 'vote'"):
        tp.ensemble.combine(p, "median")


def test_a_detector_of_eights_from_resamples() -> None:
    """The lecture's figure: resamples of 9, 6, 8 teach one member the upper and another the lower loop; together they know an eight by both."""
    # Features: upper loop, lower loop; a 9 has the upper one, a 6 the lower one, an 8 both.
    digits = Dataset(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.tensor([[0.0], [0.0], [1.0]]), "multilabel")
    nine_missing, six_missing = [1, 1, 2], [0, 0, 2]
    members = [Member(tp.Cocktail(), tp.optim.SGD(1.0), rows=rows) for rows in (nine_missing, six_missing)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torch.nn.Linear(2, 1)
    made = tp.Population(net, members, digits, batch_size=3, total_steps=800, check_every=800)
    made.run()
    with torch.no_grad():
        logits = torch.stack([made.model(i)(digits.x) for i in (0, 1)])
    weights = [made.model(i).state_dict()["weight"][0] for i in (0, 1)]
    assert weights[0][0] > weights[0][1] and weights[1][1] > weights[1][0]  # one looks for the upper loop, the other for the lower
    assert bool((logits[:, 2] > 0).all()) and bool((logits[0, 1] < 0).all()) and bool((logits[1, 0] < 0).all())
    wrong_alone = [(torch.sigmoid(one) > 0.5).float().squeeze(1).tolist() for one in logits]
    assert wrong_alone[0][0] == 1.0 and wrong_alone[1][1] == 1.0  # each takes the digit it never saw for an eight
    votes = (logits > 0).float().mean(0).squeeze(1)
    assert votes.tolist() == [0.5, 0.5, 1.0]  # both agree on the eight alone


def test_rows_looked_up_ahead_are_those_of_each_step() -> None:
    """Members of different length, more than one epoch in a block, from any step on."""
    counts = [7, 30, 90]
    whole = walk(sampler(counts, 4), 70)
    for start in (0, 1, 31, 32, 50):
        fresh = sampler(counts, 4)
        assert torch.equal(torch.cat([fresh.at(t) for t in range(start, 70)], 1), whole[:, start * 4 :])


@pytest.mark.parametrize("n", [7, 5_000_000, 2**31 - 1])
def test_whole_numbers_are_uniform_at_any_size(n: int) -> None:
    """In sixteen equal parts, and in the last digit, which draws of 23 bits get wrong: each count is binomial, and within five standard errors."""
    found = Rng(key_of(3), stream_of("whole")).integers(n, (400_000,))
    assert int(found.min()) >= 0 and int(found.max()) < n
    parts = min(n, 16)
    for some in (found * parts // n, found % parts):
        shares = torch.bincount(some, minlength=parts).double() / len(found)
        assert float((shares - 1 / parts).abs().max()) < 5 * (1 / parts / len(found)) ** 0.5


def test_a_bootstrap_of_five_million_rows() -> None:
    """The share of rows that it holds is 1 - 1/e; its standard error is sqrt(e^-1 - 2 e^-2) / sqrt(n) = 1.4e-4. With 8.4 million values it was 0.6."""
    n = 5_000_000
    rows = bootstrap(Member(), n, 1)[0].rows
    assert isinstance(rows, Tensor)
    counts = torch.bincount(rows, minlength=n)
    assert float((counts > 0).double().mean()) == pytest.approx(1 - math.exp(-1), abs=5 * 1.4e-4)
    assert float(counts.double().var()) == pytest.approx(1.0, abs=0.01)


def test_the_values_that_an_order_is_sorted_by_never_tie() -> None:
    bits = Rng(key_of(1), stream_of("order")).bits((3_000_000,))
    assert not bool((bits.sort().values.diff() == 0).any())
