"""Nearest neighbors by a distance that small movements of an image do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.tangents import image_tangents

_FLAT = 1e-10  # squared sine below which two directions count as one, and length relative to the longest below which a tangent counts as none


def tangent_distance(a: Tensor, b: Tensor, tangents_a: Tensor, tangents_b: Tensor) -> Tensor:
    r"""The two-sided tangent distance of every row of a to every row of b.

    .. math:: d(a, b) = \min_{\alpha, \beta} \lVert a + T_a^\top \alpha - b - T_b^\top \beta \rVert

    solved exactly by projection; tangents may be zero or depend on each other.

    Args:
        a: rows ``(n, d)``.
        b: rows ``(m, d)``.
        tangents_a: ``(n, k, d)``; k may be zero.
        tangents_b: ``(m, k, d)``.

    Returns:
        ``(n, m)`` in double precision.

    Source:
        Simard, Le Cun and Denker, *Efficient pattern recognition using a new transformation distance* (1993).

    Example:
        >>> line = torch.tensor([[[1.0, 0.0]]])
        >>> tangent_distance(torch.tensor([[0.0, 2.0]]), torch.tensor([[5.0, 0.0]]), line, line)
        tensor([[2.]], dtype=torch.float64)
    """
    a, b = a.double(), b.double()
    middle = torch.cat([a, b]).mean(0)
    a, b = a - middle, b - middle
    squared = a.square().sum(1)[:, None] + b.square().sum(1) - 2.0 * a @ b.T
    p, q = _orthonormal(tangents_a.double()), _orthonormal(tangents_b.double())
    if p.shape[1]:
        along_a = (torch.einsum("nkd,nd->nk", p, a)[:, :, None] - torch.einsum("nkd,md->nkm", p, b)).transpose(1, 2)
        along_b = torch.einsum("mkd,nd->nmk", q, a) - torch.einsum("mkd,md->mk", q, b)
        both = torch.einsum("nid,mjd->nmij", p, q)
        rest = along_b - torch.einsum("nmij,nmi->nmj", both, along_a)
        own = torch.diag_embed((q.square().sum(2) > 0).double())
        values, vectors = torch.linalg.eigh(own - both.transpose(-1, -2) @ both)
        shares = torch.einsum("nmji,nmj->nmi", vectors, rest).square()
        new = torch.where(values > _FLAT, shares / values.clamp_min(_FLAT), torch.zeros_like(shares))
        squared = squared - along_a.square().sum(2) - new.sum(2)
    return squared.clamp_min(0.0).sqrt()


def _orthonormal(tangents: Tensor) -> Tensor:
    """Orthonormal directions that span the tangents of each row, zeros in place of missing ones."""
    if not tangents.numel():
        return tangents
    _, lengths, right = torch.linalg.svd(tangents, full_matrices=False)
    kept = lengths > _FLAT * lengths[:, :1].clamp_min(1e-300)
    return torch.where(kept.unsqueeze(-1), right, torch.zeros_like(right))


class TangentDistanceNeighbors(ClassifierMixin, BaseEstimator):
    """Classify a row like the training rows that are nearest by tangent distance.

    The distance of two rows is that of the planes which their tangents span, so that images that differ by a small shift, rotation or
    scaling are close. Every prediction looks at all training rows.

    Args:
        n_neighbors: how many of the nearest rows vote, each alike.
        tangents: ``function(rows) -> (n, k, ...)``, which takes a tensor of rows in the shape given and returns their tangents. By default those of
            :func:`~temperance.image_tangents` for images, and none for flat rows, which are then compared by Euclidean distance.
        block: pairs of rows that are computed at a time, in thousands.

    Attributes:
        classes_: the sorted classes.
        n_features_in_: length of the rows' second axis.

    Example:
        >>> places = 3 + np.arange(6) % 3  # soft lines, each in one of three places
        >>> across = np.exp(-((np.arange(9)[:, None] - places[:, None, None]) ** 2) / 4.0) * np.ones(9)
        >>> strokes = np.concatenate([across, across.swapaxes(1, 2)])
        >>> neighbors = TangentDistanceNeighbors().fit(strokes[[0, 6]], ["across", "down"])
        >>> neighbors.predict(strokes[[1, 2, 7, 8]]).tolist()
        ['across', 'across', 'down', 'down']
    """

    classes_: np.ndarray
    n_features_in_: int

    def __init__(self, n_neighbors: int = 1, *, tangents: Callable[[Tensor], Tensor] | None = None, block: int = 16) -> None:
        self.n_neighbors = n_neighbors
        self.tangents = tangents
        self.block = block

    def fit(self, X: Any, y: Any) -> TangentDistanceNeighbors:
        """Keep the rows and their tangents.

        Args:
            X: images ``(n, height, width)`` or ``(n, channels, height, width)``, or flat rows ``(n, d)``.
            y: a class for every row.

        Raises:
            ConfigError: parameters out of range, or tangents of another shape than the rows.
        """
        for name in ("n_neighbors", "block"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ConfigError(expected(name, type(self).__name__, "to be a whole number in [1, inf)", value))
        pair: Any = validate_data(self, X, y, dtype=np.float64, allow_nd=True)
        rows, y = pair
        check_classification_targets(y)
        if self.n_neighbors > len(rows):
            raise ConfigError(expected("n_neighbors", type(self).__name__, f"to be at most the number of rows, {len(rows)}", self.n_neighbors))
        self.classes_, self._codes = np.unique(y, return_inverse=True)
        self._shape = rows.shape[1:]
        self._rows, self._tangents = self._flat(rows)
        return self

    def _flat(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Rows ``(n, d)`` and tangents ``(n, k, d)``."""
        if rows.shape[1:] != self._shape:
            mend = "Give the same images."
            raise DataError(f"Expected rows of shape {self._shape} as fitted, got {rows.shape[1:]}. {mend}")
        x = torch.from_numpy(np.array(rows, order="C"))
        flat = x.reshape(len(x), -1)
        if self.tangents is not None:
            found = self.tangents(x).detach()
            if found.dim() != x.dim() + 1 or found.shape[0] != len(x) or found[0, :1].numel() != flat.shape[1]:
                allowed = f"to return (n, k, {', '.join(map(str, self._shape))})"
                raise ConfigError(expected("tangents", type(self).__name__, allowed, tuple(found.shape)))
            return flat, found.reshape(len(x), found.shape[1], -1)
        if x.dim() == 2:
            return flat, flat.new_zeros(len(x), 0, flat.shape[1])
        return flat, image_tangents(x if x.dim() == 4 else x.unsqueeze(1)).reshape(len(x), 4, -1)

    def kneighbors(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Distances and positions ``(n, n_neighbors)`` of the nearest training rows, the nearest first."""
        check_is_fitted(self, "classes_")
        given: Any = validate_data(self, X, reset=False, dtype=np.float64, allow_nd=True)
        rows, tangents = self._flat(given)
        size = max(1, self.block * 1000 // len(self._rows))
        distances: list[Tensor] = []
        places: list[Tensor] = []
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            near = tangent_distance(rows[part], self._rows, tangents[part], self._tangents).sort(dim=1, stable=True)
            distances.append(near.values[:, : self.n_neighbors])
            places.append(near.indices[:, : self.n_neighbors])
        return torch.cat(distances).numpy(), torch.cat(places).numpy()

    def predict_proba(self, X: Any) -> np.ndarray:
        """Shares of the votes ``(n, classes)`` in the order of ``classes_``."""
        _, places = self.kneighbors(X)
        return np.eye(len(self.classes_))[self._codes[places]].mean(1)

    def predict(self, X: Any) -> np.ndarray:
        """The class with most votes of every row; of several, the first of ``classes_``."""
        check_is_fitted(self, "classes_")
        return self.classes_[self.predict_proba(X).argmax(1)]
