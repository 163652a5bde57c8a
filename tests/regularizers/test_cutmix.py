import math

import pytest
import torch
from hypothesis import given, strategies as st
from tests.regularizers.helpers import bound, context

from temperance.core.batch import full_batch
from temperance.core.random import Rng, key_of
from temperance.core.regularizer import Context
from temperance.regularizers import CutMix
from temperance.regularizers.cutmix import _box


def indexed_images(n: int, h: int, w: int) -> torch.Tensor:
    return torch.arange(n, dtype=torch.float32).reshape(n, 1, 1, 1).expand(n, 3, h, w).clone()


@given(st.integers(1, 9), st.sampled_from([(4, 9), (7, 3), (1, 6), (8, 8)]), st.integers(0, 60))
def test_target_mass_is_the_area_that_is_kept(n: int, size: tuple[int, int], seed: int) -> None:
    """Image i is filled with i and has label i, so both shares can be read off."""
    batch = full_batch(indexed_images(n, *size), torch.eye(n))
    out = bound(CutMix(1.0), torch.float32).batch(batch, context(seed))
    for i in range(n):
        for j in range(n):
            area = (out.x[i, 0] == j).float().mean().item()
            assert out.y[i, j].item() == pytest.approx(area, abs=1e-6)
    assert torch.equal(out.x[:, 0], out.x[:, 2])


def test_what_comes_from_the_partner_is_a_box() -> None:
    found = 0
    for seed in range(20):
        batch = full_batch(indexed_images(6, 5, 11), torch.eye(6))
        out = bound(CutMix(1.0), torch.float32).batch(batch, context(seed))
        for i in range(6):
            inside = out.x[i, 0] != i
            if not inside.any() or inside.all():
                continue
            found += 1
            r, c = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
            assert inside[int(r.min()) : int(r.max()) + 1, int(c.min()) : int(c.max()) + 1].all()
    assert found > 20


@pytest.mark.parametrize("kind", ["numbers", "codes", "both"])
def test_a_table_row_takes_columns_in_proportion(kind: str) -> None:
    n, index = 12, torch.arange(12)
    leaves = {"numbers": index.float().unsqueeze(1).repeat(1, 7), "codes": index.unsqueeze(1).repeat(1, 5)}
    x = leaves if kind == "both" else {kind: leaves[kind]}
    batch = full_batch(x, torch.eye(n), labeled=index != 0)
    out = bound(CutMix(1.0), torch.float32).batch(batch, context(2))
    entries = torch.cat([leaf.long() for leaf in out.x.values()], 1)
    for i in range(n):
        for j in range(n):
            assert out.y[i, j].item() == pytest.approx((entries[i] == j).float().mean().item(), abs=1e-6)
    torch.testing.assert_close(out.y.sum(0), torch.ones(n) * out.y.sum(0), rtol=0, atol=1e-6)
    assert not out.labeled.all()


def test_share_of_minibatches_and_of_area() -> None:
    batch = full_batch(indexed_images(2, 16, 12), torch.eye(2))

    def one(key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rng = Rng(key, 3)
        y = bound(CutMix(0.3)).batch(batch, Context(rng=Rng(key, 3))).y
        return rng.uniform() < 0.3, (y - torch.eye(2)).abs().amax()

    on, moved = torch.vmap(one)(key_of(0) + torch.arange(3000))
    assert abs(on.float().mean().item() - 0.3) < 5 * math.sqrt(0.21 / 3000)
    assert (moved[~on] == 0).all() and (moved[on] > 0).float().mean() > 0.3


@pytest.mark.parametrize("x", [indexed_images(6, 5, 7), torch.arange(6.0).unsqueeze(1).repeat(1, 9)], ids=["images", "table"])
def test_row_weights_are_mixed_as_targets_are(x: torch.Tensor) -> None:
    """With one target per row, the mixed weight is the mixed targets times the weights."""
    weight = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    out = bound(CutMix(1.0), torch.float32).batch(full_batch(x, torch.eye(6), weight=weight), context(3))
    torch.testing.assert_close(out.weight, out.y @ weight, rtol=1e-6, atol=0)
    assert not torch.equal(out.weight, weight)


def test_the_share_of_a_box() -> None:
    """With s² uniform, a side of length s around a uniform centre keeps s - s²/4 of it within the border: in the mean E(s - s²/4)² = 1/2 - 1/5 + 1/48."""
    n = 4000
    outside = _box(torch.zeros(n, 1, 32, 32), torch.rand(n, generator=torch.Generator().manual_seed(0)), context(1))
    area = 1 - outside.float().mean((1, 2, 3))
    assert area.mean().item() == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=5 * area.std().item() / math.sqrt(n))
