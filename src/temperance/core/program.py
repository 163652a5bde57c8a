"""A cocktail bound to one network: the pure functions of one training step, for ONE member."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from temperance.core.batch import Batch, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, criterion_of
from temperance.core.device import as_computed, products_in
from temperance.core.errors import ConfigError
from temperance.core.hooks import Hook
from temperance.core.inputs import refuse_changed_inputs
from temperance.core.layout import laid_out
from temperance.core.moment import Moment, Values
from temperance.core.passes import Pass, evaluating
from temperance.core.random import Rng, fold, stream_of
from temperance.core.regularizer import Context, Params, Regularizer, Result
from temperance.core.selector import Named, Nothing, Units, modules_matching, parameters_matching
from temperance.core.wiring import Wiring, observed


class Program:
    """Resolves a cocktail's selectors against a network, and folds its sites.

    Args:
        cocktail: the regularizers.
        model: the network; the modules that hidden sites select have forward hooks during a pass, and none outside.
        criterion: the loss on soft targets.
        constants: fixed numbers of the run, the same for every member, for every site's ``ctx.constants``.
        idle: strengths (``label.field``) that are off for everyone: sites that only they drive are left out, which changes nothing but time.
        wiring: what a pass has shown of the network, see :func:`wiring_for`; without it the order of declaration says which units are hidden, until
            :meth:`observe` is called.
        precision: of the products of a training pass: ``"fp32"`` as the network has them, or ``"bf16"``.
        filters: weights of convolutions that a training pass lays out channels last, and with them its images; not under ``vmap``.

    Raises:
        ConfigError: the network or the task cannot take the cocktail.
    """

    def __init__(
        self,
        cocktail: Cocktail,
        model: nn.Module,
        criterion: Criterion,
        constants: Mapping[str, Any] | None = None,
        idle: Collection[str] = (),
        wiring: Wiring | None = None,
        precision: str = "fp32",
        filters: Collection[str] = (),
    ) -> None:
        self.cocktail, self.model, self.criterion, self.idle = cocktail, model, criterion_of(model, criterion), frozenset(idle)
        self.constants: dict[str, Any] = {"tasks": criterion.tasks, **(constants or {})}
        self.current: Pass | None = None
        self.selected: dict[str, tuple[str, ...]] = {}
        self.units: dict[str, Units] = {}
        self._seen: dict[Any, Wiring] = {}
        self.wiring, self.precision, self.filters = wiring, precision, tuple(filters)
        self._select()
        self._check()

    @property
    def modules(self) -> dict[str, tuple[str, ...]]:
        """Names of the modules that hidden sites act on, by label."""
        return {label: tuple(units.layers) for label, units in self.units.items()}

    def resolve(self) -> None:
        """Resolve every selector against the network as it is now; what a pass has shown of another is forgotten.

        Raises:
            ConfigError: a selector matches nothing.
        """
        self._seen, self.wiring = {}, None
        self._select()

    def _select(self) -> None:
        model, names = self.model, tuple(name for name, _ in self.model.named_parameters())
        selected: dict[str, tuple[str, ...]] = {}
        units: dict[str, Units] = {}
        for label, regularizer in self.cocktail.items():
            selector, kind = regularizer.selector, type(regularizer).__name__
            if selector is None or regularizer.on_modules():
                selected[label] = names
            else:
                selected[label] = parameters_matching(selector, model, kind)
            if selector is not None and regularizer.on_modules():
                if selector.drawn and "hidden" not in regularizer.sites():
                    at = repr(selector.innermost)
                    raise ConfigError(f"`where` of {kind} is {selector!r}, and {kind} looks at all units of a step. Say which without OneOf: where={at}.")
                found = modules_matching(selector, model, kind, self.wiring) if regularizer.wants("hidden") else Units({})
                units[label] = Units({}) if self._is_idle(label, regularizer, "hidden") else found
        self.selected, self.units = selected, units

    def observe(self, *args: Any, **kwargs: Any) -> bool:
        """Find from a pass over these inputs which units are hidden; inputs of other shapes are asked again where calls of one module differ.

        Returns:
            whether something new was found.

        Raises:
            ConfigError: a selector of hidden units matches nothing.
        """
        if not needs_pass(self.cocktail) or (self._seen and all(units.whole >= units.layers.keys() for units in self.units.values())):
            return False
        shapes = tuple(tuple(leaf.shape[1:]) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        if shapes not in self._seen:
            self._seen[shapes] = observed(self.model, *args, **kwargs)
        if self._seen[shapes] is self.wiring:
            return False
        self.wiring = self._seen[shapes]
        self._select()
        return True

    def watch(self, current: Callable[[], Pass | None]) -> list[RemovableHandle]:
        """Hook the modules that hidden sites select; the hooks act on the pass that ``current`` gives, and are the caller's to remove.

        They come before hooks of the network's own, which then see what the next layer gets.
        """
        names = sorted({name for found in self.modules.values() for name in found})
        return [self.model.get_submodule(name).register_forward_hook(Hook(partial(self._act, current, name)), prepend=True) for name in names]

    def _check(self) -> None:
        refuse_changed_inputs(self.cocktail, self.model)
        tasks = self.criterion.tasks
        kinds = list(tasks.values()) if isinstance(tasks, dict) else [tasks]
        perturbers: dict[str, str] = {}
        for _, r in self.cocktail.items():
            kind = type(r).__name__
            if any(kinds) and not any(task in r.tasks for task in kinds):
                raise ConfigError(
                    f"{kind} serves {', '.join(r.tasks)}, and the task is {', '.join(kinds)}. Leave it out with --without {kind} or take it from the cocktail."
                )
            if r.perturbs is not None:
                if r.perturbs in perturbers:
                    raise ConfigError(f"{kind} and {perturbers[r.perturbs]} both perturb the {r.perturbs}; a cocktail takes one of them. Leave one out.")
                perturbers[r.perturbs] = kind
        averages = [type(r).__name__ for _, r in self.of("readout") if not r.is_off()]
        if len(averages) > 1:
            raise ConfigError(f"{' and '.join(averages)} both average the weights; a network ships one average. Leave one out, or off.")

    # Sites

    def of(self, site: str) -> list[tuple[str, Regularizer]]:
        """Regularizers with this site, in the order in which it folds."""
        found = [(label, r) for label, r in self.cocktail.items() if site in r.sites() and r.wants(site) and not self._is_idle(label, r, site)]
        if site == "after_step":
            found.sort(key=lambda pair: pair[1].rank)
        if site == "around":
            found.sort(key=lambda pair: (pair[1].perturbs != "weights", pair[1].innermost))
        return found

    def wants_metric(self) -> bool:
        """Whether any regularizer asks what the optimizer divides its steps by."""
        return any(r.wants_metric() for _, r in self.of("after_step"))

    def wants_before(self) -> bool:
        """Whether any regularizer asks for the parameters before the optimizer's step."""
        return any(r.wants_before() for _, r in self.of("after_step"))

    def _is_idle(self, label: str, regularizer: Regularizer, site: str) -> bool:
        driving = regularizer.drives(site)
        return bool(driving) and all(f"{label}.{field}" in self.idle for field in driving)

    def bind(self, values: Values, progress: Tensor) -> dict[str, Regularizer]:
        """Regularizers whose strengths are this member's tensors."""
        out: dict[str, Regularizer] = {}
        for label, regularizer in self.cocktail.items():
            own = {field: values[f"{label}.{field}"] for field in regularizer.strengths()}
            out[label] = regularizer.bind(own, progress)
        return out

    def _pick(self, label: str, tensors: Params) -> Params:
        return {name: tensors[name] for name in self.selected[label] if name in tensors}

    def init(self, params: Params) -> dict[str, Any]:
        """The state of every regularizer that has one."""
        state: dict[str, Any] = {}
        for label, regularizer in self.cocktail.items():
            if all(self._is_idle(label, regularizer, site) for site in regularizer.sites()):
                continue
            picked = self._pick(label, params)
            made = regularizer.init(picked) if picked else {}
            if made:
                state[label] = made
        return state

    def context(self, label: str, site: str, moment: Moment, state: Mapping[str, Any], forward: Any, *path: object, mode: str = "train") -> Context:
        rng = Rng(moment.key, stream_of(label, site, *path))
        return Context(
            rng,
            moment.step,
            moment.progress,
            moment.lr,
            state.get(label, {}),
            {**self.constants, **moment.own} if moment.own else self.constants,
            forward,
            self.criterion,
            mode,
            moment.lr_factor,
            self.selected[label],
            moment.metric,
            moment.before,
            shared=Rng(moment.key if moment.shared is None else moment.shared, stream_of(label, "shared")),
        )

    def _act(self, at: Callable[[], Pass | None], name: str, module: nn.Module, args: Any, output: Any) -> Any:
        current = at()
        if current is None:
            return None
        call = current.calls.get(name, 0)
        current.calls[name] = call + 1
        h: Tensor = output[0] if isinstance(output, tuple) else output
        for label, regularizer in current.bound.items():
            units = self.units.get(label)
            layer = None if units is None else units.layer(name, call)
            if units is None or layer is None:
                continue
            if "hidden" in regularizer.sites() and current.mode == "train":
                share_calls = getattr(regularizer, "share_calls", False)
                ctx = replace(current.context(label, "hidden", name, 0 if share_calls else call), module=name, call=call)
                changed = regularizer.hidden(h, ctx)
                h = torch.where(_drawn(label, units.count, ctx) == layer, changed, h) if units.drawn and units.count > 1 else changed
            current.taps.setdefault(label, {})[f"{name}#{call}"] = h
        return (h, *output[1:]) if isinstance(output, tuple) else h  # pyright: ignore[reportUnknownVariableType] -- a module's output is untyped

    @contextmanager
    def passing(self, one: Pass | None) -> Generator[None]:
        """Make a pass the current one; the network has hooks for this time only."""
        before, self.current = self.current, one
        handles = self.watch(lambda: self.current) if before is None else []
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self.current = before

    def forward(
        self, params: Params, buffers: Params, x: Any, mode: str = "train", bound: Mapping[str, Regularizer] | None = None, context: Any = None
    ) -> tuple[Any, Params, Any]:
        """The network as a pure function.

        Args:
            params: by name, tied tensors once.
            buffers: by name; not mutated.
            x: the inputs.
            mode: ``"train"`` (hidden sites, training statistics), ``"clean"`` (training statistics alone), ``"eval"``.
            bound: regularizers of this member.
            context: ``(label, site, *path) -> Context``.

        Returns:
            output, buffers after the pass, taps by label.
        """
        one = Pass(mode, bound or {}, context)
        own = dict(buffers) if mode == "eval" else {name: b.clone() for name, b in buffers.items()}
        both = {**params, **own}
        if self.filters and mode != "eval":
            both, x = laid_out(both, self.filters, x)
        with self.passing(one), evaluating(self.model, mode == "eval"), products_in("fp32" if mode == "eval" else self.precision, params):
            out = functional_call(self.model, both, (x,))
        if self.precision != "fp32":
            out, one.taps = as_computed(out, params), as_computed(one.taps, params)
        return out, {name: both[name] for name in own}, one.taps  # buffers changed in place, or replaced by the network

    def change_batch(self, bound: Mapping[str, Regularizer], batch: Batch, context: Any, without: Collection[str] = ()) -> Batch:
        """Fold the ``batch`` sites, ``without`` those of some labels."""
        for label, _ in self.of("batch"):
            if label not in without:
                batch = bound[label].batch(batch, context(label, "batch"))
        return batch

    def penalties(self, bound: Mapping[str, Regularizer], params: Params, taps: Mapping[str, Mapping[str, Tensor]], context: Any) -> dict[str, Tensor]:
        """Every penalty by label."""
        return {label: bound[label].penalty(self._pick(label, params), taps.get(label, {}), context(label, "penalty")) for label, _ in self.of("penalty")}

    def loss(self, params: Params, buffers: Params, state: Mapping[str, Any], values: Values, moment: Moment, batch: Batch, given: bool = False) -> Result:
        """One member's loss on one minibatch, with every site before the optimizer.

        Returns:
            loss, report (``data``, each penalty by label), buffers after the first train-mode pass, taps.
        """
        bound = self.bind(values, moment.progress)

        def contexts(at: Moment) -> Callable[..., Context]:
            return lambda label, site, *path: self.context(label, site, at, state, sees, *path)

        context, weights = contexts(moment), self.of("weights")

        def run(p: Params, x: Any, mode: str, context: Any) -> tuple[Any, Params, Any]:
            seen = dict(p)
            if mode == "train":
                for label, _ in weights:
                    seen.update(bound[label].weights(self._pick(label, seen), context(label, "weights")))
            return self.forward(seen, buffers, x, mode, bound, context)

        def sees(p: Params, x: Any, mode: str = "eval", draw: int = 0) -> tuple[Any, Params, Any]:
            return run(p, x, mode, contexts(replace(moment, key=fold(moment.key, draw), shared=moment.key)) if draw else context)

        if not given:
            batch = self.change_batch(bound, batch, context)

        def objective(p: Params, b: Batch, *, mode: str = "train") -> Result:
            out, after, taps = run(p, b.x, mode, context)
            total = data = self.criterion(out, b)
            report = {"data": data}
            if mode == "train":
                extra = self.penalties(bound, p, taps, context)
                total = sum(extra.values(), total)
                report.update(extra)
            return total, report, dict(after), taps

        wrapped = objective
        outer = self.of("around")
        trainable = {name for name, p in self.model.named_parameters() if p.requires_grad} if outer else set[str]()
        for label, regularizer in reversed(outer):
            ctx = context(label, "around")
            ctx = replace(ctx, names=tuple(name for name in ctx.names if name in trainable))
            if ctx.names or regularizer.perturbs != "weights":  # frozen weights are not moved uphill either
                wrapped = _nest(bound[label], wrapped, ctx)
        return wrapped(params, batch)

    def change_grads(self, grads: Params, params: Params, state: Mapping[str, Any], values: Values, moment: Moment) -> dict[str, Tensor]:
        """Fold the ``grads`` sites."""
        bound, out = self.bind(values, moment.progress), dict(grads)
        for label, _ in self.of("grads"):
            out.update(bound[label].grads(self._pick(label, out), self._pick(label, params), self.context(label, "grads", moment, state, None)))
        return out

    def after_step(self, params: Params, state: Mapping[str, Any], values: Values, moment: Moment, only: str | None = None) -> dict[str, Tensor]:
        """Fold the ``after_step`` sites: decay, then proximal steps, then projections; or the one of this label alone."""
        bound, out = self.bind(values, moment.progress), dict(params)
        for label, _ in self.of("after_step"):
            if only not in (None, label):
                continue
            out.update(bound[label].after_step(self._pick(label, out), self.context(label, "after_step", moment, state, None)))
        return out

    def track(self, state: Mapping[str, Any], params: Params, values: Values, moment: Moment) -> dict[str, Any]:
        """The next state of every regularizer."""
        bound, out = self.bind(values, moment.progress), dict(state)
        for label, _ in self.of("track"):
            out[label] = bound[label].track(out[label], self._pick(label, params), self.context(label, "track", moment, state, None))
        return out

    def readout(
        self, state: Mapping[str, Any], params: Params, buffers: Params, values: Values, progress: Tensor, refresh: Any
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The parameters and buffers to evaluate and ship."""
        bound, p, b = self.bind(values, progress), dict(params), dict(buffers)
        for label, _ in self.of("readout"):
            changed, b2 = bound[label].readout(state.get(label, {}), self._pick(label, p), b, lambda q, c: refresh({**p, **q}, c))
            p.update(changed)
            b = dict(b2)
        return p, b

    def has(self, *sites: str) -> bool:
        """Whether any regularizer has one of these sites."""
        return any(self.of(site) for site in sites)


def needs_pass(cocktail: Cocktail) -> bool:
    """Whether a pass has to show which units the cocktail acts on."""
    selectors = [r.selector for _, r in cocktail.items() if r.on_modules() and r.wants("hidden")]
    return any(not isinstance(selector, (Named, Nothing)) for selector in selectors)


def wiring_for(cocktails: Iterable[Cocktail], model: nn.Module, x: Any) -> Wiring | None:
    """What a pass over the first rows of ``x`` shows of the network, where one of the cocktails needs to know."""
    if not any(map(needs_pass, cocktails)):
        return None
    return observed(model, map_leaves(lambda leaf: leaf[:8], x))


def _drawn(label: str, layers: int, ctx: Context) -> Tensor:
    """One of so many layers, the same in every pass and at every module of a step."""
    return (Rng(ctx.shared.key, stream_of(label, "one of")).uniform() * layers).to(torch.int64)


def _nest(regularizer: Regularizer, objective: Any, ctx: Context) -> Any:
    def wrapped(params: Params, batch: Batch, *, mode: str = "train") -> Result:
        if mode != "train":
            return objective(params, batch, mode=mode)
        return regularizer.around(objective, params, batch, ctx)

    return wrapped
