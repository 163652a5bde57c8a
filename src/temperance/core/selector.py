"""Which parameters and which hidden units a regularizer acts on."""

from __future__ import annotations

import difflib
import fnmatch
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import nn

from temperance.core.errors import ConfigError
from temperance.core.wiring import Call, Wiring, declared

NORMS: tuple[type[nn.Module], ...] = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)  # pyright: ignore[reportPrivateUsage] -- torch has no public base of its batch and instance norms
EMBEDDINGS: tuple[type[nn.Module], ...] = (nn.Embedding, nn.EmbeddingBag)
ACTIVATIONS = frozenset(
    "ReLU ReLU6 LeakyReLU PReLU RReLU ELU SELU CELU GELU SiLU Mish Tanh Sigmoid Softplus Softsign Hardswish Hardtanh Hardsigmoid LogSigmoid "
    "Softshrink Hardshrink Tanhshrink Threshold GLU".split()
)
SELECTORS: dict[str, type[Selector]] = {}


def is_embedding(module: nn.Module) -> bool:
    """Embedding tables, and modules that say so with a class attribute ``embedding = True``."""
    return isinstance(module, EMBEDDINGS) or bool(getattr(module, "embedding", False))


class Owned(NamedTuple):
    """A parameter with all of its names and of the modules that hold it: several where it is tied."""

    parameter: nn.Parameter
    names: tuple[str, ...]
    owners: tuple[nn.Module, ...]


def _owned(model: nn.Module) -> dict[str, Owned]:
    """Every parameter under the first of its names, whichever of its owners was registered first."""
    modules = dict(model.named_modules(remove_duplicate=False))
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    return {own[0]: Owned(p, tuple(own), tuple(modules[n.rpartition(".")[0]] for n in own)) for p, own in names.items()}


@dataclass(frozen=True)
class Units:
    """The calls of modules that a selector means.

    Attributes:
        layers: by module and call, the layer it belongs to, counted from zero.
        whole: modules all of whose calls are meant, those too that no pass has shown yet.
        drawn: whether one layer is drawn in every step.
    """

    layers: Mapping[str, Mapping[int, int]]
    whole: frozenset[str] = frozenset()
    drawn: bool = False

    def layer(self, name: str, call: int) -> int | None:
        """The layer of a call; ``None`` where the call is not meant."""
        own = self.layers.get(name)
        if own is None or call in own or name not in self.whole:
            return None if own is None else own.get(call)
        return list(own.values())[-1] if own else 0

    @property
    def count(self) -> int:
        """How many layers."""
        return len({layer for own in self.layers.values() for layer in own.values()})


@dataclass(frozen=True)
class Selector:
    """Names of parameters, or of modules whose outputs are meant.

    A selector that matches nothing is an error which names near matches.
    """

    selects: ClassVar[str] = "parameters"
    drawn: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        SELECTORS[cls.__name__] = cls

    def match(self, model: nn.Module) -> list[str]:
        """The matching names, in the model's order; possibly none. Of modules, as far as the order of declaration tells."""
        if self.selects != "modules":
            raise TypeError(f"{type(self).__name__} selects nothing by itself.")
        return list(dict.fromkeys(call.name for call in self.calls(model, declared(model))))

    def calls(self, model: nn.Module, wiring: Wiring) -> list[Call]:
        """The matching calls of modules, in the order of the pass; possibly none."""
        raise TypeError(f"{type(self).__name__} selects no modules.")

    def candidates(self, model: nn.Module) -> list[str]:
        """Modules that might match, whatever a pass shows."""
        return self.match(model)

    @property
    def innermost(self) -> Selector:
        """The selector that names things, inside those that choose among them."""
        return self

    def resolve(self, model: nn.Module, owner: str) -> tuple[str, ...]:
        """The matching names.

        Raises:
            ConfigError: nothing matches; the message names the regularizer, near matches and the way out.
        """
        found = self.match(model)
        if not found:
            raise ConfigError(f"`where` of {owner} is {self!r} and matches nothing in {type(model).__name__}. {self.hint(model)}")
        return tuple(found)

    def hint(self, model: nn.Module) -> str:
        names = [name for name, _ in model.named_parameters()]
        return f"Its parameters are {_some(names)}."


def _some(names: list[str], n: int = 8) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "") if names else "none"


