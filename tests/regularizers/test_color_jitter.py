import math

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import bound, context

from temperance.core.batch import full_batch
from temperance.core.inputs import scale_of
from temperance.regularizers import ColorJitter


def images(rows: int = 6, channels: int = 3) -> torch.Tensor:
    spread = torch.tensor([1.0, 3.0, 0.5])[:channels, None, None]
    return torch.randn(rows, channels, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * spread + 2.0


def jittered(regularizer: ColorJitter, x: torch.Tensor, seed: int = 0, known: bool = True) -> torch.Tensor:
    constants = {"input_scale": scale_of(x)} if known else {}
    out: torch.Tensor = bound(regularizer, x.dtype).batch(full_batch(x, torch.zeros(len(x), 1)), context(seed, constants=constants)).x
    return out


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("known", [True, False])
def test_the_formula_step_by_step(channels: int, known: bool) -> None:
    x = images(6, channels)
    out = jittered(ColorJitter(0.5, 0.6, 0.7, 0.3), x, 4, known).numpy()
    u = 2.0 * context(4).rng.uniform((6, 3 + channels), torch.float64).numpy() - 1.0
    unit = scale_of(x).numpy() if known else np.ones((channels, 1, 1))
    for i, image in enumerate(x.numpy()):
        image = image.mean() + (1 + 0.6 * u[i, 1]) * (image - image.mean())
        image = image.mean(0) + (1 + 0.7 * u[i, 2]) * (image - image.mean(0))
        image = image + (0.5 * u[i, 0] + 0.3 * u[i, 3:])[:, None, None] * unit
        np.testing.assert_allclose(out[i], image, atol=1e-12)


def test_what_each_strength_leaves_alone() -> None:
    x = images()
    mean, grey = x.mean((1, 2, 3)), x.mean(1)
    bright = jittered(ColorJitter(0.5, 0.0, 0.0, 0.0), x, known=False)
    assert torch.allclose((bright - x).flatten(1).std(1), torch.zeros(6, dtype=torch.float64), atol=1e-12)
    contrast = jittered(ColorJitter(0.0, 0.5, 0.0, 0.0), x)
    torch.testing.assert_close(contrast.mean((1, 2, 3)), mean)
    assert ((contrast.std((1, 2, 3)) / x.std((1, 2, 3)) - 1).abs() <= 0.5).all()
    vivid = jittered(ColorJitter(0.0, 0.0, 0.9, 0.0), x)
    torch.testing.assert_close(vivid.mean(1), grey)
    tinted = jittered(ColorJitter(0.0, 0.0, 0.0, 0.4), x)
    torch.testing.assert_close((tinted - x).amax((2, 3)), (tinted - x).amin((2, 3)))
    assert ((tinted - x).amax((2, 3)).abs() <= 0.4 * scale_of(x)[:, 0, 0]).all()


def test_one_channel_has_no_saturation() -> None:
    x = images(5, 1).float()
    x[0, 0, 0, 0] = math.nan
    out = jittered(ColorJitter(0.0, 0.0, 0.9, 0.0), x, known=False)
    assert torch.equal(out.view(torch.int32), x.view(torch.int32))


def test_kornia_changes_contrast_alike() -> None:
    from kornia.enhance import adjust_contrast_with_mean_subtraction  # takes a second to import

    x = 0.4 + 0.2 * torch.rand(4, 1, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    out = jittered(ColorJitter(0.0, 0.8, 0.0, 0.0), x, 2)
    factor = 1 + 0.8 * (2 * context(2).rng.uniform((4, 4), torch.float64)[:, 1] - 1)
    torch.testing.assert_close(out, adjust_contrast_with_mean_subtraction(x, factor))
