"""How the loss bends: the ends of the Hessian's spectrum, its density, and the parameters that the data decides."""

from __future__ import annotations

import math

import numpy as np

from temperance.diagnose.finding import Finding
from temperance.diagnose.hessian import density, effective_parameters
from temperance.diagnose.subject import Subject

LAM = 1e-4
GRID = tuple(10.0**k for k in range(-6, 3))


def curvature(subject: Subject) -> list[Finding]:
    """Measures the largest and smallest eigenvalue of the loss's Hessian, its spectral density and the effective number of parameters.

    Formula: eigenvalues D of H = ∂²J/∂θ²; effective parameters Σ D / (D + λ) over D > 0, for the L2 strength λ; gradient descent is stable along
    every direction only where ε < 2 / max D. The condition number κ is that of the directions with D > 1e-6 max D.

    What: products with H by differentiating twice, the ends by scipy's ``eigsh``, the density by stochastic Lanczos quadrature with three probes; up
    to 150 parameters H is formed and nothing is estimated.

    Cost: about a hundred times two backward passes over the rows.

    Reference: Lin, Saad & Yang (2016), Approximating spectral densities of large matrices; Ghorbani, Krishnan & Xiao (2019), An investigation into
    neural net optimization via Hessian eigenvalue density; MacKay (1992), Bayesian interpolation.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> data = (torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([0.5, 2.5]))
        >>> found = tp.diagnose(net, data, checks="curvature")["curvature"].value  # the loss is ½ Σ (x·w − y)²
        >>> [round(found[name], 3) for name in ("smallest", "largest", "condition")]
        [1.0, 9.0, 9.0]
    """
    found = subject.spectrum
    seen = found.nodes[found.nodes > 1e-6 * max(found.high, 0.0)]
    condition = found.high / float(seen.min()) if len(seen) and found.high > 0 else math.nan
    grid, height = density(found)
    effective = {lam: effective_parameters(found, lam) for lam in GRID}
    value = {
        "largest": found.high,
        "smallest": found.low,
        "mean": found.mean(lambda d: d),
        "condition": condition,
        "negative": found.mean(lambda d: np.where(d < -1e-6 * max(abs(found.high), abs(found.low)), 1.0, 0.0)),
        "parameters": found.size,
        "effective_parameters": effective[LAM],
        "lam": LAM,
        "stable_lr": 2 / found.high if found.high > 0 else math.inf,
    }
    data = {"grid": grid, "density": height, "lam": list(effective), "effective_parameters": list(effective.values())}
    text = (
        f"The loss bends by {found.low:.3g} to {found.high:.3g}, so steps are stable below {value['stable_lr']:.3g}; at an L2 strength of {LAM:g} the data "
        f"decides {effective[LAM]:,.0f} of {found.size:,} parameters."
    )
    if subject.lr is not None and subject.lr > value["stable_lr"]:
        remedy = f"{subject.lr:g} is beyond that rate, as is usual late in training; anneal it (Cosine, FlatCosine), or flatten the loss (SAM)."
        return [Finding("curvature", "curvature", value, text, "look", remedy, data=data)]
    return [Finding("curvature", "curvature", value, text, data=data)]
