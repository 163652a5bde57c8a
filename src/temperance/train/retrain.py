"""Training again on all rows, once validation has said for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.batch import map_leaves
from temperance.core.criterion import Criterion
from temperance.core.errors import ConfigError, expected
from temperance.core.shown import shown
from temperance.data.dataset import Dataset
from temperance.train.member import Member
from temperance.train.outcome import Outcome
from temperance.train.population import Population

AT_TARGET = "reached the training loss"
STRATEGIES = ("same_epochs", "same_steps", "until_train_loss")


@shown
@dataclass(eq=False)
class Retrained:
    """A member trained again.

    Attributes:
        how: the strategy.
        steps: steps done; none where the validation loss was at its target already.
        reached: whether the run came to its end: for ``until_train_loss`` to its target before the cap, otherwise without diverging or being cut short.
        model: a plain network; the best state of the first run where the second diverged or was cut short.
        outcome: its history.
    """

    how: str
    steps: int
    reached: bool
    model: nn.Module
    outcome: Outcome


def concatenate(a: Dataset, b: Dataset) -> Dataset:
    """All rows of two data sets of the same kind."""

    def join(one: Any, two: Any) -> Any:
        return map_leaves(lambda *leaves: torch.cat(leaves), one, two)

    def joined(name: str, default: Callable[[Dataset, Dataset], Any]) -> Any:
        """A part that one of the two may lack."""
        parts = getattr(a, name), getattr(b, name)
        if all(part is None for part in parts):
            return None
        return join(*(default(*pair) if part is None else part for part, pair in zip(parts, ((a, b), (b, a)), strict=True)))

    return replace(
        a,
        x=join(a.x, b.x),
        y=join(a.y, b.y),
        weight=joined("weight", lambda lacking, _: _ones(lacking)),
        labeled=joined("labeled", lambda lacking, _: map_leaves(lambda leaf: _ones(lacking).bool(), lacking.y)),
        tangents=joined("tangents", _no_directions),
    )


def _ones(data: Dataset) -> Tensor:
    return torch.ones(len(data), device=data.leaves()[0].device)


def _no_directions(data: Dataset, other: Dataset) -> Any:
    """Zeros like the tangents of another data set: they cost nothing."""
    return map_leaves(lambda leaf: leaf.new_zeros(len(data), *leaf.shape[1:]), other.tangents)


def steps_for(how: str, best_step: int, best_epoch: float, rows: int, batch_size: int) -> int:
    """Steps of the second run: as many steps, or as many passes over the larger data."""
    if how == "same_steps":
        return max(1, best_step)
    return max(1, round(best_epoch * rows / batch_size))


def retrain_member(
    model: nn.Module,
    member: Member,
    outcome: Outcome,
    train: Dataset,
    validation: Dataset,
    *,
    how: str,
    batch_size: int,
    total_steps: int,
    criterion: Criterion | None = None,
    memory: str | int = "4G",
    cap: float = 2.0,
    deadline: float | None = None,
    device: str | torch.device | None = None,
    precision: str = "fp32",
) -> Retrained:
    """Train a member on the training and validation rows together.

    Args:
        model: the network.
        member: its cocktail, optimizer and seed.
        outcome: what the first run found.
        train: the former training rows.
        validation: the former validation rows.
        batch_size: rows per step.
        total_steps: steps planned in the first run.
        criterion: the loss.
        memory: setting for the population.
        how: ``"same_epochs"``: from the start, for as many passes over the rows as the best state had (Goodfellow et al., 2016, algorithm 7.2);
            ``"same_steps"``: likewise for as many steps; ``"until_train_loss"``: go on from the best state until the loss on the former
            validation rows falls to the training loss there (algorithm 7.3), which may never happen, hence ``cap``.
        cap: for ``until_train_loss``, the most steps as a multiple of those of the first run.
        deadline: a ``time.monotonic()`` to end at; training from the start that is cut short then ships the best state of the first run.
        device: where it trains, as for :class:`Population`.
        precision: of its products, likewise.

    Schedules of the learning rate and of strengths run to where they stood at the best state, or go on from there. The optimizer's own averages
    (momentum) start afresh.
    """
    if how not in STRATEGIES:
        raise ConfigError(expected("retrain", "fit", f"to be one of {', '.join(map(repr, STRATEGIES))} or None", how))
    both = concatenate(train, validation)
    again = replace(member, rows=None, validation=None, length=1.0)
    settings = {"criterion": criterion, "batch_size": batch_size, "memory": memory, "device": device, "precision": precision}
    begin, end = member.schedule
    pace = (end - begin) / max(1, round(total_steps * member.length))
    stood = begin + pace * max(outcome.best_step, 1)
    if how != "until_train_loss":
        return _from_start(model, replace(again, schedule=(begin, stood)), outcome, both, how, deadline, settings)
    most = max(1, round(cap * max(outcome.best_step, 1)))
    return _until_train_loss(model, replace(again, schedule=(stood, stood + pace * most)), outcome, both, validation, most, deadline, settings)


def _from_start(model: nn.Module, member: Member, outcome: Outcome, rows: Dataset, how: str, deadline: float | None, settings: Mapping[str, Any]) -> Retrained:
    steps = steps_for(how, outcome.best_step, outcome.best_epoch, len(rows), settings["batch_size"])
    population = Population(model, [member], rows, total_steps=steps, check_every=max(1, steps // 10), **settings)
    population.run(deadline=deadline)
    done = population.end("stopped by the deadline", short=True)[0]
    reached = done.status == "finished"
    return Retrained(how, done.steps, reached, population.model(0, done.final if reached else outcome.state), done)


def _until_train_loss(
    model: nn.Module,
    member: Member,
    outcome: Outcome,
    rows: Dataset,
    validation: Dataset,
    most: int,
    deadline: float | None,
    settings: Mapping[str, Any],
) -> Retrained:
    """Go on from the best state until the loss on the former validation rows is the training loss there, for so many steps at most."""
    how, start = "until_train_loss", outcome.state
    if start is None:
        raise ConfigError("Expected a best state to go on from, got none: no check was made.")
    best = outcome.history[outcome.best]
    target = float(best["train_loss"])
    every = max(1, round(len(rows) / settings["batch_size"] / 4))
    population = Population(model, [replace(member, initial=start)], rows, validation, total_steps=most, check_every=every, **settings)
    if float(best["validation_loss"]) <= target:
        return Retrained(how, 0, True, population.model(0, start), Outcome(member.name, AT_TARGET))

    def stop_at_target(running: Population) -> None:
        history = running.outcomes[0].history
        if history and history[-1]["validation_loss"] <= target:
            running.end(AT_TARGET)

    population.run(on_progress=stop_at_target, deadline=deadline)
    done = population.end("stopped by the deadline", short=True)[0]
    diverged = done.status.startswith("diverged")
    return Retrained(how, done.steps, done.status == AT_TARGET, population.model(0, start if diverged else done.final), done)
