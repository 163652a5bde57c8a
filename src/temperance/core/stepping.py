"""What one step of an optimizer moved, and what happens around it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError
from temperance.core.hooks import Hook

Group = dict[str, Any]


@dataclass(eq=False)
class Step:
    """One step of the optimizer on its way.

    Attributes:
        groups: the parameter group of everything the optimizer is about to move: what it holds of the network, trainable and with a gradient.
        before: parameters as they were before the step, where someone asks for them.
    """

    groups: dict[str, Group]
    before: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    grads: dict[str, tuple[Tensor, int]] = field(default_factory=dict[str, tuple[Tensor, int]])

    def has(self, name: str, grad: Tensor | None) -> bool:
        """Whether this gradient is the one that the step was prepared with."""
        known, version = self.grads.get(name, (None, 0))
        return grad is not None and known is grad and grad._version == version


class Stepping:
    """Stands around the steps of one optimizer.

    Args:
        optimizer: the optimizer watched.
        params: the network's parameters as they are now, by name.
        find: the group of every parameter that the step will move, or a ConfigError.
        ready: called when the gradients are there, before they are used.
        moved: called after a step that moved something, with the step and the names.
        wishes: whether ``ready`` changes gradients, so that it must not be left out; and whether ``moved`` needs the parameters before the step.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        params: Callable[[], Mapping[str, nn.Parameter]],
        find: Callable[[], dict[str, Group]],
        ready: Callable[[Step], None],
        moved: Callable[[Step, list[str]], None],
        wishes: Callable[[], tuple[bool, bool]],
    ) -> None:
        self.optimizer, self.params, self.find, self.ready, self.moved, self.wishes = optimizer, params, find, ready, moved, wishes
        self._step: Step | None = None
        self._armed = False
        self._versions: dict[str, int] = {}
        self._before: dict[str, Tensor] = {}
        self._handles = [optimizer.register_step_pre_hook(Hook(self._begin)), optimizer.register_step_post_hook(Hook(self._end))]

    def close(self) -> None:
        """Leave the optimizer alone."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._step, self._armed, self._versions, self._before = [], None, False, {}, {}

    def _begin(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: dict[str, Any]) -> Any:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if isinstance(closure, _Closure) and closure.owner is self:  # an optimizer that steps by calling the step of its base
            return None
        self._armed = True
        self._remember()
        if not callable(closure):
            self.gradients_are_there()
            return None
        self._step = None
        once = _Closure(self, closure)
        return (args, {**kwargs, "closure": once}) if "closure" in kwargs else ((*args[:1], once, *args[2:]), kwargs)

    def _remember(self) -> None:
        """Where the parameters are before the step; torch's own optimizers need not be asked whether they moved them."""
        copies = self.wishes()[1] or not self._is_torchs()
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        with torch.inference_mode(False):
            here = {name: p for name, p in self.params().items() if id(p) in held}
            self._versions = {name: p._version for name, p in here.items()}
            self._before = {name: p.detach().clone() for name, p in here.items()} if copies else {}

    def _is_torchs(self) -> bool:
        return type(self.optimizer).__module__.startswith("torch.optim")

    def gradients_are_there(self) -> None:
        """Prepare the step: who will move, and with which gradients."""
        step, params = Step(self.find()), self.params()
        if self._step is not None and all(self._step.has(name, params[name].grad) for name in step.groups):
            return  # an optimizer that steps by calling the step of its base, or a step tried again
        with plainly(next((p.device for p in params.values()), torch.device("cpu"))):
            self.ready(step)
        for name in step.groups:
            grad = params[name].grad
            assert grad is not None
            step.grads[name] = (grad, grad._version)
        self._step = step

    def _end(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not self._armed:  # the step of a base class has been seen to already
            return
        if self._step is None:
            if self.wishes()[0]:
                raise ConfigError(
                    "The optimizer did not call its closure, so the gradients it used could not be changed. "
                    "Call backward() before optimizer.step() and give it no closure."
                )
            self.gradients_are_there()
        step, self._step, self._armed = self._step, None, False
        assert step is not None
        params = self.params()
        names = [] if _skipped(optimizer) else [name for name in step.groups if self._has_moved(name, params[name])]
        step.before, self._before = self._before, {}
        if names:
            with plainly(params[names[0]].device):
                self.moved(step, names)

    def _has_moved(self, name: str, p: Tensor) -> bool:
        """An optimizer that is not torch's may skip a step, or write where the version of a tensor does not count."""
        return self._is_torchs() or p._version != self._versions.get(name) or not torch.equal(p, self._before[name])


@contextmanager
def plainly(device: torch.device) -> Generator[None]:
    """Without gradients and in the precision of the tensors, whatever settings stand around the step."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


class _Closure:
    """The closure of one step: once it is through, the gradients are there."""

    def __init__(self, owner: Stepping, run: Callable[..., Any]) -> None:
        self.owner, self.run, self.called = owner, run, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.called:
            raise ConfigError(
                f"{type(self.owner.optimizer).__name__} calls its closure several times per step, and masks must hold within a step. "
                "Use SGD, Adam or another optimizer that takes one gradient a step."
            )
        self.called = True
        out = self.run(*args, **kwargs)
        self.owner.gradients_are_there()
        return out


def _skipped(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a fused optimizer under a GradScaler met a gradient that is not finite, and stayed."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)
