"""A data set as tensors, resident on one device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from temperance.core.batch import leaves_of, map_leaves
from temperance.core.errors import DataError
from temperance.core.shown import shown
from temperance.data.further import Further

Tree = Tensor | dict[str, Tensor]


@shown
@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows as tensors.

    Attributes:
        x: inputs, a tensor ``(n, ...)`` or a dict of such tensors. Floating leaves are numbers (images where they have four
            dimensions ``(n, channels, height, width)``), integer leaves are category codes.
        y: float32 targets ``(n, outputs)``: one-hot or soft classes, 0/1 labels, or values; a dict of these for several heads.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``; a dict for several heads.
        weight: row weights ``(n,)`` or ``None`` for ones.
        labeled: bool ``(n,)``, false where the target is missing (``None``: all are known); a dict for several heads.
        cardinalities: for tables, the number of codes of each column of ``x["cat"]`` (code 0 is missing or unseen).
        classes: the labels, for classification.
        tangents: directions ``(n, k, ...)`` in the space of x, a leaf each where x is a dict, along which a row keeps its target: what TangentProp reads.
        further: rows beyond these that only train, read from a disk as training comes to them (:class:`~temperance.data.further.Further`). Parts of a data set
            have the same ones.
    """

    x: Tree
    y: Tree
    task: str | dict[str, str]
    weight: Tensor | None = None
    labeled: Tree | None = None
    cardinalities: tuple[int, ...] = ()
    classes: tuple[Any, ...] = ()
    tangents: Tree | None = None
    further: Further | None = None

    def __post_init__(self) -> None:
        sizes = {len(leaf) for leaf in self.leaves()}
        if len(sizes) != 1:
            raise DataError(f"Expected every tensor of a data set to have the same number of rows, got {sorted(sizes)}.")

    def leaves(self) -> list[Tensor]:
        trees = (self.x, self.y, self.weight, self.labeled, self.tangents)
        return [leaf for tree in trees if tree is not None for leaf in leaves_of(tree)]

    def __len__(self) -> int:
        return len(self.leaves()[0])

    @property
    def total(self) -> int:
        """Rows, the further ones among them."""
        return len(self) + (0 if self.further is None else len(self.further))

    @property
    def in_features(self) -> int:
        """Columns of a flat input ``(n, columns)``; of ``x["num"]`` where x is a dict."""
        x = self.x["num"] if isinstance(self.x, dict) else self.x
        return int(x[0].numel())

    @property
    def in_shape(self) -> tuple[int, ...]:
        x = self.x["num"] if isinstance(self.x, dict) else self.x
        return tuple(x.shape[1:])

    @property
    def out_features(self) -> int:
        """Width of the network's output (of a single head)."""
        if isinstance(self.y, dict):
            raise DataError("A data set with several heads has no single out_features; read data.y[head].shape[1].")
        return int(self.y.shape[1])

    def take(self, rows: Any) -> Dataset:
        """The rows at these positions (a tensor, list or array of integers)."""
        index = torch.as_tensor(rows, dtype=torch.long)

        def pick(leaf: Tensor) -> Tensor:
            return leaf[index.to(leaf.device)]

        return self._with(pick)

    def known(self, rows: Any) -> Tensor:
        """Those of these positions whose row has a target; with several heads, at least one."""
        positions = torch.as_tensor(rows, dtype=torch.long)
        if self.labeled is None:
            return positions
        some = torch.stack(leaves_of(self.labeled)).any(0)
        return positions[some[positions]]

    def to(self, device: str | torch.device) -> Dataset:
        def move(leaf: Tensor) -> Tensor:
            return leaf.to(device)

        return self._with(move)

    def _with(self, function: Any) -> Dataset:
        parts = {name: getattr(self, name) for name in ("x", "y", "weight", "labeled", "tangents")}
        return replace(self, **{name: map_leaves(function, part) for name, part in parts.items() if part is not None})


def fingerprint(data: Dataset) -> str:
    """A short hash of the rows, so that who comes back to them knows that they are the same."""
    digest = hashlib.blake2b(digest_size=12)
    for leaf in data.leaves():
        digest.update(np.ascontiguousarray(leaf.cpu().numpy()).tobytes())
    if data.further is not None:
        digest.update(data.further.digest)
    return digest.hexdigest()
