"""Nothing of a member depends on its company: members of different rows, trained together and alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.laws.test_trainer_laws import assert_same, network, result, rows

import temperance as tp
from temperance.data.dataset import Dataset
from temperance.train.bagging import bootstrap, folds
from temperance.train.compiled import compiler_missing
from temperance.train.member import Member
from temperance.train.own import own_rows, table_length
from temperance.train.population import Population

DATA = rows(103, 1)
PLAIN = replace(DATA, weight=None, labeled=None)
BASE = Member(tp.Cocktail(tp.L2(0.01), tp.Dropout(0.2), tp.MixUp(0.3)), tp.optim.SGD(0.05, momentum=0.5), 3)


def part(a: int, b: int) -> torch.Tensor:
    return torch.arange(a, b)


def split_of(parts: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    bounds = [round(103 * i / parts) for i in range(parts + 1)]
    return [(torch.cat([part(0, a), part(b, 103)]), part(a, b)) for a, b in pairwise(bounds)]


COMPANIES: dict[str, list[Member]] = {
    "folds": folds(BASE, split_of(5)),
    "unequal": folds(BASE, [(part(0, 90), part(90, 103)), (part(91, 103), part(0, 91)), (part(5, 7), part(0, 5)), (part(0, 64), part(64, 103))]),
    "bags": [*bootstrap(BASE, 103, 3), replace(BASE, rows=part(0, 7), validation=part(7, 103), name="few")],
    "all rows beside few": [replace(BASE, seed=1), replace(BASE, rows=part(0, 12)), replace(BASE, rows=torch.arange(103).flip(0))],
    "lengths": [replace(BASE, rows=part(0, 20), length=0.5), replace(BASE, length=0.3), replace(BASE, rows=part(30, 95))],
}
SETTINGS: dict[str, dict[str, Any]] = {
    "epochs": {"epochs": 2, "batch_size": 16},
    "large batches": {"epochs": 3.5, "batch_size": 128},
    "steps": {"steps": 13, "batch_size": 10},
    "checks": {"epochs": 2, "batch_size": 16, "check_every": 3},
}


def fitted(members: Sequence[Member], data: Dataset, **settings: Any) -> Population:
    held = None if all(m.validation is not None for m in members) else rows(21, 2)
    return tp.fit(network(), members, data, validation=held, early_stopping=None, **settings).population


CASES = [*((company, "epochs", "weighted") for company in COMPANIES), *(("unequal", settings, "plain") for settings in SETTINGS)]


@pytest.mark.parametrize(("company", "settings", "kind"), CASES, ids="-".join)
def test_a_member_alone_is_the_member_in_company(company: str, settings: str, kind: str) -> None:
    """Weights, histories, steps and ends, bit for bit, with the same arguments."""
    members, data = COMPANIES[company], DATA if kind == "weighted" else PLAIN
    together = fitted(members, data, **SETTINGS[settings])
    for i, member in enumerate(members):
        alone = fitted([member], data, **SETTINGS[settings])
        assert_same(result(together, i), result(alone, 0))
        assert together.outcomes[i].status == alone.outcomes[0].status == "finished"
        assert together.outcomes[i].history == alone.outcomes[0].history


@pytest.mark.skipif(bool(compiler_missing()), reason="no C++ compiler is here, and nothing is compiled without one")
def test_compiled_too() -> None:
    members = [COMPANIES["unequal"][i] for i in (0, 3)]

    def run(some: Sequence[Member]) -> Population:
        made = Population(network(), some, PLAIN, batch_size=16, total_steps=9, compile=True)
        made.run()
        assert all(o.compiled for o in made.outcomes) and not made.notes
        return made

    together = run(members)
    for i, member in enumerate(members):
        assert_same(result(together, i), result(run([member]), 0))


def test_a_member_of_one_row() -> None:
    net = tp.nets.MLP(3, 1, hidden=(4,))
    data = Dataset(torch.randn(30, 3, generator=torch.Generator().manual_seed(0)), torch.randn(30, 1), "regression")
    members = [replace(BASE, cocktail=tp.Cocktail(tp.L2(0.1)), rows=part(a, b), validation=part(20, 30)) for a, b in ((0, 20), (3, 4), (4, 6))]
    together, *each = (tp.fit(net, some, data, validation=None, epochs=4, batch_size=8).population for some in (members, *([m] for m in members)))
    for i, alone in enumerate(each):
        assert_same(result(together, i), result(alone, 0))
    assert [o.steps for o in together.outcomes] == [10, 4, 4]


def test_what_the_rows_decide() -> None:
    """A batch is at most the member's rows, a check comes every epoch of its rows, and epochs are passes over them."""
    sizes = (90, 12, 2, 40)
    members = [replace(BASE, rows=part(0, n), validation=part(90, 103)) for n in sizes]
    made = fitted(members, PLAIN, epochs=4, batch_size=16)
    for n, outcome in zip(sizes, made.outcomes, strict=True):
        batch = min(16, n)
        every = max(1, round(n / batch))
        steps = max(1, round(4 * n / batch))
        assert outcome.steps == steps
        assert [row["step"] for row in outcome.history] == sorted({*range(every, steps + 1, every), steps})
        assert [row["epoch"] for row in outcome.history] == pytest.approx([row["step"] * batch / n for row in outcome.history])
    assert "batch sizes 2, 12 and 16" in made.plan()


def test_weights_of_rows_compare_a_members_own_rows() -> None:
    """Ten times the weight for rows that a member does not have is nothing to it, and a tenfold weight of all its rows neither."""
    weight = torch.ones(103)
    weight[50:] = 10.0
    weight[:10] = 2.0
    halves = [replace(BASE, rows=own, validation=part(a, b)) for own, a, b in ((part(0, 50), 20, 40), (part(50, 103), 60, 80))]
    data = replace(PLAIN, weight=weight)
    scaled = replace(PLAIN, weight=torch.where(part(0, 103) < 50, weight, torch.ones(103)))
    one, two = (fitted(halves, some, epochs=2, batch_size=16) for some in (data, scaled))
    for i in range(2):
        for a, b in zip(result(one, i), result(two, i), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_tables_are_of_few_lengths_and_waste_little() -> None:
    assert all(n <= table_length(n) <= max(64, n * 1.125 + 64) for n in range(1, 20_000))
    assert len({table_length(n) for n in range(3600, 3760)}) == 1
    assert own_rows(Member(), PLAIN) == 103
