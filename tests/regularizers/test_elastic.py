import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from tests.regularizers.helpers import bound, context

from temperance.core.batch import full_batch
from temperance.core.errors import ConfigError
from temperance.regularizers import Elastic


def pulled(regularizer: Elastic, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    out: torch.Tensor = bound(regularizer, x.dtype).batch(full_batch(x, torch.zeros(len(x), 1)), context(seed)).x
    return out


@pytest.mark.parametrize(("alpha", "sigma", "size"), [(34.0, 4.0, (14, 19)), (8.0, 1.5, (9, 5)), (3.0, 0.3, (6, 6))])
def test_it_is_simards_recipe_in_scipy(alpha: float, sigma: float, size: tuple[int, int]) -> None:
    """A uniform field smoothed by gaussian_filter, times alpha, and map_coordinates."""
    x = torch.randn(3, 2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = pulled(Elastic(alpha, sigma=sigma), x, 2).numpy()
    noise = 2.0 * context(2).rng.uniform((3, size[0], 2, size[1]), torch.float64).numpy() - 1.0
    here = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")).astype(float)
    for i in range(3):
        dx, dy = (alpha * ndimage.gaussian_filter(noise[i, :, axis], sigma, mode="constant", truncate=10.0) for axis in (0, 1))
        for c in range(2):
            theirs = ndimage.map_coordinates(x[i, c].numpy(), [here[0] + dy, here[1] + dx], order=1, mode="nearest")
            np.testing.assert_allclose(out[i, c], theirs, atol=1e-9)


def test_displacements_have_the_size_of_the_card() -> None:
    """Read off ramps, in the middle of images so large that their edge is six widths away."""
    ramp = torch.arange(49, dtype=torch.float64).expand(2000, 1, 49, 49)
    move = pulled(Elastic(34.0), ramp)[:, 0, 24, 24] - 24.0
    expected = 34.0 / (4.0 * math.sqrt(12.0 * math.pi))
    assert expected == pytest.approx(1.384, abs=1e-3)
    assert move.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * 2000))
    assert abs(move.mean().item()) < 5 * expected / math.sqrt(2000)


def test_off_returns_the_image_bit_for_bit() -> None:
    x = torch.randn(3, 1, 6, 8)
    x[0, 0, 0, 0] = math.nan
    assert torch.equal(pulled(Elastic(0.0), x).view(torch.int32), x.view(torch.int32))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan, True, "4"])
def test_sigma_is_a_width(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `sigma` of Elastic in \(0, inf\), got .*seventh"):
        Elastic(sigma=bad)  # type: ignore[arg-type]
