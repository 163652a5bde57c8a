import math

import torch
from hypothesis import given, strategies as st
from tests.regularizers.helpers import bound, context

from temperance.regularizers import MaxNorm


def project(w: torch.Tensor, c: float) -> torch.Tensor:
    return bound(MaxNorm(c), w.dtype).after_step({"w": w}, context())["w"]


shapes = st.sampled_from([(3, 4), (2, 3, 3, 2), (4, 1), (5,), (1, 7)])


@given(shapes, st.floats(0.1, 10), st.integers(0, 100))
def test_it_is_the_projection_of_every_row(shape: tuple[int, ...], c: float, seed: int) -> None:
    w = 3 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    once = project(w, c)
    rows = w.reshape(shape[0], -1)
    torch.testing.assert_close(once.reshape(shape[0], -1), torch.renorm(rows, 2, 0, c), rtol=1e-6, atol=0)  # torch's divides by norm + 1e-7
    assert (once.reshape(shape[0], -1).norm(dim=1) <= c * (1 + 1e-14)).all()
    torch.testing.assert_close(project(once, c), once, rtol=1e-14, atol=0)
    inside = rows.norm(dim=1) <= c
    assert torch.equal(once.reshape(shape[0], -1)[inside], rows[inside])


def test_infinity_zero_rows_and_signs() -> None:
    w = torch.tensor([[0.0, 0.0], [-3e4, 4e4]])
    assert torch.equal(project(w, math.inf), w)
    torch.testing.assert_close(project(w, 5.0), torch.tensor([[0.0, 0.0], [-3.0, 4.0]]))


def test_it_runs_after_the_prox_and_keeps_zeros() -> None:
    w = torch.tensor([[0.0, 3.0, 4.0]])
    assert project(w, 1.0)[0, 0] == 0.0
    assert MaxNorm.rank == 2
