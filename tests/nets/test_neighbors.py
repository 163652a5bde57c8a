"""The network that answers from similar training rows, alone and in a population."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.data.dataset import Dataset
from temperance.nets import NeighborNet, TabularNet, build_seeded
from temperance.nets.neighbors import BLOCK, NEAREST, factors, identity
from temperance.train.member import Member
from temperance.train.optimizers import AdamW
from temperance.train.population import Population

ROWS = 40
BY = torch.tensor(factors(4))


def test_products_of_16_bits_stay_outside_of_the_distances() -> None:
    """A label that all similar rows have is nearly sure in single precision, and quite sure in 16 bits, whose log-odds are infinite."""
    x = table()
    for task, y in (("multilabel", torch.ones(ROWS, 2)), ("classification", classes(x)), ("regression", x["num"][:, :2])):
        net = knowing(network(task=task), x, y)
        plain = net(table(seed=2)).detach()
        with torch.autocast("cpu", torch.bfloat16):
            coarse = net(table(seed=2))
        assert coarse.dtype == torch.float32 and torch.isfinite(coarse).all()
        assert torch.allclose(coarse, plain, atol=0.1 * float(plain.abs().max())), task


def table(n: int = ROWS, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"num": torch.randn(n, 3, generator=generator), "cat": torch.randint(0, 4, (n, 1), generator=generator)}


def classes(x: dict[str, Tensor]) -> Tensor:
    return torch.eye(2)[(x["num"][:, 0] * x["num"][:, 1] > 0).long()]


def network(seed: int = 0, task: str = "classification", outputs: int = 2, **settings: Any) -> NeighborNet:
    return build_seeded(lambda: NeighborNet(3, (4,), outputs, task, width=8, numbers="periodic", column_rate=5.0, **settings), seed)


def knowing(net: NeighborNet, x: dict[str, Tensor], y: Tensor) -> NeighborNet:
    net.remember(x, y)
    return net


def part(x: dict[str, Tensor], rows: Any) -> dict[str, Tensor]:
    return {name: leaf[rows] for name, leaf in x.items()}


def by_hand(net: NeighborNet, x: dict[str, Tensor], rows: dict[str, Tensor], y: Tensor, own: Tensor | None = None, farther: float = 1.0) -> np.ndarray:
    """The formula, one row at a time, in double precision, with all distances times a factor."""
    given = np.ones(len(y)) if own is None else own.double().numpy()
    with torch.no_grad():
        places = [net.first(net.inputs(side)) for side in (x, rows)]
        f, g = ((h + net.block(h)).double().numpy() for h in places)
    out: list[np.ndarray] = []
    scale = farther * net.scale.weight.exp().item()
    for i, here in enumerate(f):
        others = [j for j in range(len(g)) if not all(torch.equal(x[k][i], rows[k][j]) for k in x)]
        far = np.array([max(scale * np.sqrt(((here - g[j]) ** 2).sum()), np.sqrt(NEAREST)) for j in others])
        weight = given[others] * np.exp(-far)
        weight = weight / weight.sum()
        out.append((weight[:, None] * y.double().numpy()[others]).sum(0))
    return np.array(out)


def test_outputs_are_the_weighted_mean_of_the_targets_of_other_rows() -> None:
    x, y, new = table(), classes(table()), table(5, seed=2)
    net = knowing(network(), x, y).eval()
    with torch.no_grad():
        net.scale.weight.fill_(0.7)
    for asked in (new, x):
        np.testing.assert_allclose(net(asked).exp().detach().numpy(), by_hand(net, asked, x, y), rtol=2e-4, atol=1e-5)


WEIGHTS = torch.linspace(0.0, 3.0, ROWS)


def weighing(net: NeighborNet, x: dict[str, Tensor], y: Tensor, weight: Tensor | None) -> NeighborNet:
    net.remember(x, y, weight)
    return net.eval()


def test_rows_count_by_their_weights() -> None:
    x, y, new = table(), classes(table()), table(5, seed=2)
    net = weighing(network(weighted=True), x, y, WEIGHTS)
    for asked in (new, x):
        np.testing.assert_allclose(net(asked).exp().detach().numpy(), by_hand(net, asked, x, y, WEIGHTS), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_row_of_weight_two_is_the_row_twice_and_one_of_weight_zero_is_none(task: str) -> None:
    x, y, new = table(), classes(table()), table(5, seed=2)
    often = torch.arange(ROWS) % 3
    rows = torch.repeat_interleave(torch.arange(ROWS), often)
    asked = weighing(network(task=task, weighted=True), x, y, often.float())(new)
    torch.testing.assert_close(asked, knowing(network(task=task), part(x, rows), y[rows]).eval()(new))
    assert not torch.allclose(asked, knowing(network(task=task), x, y).eval()(new))


def test_equal_weights_are_no_weights() -> None:
    x, y, new = table(), classes(table()), table(5, seed=2)
    plain = knowing(network(), x, y).eval()(new)
    for weight in (None, torch.ones(ROWS), torch.full((ROWS,), 1e-30), torch.full((ROWS,), 1e30)):
        torch.testing.assert_close(weighing(network(weighted=True), x, y, weight)(new), plain)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_rows_that_all_weigh_nothing_give_an_answer(task: str) -> None:
    assert torch.isfinite(weighing(network(task=task, weighted=True), table(), classes(table()), torch.zeros(ROWS))(table(5, seed=2))).all()
    assert torch.isfinite(network(task=task, weighted=True).eval()(table(5))).all(), "before it remembers anything"


@pytest.mark.parametrize("training", [True, False])
def test_a_window_takes_the_weights_of_its_rows(training: bool) -> None:
    """Targets that are one where the weight is: the mean is one, unless a row has the weight of another one."""
    y = torch.stack([(WEIGHTS > 1.5).float(), (WEIGHTS <= 1.5).float()], 1)
    net = weighing(network(weighted=True, window=7, task="regression"), table(), y, (WEIGHTS > 1.5).float()).train(training)
    torch.testing.assert_close(net(table(5, seed=2))[:, 0], torch.ones(5))


def test_weights_ask_for_a_network_that_takes_them() -> None:
    with pytest.raises(ConfigError, match="made without `weighted=True`"):
        network().remember(table(), classes(table()), WEIGHTS)
    with pytest.raises(ConfigError, match="made without `weighted=True`"):
        population([member(0)], replace(data(), weight=WEIGHTS))


def test_each_task_has_the_output_that_its_loss_expects() -> None:
    x, y = table(), classes(table())
    means = {}
    for task in ("classification", "multilabel", "regression"):
        out = knowing(network(task=task), x, y).eval()(table(5, seed=2))
        means[task] = {"classification": out.exp, "multilabel": out.sigmoid, "regression": lambda out=out: out}[task]()
    torch.testing.assert_close(means["classification"], means["regression"])
    torch.testing.assert_close(means["multilabel"], means["regression"])


@pytest.mark.parametrize("training", [True, False])
def test_a_row_never_sees_its_own_target(training: bool) -> None:
    x, y = table(), classes(table())
    net = network().train(training)
    before = knowing(net, x, y)(part(x, [3]))
    other = y.clone()
    other[3] = other[3].flip(0)
    torch.testing.assert_close(knowing(net, x, other)(part(x, [3])), before, rtol=0, atol=0)
    other[4] = other[4].flip(0)
    assert not torch.equal(knowing(net, x, other)(part(x, [3])), before)


def test_rows_with_equal_inputs_do_not_count_either() -> None:
    x = table()
    x = {name: torch.cat([leaf, leaf[:1]]) for name, leaf in x.items()}
    y = torch.cat([classes(table()), torch.tensor([[1.0, 0.0]])])
    before = knowing(network().eval(), x, y)(part(x, [0]))
    y[-1] = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(knowing(network().eval(), x, y)(part(x, [0])), before, rtol=0, atol=0)


def test_identity_tells_rows_apart_that_differ_anywhere() -> None:
    x = table(2000)
    assert len(set(identity(list(x.values()), BY).tolist())) == 2000
    swapped = {"num": x["num"][:, [1, 0, 2]], "cat": x["cat"]}
    assert not set(identity(list(x.values()), BY).tolist()) & set(identity(list(swapped.values()), BY).tolist())
    coded = {"num": x["num"], "cat": (x["cat"] + 1) % 4}
    assert not set(identity(list(x.values()), BY).tolist()) & set(identity(list(coded.values()), BY).tolist())


def test_a_training_step_compares_with_a_window_and_an_evaluation_with_all() -> None:
    x, y = table(), classes(table())
    net = knowing(network(window=7), x, y)
    asked = table(5, seed=2)
    moved = {j for j in range(ROWS) if not torch.equal(knowing(net.train(), x, flipped(y, j))(asked), knowing(net.train(), x, y)(asked))}
    assert len(moved) == 7
    later = part(asked, [0, 1, 2])
    others = {j for j in range(ROWS) if not torch.equal(knowing(net, x, flipped(y, j))(later), knowing(net, x, y)(later))}
    assert len(others) == 7 and others != moved
    net.eval()
    assert all(not torch.equal(knowing(net, x, flipped(y, j))(asked), knowing(net, x, y)(asked)) for j in range(ROWS))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_among_more_rows_than_in_a_window_distances_grow(task: str) -> None:
    x, y, new = table(), classes(table()), table(5, seed=2)
    net = knowing(network(task=task, window=10, density=0.5), x, y).eval()
    out = net(new).detach()
    np.testing.assert_allclose(out.exp() if task == "classification" else out, by_hand(net, new, x, y, farther=2.0), rtol=2e-4, atol=1e-5)


def test_in_a_window_and_among_few_rows_distances_stay() -> None:
    x, y, new = table(), classes(table()), table(5, seed=2)
    for settings, training in (({"window": 10}, True), ({"window": ROWS}, True), ({"window": ROWS}, False)):
        dense, plain = (knowing(network(density=density, **settings), x, y).train(training) for density in (0.5, 0.0))
        torch.testing.assert_close(dense(new), plain(new), rtol=0, atol=0)


def flipped(y: Tensor, j: int) -> Tensor:
    out = y.clone()
    out[j] = out[j].flip(0)
    return out


def test_many_rows_get_the_answers_of_few() -> None:
    net = knowing(network().eval(), table(), classes(table()))
    many = table(2 * BLOCK + 3, seed=5)
    torch.testing.assert_close(net(many)[-4:], net(part(many, slice(-4, None))))


def test_a_state_brings_its_rows_along() -> None:
    x, y = table(), classes(table())
    net = knowing(network(), x, y).eval()
    fresh = network(seed=1).eval()
    fresh.load_state_dict(net.state_dict())
    torch.testing.assert_close(fresh(table(5, seed=2)), net(table(5, seed=2)), rtol=0, atol=0)


def test_before_it_remembers_anything_it_answers_without_an_error() -> None:
    assert network().eval()(table(5)).shape == (5, 2)
    assert torch.isfinite(network()(table(5))).all()


def test_kinds_of_columns_may_be_missing() -> None:
    numbers, codes = NeighborNet(3, (), 2, width=4), NeighborNet(0, (4,), 2, width=4)
    x = table()
    numbers.remember({"num": x["num"]}, classes(x))
    codes.remember({"cat": x["cat"]}, classes(x))
    assert numbers({"num": x["num"]}).shape == codes({"cat": x["cat"]}).shape == (ROWS, 2)


def test_what_cannot_be_asked_for_is_named() -> None:
    with pytest.raises(ConfigError, match="`task` of NeighborNet"):
        NeighborNet(1, (), 2, "ranking")
    with pytest.raises(ConfigError, match="`window` of NeighborNet"):
        NeighborNet(1, (), 2, window=0)
    with pytest.raises(ConfigError, match="`density` of NeighborNet"):
        NeighborNet(1, (), 2, density=-0.1)


# In a population


def population(members: list[Member], data: Dataset, held: Dataset | None = None, **settings: Any) -> Population:
    return Population(network(), members, data, held, metric="log_loss", batch_size=8, total_steps=6, check_every=3, compile=False, **settings)


def data() -> Dataset:
    return Dataset(table(), classes(table()), "classification")


def member(seed: int, **changes: Any) -> Member:
    initial = {name: t.detach() for name, t in network(seed).state_dict().items()}
    return Member(tp.Cocktail(tp.Dropout(0.1 * seed), tp.WeightDecay(0.01)), AdamW(0.01), seed, initial, **changes)


def test_every_member_remembers_its_own_rows_and_equals_itself_alone() -> None:
    folds = [(torch.arange(0, 24), torch.arange(24, ROWS)), (torch.arange(16, ROWS), torch.arange(0, 16))]
    members = [member(i, rows=a, validation=b) for i, (a, b) in enumerate(folds)]
    together = population(members, data())
    together.run()
    for i, (rows, _) in enumerate(folds):
        assert set(map(tuple, together.model(i).rows_num.tolist())) == set(map(tuple, data().x["num"][rows].tolist()))  # pyright: ignore[reportIndexIssue, reportArgumentType, reportCallIssue]
        alone = population([members[i]], data())
        alone.run()
        asked = table(5, seed=2)
        torch.testing.assert_close(together.model(i)(asked), alone.model(0)(asked), rtol=0, atol=0)


def test_every_member_remembers_the_weights_of_its_own_rows() -> None:
    weighted = replace(data(), weight=WEIGHTS + 0.1)
    folds = [(torch.arange(0, 24), torch.arange(24, ROWS)), (torch.arange(10, ROWS), torch.arange(0, 10))]
    own = [{name: t.detach() for name, t in network(seed, weighted=True).state_dict().items()} for seed in range(2)]
    members = [replace(member(i, rows=a, validation=b), initial=own[i]) for i, (a, b) in enumerate(folds)]

    def trained(chosen: list[Member]) -> Population:
        made = Population(network(weighted=True), chosen, weighted, metric="log_loss", batch_size=8, total_steps=6, check_every=3, compile=False)
        made.run()
        return made

    together = trained(members)
    for i, (rows, _) in enumerate(folds):
        net = together.model(i)
        own_share = ((WEIGHTS[rows] + 0.1).double() / (WEIGHTS[rows] + 0.1).double().mean()).float()
        pairs = zip(net.rows_num[:, 0].tolist(), net.rows_weight.tolist(), strict=True)  # pyright: ignore[reportIndexIssue, reportArgumentType, reportCallIssue]
        assert sorted(pairs) == sorted(zip(data().x["num"][rows][:, 0].tolist(), own_share.tolist(), strict=True))  # pyright: ignore[reportIndexIssue, reportArgumentType, reportCallIssue]
        asked = table(5, seed=2)
        torch.testing.assert_close(net(asked), trained([members[i]]).model(0)(asked), rtol=0, atol=0)


def test_members_with_fewer_rows_take_none_from_others() -> None:
    """Folds of different sizes: each is bit for bit what it is alone."""
    parts = [torch.arange(0, 24), torch.arange(5, ROWS), torch.arange(3, 27)]
    members = [member(i, rows=rows, validation=torch.arange(0, 5)) for i, rows in enumerate(parts)]
    together = population(members, data())
    together.run()
    for i, rows in enumerate(parts):
        assert len(together.model(i).rows_y) == len(rows)  # pyright: ignore[reportArgumentType]
        alone = population([members[i]], data())
        alone.run()
        assert all(torch.equal(a, b) for a, b in zip(together.model(i).state_dict().values(), alone.model(0).state_dict().values(), strict=True))


def test_in_a_loop_of_ones_own_a_regularizer_that_changes_inputs_is_refused_too() -> None:
    net = knowing(network(), table(), classes(table()))
    with pytest.raises(ConfigError, match="MixUp changes the inputs of a row, and NeighborNet knows a training row by its inputs"):
        tp.Cocktail(tp.MixUp(0.3)).attach(net, torch.optim.SGD(net.parameters(), lr=0.1), torch.nn.CrossEntropyLoss())
    tp.Cocktail(tp.Dropout(0.3)).attach(net, torch.optim.SGD(net.parameters(), lr=0.1), torch.nn.CrossEntropyLoss()).detach()


def test_training_lowers_the_loss_on_other_rows() -> None:
    x = table(600, seed=3)
    train, held = (Dataset(part(x, rows), classes(x)[rows], "classification") for rows in (slice(0, 500), slice(500, 600)))
    made = Population(network(), [member(0)], train, held, metric="log_loss", batch_size=64, total_steps=60, check_every=6, compile=False)
    (outcome,) = made.run()
    scores = [row["validation_score"] for row in outcome.history]
    assert min(scores) < 0.7 * scores[0] < 0.7 * 0.7


def test_a_regularizer_that_changes_inputs_is_refused_when_it_is_on() -> None:
    for regularizer in (tp.InputNoise(0.1), tp.MixUp(0.3), tp.Dropout(0.1, input_rate=0.1)):
        with pytest.raises(ConfigError, match="changes the inputs of a row"):
            population([Member(tp.Cocktail(regularizer))], data())
    for regularizer in (tp.InputNoise(0.0), tp.LabelSmoothing(0.1), tp.Dropout(0.3), tp.WeightDecay(0.1), tp.EMA(0.9)):
        population([Member(tp.Cocktail(regularizer))], data())


def test_what_keeps_inputs_really_does() -> None:
    """A class that says so hands every row on as it came."""
    from temperance.core.batch import full_batch
    from temperance.core.random import Rng, key_of
    from temperance.core.regularizer import Context

    for regularizer in (tp.LabelSmoothing(0.3), tp.LabelNoise(0.3), tp.TargetNoise(0.3)):
        batch = full_batch(table()["num"], classes(table()))
        context = Context(rng=Rng(key_of(0), 1))
        assert not regularizer.changes_inputs()
        assert regularizer.bind().batch(batch, context).x is batch.x


def test_data_that_such_a_network_cannot_use_are_refused_with_a_way_out() -> None:
    missing = Dataset(table(), classes(table()), "classification", labeled=torch.arange(ROWS) % 2 == 0)
    with pytest.raises(ConfigError, match="Use another network, as TabularNet"):
        population([Member()], missing)
    Population(TabularNet(3, (4,), 2, (8,)), [Member()], missing, metric="log_loss", batch_size=8, total_steps=2)
