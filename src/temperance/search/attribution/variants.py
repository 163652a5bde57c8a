"""What the winner is compared with: itself without a regularizer, with another one, without a pair, and with other doses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from temperance.core.strength import StrengthSpec
from temperance.search.space import Config, StaticPlan, default_strengths

WINNER, BARE = "winner", "without any"
MULTIPLES = (0.25, 0.5, 2.0, 4.0)
UPPER = 0.5  # a strength in [0, 1) whose range lies above this is a share that is kept, such as a decay: what is lost is multiplied


@dataclass(frozen=True)
class Variant:
    """A cocktail to compare.

    Attributes:
        name: under which it is kept.
        strengths: all of them.
        label: of the regularizer that differs; empty for the winner, the bare network and a pair.
        field: of the strength that differs, of a dose.
        dose: its value there.
    """

    name: str
    strengths: Mapping[str, float]
    label: str = ""
    field: str = ""
    dose: float | None = None


def labels_on(plan: StaticPlan, strengths: Mapping[str, float]) -> list[str]:
    """The regularizers that are on, in the cocktail's order.

    Strengths that the plan fixes do not count, unless a regularizer has no others.
    """
    specs, space = plan.cocktail.specs(), plan.space()
    own = {label: [name for name in space if name.partition(".")[0] == label] for label in plan.cocktail.labels}
    own = {label: names or [name for name in specs if name.partition(".")[0] == label] for label, names in own.items()}
    return [label for label, names in own.items() if any(strengths[name] != specs[name].off for name in names)]


def dropped(config: Config) -> list[Variant]:
    """The winner without each regularizer that is on."""
    return [Variant(f"without {label}", off(config, label), label) for label in labels_on(config.plan, config.strengths)]


def added(config: Config) -> tuple[list[Variant], list[str]]:
    """The winner with each other regularizer of its plan, in the dose that a search of this plan begins with; and what cannot be added, with the reason."""
    plan = config.plan
    on = labels_on(plan, config.strengths)
    out: list[Variant] = []
    left: list[str] = []
    for label in plan.cocktail.labels:
        if label in on:
            continue
        own = {name: _first(plan, name) for name in plan.cocktail.specs() if name.partition(".")[0] == label}
        if not any(value != plan.cocktail.specs()[name].off for name, value in own.items()):
            continue
        strengths = plan.admitted({**config.strengths, **own}, config.number)
        now = labels_on(plan, strengths)
        if sorted(now) == sorted([*on, label]):
            out.append(Variant(f"with {label}", strengths, label))
        else:
            gone = [other for other in on if other not in now] or [label]
            left.append(f"{label} was not added: it and {gone[0] if gone != [label] else 'what is on'} cannot both be on")
    return out, left


def _first(plan: StaticPlan, name: str) -> float:
    """The value that a first trial of the plan has of a strength, or its default."""
    spec, own = plan.cocktail.specs()[name], plan.space().get(name)
    value = plan.likely_on.get(name, spec.default)
    return value if own is None or value == spec.off else min(max(value, own.low), own.high)


def bare(config: Config) -> Variant:
    """The winner's network with every strength off."""
    return Variant(BARE, default_strengths(config.plan.cocktail, ()))


def pair(config: Config, one: str, two: str) -> Variant:
    """The winner without two of its regularizers."""
    return Variant(f"without {one} and {two}", off(config, one, two))


def off(config: Config, *labels: str) -> dict[str, float]:
    """The winner's strengths with those of some regularizers off."""
    specs = config.plan.cocktail.specs()
    return {name: specs[name].off if name.partition(".")[0] in labels else value for name, value in config.strengths.items()}


def doses(config: Config) -> list[Variant]:
    """The winner with a quarter, half, twice and four times of each strength that is on, as far as these are legal."""
    specs = config.plan.space()
    out: list[Variant] = []
    for name, spec in specs.items():
        value = config.strengths[name]
        if value == spec.off:
            continue
        label, _, field = name.partition(".")
        for dose in dict.fromkeys(scaled(spec, value, times) for times in MULTIPLES):
            if dose in spec.valid and dose not in (value, spec.off):
                out.append(Variant(f"{name} {dose!r}", {**config.strengths, name: dose}, label, field, dose))
    return out


def scaled(spec: StrengthSpec, value: float, times: float) -> float:
    """A multiple of a strength; of a decay (or of a start that is off at one) the multiple of what it is short of one.

    Example:
        >>> import temperance as tp
        >>> specs = tp.Cocktail(tp.EMA(), tp.Dropout(), tp.SWA()).specs()
        >>> [round(scaled(specs[name], 0.9, 0.5), 6) for name in ("ema.decay", "dropout.rate", "swa.start")]
        [0.95, 0.45, 0.95]
    """
    short = spec.off == 1.0 or (spec.low > UPPER and spec.valid.bounds()[1] == 1.0)
    return float(f"{1.0 - times * (1.0 - value) if short else times * value:.12g}")
