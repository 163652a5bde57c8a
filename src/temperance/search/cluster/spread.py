"""A population whose members train in other processes."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.ambient import dtype_of
from temperance.core.criterion import criterion_for
from temperance.core.torch_losses import trainer_criterion
from temperance.data.dataset import Dataset
from temperance.search.cluster.crew import Crew, WorkerDied
from temperance.search.cluster.leveling import Counts, Load, leveled
from temperance.search.cluster.worker import Share, Step
from temperance.search.race import LOST
from temperance.train.chunk import NOT_STARTED
from temperance.train.grouping import Grouping
from temperance.train.kernel import Kernel, Kernels
from temperance.train.member import Member
from temperance.train.moving import Luggage
from temperance.train.outcome import Outcome
from temperance.train.population import network_of, prepared
from temperance.train.ways import DEFAULT_MEMORY, parse_memory

DEATHS = 1  # of its workers that a share outlives without getting on
TICK = 0.5  # seconds after which progress is told although not all are done
_numbers = itertools.count()  # so that no two populations of a process have one name


@dataclass(eq=False)
class Part:
    """Members that one worker trains.

    Attributes:
        key: its name.
        indices: of the members in the population.
        share: what a worker needs for them.
        hand: the worker.
        kernel: the compiled step as this process knows it.
        lasting: whether its worker has a compiled step that others of the program can use.
        refused: whether its worker could not compile the step.
        alive: places in ``indices`` of those that train.
        step: where they stand.
        log: the calls that brought them there.
        doing: the call that runs.
        ticket: of that call.
        begun: whether the worker has them.
        deaths: of its workers since it got on.
        program: which of the programs of the population its members run.
        moved: places in ``indices`` of those that another worker trains now.
        given: luggage of the last of them, until it has been taken.
    """

    key: str
    indices: list[int]
    share: Share
    hand: Hashable
    kernel: Kernel | None
    alive: list[int]
    step: int = 0
    log: list[Step] = field(default_factory=list)
    doing: Step = ("", ())
    ticket: Hashable | None = None
    begun: bool = False
    deaths: int = 0
    lasting: bool = False
    refused: bool = False
    program: int = 0
    moved: set[int] = field(default_factory=set)
    given: Luggage | None = None


class Spread:
    """The members of a population, shared out over workers: what a race asks of a population, with the same bits.

    Nothing of a member depends on its company, so it does not matter who trains beside whom. Whether steps are compiled is decided here, for all
    members together, as it would be if they trained in this process. A share whose worker dies is trained once more by another one, from its start;
    when that dies too before it has got further, its members end with the cause, and keep the best states that were reported. Where the
    members that are kept train on few workers, others take some of them over, and go on where they stand.

    Args:
        crew: the workers.
        model: the network.
        members: who trains.
        data: training rows.
        validation: rows that decide the best state.
        compile, kernels, and all others: as for :class:`~temperance.train.population.Population`.
    """

    def __init__(
        self,
        crew: Crew,
        model: nn.Module,
        members: Sequence[Member],
        data: Dataset,
        validation: Dataset | None = None,
        *,
        total_steps: int,
        compile: bool | None = None,
        kernels: Kernels | None = None,
        **settings: Any,
    ) -> None:
        self.crew, self.total_steps = crew, total_steps
        self.outcomes = [Outcome(name=m.name or str(i)) for i, m in enumerate(members)]
        self.notes: list[str] = []
        self._plain = copy.deepcopy(model)
        self._rows = crew.stored(data, validation)
        self.parts: list[Part] = []
        hands = self._hands = list(crew.hands())
        self._number = next(_numbers)
        settings["total_steps"] = total_steps
        for program, (indices, kernel) in enumerate(_buckets(model, members, data, settings, compile, kernels)):
            first = sum(len(part.indices) for part in self.parts)  # who got one more before gets one less now
            for k in range(min(len(hands), len(indices))):
                own = indices[k :: len(hands)]
                share = Share(self._plain, [members[i] for i in own], {**settings, "compile": kernel is not None})
                self._add(own, share, hands[(first + k) % len(hands)], kernel, program)
        for part in self.parts:
            for i in part.indices:
                self.outcomes[i].compiled = part.kernel is not None

    @property
    def alive(self) -> list[int]:
        return [part.indices[k] for part in self.parts for k in part.alive]

    @property
    def step(self) -> int:
        """The step that the members that still train have reached."""
        return max((part.step for part in self.parts if part.alive), default=0)

    def plan_steps(self, total: int) -> None:
        """Plan another number of steps; before training has begun."""
        self.total_steps = total
        for part in self.parts:
            part.log.append(("plan_steps", (total,)))

    def compile(self) -> None:
        """Make the compiled steps of which it is not known yet whether there can be any."""
        if self._busy:
            return
        for part in self.parts:
            if part.alive and part.kernel is not None and not (part.kernel.lasting or part.kernel.refused):
                self._ask(part, "compile")
        self._collect()

    def begin(self, until: int, deadline: float | None = None) -> None:
        """Have the workers train to a step, without waiting for them; :meth:`run` does."""
        if self._busy:
            return
        self._level()
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        for part in self.parts:
            if part.alive:
                self._ask(part, "run", until, left)

    def run(self, until: int, *, deadline: float | None = None, on_progress: Callable[[Any], None] | None = None) -> list[Outcome]:
        """Train to a step, or to a ``time.monotonic()``; ``on_progress`` is called while the workers train."""
        self.begin(until, deadline)
        self._collect(None if on_progress is None else lambda: on_progress(self))
        return self.outcomes

    def keep(self, indices: Sequence[int], status: str) -> None:
        """Go on with these members only; the others end with this status, their best state kept."""
        wanted = set(indices)
        self._collect()
        for part in self.parts:
            places = [k for k in part.alive if part.indices[k] in wanted]
            if len(places) < len(part.alive):
                self._ask(part, "keep", places, status)
        self._collect()

    def _level(self) -> None:
        """Share out again those that go on; a member changes neither from compiled to plain steps nor to a worker that would have to compile them first."""
        if any(part.alive and part.share.brought and not part.begun for part in self.parts):
            return  # they have just been
        programs: dict[Hashable, list[Part]] = {}
        for part in self.parts:
            if part.begun and part.hand in self._hands:
                programs.setdefault(part.program, []).append(part)
        movable: dict[Hashable, list[Part]] = {}
        loads: dict[Hashable, Load] = {}
        for program, parts in programs.items():
            kernel = parts[0].kernel
            if kernel is None or all(part.refused for part in parts):
                movable[program], loads[program] = parts, Load(dict.fromkeys(self._hands, 0))
            else:
                movable[program] = [part for part in parts if part.lasting]
                loads[program] = Load({}, kernel.size, self.crew.threads)
            counts = loads[program].counts
            for part in movable[program]:
                counts[part.hand] = counts.get(part.hand, 0) + len(part.alive)
        for program, wanted in leveled(loads, self.total_steps - self.step).items():
            if wanted != {hand: n for hand, n in loads[program].counts.items() if n}:
                self._share_out(movable[program], wanted)

    def _share_out(self, parts: Sequence[Part], wanted: Counts) -> None:
        """Have so many members of one program on each worker: who has too many gives some away, who gets some takes them in with its own."""
        own = {hand: [(part, k) for part in parts if part.hand == hand for k in part.alive] for hand in {*wanted, *(part.hand for part in parts)}}
        spare = [member for hand, have in own.items() for member in have[wanted.get(hand, 0) :]]
        crews = {hand: own[hand] + [spare.pop() for _ in range(wanted[hand] - len(own[hand]))] for hand in wanted if wanted[hand] > len(own[hand])}
        leaving: dict[Part, list[int]] = {}
        for part, k in itertools.chain(*crews.values()):
            leaving.setdefault(part, []).append(k)
        try:
            for part, places in leaving.items():
                part.moved.update(places)
                self._ask(part, "give", places)
            self._collect()
        finally:
            for hand, crew in crews.items():
                self._take_in(hand, crew)
            for part in leaving:
                part.given = None

    def _take_in(self, hand: Hashable, crew: Sequence[tuple[Part, int]]) -> None:
        """A part of members that come from others; without those that were lost with their worker on the way."""
        there: dict[Part, list[int]] = {}
        for part, k in crew:
            if part.given is not None:
                there.setdefault(part, []).append(k)
        if not there:
            return
        brought = [(part.given.only(places), places) for part, places in there.items() if part.given is not None]
        origin = next(iter(there))
        settings = {**origin.share.settings, "compile": origin.lasting}
        share = replace(origin.share, settings=settings, members=[part.share.members[k] for part, places in there.items() for k in places], brought=brought)
        taken = self._add([part.indices[k] for part, places in there.items() for k in places], share, hand, origin.kernel, origin.program)
        taken.step, taken.log = max(part.step for part in there), [step for step in origin.log if step[0] == "plan_steps"]

    def end(self, status: str = "finished") -> list[Outcome]:
        """End the training of every member that still runs."""
        self._collect()
        for part in self.parts:
            if part.alive and (part.begun or part.share.brought):
                self._ask(part, "end", status)
            elif part.alive:
                self._retire(part, status if part.step else NOT_STARTED)
        self._collect()
        for outcome in self.outcomes:
            outcome.status = status if outcome.status == "running" else outcome.status
        return self.outcomes

    def model(self, index: int, state: dict[str, Tensor] | None = None) -> nn.Module:
        """A plain network with a member's best state."""
        return network_of(self._plain, self.outcomes[index], state)

    # Workers

    def _add(self, indices: list[int], share: Share, hand: Hashable, kernel: Kernel | None, program: int) -> Part:
        part = Part(f"{self._number}.{len(self.parts)}", indices, share, hand, kernel, list(range(len(indices))), program=program)
        self.parts.append(part)
        return part

    @property
    def _busy(self) -> bool:
        return any(part.ticket is not None for part in self.parts)

    def _ask(self, part: Part, name: str, *arguments: Any) -> None:
        part.doing = name, arguments
        share = None if part.begun else part.share
        part.begun = True
        part.ticket = self.crew.call(part.hand, part.key, share, self._rows, tuple(part.log) if share is not None else (), name, arguments)

    def _collect(self, tick: Callable[[], None] | None = None) -> None:
        """Wait for everything that was asked; after an interrupt for what is done at the next step."""
        try:
            while waiting := {part.ticket: part for part in self.parts if part.ticket is not None}:
                for ticket in self.crew.wait(list(waiting), TICK):
                    self._take(waiting[ticket])
                if tick is not None:
                    tick()
        except KeyboardInterrupt:
            for part in self.parts:
                if part.ticket is not None:
                    self.crew.halt(part.hand, part.key)
            for part in self.parts:
                if part.ticket is not None:
                    self._take(part, again=False)
            raise

    def _take(self, part: Part, again: bool = True) -> None:
        """What a worker reports of its members, or that it died."""
        ticket, part.ticket = part.ticket, None
        assert ticket is not None
        try:
            report = self.crew.result(ticket)
        except WorkerDied as death:
            self._survive(part, str(death), again)
            return
        states = report.states_of()
        for told in report.told:
            if told.member in part.moved:
                continue
            outcome = self.outcomes[part.indices[told.member]]
            if len(told.rows) + told.start < len(outcome.history):  # interrupted on the way to where another worker had been
                continue
            outcome.history[told.start :] = told.rows
            for name, value in told.fields.items():
                setattr(outcome, name, value)
            for kind, state in states.get(told.member, {}).items():
                setattr(outcome, kind, {name: tensor.to(self._home) for name, tensor in state.items()})
        name, arguments = part.doing
        part.alive, part.step, part.deaths = report.alive, max(report.step, part.step), 0
        part.given = report.given
        if name != "compile":
            part.log.append((name, (report.step, None) if name == "run" else arguments))
        self.notes += [note for note in report.notes if note not in self.notes]
        kernel = part.kernel
        if kernel is not None and report.kernels:
            kernel.lasting, kernel.refused = report.kernels[0]
            part.lasting, part.refused = kernel.lasting, bool(kernel.refused)

    @property
    def _home(self) -> torch.device:
        return next(self._plain.parameters()).device

    def _survive(self, part: Part, cause: str, again: bool) -> None:
        """Another worker trains the share from its start; else its members end with the cause."""
        self.crew.bury(part.hand)
        self._hands = [hand for hand in self._hands if hand != part.hand]
        part.deaths, part.lasting, part.refused = part.deaths + 1, False, False
        if again and part.deaths <= DEATHS:
            hands = self._hands = list(self.crew.hands())
            load = {hand: sum(len(p.alive) for p in self.parts if p.hand == hand) for hand in hands}
            part.hand, part.begun = min(hands, key=lambda hand: load[hand]), False
            self._ask(part, part.doing[0], *part.doing[1])
            return
        self.notes.append(f"networks were lost with their worker: {cause}")
        self._retire(part, f"{LOST} with its worker: {cause}")

    def _retire(self, part: Part, status: str) -> None:
        for k in part.alive:
            self.outcomes[part.indices[k]].status = status
        part.alive = []


def _buckets(
    model: nn.Module, members: Sequence[Member], data: Dataset, settings: Mapping[str, Any], compile: bool | None, kernels: Kernels | None
) -> list[tuple[list[int], Kernel | None]]:
    """The members that train by one program, and whether its steps are compiled: what a population of all of them would decide."""
    if compile is False:
        return [(list(range(len(members))), None)]
    criterion = settings.get("criterion")
    grouping = Grouping(
        model,
        members,
        replace(prepared(data, dtype_of(model)), weight=data.weight),
        criterion_for(data.task) if criterion is None else trainer_criterion(criterion),
        batch_size=min(settings["batch_size"], len(data)),
        total_steps=settings["total_steps"],
        memory=parse_memory(settings.get("memory", DEFAULT_MEMORY)),
        way=None,
        compile=compile,
        kernels=kernels,
        precision=settings.get("precision", "fp32"),
    )
    return [(bucket.indices, bucket.kernel) for bucket in grouping.buckets()]
