"""``tp.diagnose_data``: what a practitioner would look for in data before training on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temperance.core.ambient import plainly
from temperance.diagnose.finding import Diagnosis
from temperance.job.sources import read_rows


@plainly
def diagnose_data(
    data: Any,
    target: str | Sequence[str] | None = None,
    *,
    test: Any = None,
    ignore: Sequence[str] = (),
    task: str | None = None,
    group: str | None = None,
    time: str | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Look at data before anything is trained: leaks, twins across the split, drift, order, identifiers, rare rows.

    What ``temperance fit`` warns of is found here too, with its numbers. What is within noise is fine.

    - ``columns``: identifiers, columns that give the target away, free text.
    - ``twins`` and ``near_twins``: test rows that a row which trains equals, in all columns or in all but one.
    - ``order``: targets of neighboring rows that are alike, so that rows cannot be split at random.
    - ``drift``: with test rows of their own, or a split by ``time`` or ``group``: columns whose values differ.
    - ``task``, ``rows``, ``split``: a guessed task, too few test rows, classes that nothing teaches.

    Args:
        data: a table or a file of one, or images, as for :func:`temperance.job.fit_table`.
        target: the column to predict; several in a list; none for images.
        test: test rows, likewise; a fifth of the data by default.
        ignore: columns to leave out.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``, if the guess is wrong.
        group: column whose rows stay together.
        time: column by which the latest rows test.
        seed: of the split.

    Returns:
        a :class:`~temperance.diagnose.Diagnosis`: a finding for each check, with ``value``, ``verdict`` and ``remedy``.

    Raises:
        ConfigError, DataError: what cannot be used, with the way out.

    Example:
        >>> import numpy as np, pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> walk = np.cumsum(rng.normal(size=400))  # each row is close to the one before it
        >>> found = diagnose_data(pd.DataFrame({"x": rng.normal(size=400), "y": walk}), "y")
        >>> [finding.name for finding in found if finding.verdict == "look"], found["order"].value["correlation"] > 0.9
        (['order'], True)
    """
    rows = read_rows(data, target, test=test, ignore=ignore, task=task, group=group, time=time, seed=seed)
    held = len(rows.split.test)
    return Diagnosis(tuple(rows.findings), notes=tuple(rows.notes), rows=(len(rows.data) - held, held))
