"""A cocktail in anyone's own training loop."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.acting import act, change_gradients
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import criterion_of
from temperance.core.describe import describe
from temperance.core.errors import ConfigError
from temperance.core.given_loss import given_criterion, refuse_hard
from temperance.core.hooks import uncompiled
from temperance.core.minibatch import Minibatches
from temperance.core.moment import Moment, step_key
from temperance.core.network import Network, carried
from temperance.core.open_pass import OpenPass
from temperance.core.program import Program
from temperance.core.random import key_of
from temperance.core.refusals import refuse_optimizer, refuse_rows, refuse_scaled, refuse_second_decay, refuse_sharded, refuse_split, refuse_unknown_length
from temperance.core.regularizer import Context
from temperance.core.standing import attached as standings
from temperance.core.statistics import holding, refresh_statistics
from temperance.core.stepping import Step, Stepping

_ATTACHED: weakref.WeakKeyDictionary[nn.Module, weakref.ref[Attached]] = weakref.WeakKeyDictionary()


def attach(
    cocktail: Cocktail,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    criterion: Any,
    *,
    seed: int = 0,
    total_steps: int | None = None,
    input_scale: Any = None,
    target_scale: Any = None,
    num_classes: int | None = None,
) -> Attached:
    """Use a cocktail in your own loop, with one network and any ``torch.optim`` optimizer.

    Random numbers are keyed by (seed, rank, step, micro): steps are counted by ``optimizer.step()``, micro-batches by the calls since, so that
    gradient accumulation gets fresh masks and torch's generators are never used.

    Args:
        cocktail: what to attach.
        model: the network; it is not rebuilt, and ``detach`` leaves no trace on it.
        optimizer: its hooks apply clipping before, and decay, proximal steps and projections after each step.
        criterion: ``criterion(out, y) -> scalar``, such as ``nn.CrossEntropyLoss()``: called with the network's own output and your own targets. In a step
            where a regularizer that is on changes targets (MixUp, CutMix, LabelSmoothing, LabelNoise), integer classes become probabilities: a loss of
            ``torch.nn`` keeps its options on them, a function of your own is called with them, classes at dimension 1.
        seed: of every mask, mixing weight and noise.
        total_steps: planned optimizer steps; needed by schedules and by SWA.
        input_scale: standard deviation of the inputs over the training rows, the unit of noise and attacks (default one).
        target_scale: standard deviation of the targets over the training rows, the unit of noise on them (default one).
        num_classes: for integer targets that have to become soft; found from the network's output on the first batch if not given.

    Raises:
        ConfigError: what cannot work, each with the way out.

    Example:
        >>> import temperance as tp
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> reg = tp.Cocktail(tp.MixUp(0.2), tp.L1(1e-3)).attach(net, optimizer, nn.CrossEntropyLoss())
        >>> reg.loss(torch.zeros(5, 4), torch.tensor([0, 1, 2, 0, 1])).backward()
        >>> optimizer.step(); optimizer.zero_grad()
        >>> sorted(reg.report)
        ['data']
        >>> reg.detach()
    """
    return Attached(cocktail, model, optimizer, criterion, seed, total_steps, input_scale, target_scale, num_classes)


class Attached:
    """A cocktail at work in your loop; made by :func:`attach`.

    Attributes:
        report: the parts of the last loss as tensors: ``data`` and each penalty by label.
        steps: optimizer steps so far.
    """

    def __init__(
        self,
        cocktail: Cocktail,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: Any,
        seed: int,
        total_steps: int | None,
        input_scale: Any,
        target_scale: Any,
        num_classes: int | None,
    ) -> None:
        self.cocktail, self.model, self.optimizer, self.criterion = cocktail, model, optimizer, given_criterion(criterion)
        self.seed, self.total_steps, self.steps, self.micro = seed, total_steps, 0, 0
        self.report: dict[str, Tensor] = {}
        self._network = Network(model)
        self._last: list[str] | None = None
        self._averaging = False
        self._check()
        scales = {"input_scale": input_scale, "target_scale": target_scale}
        constants = {name: scale for name, scale in scales.items() if scale is not None}
        live = cocktail.without_off()
        refuse_hard(self.criterion, [r for _, r in live.items() if r.soft_targets])
        self.program = Program(live, self._network.module, self.criterion, constants)
        self._open = OpenPass(self.program, model)
        self._batches = Minibatches(self.program, self.criterion, self._outputs, num_classes, self._dtype)
        self._key = step_key(key_of(seed, "cpu"), self._rank()) if self._rank() else key_of(seed, "cpu")
        self.state: dict[str, Any] = {}
        self._follow()
        self._network.leave(optimizer)
        self._begin()

    def _begin(self) -> None:
        """Stand around the optimizer's steps."""
        find = partial(self._network.moving, self.optimizer)
        self._stepping: Stepping | None = Stepping(self.optimizer, self._network.params, find, self._ready, self._moved, self._wishes)
        _ATTACHED[self._network.module] = weakref.ref(self)

    def __getstate__(self) -> dict[str, Any]:
        """A copy stands around the steps of the copied optimizer."""
        return {**self.__dict__, "_stepping": self._stepping is not None, "report": {}, "_averaging": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "_stepping": None})
        if state["_stepping"]:
            self._begin()

    @property
    def _named(self) -> dict[str, nn.Parameter]:
        return self._network.params()

    def _follow(self) -> None:
        """Take the network as it is now: selectors, state and strengths for the parameters it has."""
        reshaped, other, new = self._network.look()
        if reshaped:
            self.program.resolve()
            self._batches.soft.found.clear()
        if reshaped or other:
            with torch.inference_mode(False), torch.no_grad():
                like = next((p for p in self._named.values() if p.is_floating_point()), torch.zeros(()))
                self._values = {name: torch.tensor(value, dtype=like.dtype, device=like.device) for name, value in self.cocktail.strengths().items()}
                self.state = carried(self.program, self.state, self._named, new)

    def _check(self) -> None:
        model, optimizer, cocktail = self._network.module, self.optimizer, self.cocktail.without_off()
        other = _attached_to(model)
        if other is not None:
            raise ConfigError(f"The network has a cocktail attached already: {other.cocktail}. Call detach() first, or attach one cocktail that holds both.")
        refuse_optimizer(optimizer, self._network, cocktail)
        refuse_sharded(model, cocktail)
        refuse_second_decay(optimizer, cocktail)
        refuse_unknown_length(self.total_steps, cocktail)

    @staticmethod
    def _rank() -> int:
        distributed = torch.distributed
        return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0

    def _moment(self, group: Mapping[str, Any] | None = None, whole: bool = False) -> Moment:
        """Where training stands; with ``whole`` for the sites of the whole step, whose numbers are the same on every rank."""
        group = group or self.optimizer.param_groups[0]
        like = next(iter(self._named.values()))
        lr = float(group["lr"])
        first = float(group.get("initial_lr", lr))
        return Moment(
            key=step_key((key_of(self.seed, "cpu") if whole else self._key).to(like.device), self.steps, 0 if whole else self.micro),
            step=torch.tensor(self.steps, device=like.device),
            progress=self._progress().to(like.device),
            lr=torch.tensor(lr, dtype=like.dtype, device=like.device),
            lr_factor=torch.tensor(lr / first if first else 1.0, dtype=like.dtype, device=like.device),
        )

    def _progress(self) -> Tensor:
        """The share of the training that is done, on the host: what depends on it there need not wait for a card."""
        share = 0.0 if self.total_steps is None else min(self.steps / self.total_steps, 1.0)
        return torch.tensor(share, dtype=next(iter(self._named.values())).dtype, device="cpu")

    def _dtype(self) -> torch.dtype:
        return next((p.dtype for p in self._named.values() if p.is_floating_point()), torch.get_default_dtype())

    # The loss form

    def loss(self, x: Any, y: Any, weight: Tensor | None = None, labeled: Any = None) -> Tensor:
        """The regularized loss of one minibatch; call ``backward()`` on it.

        Args:
            x: inputs, a tensor or a dict of tensors.
            y: targets as the criterion takes them.
            weight: row weights v: the data loss becomes the weighted mean Σ v L / Σ v over the labeled rows, so that only their ratios matter; with
                ``reduction="sum"`` Σ v L. Only with losses of ``torch.nn`` and of temperance.
            labeled: bool ``(rows,)``, false where ``y`` is to be ignored, whatever stands there (likewise).

        In evaluation mode (``model.eval()``) it is the plain loss.

        Raises:
            ConfigError: weights or marks for a loss of your own; targets that a regularizer has to change and cannot; or the cocktail was detached.
            DataError: classes that the network has no scores for.
        """
        if self._stepping is None:
            raise ConfigError("The cocktail was detached from the network. Attach it again.")
        refuse_rows(self.criterion, weight, labeled)
        self._follow()
        params, buffers = dict(self._named), self._network.buffers()
        if not self.model.training:
            batch, criterion = self._batches.plain(x, y, weight, labeled)
            with uncompiled(self.model):
                out, _, _ = self.program.forward(params, buffers, x, "eval")
            return criterion_of(self._network.module, criterion)(out, batch)
        self._network.held(self.optimizer)
        self.program.observe(x)
        moment = self._moment()
        self.micro += 1
        batch, criterion = self._batches.changed(x, y, weight, labeled, self._values, moment, self.state, self._progress())
        self.program.criterion = criterion_of(self._network.module, criterion)
        seen = {name: buffer.clone() for name, buffer in buffers.items()}  # a pass at evaluation statistics needs them unchanged for its gradient
        with uncompiled(self.model):
            total, report, after, _ = self.program.loss(params, seen, self.state, self._values, moment, batch, given=True)
        self.report = {**{name: value.detach() for name, value in report.items()}, **self._nothing("penalty", "around")}
        with torch.no_grad():
            for name, buffer in buffers.items():
                buffer.copy_(after[name])
        return total

    def _nothing(self, *sites: str) -> dict[str, Tensor]:
        """The report on regularizers that are off."""
        zero = torch.zeros((), dtype=self._dtype(), device=next(iter(self._named.values())).device)
        return {label: zero for label, r in self.cocktail.items() if r.is_off() and set(sites) & set(r.sites())}

    def _outputs(self, x: Any) -> Any:
        """The network's output in evaluation mode, without a gradient."""
        with torch.no_grad(), uncompiled(self.model):
            return self.program.forward(self._named, self._network.buffers(), x, "eval")[0]

    # The split form, for loops that own their forward pass

    def batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The changed minibatch; then call the network and add :meth:`penalty` to your loss.

        Raises:
            ConfigError: the cocktail needs the whole step (``around`` or ``weights`` sites).
        """
        refuse_split(self.cocktail)
        if not self.model.training:
            return x, y
        self._follow()
        self._network.held(self.optimizer)
        moment = self._moment()
        self.micro += 1
        changed, _ = self._batches.changed(x, y, None, None, self._values, moment, self.state, self._progress(), split=True)
        bound = self.program.bind(self._values, moment.progress)

        def context(label: str, site: str, *path: object) -> Context:
            return self.program.context(label, site, moment, self.state, None, *path)

        self._open.open(bound, context)
        return changed.x, changed.y

    def penalty(self) -> Tensor:
        """The sum of the penalties for the minibatch of the last :meth:`batch`.

        Raises:
            ConfigError: the network was called in a way that its hidden units could not be reached.
        """
        like, one = next(iter(self._named.values())), self._open.close()
        zero = torch.zeros((), dtype=like.dtype, device=like.device)
        if one is None or not self.model.training:
            return zero
        if any(self.program.modules.values()) and not one.calls:
            raise ConfigError(
                "No hidden unit was reached between batch() and penalty(). Call the network in between; "
                "where torch.compile or another wrapper stands before it, use reg.loss(x, y)."
            )
        parts = self.program.penalties(one.bound, self._named, one.taps, one.context)
        self.report = {**{name: value.detach() for name, value in parts.items()}, **self._nothing("penalty")}
        return torch.stack([value.to(like.dtype) for value in parts.values()]).sum() if parts else zero

    # Around the optimizer's step

    def _ready(self, step: Step) -> None:
        """Change the gradients of what the step will move, before it does."""
        if self._averaging:
            raise ConfigError(
                "The optimizer stepped inside reg.averaged(), which puts the parameters back at its end. End the `with` block before training on."
            )
        self._follow()
        refuse_second_decay(self.optimizer, self.cocktail)
        if not self.program.of("grads"):
            return
        refuse_scaled(self.optimizer)
        params = {name: p for name, p in self._named.items() if name in step.groups}
        change_gradients(self.program, params, self.state, self._values, self._moment(whole=True))

    def _wishes(self) -> tuple[bool, bool]:
        """Whether gradients are changed, and whether something on looks back at the parameters before the step."""
        back = any(r.wants_before() and not r.is_off() for _, r in self.program.of("after_step"))
        return bool(self.program.of("grads")), back

    def _moved(self, step: Step, names: list[str]) -> None:
        """Act on the parameters that a step of the optimizer has moved, and on no others."""
        if self.program.of("after_step"):
            act(self.program, self.optimizer, self._named, step, names, self.state, self._values, lambda group: self._moment(group, whole=True))
        if self.program.of("track"):
            params = {name: p.detach() for name, p in self._named.items()}
            self.state = self.program.track(self.state, params, self._values, self._moment(whole=True))
        self.steps, self.micro, self._last = self.steps + 1, 0, names
        self._open.close()

    def describe(self, rows: int | None = None, noise: float | None = None, example: Any = None) -> str:
        """Every parameter with what acts on it and who trains it now, as text; see :func:`temperance.core.describe.describe`.

        A frozen parameter does not move. One that the optimizer does not hold feels the loss and is averaged; nothing acts on it after a step.
        """
        self._follow()
        who = standings(self._named, self.optimizer, self._network.groups(self.optimizer), self._last)
        return describe(self.cocktail, self._network.module, rows, noise, example, who, self.program.wiring)

    # Averages, ending, resuming

    @contextmanager
    def averaged(self, batches: Any = None) -> Generator[nn.Module]:
        """The network with its averaged parameters (EMA, SWA) for the time of a ``with`` block; a no-op without an average.

        A step inside is refused, since the block ends by putting the parameters back.

        Args:
            batches: inputs to re-estimate BatchNorm statistics on, as an iterable of x; without it the averaged network keeps the running ones.
        """
        self._follow()
        named, buffers = self._named, self._network.buffers()
        params = {name: p.detach() for name, p in named.items()}
        inputs = list(batches) if batches is not None else []

        def refresh(p: Any, b: Any) -> Any:
            return refresh_statistics(self.program, p, b, inputs) if inputs else b

        with torch.no_grad():
            new_params, new_buffers = self.program.readout(self.state, params, buffers, self._values, self._moment().progress, refresh)
        within, self._averaging = self._averaging, True
        try:
            with holding({**named, **buffers}, {**new_params, **new_buffers}):
                yield self.model
        finally:
            self._averaging = within

    def detach(self) -> None:
        """Remove every hook; the network and the optimizer are as before, apart from the training done."""
        self._open.close()
        if self._stepping is not None:
            self._stepping.close()
            self._stepping = None
            _ATTACHED.pop(self._network.module, None)

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs beside the states of the network and the optimizer."""
        state = {label: dict(own) for label, own in self.state.items()}
        return {"steps": self.steps, "micro": self.micro, "seed": self.seed, "cocktail": self.cocktail.to_dict(), "state": state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue as if the run had not been interrupted.

        Raises:
            ConfigError: the state belongs to another cocktail or seed.
        """
        if state["cocktail"] != self.cocktail.to_dict() or state["seed"] != self.seed:
            raise ConfigError(
                f"Expected the state of {self.cocktail!r} with seed {self.seed}, "
                f"got that of {Cocktail.from_dict(state['cocktail'])!r} with seed {state['seed']}. Attach the same cocktail and seed first."
            )
        self._follow()
        given: dict[str, dict[str, Tensor]] = {label: own for label, own in state["state"].items() if label in self.state}
        if any(_shapes(own) != _shapes(given.get(label, {})) for label, own in self.state.items()):
            raise ConfigError(
                "The state is that of a network with other parameters. Give the network the layers it had when the state was saved, then load it."
            )
        self.steps, self.micro = int(state["steps"]), int(state["micro"])
        now = self.state
        self.state = {label: {key: t.to(now[label][key], copy=True) for key, t in own.items()} for label, own in given.items()}


def _attached_to(model: nn.Module) -> Attached | None:
    """What is attached to a network; what only its own circle of references still holds has ended."""
    known = _ATTACHED.get(model)
    if known is not None and known() is not None:
        gc.collect()
    return None if known is None else known()


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: t.shape for key, t in state.items()}