@dataclass(frozen=True)
class Weights(Selector):
    """Weight matrices and kernels, decided by module type, then by dimension: never biases, norms or embedding tables.

    A tied tensor is what any of its owners makes of it: a table that is the output layer's matrix as well is a weight matrix, whichever is registered first.

    Example:
        >>> Weights().match(nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2)))
        ['1.weight', '3.weight']
    """

    def match(self, model: nn.Module) -> list[str]:
        inside = {id(inner) for module in model.modules() if is_embedding(module) for inner in module.modules()}

        def weighs(owner: nn.Module) -> bool:
            return not isinstance(owner, NORMS) and id(owner) not in inside

        return [name for name, own in _owned(model).items() if own.parameter.dim() >= 2 and any(map(weighs, own.owners))]


@dataclass(frozen=True)
class AllParameters(Selector):
    """Every parameter, biases, norms and embedding tables too."""

    def match(self, model: nn.Module) -> list[str]:
        return [name for name, _ in model.named_parameters()]


@dataclass(frozen=True)
class Named(Selector):
    """Parameters (or modules, for hidden sites) one of whose names fits one of the shell patterns, which ``|`` parts.

    Example:
        >>> Named("0.*").match(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
        ['0.weight', '0.bias']
    """

    pattern: str

    def match(self, model: nn.Module) -> list[str]:
        return [name for name, own in _owned(model).items() if any(map(self._fits, own.names))]

    def calls(self, model: nn.Module, wiring: Wiring) -> list[Call]:
        wanted = set(self.candidates(model))
        return [call for call in wiring.calls if call.name in wanted]

    def candidates(self, model: nn.Module) -> list[str]:
        return self.match_modules(model)

    def match_modules(self, model: nn.Module) -> list[str]:
        """The modules that fit, each under the first of its names."""
        first = {module: name for name, module in model.named_modules()}
        fitting = [module for name, module in model.named_modules(remove_duplicate=False) if name and self._fits(name)]
        return [first[module] for module in dict.fromkeys(fitting)]

    def _fits(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, part.strip()) for part in self.pattern.split("|"))

    def hint(self, model: nn.Module) -> str:
        names = [name for name, _ in model.named_parameters()] + [name for name, _ in model.named_modules() if name]
        near = difflib.get_close_matches(self.pattern, names, n=4, cutoff=0.4)
        return f"Near names: {_some(near)}." if near else super().hint(model)


@dataclass(frozen=True)
class OfType(Selector):
    """Weights of the modules of one type, by class name; a tied tensor where any of its owners is of the type.

    Example:
        >>> OfType("Linear").match(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        ['0.weight']
    """

    type_name: str

    def match(self, model: nn.Module) -> list[str]:
        return [name for name, own in _owned(model).items() if own.parameter.dim() >= 2 and any(_is_a(owner, self.type_name) for owner in own.owners)]


@dataclass(frozen=True)
class Hidden(Selector):
    """Outputs of activation modules that a layer with parameters reads: hidden units, never output units.

    A forward pass decides, call by call: one ``nn.ReLU`` between layers and at the output is acted on between layers alone. What lies between an
    activation and the output besides (an elementwise scale or shift, normalization, pooling) makes no hidden unit of it. Until a pass is seen, the
    order of declaration stands in for it.

    Example:
        >>> Hidden().match(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Sigmoid()))
        ['1']
    """

    selects: ClassVar[str] = "modules"

    def calls(self, model: nn.Module, wiring: Wiring) -> list[Call]:
        wanted = set(self.candidates(model))
        return [call for call in wiring.calls if call.feeds and call.name in wanted]

    def candidates(self, model: nn.Module) -> list[str]:
        return [name for name, module in model.named_modules() if name and any(cls.__name__ in ACTIVATIONS for cls in type(module).__mro__)]

    def hint(self, model: nn.Module) -> str:
        found = self.candidates(model)
        if found:
            return (
                f"No layer reads what its activation modules give ({_some(found)}): they are output units, which are left alone. "
                "To act on them all the same, name them: where='NAME'."
            )
        return (
            "The network has no activation modules (nn.ReLU and the like; F.relu has no module). "
            "Use where=tp.selectors.outputs_of(nn.Linear, except_output=True) or name modules."
        )


