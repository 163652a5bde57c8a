"""What :func:`explain` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from temperance.core.shown import in_notebook


@dataclass(eq=False, repr=False)
class Explanation:
    """Which regularizers of the winner help, each difference with its interval.

    Attributes:
        facts: everything, as plain values; in ``explain.json``.
    """

    facts: dict[str, Any]

    def table(self) -> pd.DataFrame:
        """A row for each regularizer: ``regularizer``, ``change`` (``"dropped"`` or ``"added"``), ``value`` with its interval, ``answer``.

        ``value`` is by how much the score is better with it than without it: + is for the regularizer, whether more or less of the metric is better.
        """
        return pd.DataFrame(self.facts["regularizers"], columns=["regularizer", "change", "value", "low", "high", "answer", "seeds", "diverged"])

    @property
    def text(self) -> str:
        """What it says, in sentences."""
        return in_notebook(self, "explained")

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return in_notebook(self, "explanation")
