"""Selectors that choose among what another one selects: the first layer, the last, or one drawn in every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import nn

from temperance.core.errors import ConfigError
from temperance.core.selector import SELECTORS as SELECTORS, Hidden, Selector, selector_of  # with those of this file
from temperance.core.wiring import Call, Wiring

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Selector):
    """Some of what another selector selects; hidden layers where none is given."""

    of: Selector | str = Hidden()

    def __post_init__(self) -> None:
        inner = selector_of(self.of, type(self).__name__)
        if inner.drawn:
            raise ConfigError(f"Expected `of` of {type(self).__name__} to be one that draws nothing, got {inner!r}. Put OneOf outside: OneOf(First(...)).")
        object.__setattr__(self, "of", inner)

    @property
    def inner(self) -> Selector:
        """The selector to choose from."""
        assert isinstance(self.of, Selector)
        return self.of

    @property
    def innermost(self) -> Selector:
        return self.inner.innermost

    @property
    def selects(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] -- as the selector inside
        return self.inner.selects

    def match(self, model: nn.Module) -> list[str]:
        return super().match(model) if self.selects == "modules" else self._some(self.inner.match(model))

    def calls(self, model: nn.Module, wiring: Wiring) -> list[Call]:
        found = self.inner.calls(model, wiring)
        kept = self._some(list(dict.fromkeys((call.name, call.layer) for call in found)))
        return [call for call in found if (call.name, call.layer) in kept]

    def candidates(self, model: nn.Module) -> list[str]:
        return self.inner.candidates(model)

    def hint(self, model: nn.Module) -> str:
        return self.inner.hint(model)

    def _some(self, found: list[T]) -> list[T]:
        return found


@dataclass(frozen=True)
class First(Choice):
    """The first of the selected layers, in the order of a forward pass; of parameters, the first that the network lists.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> First().match(net), First("*.weight").match(net)
        (['1'], ['0.weight'])
    """

    def _some(self, found: list[T]) -> list[T]:
        return found[:1]


@dataclass(frozen=True)
class Last(Choice):
    """The last of the selected layers, in the order of a forward pass; of parameters, the last that the network lists.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> Last().match(net), Last("*.weight").match(net)
        (['3'], ['4.weight'])
    """

    def _some(self, found: list[T]) -> list[T]:
        return found[-1:]


@dataclass(frozen=True)
class OneOf(Choice):
    """One of the selected layers, each with equal probability, drawn again in every step: the same in all passes of the step.

    Example:
        >>> import temperance as tp
        >>> tp.Dropout(0.5, where=OneOf(tp.selectors.outputs_of("Linear")))
        Dropout(rate=0.5, input_rate=0.0, where=OneOf(of=OutputsOf(type_name='Linear', except_output=True)))
    """

    drawn: ClassVar[bool] = True
