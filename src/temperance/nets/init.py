"""First weights from an explicit seed. The global random number generators are never touched."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from temperance.core.draws import Draws
from temperance.core.errors import ConfigError, expected
from temperance.nets.schemes import SCHEMES

Module = TypeVar("Module", bound=nn.Module)
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def _number(seed: int, name: str) -> int:
    """A 63-bit number for a seed and a name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "little") >> 1


def _generator(seed: int, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(_number(seed, name))


def _fill(parameter: Tensor, generator: torch.Generator, draw: str, scale: float = 1.0) -> None:
    """Draw on the CPU in single precision or better and copy, so that the numbers do not depend on the device."""
    values = torch.empty(parameter.shape, dtype=torch.float64 if parameter.dtype == torch.float64 else torch.float32)
    if draw == "box":
        values.uniform_(-scale, scale, generator=generator)
    elif draw == "normal":
        values.normal_(0, scale, generator=generator)
    else:
        SCHEMES[draw](values, generator)
    parameter.copy_(values)


def _resets(module: nn.Module) -> bool:
    """Whether a module has a ``reset(generator)`` method; one that takes no generator resets something else."""
    method = getattr(module, "reset", None)
    return callable(method) and "generator" in inspect.signature(method).parameters


def _reset(module: nn.Module, generator: torch.Generator) -> None:
    if all(parameter.device.type == "cpu" for parameter in module.parameters()):
        module.reset(generator)  # pyright: ignore[reportCallIssue]
    else:
        twin = copy.deepcopy(module).cpu()
        twin.reset(generator)  # pyright: ignore[reportCallIssue]
        module.load_state_dict(twin.state_dict())


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _walk(module: nn.Module, prefix: str = "", scheme: str = "torch") -> Iterator[tuple[str, nn.Module, str]]:
    """Modules with their names and schemes, children first, without the insides of those that reset themselves."""
    scheme = getattr(module, "init_scheme", scheme)
    if not _resets(module):
        for name, child in module.named_children():
            yield from _walk(child, _join(prefix, name), scheme)
    yield prefix, module, scheme


def _rule(module: nn.Module) -> str | None:
    if _resets(module):
        return "reset"
    if isinstance(module, nn.Linear | _ConvNd):
        return "fan"
    if isinstance(module, nn.Embedding):
        return "embedding"
    if isinstance(module, _NORMS):
        return "norm"
    if callable(getattr(module, "reset_parameters", None)) or callable(getattr(module, "_reset_parameters", None)):
        return "torch"
    return None


def unreached(module: nn.Module) -> list[str]:
    """Names of the parameters that :func:`initialize` leaves as they are, because no rule knows them.

    They belong to modules without ``reset(generator)`` and ``reset_parameters()``. Build such a network with :func:`build_seeded`.

    Example:
        >>> class Scale(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.scale = nn.Parameter(torch.ones(1))
        >>> unreached(nn.Sequential(nn.Linear(2, 2), Scale()))
        ['1.scale']
    """
    done: set[int] = set()
    for _, child, _ in _walk(module):
        rule = _rule(child)
        if rule is not None:
            done |= {id(parameter) for parameter in child.parameters(recurse=rule == "reset")}
    return [name for name, parameter in module.named_parameters() if id(parameter) not in done]


def check_scheme(name: str, owner: str, scheme: str) -> str:
    """The scheme, or an error that names the argument."""
    if scheme != "torch" and scheme not in SCHEMES:
        raise ConfigError(expected(name, owner, f"to be one of {', '.join(map(repr, ('torch', *SCHEMES)))}", scheme))
    return scheme


@torch.no_grad()
def initialize(module: nn.Module, seed: int, scheme: str | None = None) -> None:
    r"""Redraw every parameter of a network, in place, from a seed.

    Each parameter has a random stream of its own, made of the seed and its name: adding a layer does not shift the numbers of another, and
    the global generators are not touched. Without a scheme the rules are torch's own.

    ============================  =====================================================================================
    module                        parameters
    ============================  =====================================================================================
    one with ``reset(generator)``  whatever that draws; it answers for its children too
    Linear, Conv                  weights and bias uniform in :math:`\pm 1 / \sqrt{\text{inputs of a unit}}`
    Embedding                     normal, standard deviation 0.1; the row of ``padding_idx`` zero
    BatchNorm, LayerNorm, ...     weight 1, bias 0, running statistics as new
    other torch modules           their ``reset_parameters()``
    ============================  =====================================================================================

    A parameter of a module without any of these keeps its value, see :func:`unreached`. A parameter with two names (tied) is drawn once.

    With a scheme, weights of Linear and Conv follow it and their biases are zero. A unit has m inputs, an input goes to n units:

    ================  ===================================================================================================
    scheme            weights
    ================  ===================================================================================================
    ``"uniform"``     uniform in :math:`\pm 1 / \sqrt{m}`
    ``"xavier"``      uniform in :math:`\pm \sqrt{6 / (m + n)}`: variance 2 / (m + n) (Glorot and Bengio, 2010), for tanh
    ``"he"``          normal of variance 2 / m (He et al., 2015), for rectifiers
    ``"orthogonal"``  orthonormal rows or columns, whichever are fewer (Saxe et al., 2014), for deep and recurrent networks
    ``"sparse"``      15 inputs of a unit standard normal, the others zero (Martens, 2010): the size of an activation does not depend on m
    ================  ===================================================================================================

    Args:
        module: the network.
        seed: any integer.
        scheme: one of these, or ``"torch"``. By default what the network says (``MLP(init="he")``; a module's attribute ``init_scheme`` counts for the
            layers inside), else ``"torch"``.

    Raises:
        ConfigError: a seed that is no integer, or an unknown scheme.

    Source:
        He et al., *Delving deep into rectifiers* (2015), in the variant that ``torch.nn.Linear`` uses.

    Example:
        >>> first, second = nn.Linear(3, 2), nn.Linear(3, 2)
        >>> initialize(first, seed=7); initialize(second, seed=7)
        >>> torch.equal(first.weight, second.weight)
        True
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(expected("seed", "initialize", "as an integer", seed))
    if scheme is not None:
        check_scheme("scheme", "initialize", scheme)
    done: set[int] = set()
    for name, child, own_scheme in _walk(module):
        rule = _rule(child)
        if rule is None:
            continue
        own = {key: value for key, value in child.named_parameters(recurse=rule == "reset") if id(value) not in done}
        if rule == "reset":
            if own:
                _reset(child, _generator(seed, name))
        elif rule == "torch":
            if own:
                reset = getattr(child, "reset_parameters", None) or child._reset_parameters  # pyright: ignore[reportAttributeAccessIssue]
                with Draws(_number(seed, name)):
                    reset()  # pyright: ignore[reportCallIssue]
        elif rule == "norm":
            if isinstance(child, _NormBase):
                child.reset_running_stats()
            for key, parameter in own.items():
                parameter.fill_(0 if key == "bias" else 1)
        elif rule == "embedding":
            for key, parameter in own.items():
                _fill(parameter, _generator(seed, _join(name, key)), "normal", 0.1)
                if isinstance(child, nn.Embedding) and child.padding_idx is not None:
                    parameter[child.padding_idx] = 0
        else:
            weight = child.weight
            assert isinstance(weight, Tensor)
            bound, chosen = 1 / math.sqrt(weight[0].numel()), scheme or own_scheme
            for key, parameter in own.items():
                if chosen == "torch":
                    _fill(parameter, _generator(seed, _join(name, key)), "box", bound)
                elif parameter.dim() < 2:
                    parameter.zero_()
                else:
                    _fill(parameter, _generator(seed, _join(name, key)), chosen)
        done |= {id(parameter) for parameter in own.values()}


def build_seeded(factory: Callable[[], Module], seed: int) -> Module:
    """Call ``factory``, whose draws from torch's global generators come from one of their own (:class:`~temperance.core.draws.Draws`).

    Args:
        factory: builds a network; its own first weights are kept.
        seed: any integer.

    Returns:
        What ``factory`` returns, with first weights that depend on ``seed`` alone.

    Example:
        >>> before = torch.get_rng_state()
        >>> net = build_seeded(lambda: nn.Linear(3, 2), seed=7)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    with Draws(_number(seed, "")):
        return factory()
