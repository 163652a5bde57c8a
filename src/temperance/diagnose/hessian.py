"""Eigenvalues of a Hessian that is never formed: a linear operator, its extremes, and its spectral density.

The package curvlinops offers the same, but it requires torchvision, whose builds do not fit every torch; so products
with the Hessian are written here on torch's own derivatives, and scipy finds the extremes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from temperance.diagnose.finding import Skip

if TYPE_CHECKING:
    from temperance.diagnose.subject import Subject

Vector = list[Tensor]
EXACT = 150
"""Parameters up to which the Hessian is formed, column by column."""

STEPS, PROBES, BASIS, RESTARTS = 30, 3, 20, 8
BUDGET = 2**28
"""Bytes that the vectors of one run of Lanczos may take."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a symmetric matrix, each standing for a share of all.

    Attributes:
        nodes: eigenvalues, or their estimates.
        shares: what part of all eigenvalues each stands for; they add up to one.
        size: how many eigenvalues there are.
        low: the smallest eigenvalue.
        high: the largest.
        directions: the eigenvectors of these two.
    """

    nodes: Array
    shares: Array
    size: int
    low: float
    high: float
    directions: tuple[Vector, Vector]

    def mean(self, function: Callable[[Array], Array]) -> float:
        """The mean of a function over all eigenvalues."""
        return float((self.shares * function(self.nodes)).sum())


def flat(vector: Vector) -> Array:
    """One array of doubles from a list of tensors."""
    return torch.cat([v.detach().reshape(-1) for v in vector]).double().cpu().numpy()


def unflat(array: Any, subject: Subject) -> Vector:
    """A list of tensors like the parameters from one array."""
    whole = torch.from_numpy(np.ascontiguousarray(array).reshape(-1))
    sizes = [p.numel() for p in subject.params.values()]
    return [part.to(p).reshape(p.shape) for part, p in zip(whole.split(sizes), subject.params.values(), strict=True)]


def operator(subject: Subject) -> LinearOperator:
    """The Hessian of the mean loss in the trainable parameters, as scipy knows linear maps."""
    n = sum(p.numel() for p in subject.params.values())
    return LinearOperator((n, n), matvec=lambda v: flat(subject.hvp(unflat(v, subject))), dtype=np.float64)  # pyright: ignore[reportCallIssue] -- the base class makes one from functions


def spectrum(subject: Subject) -> Spectrum:
    """All eigenvalues of a small Hessian; else both ends by the implicitly restarted Lanczos method, and the density by stochastic Lanczos quadrature.

    Args:
        subject: the network and the rows.

    Raises:
        Skip: the Hessian is not finite.
    """
    h = operator(subject)
    n = h.shape[0]
    if n <= EXACT:
        full = np.stack([h.matvec(column) for column in np.eye(n)])
        _require(full)
        values, vectors = np.linalg.eigh((full + full.T) / 2)
        return Spectrum(values, np.full(n, 1 / n), n, float(values[0]), float(values[-1]), (unflat(vectors[:, 0], subject), unflat(vectors[:, -1], subject)))
    rng = subject.rng("hessian")
    room = max(6, BUDGET // (8 * n))
    runs = [lanczos(h.matvec, rng.normal((n,), torch.float64).numpy(), min(STEPS, room)) for _ in range(PROBES)]
    solve: Any = eigsh  # its types are inferred from its defaults, which are whole numbers
    values, vectors = runs[0][2]
    with suppress(ArpackNoConvergence):  # an end that lies in a crowd: the one that Lanczos saw is close
        values, vectors = solve(h, k=2, which="BE", v0=vectors.sum(1), ncv=min(BASIS, room), tol=1e-4, maxiter=RESTARTS)
    low, high = int(np.argmin(values)), int(np.argmax(values))
    ends = unflat(vectors[:, low], subject), unflat(vectors[:, high], subject)
    nodes, shares = np.concatenate([run[0] for run in runs]), np.concatenate([run[1] / PROBES for run in runs])
    return Spectrum(nodes, shares, n, float(values[low]), float(values[high]), ends)


def lanczos(product: Callable[[Array], Array], start: Array, steps: int) -> tuple[Array, Array, tuple[Array, Array]]:
    """Gauss quadrature of the spectrum that a vector sees, by the Lanczos method with full re-orthogonalization.

    Args:
        product: the symmetric matrix times a vector.
        start: the vector.
        steps: products at most; fewer where the Krylov space is exhausted.

    Returns:
        nodes, weights (they add up to one), and the two extreme Ritz values with their vectors ``(n, 2)``.

    Source:
        Lanczos (1950); Golub & Welsch (1969), Calculation of Gauss quadrature rules.

    Example:
        >>> nodes, weights, _ = lanczos(lambda v: np.array([1.0, 3.0]) * v, np.array([1.0, 1.0]), 5)
        >>> nodes.round(6).tolist(), weights.round(6).tolist()
        ([1.0, 3.0], [0.5, 0.5])
    """
    basis, diagonal, off = [start / np.linalg.norm(start)], [], []
    for k in range(steps):
        w = product(basis[-1])
        _require(w)
        diagonal.append(float(w @ basis[-1]))
        known = np.stack(basis)
        for _ in range(2):  # once loses orthogonality
            w = w - known.T @ (known @ w)
        size = float(np.linalg.norm(w))
        if k + 1 == steps or size <= 1e-10 * max(map(abs, diagonal + off), default=1.0) or size == 0:
            break
        off.append(size)
        basis.append(w / size)
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    ends = np.stack(basis).T @ vectors[:, [0, -1]]
    return values, vectors[0] ** 2, (values[[0, -1]], ends)


def density(spectrum: Spectrum, points: int = 201) -> tuple[list[float], list[float]]:
    """The spectral density on a grid: every node widened to a Gaussian of a fortieth of the range.

    Returns:
        grid and density; its integral is one.

    Example:
        >>> two = Spectrum(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 2, 0.0, 1.0, ([], []))
        >>> grid, height = density(two)
        >>> round(sum(height) * (grid[1] - grid[0]), 3)
        1.0
    """
    low, high = min(spectrum.low, float(spectrum.nodes.min())), max(spectrum.high, float(spectrum.nodes.max()))
    width = (high - low) / 40 or max(abs(high), 1e-12) / 40
    grid = np.linspace(low - 4 * width, high + 4 * width, points)
    bumps = np.exp(-0.5 * ((grid[:, None] - spectrum.nodes) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return grid.tolist(), (bumps @ spectrum.shares).tolist()


def _require(values: Array) -> None:
    if not np.isfinite(values).all():
        raise Skip("the Hessian is not finite")


def effective_parameters(spectrum: Spectrum, lam: float) -> float:
    """Directions that an L2 penalty of strength lam leaves to the data: Σ D / (D + lam) over the eigenvalues D above zero.

    Args:
        spectrum: of the Hessian of the mean loss.
        lam: strength of :class:`temperance.L2`.

    Source:
        MacKay (1992), Bayesian interpolation; Goodfellow, Bengio & Courville (2016), section 7.1.1.

    Example:
        >>> two = Spectrum(np.array([1.0, 9.0]), np.array([0.5, 0.5]), 2, 1.0, 9.0, ([], []))
        >>> effective_parameters(two, 1.0)
        1.4
    """
    return spectrum.size * spectrum.mean(lambda d: np.maximum(d, 0.0) / (np.maximum(d, 0.0) + lam))
