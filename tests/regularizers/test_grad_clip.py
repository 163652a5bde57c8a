import math

import pytest
import torch
from tests.regularizers.helpers import bound, context

from temperance.regularizers import GradClip


@pytest.mark.parametrize("norm", [0.1, 1.0, 1e3, math.inf])
def test_against_torch(norm: float) -> None:
    g = torch.Generator().manual_seed(0)
    grads = {"a": torch.randn(3, 4, generator=g).double(), "b": torch.randn(5, generator=g).double()}
    params = [torch.zeros_like(v).requires_grad_() for v in grads.values()]
    for p, v in zip(params, grads.values(), strict=True):
        p.grad = v.clone()
    torch.nn.utils.clip_grad_norm_(params, norm)
    clipped = bound(GradClip(norm)).grads(grads, {}, context())
    for p, v in zip(params, clipped.values(), strict=True):
        torch.testing.assert_close(v, p.grad, rtol=1e-5, atol=0)
    assert torch.cat([v.flatten() for v in clipped.values()]).norm() <= norm * (1 + 1e-12)


def test_short_gradients_and_zero_are_untouched() -> None:
    grads = {"a": torch.full((2,), 0.1), "b": torch.zeros(3)}
    out = bound(GradClip(1.0), torch.float32).grads(grads, {}, context())
    assert all(torch.equal(out[k], v) for k, v in grads.items())
    zero = bound(GradClip(1.0), torch.float32).grads({"b": torch.zeros(3)}, {}, context())
    assert torch.equal(zero["b"], torch.zeros(3))
    assert bound(GradClip(1.0)).grads({}, {}, context()) == {}


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
    clipped = bound(GradClip(math.inf, ratio=ratio)).grads(grads, params, context())
    for name, grad in grads.items():
        cap = ratio * unit_norm(params[name]).clamp_min(1e-3)
        length = unit_norm(grad)
        expected = torch.where(length > cap, grad * (cap / length.clamp_min(1e-6)), grad)
        torch.testing.assert_close(clipped[name], expected, rtol=1e-12, atol=0)
        assert (unit_norm(clipped[name]) <= cap * (1 + 1e-12)).all()
    both = bound(GradClip(0.01, ratio=ratio)).grads(grads, params, context())
    whole = bound(GradClip(0.01)).grads(clipped, params, context())
    assert all(torch.equal(both[name], whole[name]) for name in grads)
    if ratio == math.inf:
        assert all(torch.equal(clipped[name], grads[name]) for name in grads)
