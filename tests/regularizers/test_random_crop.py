import math

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import bound, context

from temperance.core.batch import full_batch
from temperance.regularizers import RandomCrop


def cropped(regularizer: RandomCrop, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    out: torch.Tensor = bound(regularizer, x.dtype).batch(full_batch(x, torch.zeros(len(x), 1)), context(seed)).x
    return out


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("size", [(5, 9), (8, 3), (1, 4)])
@pytest.mark.parametrize("pad", [1.0, 2.4, 12.0])
def test_it_is_a_window_of_the_padded_image(padding: str, size: tuple[int, int], pad: float) -> None:
    """Of numpy.pad's; every row is one of the windows, bit for bit, and not all are the same."""
    n = round(pad)
    x = torch.randn(12, 2, *size, generator=torch.Generator().manual_seed(0))
    out = cropped(RandomCrop(pad, padding=padding), x)
    found = []
    for i in range(12):
        around = np.pad(x[i].numpy(), ((0, 0), (n, n), (n, n)), mode="constant" if padding == "zeros" else "reflect")
        windows = [(a, b) for a in range(2 * n + 1) for b in range(2 * n + 1) if (around[:, a : a + size[0], b : b + size[1]] == out[i].numpy()).all()]
        assert windows
        found.append(windows[0])
    assert len(set(found)) > 1


def test_shifts_are_uniform_and_independent() -> None:
    n, rows = 2, 5000
    x = torch.zeros(rows, 1, 9, 7)
    x[:, :, 4, 3] = 1.0
    place = cropped(RandomCrop(n), x)[:, 0].flatten(1).argmax(1)
    counts = torch.zeros(9, 7)
    counts.view(-1).index_add_(0, place, torch.ones(rows))
    inside = counts[2:7, 1:6]
    assert inside.sum() == rows
    share = rows / 25
    assert ((inside - share).abs() < 5 * math.sqrt(share)).all()


@pytest.mark.parametrize("pad", [0.0, 0.4])
def test_less_than_half_a_pixel_is_none(pad: float) -> None:
    x = torch.randn(4, 1, 5, 5)
    x[0, 0, 0, 0] = math.nan
    assert torch.equal(cropped(RandomCrop(pad), x).view(torch.int32), x.view(torch.int32))
