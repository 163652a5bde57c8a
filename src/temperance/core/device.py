"""Where networks train and predict: the processor, or a graphics card of this machine."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from temperance.core.errors import ConfigError, expected

AUTO, CPU = "auto", "cpu"
PRECISIONS = ("fp32", "bf16")
_NO_DOUBLES = "It has no numbers in double precision, in which draws and schedules are computed. Use 'cpu'."


def cards() -> list[str]:
    """The graphics cards that networks can train on here, as torch calls them.

    Example:
        >>> all(name.startswith("cuda:") for name in cards())
        True
    """
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []


def device_of(given: str | torch.device | None, owner: str = "fit") -> torch.device | None:
    """The device that is asked for.

    Args:
        given: ``"auto"`` (the first graphics card, or the processor where there is none), ``"cpu"``, ``"cuda"`` (the current card), ``"cuda:1"``, a
            ``torch.device``, or ``None``.
        owner: whose argument it is, for the message.

    Returns:
        a device that is there; ``None`` for ``None``: wherever the data are.

    Raises:
        ConfigError: no such device; the message names those that are there.

    Example:
        >>> device_of("cpu"), device_of(None)
        (device(type='cpu'), None)
    """
    if given is None:
        return None
    found = cards()
    if isinstance(given, str) and given == AUTO:
        return torch.device(found[0] if found else CPU)
    try:
        device = torch.device(given) if isinstance(given, str) else given
    except RuntimeError:
        device = None
    allowed = f"to be {', '.join(repr(name) for name in (AUTO, CPU, *found))}"
    if not isinstance(device, torch.device):
        raise ConfigError(expected("device", owner, allowed, given, "Use 'auto' for a graphics card where there is one."))
    if device.type == "mps":
        raise ConfigError(expected("device", owner, allowed, str(given), _NO_DOUBLES))
    unsaid = device.index is None  # pyright: ignore[reportUnnecessaryComparison] -- torch's stubs say that it always has one
    if device.type == "cuda" and unsaid and any(name.startswith("cuda") for name in found):
        device = torch.device("cuda", torch.cuda.current_device())
    if device.type == CPU or str(device) in found:
        return torch.device(CPU) if device.type == CPU else device
    here = "This machine has no graphics card that torch can use. Use 'cpu', or install torch for your card." if not found else "Use one of these."
    raise ConfigError(expected("device", owner, allowed, str(given), here))


def told(device: torch.device) -> str:
    """A device in words: a card with its name.

    Example:
        >>> told(torch.device("cpu"))
        'cpu'
    """
    return f"{device}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def precision_of(given: str, owner: str = "fit") -> str:
    """The precision of products that is asked for.

    Raises:
        ConfigError: none of :data:`PRECISIONS`.

    Example:
        >>> precision_of("bf16")
        'bf16'
    """
    if given not in PRECISIONS:
        raise ConfigError(expected("precision", owner, f"to be {' or '.join(map(repr, PRECISIONS))}", given))
    return given


@contextmanager
def products_in(precision: str, params: Mapping[str, Tensor]) -> Generator[None]:
    """A block in which products of these parameters run in this precision; a network of double precision keeps it."""
    if precision == "fp32":
        yield
        return
    kind = next((p.device.type for p in params.values()), CPU)
    with torch.autocast(kind, dtype=torch.bfloat16, cache_enabled=False):
        yield


def as_computed(tree: Any, params: Mapping[str, Tensor]) -> Any:
    """Outputs and hidden units in the precision of the parameters, so that losses and penalties are computed in it."""
    dtype = next((p.dtype for p in params.values() if p.is_floating_point()), torch.float32)
    return tree_map(lambda t: t.to(dtype) if isinstance(t, Tensor) and t.is_floating_point() else t, tree)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory could not be had.

    Example:
        >>> out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
        True
        >>> out_of_memory(MemoryError()), out_of_memory(ValueError("can't allocate memory"))
        (True, False)
    """
    wanting = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, wanting) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
