"""Members that train together: their checks, best states, and ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from temperance.core.interrupts import uninterrupted
from temperance.train.evaluator import Evaluator, Measured
from temperance.train.group import Group
from temperance.train.outcome import Outcome
from temperance.train.own import Pulse
from temperance.train.stopping import EarlyStopping, better

NOT_STARTED = "not started"


@dataclass(frozen=True, eq=False)
class Common:
    """What the chunks of a population have in common.

    Attributes:
        evaluator: what checks measure.
        stopping: the stopping rule.
        outcomes: of every member.
        pulses: of every member.
        home: where states are kept.
        alone: held by the chunk that is checked, where several train at a time.
        halted: set to have them all end.
    """

    evaluator: Evaluator
    stopping: EarlyStopping | None
    outcomes: list[Outcome]
    pulses: list[Pulse]
    home: torch.device
    alone: threading.RLock = field(default_factory=threading.RLock)
    halted: threading.Event = field(default_factory=threading.Event)


class Chunk:
    """Members that train together, with their checks and best states."""

    def __init__(self, common: Common, group: Group, indices: list[int]) -> None:
        self.common, self.group, self.indices = common, group, list(indices)
        self.pulse = common.pulses[self.indices[0]]
        self.checked = -1
        self.owed = False

    def split(self) -> Chunk:
        """Give half of the members to a new chunk."""
        kept = (len(self.indices) + 1) // 2
        other = Chunk(self.common, self.group.split(kept), self.indices[kept:])
        other.checked, other.owed, self.indices = self.checked, self.owed, self.indices[:kept]
        return other

    def absorb(self, other: Chunk) -> None:
        self.group.join(other.group)
        self.indices += other.indices

    def _due(self) -> Sequence[int]:
        """Places of the members that are measured at this step."""
        group = self.group
        if group.step % self.pulse.every == 0:
            return range(len(self.indices))
        return [k for k, planned in enumerate(group.planned()) if group.step == planned]

    def _checked(self, on_check: Callable[[], None] | None) -> None:
        """The check that is due, which is owed until it is done: memory may run out in the middle of it."""
        self.owed = True
        ahead = self.common.evaluator.measured(self.group, aside=True)
        with self.common.alone:
            self.check(self._due(), ahead)
            self.owed = False
            if on_check is not None:
                on_check()

    def run(self, until: int, deadline: float | None, on_check: Callable[[], None] | None) -> None:
        """Train to a step or a deadline, with the checks on the way; a population that has nothing to show yet takes one step all the same."""
        group = self.group
        if self.owed and self.indices:
            self._checked(on_check)
        while self.indices and group.step < until and not self.common.halted.is_set():
            if deadline is not None and time.monotonic() >= deadline and (group.step > 0 or any(o.history for o in self.common.outcomes)):
                if self.checked != group.step and group.step > 0:
                    with self.common.alone:
                        self.check()
                break
            group.train_step()
            if self._due():
                self._checked(on_check)

    def check(self, due: Sequence[int] | None = None, measured: Measured | None = None) -> None:
        """Measure the members at these places (default: all), keep best states, stop and retire; nothing changes for the others."""
        common, group = self.common, self.group
        due = range(len(self.indices)) if due is None else due
        measured = common.evaluator.measured(group) if measured is None else measured
        assert measured is not None
        params, buffers, validation, clean, grown = measured
        if len(due) == len(self.indices):
            self.checked = group.step
        assert clean is not None
        (train_loss, train_score), held = (t.tolist() for t in clean[:2]), None if validation is None else [t.tolist() for t in validation]
        growth = {name: value.tolist() for name, value in grown.items()}
        running = {name: value.tolist() for name, value in group.running(keep=len(due) < len(self.indices)).items()}
        lr = (group.hypers["lr"] * group.optimizer.factor(group.progress())).tolist()
        ended: dict[int, str] = {}
        planned, epochs, causes = group.planned(), group.epochs(), self._divergence()
        for k in due:
            index = self.indices[k]
            outcome = common.outcomes[index]
            if k in causes:
                ended[index] = causes[k]
                continue
            row: dict[str, Any] = {"step": group.step, "epoch": epochs[k], "learning_rate": lr[k]}
            row["loss_running"] = running["data"][k] if "data" in running else float("nan")
            row.update({f"penalty_{name}": v[k] for name, v in running.items() if name not in ("data", "total")})
            row["train_loss"], row["train_score"] = train_loss[k], train_score[k]
            if held is not None:
                row["validation_loss"], row["validation_score"], row["validation_se"] = (values[k] for values in held)
            row |= {name: values[k] for name, values in growth.items()}
            with uninterrupted():  # a check and the network that it may have found best
                outcome.history.append(row)
                outcome.steps = group.step
                self._judge(outcome, index, k, params, buffers, ended)
            if index not in ended and planned[k] < group.total_steps and group.step >= planned[k]:
                ended[index] = "finished"
        self.retire(ended)

    def _divergence(self) -> dict[int, str]:
        """Places of members whose loss or weights are not finite, with step and cause."""
        group, out = self.group, dict[int, str]()
        for k, (bad, finite) in enumerate(zip(group.first_bad.tolist(), torch.isfinite(group.arena.flat).all(1).tolist(), strict=True)):
            if bad >= 0:
                out[k] = f"diverged at step {bad}: the loss is not finite"
            elif not finite:
                out[k] = f"diverged at step {group.step}: the weights are not finite"
        return out

    def _judge(self, outcome: Outcome, index: int, k: int, params: Any, buffers: Any, ended: dict[int, str]) -> None:
        common = self.common
        if "validation_score" not in outcome.history[-1]:
            return
        metric, rule = common.evaluator.metric, common.stopping or EarlyStopping(optimum=False)
        greater, optimum = (False, None) if metric is None else (metric.greater_is_better, metric.optimum)
        scores = [row["validation_score"] for row in outcome.history]
        verdict = rule.decide(scores, [row["epoch"] for row in outcome.history], [row["step"] for row in outcome.history], greater=greater, optimum=optimum)
        tie = (
            outcome.best >= 0
            and scores[-1] == scores[outcome.best]
            and outcome.history[-1]["validation_loss"] < outcome.history[outcome.best]["validation_loss"]
        )
        if (verdict.best == len(scores) - 1 and (outcome.best < 0 or better(scores[-1], scores[outcome.best], greater))) or tie:
            outcome.best = len(scores) - 1
            outcome.state = self._state(k, params, buffers)
        if common.stopping is not None and verdict.stop:
            ended[index] = f"stopped: {verdict.why}"

    def _state(self, k: int, params: Any, buffers: Any) -> dict[str, Tensor]:
        home = self.common.home
        return {name: t[k].detach().clone().to(home) for name, t in (*params.items(), *buffers.items())}

    def retire(self, statuses: Mapping[int, str]) -> None:
        """End some members, each with its status: their final state is put aside, and the rest is compacted. Who was never trained has no state."""
        leaving = [i for i in statuses if i in self.indices]
        if not leaving:
            return
        with torch.no_grad():
            params, buffers = self.group.readout()
        causes = self._divergence()
        for index in leaving:
            outcome, k = self.common.outcomes[index], self.indices.index(index)
            if self.group.step == 0:
                outcome.status = NOT_STARTED
                continue
            outcome.status, outcome.steps = causes.get(k, statuses[index]), self.group.step
            outcome.final = self._state(k, params, buffers)
            if outcome.state is None and k not in causes:
                outcome.state = outcome.final
        kept = [k for k, i in enumerate(self.indices) if i not in leaving]
        self.indices = [self.indices[k] for k in kept]
        if kept:
            self.group.gather(torch.tensor(kept))

    def measure_unjudged(self, indices: Sequence[int]) -> None:
        """A check of those of these members that would otherwise leave with a state that was never measured; nothing changes for the others."""
        places = [k for k, i in enumerate(self.indices) if i in indices and self.common.outcomes[i].state is None]
        if places and self.group.step > 0 and self.checked != self.group.step:
            self.check(places)

    def finish(self, status: str, short: bool = False) -> None:
        """End all members; ``short`` of the steps planned, the status says by how much."""
        self.measure_unjudged(self.indices)
        planned, step = self.group.planned()[: len(self.indices)], self.group.step  # a compiled group has slots that are copies
        self.retire({i: f"{status} after {step} of {n} steps" if short and step < n else status for i, n in zip(self.indices, planned, strict=True)})
