"""What is doubtful about the rows and the target: twins across the split, rare classes, a guessed task, few test rows; and a score that says little."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api import types
from torch import Tensor

from temperance.core.batch import leaves_of
from temperance.data import Dataset, Split
from temperance.data.messages import listing
from temperance.train.metrics import Metric

RATIO = 50
LEAST_TEST, LEAST_OF_A_CLASS = 30, 5
WIDE, WIDE_ERROR = 0.1, 0.5  # of the interval of a score: in its own units where 1 is best, and as a share of an error
LEAST_TWINS, SHARE_TWINS = 5, 0.01
MOST_VALUES = 50  # different whole numbers up to which a target may be meant as classes
FEW_CLASSES = 4  # whole numbers up to which a target is hardly meant as amounts
_MIX = np.uint64(0x9E3779B97F4A7C15)


def guess_warning(values: Any, name: str, guessed: str) -> list[str]:
    """A target of whole numbers, which may be classes or amounts."""
    if not isinstance(values, pd.Series) or not types.is_numeric_dtype(values.dtype) or types.is_bool_dtype(values.dtype):
        return []
    known = values.dropna().to_numpy(np.float64)
    different = len(np.unique(known))
    if (known != np.floor(known)).any():
        return []
    if guessed == "classification" and different > FEW_CLASSES:
        return [f"target `{name}` holds {different} different whole numbers and is taken for classes: if they are amounts, add --task regression"]
    if guessed == "regression" and different <= MOST_VALUES:
        return [f"target `{name}` holds {different} different whole numbers and is taken for amounts: if they are classes, add --task classification"]
    return []


def class_warning(data: Dataset, metric: str) -> list[str]:
    """Classes beyond 1:50, where accuracy decides."""
    if data.task != "classification" or metric != "accuracy" or not isinstance(data.y, Tensor):
        return []
    y = data.y[data.labeled] if isinstance(data.labeled, Tensor) else data.y
    counts = y.sum(0)
    rare, common = int(counts.argmin()), int(counts.argmax())
    low, high = int(counts[rare]), int(counts[common])
    if low * RATIO >= high:
        return []
    few = f"class `{data.classes[rare]}` has {low:,} rows and `{data.classes[common]}` {high:,}: accuracy hardly sees it"
    return [f"{few}; decide by --metric balanced_accuracy or --metric average_precision"]


def few_rows_warning(data: Dataset, split: Split) -> list[str]:
    """Test rows that are too few to tell much."""
    rows = torch.as_tensor(split.test, dtype=torch.long)
    if isinstance(data.labeled, Tensor):
        rows = rows[data.labeled[rows]]
    if len(rows) == 0:
        return []
    more = "the score has a wide interval; give more test rows with --test FILE"
    if len(rows) < LEAST_TEST:
        return [f"there are only {len(rows)} test rows: {more}"]
    if data.task != "classification" or not isinstance(data.y, Tensor):
        return []
    counts = data.y[rows].sum(0).long().tolist()
    few = [name for name, n in zip(data.classes, counts, strict=True) if n < LEAST_OF_A_CLASS]
    if not few:
        return []
    what, them = ("1 class has", "it") if len(few) == 1 else (f"{len(few)} classes have", "them")
    where = f"fewer than {LEAST_OF_A_CLASS} of the {len(rows):,} test rows ({listing(few, most=5)})"
    return [f"{what} {where}: what is said of {them} is uncertain; give more with --test FILE"]


def width_warning(metric: Metric, score: Mapping[str, float] | None, n: int) -> list[str]:
    """An interval of the score that is too wide to tell much: 0.1 of a score that is 1 at best, half of an error.

    Args:
        metric: that decides.
        score: its value on test rows, with ``low`` and ``high``.
        n: how many rows these are; of fewer than 30 it was said before training.
    """
    if not score or n < LEAST_TEST:
        return []
    width, most = score["high"] - score["low"], WIDE if metric.greater_is_better else WIDE_ERROR * score["value"]
    if not width > most:
        return []
    wide = f"{width:.2g} wide" if metric.greater_is_better else f"{100 * width / score['value']:.0f} % of it wide"
    return [f"the 95 % interval of the score is {wide}: {n:,} test rows are too few to tell how good the model is; give more with --test FILE"]


def twin_warning(data: Dataset, split: Split) -> list[str]:
    """Test rows whose features, or whose image, another row has too."""
    rest = np.setdiff1d(np.arange(len(data)), split.test)
    if len(split.test) == 0 or len(rest) == 0 or not isinstance(data.y, Tensor):
        return []
    hashes = row_hashes(data.x)
    twins = np.isin(hashes[split.test], hashes[rest])
    count, share = int(twins.sum()), float(twins.mean())
    if count < LEAST_TWINS or share < SHARE_TWINS or not _rare(data, hashes):
        return []
    y = data.y.numpy().view(np.uint8).reshape(len(data), -1)
    both = hashes ^ row_hashes(torch.from_numpy(y.astype(np.int64)))
    other = int((twins & ~np.isin(both[split.test], both[rest])).sum())
    contradict = f", {other:,} of them with another target" if other else ""
    mend = "the score on them may be remembered, not learned; drop the duplicates, or keep twins together and give the test rows with --test FILE"
    what, same = ("rows", "have the same features as a row") if isinstance(data.x, dict) else ("images", "are the same pixel by pixel as one")
    return [f"{count:,} of {len(twins):,} test {what} ({100 * share:.3g} %) {same} that trains{contradict}: {mend}"]


def untaught_warning(data: Dataset, split: Split) -> list[str]:
    """Classes of which a split by group or time leaves no row to learn from."""
    if data.task != "classification" or not isinstance(data.y, Tensor):
        return []
    known = torch.ones(len(data), dtype=torch.bool) if data.labeled is None else data.labeled
    assert isinstance(known, Tensor)
    y = data.y * known[:, None]
    missing = [name for k, name in enumerate(data.classes) if any(not y[torch.as_tensor(train), k].any() for train, _ in split.folds)]
    if not missing:
        return []
    what, them = ("class", "it") if len(missing) == 1 else ("classes", "them")
    where = "among the rows that train" if len(split.folds) == 1 else "among the rows that train in every fold"
    return [f"{what} {listing(missing, most=5)}: the split leaves no row {where}, so scores on {them} are too low"]


def shared_warning(frame: pd.DataFrame, group: str | None, n: int) -> list[str]:
    """Groups of the data that rows of a test file belong to as well; ``n`` rows are the data's."""
    if group is None or n == len(frame):
        return []
    late = frame[group].iloc[n:].dropna()
    count = int(late.isin(frame[group].iloc[:n].dropna()).sum())
    return [f"{count:,} of {len(frame) - n:,} rows of the test file belong to groups of `{group}` that train: their score may be too good"] if count else []


