"""How a group of members trains: batched under vmap, or one network after another; and how many at once."""

from __future__ import annotations

import copy
import importlib
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from temperance.core.batch import map_leaves, rows_of
from temperance.core.draws import Draws, PythonDraws
from temperance.core.errors import ConfigError
from temperance.core.registry import REGISTRY
from temperance.core.regularizer import Regularizer
from temperance.core.selector import Named

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
CACHE_BYTES = 12 << 20
DEFAULT_MEMORY = "4G"


@dataclass(frozen=True)
class Way:
    """How a network trains in a population.

    Attributes:
        vmapped: one batched program, or one network after another.
        why: the reason, for people.
    """

    vmapped: bool
    why: str


def choose_way(model: nn.Module, x: Any, device: torch.device) -> Way:
    """Whether the network's steps run batched: decided by its module types, then by a trial on two rows."""
    for name, module in model.named_modules():
        kind = type(module).__name__
        if isinstance(module, nn.RNNBase):
            return Way(False, f"{kind} ({name}) cannot run under vmap; RecurrentNet of temperance.nets can")
        if torch.nn.utils.parametrize.is_parametrized(module):
            return Way(False, f"{kind} ({name}) is parametrized, and its parameters cannot be stacked")
        if isinstance(module, nn.modules.conv._ConvNd) and device.type == "cpu":
            return Way(False, f"{kind} ({name}): a batch of convolutions is slower than one after another on a CPU")
    params = {n: torch.stack([p.detach(), p.detach()]) for n, p in model.named_parameters()}
    buffers = {n: torch.stack([b.detach(), b.detach()]) for n, b in model.named_buffers()}
    rows = map_leaves(lambda leaf: torch.stack([leaf[:4], leaf[:4]]), x)

    def trial(p: Any, b: Any, rows: Any) -> Any:
        return functional_call(model, (p, {name: value.clone() for name, value in b.items()}), (rows,))

    try:
        with torch.no_grad():
            torch.vmap(trial)(params, buffers, rows)
    except Exception as error:  # whatever vmap cannot do is told as the reason, and the loop takes over
        said = (str(error).splitlines() or [""])[0][:120]
        return Way(False, f"vmap cannot run it ({type(error).__name__}: {said})")
    return Way(True, "one batched program")


