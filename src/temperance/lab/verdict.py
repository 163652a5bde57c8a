"""Running an experiment: its numbers, its control's, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from temperance.core.ambient import plainly
from temperance.core.errors import ConfigError, expected
from temperance.lab.chart import Chart, Slider
from temperance.lab.experiment import Experiment, find
from temperance.lab.rules import Interval, Rule
from temperance.report import words


@dataclass(frozen=True)
class Judged:
    """One rule with what became of it."""

    rule: Rule
    holds: bool
    control_holds: bool


@dataclass(eq=False)
class Verdict:
    """What :func:`run` returns.

    Attributes:
        name: of the experiment.
        numbers: every number, one value per seed.
        control: the same numbers with one thing made wrong.
        rules: each with its outcome, in the experiment and in its control.
        seconds: how long both took.
        seeds: the seeds.
    """

    name: str
    numbers: dict[str, list[float]]
    control: dict[str, list[float]]
    rules: list[Judged]
    seconds: float
    seeds: list[int]
    experiment: Experiment = field(repr=False)
    drawing: Chart | Slider = field(repr=False)

    @property
    def holds(self) -> bool:
        """Whether the claim keeps all its rules."""
        return all(judged.holds for judged in self.rules)

    @property
    def control_fails(self) -> bool:
        """Whether the control breaks a rule, as it must."""
        return not all(judged.control_holds for judged in self.rules)

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        if not self.holds:
            return "does not hold"
        if not self.control_fails:
            return "undecided"
        return "as printed: refuted" if self.experiment.printed else "holds"

    @property
    def sound(self) -> bool:
        """Whether the claim holds and its control fails."""
        return self.holds and self.control_fails

    @property
    def intervals(self) -> dict[str, Interval]:
        """Mean and 95 % interval of every number over seeds."""
        return {name: Interval.of(values) for name, values in self.numbers.items()}

    @property
    def figure(self) -> Markup:
        """The figure, as SVG."""
        from temperance.lab.chart import drawn

        return drawn(self.drawing)[self.drawing.start if isinstance(self.drawing, Slider) else 0].wide

    def page(self) -> str:
        """One HTML page that loads nothing from anywhere."""
        from temperance.lab.page import page

        return page(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        rules = [{"rule": j.rule.text, "holds": j.holds, "control_holds": j.control_holds} for j in self.rules]
        shown = {"numbers": _finite(self.numbers), "control": _finite(self.control)}
        return {"name": self.name, "verdict": self.word, "sound": self.sound, **shown, "rules": rules, "seeds": self.seeds, "seconds": round(self.seconds, 2)}

    def _repr_html_(self) -> str:
        from temperance.lab.page import cell

        return cell(self)

    def __str__(self) -> str:
        kind = type(self.experiment)
        lines = [f"{self.name}: {self.word}", kind.claim]
        if kind.printed:
            lines.append(f"As printed: {kind.printed}")
        for judged in self.rules:
            lines.append(f"  {'yes' if judged.holds else 'no '}  {judged.rule.text} (control: {'yes' if judged.control_holds else 'no'})")
        for name, found in self.intervals.items():
            between = f" ({words.number(found.low)} to {words.number(found.high)})" if found.low < found.high else ""
            lines.append(f"  {name}: {words.number(found.mean)}{between}; control {words.number(Interval.of(self.control[name]).mean)}")
        return "\n".join(lines)


def _finite(numbers: dict[str, list[float]]) -> dict[str, list[float | None]]:
    return {name: [words.finite(value) for value in values] for name, values in numbers.items()}


@plainly
def run(name: str, *, quick: bool = False, data: Any = None, seeds: Sequence[int] | None = None) -> Verdict:
    """Run one experiment of the lab and its control.

    Args:
        name: as ``temperance lab list`` shows it.
        quick: fewer seeds or steps.
        data: a table or images of one's own, for the experiments that take them: a Dataset or a pair (X, y).
        seeds: of everything random; by default as many as the experiment asks for.

    Returns:
        a :class:`Verdict`.

    Raises:
        ConfigError: no such experiment, or one that takes no data.

    Example:
        >>> import temperance as tp
        >>> verdict = tp.lab.run("quadratic_steps")
        >>> verdict.word, verdict.control_fails
        ('holds', True)
    """
    kind = find(name)
    data = _dataset(data)
    if data is not None:
        _check(kind, data)
    chosen = list(range(min(kind.seeds, kind.quick_seeds) if quick else kind.seeds)) if seeds is None else [int(seed) for seed in seeds]
    if not chosen:
        raise ConfigError(expected("seeds", "lab.run", "to hold one number at least", seeds))
    started = time.perf_counter()
    experiment = kind(quick=quick, data=data)
    numbers, control = experiment.measure(chosen, False), experiment.measure(chosen, True)
    judged = [Judged(rule, rule.holds(numbers[rule.number]), rule.holds(control[rule.number])) for rule in kind.rules]
    drawing = experiment.draw()
    return Verdict(kind.name(), numbers, control, judged, time.perf_counter() - started, chosen, experiment, drawing)


def _check(kind: type[Experiment], data: Any) -> None:
    """Complain where the experiment cannot use such rows."""
    from temperance.lab.experiment import experiments

    are_images = not isinstance(data.x, dict) and data.x.ndim == 4
    if kind.takes_images and not are_images:
        raise ConfigError(
            expected("data", f"the experiment {kind.name()}", "to be images (n, channels, height, width)", "a table", "Tables go to other experiments.")
        )
    if kind.classes_only and data.task != "classification":
        mend = "Give a table whose target is a class, or run another experiment."
        raise ConfigError(expected("data", f"the experiment {kind.name()}", "to have classes to predict", data.task, mend))
    if not (kind.takes_data or kind.takes_images):
        able = ", ".join(name for name, other in experiments().items() if (other.takes_images if are_images else other.takes_data))
        what = "images" if are_images else "a table"
        raise ConfigError(expected("data", f"the experiment {kind.name()}", "to be None", type(data).__name__, f"These take {what}: {able}."))


def _dataset(data: Any) -> Any:
    if isinstance(data, (tuple, list)) and len(data) == 2:
        from temperance.data import as_dataset

        return as_dataset(*data)
    return data
