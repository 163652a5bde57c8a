"""Someone else's network as it stands at each look: nothing of it is kept, so that it may change while a cocktail is attached."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from temperance.core.errors import ConfigError
from temperance.core.hooks import bare
from temperance.core.program import Program

Shape = tuple[tuple[Any, ...], ...]


class Network:
    """A network, and which of its tensors were there at the last look.

    Args:
        model: the network as the user holds it; compiled or not, it is the same parameters.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.module = model, bare(model)
        self._shape: Shape = ()
        self._known: dict[str, tuple[weakref.ref[Tensor], torch.dtype, torch.device]] = {}
        self._names, self._left = WeakTensorKeyDictionary(), WeakTensorKeyDictionary()

    def params(self) -> dict[str, nn.Parameter]:
        """The parameters by name, tied ones once."""
        return dict(self.module.named_parameters())

    def buffers(self) -> dict[str, Tensor]:
        """The buffers by name."""
        return dict(self.module.named_buffers())

    def look(self) -> tuple[bool, bool, set[str]]:
        """What has changed since the last look: whether modules or shapes have, whether tensors have, and the names whose tensor is another one."""
        params, shape = self.params(), _shape_of(self.module)
        kinds = {name: (p.dtype, p.device) for name, p in params.items()}
        new = {name for name, p in params.items() if name not in self._known or self._known[name][0]() is not p}
        other = bool(new) or kinds != {name: known[1:] for name, known in self._known.items()}
        reshaped, self._shape = shape != self._shape, shape
        if other:
            self._known = {name: (weakref.ref(p), *kinds[name]) for name, p in params.items()}
            for name, p in params.items():
                self._names[p] = name
        return reshaped, other, new

    def __getstate__(self) -> dict[str, Any]:
        """With the tensors themselves, so that those of a copied network take their places."""
        known = {name: (ref(), *kind) for name, (ref, *kind) in self._known.items()}
        return {**self.__dict__, "_known": known, "_names": list(self._names.items()), "_left": list(self._left.items())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._known = {name: (weakref.ref(p), *kind) for name, (p, *kind) in state["_known"].items() if p is not None}
        self._names, self._left = WeakTensorKeyDictionary(), WeakTensorKeyDictionary()
        for kept, pairs in ((self._names, state["_names"]), (self._left, state["_left"])):
            for p, value in pairs:
                kept[p] = value

    def leave(self, optimizer: torch.optim.Optimizer) -> None:
        """Take note of the trainable parameters that an optimizer does not hold: something else trains them, and they are left alone."""
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for p in self.params().values():
            if p.requires_grad and id(p) not in held:
                self._left[p] = True

    def groups(self, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
        """The parameter group of every parameter that the optimizer holds."""
        names = {id(p): name for name, p in self.params().items()}
        return {names[id(p)]: group for group in optimizer.param_groups for p in group["params"] if id(p) in names}

    def held(self, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
        """The same, for a pass that is to train them.

        Raises:
            ConfigError: it holds tensors that the network has replaced.
        """
        params, found = self.params(), self.groups(optimizer)
        names = {id(p): name for name, p in params.items()}
        olds = [self._names.get(p) for group in optimizer.param_groups for p in group["params"] if id(p) not in names]
        lost = [name for name in olds if name in params and name not in found and params[name].requires_grad]
        if lost:
            raise ConfigError(
                f"The optimizer holds tensors that the network has replaced ({_some(lost)}), so it would train what nobody uses. "
                "Give it the new ones with optimizer.add_param_group, or call detach(), build the optimizer again and attach again."
            )
        return found

    def moving(self, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
        """The parameter group of everything that the next step moves: held, trainable and with a gradient.

        Raises:
            ConfigError: also for parameters with a gradient that nobody is known to train.
        """
        held, params = self.held(optimizer), self.params()
        open_ones = {name: p for name, p in params.items() if p.requires_grad and p.grad is not None}
        idle = [name for name, p in open_ones.items() if name not in held and p not in self._left]
        if idle:
            raise ConfigError(
                f"{_some(idle)} became trainable after attach, and the optimizer does not hold them, so they would stay as they are. "
                "Call optimizer.add_param_group, or freeze them with requires_grad_(False); where another optimizer trains them, detach() and attach again."
            )
        return {name: held[name] for name in open_ones if name in held}


def _shape_of(module: nn.Module) -> Shape:
    """What selectors can see."""
    modules = tuple((name, type(m)) for name, m in module.named_modules(remove_duplicate=False))
    return modules, tuple((name, p.shape) for name, p in module.named_parameters(remove_duplicate=False))


def _some(names: list[str], n: int = 4) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def carried(program: Program, state: Mapping[str, Any], params: Mapping[str, Tensor], new: Collection[str]) -> dict[str, Any]:
    """The state of every regularizer for the parameters as they are now.

    What belongs to a parameter that stays is kept, cast and moved along with it; for a new one it is begun, for one that is gone dropped. An entry belongs to
    a parameter if it has its name, or ends in ``:name``; what belongs to none is kept.
    """
    begun = program.init({name: p.detach() for name, p in params.items()})

    def one(label: str, key: str, start: Tensor) -> Tensor:
        old = state.get(label, {}).get(key)
        if old is None or key.rpartition(":")[2] in new or old.shape != start.shape:
            return start
        return old.to(dtype=start.dtype, device=start.device)

    return {label: {key: one(label, key, start) for key, start in own.items()} for label, own in begun.items()}