@dataclass(frozen=True)
class Nothing(Selector):
    """No hidden unit: what ``where=None`` means, for regularizers that can act on the inputs alone."""

    selects: ClassVar[str] = "modules"

    def calls(self, model: nn.Module, wiring: Wiring) -> list[Call]:
        return []

    def hint(self, model: nn.Module) -> str:
        return "It acts on hidden units; say which, for example where=tp.selectors.outputs_of(nn.Linear, except_output=True)."


@dataclass(frozen=True)
class OutputsOf(Selector):
    """Outputs of the modules of one type, by class name; see :func:`outputs_of`."""

    selects: ClassVar[str] = "modules"
    type_name: str
    except_output: bool = True

    def calls(self, model: nn.Module, wiring: Wiring) -> list[Call]:
        wanted = set(self.candidates(model))
        return [call for call in wiring.calls if call.name in wanted and (call.feeds or not self.except_output)]

    def candidates(self, model: nn.Module) -> list[str]:
        return [name for name, module in model.named_modules() if name and _is_a(module, self.type_name)]

    def hint(self, model: nn.Module) -> str:
        types = sorted({type(module).__name__ for name, module in model.named_modules() if name})
        return f"Its module types are {_some(types)}; except_output={self.except_output} leaves out output layers, whose output no later layer reads."


def _is_a(module: nn.Module, type_name: str) -> bool:
    return any(cls.__name__ == type_name for cls in type(module).__mro__)


def outputs_of(module_type: type[nn.Module] | str, *, except_output: bool = True) -> OutputsOf:
    """Outputs of every module of this type, for hidden sites; ``except_output`` leaves out output layers, one per head: no later layer reads them.

    Example:
        >>> outputs_of(nn.Linear).match(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
        ['0']
    """
    return OutputsOf(module_type if isinstance(module_type, str) else module_type.__name__, except_output)


def modules_matching(selector: Selector, model: nn.Module, owner: str, wiring: Wiring | None = None) -> Units:
    """Resolve a selector for a hidden site.

    Args:
        selector: what is meant.
        model: the network.
        owner: of the selector, for messages.
        wiring: what a pass has shown; without it the order of declaration stands in.

    Raises:
        ConfigError: nothing matches, or the selector means parameters.
    """
    if selector.selects != "modules" and not isinstance(selector.innermost, Named):
        raise ConfigError(
            f"`where` of {owner} is {selector!r}, which selects parameters; {owner} acts on hidden units. Use tp.selectors.outputs_of(...) or a module name."
        )
    wiring = declared(model) if wiring is None else wiring
    found, candidates = selector.calls(model, wiring), selector.candidates(model)
    if not candidates or not (found or isinstance(selector, Named) or not wiring.certain):
        kind = "no module of" if isinstance(selector, Named) else "nothing in"
        raise ConfigError(f"`where` of {owner} is {selector!r} and matches {kind} {type(model).__name__}. {selector.hint(model)}")
    order = list(dict.fromkeys((call.name, call.layer) for call in found))
    layers: dict[str, dict[int, int]] = {name: {} for name in candidates} if isinstance(selector, Named) else {}
    for call in found:
        layers.setdefault(call.name, {})[call.index] = order.index((call.name, call.layer))
    calls = Counter(call.name for call in wiring.calls)
    return Units(layers, frozenset(name for name, own in layers.items() if len(own) == calls[name]), selector.drawn)


def parameters_matching(selector: Selector, model: nn.Module, owner: str) -> tuple[str, ...]:
    """Resolve a selector for parameter sites: names of parameters.

    Raises:
        ConfigError: nothing matches, or the selector means modules.
    """
    if selector.selects != "parameters" or selector.drawn:
        raise ConfigError(
            f"`where` of {owner} is {selector!r}, which selects hidden units; {owner} acts on parameters. "
            "Use a name pattern, tp.selectors.Weights() or tp.selectors.AllParameters()."
        )
    return selector.resolve(model, owner)


def selector_of(value: Any, owner: str) -> Selector:
    """A selector from a selector, from a string pattern, or from None (no hidden units at all).

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(value, Selector):
        return value
    if isinstance(value, str):
        return Named(value)
    if value is None:
        return Nothing()
    example = "where='encoder.*' or where=tp.selectors.outputs_of(nn.Linear)"
    raise ConfigError(f"Expected `where` of {owner} to be a selector or a name pattern, got {value!r}. For example {example}.")