def parse_memory(text: str | int) -> int:
    """Bytes of a memory setting such as ``"4G"``, ``"500M"`` or a number of bytes.

    Example:
        >>> parse_memory("4G") == 4 * 2**30
        True
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", str(text), re.IGNORECASE)
    if not found or float(found[1]) <= 0:
        raise ConfigError(f"Expected `memory` to be written like 4G or 500M, got {text!r}.")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _size(n: int) -> str:
    """Bytes for people."""
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} bytes"


def bytes_a_member(model: nn.Module, x: Any, batch_size: int, slots: int, states: int) -> tuple[int, int]:
    """Estimated (resting, working) bytes of one member: from static sizes alone, never from free memory.

    Resting: parameters, best parameters, optimizer moments and regularizer states. Working: gradients, and the outputs of every module for
    one batch, each with its gradient, its mask and two temporaries.
    """
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    extra = sum(b.numel() * b.element_size() for b in model.buffers())
    outputs = 0
    rows = rows_of(x)

    def count(module: nn.Module, args: Any, out: Any) -> None:
        nonlocal outputs
        if isinstance(out, Tensor):
            outputs += out.numel() * out.element_size()

    handles = [m.register_forward_hook(count) for m in model.modules() if not list(m.children())]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(x)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    activations = outputs * batch_size // max(rows, 1)
    return (2 + slots + states) * (size + extra), 2 * size + 5 * activations


class OverMemory(ConfigError, MemoryError):
    """More members than the memory setting holds: want of memory, as :func:`~temperance.core.device.out_of_memory` tells it."""


def holds(resting: int, working: int, memory: int, rows_bytes: int = 0) -> int:
    """How many members the memory setting holds, one of them at work.

    Example:
        >>> holds(100, 50, 1000), holds(2000, 50, 1000)
        (9, 0)
    """
    return max(0, (memory - working - rows_bytes) // max(resting, 1))


def chunk_size(resting: int, working: int, members: int, memory: int, rows_bytes: int = 0) -> int:
    """How many members train at once within the memory setting; also few enough that their activations stay near the cache.

    Raises:
        OverMemory: so many members do not fit.
    """
    each = working + rows_bytes
    free = memory - members * resting
    if free < each or memory < each + resting:
        need = each + members * resting
        raise OverMemory(
            f"Expected `memory` to hold {members} member{'s' if members != 1 else ''} of {_size(resting)} and one at work of {_size(each)}, "
            f"together {_size(need)}, got {_size(memory)}. "
            "Raise --memory, or lower the batch size or the number of members (folds count)."
        )
    near_cache = max(8, CACHE_BYTES // max(1, working) if working else members)
    return max(1, min(members, free // each, max(8, min(64, near_cache * 4))))


def absorb(model: nn.Module) -> tuple[nn.Module, list[Regularizer]]:
    """A copy of the network whose modules that drop units are identities, and the keyed regularizers that stand in for them.

    Raises:
        ConfigError: the network draws random numbers in a way that keys cannot replace.
    """
    copied = copy.deepcopy(model)
    found: list[Regularizer] = []
    identities: dict[nn.Module, nn.Module] = {}
    for name, module in list(copied.named_modules(remove_duplicate=False)):
        kind = type(module)
        made = _stand_in(module, name)
        if made is not None:
            if module not in identities:  # one module under two names is one that is called twice
                found.append(made)
            parent = copied.get_submodule(name.rpartition(".")[0]) if "." in name else copied
            setattr(parent, name.rpartition(".")[2], identities.setdefault(module, nn.Identity()))
        elif isinstance(module, (nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)):
            raise ConfigError(
                f"{kind.__name__} ({name or 'the network'}) draws from torch's generator, which a population cannot replay. "
                "Leave it out, and put a regularizer of hidden units in the cocktail."
            )
        elif isinstance(module, nn.RNNBase) and module.dropout:
            raise ConfigError(
                f"{kind.__name__} ({name}) has dropout={module.dropout}, which draws from torch's generator. "
                "Set it to 0 and put a regularizer of hidden units in the cocktail."
            )
    return copied, found


def _stand_in(module: nn.Module, name: str) -> Regularizer | None:
    importlib.import_module("temperance.regularizers")  # fills the registry
    label = "absorbed_" + re.sub(r"\W", "_", name)
    return next((made for cls in REGISTRY.values() if (made := cls.stand_in(module, Named(name), label)) is not None), None)


def refuse_own_randomness(model: nn.Module, x: Any, device: torch.device) -> None:
    """Refuse a network whose training pass draws from a global generator: neither a population nor a replay could repeat its numbers.

    Raises:
        ConfigError: with the way out.
    """
    rows = map_leaves(lambda leaf: leaf[:8], x)
    params = {name: p.detach() for name, p in model.named_parameters()}
    outputs: list[Any] = []
    drew = False
    for _ in range(2):  # whatever else it may draw from, NumPy say, shows in the second pass
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        of_torch, of_python = Draws(0), PythonDraws()
        try:
            with torch.no_grad(), of_torch, of_python:
                outputs.append(functional_call(model, (params, buffers), (rows,)))
        except Exception:  # a network that cannot run on these rows says so when it trains
            if not (of_torch.drew or of_python.drew):
                return
        drew = drew or bool(of_torch.drew) or of_python.drew
        if drew:
            break
    drew = drew or not all(
        torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in zip(*map(tree_leaves, outputs), strict=True) if isinstance(a, torch.Tensor)
    )
    if drew:
        raise ConfigError(
            f"{type(model).__name__} draws random numbers from a global generator in its forward pass (F.dropout, torch.rand, attention with dropout, NumPy), "
            "which a population cannot replay. Use nn.Dropout modules, or a regularizer of hidden units in the cocktail."
        )
