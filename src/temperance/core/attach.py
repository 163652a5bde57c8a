"""A cocktail in anyone's own training loop."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.batch import Batch, full_batch, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, Heads, Opaque, SigmoidCrossEntropy, SquaredError, as_criterion
from temperance.core.errors import ConfigError, expected
from temperance.core.program import Moment, Pass, Program, step_key
from temperance.core.random import key_of
from temperance.core.regularizer import Context
from temperance.core.statistics import refresh_statistics

_ATTACHED: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
SHARDED = ("DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule", "DataParallel")


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
        criterion: ``criterion(out, y) -> scalar``, such as ``nn.CrossEntropyLoss()``; it must accept soft targets where the cocktail makes them.
        seed: of every mask, mixing weight and noise.
        total_steps: planned optimizer steps; needed by schedules and by SWA.
        input_scale: standard deviation of the inputs over the training rows, the unit of noise and attacks (default one).
        target_scale: standard deviation of the targets over the training rows, the unit of noise on them (default one).
        num_classes: for integer targets; found from the first batch if not given.

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
        self.cocktail, self.model, self.optimizer, self.criterion = cocktail, model, optimizer, as_criterion(criterion)
        self.seed, self.total_steps, self.steps, self.micro = seed, total_steps, 0, 0
        self.report: dict[str, Tensor] = {}
        self._outputs: dict[str | None, tuple[int, ...]] = {} if num_classes is None else {None: (0, num_classes)}
        self._open = False
        self._past: dict[str, Tensor] = {}
        self._check()
        constants: dict[str, Any] = {"input_scale": input_scale} if input_scale is not None else {}
        if target_scale is not None:
            constants["target_scale"] = target_scale
        if isinstance(criterion, nn.BCEWithLogitsLoss):  # each output a choice of two, for label smoothing
            constants["tasks"] = "multilabel"
        self.program = Program(cocktail, model, self.criterion, constants)
        self._named = dict(model.named_parameters())
        self._key = step_key(key_of(seed), self._rank()) if self._rank() else key_of(seed)
        self._values = self._strengths()
        self.state: dict[str, Any] = self.program.init({name: p.detach() for name, p in self._named.items()})
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
            model.register_forward_pre_hook(self._enter),
            model.register_forward_hook(self._leave, always_call=True),
        ]
        _ATTACHED[model] = repr(cocktail)

    def _check(self) -> None:
        model, optimizer, cocktail = self.model, self.optimizer, self.cocktail
        if model in _ATTACHED:
            raise ConfigError(f"The network has a cocktail attached already: {_ATTACHED[model]}. Call detach() first, or attach one cocktail that holds both.")
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ConfigError(
                "LBFGS calls its closure several times a step, and masks must hold within a step. Use SGD, Adam or another optimizer without a closure."
            )
        sharded = [name for name in SHARDED if any(cls.__name__ == name for cls in type(model).__mro__)]
        sites = {site for _, r in cocktail.items() for site in r.sites()}
        if sharded and sites & {"around", "weights"}:
            culprits = [type(r).__name__ for _, r in cocktail.items() if set(r.sites()) & {"around", "weights"}]
            raise ConfigError(
                f"{', '.join(culprits)} call the network's parameters directly, which {sharded[0]} does not allow. Leave them out, or train on one process."
            )
        decays = any(group.get("weight_decay", 0.0) for group in optimizer.param_groups)
        culprits = [type(r).__name__ for _, r in cocktail.items() if r.decays and not r.is_off()]
        if decays and culprits:
            raise ConfigError(f"The optimizer decays the weights as well as {culprits[0]}. Set its weight_decay to 0 or leave {culprits[0]} out.")
        timed = [r for _, r in cocktail.items() if r.needs_progress or any(getattr(v, "needs_progress", False) for v in r.values().values())]
        if timed and self.total_steps is None:
            raise ConfigError(
                expected(
                    "total_steps",
                    "attach",
                    "to be the number of optimizer steps planned",
                    None,
                    f"{type(timed[0]).__name__} depends on the progress of training.",
                )
            )

    @staticmethod
    def _rank() -> int:
        distributed = torch.distributed
        return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0

    def _strengths(self) -> dict[str, Tensor]:
        like = next((p for p in self._named.values() if p.is_floating_point()), torch.zeros(()))
        return {name: torch.tensor(value, dtype=like.dtype, device=like.device) for name, value in self.cocktail.strengths().items()}

    def _moment(self, group: Mapping[str, Any] | None = None, whole: bool = False) -> Moment:
        """Where training stands; with ``whole`` for the sites of the whole step, whose numbers are the same on every rank."""
        group = group or self.optimizer.param_groups[0]
        like = next(iter(self._named.values()))
        step = torch.tensor(self.steps, device=like.device)
        share = 0.0 if self.total_steps is None else min(self.steps / self.total_steps, 1.0)
        lr = float(group["lr"])
        first = float(group.get("initial_lr", lr))
        return Moment(
            key=step_key((key_of(self.seed) if whole else self._key).to(like.device), self.steps, 0 if whole else self.micro),
            step=step,
            progress=torch.tensor(share, dtype=like.dtype, device=like.device),
            lr=torch.tensor(lr, dtype=like.dtype, device=like.device),
            lr_factor=torch.tensor(lr / first if first else 1.0, dtype=like.dtype, device=like.device),
        )

    # The loss form

    def loss(self, x: Any, y: Any, weight: Tensor | None = None, labeled: Any = None) -> Tensor:
        """The regularized loss of one minibatch; call ``backward()`` on it.

        Args:
            x: inputs, a tensor or a dict of tensors.
            y: targets as the criterion takes them; integer classes become one-hot where the cocktail needs soft targets.
            weight: row weights (only with losses that temperance knows).
            labeled: bool ``(rows,)``, false where ``y`` is to be ignored, whatever stands there (likewise).

        In evaluation mode (``model.eval()``) it is the plain loss.

        Raises:
            ConfigError: weights or marks for a loss of your own; or the cocktail was detached.
        """
        if not self._hooks:
            raise ConfigError("The cocktail was detached from the network. Attach it again.")
        if isinstance(self.criterion, Opaque) and (weight is not None or labeled is not None):
            name = "weight" if weight is not None else "labeled"
            raise ConfigError(
                f"`{name}` needs a loss that temperance knows, such as nn.CrossEntropyLoss(), nn.MSELoss() or tp.SigmoidCrossEntropy(); yours gives one number."
            )
        targets = self._targets(x, y)
        if labeled is not None:
            targets = map_leaves(_known, targets, labeled)
        batch = full_batch(x, targets, weight, labeled)
        params = dict(self._named)
        buffers = dict(self.model.named_buffers())
        if not self.model.training:
            out, _, _ = self.program.forward(params, buffers, x, "eval")
            return self.criterion(out, batch)
        moment = self._moment()
        self.micro += 1
        seen = {name: buffer.clone() for name, buffer in buffers.items()}  # a pass at evaluation statistics needs them unchanged for its gradient
        total, self.report, after, _ = self.program.loss(params, seen, self.state, self._values, moment, batch)
        self.report = {name: value.detach() for name, value in self.report.items()}
        with torch.no_grad():
            for name, buffer in buffers.items():
                buffer.copy_(after[name])
        return total

    def _targets(self, x: Any, y: Any) -> Any:
        """Targets in floats: classes one-hot where the loss or the cocktail takes soft ones."""
        if isinstance(self.criterion, Heads):
            return {name: self._target(x, y[name], one, name) for name, one, _ in self.criterion.heads}
        return self._target(x, y, self.criterion, None)

    def _target(self, x: Any, y: Any, criterion: Criterion, head: str | None) -> Any:
        if not isinstance(y, Tensor) or y.is_floating_point():
            return y
        like = next(iter(self._named.values()))
        if isinstance(criterion, Opaque) and not any(r.soft_targets for _, r in self.cocktail.items()):
            return y
        if isinstance(criterion, (SquaredError, SigmoidCrossEntropy)):
            return y.to(like.dtype)
        shape = self._shapes(x)[head]
        if y.dim() != len(shape) - 1:
            return y.to(like.dtype)
        return (y.unsqueeze(-1) == torch.arange(shape[-1], device=y.device)).to(like.dtype)

    def _shapes(self, x: Any) -> dict[str | None, tuple[int, ...]]:
        """Shapes of the network's outputs, from one pass at the first minibatch."""
        if not self._outputs:
            with torch.no_grad():
                out, _, _ = self.program.forward(self._named, dict(self.model.named_buffers()), x, "eval")
            self._outputs = {name: tuple(leaf.shape) for name, leaf in (out.items() if isinstance(out, dict) else [(None, out)])}
        return self._outputs

    # The split form, for loops that own their forward pass

    def batch(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The changed minibatch; then call the network and add :meth:`penalty` to your loss.

        Raises:
            ConfigError: the cocktail needs the whole step (``around`` or ``weights`` sites).
        """
        culprits = [type(r).__name__ for _, r in self.cocktail.items() if set(r.sites()) & {"around", "weights"} and not r.is_off()]
        if culprits:
            raise ConfigError(f"{', '.join(culprits)} need the whole step, which the split form cannot give. Use reg.loss(x, y), or leave them out.")
        if not self.model.training:
            return x, y
        moment = self._moment()
        self.micro += 1
        bound = self.program.bind(self._values, moment.progress)

        def context(label: str, site: str, *path: object) -> Context:
            return self.program.context(label, site, moment, self.state, None, *path)

        changed: Batch = self.program.change_batch(bound, full_batch(x, self._targets(x, y)), context)
        self._pass = Pass("train", bound, context)
        self._open = True
        return changed.x, changed.y

    def penalty(self) -> Tensor:
        """The sum of the penalties for the minibatch of the last :meth:`batch`."""
        like = next(iter(self._named.values()))
        if not self._open or not self.model.training:
            return torch.zeros((), dtype=like.dtype, device=like.device)
        one = self._pass
        parts = self.program.penalties(one.bound, self._named, one.taps, one.context)
        self.report = {name: value.detach() for name, value in parts.items()}
        self._open = False
        return torch.stack([value.to(like.dtype) for value in parts.values()]).sum() if parts else torch.zeros((), dtype=like.dtype, device=like.device)

    def _enter(self, module: nn.Module, args: Any) -> None:
        if self._open and module.training and self.program.current is None:
            self.program.current = self._pass

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._open and self.program.current is self._pass:
            self.program.current = None

    # Around the optimizer's step

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self.program.wants_before():
            self._past = {name: p.detach().clone() for name, p in self._named.items()}
        if not self.program.of("grads"):
            return
        if getattr(optimizer, "grad_scale", None) is not None:
            raise ConfigError(
                "A fused optimizer under GradScaler unscales inside its step, so gradients cannot be changed before it. "
                "Use fused=False, or call scaler.unscale_(optimizer) first."
            )
        grads = {name: p.grad for name, p in self._named.items() if p.grad is not None}
        with torch.no_grad():
            params = {name: self._named[name].detach() for name in grads}
            changed = self.program.change_grads(grads, params, self.state, self._values, self._moment(whole=True))
            for name, grad in grads.items():
                grad.copy_(changed[name])

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        names = {id(p): name for name, p in self._named.items()}
        groups: dict[float, list[str]] = {}
        for group in optimizer.param_groups:
            groups.setdefault(float(group["lr"]), []).extend(names[id(p)] for p in group["params"] if id(p) in names)
        by_lr = {float(group["lr"]): group for group in optimizer.param_groups}
        with torch.no_grad():
            if self.program.of("after_step"):
                metric = _metric(optimizer, names) if self.program.wants_metric() else {}
                for lr, members in groups.items():
                    old = {name: self._named[name].detach() for name in members}
                    moment = replace(self._moment(by_lr[lr], whole=True), metric=metric, before=self._past)
                    new = self.program.after_step(old, self.state, self._values, moment)
                    for name, value in new.items():
                        if value is not old[name]:
                            self._named[name].copy_(value)
            self._past = {}
            if self.program.of("track"):
                params = {name: p.detach() for name, p in self._named.items()}
                self.state = self.program.track(self.state, params, self._values, self._moment(whole=True))
        self.steps, self.micro, self._open = self.steps + 1, 0, False

    # Averages, ending, resuming

    @contextmanager
    def averaged(self, batches: Any = None) -> Generator[nn.Module]:
        """The network with its averaged parameters (EMA, SWA) for the time of a ``with`` block; a no-op without an average.

        Args:
            batches: inputs to re-estimate BatchNorm statistics on, as an iterable of x; without it the averaged network keeps the running ones.
        """
        params = {name: p.detach() for name, p in self._named.items()}
        buffers = dict(self.model.named_buffers())
        inputs = list(batches) if batches is not None else []

        def refresh(p: Any, b: Any) -> Any:
            return refresh_statistics(self.program, p, b, inputs) if inputs else b

        with torch.no_grad():
            new_params, new_buffers = self.program.readout(self.state, params, buffers, self._values, self._moment().progress, refresh)
            saved = {name: t.clone() for name, t in (*params.items(), *buffers.items())}
            for name, t in (*new_params.items(), *new_buffers.items()):
                (self._named[name] if name in self._named else buffers[name]).data.copy_(t)
        try:
            yield self.model
        finally:
            with torch.no_grad():
                for name, t in saved.items():
                    (self._named[name] if name in self._named else buffers[name]).data.copy_(t)

    def detach(self) -> None:
        """Remove every hook; the network and the optimizer are as before, apart from the training done."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.program.close()
        _ATTACHED.pop(self.model, None)

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs beside the states of the network and the optimizer."""
        return {
            "steps": self.steps,
            "micro": self.micro,
            "seed": self.seed,
            "cocktail": self.cocktail.to_dict(),
            "state": {k: dict(v) for k, v in self.state.items()},
        }

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
        self.steps, self.micro = int(state["steps"]), int(state["micro"])
        device = next(iter(self._named.values())).device
        self.state = {label: copy_tree(own, device) for label, own in state["state"].items()}


def _metric(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """What an optimizer of torch that divides its steps divided the last one by, in each coordinate of each parameter."""
    out: dict[str, Tensor] = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            state: dict[str, Any] = optimizer.state.get(p, {})
            if id(p) not in names:
                continue
            if "exp_avg_sq" in state:  # Adam, AdamW, NAdam
                second = state.get("max_exp_avg_sq", state["exp_avg_sq"])
                out[names[id(p)]] = (second / (1.0 - group["betas"][1] ** float(state["step"]))).sqrt() + group["eps"]
            elif "square_avg" in state and "rho" not in group:  # RMSprop; Adadelta's step has a scale of its own beside
                second = state["square_avg"] - state["grad_avg"].square() if group["centered"] else state["square_avg"]
                out[names[id(p)]] = second.sqrt() + group["eps"]
            elif "sum" in state:  # Adagrad
                out[names[id(p)]] = state["sum"].sqrt() + group["eps"]
    return out


def copy_tree(tree: Any, device: torch.device) -> Any:
    """A copy of a tree of tensors on a device."""
    if isinstance(tree, dict):
        return {name: copy_tree(value, device) for name, value in tree.items()}  # pyright: ignore[reportUnknownVariableType] -- a tree of tensors
    return tree.to(device, copy=True)


def _known(target: Tensor, labeled: Tensor) -> Tensor:
    """Zeros in place of targets that are to be ignored: NaN there would reach the gradient."""
    return torch.where(labeled.reshape(-1, *[1] * (target.dim() - 1)), target, torch.zeros_like(target))
