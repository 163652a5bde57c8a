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
