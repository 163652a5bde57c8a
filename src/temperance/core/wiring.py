"""How the modules of a network hang together, as one forward pass shows it: which of their outputs a later layer reads."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from temperance.core.draws import drawn
from temperance.core.errors import ConfigError
from temperance.core.hooks import bare, uncompiled

PARALLEL = "DistributedDataParallel"

# Operators that put tensors beside each other or standardize them: a parameter among their arguments does not make a layer.
JOINS = frozenset(
    "cat stack copy index_put _index_put_impl index_copy index_add scatter scatter_add scatter_reduce slice_scatter select_scatter diagonal_scatter "
    "masked_scatter masked_fill fill native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm "
    "_batch_norm_with_update _batch_norm_no_update native_layer_norm native_group_norm _fused_rms_norm _prelu_kernel".split()
)


@dataclass(frozen=True)
class Call:
    """One call of a module in a forward pass.

    Attributes:
        name: of the module, the first of its names.
        index: how many calls of the module came before.
        layer: equal for calls that the same weights lead to, such as the steps of a recurrent cell.
        feeds: whether a later layer, an operation with parameters that mixes units, reads what comes of its output.
    """

    name: str
    index: int
    layer: int
    feeds: bool


@dataclass(frozen=True)
class Wiring:
    """The calls of a network's modules, in their order.

    Attributes:
        calls: of every module but the network itself.
        certain: false where it is a guess from the order of declaration.
    """

    calls: tuple[Call, ...]
    certain: bool = True


def declared(model: nn.Module) -> Wiring:
    """The wiring that the order of declaration suggests; certain for nested ``nn.Sequential`` alone.

    Example:
        >>> [call.feeds for call in declared(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Tanh())).calls]
        [True, True, False, False]
    """
    names = {id(module): name for name, module in model.named_modules()}
    order = [module for name, module in model.named_modules(remove_duplicate=False) if name]
    certain = all(type(m) is nn.Sequential or (type(m).__module__.startswith("torch.nn.") and not list(m.children())) for m in model.modules())
    last = max((i for i, m in enumerate(order) if any(is_lazy(p) or p.dim() > 1 for p in m.parameters(recurse=False))), default=-1)
    counts: dict[int, int] = {}
    calls: list[Call] = []
    for i, module in enumerate(order):
        index = counts[id(module)] = counts.get(id(module), -1) + 1
        calls.append(Call(names[id(module)], index, i, i < last))
    return Wiring(tuple(calls), certain)


def observed(model: nn.Module, *args: Any, **kwargs: Any) -> Wiring:
    """The wiring that a forward pass shows: nothing is drawn from a global generator, and neither the network nor its inputs are changed.

    The pass is in evaluation mode. Where it leaves out modules, another one follows in which those that are not of ``torch.nn`` believe to be trained.

    Every tensor of the pass carries the calls it depends on. Where an operation reads it together with a parameter, and mixes units (products of matrices,
    convolutions, whatever is not elementwise), these calls feed a layer. An elementwise scale or shift, and normalization, are no layers.

    Args:
        model: the network.
        args: a few rows of inputs, as the network takes them.
        kwargs: likewise.
    """
    names = {module: name for name, module in model.named_modules() if name}
    inner = bare(model)
    if type(inner).__name__ == PARALLEL:
        inner = inner.get_submodule("module")
    found = _passed(inner, names, (args, kwargs), False)
    seen = {call.name for call in found.calls}
    if all(name in seen for module, name in names.items() if module is not inner and type(module).forward is not nn.Module.forward):
        return found
    try:
        trained = _passed(inner, names, (args, kwargs), True)
    except Exception:  # as of a network that asks for targets in training
        return found
    return trained if not seen >= {call.name for call in trained.calls} else found


def _passed(inner: nn.Module, names: dict[nn.Module, str], given: tuple[Any, Any], training: bool) -> Wiring:
    params = {name: p.detach() for name, p in inner.named_parameters()}
    buffers = {name: b.clone() for name, b in inner.named_buffers()}
    inputs, named = tree_map(lambda leaf: leaf.detach().clone() if isinstance(leaf, Tensor) else leaf, given)
    tracer = _Tracer(params, (inputs, named))
    me = threading.get_ident()

    def note(module: nn.Module, args: Any, output: Any) -> Any:
        if threading.get_ident() != me:
            return None
        first = output[0] if isinstance(output, tuple) and output else output
        if not isinstance(first, Tensor):
            return None
        own = tracer.call(names[module], first)
        return (own, *output[1:]) if isinstance(output, tuple) else own

    handles = [module.register_forward_hook(note) for module in names if module is not inner]
    try:
        with _mode(inner, training), uncompiled(inner), _without_cache(), tracer:
            functional_call(inner, {**params, **buffers}, inputs, named)
    finally:
        for handle in handles:
            handle.remove()
    return tracer.wiring()


class _Origin(NamedTuple):
    """What a tensor of the pass comes from: the inputs or not, calls since the last layer, the weights of that layer, weights alone."""

    data: bool = False
    calls: frozenset[int] = frozenset()
    layer: frozenset[int] = frozenset()
    weights: frozenset[int] = frozenset()


class _Tracer(TorchDispatchMode):
    """Follows origins from operator to operator; tensors that share memory share one."""

    supports_higher_order_operators = True

    def __init__(self, params: dict[str, Tensor], x: Any) -> None:
        super().__init__()
        self._origins: dict[int, _Origin] = {}
        self._kept: list[Tensor] = []  # so that no address is used twice
        self._calls: list[tuple[str, int, frozenset[int]]] = []
        self._counts: dict[str, int] = {}
        self._feeding: set[int] = set()
        for place, tensor in enumerate(params.values()):
            self._put(tensor, _Origin(weights=frozenset({place})))
        for leaf in _tensors(x):
            self._put(leaf, _Origin(data=True))

    def _put(self, tensor: Tensor, origin: _Origin) -> None:
        self._origins[_address(tensor)] = origin
        self._kept.append(tensor)

    def _of(self, tensor: Tensor) -> _Origin:
        return self._origins.get(_address(tensor), _Origin())

    def call(self, name: str, output: Tensor) -> Tensor:
        """Note a call of a module; returns its output in memory of its own, so that its inputs are not taken for it."""
        own = output.clone()
        origin, place = self._of(own), len(self._calls)
        index = self._counts[name] = self._counts.get(name, -1) + 1
        self._calls.append((name, index, origin.layer))
        self._put(own, origin._replace(data=True, calls=origin.calls | {place}))
        return own

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = self._run(func, args, dict(kwargs or {}))
        given, made = _tensors((args, kwargs)), _tensors(out)
        origins = [self._of(tensor) for tensor in given]
        data = [origin for origin in origins if origin.data]
        weights = _all(origin.weights for origin in origins if not origin.data)
        if not data:
            found = _Origin(weights=weights)
        elif weights and _mixes(func, [tensor for tensor, origin in zip(given, origins, strict=True) if origin.data], made):
            self._feeding.update(*(origin.calls for origin in data))
            found = _Origin(data=True, layer=weights)
        else:
            found = _Origin(data=True, calls=_all(origin.calls for origin in data), layer=_all(origin.layer for origin in data))
        if data or weights:
            for tensor in made:
                self._put(tensor, found)
        return out

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The result of an operator; one that draws takes its numbers from a generator of its own."""
        if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
            name, device = func.overloadpacket.__name__, next((t.device for t in _tensors((args, kwargs))), torch.device("cpu"))
            if name == "native_dropout":
                return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
            with suppress(ConfigError):  # one that takes no generator
                return drawn(func, args, kwargs, torch.Generator(kwargs.get("device") or device))
        return func(*args, **kwargs)

    def wiring(self) -> Wiring:
        """The calls so far."""
        layers: list[tuple[str, frozenset[int]]] = []
        out: list[Call] = []
        for place, (name, index, weights) in enumerate(self._calls):
            same = next((i for i, (other, led) in enumerate(layers) if other == name and led & weights), None)
            if same is None:
                same = len(layers)
                layers.append((name, weights))
            out.append(Call(name, index, same, place in self._feeding))
        return Wiring(tuple(out))


def _mixes(func: Any, data: list[Tensor], made: list[Tensor]) -> bool:
    """Whether an operator with a parameter among its arguments makes new units of old ones; elementwise ones do where they spread data over new entries."""
    name = getattr(getattr(func, "overloadpacket", func), "__name__", str(func)).rstrip("_")
    if name in JOINS:
        return False
    if torch.Tag.pointwise in getattr(func, "tags", ()):
        return any(tensor.numel() > max(leaf.numel() for leaf in data) for tensor in made)
    return True


def _all(sets: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset[int]().union(*sets)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _address(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage] -- the address of the storage, not of what it holds, which may be nothing
    except (RuntimeError, NotImplementedError):  # sparse tensors have no storage
        return id(tensor)


@contextmanager
def _without_cache() -> Generator[None]:
    """What autocast casts here is not kept: torch 2.9 would hand a weight's copy that has no history to the training pass after it."""
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(kept)


@contextmanager
def _mode(model: nn.Module, training: bool) -> Generator[None]:
    """Evaluation mode, or training mode but for the modules of torch, which then draw random numbers and count."""
    flags = [(module, module.training) for module in model.modules()]
    for module, _ in flags:
        module.training = training and not type(module).__module__.startswith("torch.nn.")
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag
