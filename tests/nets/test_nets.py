"""What each network computes: shapes, encodings, cells, first weights, messages."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError
from temperance.nets import (
    ACTIVATIONS,
    MLP,
    CategoryEmbedding,
    ColumnScale,
    ConvNet,
    GRUCell,
    LSTMCell,
    MultiHead,
    Periodic,
    PiecewiseLinear,
    RecurrentNet,
    ResidualNet,
    ResNet,
    RNNCell,
    TableInputs,
    TabularNet,
    TwoHeads,
    build_seeded,
    embedding_width,
    initialize,
    quantile_edges,
    unreached,
)
from temperance.nets.recurrent import Cell


def _numpy_state() -> Any:
    state: Any = np.random.get_state()  # noqa: NPY002
    return state[1]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# multi-layer perceptron


@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 4), (5, 1, 3, 4), (0, 12)])
def test_mlp_flattens_any_trailing_shape(shape: tuple[int, ...]) -> None:
    assert MLP(12, 2, (4,))(torch.zeros(shape)).shape == (shape[0], 2)


def test_mlp_reads_a_single_column() -> None:
    assert MLP(1, 2, (4,))(torch.zeros(5)).shape == (5, 2)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_a_module_of_its_own(name: str) -> None:
    net = MLP(3, 2, (4, 5), activation=name)
    kind = type(ACTIVATIONS[name]())
    assert sum(type(module) is kind for module in net.modules()) == 2
    assert torch.isfinite(net(draw(6, 3))).all()


def test_mlp_is_the_formula() -> None:
    net: Any = MLP(3, 2, (4,))
    first, last = net.hidden[0].linear, net.output
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    x = draw(6, 3)
    assert torch.allclose(net(x), (x @ first.weight.T + first.bias).clamp(min=0) @ last.weight.T + last.bias)


def test_skip_adds_the_input_of_a_layer() -> None:
    net: Any = MLP(4, None, (4,), skip=True)
    with torch.no_grad():
        net.hidden[0].linear.weight.zero_()
        net.hidden[0].linear.bias.zero_()
    x = draw(6, 4)
    assert torch.equal(net(x), x)
    other: Any = MLP(3, None, (4,), skip=True)
    assert net.hidden[0].shortcut is None
    assert other.hidden[0].shortcut is not None


def test_a_norm_that_is_off_is_absent() -> None:
    assert not any(isinstance(module, nn.Identity | nn.BatchNorm1d | nn.LayerNorm) for module in MLP(3, 2, (4,)).modules())


# tables


def test_one_hot_leaves_code_zero_all_zeros() -> None:
    inputs = TableInputs(0, (4, 2))
    codes = torch.tensor([[0, 0], [1, 1], [3, 0], [2, 1]])
    assert inputs({"cat": codes}).tolist() == [[0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 1]]


def test_one_hot_equals_the_reference() -> None:
    cardinalities = (9, 3, 1, 5)
    codes = torch.stack([torch.arange(40) % m for m in cardinalities], 1)
    reference = [nn.functional.one_hot(codes[:, j], m)[:, 1:] for j, m in enumerate(cardinalities)]
    assert torch.equal(TableInputs(0, cardinalities)({"cat": codes}), torch.cat(reference, 1).float())


def test_columns_from_ten_codes_on_get_an_embedding() -> None:
    inputs = TableInputs(2, (9, 10))
    assert len(inputs.embeddings) == 1
    assert inputs.out_features == 2 + 8 + embedding_width(10)


def test_code_zero_of_an_embedding_starts_at_zero_and_learns() -> None:
    embed = CategoryEmbedding(20)
    assert embed(torch.tensor([0])).abs().sum() == 0
    embed(torch.tensor([0])).sum().backward()
    assert embed.weight.grad is not None
    assert embed.weight.grad[0].abs().sum() > 0
    initialize(embed, 3)
    assert embed.weight[0].abs().sum() == 0
    assert embed.weight[1:].square().sum(1).mean().sqrt().item() == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("numbers", ["plain", "periodic"])
def test_tables_without_numbers_or_without_categories(numbers: str) -> None:
    x = {"num": draw(5, 3), "cat": torch.zeros(5, 0, dtype=torch.long)}
    net = TabularNet(3, (), 2, (4,), numbers=numbers)  # pyright: ignore[reportArgumentType]
    assert torch.equal(net(x), net({"num": x["num"]}))
    x = {"num": torch.zeros(5, 0), "cat": torch.ones(5, 2, dtype=torch.long)}
    net = TabularNet(0, (3, 30), 2, (4,), numbers=numbers)  # pyright: ignore[reportArgumentType]
    assert torch.equal(net(x), net({"cat": x["cat"]}))
    assert net.double()(x).dtype == torch.float64


def _nothing_by_column(numbers: str, edges: Any) -> tuple[TableInputs, TableInputs, dict[str, Tensor]]:
    """The same inputs without and with factors, and rows of two numbers, a one-hot column and an embedded one."""
    made = [TableInputs(2, (4, 30), numbers=numbers, edges=edges, column_rate=rate) for rate in (0.0, 5.0)]  # pyright: ignore[reportArgumentType]
    made[1].load_state_dict(made[0].state_dict(), strict=False)
    return made[0], made[1], {"num": draw(6, 2), "cat": torch.tensor([[k % 3 + 1, k + 1] for k in range(6)])}


@pytest.mark.parametrize(("numbers", "edges"), [("plain", None), ("periodic", None), ("piecewise", [[-1.0, 0.0, 1.0], [-1.0, 1.0]])])
def test_a_column_scale_multiplies_all_that_encodes_its_column(numbers: str, edges: Any) -> None:
    without, scaled, x = _nothing_by_column(numbers, edges)
    assert torch.equal(scaled(x), without(x))
    assert scaled.scale is not None
    plain = without(x)
    for column in range(4):
        with torch.no_grad():
            scaled.scale.weight.zero_()
            scaled.scale.weight[column] = -0.2  # times 5: the column is gone
        out, other = scaled(x), {name: leaf.clone() for name, leaf in x.items()}
        if column < 2:
            other["num"][:, column] += 1.0
        else:
            other["cat"][:, column - 2] = 2
        moved = (without(other) != plain).any(0)
        assert moved.any()
        assert (out[:, moved] == 0).all()
        assert torch.equal(out, scaled(other))
        assert torch.equal(out[:, out.abs().sum(0) > 0], plain[:, out.abs().sum(0) > 0])


def test_adam_moves_a_column_scale_faster_by_its_rate() -> None:
    scale = ColumnScale([0, 0, 1], rate=7.0)
    optimizer = torch.optim.Adam(scale.parameters(), lr=0.01, eps=0.0)
    scale(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert torch.allclose(scale(torch.ones(1, 3)), torch.full((1, 3), 1 - 7 * 0.01))


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_a_column_rate_that_is_none_names_the_way_out(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"column_rate.*Use 0"):
        TableInputs(1, (), column_rate=rate)


def test_parameters_that_only_place_the_input_are_marked() -> None:
    net = TabularNet(3, (3, 30), 2, (4,), numbers="periodic")
    marked = {name for name, module in net.named_modules() if getattr(module, "embedding", False)}
    assert marked == {"inputs.numbers", "inputs.embeddings.0"}
    assert PiecewiseLinear.embedding


@pytest.mark.parametrize("branches", [1, 2])
def test_a_table_goes_through_residual_blocks(branches: int) -> None:
    """The body is the residual network on the encoded columns; a category beyond the one-hot ones is embedded."""
    net = TabularNet(3, (3, 30), 2, (8, 8, 8, 8, 8), norm="batch", branches=branches, one_hot_codes=2).eval()
    x = {"num": torch.randn(4, 3), "cat": torch.tensor([[0, 0], [1, 29], [2, 7], [1, 1]])}
    assert isinstance(net.body, ResidualNet) and len(net.body.blocks) == 2
    assert [len(list(e.parameters())) for e in net.inputs.embeddings] == [1, 1]
    assert torch.equal(net(x), net.body(net.inputs(x))) and net(x).shape == (4, 2)
    wide = TabularNet(3, (3, 30), 2, (8,), one_hot_codes=30)
    assert not wide.inputs.embeddings and wide.inputs.out_features == 3 + 2 + 29


# numbers


def test_quantile_edges_are_those_of_numpy() -> None:
    x = draw(101, 2)
    edges = quantile_edges(x, bins=8)
    assert np.allclose(np.array(edges), np.quantile(x.numpy(), np.linspace(0, 1, 9), axis=0).T, atol=1e-6)


def test_quantile_edges_are_the_values_of_a_column_with_few() -> None:
    x = torch.tensor([[0.0, 5.0, math.nan], [0.0, 5.0, 1.0], [0.0, 5.0, 2.0], [1.0, 5.0, math.inf], [0.0, 5.0, math.nan]])
    assert quantile_edges(x, bins=4) == [[0.0, 1.0], [5.0], [1.0, 2.0]]
    assert quantile_edges(torch.full((3, 1), math.nan)) == [[0.0]]


@pytest.mark.parametrize("bins", [1, 2, 3, 8, 32])
def test_quantile_edges_see_the_rest_of_a_column_that_is_mostly_zero(bins: int) -> None:
    x = torch.cat([torch.zeros(950), draw(50).abs() + 1])[:, None]
    (edges,) = quantile_edges(x, bins)
    assert sorted(set(edges)) == edges
    assert edges[0] == 0
    assert edges[-1] == x.max()
    assert bins <= len(edges) - 1 <= bins + 1
    if bins == 32:
        assert np.allclose(edges[1:], np.quantile(x[950:, 0].numpy(), np.linspace(0, 1, 32)), atol=1e-6)


def test_quantile_edges_give_every_bin_its_share() -> None:
    x = draw(2000)
    x = torch.where(torch.arange(2000) % 3 == 0, x.round(), x)[:, None]
    (edges,) = quantile_edges(x, 20)
    alone = x[~torch.isin(x, torch.tensor(edges))]
    counts = np.histogram(alone.numpy(), edges)[0]
    assert counts.max() < 3 * 2000 / 20


def test_piecewise_linear_is_monotone_and_keeps_the_plain_value() -> None:
    edges = quantile_edges(draw(200, 3), bins=6)
    encode = PiecewiseLinear(edges)
    x = torch.linspace(-5, 5, 101).unsqueeze(1).expand(101, 3)
    out = encode(x)
    assert out.shape == (101, encode.out_features)
    assert encode.out_features == 3 + 18
    assert torch.equal(out[:, :3], x)
    assert (out.diff(dim=0) >= 0).all()
    assert out[:, 3:].min() == 0
    assert out[:, 3:].max() == 1
    widths = torch.tensor(edges).diff(dim=1)
    inside = torch.tensor([[row[2] for row in edges]])
    assert torch.allclose((encode(inside)[0, 3:].view(3, 6) * widths).sum(1), inside[0] - torch.tensor([row[0] for row in edges]), atol=1e-5)


def test_piecewise_linear_of_flags_and_constants_is_the_plain_value() -> None:
    x = torch.tensor([[1.0, 0.0]])
    assert torch.equal(PiecewiseLinear([[0.0, 1.0], [3.0]])(x), x)


@pytest.mark.parametrize("shared", [True, False])
def test_periodic_is_the_formula(shared: bool) -> None:
    embed = Periodic(3, frequencies=4, width=5, sigma=0.5, shared=shared)
    x = draw(7, 3)
    out = embed(x)
    for j in range(3):
        angle = 2 * math.pi * x[:, j : j + 1] * embed.frequency[j] + embed.phase[j]
        j_or_0 = 0 if shared else j
        wave = angle.cos() @ embed.weight[j_or_0] + embed.bias[j_or_0]
        assert torch.allclose(out[:, 3 + 5 * j : 8 + 5 * j], wave, atol=1e-6)
    assert torch.equal(out[:, :3], x)


def test_periodic_frequencies_have_the_spread_asked_for() -> None:
    embed = Periodic(200, frequencies=50, sigma=0.3)
    assert embed.frequency.std().item() == pytest.approx(0.3, rel=0.05)


# images and sequences


@pytest.mark.parametrize(("shape", "channels"), [((1, 28, 28), (8, 16)), ((3, 1, 5), (4,)), ((2, 3, 3), (4, 4, 4))])
@pytest.mark.parametrize("readout", ["mean", "flatten"])
def test_conv_net_takes_any_size(shape: tuple[int, int, int], channels: tuple[int, ...], readout: str) -> None:
    net = ConvNet(shape, 4, channels, readout=readout)  # pyright: ignore[reportArgumentType]
    assert net(draw(5, *shape)).shape == (5, 4)


def test_residual_blocks_follow_the_maximum() -> None:
    """By hand: a block's output after its maximum, plus twice convolution, BatchNorm and activation of it."""
    net = build_seeded(lambda: ConvNet((2, 8, 6), 3, (4, 5), residual=(0, 2)), 0)
    x = torch.randn(7, 2, 8, 6)

    def unit(block: nn.Module, h: Tensor) -> Tensor:
        weight: Tensor = block.conv.weight  # pyright: ignore[reportAssignmentType, reportAttributeAccessIssue] -- a Conv2d
        h = nn.functional.conv2d(h, weight, padding=1)
        mean, var = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), unbiased=False, keepdim=True)
        return ((h - mean) / (var + 1e-5).sqrt()).relu()

    h = nn.functional.max_pool2d(unit(net.blocks[0], x), 2)
    h = nn.functional.max_pool2d(unit(net.blocks[1], h), 2)
    more: Any = net.blocks[1].residual
    assert len(more) == 2 and not len(net.blocks[0].residual)  # pyright: ignore[reportArgumentType] -- a ModuleList
    for block in more:
        first, second = block.branch.branch
        h = h + unit(second, unit(first, h))
    assert torch.allclose(net(x), net.head(h.mean((2, 3))), atol=1e-5)
    assert list(ConvNet((2, 8, 6), 3, (4, 5)).state_dict()) == [name for name in net.state_dict() if "residual" not in name]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("cell", "reference"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_cells_compute_what_torch_does(cell: str, reference: type[nn.RNNBase], layers: int) -> None:
    ours = RecurrentNet(3, 5, 2, cell, layers=layers, readout="all")
    theirs = reference(3, 5, num_layers=layers, batch_first=True)  # pyright: ignore[reportCallIssue]
    for index, ours_cell in enumerate(ours.cells):
        assert isinstance(ours_cell, Cell)
        with torch.no_grad():
            ours_cell.input.weight.copy_(getattr(theirs, f"weight_ih_l{index}"))
            ours_cell.input.bias.copy_(getattr(theirs, f"bias_ih_l{index}"))
            ours_cell.recurrent.weight.copy_(getattr(theirs, f"weight_hh_l{index}"))
            ours_cell.recurrent.bias.copy_(getattr(theirs, f"bias_hh_l{index}"))
    x = draw(4, 6, 3)
    assert torch.allclose(ours(x), ours.output(theirs(x)[0]), atol=1e-6)
    ours.readout = "last"
    assert torch.allclose(ours(x), ours.output(theirs(x)[0][:, -1]), atol=1e-6)
    ours.readout = "mean"
    assert torch.allclose(ours(x), ours.output(theirs(x)[0].mean(1)), atol=1e-6)


@pytest.mark.parametrize("kind", [RNNCell, GRUCell, LSTMCell])
def test_a_hook_on_a_cell_sees_the_hidden_state_at_every_time(kind: type[Cell]) -> None:
    name = kind.__name__.removesuffix("Cell").lower()
    net = RecurrentNet(3, 5, 2, name)
    seen: list[torch.Size] = []
    net.cells[0].register_forward_hook(lambda module, inputs, out: seen.append(out[0].shape))
    net(draw(4, 6, 3))
    assert seen == [torch.Size([4, 5])] * 6


def test_heads_share_the_trunk() -> None:
    net = TwoHeads(4, {"a": 3, "b": 1}, hidden=(8,))
    out = net(draw(5, 4))
    assert {name: tuple(y.shape) for name, y in out.items()} == {"a": (5, 3), "b": (5, 1)}
    out["a"].sum().backward()
    assert all(parameter.grad is not None for parameter in net.trunk.parameters())
    assert all(parameter.grad is None for parameter in net.heads[1].parameters())


# first weights


class Raw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((2,), 3.0))

    def reset(self) -> None:
        raise AssertionError("takes no generator, so it is not about first weights")


