"""Random numbers of a block of code from a generator of its own, whatever others draw meanwhile."""

from __future__ import annotations

import random
import sys
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from temperance.core.errors import ConfigError

_aten: Any = torch.ops.aten
_LIKE: dict[Any, str] = {_aten.rand_like: "uniform_", _aten.randn_like: "normal_"}
_CHANCES = ("p", "dropout_p", "dropout")  # an operator that drops with probability zero draws nothing,
_SWITCHES = ("train", "training")  # and neither does one that is not in training


class Draws(TorchDispatchMode):
    """Within ``with Draws(seed):`` what this thread draws from torch's global generators comes from a generator of the block.

    Torch's own generators are neither read nor written, so that other threads may draw from them at the same time. On a CPU the numbers are those that
    the same code draws after ``torch.manual_seed(seed)``. Code that passes a generator keeps it.

    Args:
        seed: any integer below 2^64.

    Attributes:
        drew: names of the operators that drew so far.

    Raises:
        ConfigError: an operator that takes no generator, such as attention with dropout on some devices.

    Example:
        >>> before = torch.get_rng_state()
        >>> with Draws(3):
        ...     first = torch.rand(2)
        >>> torch.equal(first, torch.rand(2, generator=torch.Generator().manual_seed(3)))
        True
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}
        self.drew: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        arguments = func._schema.arguments
        given = {a.name: a.default_value for a in arguments} | {a.name: value for a, value in zip(arguments, args, strict=False)} | kwargs
        idle = any(given.get(name) == 0.0 for name in _CHANCES) or any(given.get(name) is False for name in _SWITCHES)
        if given.get("generator") is not None or idle:
            return func(*args, **kwargs)
        self.drew.append(str(func))
        return drawn(func, args, kwargs, self._generator(given))

    def _generator(self, given: dict[str, Any]) -> torch.Generator:
        tensors = [value for value in given.values() if isinstance(value, Tensor)]
        device = tensors[0].device if tensors else torch.device(given.get("device") or "cpu")
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


def drawn(func: Any, args: Any, kwargs: dict[str, Any], generator: torch.Generator) -> Any:
    """The operator's result with this generator in place of the global one."""
    packet = func.overloadpacket
    if any(a.name == "generator" for a in func._schema.arguments):
        return func(*args, **{**kwargs, "generator": generator})
    if packet in _LIKE:
        return getattr(torch.empty_like(args[0], **kwargs), _LIKE[packet])(generator=generator)
    if packet is _aten.randint_like:
        low, high = (0, args[1]) if len(args) == 2 else args[1:3]
        return torch.empty_like(args[0], **kwargs).random_(low, high, generator=generator)
    if packet is _aten.native_dropout:
        x, p = args[:2]
        kept = torch.empty_like(x, dtype=torch.bool).bernoulli_(1.0 - p, generator=generator)
        return x * kept * (0.0 if p == 1.0 else 1.0 / (1.0 - p)), kept
    names = [a.name for a in func._schema.arguments]
    for overload in packet.overloads():
        other = getattr(packet, overload)
        if {a.name for a in other._schema.arguments} == {*names, "generator"}:
            return other(*args, **{**kwargs, "generator": generator})
    raise ConfigError(
        f"{func} draws from torch's global generator and takes no other, so its numbers cannot be replayed. Use nn.Dropout, or switch its dropout off."
    )


class PythonDraws:
    """Within the block, this thread is stopped before it draws from Python's global generator (module :mod:`random`), which so stays as it is.

    Where another profiler is at work in this thread, it sees nothing.

    Raises:
        RuntimeError: in the code that was about to draw.

    Example:
        >>> with PythonDraws() as seen:
        ...     _ = random.Random(0).random()
        ...     random.randint(0, 3)
        Traceback (most recent call last):
        ...
        RuntimeError: draws from Python's global generator
        >>> seen.drew
        True
    """

    def __init__(self) -> None:
        self.drew = False
        self._mine = sys.getprofile() is None
        self._global = random.random.__self__  # pyright: ignore[reportFunctionMemberAccess] -- a bound method of the module's one generator

    def __enter__(self) -> PythonDraws:
        if self._mine:
            sys.setprofile(self._look)
        return self

    def __exit__(self, *reason: object) -> None:
        if self._mine:
            sys.setprofile(None)

    def _look(self, frame: Any, event: str, arg: Any) -> None:
        if event == "c_call" and getattr(arg, "__self__", None) is self._global:
            self.drew = True
            raise RuntimeError("draws from Python's global generator")
