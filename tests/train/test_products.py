"""Products of a compiled step."""

from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from temperance.train.kernel import group_size, seconds_saved
from temperance.train.products import ONEDNN_FROM, by_onednn, place_eager_products, place_products
from temperance.train.rows import sorting

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("rows", [16, 128])
@pytest.mark.parametrize("turned", [False, True])
def test_large_products_move_and_give_the_same(rows: int, turned: bool) -> None:
    """A sum of n products of unit normals rounds by at most n eps times the sum of the magnitudes, about n."""
    n = 160
    g = torch.Generator().manual_seed(0)
    a, b, bias = torch.randn(rows, n, generator=g), torch.randn(n, n, generator=g), torch.randn(n, generator=g)
    b = b.T.contiguous().T if turned else b

    def function(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.addmm(bias, a, b) + a.mm(b)

    graph = make_fx(function, tracing_mode="fake")(a, b, bias)
    place_products(graph)
    moved = [node for node in graph.graph.nodes if "temperance.product" in str(node.target)]
    assert len(moved) == (2 if rows * n * n >= ONEDNN_FROM else 0)
    torch.testing.assert_close(graph(a, b, bias), function(a, b, bias), rtol=0.0, atol=4 * n * torch.finfo(torch.float32).eps * float(n) ** 0.5 * 4)


@needs_onednn
def test_a_replayed_graph_calls_onednn_itself() -> None:
    g = torch.Generator().manual_seed(0)
    x, w, bias = torch.randn(600, 128, generator=g), torch.randn(64, 128, generator=g), torch.randn(64, generator=g)
    graph = make_fx(lambda x, w, bias: torch.nn.functional.linear(x, w, bias))(x, w, bias)
    place_eager_products(graph)
    assert [node for node in graph.graph.nodes if node.target is by_onednn]
    exact = torch.nn.functional.linear(x.double(), w.double(), bias.double())
    bound = 129 * torch.finfo(torch.float32).eps * (x.abs().double() @ w.abs().double().T + bias.abs().double())
    assert ((graph(x, w, bias).double() - exact).abs() <= bound).all()


def test_double_precision_stays() -> None:
    a = torch.ones(256, 256, dtype=torch.float64)
    graph = make_fx(torch.mm, tracing_mode="fake")(a, a)
    place_products(graph)
    assert not [node for node in graph.graph.nodes if "temperance.product" in str(node.target)]


def test_groups_shrink_as_networks_grow() -> None:
    sizes = [group_size(n, 128) for n in (100, 6_000, 30_000, 1_000_000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 16
    assert sizes[-1] == 1
    assert seconds_saved(6_000, 128, 2_000) < seconds_saved(6_000, 128, 4_000)


def test_sorting_is_a_stable_argsort() -> None:
    bits = torch.tensor([[3, -1, 3, 0, -(2**31), 2**31 - 1, -1], [0, 0, 0, 0, 0, 0, 0]], dtype=torch.int32)
    assert torch.equal(sorting(bits), torch.argsort(bits, dim=1, stable=True))