def everything() -> Any:
    return nn.ModuleDict(
        {
            "linear": nn.Linear(30, 20),
            "conv": nn.Conv2d(4, 6, 3),
            "transposed": nn.ConvTranspose1d(4, 6, 3),
            "embedding": nn.Embedding(50, 8, padding_idx=2),
            "batch": nn.BatchNorm1d(5),
            "group": nn.GroupNorm(1, 5),
            "attention": nn.MultiheadAttention(4, 2),
            "lstm": nn.LSTM(3, 4),
            "prelu": nn.PReLU(),
            "periodic": Periodic(2),
            "cell": LSTMCell(2, 3),
        }
    )


def test_initialize_reaches_every_kind_and_no_global_generator() -> None:
    net = everything()
    assert unreached(net) == []
    for parameter in net.parameters():
        nn.init.constant_(parameter, 77.0)
    net["batch"].running_mean.fill_(4)
    states = torch.get_rng_state(), random.getstate(), _numpy_state()
    initialize(net, 0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(_numpy_state(), states[2])
    assert not any((parameter == 77).any() for parameter in net.parameters())
    state = net.state_dict()
    assert state["embedding.weight"][2].abs().sum() == 0
    assert (state["batch.weight"] == 1).all()
    assert (state["batch.running_mean"] == 0).all()
    assert (state["batch.bias"] == 0).all()


def test_initialize_follows_the_rules_of_torch() -> None:
    net = everything()
    initialize(net, 1)
    reference = everything().state_dict()
    for name in ("linear", "conv", "transposed"):
        ours, theirs = net.state_dict()[f"{name}.weight"], reference[f"{name}.weight"]
        assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.15)
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.25)
        assert net.state_dict()[f"{name}.bias"].abs().max() <= ours.abs().max() * 1.2
    assert net.state_dict()["linear.weight"].abs().max() <= 1 / math.sqrt(30)