def row_hashes(x: Any) -> np.ndarray:
    """A number for each row, the same for the same values.

    Example:
        >>> h = row_hashes(torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]))
        >>> bool(h[0] == h[2]), bool(h[0] == h[1])
        (True, False)
    """
    leaves = leaves_of(x)
    out = np.zeros(len(leaves[0]), np.uint64)
    for leaf in leaves:
        flat = leaf.reshape(len(leaf), -1)
        codes = (flat + 0.0).numpy().view(np.uint32) if flat.is_floating_point() else flat.numpy().astype(np.uint64)
        for i in range(codes.shape[1]):
            out = (out ^ codes[:, i].astype(np.uint64)) * _MIX
            out ^= out >> np.uint64(29)
    return out


def _rare(data: Dataset, hashes: np.ndarray) -> bool:
    """Whether equal rows are no matter of course, as they are where a few categories make up a row.

    Either one column alone tells the different rows apart, so that equal values in it are equal rows; or the columns say much together: were they
    independent, two rows would agree with the probability Π Σ p², and as they are not, half the bits are taken.
    """
    leaves = leaves_of(data.x)
    bits, width, different = 0.0, sum(leaf[0].numel() for leaf in leaves), len(np.unique(hashes))
    for leaf in leaves:
        flat = leaf.reshape(len(leaf), -1).numpy()
        some = flat[:5000]
        for i in range(some.shape[1]):
            share = np.unique(some[:, i], return_counts=True)[1] / len(some)
            bits -= float(np.log2(np.square(share).sum()))
            if width > 1 and len(share) > 0.1 * len(some):
                values = len(np.unique(flat[:, i]))
                if values >= 0.95 * different and values > 0.1 * len(flat):
                    return True
    return 0.5 * bits > 2 * np.log2(max(2, len(hashes)))
