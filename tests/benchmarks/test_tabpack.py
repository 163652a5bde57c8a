"""TabPack's recipe, rebuilt: how its networks begin, what its average picks, and that it answers every row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.tabpack import WAVES, Average, Packed, drawn, tab_pack

import temperance as tp


def table(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2))
    names = rng.choice(["a", "b", "c"], n).astype(object)
    return pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "two": rng.integers(0, 2, n), "name": names, "target": x[:, 0] + (names == "a")})


def test_networks_begin_blind_to_numbers_and_know_codes() -> None:
    member = drawn((2, 3, 2, 2), 7, np.random.default_rng(0))
    assert member.initial is not None
    net = Packed(2, 3, 2, 2)
    net.load_state_dict(dict(member.initial))
    x = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    x[1, 2:], x[2, :2] = x[0, 2:], x[1, :2]
    out = net(x)
    assert torch.equal(out[0], out[1]) and not torch.equal(out[1], out[2])
    assert 1 + 8 <= int(net.waves.get_buffer("used").sum()) <= 1 + WAVES


def test_waves_beyond_a_members_width_never_matter() -> None:
    net = tp.nets.build_seeded(lambda: Packed(1, 0, 1, 1), 0)
    with torch.no_grad():
        net.waves.factor.fill_(1.0)
        net.waves.get_buffer("used")[5:] = 0.0
        before = net(torch.ones(1, 1))
        net.waves.frequency[:, 4:] += 1.7  # the first of the inputs is the number itself
        assert torch.equal(net(torch.ones(1, 1)), before)
        net.waves.frequency[:, 3] += 0.7
        assert not torch.equal(net(torch.ones(1, 1)), before)


def test_an_average_is_replaced_where_it_gains() -> None:
    average = Average(torch.tensor([[1.0], [2.0]]), classes=False)
    first = torch.tensor([[[0.0], [1.0]], [[2.5], [3.0]], [[9.0], [9.0]]])
    assert average.better(first) == [0, 1]  # errors 1, then .25 and 0 squared
    average.replace(first[[0, 1]], first[[0, 1]])
    assert average.loss == pytest.approx(0.03125)
    assert average.better(torch.tensor([[[7.0], [7.0]]])) == []
    assert average.better(torch.tensor([[[1.0], [2.0]]])) == [2]  # after the two that are in it


@pytest.mark.parametrize("classes", [True, False])
def test_every_row_has_an_answer(classes: bool) -> None:
    frame = table(120)
    if classes:
        frame["target"] = np.where(frame["target"] > 0.3, "yes", "no").astype(object)
    out, facts = tab_pack(frame[:90], frame[90:].drop(columns="target").reset_index(drop=True), classes, 0, 0.0, members=3)
    assert out.shape == (30, 2 if classes else 1) and np.isfinite(out).all() and facts["networks"] >= 1
    if classes:
        np.testing.assert_allclose(out.sum(1), 1.0, rtol=1e-5)
