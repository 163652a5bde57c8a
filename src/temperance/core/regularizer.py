"""The contract: a regularizer is a frozen dataclass of strengths plus pure functions at the sites of one training step."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, dataclass_transform

import torch
from torch import Tensor, nn

from temperance.core.batch import Batch
from temperance.core.choice import SELECTORS
from temperance.core.criterion import Criterion
from temperance.core.errors import ConfigError, expected
from temperance.core.random import Rng, key_of, stream_of
from temperance.core.schedule import SCHEDULES, Schedule
from temperance.core.selector import Selector, selector_of
from temperance.core.strength import StrengthSpec, check_option, check_strength, options_of, strengths_of

Params = Mapping[str, Tensor]
Result = tuple[Tensor, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]
Objective = Callable[..., Result]
SITES = ("batch", "weights", "hidden", "penalty", "around", "grads", "after_step", "track", "readout")


def no_forward(params: Params, x: Any, mode: str = "eval", draw: int = 0) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
    """Stands in the context of sites that cannot run the network."""
    raise ConfigError("This site has no network to run; extra passes belong to `around`.")


@dataclass(frozen=True, eq=False)
class Context:
    """What a site may read beside its arguments.

    Attributes:
        rng: random numbers of this regularizer at this site (and module and call, for ``hidden``) in this step.
        step: steps done so far, a scalar tensor.
        progress: steps done over steps planned, in [0, 1].
        lr: the member's learning rate in this step.
        state: this regularizer's own state, as ``init`` made it and ``track`` last wrote it.
        constants: fixed numbers of the run, such as ``"input_scale"`` and ``"target_scale"`` (standard deviation of each float input and target over
            the member's own training rows) and ``"tasks"``; ``"partial_targets"`` is true where the probabilities of a target may sum to less than
            one, because part of it is to be ignored.
        forward: ``forward(params, x, mode, draw=0) -> (out, buffers, taps)``, the network; in mode ``"train"`` with this step's masks and noise of
            hidden units and weights, those of the objective's own pass. ``draw=1, 2, ...`` gives other, independent ones in the same step.
        criterion: the loss, ``criterion(out, batch) -> scalar``; ``criterion.marked(out, batch)`` for targets and marks that a site made itself.
        mode: ``"train"`` or ``"eval"``: what the pass at hand is for.
        lr_factor: the learning rate over its peak, the factor of its schedule.
        names: the parameters that ``where`` selects, for ``around``, which receives all of them.
        metric: for ``after_step``, what the optimizer divided the step of each coordinate by, by parameter; empty where it divides by nothing, and where no
            regularizer :meth:`~Regularizer.wants_metric`.
        before: for ``after_step``, the parameters as they were before the optimizer's step, by name; empty where no regularizer
            :meth:`~Regularizer.wants_before`.
        shared: random numbers that all sites, modules, calls and passes of this regularizer have in common in this step: sites that draw the same things
            in the same order get the same numbers. What has to agree between the targets in ``batch`` and the units in ``hidden`` is drawn from it.
        module: for ``hidden``, the name of the module whose output it is given.
        call: for ``hidden``, how many calls of this module came before in this pass.

    Every field has a default, so that a site can be called by hand.

    Example:
        >>> import temperance as tp
        >>> tp.GradClip(1.0).bind().grads({"w": torch.tensor([3.0, 4.0])}, {}, tp.Context())
        {'w': tensor([0.6000, 0.8000])}
    """

    rng: Rng = dataclasses.field(default_factory=lambda: Rng(key_of(0), 0))
    step: Tensor = dataclasses.field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    progress: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(()))
    lr: Tensor = dataclasses.field(default_factory=lambda: torch.ones(()))
    state: Any = dataclasses.field(default_factory=dict)
    constants: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    forward: Callable[..., tuple[Any, dict[str, Tensor], dict[str, Tensor]]] = no_forward
    criterion: Criterion = Criterion()
    mode: str = "train"
    lr_factor: Tensor = dataclasses.field(default_factory=lambda: torch.ones(()))
    names: tuple[str, ...] = ()
    metric: Params = dataclasses.field(default_factory=dict)
    before: Params = dataclasses.field(default_factory=dict)
    shared: Rng = dataclasses.field(default_factory=lambda: Rng(key_of(0), stream_of("shared")))
    module: str = ""
    call: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class Regularizer:
    """Base of every regularizer. Override the sites that are needed; each is pure and written for ONE network.

    Parameter sites (``weights``, ``penalty``, ``grads``, ``after_step``, ``init``, ``track``, ``readout``) receive just the parameters that
    the field ``where`` selects; ``hidden`` is called for the modules it selects. Inside a step every strength is a scalar tensor.

    Class attributes:
        rank: order among ``after_step``: 0 decay, 1 proximal step, 2 projection.
        perturbs: ``"weights"`` or ``"inputs"`` for those that make extra passes at a perturbed point; at most one of each.
        tasks: tasks that it can serve.
        soft_targets: whether it needs targets as float tensors ``(rows, ..., outputs)``: classes as probabilities.
        innermost: whether its ``around`` stands inside those of all others, because it changes what the data loss weighs.
        keeps_inputs: whether the network sees every row as the data has it, although the class has a site (``batch`` or ``around``) that could change it.
        acts_on: ``"any"`` input, or ``"image"``: it changes nothing but images, floating leaves ``(rows, channels, height, width)``.
        needs_progress: whether it reads ``ctx.progress`` itself, so that the length of the run has to be known.
        decays: whether it shrinks the weights, as an optimizer's own decay does: not both.
        short: its label in a cocktail, where that is not the class name in snake case.
        spec: the row of the catalogue it fills.
        reference: author, year.
        exceptions: laws it is exempt from, each with its reason.

    Example:
        >>> import temperance as tp
        >>> @tp.register  # doctest: +SKIP
        ... class ZeroMean(tp.Regularizer):
        ...     lam = tp.strength(1e-2, off=0.0, low=1e-4, high=1.0, log=True)
        ...     def penalty(self, params, taps, ctx):
        ...         return self.lam * sum(w.mean().square() for w in params.values())
    """

    rank: ClassVar[int] = 0
    perturbs: ClassVar[str | None] = None
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel", "regression")
    soft_targets: ClassVar[bool] = False
    innermost: ClassVar[bool] = False
    keeps_inputs: ClassVar[bool] = False
    acts_on: ClassVar[str] = "any"
    needs_progress: ClassVar[bool] = False
    decays: ClassVar[bool] = False
    short: ClassVar[str] = ""
    kind: ClassVar[str] = "regularizer"
    spec: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    exceptions: ClassVar[Mapping[str, str]] = {}

    name: str | None = dataclasses.field(default=None, kw_only=True)

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        """Change the minibatch before the forward pass."""
        return batch

    def weights(self, params: Params, ctx: Context) -> Params:
        """Change the parameters that the forward pass sees."""
        return params

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        """Change the output of a selected module, ``ctx.module`` in its call ``ctx.call``."""
        return h

    def penalty(self, params: Params, taps: Mapping[str, Tensor], ctx: Context) -> Tensor:
        """A scalar added to the loss and reported apart from it."""
        return torch.zeros(())

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        """Wrap the whole objective, for extra passes. Returns the buffers of the first train-mode pass."""
        return objective(params, batch)

    def grads(self, grads: Params, params: Params, ctx: Context) -> Params:
        """Change the gradients before the optimizer."""
        return grads

    def after_step(self, params: Params, ctx: Context) -> Params:
        """Change the parameters after the optimizer's step."""
        return params

    def init(self, params: Params) -> Any:
        """The state: a dict of tensors, or ``{}``.

        An entry that belongs to one parameter has its name, or ends in ``:name``: so it follows the parameter where a layer is replaced.
        """
        return {}

    def track(self, state: Any, params: Params, ctx: Context) -> Any:
        """The next state, from the parameters after the step."""
        return state

    def readout(self, state: Any, params: Params, buffers: Params, refresh: Callable[..., Params]) -> tuple[Params, Params]:
        """The parameters and buffers to evaluate and ship; ``refresh(params, buffers)`` re-estimates BatchNorm."""
        return params, buffers

    # What follows is the same for every regularizer.

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name, spec in strengths_of(type(self)).items():
            object.__setattr__(self, name, check_strength(name, owner, getattr(self, name), spec))
        for name, spec in options_of(type(self)).items():
            check_option(name, owner, getattr(self, name), spec)
        if "where" in self.__dataclass_fields__:
            object.__setattr__(self, "where", selector_of(self.where, owner))  # pyright: ignore[reportAttributeAccessIssue,reportUnknownMemberType,reportUnknownArgumentType] -- a field of subclasses
        if self.name is not None and not re.fullmatch(r"[A-Za-z]\w*", self.name):
            raise ConfigError(expected("name", owner, "to be an identifier", self.name, "Use letters, digits and underscores."))

    @classmethod
    def strengths(cls) -> dict[str, StrengthSpec]:
        """The strengths by field name."""
        return strengths_of(cls)

    @classmethod
    def sites(cls) -> tuple[str, ...]:
        """Names of the sites it overrides."""
        return tuple(site for site in SITES if getattr(cls, site) is not getattr(Regularizer, site))

    @classmethod
    def on_modules(cls) -> bool:
        """Whether ``where`` means modules: for a hidden site, or where its default selects modules (penalties on taps)."""
        where = cls.__dataclass_fields__.get("where")
        return "hidden" in cls.sites() or (where is not None and getattr(where.default, "selects", "") == "modules")

    @property
    def selector(self) -> Selector | None:
        """What ``where`` says, if the regularizer has it."""
        return getattr(self, "where", None)

    @property
    def label(self) -> str:
        """The name given, or the class name in lower case."""
        return self.name or self.default_label()

    @classmethod
    def default_label(cls) -> str:
        """What it is called in a cocktail unless it is named: ``short``, or the class name in snake case."""
        return cls.short or snake(cls.__name__)

    @classmethod
    def stand_in(cls, module: nn.Module, where: Selector, name: str) -> Any:
        """A regularizer that does with keys what this module of a network does with torch's generator; None where the class knows no such module."""
        return None

    def values(self) -> dict[str, Any]:
        """The strengths as stored: floats or schedules."""
        return {name: getattr(self, name) for name in strengths_of(type(self))}

    def static(self) -> tuple[Any, ...]:
        """Everything that shapes the program: equal for members that can share one."""
        parts: list[Any] = [type(self).__name__, self.label]
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if "strength" not in f.metadata:
                parts.append((f.name, repr(value)))
            elif isinstance(value, Schedule):
                parts.append((f.name, value.static()))
        return tuple(parts)

    def is_off(self) -> bool:
        """Whether every strength is at its off value (a regularizer without strengths is never off)."""
        specs = strengths_of(type(self))
        return bool(specs) and all(self.peak(n) == specs[n].off for n in specs)

    def peak(self, field: str) -> float:
        """A strength as a number; of a schedule, its peak."""
        value = getattr(self, field)
        return float(value.value if isinstance(value, Schedule) else value)

    def wants(self, site: str) -> bool:
        """Whether this instance needs a site that its class has; an option may rule one out."""
        return True

    def wants_metric(self) -> bool:
        """Whether this instance reads ``ctx.metric``."""
        return False

    def wants_before(self) -> bool:
        """Whether this instance reads ``ctx.before``."""
        return False

    def looks_at(self) -> str:
        """What ``after_step`` has to see at once: each ``"parameter"`` by itself, all that the step ``"moved"``, or all that ``where`` ``"selects"``.

        In any case it changes only what moved.
        """
        return "parameter"

    def drives(self, site: str) -> tuple[str, ...]:
        """The strengths that a site depends on: with all of them at off, the site does nothing."""
        return tuple(strengths_of(type(self)))

    def of_rows(self, x: Any) -> Mapping[str, Any]:
        """Tensors by row, for ``ctx.constants``, computed once from the inputs of all rows; asked for where nothing in the cocktail changes inputs."""
        return {}

    def changes_inputs(self) -> bool:
        """Whether the network may see other inputs than the data has: at ``batch`` or ``around``, unless the class ``keeps_inputs`` or the strengths are off.

        Example:
            >>> import temperance as tp
            >>> [r.changes_inputs() for r in (tp.InputNoise(0.1), tp.InputNoise(0.0), tp.LabelSmoothing(), tp.Dropout(0.5), tp.Dropout(0.5, input_rate=0.2))]
            [True, False, False, False, True]
        """
        sites = [site for site in ("batch", "around") if site in self.sites()]
        if self.keeps_inputs or not sites:
            return False
        specs, driven = strengths_of(type(self)), {name for site in sites for name in self.drives(site)}
        return not driven or any(self.peak(name) != specs[name].off for name in driven)

    def bind(self, values: Mapping[str, Tensor] | None = None, progress: Tensor | None = None) -> Any:
        """A copy whose strengths are the given tensors, schedules evaluated at this progress; no validation.

        Without arguments its own numbers at progress zero, for calling a site by hand.
        """
        if progress is None:
            progress = torch.zeros(())
        if values is None:
            values = {n: torch.tensor(float(v.value if isinstance(v, Schedule) else v), device=progress.device) for n, v in self.values().items()}
        bound = object.__new__(type(self))
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name in values:
                value = values[f.name] if not isinstance(value, Schedule) else value.with_value(values[f.name]).at(progress)
            object.__setattr__(bound, f.name, value)
        return bound

    def replace(self, **changes: Any) -> Any:
        """A validated copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        shown: list[str] = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name == "name" and value is None:
                continue
            if "strength" in f.metadata or value != f.default:
                shown.append(f"{f.name}={'math.inf' if value == float('inf') else repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; infinity is written ``"inf"``."""
        out: dict[str, Any] = {"regularizer": type(self).__name__}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name == "name" and value is None:
                continue
            out[f.name] = _to_json(value)
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Any:
        """The inverse of :meth:`to_dict` for this class."""
        known = {f.name for f in dataclasses.fields(cls)}
        strange = sorted(set(data) - known - {"regularizer"})
        if strange:
            raise ConfigError(f"{cls.__name__} has no field {strange[0]!r}. Its fields are {', '.join(sorted(known))}.")
        return cls(**{name: _from_json(value) for name, value in data.items() if name != "regularizer"})


def snake(name: str) -> str:
    """``LabelSmoothing`` -> ``label_smoothing``, ``L2`` -> ``l2``.

    Example:
        >>> [snake(n) for n in ("L2", "FGSM", "LabelSmoothing")]
        ['l2', 'fgsm', 'label_smoothing']
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, (Schedule, Selector)):
        kind = "schedule" if isinstance(value, Schedule) else "selector"
        return {kind: type(value).__name__, **{f.name: _to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    return list(value) if isinstance(value, tuple) else value


def _from_json(value: Any) -> Any:
    if value in ("inf", "-inf"):
        return float(value)
    if isinstance(value, dict):
        fields: dict[str, Any] = {str(k): _from_json(v) for k, v in value.items()}  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType] -- parsed JSON
        for kind, known in (("schedule", SCHEDULES), ("selector", SELECTORS)):
            if kind in fields:
                name = fields.pop(kind)
                if name not in known:
                    raise ConfigError(expected(kind, "a cocktail file", f"to be one of {', '.join(sorted(known))}", name))
                return known[name](**fields)
        raise ConfigError(f"Expected a schedule or a selector in a cocktail file, got {fields!r}.")
    return value


C = TypeVar("C", bound=type)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(dataclasses.field,))
def register(cls: C) -> C:
    """Class decorator: makes the class a frozen dataclass and enters it in the registry, so that the laws test it.

    Example:
        >>> from temperance.core.registry import lookup
        >>> lookup("L2").__name__
        'L2'
    """
    from temperance.core.registry import REGISTRY

    made = dataclass(frozen=True, eq=False, repr=False)(cls)
    if made.__name__ in REGISTRY and REGISTRY[made.__name__].__module__ != made.__module__:
        raise ConfigError(f"A regularizer named {made.__name__} is registered already, by {REGISTRY[made.__name__].__module__}. Choose another name.")
    REGISTRY[made.__name__] = made
    return made
