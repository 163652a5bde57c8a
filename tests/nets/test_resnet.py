"""The residual network for images: what it computes, and how it grows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import temperance as tp
from temperance.core.criterion import SoftmaxCrossEntropy
from temperance.core.program import Program
from temperance.nets import ResNet, build_seeded


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def branch(x: Tensor, part: Any, stride: int) -> Tensor:
    h = F.conv2d(part.norm1(x).relu(), part.conv1.weight, stride=stride, padding=1)
    return F.conv2d(part.norm2(h).relu(), part.conv2.weight, padding=1)


@pytest.mark.parametrize("branches", [1, 2])
def test_it_is_the_formula(branches: int) -> None:
    """Two stages of two blocks on images that are not square; only the first block of the second stage halves them."""
    net: Any = build_seeded(lambda: ResNet((2, 7, 6), 3, channels=(4, 6), blocks=2, branches=branches), 0)
    x = draw(5, 2, 7, 6)
    h = F.conv2d(x, net.input.weight, padding=1)
    for block, stride in zip(net.blocks, (1, 1, 2, 1), strict=True):
        parts = [block.branch.branch] if branches == 1 else list(block.branch.branches)
        short = h if block.shortcut is None else F.conv2d(h, block.shortcut.weight, stride=stride)
        assert (block.shortcut is None) == (stride == 1)
        h = short + sum(branch(h, part, stride) for part in parts) / branches
    assert h.shape == (5, 6, 4, 3)
    expected = F.linear(net.norm(h).relu().mean((2, 3)), net.output.weight, net.output.bias)
    torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-6)


def weights(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if p.dim() > 1)


@pytest.mark.parametrize(
    ("arguments", "convolutions", "millions"),
    [({"blocks": 3}, 19, 0.27), ({"blocks": 4, "widen": 10}, 25, 36.5), ({"blocks": 6, "widen": 1}, 37, 0.56)],
    ids=["ResNet-20", "WRN-28-10", "WRN-40-1"],
)
def test_sizes_are_those_of_the_papers(arguments: dict[str, int], convolutions: int, millions: float) -> None:
    with torch.device("meta"):
        net = ResNet((3, 32, 32), 10, **arguments)  # pyright: ignore[reportArgumentType]
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in net.modules()) == convolutions
    assert weights(net) / 1e6 == pytest.approx(millions, rel=0.03)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 1, 5), (1, 3, 1)])
@pytest.mark.parametrize("shrink", [1, 2])
def test_it_takes_any_size(shape: tuple[int, int, int], shrink: int) -> None:
    if min(shape[1:]) < shrink:
        shrink = 1
    net = ResNet(shape, 4, channels=(4, 4, 4), shrink=shrink)
    assert net(draw(5, *shape)).shape == (5, 4) and net.width == 4


def test_regularizers_of_branches_find_them() -> None:
    net, wide = ResNet((1, 8, 8), 2, channels=(4, 6), blocks=2), ResNet((1, 8, 8), 2, channels=(4,), branches=2)
    for model, regularizer, count in ((net, tp.StochasticDepth(0.5), 4), (net, tp.ShakeDrop(0.5), 4), (wide, tp.ShakeShake(1.0), 1)):
        (found,) = Program(tp.Cocktail(regularizer), model, SoftmaxCrossEntropy()).modules.values()
        assert found == tuple(f"blocks.{i}.branch" for i in range(count))
