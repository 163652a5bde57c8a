"""The norm of the weights and the non-linearity in every history, against numpy on the networks themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.core.batch import leaves_of, map_leaves
from temperance.data.dataset import Dataset
from temperance.train.growth import PAIRS, non_linearity, pairs

ROWS = 40
CLASSES = torch.nn.functional.one_hot(torch.arange(ROWS) % 3, 3).float()


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


NUMBERS = Dataset(drawn(ROWS, 4), CLASSES, "classification")
CODES = torch.arange(ROWS).remainder(5).reshape(-1, 1)
TABLE = Dataset({"num": drawn(ROWS, 4), "cat": CODES}, CLASSES, "classification", cardinalities=(5,))
IMAGES = Dataset(drawn(ROWS, 1, 6, 6), CLASSES, "classification")
HEADS = Dataset(drawn(ROWS, 4), {"kind": CLASSES, "price": drawn(ROWS, 1, seed=2)}, {"kind": "classification", "price": "regression"})


class Forked(nn.Module):
    """Two heads on one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind, self.price = nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.body(x)
        return {"kind": self.kind(h), "price": self.price(h)}


class Coded(nn.Module):
    """Codes that are embedded, beside numbers or without them."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.codes, self.body = nn.Embedding(5, 2), nn.Sequential(nn.Linear(2 + numbers, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.body(torch.cat([self.codes(x["cat"]).flatten(1), x["num"]], 1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def conv() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))


WORLDS: dict[str, tuple[Callable[[], nn.Module], Dataset]] = {
    "numbers": (mlp, NUMBERS),
    "table": (lambda: Coded(4), TABLE),
    "images": (conv, IMAGES),
    "heads": (Forked, HEADS),
}


def made(build: Callable[[], nn.Module], seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return build()


def run(model: nn.Module, data: Dataset, members: list[tp.Member], **settings: Any) -> tp.Population:
    population = tp.Population(model, members, data, **{"batch_size": 16, "total_steps": 6, "check_every": 2, **settings})
    population.run()
    return population


def member(*regularizers: Any, **settings: Any) -> tp.Member:
    return tp.Member(tp.Cocktail(*regularizers), tp.optim.SGD(0.1), **settings)


def norm_by_hand(model: nn.Module) -> float:
    layers = [m.weight.detach().double().flatten() for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and m.weight.requires_grad]
    return float(np.linalg.norm(torch.cat(layers).numpy()))


def at(x: Any, i: int, j: int, t: float) -> Any:
    """Inputs on the way from row i to row j; codes stay those of row i."""
    return map_leaves(lambda leaf: torch.lerp(leaf[[i]], leaf[[j]], t) if leaf.is_floating_point() else leaf[[i]], x)


def bend_by_hand(model: nn.Module, x: Any, rows: Tensor | None = None) -> float:
    """Lines fitted by numpy to the outputs at three points between two rows, one pair after the other."""
    rows = torch.arange(ROWS) if rows is None else rows
    left, whole = 0.0, 0.0
    for i, j in rows[pairs(len(rows))].tolist():
        with torch.no_grad():
            found = [leaves_of(model(at(x, i, j, t))) for t in (0.0, 0.5, 1.0)]
        outs = np.array([np.concatenate([leaf.numpy().ravel() for leaf in leaves]) for leaves in found], dtype=np.float64)
        _, residuals, *_ = np.polyfit([0.0, 0.5, 1.0], outs, 1, full=True)
        left, whole = left + residuals.sum(), whole + ((outs - outs.mean(0)) ** 2).sum()
    return left / whole


@pytest.mark.parametrize("world", WORLDS)
def test_both_are_those_of_the_network_at_the_check(world: str) -> None:
    """Measured without dropout and noise, whatever the cocktail; products of other shapes round otherwise."""
    build, data = WORLDS[world]
    population = run(made(build), data, [member(tp.Dropout(0.3), tp.L2(0.1)), member(tp.Dropout(0.0), tp.L2(0.0), seed=1)])
    for i, outcome in enumerate(population.outcomes):
        network, last = population.model(i, outcome.final), outcome.history[-1]
        assert last["weight_norm"] == pytest.approx(norm_by_hand(network), rel=1e-6)
        assert last["non_linearity"] == pytest.approx(bend_by_hand(network, data.x), rel=1e-3)
        assert len({row["weight_norm"] for row in outcome.history}) == len({row["non_linearity"] for row in outcome.history}) == 3


def test_weights_that_ship_are_measured() -> None:
    """Where an average of the weights ships, it is the average's."""
    population = run(made(mlp), NUMBERS, [member(tp.EMA(0.9))])
    (outcome,) = population.outcomes
    assert outcome.history[-1]["weight_norm"] == pytest.approx(norm_by_hand(population.model(0, outcome.final)), rel=1e-6)


