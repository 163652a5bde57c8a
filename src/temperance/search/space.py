"""Where the search looks: static plans, and inside each the ranges of the strengths, as they declare them or as the plan does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError
from temperance.core.registry import lookup
from temperance.core.regularizer import Regularizer
from temperance.core.shown import shown
from temperance.core.strength import StrengthSpec
from temperance.train.member import Member
from temperance.train.optimizers import Optimizer

EARLIEST = 32  # steps
SHORT = 12.0  # epochs: in fewer a network has not learned from images as they are, and changed ones keep it from that
Build = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Known:
    """A configuration that did well on other data.

    Attributes:
        strengths: ``label.field`` to its value, for the strengths that were on.
        lr: learning rate.
        length: share of the full run, ``None`` where it was not searched.
    """

    strengths: Mapping[str, float]
    lr: float
    length: float | None = None


@shown
@dataclass(frozen=True, eq=False)
class StaticPlan:
    """What a group of trials shares: a network, a cocktail's shape, an optimizer's kind.

    Attributes:
        name: for tables.
        build: ``build(seed) -> nn.Module`` with first weights from that seed.
        cocktail: regularizers with their default strengths.
        optimizer: with its schedule.
        lr: range of the learning rate, searched on a logarithmic scale.
        batch_size: rows per step.
        epochs: passes over the training rows of a full run.
        network: the network in words.
        likely_on: strengths of the first trial, all others off (the cocktail's defaults if empty).
        lengths: shares of the full run that trials may be given.
        spec: the network as plain values (its class in ``temperance.nets`` and arguments), for model files; ``None`` for anyone's own.
        known: what did well on other data, around which the first trials are drawn.
        first: how many of ``known`` are themselves the first trials, instead of the likely one.
        ranges: ``label.field`` to a declaration that counts here in place of the strength's own: another range or scale.
        fixed: strengths that are not searched, with their values.
        one_of: labels of regularizers of which a trial has one on at most.
        earliest: steps before which no trial is dropped.
        closed: whether the ranges stay as they are; else a search widens one at whose end its best trials lie.
        short: what is known to do well in runs of few epochs, which these begin with.
        best: whether it is better than plans without this mark wherever there is time for it; of several such plans the first is the best.
        longest: epochs up to which a search lengthens full runs; 0 where their length stays.
        alone: what a plain step of a few networks, with their own regularizers only, takes of one of a wave, which has those of all its members.
    """

    name: str
    build: Build
    cocktail: Cocktail
    optimizer: Optimizer
    lr: tuple[float, float]
    batch_size: int
    epochs: float
    network: str = ""
    likely_on: Mapping[str, float] = field(default_factory=dict)
    lengths: Sequence[float] = (1.0,)
    spec: Mapping[str, Any] | None = None
    known: Sequence[Known] = ()
    first: int = 0
    ranges: dict[str, StrengthSpec] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    one_of: Sequence[str] = ()
    closed: bool = False
    earliest: int = EARLIEST
    longest: float = 0.0
    alone: float = 0.5
    best: bool = False
    short: Known | None = None

    def space(self) -> dict[str, StrengthSpec]:
        """The strengths that are searched, as ``label.field``, each with its range."""
        return {name: self.ranges.get(name, spec) for name, spec in self.cocktail.specs().items() if name not in self.fixed}

    def admitted(self, strengths: Mapping[str, float], number: int) -> dict[str, float]:
        """The strengths of a trial as the plan allows them.

        Of the regularizers in ``one_of`` that are on one stays, by turns from trial to trial. Fixed strengths are set where their regularizer
        is on, or has no others.
        """
        specs, space = self.cocktail.specs(), self.space()
        own: dict[str, list[str]] = {}
        for name in space:
            own.setdefault(name.partition(".")[0], []).append(name)
        out = {**strengths, **self.fixed}
        on = [label for label, names in own.items() if any(out[name] != specs[name].off for name in names)]
        rivals = [label for label in self.one_of if label in on]
        beaten = {label for i, label in enumerate(rivals) if i != number % len(rivals)}
        for name, spec in specs.items():
            label = name.partition(".")[0]
            if label in beaten or (name in self.fixed and label in own and label not in on):
                out[name] = spec.off
        return one_average(self.cocktail, out)

    def likely(self) -> dict[str, float]:
        """The strengths of the likely cocktail: those of ``likely_on``, all else off; the cocktail's defaults if that is empty."""
        return {**default_strengths(self.cocktail, ()), **self.likely_on} if self.likely_on else self.cocktail.strengths()

    def begin(self, epochs: float = math.inf) -> list[tuple[dict[str, float], float, float]]:
        """Strengths, learning rate and length of the first trials: the first of ``known``, or a likely one; and the plain network.

        Args:
            epochs: of a full run, where it is shorter than planned.
        """
        off = default_strengths(self.cocktail, ())
        rate, middle = self.optimizer.hypers()["lr"], self.lengths[len(self.lengths) // 2]
        plain = (off, rate, middle)
        if not self.first:
            return [(self.likely(), rate, middle), plain]
        firsts = [*([self.short] if self.short is not None and epochs < SHORT else []), *self.known[: self.first]]
        return [*((self.of(one), one.lr, one.length or middle) for one in firsts), plain]

    def of(self, one: Known) -> dict[str, float]:
        """The strengths of a known configuration in this plan: what it says, within their ranges, all else off."""
        space = self.space()
        inside = {name: min(max(value, space[name].low), space[name].high) for name, value in one.strengths.items() if name in space}
        return {**default_strengths(self.cocktail, ()), **inside}

    def initial(self, seed: int) -> dict[str, Tensor]:
        """The state of a fresh network of this seed: where a member starts."""
        return {name: t.detach() for name, t in self.build(seed).state_dict().items()}


@shown
@dataclass(frozen=True, eq=False)
class Config:
    """One trial: a static plan and a number for each strength.

    Attributes:
        number: of the trial.
        plan: the static plan.
        strengths: ``label.field`` to its value, the off value where the trial has it off.
        lr: peak learning rate.
        seed: of weights, rows, masks and noise.
        length: share of the plan's full run.
    """

    number: int
    plan: StaticPlan
    strengths: Mapping[str, float]
    lr: float
    seed: int
    length: float = 1.0

    @property
    def cocktail(self) -> Cocktail:
        return self.plan.cocktail.with_strengths(self.strengths)

    @property
    def optimizer(self) -> Optimizer:
        return self.plan.optimizer.replace(lr=self.lr)

    def member(self, **changes: Any) -> Member:
        return replace(Member(self.cocktail, self.optimizer, self.seed, length=self.length, name=f"trial {self.number}"), **changes)

    def to_dict(self) -> dict[str, Any]:
        return {
            "trial": self.number,
            "plan": self.plan.name,
            "strengths": dict(self.strengths),
            "learning_rate": self.lr,
            "length": self.length,
            "seed": self.seed,
        }


PRIOR_ON = 0.35


def seed_of(search: int, number: int) -> int:
    """The seed of a trial, a hundred from the next one's: further seeds of a trial and its refits count on from it.

    Example:
        >>> seed_of(0, 0), seed_of(0, 1), seed_of(1, 0)
        (7, 107, 1000010)
    """
    return 1_000_003 * search + 100 * number + 7


def draw(generator: np.random.Generator, plan: StaticPlan) -> tuple[dict[str, float], float, float]:
    """A configuration before anything is known: each strength is on with probability 0.35, so that most first cocktails are mild."""
    strengths: dict[str, float] = {}
    for name, spec in plan.space().items():
        on, u = generator.random() < PRIOR_ON, generator.random()
        inside = spec.low * (spec.high / spec.low) ** u if spec.log else spec.low + u * (spec.high - spec.low)
        strengths[name] = float(inside) if on else spec.off
    low, high = plan.lr
    return strengths, float(low * (high / low) ** generator.random()), plan.lengths[int(generator.integers(len(plan.lengths)))]


def one_average(cocktail: Cocktail, strengths: Mapping[str, float]) -> dict[str, float]:
    """A network ships one average of its weights: of several that are on, the last of the cocktail stays."""
    averages = [(label, r.strengths()) for label, r in cocktail.items() if "readout" in r.sites() and r.wants("readout")]
    on = [(label, specs) for label, specs in averages if any(strengths[f"{label}.{field}"] != spec.off for field, spec in specs.items())]
    return {**strengths, **{f"{label}.{field}": spec.off for label, specs in on[:-1] for field, spec in specs.items()}}


def as_params(config: Config) -> dict[str, Any]:
    """The Optuna parameters that would suggest a configuration."""
    params: dict[str, Any] = {}
    for name, spec in config.plan.space().items():
        on = config.strengths[name] != spec.off
        params[f"{name}.on"] = on
        if on:
            params[name] = min(max(config.strengths[name], spec.low), spec.high)
    params["learning_rate"] = config.lr
    if len(config.plan.lengths) > 1:
        params["length"] = config.length
    return params


def default_strengths(cocktail: Cocktail, names: Sequence[str]) -> dict[str, float]:
    """Defaults for the named regularizers, off for the rest."""
    return {key: (spec.default if key.split(".")[0] in names else spec.off) for key, spec in cocktail.specs().items()}


def chosen_regularizers(default: Sequence[Regularizer], use: Sequence[str | Regularizer], without: Sequence[str]) -> list[Regularizer]:
    """The default ones, and those of ``use`` in their places or behind them, less those of ``without``.

    Raises:
        ConfigError: an unknown name, or one both wanted and not.
    """
    out = list(default)
    unwanted = [lookup(name) for name in without]
    for item in use:
        made = item if isinstance(item, Regularizer) else lookup(item)()
        if type(made) in unwanted:
            raise ConfigError(f"{type(made).__name__} is both in `use` and in `without`. Choose one.")
        out = [made if type(r) is type(made) else r for r in out] if type(made) in map(type, out) else [*out, made]
    return [r for r in out if type(r) not in unwanted]
