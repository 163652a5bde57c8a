import math

import numpy as np
import torch
from hypothesis import given, strategies as st
from scipy import stats
from tests.regularizers.helpers import bound, context

from temperance.core.batch import Batch, full_batch
from temperance.core.random import Rng, key_of
from temperance.core.regularizer import Context
from temperance.regularizers import MixUp


def rows(n: int, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    x = {"a": torch.randn(n, 3, generator=g), "codes": torch.arange(n).unsqueeze(1).repeat(1, 50)}
    return full_batch(x, torch.eye(4)[torch.randint(0, 4, (n,), generator=g)], weight=torch.rand(n, generator=g), labeled=torch.arange(n) % 3 != 0)


def mixed(batch: Batch, alpha: float, seed: int = 0) -> Batch:
    return bound(MixUp(alpha), torch.float32).batch(batch, context(seed))


def test_transcription_with_the_same_draws() -> None:
    batch, rng = rows(7), context(3).rng
    out = mixed(batch, 0.4, 3)
    partner, lam = rng.permutation(7).numpy(), rng.beta(0.4, 0.4).item()
    for mine, leaf in ((out.x["a"], batch.x["a"]), (out.y, batch.y), (out.weight, batch.weight)):
        np.testing.assert_allclose(mine.numpy(), lam * leaf.numpy() + (1 - lam) * leaf.numpy()[partner], atol=1e-6)
    assert np.array_equal(out.labeled.numpy(), batch.labeled.numpy() & batch.labeled.numpy()[partner])
    assert torch.equal(out.row_id, batch.row_id)


@given(st.integers(1, 20), st.floats(0.05, 5), st.integers(0, 50))
def test_label_mass_is_conserved(n: int, alpha: float, seed: int) -> None:
    batch = rows(n, seed)
    out = mixed(batch, alpha, seed)
    torch.testing.assert_close(out.y.sum(0), batch.y.sum(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.y.sum(1), torch.ones(n), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.weight.sum(), batch.weight.sum(), rtol=1e-5, atol=1e-5)


def test_a_code_comes_from_the_row_or_its_partner_in_proportion() -> None:
    batch, rng = rows(40), context(5).rng
    out = mixed(batch, 1.0, 5)
    partner, lam = rng.permutation(40), rng.beta(1.0, 1.0).item()
    own, others = out.x["codes"] == torch.arange(40).unsqueeze(1), out.x["codes"] == partner.unsqueeze(1)
    assert (own | others).all()
    moved = partner != torch.arange(40)
    assert abs(own[moved].float().mean().item() - lam) < 5 * math.sqrt(0.25 / (50 * int(moved.sum())))


def test_one_row_is_left_alone() -> None:
    batch = rows(1)
    out = mixed(batch, 1.0)
    assert torch.equal(out.x["a"], batch.x["a"]) and torch.equal(out.x["codes"], batch.x["codes"]) and torch.equal(out.y, batch.y)


def test_the_weight_is_beta_distributed() -> None:
    batch = full_batch(torch.zeros(2, 1), torch.eye(2))

    def gap(key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = bound(MixUp(0.4)).batch(batch, Context(rng=Rng(key, 3))).y
        return y[0, 0], Rng(key, 3).permutation(2)[0]

    share, first = torch.vmap(gap)(key_of(1) + torch.arange(4000))
    lam = share[first == 1]
    assert 1800 < len(lam) < 2200
    assert stats.kstest(lam.double().numpy(), stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
