"""Cells that a spreadsheet would run as a formula when it opens a CSV file."""

from __future__ import annotations

import re
from collections import Counter

import pandas as pd
from pandas.api import types

_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠].", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)([eE][+-]?\d+)?\s?%?")
SHIELD = "'"


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would take a text for a formula: it begins with =, +, -, @, a tab or a line break, and is neither a number nor that sign alone.

    Source: OWASP, CSV Injection.

    Example:
        >>> is_formula("=1+1"), is_formula("@SUM(A1)"), is_formula("-5"), is_formula("+5 %"), is_formula("-"), is_formula("a=b")
        (True, True, False, False, False, False)
    """
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


def shielded(cells: pd.Series) -> tuple[pd.Series, Counter[str]]:
    """The cells with an apostrophe before every text that is a formula, and how often each of these was met.

    Example:
        >>> cells, met = shielded(pd.Series(["=a", "b", "=a"]))
        >>> cells.tolist(), dict(met)
        (["'=a", 'b', "'=a"], {'=a': 2})
    """
    if types.is_numeric_dtype(cells.dtype):
        return cells, Counter()
    met = Counter({text: int(n) for text, n in cells.value_counts().items() if isinstance(text, str) and is_formula(text)})
    return cells.map(lambda cell: SHIELD + cell if cell in met else cell) if met else cells, met
