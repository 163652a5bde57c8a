"""Which parameters and which hidden units a regularizer acts on."""

from __future__ import annotations

import difflib
import fnmatch
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from temperance.core.errors import ConfigError

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


def _owners(model: nn.Module) -> dict[str, nn.Module]:
    """Owner module of every parameter, tied tensors once under their first name."""
    modules = dict(model.named_modules())
    return {name: modules[name.rpartition(".")[0]] for name, _ in model.named_parameters()}


@dataclass(frozen=True)
class Selector:
    """Names of parameters, or of modules whose outputs are meant.

    A selector that matches nothing is an error which names near matches.
    """

    selects: ClassVar[str] = "parameters"

    def __init_subclass__(cls) -> None:
        SELECTORS[cls.__name__] = cls

    def match(self, model: nn.Module) -> list[str]:
        """The matching names, in the model's order; possibly none."""
        raise TypeError(f"{type(self).__name__} selects nothing by itself.")

    def resolve(self, model: nn.Module, owner: str) -> tuple[str, ...]:
        """The matching names.

        Raises:
            ConfigError: nothing matches; the message names the regularizer, near matches and the mend.
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

    Example:
        >>> Weights().match(nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2)))
        ['1.weight', '3.weight']
    """

    def match(self, model: nn.Module) -> list[str]:
        owners, out = _owners(model), list[str]()
        embedded = tuple(f"{name}." for name, module in model.named_modules() if name and is_embedding(module))
        for name, parameter in model.named_parameters():
            if isinstance(owners[name], NORMS) or is_embedding(owners[name]) or name.startswith(embedded):
                continue
            if parameter.dim() >= 2:
                out.append(name)
        return out


@dataclass(frozen=True)
class AllParameters(Selector):
    """Every parameter, biases, norms and embedding tables too."""

    def match(self, model: nn.Module) -> list[str]:
        return [name for name, _ in model.named_parameters()]


@dataclass(frozen=True)
class Named(Selector):
    """Parameters (or modules, for hidden sites) whose name fits one of the shell patterns.

    Example:
        >>> Named("0.*").match(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
        ['0.weight', '0.bias']
    """

    pattern: str

    def match(self, model: nn.Module) -> list[str]:
        return self._fit([name for name, _ in model.named_parameters()])

    def match_modules(self, model: nn.Module) -> list[str]:
        return self._fit([name for name, _ in model.named_modules() if name])

    def _fit(self, names: list[str]) -> list[str]:
        patterns = [part.strip() for part in self.pattern.split("|")]
        return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]

    def hint(self, model: nn.Module) -> str:
        names = [name for name, _ in model.named_parameters()] + [name for name, _ in model.named_modules() if name]
        near = difflib.get_close_matches(self.pattern, names, n=4, cutoff=0.4)
        return f"Near names: {_some(near)}." if near else super().hint(model)


@dataclass(frozen=True)
class OfType(Selector):
    """Weights of the modules of one type, by class name.

    Example:
        >>> OfType("Linear").match(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        ['0.weight']
    """

    type_name: str

    def match(self, model: nn.Module) -> list[str]:
        owners = _owners(model)
        return [name for name, parameter in model.named_parameters() if _is_a(owners[name], self.type_name) and parameter.dim() >= 2]


@dataclass(frozen=True)
class Hidden(Selector):
    """Outputs of activation modules that a layer with parameters follows: hidden units, never output units.

    Example:
        >>> Hidden().match(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Sigmoid()))
        ['1']
    """

    selects: ClassVar[str] = "modules"

    def match(self, model: nn.Module) -> list[str]:
        modules = [(name, module) for name, module in model.named_modules() if name]
        shared = {name for name, _ in model.named_modules(remove_duplicate=False)}
        out: list[str] = []
        for i, (name, module) in enumerate(modules):
            if type(module).__name__ in ACTIVATIONS:
                later = any(True for _, m in modules[i + 1 :] for _ in m.parameters(recurse=False))
                if later or len(shared) > len(modules) + 1:
                    out.append(name)
        return out

    def hint(self, model: nn.Module) -> str:
        return (
            "The network has no activation modules (nn.ReLU and the like; F.relu has no module). "
            "Use where=tp.outputs_of(nn.Linear, except_output=True) or name modules."
        )


@dataclass(frozen=True)
class Nothing(Selector):
    """No hidden unit: what ``where=None`` means, for regularizers that can act on the inputs alone."""

    selects: ClassVar[str] = "modules"

    def match(self, model: nn.Module) -> list[str]:
        return []

    def hint(self, model: nn.Module) -> str:
        return "It acts on hidden units; say which, for example where=tp.outputs_of(nn.Linear, except_output=True)."


@dataclass(frozen=True)
class OutputsOf(Selector):
    """Outputs of the modules of one type, by class name; see :func:`outputs_of`."""

    selects: ClassVar[str] = "modules"
    type_name: str
    except_output: bool = True

    def match(self, model: nn.Module) -> list[str]:
        found = [name for name, module in model.named_modules() if name and _is_a(module, self.type_name)]
        return found[:-1] if self.except_output else found

    def hint(self, model: nn.Module) -> str:
        types = sorted({type(module).__name__ for name, module in model.named_modules() if name})
        return f"Its module types are {_some(types)}; except_output={self.except_output} leaves out the last one of the type."


def _is_a(module: nn.Module, type_name: str) -> bool:
    return any(cls.__name__ == type_name for cls in type(module).__mro__)


def outputs_of(module_type: type[nn.Module] | str, *, except_output: bool = True) -> OutputsOf:
    """Outputs of every module of this type, for hidden sites; ``except_output`` leaves out the last one, the output layer.

    Example:
        >>> outputs_of(nn.Linear).match(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
        ['0']
    """
    return OutputsOf(module_type if isinstance(module_type, str) else module_type.__name__, except_output)


def modules_matching(selector: Selector, model: nn.Module, owner: str) -> tuple[str, ...]:
    """Resolve a selector for a hidden site: names of modules.

    Raises:
        ConfigError: nothing matches, or the selector means parameters.
    """
    if isinstance(selector, Named):
        found = selector.match_modules(model)
        if not found:
            raise ConfigError(f"`where` of {owner} is {selector!r} and matches no module of {type(model).__name__}. {selector.hint(model)}")
        return tuple(found)
    if selector.selects != "modules":
        raise ConfigError(
            f"`where` of {owner} is {selector!r}, which selects parameters; {owner} acts on hidden units. Use tp.outputs_of(...) or a module name."
        )
    return selector.resolve(model, owner)


def parameters_matching(selector: Selector, model: nn.Module, owner: str) -> tuple[str, ...]:
    """Resolve a selector for parameter sites: names of parameters.

    Raises:
        ConfigError: nothing matches, or the selector means modules.
    """
    if selector.selects != "parameters":
        raise ConfigError(
            f"`where` of {owner} is {selector!r}, which selects hidden units; {owner} acts on parameters. "
            "Use a name pattern, tp.Weights() or tp.AllParameters()."
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
    raise ConfigError(
        f"Expected `where` of {owner} to be a selector or a name pattern, got {value!r}. For example where='encoder.*' or where=tp.outputs_of(nn.Linear)."
    )