def test_adding_a_layer_does_not_shift_the_numbers_of_another() -> None:
    small: Any = MLP(3, 2, (4,))
    large: Any = MLP(3, 2, (4, 4))
    initialize(small, 9)
    initialize(large, 9)
    assert torch.equal(small.hidden[0].linear.weight, large.hidden[0].linear.weight)


def test_weights_and_biases_have_streams_of_their_own() -> None:
    net = nn.Sequential(nn.Linear(1, 64), nn.Linear(1, 64))
    initialize(net, 0)
    values = torch.stack([parameter.flatten() for parameter in net.parameters()])
    assert (torch.corrcoef(values) - torch.eye(4)).abs().max() < 0.5


def test_tied_parameters_are_drawn_once() -> None:
    net: Any = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    alone = nn.Linear(4, 4)
    net[1].weight = net[0].weight
    initialize(net, 0)
    first = net[0].weight.clone()
    initialize(nn.Sequential(alone), 0)
    assert torch.equal(first, alone.weight)
    assert net[1].weight is net[0].weight


def test_raw_parameters_are_named_and_kept() -> None:
    net = nn.Sequential(nn.Linear(2, 2), Raw())
    assert unreached(net) == ["1.scale"]
    initialize(net, 0)
    assert net.state_dict()["1.scale"].tolist() == [3.0, 3.0]


