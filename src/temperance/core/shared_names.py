"""A function that stands where a package of its name does."""

from collections.abc import Callable
from typing import Any


def share_names(function: Callable[..., Any], names: dict[str, Any]) -> None:
    """Let a function lead to what a package holds, so that ``import temperance.search.plans`` works although ``temperance.search`` is a function.

    The function's attributes are from then on those of the package, submodules that are imported later among them. Its name, docstring and signature stay.

    Args:
        function: what ``temperance`` shows under the package's name.
        names: the package's ``globals()``.

    Example:
        >>> def search(data):
        ...     return data
        >>> share_names(search, names := {"plans": 3})
        >>> names["later"] = 4
        >>> search.plans, search.later, search.__name__
        (3, 4, 'search')
    """
    names.update(vars(function))  # such as __wrapped__, from which the signature is read
    function.__dict__ = names
