"""Several networks from one run: the states at the ends of the cycles of a learning rate that restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.ambient import plainly
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion
from temperance.core.errors import ConfigError, expected
from temperance.core.schedule import Restarts, Schedule
from temperance.core.shown import shown
from temperance.data.dataset import Dataset
from temperance.nets.average import Average
from temperance.nets.stacked import outputs_of
from temperance.train.member import Member
from temperance.train.optimizers import SGD, Optimizer
from temperance.train.population import Population
from temperance.train.ways import DEFAULT_MEMORY


@shown
@dataclass(eq=False)
class Snapshots:
    """The networks of one member, oldest first.

    Attributes:
        states: parameters and buffers at the end of each cycle.
        steps: when these were.
        status: how the run ended.
    """

    states: list[dict[str, Tensor]]
    steps: list[int]
    status: str
    population: Population = field(repr=False)
    index: int = field(repr=False)

    def networks(self) -> list[nn.Module]:
        """Plain networks, one a snapshot."""
        return [self.population.model(self.index, state) for state in self.states]

    def average(self) -> nn.Module:
        """One network whose prediction is the mean of all snapshots'."""
        task = self.population.data.task
        if not isinstance(task, str):
            raise ConfigError(expected("task", "Snapshots.average", "to be one task", task, "Average the networks' outputs head by head."))
        return Average(self.networks(), task).eval()

    @torch.no_grad()
    def predictions(self, x: Any) -> Tensor:
        """Probabilities or values ``(snapshots, n, outputs)``, as :func:`~temperance.ensemble.error_products` and ``tp.ensemble.combine`` take them."""
        scored: Criterion = self.population.scored_by
        return scored.predict(outputs_of(self.population.model(self.index, self.states[0]), self.states, x))


@plainly
def snapshots(
    model: nn.Module,
    members: Cocktail | Member | Sequence[Cocktail | Member],
    data: Dataset,
    validation: Dataset | None = None,
    *,
    cycles: int = 5,
    optimizer: Optimizer | None = None,
    steps: int = 1000,
    batch_size: int = 128,
    seed: int = 0,
    criterion: Any = None,
    metric: str | None = None,
    memory: str | int = DEFAULT_MEMORY,
) -> list[Snapshots]:
    """Train with a learning rate that falls from its peak to zero in every one of ``cycles`` cycles, and keep the state at the end of each.

    M networks for the price of one: each restart leaves the minimum that the last cycle ended in. Averages (EMA, SWA) are kept as they would ship.

    Args:
        model: the network; it is not changed.
        members: a cocktail or a Member, or several of them, which train as a population.
        data: training rows.
        validation: rows for the histories; nothing stops early, so they decide nothing here.
        cycles: how many, all of equal length.
        optimizer: of the cocktails, by default ``SGD(0.1, momentum=0.9)``; its learning rate, and that of Members, is the peak.
        steps: of all cycles together.
        batch_size: rows per step.
        seed: of the cocktails' rows, masks and noise.
        criterion: the loss; the task's default if not given.
        metric: for the histories.
        memory: what the population may plan for.

    Returns:
        one :class:`Snapshots` a member. A member that diverges keeps the states of the cycles before.

    Raises:
        ConfigError: fewer steps than cycles, a learning rate with a schedule of its own, or no snapshot at all.

    Source: Huang, Li, Pleiss, Liu, Hopcroft & Weinberger 2017, Snapshot ensembles: train 1, get M for free.

    Example:
        >>> import temperance as tp
        >>> data = tp.data.as_dataset(torch.randn(64, 5).numpy(), torch.arange(64).numpy() % 2)
        >>> (one,) = snapshots(tp.nets.MLP(5, 2, hidden=(8,)), tp.Cocktail(), data, cycles=3, steps=12, batch_size=16)
        >>> one.steps, one.predictions(data.x).shape
        ([4, 8, 12], torch.Size([3, 64, 2]))
    """
    for name, rows in (("data", data), *((("validation", validation),) if validation is not None else ())):
        if not isinstance(rows, Dataset):
            raise ConfigError(expected(name, "snapshots", "to be a Dataset", type(rows).__name__, "tp.data.as_dataset(X, y) makes one."))
    if isinstance(cycles, bool) or not isinstance(cycles, int) or not 1 <= cycles <= steps:
        raise ConfigError(expected("cycles", "snapshots", f"to be a whole number from 1 to the {steps} steps", cycles))
    given = [members] if isinstance(members, (Cocktail, Member)) else list(members)
    base = optimizer or SGD(0.1, momentum=0.9)
    people = [m if isinstance(m, Member) else Member(m, base, seed, name=str(i)) for i, m in enumerate(given)]
    for m in people:
        if isinstance(m.optimizer.lr, Schedule):
            raise ConfigError(expected("lr", "snapshots", "to be a number", m.optimizer.lr, "It is the peak of every cycle; the schedule is Restarts."))
        if m.length != 1.0:
            raise ConfigError(expected("length", "snapshots", "to be 1", m.length, "All members go through the same cycles."))
    people = [replace(m, optimizer=m.optimizer.replace(lr=Restarts(m.optimizer.lr, cycles=cycles, growth=1.0))) for m in people]
    population = Population(
        model,
        people,
        data,
        validation,
        criterion=criterion,
        metric=metric,
        batch_size=batch_size,
        total_steps=steps,
        check_every=-(-steps // cycles),
        memory=memory,
    )
    ends = [-(-steps * (cycle + 1) // cycles) for cycle in range(cycles)]
    kept: list[list[dict[str, Tensor]]] = [[] for _ in people]
    for end in ends[:-1]:
        population.run(until=end)
        population.check()
        for chunk in population.chunks:
            with torch.no_grad():
                params, buffers = chunk.group.readout()
            for k, index in enumerate(chunk.indices):
                kept[index].append({name: t[k].detach().clone().to(population.home) for name, t in (*params.items(), *buffers.items())})
    made: list[Snapshots] = []
    for i, outcome in enumerate(population.run()):
        if outcome.status == "finished" and outcome.final is not None:
            kept[i].append(outcome.final)
        if not kept[i]:
            raise ConfigError(f"Expected at least one cycle of member {outcome.name} to end well, got none: {outcome.status}. Lower the learning rate.")
        made.append(Snapshots(kept[i], ends[: len(kept[i])], outcome.status, population, i))
    return made
