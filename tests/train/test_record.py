"""A recorded graph is the function: the same operators below autograd and vmap, with the tensors it closes over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from temperance.train.record import record


def replayed(graph: Any, *leaves: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return graph(*leaves)


def test_gradients_are_part_of_the_graph() -> None:
    def slope(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        return torch.autograd.grad((x.exp() * x.tanh()).sum(), x)[0]

    graph, out = record(slope, (torch.tensor([0.5, -1.0]),))
    x = torch.tensor([2.0, 0.25])
    # d/dx (e^x tanh x), rounded twice at most in single precision
    torch.testing.assert_close(replayed(graph, x)[0], x.exp() * (x.tanh() + 1 - x.tanh() ** 2), rtol=1e-6, atol=0)
    assert out.shape == (2,)


def test_vmap_is_part_of_the_graph() -> None:
    graph, _ = record(torch.vmap(lambda w, x: (x @ w).relu()), (torch.randn(3, 4, 2), torch.randn(3, 5, 4)))
    w, x = torch.randn(3, 4, 2), torch.randn(3, 5, 4)
    assert torch.equal(replayed(graph, w, x)[0], (x @ w).relu())


def test_tensors_of_its_own_are_held_and_copied() -> None:
    own = torch.tensor([3.0])

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        count = torch.tensor(1.0)
        count.add_(1)  # a replay that changed what the graph holds would count on
        return x * own, x + count

    graph, _ = record(function, (torch.ones(1),))
    for _ in range(3):
        assert [t.item() for t in replayed(graph, torch.tensor([5.0]))] == [15.0, 7.0]


def test_changes_in_place_are_kept_and_unread_results_are_not() -> None:
    def function(x: Tensor) -> Tensor:
        y = x.clone()
        y[0].mul_(10)
        x.cos()
        values, _ = torch.sort(y)
        return values

    graph, _ = record(function, (torch.tensor([1.0, 2.0]),))
    assert replayed(graph, torch.tensor([4.0, 7.0]))[0].tolist() == [7.0, 40.0]
    names = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert "aten.mul_.Tensor" in names
    assert not any("cos" in name for name in names)


def test_lists_of_tensors_and_several_results() -> None:
    def function(x: Tensor) -> dict[str, Tensor]:
        low, high = x.chunk(2)
        return {"turned": torch.cat([high, low]), "high": high, "given": x}

    graph, _ = record(function, (torch.arange(4.0),))
    turned, high, given = replayed(graph, torch.tensor([5.0, 6.0, 7.0, 8.0]))
    assert (turned.tolist(), high.tolist(), given.tolist()) == ([7.0, 8.0, 5.0, 6.0], [7.0, 8.0], [5.0, 6.0, 7.0, 8.0])


def test_a_gone_tensor_is_not_taken_for_one_with_its_id() -> None:
    def function(x: Tensor) -> Tensor:
        for i in range(50):
            x.mul(2.0)  # gone at once
            x = x + torch.from_numpy(np.full(1, i, np.float32))  # made by no operator, perhaps in its place
        return x

    graph, out = record(function, (torch.zeros(1),))
    assert out.item() == sum(range(50))
    assert replayed(graph, torch.tensor([7.0]))[0].item() == 7.0 + sum(range(50))


def test_nested_results_and_numbers_beside_tensors() -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        out, hidden, _ = torch.ops.aten.lstm.input(x, [x[:1], x[:1]], [torch.eye(8, 2), torch.eye(8, 2)], False, 1, 0.0, False, False, False)
        return out, hidden

    graph, _ = record(function, (torch.randn(4, 3, 2),))
    x = torch.randn(4, 3, 2)
    assert all(torch.equal(a, b) for a, b in zip(replayed(graph, x), function(x), strict=True))


def test_a_copy_is_another_graph_with_the_same_tensors() -> None:
    own = torch.ones(2)
    graph, _ = record(lambda x: x + own, (torch.ones(2),))
    other = graph.copy()
    for node in other.graph.nodes:
        if node.op == "call_function":
            node.target = torch.sub
    other.recompile()
    own.add_(1)
    assert replayed(graph, torch.zeros(2))[0].tolist() == [2.0, 2.0]
    assert replayed(other, torch.zeros(2))[0].tolist() == [-2.0, -2.0]
    assert "sub" in other.code
    graph.recompile()
    assert replayed(graph, torch.zeros(2))[0].tolist() == [2.0, 2.0]


def test_an_error_half_way_leaves_nothing_behind() -> None:
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    def failing(x: Tensor) -> Tensor:
        raise KeyboardInterrupt(x + 1)

    with pytest.raises(KeyboardInterrupt):
        record(failing, (torch.ones(1),))
    assert _get_current_dispatch_mode() is None


@pytest.mark.parametrize("function", [lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: x[:, None].repeat_interleave((x > 0).long(), 0)])
def test_a_shape_that_depends_on_values_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="shape"):
        record(function, (torch.tensor([1.0, -1.0]),))


def test_rows_by_their_places_are_not() -> None:
    graph, _ = record(lambda x, i: x[i], (torch.arange(3.0), torch.tensor([0, 1])))
    assert replayed(graph, torch.arange(3.0), torch.tensor([2, 2]))[0].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("function", [lambda x: x * x.sum().item(), lambda x: x if bool((x > 0).all()) else -x, lambda x: x * torch.equal(x, x)])
def test_a_number_that_is_read_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="number"):
        record(function, (torch.ones(2),))
