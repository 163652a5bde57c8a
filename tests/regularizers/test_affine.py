import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from tests.regularizers.helpers import bound, context

from temperance.core.batch import full_batch
from temperance.regularizers import Affine
from temperance.regularizers._images import affine

PADDING = {"zeros": "grid-constant", "border": "nearest"}


def images(rows: int = 5, channels: int = 2, height: int = 7, width: int = 11, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moved(regularizer: Affine, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    out: torch.Tensor = bound(regularizer, x.dtype).batch(full_batch(x, torch.zeros(len(x), 1)), context(seed)).x
    return out


def by_scipy(x: np.ndarray, forward: np.ndarray, shift: np.ndarray, padding: str) -> np.ndarray:
    """One channel, moved by p' = forward · p + shift around its middle, x before y in pixels."""
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    inverse = swap @ np.linalg.inv(forward) @ swap
    middle = (np.array(x.shape) - 1) / 2
    offset = middle - inverse @ (middle + shift[::-1])
    return ndimage.affine_transform(x, inverse, offset, order=1, mode=PADDING[padding], cval=0.0)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("size", [(7, 11), (12, 5), (8, 8), (1, 6)])
def test_all_parts_together_are_one_map(padding: str, size: tuple[int, int]) -> None:
    """The matrices of the formula multiplied in NumPy, and the images moved by scipy in pixels."""
    regularizer = Affine(rotate=40.0, translate=0.3, flip=0.5, scale=0.4, stretch=0.3, shear=25.0, padding=padding)
    height, width = size
    x = images(6, 2, height, width)
    out = moved(regularizer, x, seed=3).numpy()
    u = context(3).rng.uniform((7, 6), torch.float64).numpy()
    signs = 2.0 * u[:6] - 1.0
    assert (u[6] < 0.5).any() and (u[6] >= 0.5).any()
    for i in range(6):
        a, k = math.radians(40.0 * signs[0, i]), math.tan(math.radians(25.0 * signs[1, i]))
        s, v = math.exp(0.4 * signs[2, i]), math.exp(0.3 * signs[3, i])
        turn = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
        flip = np.diag([-1.0 if u[6, i] < 0.5 else 1.0, 1.0])
        forward = turn @ np.array([[1.0, k], [0.0, 1.0]]) @ np.diag([s, s * v]) @ flip
        shift = 0.3 * signs[4:6, i] * np.array([width, height])
        for c in range(2):
            np.testing.assert_allclose(out[i, c], by_scipy(x[i, c].numpy(), forward, shift, padding), atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_whole_pixels_quarter_turns_and_flips_are_exact_but_for_rounding(dtype: torch.dtype) -> None:
    """Positions are right to some units in the last place of the side (12 pixels), hence values to that times the steepest slope."""
    x = images(1, 2, 9, 12).to(dtype)
    one, zero = torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)
    close: dict[str, Any] = {"rtol": 0, "atol": 12 * 4 * torch.finfo(dtype).eps * 2 * x.abs().max().item()}
    shifted = affine(x, (one, zero, zero, one), (3 * one, -2 * one), "zeros")
    expected = torch.zeros_like(x)
    expected[..., :7, 3:] = x[..., 2:, :9]
    torch.testing.assert_close(shifted, expected, **close)
    torch.testing.assert_close(affine(x, (-one, zero, zero, one), (zero, zero), "zeros"), x.flip(-1), **close)
    torch.testing.assert_close(affine(x, (-one, zero, zero, -one), (zero, zero), "border"), x.flip(-1).flip(-2), **close)
    square = x[..., :9]
    torch.testing.assert_close(affine(square, (zero, one, -one, zero), (zero, zero), "zeros"), square.rot90(-1, (-2, -1)), **close)
    assert torch.equal(moved(Affine(rotate=0.0, flip=1.0), x), affine(x, (-one, zero, zero, one), (zero, zero), "zeros"))


def test_a_disc_stays_a_disc_when_a_wide_image_turns() -> None:
    """In positions between -1 and 1 it would become an ellipse."""
    y, x = torch.meshgrid(torch.arange(21.0) - 10.0, torch.arange(61.0) - 30.0, indexing="ij")
    disc = torch.sigmoid(6.0 - (x.square() + y.square()).sqrt()).expand(8, 1, 21, 61)
    out = moved(Affine(rotate=180.0), disc)
    assert (out - disc).abs().max() < 0.05  # interpolating bends a slope of at most 1/4 by its curvature, below 0.1 / 8 in each direction


def test_rows_that_nothing_moves_are_returned_bit_for_bit() -> None:
    x = images(64, 1, 5, 6).float()
    x[0, 0, 0, 0], x[1, 0, 2, 2] = math.nan, math.inf
    flipped = context(0).rng.uniform((7, 64))[6] < 0.5
    out = moved(Affine(rotate=0.0, flip=0.5), x)
    assert torch.equal(out[~flipped].view(torch.int32), x[~flipped].view(torch.int32))
    assert flipped.sum() > 20 and all(not torch.equal(a, b) for a, b in zip(out[flipped], x[flipped], strict=True))
    assert torch.equal(moved(Affine(rotate=0.0), x).view(torch.int32), x.view(torch.int32))


@pytest.mark.parametrize(("field", "limit"), [("rotate", 15.0), ("shear", 20.0)])
def test_angles_are_uniform_up_to_the_limit(field: str, limit: float) -> None:
    """Down the middle of the ramp x, values change by the sine of the angle of a turn, by the tangent of that of a shear."""
    ramp = (torch.arange(41, dtype=torch.float64) - 20.0).expand(4000, 1, 5, 41)
    out = moved(Affine(**{"rotate": 0.0, field: limit, "padding": "border"}), ramp)
    slope = ((out[:, 0, 3, 20] - out[:, 0, 1, 20]) / 2).abs()
    degrees = (slope.asin() if field == "rotate" else slope.atan()).rad2deg()
    assert 0.99 * limit < degrees.max() <= limit * (1 + 1e-12)
    assert abs(degrees.mean().item() / limit - 0.5) < 5 * math.sqrt(1 / 12 / 4000)


def test_kornia_turns_alike() -> None:
    from kornia.geometry.transform import rotate  # takes a second to import

    x = images(6, 3, 9, 14)
    out = moved(Affine(rotate=90.0), x, seed=2)
    degrees = 90.0 * (2.0 * context(2).rng.uniform((7, 6), torch.float64)[0] - 1.0)
    torch.testing.assert_close(out, rotate(x, -degrees, padding_mode="zeros", align_corners=True), rtol=0, atol=1e-6)