def test_frozen_weights_do_not_count() -> None:
    model = made(mlp)
    next(model.parameters()).requires_grad_(False)
    population = run(model, NUMBERS, [member()])
    network = population.model(0, population.outcomes[0].final)
    assert population.outcomes[0].history[-1]["weight_norm"] == pytest.approx(norm_by_hand(network), rel=1e-6)
    assert [p.requires_grad for p in network.parameters()] == [False, True, True, True]


def test_members_with_rows_of_their_own_are_measured_on_these() -> None:
    """Of different numbers, repeated ones among them: lines run between a member's own training rows."""
    rows = [torch.arange(12), torch.tensor([36, 3, 3, 20, 30, 8, 1, 14, 25, 25, 33, 0, 2, 39, 5, 6, 7]), None]
    members = [member(rows=r, validation=None, seed=k) for k, r in enumerate(rows)]
    population = run(made(mlp), NUMBERS, members, batch_size=8)
    for i, r in enumerate(rows):
        outcome = population.outcomes[i]
        assert outcome.history[-1]["non_linearity"] == pytest.approx(bend_by_hand(population.model(i, outcome.final), NUMBERS.x, r), rel=1e-3)


def test_company_changes_neither() -> None:
    members = [member(tp.Dropout(0.2), tp.L2(lam), seed=k) for k, lam in enumerate((0.0, 0.1, 1.0))]
    together = run(made(lambda: Coded(4)), TABLE, members)
    for i, one in enumerate(members):
        alone = run(made(lambda: Coded(4)), TABLE, [one]).outcomes[0].history
        for name in ("weight_norm", "non_linearity"):
            assert [row[name] for row in together.outcomes[i].history] == [row[name] for row in alone]


@pytest.mark.parametrize("bias", [True, False])
def test_an_affine_network_is_linear(bias: bool) -> None:
    """But for the rounding of three sums of 5 products, in units of outputs of about 1."""
    history = run(nn.Linear(4, 3, bias), NUMBERS, [member()]).outcomes[0].history
    assert all(0.0 <= row["non_linearity"] < 1e-12 for row in history)


def test_a_constant_network_is_linear() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Threshold(1e9, 0.5))
    assert [row["non_linearity"] for row in run(model, NUMBERS, [member()]).outcomes[0].history] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("power", "left", "explained"), [(1, 0, 2), (2, 4 / 6, 16 / 2), (8, 254**2 / 6, 256**2 / 2)])
def test_powers_of_a_number(power: int, left: float, explained: float) -> None:
    """At 0, 1 and 2 the power is 0, 1 and 2^p: its second difference is 2^p - 2, and its ends are 2^p apart."""
    share = non_linearity(torch.tensor([[0.0], [1.0], [2.0]]) ** power).item()
    assert share == pytest.approx(left / (left + explained), rel=1e-12)


def test_weights_too_large_for_their_squares_have_a_norm() -> None:
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1e30)
    data = Dataset(torch.zeros(ROWS, 4), torch.zeros(ROWS, 1), "regression")
    assert run(model, data, [member()]).outcomes[0].history[-1]["weight_norm"] == pytest.approx(2e30, rel=1e-6)


def test_where_there_is_nothing_to_measure_it_is_left_out() -> None:
    codes = Dataset({"num": torch.zeros(ROWS, 0), "cat": CODES}, CLASSES, "classification", cardinalities=(5,))
    assert not measured(made(lambda: Coded(0)), codes, "non_linearity") and measured(made(lambda: Coded(0)), codes, "weight_norm")
    one = NUMBERS.take(torch.tensor([3]))
    assert not measured(made(mlp), one, "non_linearity")
    assert not measured(nn.Sequential(nn.LayerNorm(4), nn.Flatten()), Dataset(drawn(ROWS, 4), drawn(ROWS, 4, seed=2), "regression"), "weight_norm")
    keeping = tp.nets.NeighborNet(4, (5,), 3, width=6)
    assert not measured(keeping, TABLE, "non_linearity") and measured(keeping, TABLE, "weight_norm")


def measured(model: nn.Module, data: Dataset, name: str) -> bool:
    rows = run(model, data, [member()]).outcomes[0].history
    assert rows
    return name in rows[0]


@pytest.mark.parametrize("n", [2, 3, 5, 64, 65, 1000])
def test_pairs_are_of_different_rows(n: int) -> None:
    found = pairs(n)
    assert found.shape == (PAIRS, 2) and bool((found[:, 0] != found[:, 1]).all()) and int(found.min()) >= 0 and int(found.max()) < n
    assert torch.equal(found, pairs(n))
    assert len({tuple(pair) for pair in found.tolist()}) == min(PAIRS, n * (n - 1))
