"""Wording shared by the messages of this package: which row, which names, what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np


def row_name(position: int) -> str:
    """The row at a 0-based position, as people count: the header is no row.

    Example:
        >>> row_name(0)
        'row 1'
    """
    return f"row {int(position) + 1}"


def shown(value: object) -> str:
    """A value as Python writes it, without the type of NumPy.

    Example:
        >>> shown(np.float64(1.5)), shown("a")
        ('1.5', "'a'")
    """
    return repr(value.item() if isinstance(value, np.generic) else value)


def first(mask: np.ndarray) -> int:
    """Position of the first true value."""
    return int(np.argmax(mask))


def listing(names: Iterable[object], most: int = 10) -> str:
    """Names in backticks, cut after ``most``.

    Example:
        >>> listing(["a", "b", "c"], most=2)
        '`a`, `b` and 1 more'
    """
    names = list(names)
    text = ", ".join(f"`{name}`" for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def near(name: object, names: Sequence[object]) -> str:
    """Names close to a wrong one, or else all of them.

    Example:
        >>> near("incom", ["age", "income"])
        'Did you mean `income`?'
        >>> near("zzz", ["age", "income"])
        'There are: `age`, `income`.'
    """
    folded = {str(other).casefold(): other for other in names}
    close = get_close_matches(str(name).casefold(), list(folded), n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(f'`{folded[match]}`' for match in close)}?" if close else f"There are: {listing(names)}."


def ignore_hint(name: object) -> str:
    """How a column is left out, in Python and in the shell."""
    return f"leave the column out (ignore=[{str(name)!r}], --ignore {name})"
