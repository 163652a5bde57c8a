"""What runs on a graphics card: everything of the registries, on a pretended card on which mixing devices is an error and what the host reads is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tests.laws.card import CARD, Card, Far, Mixed
from tests.laws.harness import VARIANTS
from tests.laws.test_trainer_laws import CLOSE, members, network, population, result, run, world_of
from torch import Tensor, nn

import temperance as tp
from temperance.core import device
from temperance.core.criterion import Heads, SoftmaxCrossEntropy, SquaredError
from temperance.core.inputs import scale_of
from temperance.data.dataset import Dataset
from temperance.diagnose.examine import CHECKS
from temperance.train.optimizers import OPTIMIZERS
from temperance.train.own import target_scale

# What the host reads while a population trains, and why. Each is a place; a step itself reads nothing.
SETTING_UP = {
    "train/population.py: prepared": "whether any row has a weight, once",
    "core/batch.py: map_leaves": "the spread of targets over the rows that have one, once",
    "train/ways.py: refuse_own_randomness": "whether the network gives the same twice, once",
    "train/rows.py: __init__": "whether members have different numbers of rows, once for each group",
}
COMPARING = {"train/trace.py: _same": "whether a recorded graph gives what the step itself gives, at the second step of a shape"}
BETWEEN_STEPS = {
    "train/rows.py: _block": "how many epochs the next steps touch, once in up to 32 steps",
    "train/rows.py: _epochs": "whether an epoch's order is known, likewise",
}
AT_A_CHECK = {
    "train/chunk.py: check": "losses, scores and learning rates: they decide what stops",
    "train/chunk.py: _divergence": "whose loss or weights are not finite",
    "train/chunk.py: _state": "the best and final states, which are kept where the data are",
    "train/group.py: epochs": "passes over the rows, for the history",
    "train/group.py: to_read": "a member's number of rows, where an average needs BatchNorm statistics",
    "train/group.py: _refresh_rows": "likewise",
    "train/group.py: gather": "who stays, after members have left",
    "train/metrics.py: _areas": "areas under curves have as many parts as there are scores",
    "train/noise.py: _of_precisions": "likewise",
}
ALLOWED = {**SETTING_UP, **COMPARING, **BETWEEN_STEPS, **AT_A_CHECK}

every_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(autouse=True)
def _one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cards", lambda: [str(CARD)])


def places(notes: Counter[str]) -> set[str]:
    return {text.partition(" in ")[2] for text in notes}


def assert_close(a: Any, b: Any) -> None:
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True, **CLOSE)


def on_both(made: Callable[..., Any]) -> tuple[Any, Any, Card]:
    """The same on the processor and on the card."""
    here = made()
    with Card() as card:
        there = made(device=str(CARD))
    return here, there, card


def trained_alike(build: Callable[[], nn.Module], chosen: Sequence[tp.Member], rows: Dataset, **settings: Any) -> None:
    """A short training ends alike on both, and the host reads what is listed."""

    def made(**where: Any) -> Any:
        given = {"batch_size": 8, "total_steps": 2, "check_every": 2, **settings}
        population = tp.Population(tp.nets.build_seeded(build, 0), chosen, rows, rows, **given, **where)
        population.run()
        return population

    here, there, card = on_both(made)
    for i, _ in enumerate(chosen):
        assert_close(result(there, i), result(here, i))
    assert places(card.notes) <= set(ALLOWED)


TWO = [tp.Member(tp.Cocktail(tp.L2(lam)), tp.optim.SGD(0.05), 1) for lam in (0.01, 0.1)]


# The pretended card itself


def test_the_card_refuses_what_a_card_refuses() -> None:
    with Card() as card:
        far, here = torch.ones(3, device=CARD), torch.ones(3)
        with pytest.raises(Mixed, match="two devices"):
            far + here
        with pytest.raises(Mixed):
            far[torch.tensor([0, 1])]
        with pytest.raises(Mixed):
            torch.cat([far, here])
        with pytest.raises(TypeError, match="numpy"):
            far.numpy()
        assert isinstance(far + torch.tensor(2.0), Far)  # a single number travels along
        assert not card.notes


@pytest.mark.parametrize(
    "reads",
    [lambda t: t.sum().item(), lambda t: bool(t.sum() > 0), lambda t: t.tolist(), Tensor.cpu, torch.nonzero, lambda t: t[t > 0], lambda t: torch.equal(t, t)],
    ids=["item", "bool", "tolist", "cpu", "nonzero", "marks", "equal"],
)
def test_the_card_notes_what_the_host_reads(reads: Callable[[Tensor], Any]) -> None:
    with Card() as card:
        reads(torch.ones(3, device=CARD))
    assert sum(card.notes.values()) == 1


# Registries


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "-" not in name])
def test_a_population_on_a_card(variant: str) -> None:
    """The numbers of the processor up to the order of sums, and no read of the host that is not listed; states and histories come out on the processor."""
    chosen = members(VARIANTS[variant])[:2]
    here, there, card = on_both(lambda **where: run(chosen, total_steps=2, check_every=2, **where))
    for i, outcome in enumerate(there.outcomes):
        assert all(type(t) is Tensor for t in outcome.state.values())
        assert_close(result(there, i), result(here, i))
    assert places(card.notes) <= set(ALLOWED)


@pytest.mark.parametrize("way", ["vmap", "loop"])
def test_steps_are_not_waited_for(way: str) -> None:
    """Between two checks the host reads nothing but which epochs come next, once in many steps; before that, whether the step was recorded well."""
    chosen = [tp.Member(tp.Cocktail(tp.L2(0.01), tp.Dropout(0.3), tp.MixUp(0.2), tp.EMA(0.9), tp.GradClip(1.0)), tp.optim.SGD(0.05), 3)]
    with Card() as card:
        made = population(chosen, total_steps=100, check_every=100, device=str(CARD), way=way)
        card.notes.clear()
        for _ in range(2):
            made.chunks[0].group.train_step()
        assert places(card.notes) <= {*BETWEEN_STEPS, *COMPARING}
        card.notes.clear()
        for _ in range(4):
            made.chunks[0].group.train_step()
        assert places(card.notes) <= set(BETWEEN_STEPS)
        assert sum(card.notes.values()) <= 1


@every_variant
def test_attached_on_a_card(variant: str) -> None:
    """In a loop of one's own a step reads nothing at all."""
    cocktail = members(VARIANTS[variant])[0].cocktail
    world = world_of(cocktail)

    def trained(device: str = "cpu") -> list[Tensor]:
        model, data = network(build=world.build).to(device), world.train.to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
        scales = {"input_scale": scale_of(data.x), "target_scale": target_scale(data)}
        reg = cocktail.attach(model, optimizer, world.loss(), seed=7, total_steps=5, **scales)
        targets = world.targets(data.y)
        if device != "cpu":
            card.notes.clear()
        for i in range(2):
            rows = slice(3 * i, 3 * i + 8)
            x = {name: leaf[rows] for name, leaf in data.x.items()} if isinstance(data.x, dict) else data.x[rows]
            reg.loss(x, targets[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
        reg.detach()
        if device != "cpu":
            assert not card.notes
        return [t.detach().cpu() for t in (*model.parameters(), *model.buffers())]

    here = trained()
    with Card() as card:
        there = trained(str(CARD))
    assert_close(there, here)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name: str) -> None:
    chosen = [tp.Member(tp.Cocktail(tp.L2(lam)), OPTIMIZERS[name](), 1) for lam in (0.01, 0.1)]
    trained_alike(lambda: tp.nets.MLP(4, 3, hidden=(6,)), chosen, table())


def image_rows() -> Dataset:
    g = torch.Generator().manual_seed(3)
    return Dataset(torch.rand(24, 1, 8, 8, generator=g), torch.eye(3)[torch.arange(24) % 3], "classification")


def series() -> Dataset:
    return Dataset(torch.randn(24, 6, 4, generator=torch.Generator().manual_seed(3)), torch.eye(3)[torch.arange(24) % 3], "classification")


def table() -> Dataset:
    return Dataset(torch.randn(24, 4, generator=torch.Generator().manual_seed(3)), torch.eye(3)[torch.arange(24) % 3], "classification")


def mixed_table() -> Dataset:
    g = torch.Generator().manual_seed(3)
    x = {"num": torch.randn(24, 4, generator=g), "cat": torch.randint(0, 5, (24, 2), generator=g)}
    return Dataset(x, torch.eye(3)[torch.arange(24) % 3], "classification", cardinalities=(5, 5))


EDGES = [[-1.0, 0.0, 1.0]] * 4
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Dataset]]] = {
    "MLP": (lambda: tp.nets.MLP(4, 3, hidden=(6,)), table),
    "BatchEnsemble": (lambda: tp.nets.BatchEnsemble(4, 3, "classification", members=2, hidden=(6,)), table),
    "TabM": (lambda: tp.nets.TabM(4, 3, "classification", members=2, hidden=(6,)), table),
    "LadderNet": (lambda: tp.nets.LadderNet(4, 3, hidden=(6,)), table),
    "TabularNet": (lambda: tp.nets.TabularNet(4, (5, 5), 3, hidden=(6,)), mixed_table),
    "TabularNet-piecewise": (lambda: tp.nets.TabularNet(4, (5, 5), 3, hidden=(6,), numbers="piecewise", edges=EDGES), mixed_table),
    "NeighborNet": (lambda: tp.nets.NeighborNet(4, (5, 5), 3, width=6, window=4, numbers="periodic"), mixed_table),
    "TabularNet-periodic": (lambda: tp.nets.TabularNet(4, (5, 5), 3, hidden=(6,), numbers="periodic"), mixed_table),
    "ConvNet": (lambda: tp.nets.ConvNet((1, 8, 8), 3), image_rows),
    "ResNet": (lambda: tp.nets.ResNet((1, 8, 8), 3, channels=(4, 8)), image_rows),
    "ResidualNet": (lambda: tp.nets.ResidualNet(4, 3, width=6, depth=2), table),
    "RecurrentNet": (lambda: tp.nets.RecurrentNet(4, 5, 3), series),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(name: str) -> None:
    build, rows = NETWORKS[name]
    trained_alike(build, TWO, rows())


def labels() -> Dataset:
    return Dataset(torch.randn(24, 4, generator=torch.Generator().manual_seed(3)), (torch.arange(72).reshape(24, 3) % 2).float(), "multilabel")


def numbers() -> Dataset:
    g = torch.Generator().manual_seed(3)
    return Dataset(torch.randn(24, 4, generator=g), torch.randn(24, 3, generator=g), "regression")


def focal(out: Tensor, y: Tensor) -> Tensor:
    return -((1.0 - (out.softmax(1) * y).sum(1)) * (out.log_softmax(1) * y).sum(1)).mean()


LOSSES: dict[str, tuple[Any, Callable[[], Dataset], str | None]] = {
    "classes": (None, table, "auc"),
    "labels": (None, labels, "average_precision"),
    "values": (None, numbers, "rmse"),
    "cross_entropy": (nn.CrossEntropyLoss(label_smoothing=0.1), table, "log_loss"),
    "huber": (nn.HuberLoss(), numbers, "mae"),
    "own": (focal, table, "balanced_accuracy"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_and_metric(name: str) -> None:
    loss, rows, metric = LOSSES[name]
    trained_alike(lambda: tp.nets.MLP(4, 3, hidden=(6,)), TWO, rows(), criterion=loss, metric=metric)


def test_several_heads() -> None:
    rows = table()
    both = Dataset(rows.x, {"kind": rows.y, "price": rows.y[:, :1]}, {"kind": "classification", "price": "regression"})  # type: ignore[index]
    loss = Heads((("kind", SoftmaxCrossEntropy(), 1.0), ("price", SquaredError(), 0.5)))
    trained_alike(lambda: tp.nets.MultiHead(tp.nets.MLP(4, 6, hidden=(6,)), 6, {"kind": 3, "price": 1}), TWO, both, criterion=loss)


# What users call


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_of_a_network(check: str) -> None:
    """A check may read what it reports; it mixes no devices and finds the same."""
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(4, 3, hidden=(6,)), 0)
    here, there, _ = on_both(lambda **where: tp.diagnose(net, table(), validation=table(), lr=0.1, checks=check, **where))
    assert [f.verdict for f in there.findings] == [f.verdict for f in here.findings]
    assert there.skipped == here.skipped
    assert all(type(p.data) is Tensor for p in net.parameters())


def small(data: Dataset) -> nn.Module:
    return tp.nets.MLP(data.in_features, data.out_features, hidden=(6,))


def test_a_search_on_a_card() -> None:
    """It says so, and its networks, predictions and files know no device."""

    def made(**where: Any) -> Any:
        return tp.search(
            small, (torch.randn(60, 4, generator=torch.Generator().manual_seed(0)).numpy(), torch.arange(60).numpy() % 2), trials=2, epochs=2, **where
        )

    here, there, _ = on_both(made)
    assert not any("card" in note for note in here.notes)
    assert f"networks train on {CARD}" in there.notes
    assert all(type(p.data) is Tensor for p in there.model.parameters())
    assert [t.status for t in there.trials] == [t.status for t in here.trials]
    torch.testing.assert_close(there.score["value"], here.score["value"], **CLOSE)


@pytest.mark.parametrize("effort", [{"trials": 2}, {"budget": 0.01}], ids=["trials", "no time"])
def test_every_network_of_a_search_trains_where_it_should(effort: dict[str, Any]) -> None:
    """Also the one that is trained when the time is over before any was."""
    with Card():
        found = tp.search(small, table(), epochs=4, device=str(CARD), **effort)
    assert {trial.population.device for trial in found.trials} == {CARD}


@pytest.mark.parametrize("how", ["same_epochs", "until_train_loss"])
def test_fit_on_a_card(how: str) -> None:
    def made(**where: Any) -> Any:
        net = tp.nets.build_seeded(lambda: tp.nets.MLP(4, 3, hidden=(6,)), 0)
        return tp.fit(net, tp.Cocktail(tp.L2()), table(), epochs=2, batch_size=8, retrain=how, **where)

    here, there, _ = on_both(made)
    assert_close(there.model.state_dict().values(), here.model.state_dict().values())
    assert "on card:0" in there.plan
    assert "on " not in here.plan.partition("\n")[2].partition(":")[0]


def test_an_estimator_on_a_card() -> None:
    x, y = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)).numpy(), torch.arange(60).numpy() % 2
    for settings in ({"cocktail": tp.Cocktail(tp.L2())}, {"cocktail": tp.Cocktail(tp.L2()), "early_stopping": False}):
        here, there, _ = on_both(lambda s=settings, **where: tp.TemperanceClassifier(**s, **where, epochs=2, random_state=0).fit(x, y))
        torch.testing.assert_close(torch.tensor(there.predict_proba(x)), torch.tensor(here.predict_proba(x)), **CLOSE)


# Asking for a device


def test_auto_takes_a_card_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.device_of("auto") == CARD
    monkeypatch.setattr(device, "cards", list)
    assert device.device_of("auto") == torch.device("cpu")


@pytest.mark.parametrize("asked", ["cuda", "cuda:1", "gpu", "card:3", "", 0, "meta"])
def test_a_device_that_is_not_there(asked: Any) -> None:
    """The message names those that are."""
    with pytest.raises(tp.ConfigError, match=r"Expected `device` of search to be 'auto', 'cpu', 'card:0', got") as told:
        device.device_of(asked, "search")
    assert repr(asked) in str(told.value)


def test_a_device_without_double_precision() -> None:
    with pytest.raises(tp.ConfigError, match="no numbers in double precision"):
        device.device_of("mps")


@pytest.mark.parametrize(
    "call", [lambda: tp.fit(tp.nets.MLP(4, 3), tp.Cocktail(), table(), device="cuda"), lambda: tp.diagnose(tp.nets.MLP(4, 3), table(), device="cuda")]
)
def test_the_door_refuses(call: Callable[[], Any]) -> None:
    with pytest.raises(tp.ConfigError, match="Expected `device`"):
        call()
