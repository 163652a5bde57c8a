"""Residual blocks: what they compute, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError
from temperance.nets import Branch, Branches, Residual, ResidualNet, initialize, unreached


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_one_branch_is_added_and_several_are_averaged() -> None:
    first, second, short = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
    x = draw(5, 3)
    torch.testing.assert_close(Residual(first)(x), x + first(x))
    torch.testing.assert_close(Residual(first, second)(x), x + 0.5 * (first(x) + second(x)))
    torch.testing.assert_close(Residual(first, shortcut=short)(x), short(x) + first(x))
    assert isinstance(Residual(first).branch, Branch) and isinstance(Residual(first, second).branch, Branches)


def test_branches_are_stacked_behind_the_rows() -> None:
    pair = Branches(nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1))
    x = draw(5, 2, 4, 4)
    out = pair(x)
    assert out.shape == (5, 2, 3, 4, 4)
    for k in range(2):
        torch.testing.assert_close(out[:, k], pair.branches[k](x))


@pytest.mark.parametrize("branches", [1, 2])
def test_residual_net_is_the_formula(branches: int) -> None:
    net: Any = ResidualNet(3, 2, width=4, depth=2, branches=branches, norm=None, activation="tanh")
    x = draw(6, 3)
    h = net.input(x)
    for block in net.blocks:
        parts = [block.branch.branch] if branches == 1 else list(block.branch.branches)
        h = h + sum(p[2](torch.tanh(p[0](h))) for p in parts) / branches
    torch.testing.assert_close(net(x), net.output(torch.tanh(h)))


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_residual_net_reads_rows_of_any_shape_and_starts_from_a_seed(norm: str | None) -> None:
    net = ResidualNet(12, 2, width=8, depth=1, norm=norm)
    assert net(draw(5, 3, 4)).shape == (5, 2) and unreached(net) == [] and net.width == 2
    assert sum(isinstance(m, nn.BatchNorm1d | nn.LayerNorm) for m in net.modules()) == (0 if norm is None else 2)
    twin = ResidualNet(12, 2, width=8, depth=1, norm=norm)
    for one in (net, twin):
        initialize(one, 3)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True))


def test_messages() -> None:
    with pytest.raises(ConfigError, match=r"^Expected `branches` of Residual with at least one module, got \(\)\."):
        Residual()
    with pytest.raises(ConfigError, match=r"^Expected `depth` of ResidualNet as positive integers"):
        ResidualNet(3, 1, depth=0)
    with pytest.raises(ConfigError, match=r"^Expected `norm` of a network"):
        ResidualNet(3, 1, norm="group")
