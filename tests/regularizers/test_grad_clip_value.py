import math

import pytest
import torch
from hypothesis import given, strategies as st
from tests.regularizers.helpers import bound, context

from temperance.regularizers import GradClipValue


@pytest.mark.parametrize("value", [0.1, 1.0, 1e3, math.inf])
def test_against_torch(value: float) -> None:
    g = torch.Generator().manual_seed(0)
    grads = {"a": torch.randn(3, 4, generator=g).double(), "b": torch.randn(5, generator=g).double()}
    params = [torch.zeros_like(v).requires_grad_() for v in grads.values()]
    for p, v in zip(params, grads.values(), strict=True):
        p.grad = v.clone()
    torch.nn.utils.clip_grad_value_(params, value)
    clipped = bound(GradClipValue(value)).grads(grads, {}, context())
    for p, v in zip(params, clipped.values(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(v, p.grad, rtol=0, atol=0)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=6), st.lists(st.floats(-10, 10), min_size=1, max_size=6), st.floats(0.01, 5))
def test_a_projection(one: list[float], two: list[float], value: float) -> None:
    """Idempotent and non-expansive, as the projection onto a box is."""
    n = min(len(one), len(two))
    a, b = (torch.tensor(v[:n], dtype=torch.float64) for v in (one, two))
    clip = bound(GradClipValue(value))
    cut = [clip.grads({"w": v}, {}, context())["w"] for v in (a, b)]
    assert torch.equal(clip.grads({"w": cut[0]}, {}, context())["w"], cut[0])
    assert float((cut[0] - cut[1]).norm()) <= float((a - b).norm()) * (1 + 1e-12)
    assert float(cut[0].abs().max()) <= value


def test_what_is_no_number_stays_one() -> None:
    """A member whose gradient is not finite has to be found out, not mended."""
    out = bound(GradClipValue(1.0)).grads({"w": torch.tensor([math.nan, 1.0])}, {}, context())["w"]
    assert bool(torch.isnan(out[0]))
