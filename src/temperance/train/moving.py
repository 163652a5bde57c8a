"""Members on their way from one population to another, with all that their training needs to go on bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils._pytree import tree_map

from temperance.train.chunk import Chunk
from temperance.train.outcome import Outcome
from temperance.train.population import Population


@dataclass(frozen=True, eq=False)
class Standing:
    """Where members that train together stand.

    Attributes:
        members: their places in the population.
        tensors: weights, moments and all else that belongs to them, stacked.
        step: the step that they have reached.
        counted: steps since their losses were last read.
        checked: the step of their last check.
        owed: whether a check is due.
    """

    members: list[int]
    tensors: dict[str, Any]
    step: int
    counted: int
    checked: int
    owed: bool


@dataclass(frozen=True, eq=False)
class Luggage:
    """What members take along.

    Attributes:
        standings: of them, by the places that they leave.
        outcomes: what is known of them, by the same places.
    """

    standings: list[Standing]
    outcomes: dict[int, Outcome]

    def only(self, members: Sequence[int]) -> Luggage:
        """That of some of them."""
        standings = list[Standing]()
        for standing in self.standings:
            slots = [k for k, i in enumerate(standing.members) if i in members]
            if slots:
                standings.append(replace(standing, members=[standing.members[k] for k in slots], tensors=_slots(standing.tensors, slots)))
        return Luggage(standings, {i: self.outcomes[i] for i in members})


def _slots(tensors: dict[str, Any], slots: list[int]) -> dict[str, Any]:
    return tree_map(lambda t: t[torch.tensor(slots, device=t.device)].cpu(), tensors)


def packed_members(population: Population, members: Sequence[int]) -> Luggage:
    """Copies of what these members have; the population goes on with them."""
    wanted, standings = set(members), list[Standing]()
    for chunk in population.chunks:
        slots = [k for k, i in enumerate(chunk.indices) if i in wanted]
        if slots:
            group, places = chunk.group, [chunk.indices[k] for k in slots]
            standings.append(Standing(places, _slots(group.tensors(), slots), group.step, group.counted, chunk.checked, chunk.owed))
    return Luggage(standings, {i: replace(population.outcomes[i], history=list(population.outcomes[i].history)) for i in members})


def unpack_members(population: Population, brought: Sequence[tuple[Luggage, Sequence[int]]]) -> None:
    """Have the members of a population, which has not trained, go on where others stood.

    Args:
        population: made with the same arguments as the one that they left, for all of these members.
        brought: luggage, and the places that its members had there, in the order in which they follow each other here.
    """
    standings, first = list[Standing](), 0
    for luggage, places in brought:
        here = {place: first + k for k, place in enumerate(places)}
        first += len(places)
        standings += [replace(s, members=[here[i] for i in s.members]) for s in luggage.standings]
        for place, outcome in luggage.outcomes.items():
            population.outcomes[here[place]] = replace(outcome, history=list(outcome.history))
    rebuild(population, standings)
    population.merge()


def rebuild(population: Population, standings: Sequence[Standing]) -> None:
    """Replace the chunks of a population by chunks that stand here."""
    everyone = {index: (chunk.group, k) for chunk in population.chunks for k, index in enumerate(chunk.indices)}
    chunks: list[Chunk] = []
    for standing in standings:
        found = [everyone[index] for index in standing.members]
        group = found[0][0].assembled([group.members[k] for group, k in found])
        group.load_tensors(standing.tensors, standing.step, standing.counted)
        chunk = Chunk(population.common, group, standing.members)
        chunk.checked, chunk.owed = standing.checked, standing.owed
        chunks.append(chunk)
    population.chunks = chunks
