"""Several passes of one step: the objective's own masks, and others on request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.regularizers.helpers import Loop
from torch import Tensor, nn

import temperance as tp
from temperance.core.batch import Batch, full_batch
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.core.regularizer import Context, Regularizer

SEEN: list[Any] = []


@dataclass(frozen=True, eq=False, repr=False)
class Probe(Regularizer):
    """Notes what its passes return."""

    def around(self, objective: Any, params: Any, batch: Batch, ctx: Context) -> Any:
        result = objective(params, batch)
        SEEN.append(
            [ctx.forward(params, batch.x, mode, draw)[0].detach() for mode, draw in (("train", 0), ("train", 1), ("train", 1), ("train", 2), ("eval", 1))]
        )
        return result


def passes(*others: Regularizer, steps: int = 1, rows: int = 4000) -> tuple[list[list[Tensor]], Tensor]:
    """Outputs of the passes of every step, and the data loss of the first one."""
    net = nn.Sequential(nn.Identity(), nn.Linear(3, 1, bias=False)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 2.0, 4.0]]))
    loop = Loop(tp.Cocktail(*others, Probe()), net, SquaredError())
    SEEN.clear()
    ones = torch.ones(rows, 3).double()
    for step in range(steps):
        loop.step = step
        _, report, _, _ = loop.gradient(full_batch(ones, torch.zeros(rows, 1).double(), weight=torch.ones(rows).double()))
        if step == 0:
            data = report["data"]
    return list(SEEN), data


def test_draw_zero_is_the_objectives_own_pass() -> None:
    for others in ((tp.Dropout(0.5, where="0"),), (tp.DropConnect(0.5),), (tp.Dropout(0.5, where="0"), tp.DropConnect(0.3))):
        ((own, *_),), data = passes(*others)
        assert own.square().mean().item() == pytest.approx(data.item(), rel=1e-12)


def test_other_draws_are_other_masks_and_the_same_draw_the_same() -> None:
    """Three weights that are kept or not are alike in one of eight draws: all six steps alike would be chance once in 8**6."""
    for others in ((tp.Dropout(0.5, where="0"),), (tp.DropConnect(0.5),)):
        found, _ = passes(*others, steps=6)
        for _, one, again, _, clean in found:
            assert torch.equal(one, again) and torch.equal(clean, torch.full_like(clean, 7.0))
        assert not all(torch.equal(own, one) for own, one, _, _, _ in found)
        assert not all(torch.equal(one, two) for _, one, _, two, _ in found)


def test_draws_are_independent_within_and_across_steps() -> None:
    """Sums of dropped inputs, standardized: correlations of n = 4000 rows have a standard deviation of 1/sqrt(n) = 0.016."""
    found, _ = passes(tp.Dropout(0.5, where="0"), steps=2)
    columns = torch.cat([step[i] for step in found for i in (0, 1, 3)], 1)
    assert columns.mean(0).sub(7.0).abs().max() < 5 * (21.0 / 4000) ** 0.5
    correlations = torch.corrcoef(columns.T) - torch.eye(6).double()
    assert correlations.abs().max() < 5 / 4000**0.5


def test_a_population_draws_what_its_members_draw_alone() -> None:
    data = tp.Dataset(torch.randn(24, 4, generator=torch.Generator().manual_seed(0)), torch.eye(2).repeat(12, 1), "classification")
    members = [tp.Member(tp.Cocktail(tp.Dropout(0.4), tp.PiModel(2.0, sigma=0.0)), tp.SGD(0.1), seed) for seed in (1, 2)]

    def run(chosen: list[tp.Member]) -> list[dict[str, Tensor]]:
        made = tp.Population(tp.nets.MLP(4, 2, hidden=(8,)), chosen, data, batch_size=8, total_steps=5, compile=False)
        return [o.final for o in made.run() if o.final is not None]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = tp.nets.MLP(4, 2, hidden=(8,)).state_dict()
    from dataclasses import replace

    members = [replace(m, initial=state) for m in members]
    together = run(members)
    for i, member in enumerate(members):
        assert all(torch.equal(t, together[i][name]) for name, t in run([member])[0].items())


def test_sites_without_a_network_say_so() -> None:
    with pytest.raises(ConfigError, match="extra passes belong to `around`"):
        Context().forward({}, torch.zeros(1), "train", 1)
