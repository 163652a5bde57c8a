"""The random numbers, lane by lane and stream by stream. Bounds follow from the sample size: five standard errors, or p > 1e-4 in a fixed set of tests."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from temperance.core.random import Rng, fold, key_of, stream_of

N = 1 << 16
LEVEL = 1e-4


def bits(seed: int = 0, stream: object = "a", step: int = 0, n: int = N) -> np.ndarray:
    return Rng(fold(key_of(seed), step), stream_of(stream)).bits((n,)).numpy().astype(np.int64) & 0xFFFFFFFF


def chi2(counts: np.ndarray) -> float:
    return float(stats.chisquare(counts).pvalue)


def sources() -> dict[str, np.ndarray]:
    """Draws that differ in one thing: seed, step, layer, call, site, regularizer."""
    return {
        "base": bits(),
        "next seed": bits(seed=1),
        "far seed": bits(seed=1 << 40),
        "next step": bits(step=1),
        "later step": bits(step=1000),
        "next layer": bits(stream=("dropout", "hidden", "3", 0)),
        "next call": bits(stream=("dropout", "hidden", "3", 1)),
        "other site": bits(stream=("dropout", "batch")),
        "other regularizer": bits(stream=("input_noise", "batch")),
    }


SOURCES = sources()


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("lane", [0, 16])
def test_each_16_bit_lane_is_uniform(name: str, lane: int) -> None:
    values = (SOURCES[name] >> lane) & 0xFFFF
    assert chi2(np.bincount(values >> 8, minlength=256)) > LEVEL
    assert chi2(np.bincount(values & 0xFF, minlength=256)) > LEVEL


@pytest.mark.parametrize("bit", range(32))
def test_each_bit_is_fair_and_independent_of_its_neighbour_in_the_sequence(bit: int) -> None:
    one = (SOURCES["base"] >> bit) & 1
    bound = 5 * math.sqrt(0.25 / N)
    assert abs(one.mean() - 0.5) < bound
    for lag in (1, 2, 3, 64, 128):
        assert abs((one[lag:] ^ one[:-lag]).mean() - 0.5) < bound * math.sqrt(N / (N - lag))


def test_the_lanes_of_one_value_are_independent() -> None:
    low, high = SOURCES["base"] & 0xFFFF, SOURCES["base"] >> 16
    table = np.histogram2d(low >> 12, high >> 12, bins=16)[0]
    assert chi2(table.ravel()) > LEVEL


@pytest.mark.parametrize("pair", list(itertools.combinations(SOURCES, 2)), ids=" / ".join)
def test_streams_are_uncorrelated(pair: tuple[str, str]) -> None:
    """Steps, members, layers, calls, sites and regularizers: correlation within 5/√n, no value in common place, flat joint histogram."""
    a, b = SOURCES[pair[0]], SOURCES[pair[1]]
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(N)
    assert (a == b).sum() <= 3
    table = np.histogram2d(a >> 28, b >> 28, bins=16)[0]
    assert chi2(table.ravel()) > LEVEL
    differing = a ^ b
    for bit in range(32):
        assert abs(((differing >> bit) & 1).mean() - 0.5) < 5 * math.sqrt(0.25 / N)


def test_no_stream_is_another_one_shifted() -> None:
    """A counter under one hash could make streams overlap at an offset; look for runs of equal values at any offset."""
    a, b = bits(n=4096), bits(step=1, n=4096)
    common = np.intersect1d(a, b)
    assert len(common) <= 2


def test_first_values_over_consecutive_keys() -> None:
    """What a batch of members or of steps sees at one position must look random too."""
    for keys in (torch.stack([key_of(s) for s in range(4096)]), fold(key_of(7), torch.arange(4096))):
        first = torch.vmap(lambda k: Rng(k, 5).uniform((2,)))(keys).numpy()
        assert stats.kstest(first[:, 0], "uniform").pvalue > LEVEL
        assert abs(np.corrcoef(first[:, 0], first[:, 1])[0, 1]) < 5 / 64
        assert abs(np.corrcoef(first[1:, 0], first[:-1, 0])[0, 1]) < 5 / 63.9


def test_uniform_is_open_and_uniform() -> None:
    for dtype in (torch.float32, torch.float64):
        u = Rng(key_of(0), 1).uniform((1 << 22,), dtype)
        assert u.dtype == dtype and u.min() > 0 and u.max() < 1
        assert stats.kstest(u[: 1 << 17].double().numpy(), "uniform").pvalue > LEVEL


def test_the_extreme_bit_patterns_stay_inside_the_interval() -> None:
    from temperance.core.random import _unit

    ends = torch.tensor([0, -1, 0x7FFFFFFF, -0x80000000], dtype=torch.int32)
    u = _unit(ends, torch.float32)
    assert u.min() > 0 and u.max() < 1
    assert torch.isfinite(torch.log(u)).all() and torch.isfinite(torch.log1p(-u)).all()


@pytest.mark.parametrize("n", [1 << 17, 99_999])
def test_normal(n: int) -> None:
    z = Rng(key_of(2), 1).normal((n,), torch.float64).numpy()
    assert stats.kstest(z, "norm").pvalue > LEVEL
    assert abs(z.mean()) < 5 / math.sqrt(n) and abs(z.var() - 1) < 5 * math.sqrt(2 / n) and abs((z**4).mean() - 3) < 5 * math.sqrt(96 / n)
    half = n // 2
    assert abs(np.corrcoef(z[:half], z[half : 2 * half])[0, 1]) < 5 / math.sqrt(half)
    assert abs(np.corrcoef(z[:half] ** 2, z[half : 2 * half] ** 2)[0, 1]) < 5 / math.sqrt(half)


def test_laplace() -> None:
    x = Rng(key_of(2), 1).laplace((1 << 17,), torch.float64).numpy()
    assert stats.kstest(x, "laplace").pvalue > LEVEL
    assert np.isfinite(x).all()


@pytest.mark.parametrize(("a", "b"), [(0.05, 0.05), (0.2, 0.2), (1.0, 1.0), (2.5, 2.5), (8.0, 8.0), (0.3, 4.0)])
def test_beta(a: float, b: float) -> None:
    keys = key_of(4) + torch.arange(20_000)
    x = torch.vmap(lambda k: Rng(k, 1).beta(a, b, torch.float64))(keys).numpy()
    law = stats.beta(a, b)
    low = x[x < 0.5]  # near one, double precision rounds much of the mass of small shapes to one itself
    assert stats.kstest(low, lambda v: law.cdf(v) / law.cdf(0.5)).pvalue > LEVEL
    assert stats.binomtest(len(low), len(x), law.cdf(0.5)).pvalue > LEVEL
    assert abs(x.mean() - law.mean()) < 5 * law.std() / math.sqrt(len(x))
    assert ((x >= 0) & (x <= 1)).all()


@pytest.mark.parametrize("a", [0.0, 1e-12, 1e-3, 1e4])
def test_beta_of_extreme_shapes_is_finite(a: float) -> None:
    x = torch.vmap(lambda k: Rng(k, 1).beta(a, a))(key_of(4) + torch.arange(1000))
    assert ((x >= 0) & (x <= 1)).all()


@pytest.mark.parametrize("rate", [0.0, 1e-4, 0.1, 0.25, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("n", [200_000, 199_999])
def test_keep_mask(rate: float, n: int) -> None:
    mask = Rng(key_of(5), 1).keep_mask(rate, (n,), torch.float64)
    kept = round((1 - rate) * 65536) / 65536
    count = int((mask > 0).sum())
    assert stats.binomtest(count, n, kept).pvalue > LEVEL if 0 < kept < 1 else count == n
    assert torch.equal(mask.unique(), torch.tensor([0.0, 1 / kept], dtype=torch.float64)) if rate > 0 else bool((mask == 1).all())
    assert kept * (1 / kept) == pytest.approx(1.0, abs=1e-15)
    if 0 < rate < 0.5:
        dropped = (mask == 0).double().numpy()
        even, odd = dropped[: n // 2 * 2 : 2], dropped[1::2]
        assert abs(np.corrcoef(even, odd)[0, 1]) < 5 / math.sqrt(n / 2) + 1e-12


def test_keep_masks_of_steps_layers_and_members_agree_only_by_chance() -> None:
    def mask(key: torch.Tensor, *path: object) -> np.ndarray:
        return (Rng(key, stream_of(*path)).keep_mask(0.5, (N,)) == 0).numpy()

    base = key_of(0)
    draws = [
        mask(fold(base, 0), "d", "0"),
        mask(fold(base, 1), "d", "0"),
        mask(fold(base, 0), "d", "1"),
        mask(fold(key_of(1), 0), "d", "0"),
        mask(fold(fold(base, 0), 1), "d", "0"),
    ]
    for a, b in itertools.combinations(draws, 2):
        assert abs((a == b).mean() - 0.5) < 5 * math.sqrt(0.25 / N)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_permutations_are_uniform(n: int) -> None:
    draws = torch.vmap(lambda k: Rng(k, 1).permutation(n))(key_of(6) + torch.arange(12_000))
    assert torch.equal(draws.sort(dim=1).values, torch.arange(n).expand(12_000, n))
    code = (draws * n ** torch.arange(n)).sum(1).unique(return_counts=True)[1].numpy()
    assert len(code) == math.factorial(n)
    assert len(code) == 1 or chi2(code) > LEVEL


def test_every_position_of_a_long_permutation_moves() -> None:
    order = Rng(key_of(0), 1).permutation(10_000)
    assert (order == torch.arange(10_000)).sum() < 10
    assert abs(np.corrcoef(order.numpy(), np.arange(10_000))[0, 1]) < 5 / 100


CALLS = {
    "bits": lambda rng, s: rng.bits((7,)),
    "uniform": lambda rng, s: rng.uniform((3, 3)),
    "scalar": lambda rng, s: rng.uniform(),
    "normal": lambda rng, s: rng.normal((5,)),
    "laplace": lambda rng, s: rng.laplace((5,)),
    "keep_mask": lambda rng, s: rng.keep_mask(s / 10, (4, 3)),
    "permutation": lambda rng, s: rng.permutation(6),
    "beta": lambda rng, s: rng.beta(s, 2 * s),
}


@pytest.mark.parametrize("name", CALLS)
def test_vmap_gives_each_member_what_it_gets_alone(name: str) -> None:
    call, strengths = CALLS[name], torch.tensor([0.3, 1.0, 2.0, 5.0, 0.1])
    keys = torch.stack([key_of(s) for s in range(5)])
    together = torch.vmap(lambda k, s: call(Rng(k, 3), s))(keys, strengths)
    for i in range(5):
        assert torch.equal(together[i], call(Rng(keys[i], 3), strengths[i]))
        assert torch.equal(together[i], torch.vmap(lambda k, s: call(Rng(k, 3), s))(keys[i : i + 1], strengths[i : i + 1])[0])


@pytest.mark.parametrize("name", CALLS)
def test_vmap_over_one_argument_only(name: str) -> None:
    """Shared key and batched strength; batched key and shared strength."""
    call = CALLS[name]
    strengths, keys = torch.tensor([0.3, 1.0, 2.0]), torch.stack([key_of(s) for s in range(3)])
    by_key = torch.vmap(lambda k: call(Rng(k, 3), torch.tensor(0.7)))(keys)
    assert torch.equal(by_key[1], call(Rng(keys[1], 3), torch.tensor(0.7)))
    by_strength = torch.vmap(lambda s: call(Rng(keys[0], 3), s) + 0 * s)(strengths)
    assert torch.equal(by_strength[2], call(Rng(keys[0], 3), strengths[2]) + 0 * strengths[2])


def test_vmap_nests() -> None:
    keys = torch.stack([torch.stack([fold(key_of(i), j) for j in range(3)]) for i in range(2)])
    both = torch.vmap(torch.vmap(lambda k: Rng(k, 3).keep_mask(0.5, (4,))))(keys)
    assert torch.equal(both[1, 2], Rng(keys[1, 2], 3).keep_mask(0.5, (4,)))


def test_draws_of_one_rng_differ_and_repeat() -> None:
    one, two = Rng(key_of(0), 1), Rng(key_of(0), 1)
    a = [one.uniform((4,)) for _ in range(3)]
    b = [two.uniform((4,)) for _ in range(3)]
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0], a[1])


def test_streams_and_keys_do_not_collide() -> None:
    paths = [(r, site, layer, call) for r in ("l2", "dropout", "dropout_2") for site in ("batch", "hidden") for layer in range(50) for call in range(20)]
    assert len({stream_of(*p) for p in paths}) == len(paths)
    assert stream_of("ab", "c") != stream_of("a", "bc")
    keys = [int(fold(fold(key_of(s), t), m)) for s in range(20) for t in range(50) for m in range(4)]
    assert len(set(keys)) == len(keys)
    assert len({int(key_of(s)) for s in (*range(-50, 50), 1 << 63, 1 << 64, (1 << 64) + 1)}) >= 101


@pytest.mark.usefixtures("generators_untouched")
def test_global_generators_are_untouched() -> None:
    for call in CALLS.values():
        call(Rng(key_of(0), 1), torch.tensor(0.5))


def test_numbers_are_pinned() -> None:
    """The same seed gives the same numbers in every release; a change here changes every recorded run."""
    rng = Rng(fold(key_of(0), 3), stream_of("dropout", "hidden", "1", 0))
    assert rng.bits((4,)).tolist() == [715776486, 1741310513, -8972150, 589679481]
    assert rng.permutation(6).tolist() == [0, 1, 3, 4, 2, 5]