def test_initialize_keeps_the_dtype_and_agrees_across_them() -> None:
    single, half = nn.Linear(3, 2), nn.Linear(3, 2).bfloat16()
    initialize(single, 4)
    initialize(half, 4)
    assert half.weight.dtype == torch.bfloat16
    assert torch.equal(single.weight.bfloat16(), half.weight)


def test_build_seeded_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    a, b, c = (build_seeded(lambda: MLP(3, 2, (4,)), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


def test_build_seeded_restores_the_generator_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ConfigError):
        build_seeded(lambda: MLP(3, 2, (4, 0)), 0)
    assert torch.equal(torch.get_rng_state(), before)


# messages


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MLP(3, 2, (4, 0)), "`hidden` of MLP"),
        (lambda: MLP(0, 2), "`in_features` of MLP"),
        (lambda: MLP(3, 0), "`out_features` of MLP"),
        (lambda: MLP(3, None, ()), "`hidden` of MLP"),
        (lambda: MLP(3, 2, activation="rellu"), "`activation` of a network"),
        (lambda: MLP(3, 2, norm="group"), "`norm` of a network"),
        (lambda: TabularNet(0, (), 2), "at least one"),
        (lambda: TabularNet(2, (), 2, (8, 8), branches=1), "`hidden` of TabularNet to be 3, 5, 7"),
        (lambda: TabularNet(2, (), 2, (8, 8, 4), branches=1), "`hidden` of TabularNet to be 3, 5, 7"),
        (lambda: TabularNet(2, (), 2, (8,), branches=1), "`hidden` of TabularNet to be 3, 5, 7"),
        (lambda: TabularNet(2, (), 2, (8, 8, 8), skip=True, branches=1), "`skip` of TabularNet to be False"),
        (lambda: TabularNet(2, (), None, (8, 8, 8), branches=1), "`out_features` of TabularNet to be a number"),
        (lambda: TabularNet(2, (), 2, (8, 8, 8), branches=-1), "`branches` of ResidualNet"),
        (lambda: TabularNet(0, (1,), 2), "at least one"),
        (lambda: TabularNet(-1, (3,), 2), "`num_features` of TableInputs"),
        (lambda: TabularNet(1, (0,), 2), "`cardinalities` of TableInputs"),
        (lambda: TabularNet(1, (), 2, numbers="fourier"), "`numbers` of TableInputs"),  # pyright: ignore[reportArgumentType]
        (lambda: TabularNet(1, (), 2, numbers="piecewise"), "`edges` of TableInputs"),
        (lambda: TabularNet(1, (), 2, numbers="piecewise", edges=[[0, 1], [0, 1]]), "got '2 columns'"),
        (lambda: PiecewiseLinear([[0.0, 1.0, 1.0]]), "`edges` of PiecewiseLinear increasing"),
        (lambda: Periodic(2, sigma=0), "`sigma` of Periodic"),
        (lambda: Periodic(2, frequencies=0), "`frequencies` of Periodic"),
        (lambda: quantile_edges(torch.zeros(3)), "`x` of quantile_edges"),
        (lambda: quantile_edges(torch.zeros(3, 1), bins=0), "`bins` of quantile_edges"),
        (lambda: ConvNet((8, 8), 2), "`in_shape` of ConvNet"),
        (lambda: ConvNet((1, 8, 8), 2, ()), "`channels` of ConvNet"),
        (lambda: ConvNet((1, 8, 8), 2, norm="layer"), "`norm` of ConvNet"),
        (lambda: ConvNet((1, 8, 8), 2, readout="max"), "`readout` of ConvNet"),  # pyright: ignore[reportArgumentType]
        (lambda: ConvNet((1, 8, 8), 2, (4, 8), residual=(1,)), "`residual` of ConvNet to hold 2 whole numbers"),
        (lambda: ConvNet((1, 8, 8), 2, (4, 8), residual=(0, -1)), "`residual` of ConvNet to hold 2 whole numbers"),
        (lambda: ResNet((8, 8), 2), "`in_shape` of ResNet"),
        (lambda: ResNet((1, 8, 8), 2, channels=()), "`channels` of ResNet"),
        (lambda: ResNet((1, 8, 8), 2, norm="layer"), "`norm` of ResNet"),
        (lambda: ResNet((1, 8, 8), 2, blocks=0), "`blocks` of ResNet"),
        (lambda: ResNet((1, 8, 8), 2, widen=0), "`widen` of ResNet"),
        (lambda: ResNet((1, 8, 8), 2, branches=0), "`branches` of ResNet"),
        (lambda: ResNet((1, 8, 8), 0), "`out_features` of ResNet"),
        (lambda: ResNet((1, 8, 9), 2, shrink=9), "`shrink` of ResNet to be at most the shorter side, 8"),
        (lambda: RecurrentNet(3, 4, 2, cell="mgu"), "`cell` of RecurrentNet"),
        (lambda: RecurrentNet(3, 4, 2, layers=0), "`layers` of RecurrentNet"),
        (lambda: RecurrentNet(3, 4, 2, readout="max"), "`readout` of RecurrentNet"),  # pyright: ignore[reportArgumentType]
        (lambda: RecurrentNet(3, 0, 2), "`hidden` of GRUCell"),
        (lambda: RecurrentNet(3, 4, 2)(torch.zeros(3, 3)), "`x` of RecurrentNet"),
        (lambda: MultiHead(MLP(3, None, (4,)), 4, {}), "`heads` of MultiHead"),
        (lambda: TwoHeads(3, {"a": 1}), "`heads` of TwoHeads"),
        (lambda: initialize(MLP(3, 2), 1.5), "`seed` of initialize"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_messages_name_the_argument(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError) as caught:
        make()
    assert words in str(caught.value)
