"""Every ready network under vmap: the same numbers as one by one, gradients everywhere, BatchNorm with stacked statistics."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from temperance.nets import (
    MLP,
    ConvNet,
    MultiHead,
    NeighborNet,
    RecurrentNet,
    ResNet,
    TabularNet,
    TwoHeads,
    build_seeded,
    initialize,
    quantile_edges,
    unreached,
)

MEMBERS, ROWS = 3, 12


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def table(columns: int, cardinalities: tuple[int, ...]) -> dict[str, Tensor]:
    codes = [torch.randint(0, m, (ROWS, 1), generator=torch.Generator().manual_seed(m)) for m in cardinalities]
    cat = torch.cat(codes, 1) if codes else torch.zeros(ROWS, 0, dtype=torch.long)
    return {"num": draw(ROWS, columns), "cat": cat}


def neighbors(weighted: bool = False) -> NeighborNet:
    net = NeighborNet(4, (3, 40), 2, "regression", width=8, window=6, numbers="periodic", column_rate=5.0, weighted=weighted)
    rows = table(4, (3, 40))
    net.remember({"num": rows["num"].flip(1), "cat": rows["cat"]}, draw(ROWS, 2), draw(ROWS).square() if weighted else None)
    return net


EDGES = quantile_edges(draw(100, 4), bins=5)
CASES: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "mlp": (lambda: MLP(6, 2, (8, 8)), draw(ROWS, 6)),
    "mlp-batch": (lambda: MLP(6, 2, (8, 8), "silu", "batch"), draw(ROWS, 2, 3)),
    "mlp-layer-skip": (lambda: MLP(6, 2, (8, 8), "gelu", "layer", skip=True), draw(ROWS, 6)),
    "mlp-linear": (lambda: MLP(6, 2, ()), draw(ROWS, 6)),
    "table-plain": (lambda: TabularNet(4, (3, 9, 10, 40), 2, (8,)), table(4, (3, 9, 10, 40))),
    "table-piecewise": (lambda: TabularNet(4, (3, 40), 2, (8,), numbers="piecewise", edges=EDGES), table(4, (3, 40))),
    "table-periodic": (lambda: TabularNet(4, (3, 40), 2, (8,), norm="batch", numbers="periodic"), table(4, (3, 40))),
    "table-shared": (lambda: TabularNet(4, (), 2, (8,), numbers="periodic", shared=True), table(4, ())),
    "table-categories": (lambda: TabularNet(0, (3, 40), 2, (8,), numbers="periodic"), table(0, (3, 40))),
    "neighbors": (neighbors, table(4, (3, 40))),
    "neighbors-weighted": (partial(neighbors, weighted=True), table(4, (3, 40))),
    "conv": (lambda: ConvNet((1, 8, 8), 3, (4, 6)), draw(ROWS, 1, 8, 8)),
    "conv-flatten": (lambda: ConvNet((2, 5, 7), 3, (4, 6, 6, 6), norm=None, readout="flatten", hidden=(5,)), draw(ROWS, 2, 5, 7)),
    "resnet": (lambda: ResNet((2, 5, 7), 3, channels=(4, 6)), draw(ROWS, 2, 5, 7)),
    "resnet-branches": (
        lambda: ResNet((1, 8, 8), 3, channels=(4, 6), widen=2, branches=2, norm=None, shrink=2),
        draw(ROWS, 1, 8, 8),
    ),
    "rnn": (lambda: RecurrentNet(3, 5, 2, "rnn", layers=2), draw(ROWS, 4, 3)),
    "gru": (lambda: RecurrentNet(3, 5, 2, "gru", readout="mean"), draw(ROWS, 4, 3)),
    "lstm": (lambda: RecurrentNet(3, 5, 2, "lstm", readout="all"), draw(ROWS, 4, 3)),
    "two-heads": (lambda: TwoHeads(6, {"a": 2, "b": 1}, (8,), private=(4,), norm="batch"), draw(ROWS, 6)),
    "multi-head": (lambda: MultiHead(MLP(6, None, (8,)), 8, {"x.y": 2, "type": 1, "items": 3}), draw(ROWS, 6)),
}


def members(name: str) -> tuple[list[nn.Module], Any]:
    factory, x = CASES[name]
    return [build_seeded(factory, seed) for seed in range(MEMBERS)], x


def total(out: Tensor | dict[str, Tensor]) -> Tensor:
    if isinstance(out, dict):
        return torch.stack([value.square().sum() for value in out.values()]).sum()
    return out.square().sum()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("train", [True, False])
def test_a_population_gives_the_numbers_of_its_members(name: str, train: bool) -> None:
    nets, x = members(name)
    for net in nets:
        net.train(train)
    params, buffers = torch.func.stack_module_state(nets)
    buffers = {key: value.clone() for key, value in buffers.items()}

    def loss(p: dict[str, Tensor], b: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return total(torch.func.functional_call(nets[0], (p, b), (x,))), b

    losses, after = torch.vmap(loss)(params, buffers)
    losses.sum().backward()
    for index, net in enumerate(nets):
        net.double()
        y = total(net(_double(x)))
        y.backward()
        assert torch.allclose(losses[index].double(), y, rtol=1e-4, atol=1e-5)
        for key, parameter in net.named_parameters():
            stacked = params[key].grad
            assert parameter.grad is not None, key
            assert stacked is not None, key
            assert torch.allclose(stacked[index].double(), parameter.grad, rtol=1e-3, atol=1e-3), key
        for key, buffer in net.named_buffers():
            assert torch.allclose(after[key][index].double(), buffer.double(), rtol=1e-4, atol=1e-5), key


def _double(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _double(value) for key, value in x.items()}
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_every_parameter_and_inputs_are_left_alone(name: str) -> None:
    (net, *_), x = members(name)
    leaves = list(x.values()) if isinstance(x, dict) else [x]
    copies = [leaf.clone() for leaf in leaves]
    total(net(x)).backward()
    for key, parameter in net.named_parameters():
        assert (parameter.grad is not None and parameter.grad.abs().sum() > 0) or "norm" in key or "bias" in key, key
    assert all(torch.equal(a, b) for a, b in zip(leaves, copies, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_first_weights_depend_on_the_seed_alone(name: str) -> None:
    (a, b, _), x = members(name)
    assert unreached(a) == []
    before = torch.get_rng_state()
    initialize(a, 5)
    initialize(b, 5)
    assert torch.equal(torch.get_rng_state(), before)
    state = b.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in a.state_dict().items())
    assert all(torch.isfinite(value).all() for value in state.values())
    initialize(b, 6)
    assert any(not torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())
    assert torch.isfinite(total(a(x)))


@pytest.mark.parametrize("name", CASES)
def test_a_network_survives_pickle(name: str) -> None:
    (net, *_), x = members(name)
    net.eval()
    twin = pickle.loads(pickle.dumps(net))
    assert torch.equal(total(net(x)), total(twin(x)))


def test_batch_norm_statistics_move_for_each_member_apart() -> None:
    nets, x = members("mlp-batch")
    params, buffers = torch.func.stack_module_state(nets)
    buffers = {key: value.clone() for key, value in buffers.items()}

    def forward(p: dict[str, Tensor], b: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.func.functional_call(nets[0], (p, b), (x,)), b

    _, after = torch.vmap(forward)(params, buffers)
    mean = after["hidden.0.norm.running_mean"]
    assert mean.shape == (MEMBERS, 8)
    assert not torch.equal(mean[0], mean[1])
    assert after["hidden.0.norm.num_batches_tracked"].tolist() == [1] * MEMBERS
