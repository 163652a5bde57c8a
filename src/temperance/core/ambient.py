"""What surrounds a call: settings of the thread that a caller may have changed, and that must not change what is computed."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors  # pyright: ignore[reportPrivateUsage] -- torch's own list of what makes tensors

P = ParamSpec("P")
R = TypeVar("R")
_here = threading.local()
_WIDENS = frozenset({Tensor.double, Tensor.to, Tensor.type, Tensor.half, Tensor.bfloat16, Tensor.float})


class _Defaults(TorchFunctionMode):
    """New tensors get a dtype and the CPU where the code does not say which.

    ``torch.set_default_dtype`` holds for the whole process, so it cannot be put back for the time of a call: other threads would see it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ambient = torch.get_default_dtype()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _device_constructors() and kwargs.get("device") is None and kwargs.get("out") is None:
            kwargs["device"] = "cpu"
        out = func(*args, **kwargs)
        if self.ambient == working_dtype() or func in _WIDENS or self._said(args) or self._said(kwargs.values()):
            return out
        return self._narrowed(out)

    def _said(self, values: Any) -> bool:
        """Whether an argument has the ambient dtype itself, or names it."""
        return any(
            value == self.ambient
            if isinstance(value, torch.dtype)
            else self._said(value)
            if isinstance(value, (tuple, list))
            else self._said(value.values())
            if isinstance(value, dict)
            else type(value) not in (str, int, float, bool) and str(getattr(value, "dtype", "")).removeprefix("torch.") == str(self.ambient)[6:]
            for value in values
        )

    def _narrowed(self, out: Any) -> Any:
        if isinstance(out, Tensor):
            return out.to(working_dtype()) if out.dtype == self.ambient and not isinstance(out, nn.Parameter) else out
        return type(out)(map(self._narrowed, out)) if type(out) in (tuple, list) else out


def working_dtype() -> torch.dtype:
    """The dtype of new tensors of this thread: that of the block :func:`plain` it is in, or torch's default."""
    return getattr(_here, "dtype", None) or torch.get_default_dtype()


@contextmanager
def plain(dtype: torch.dtype = torch.float32) -> Generator[None]:
    """Torch's and NumPy's usual settings in this thread, for the time of a block.

    Gradients are on, inference mode and autocast are off, NumPy warns as it does by default, and new tensors are of this dtype and on the CPU where the
    code names no other, whatever the caller has set. All of these belong to the thread; nothing that other threads see is changed.

    Args:
        dtype: of new tensors.

    Example:
        >>> with torch.no_grad(), plain():
        ...     torch.is_grad_enabled()
        True
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        before = getattr(_here, "dtype", None)
        _here.dtype = dtype
        stack.callback(setattr, _here, "dtype", before)
        if before is None and (torch.get_default_dtype() != torch.float32 or torch.get_default_device().type != "cpu"):
            stack.enter_context(_Defaults())
        yield


def dtype_of(model: nn.Module) -> torch.dtype:
    """The dtype of a network's floating parameters; float32 where it has none."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def plainly(function: Callable[P, R]) -> Callable[P, R]:
    """A function or method that runs within :func:`plain`, with the dtype of the first argument that has one, such as a network.

    Example:
        >>> @plainly
        ... def learns():
        ...     return torch.is_grad_enabled()
        >>> with torch.no_grad():
        ...     learns()
        True
    """

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        given = (dtype_of(value) if isinstance(value, nn.Module) else getattr(value, "dtype", None) for value in (*args, *kwargs.values()))
        with plain(next((dtype for dtype in given if isinstance(dtype, torch.dtype) and dtype.is_floating_point), torch.float32)):
            return function(*args, **kwargs)

    return wrapped


def settled(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor that training can use: floating values in this dtype, and not one that inference mode made."""
    if tensor.is_floating_point():
        tensor = tensor.to(dtype)
    return tensor.clone() if tensor.is_inference() else tensor


def trainable(model: nn.Module) -> nn.Module:
    """The network itself, or a copy where inference mode made tensors of it: these cannot take part in gradients."""
    if any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
        return copy.deepcopy(model)
    return model


class Together:
    """A change of the process that threads make together: the first one to come makes it, the last one to leave undoes it.

    For what belongs to the process and to no thread. Threads that each saved and restored it would restore one another's changes.

    Args:
        change: makes the context manager of the change.

    Example:
        >>> from contextlib import nullcontext
        >>> both = Together(nullcontext)
        >>> with both, both:
        ...     both.inside
        2
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Any]]) -> None:
        self._change, self._lock, self._stack, self.inside = change, threading.Lock(), ExitStack(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self.inside == 0:
                self._stack.enter_context(self._change())
            self.inside += 1

    def __exit__(self, *reason: object) -> None:
        with self._lock:
            self.inside -= 1
            if self.inside == 0:
                self._stack.close()


@contextmanager
def _ignoring() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


quiet = Together(_ignoring)  # for libraries that warn of what the user can do nothing about
