"""What is put on a network or an optimizer of someone else's: for as short as possible, and never passed on to a copy."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from torch import nn


class Hook:
    """A hook that stays behind when its owner is copied or pickled: in the copy it does nothing.

    Example:
        >>> import copy
        >>> copy.deepcopy(Hook(lambda: "seen"))() is None
        True
    """

    def __init__(self, run: Callable[..., Any]) -> None:
        self.run = run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def __reduce__(self) -> Any:
        return _left_behind, ()


def _left_behind() -> Callable[..., None]:
    return nothing


def nothing(*args: object, **kwargs: object) -> None:
    """The hook of a copy."""


def bare(model: nn.Module) -> nn.Module:
    """The network that ``torch.compile(model)`` wraps; any other is itself."""
    while (inner := _wrapped(model)) is not None:
        model = inner
    return model


def _wrapped(model: nn.Module) -> nn.Module | None:
    """What torch's OptimizedModule wraps; it is known by a name, because the class takes a second to import."""
    return dict(model.named_children()).get("_orig_mod")


@contextmanager
def uncompiled(model: nn.Module) -> Generator[None]:
    """Every compiled part of a network runs as it was written, for the time of a pass.

    Compiled code takes no notice of hooks that came later, and ``torch.func`` cannot differentiate through it.
    """
    called = [m for m in model.modules() if m.__dict__.get("_compiled_call_impl") is not None]
    wrapped = [(m, inner) for m in model.modules() if (inner := _wrapped(m)) is not None]
    calls = [(m, "_compiled_call_impl", m.__dict__["_compiled_call_impl"], None) for m in called]
    forwards = [(m, "forward", m.__dict__["forward"], inner.__call__) for m, inner in wrapped]
    for m, name, _, plain in (*calls, *forwards):
        m.__dict__[name] = plain
    try:
        yield
    finally:
        for m, name, compiled, _ in (*calls, *forwards):
            m.__dict__[name] = compiled
