import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from tests.regularizers.helpers import bound, context

from temperance.core.batch import full_batch
from temperance.regularizers import Blur


def blurred(sigma: float, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    out: torch.Tensor = bound(Blur(sigma), x.dtype).batch(full_batch(x, torch.zeros(len(x), 1)), context(seed)).x
    return out


@pytest.mark.parametrize("size", [(7, 12), (9, 4), (1, 6)])
@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_it_is_a_gaussian_filter_that_stays_in_the_image(size: tuple[int, int], sigma: float) -> None:
    """scipy's, with nothing beyond the edge, over the weight that lies within."""
    x = torch.randn(5, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = blurred(sigma, x, 1)
    widths = sigma * context(1).rng.uniform((5,), torch.float64).numpy()
    for i, width in enumerate(widths):
        reach = {"mode": "constant", "radius": 12}
        weight = ndimage.gaussian_filter(np.ones(size), width, **reach)
        for c in range(3):
            np.testing.assert_allclose(out[i, c], ndimage.gaussian_filter(x[i, c].numpy(), width, **reach) / weight, atol=1e-12)


def test_kornia_blurs_alike_away_from_the_edge() -> None:
    from kornia.filters import gaussian_blur2d  # takes a second to import

    x = torch.randn(4, 2, 25, 27, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    widths = context(5).rng.uniform((4,), torch.float64)
    other = gaussian_blur2d(x, (17, 17), widths.unsqueeze(1).expand(4, 2), border_type="constant")
    torch.testing.assert_close(blurred(1.0, x, 5)[..., 8:-8, 8:-8], other[..., 8:-8, 8:-8], rtol=0, atol=1e-12)


def test_even_images_stay_even_and_sharp_ones_stay_sharp() -> None:
    even = torch.full((3, 1, 6, 8), 2.5)
    torch.testing.assert_close(blurred(2.0, even), even)
    sharp = torch.randn(3, 1, 6, 8)
    sharp[0, 0, 0, 0] = math.nan
    assert torch.equal(blurred(0.0, sharp).view(torch.int32), sharp.view(torch.int32))
    assert torch.equal(blurred(1e-30, sharp[1:]), sharp[1:])
