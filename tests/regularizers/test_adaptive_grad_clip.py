import math

import pytest
import torch
from tests.regularizers.helpers import bound, context

from temperance.regularizers import AdaptiveGradClip


def unit_norm(w: torch.Tensor) -> torch.Tensor:
    """As published: over all dimensions but the first for matrices and filters, of the whole for vectors and numbers."""
    return w.norm() if w.dim() <= 1 else w.flatten(1).norm(dim=1).reshape(-1, *[1] * (w.dim() - 1))


@pytest.mark.parametrize("ratio", [1e-3, 0.05, 1.0, math.inf])
def test_every_unit_is_clipped_as_published(ratio: float) -> None:
    g = torch.Generator().manual_seed(0)
    shapes = {"matrix": (5, 4), "filter": (3, 2, 3, 3), "bias": (6,), "scale": (), "new": (4, 2)}
    params = {name: torch.randn(shape, generator=g, dtype=torch.float64) for name, shape in shapes.items()}
    params["new"] = torch.zeros(4, 2, dtype=torch.float64)
    grads = {name: torch.randn(shape, generator=g, dtype=torch.float64) * (0.0 if name == "scale" else 0.3) for name, shape in shapes.items()}
    clipped = bound(AdaptiveGradClip(ratio)).grads(grads, params, context())
    for name, grad in grads.items():
        cap = ratio * unit_norm(params[name]).clamp_min(1e-3)
        length = unit_norm(grad)
        expected = torch.where(length > cap, grad * (cap / length.clamp_min(1e-6)), grad)
        torch.testing.assert_close(clipped[name], expected, rtol=1e-12, atol=0)
        assert (unit_norm(clipped[name]) <= cap * (1 + 1e-12)).all()
    if ratio == math.inf:
        assert all(torch.equal(clipped[name], grads[name]) for name in grads)
