"""Keyword arguments, attributes and methods that have a new name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function or method that still takes arguments by their old names, with a ``DeprecationWarning``.

    Args:
        names: the new name by the old one.

    Raises:
        TypeError: in a call that gives an argument under both names.

    Example:
        >>> @renamed(Y="y")
        ... def fit(X, y):
        ...     return y
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     fit(1, Y=2), str(told[0].message)
        (2, '`Y` of fit is deprecated: write `y`.')
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> R:
            name = type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__
            for old in names.keys() & kwargs.keys():
                new = names[old]
                if new in kwargs:
                    raise TypeError(f"{name}() got `{new}` twice, once under its old name `{old}`")
                warnings.warn(f"`{old}` of {name} is deprecated: write `{new}`.", DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return wrapped

    return decorate


class OldName:
    """An attribute or method under its old name: it leads to the new one, with a ``DeprecationWarning``.

    Example:
        >>> class Net:
        ...     model, module = 3, OldName("model")
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     Net().module, str(told[0].message)
        (3, '`module` of Net is deprecated: write `model`.')
    """

    def __init__(self, new: str) -> None:
        self.new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self.old = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        found = getattr(instance, self.new)
        warnings.warn(f"`{self.old}` of {owner.__name__} is deprecated: write `{self.new}`.", DeprecationWarning, stacklevel=2)
        return found
