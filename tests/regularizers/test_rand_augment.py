"""Every change of RandAugment against kornia's, and which images get which."""

from __future__ import annotations

import math

import pytest
import torch
from tests.regularizers.helpers import bound, context
from torch import Tensor

from temperance.core.batch import full_batch
from temperance.regularizers import RandAugment
from temperance.regularizers._image_changes import CHANGES, applied

G = torch.Generator().manual_seed(0)
X = torch.rand(4, 3, 9, 7, generator=G, dtype=torch.float64)
X[:, :, 0, 0], X[:, :, 0, 1] = 0.0, 1.0  # so that black and white are what kornia takes for them


def changed(name: str, size: float, sign: float = 1.0, x: Tensor = X, padding: str = "zeros") -> Tensor:
    rows = len(x)
    sizes, signs = (torch.full((rows,), value, dtype=x.dtype) for value in (size, sign))
    return applied(x, torch.full((rows,), CHANGES.index(name)), sizes, signs, padding)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_shades_are_those_of_kornia(sign: float) -> None:
    enhance = pytest.importorskip("kornia").enhance
    m, f = 0.5, 1.0 + 0.45 * sign
    expected = {
        "brightness": (X * f).clamp(0, 1),
        "contrast": enhance.adjust_contrast_with_mean_subtraction(X, f),
        "sharpness": enhance.sharpness(X, f).clamp(0, 1),
        "solarize": enhance.solarize(X, 1.0 - m),
        "identity": X,
    }
    for name, theirs in expected.items():
        torch.testing.assert_close(changed(name, m, sign), theirs, msg=lambda text, name=name: f"{name}: {text}")
    gray = (X * torch.tensor([0.299, 0.587, 0.114], dtype=X.dtype).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(changed("color", m, sign), (gray + f * (X - gray)).clamp(0, 1))


def test_fewer_shades_and_the_full_range() -> None:
    shades = (torch.arange(256, dtype=torch.float64) / 255.0).reshape(1, 1, 16, 16)
    for size, lost in ((0.2, 0), (0.25, 1), (0.5, 2), (1.0, 4)):
        kept = (torch.arange(256) >> lost << lost).double().reshape(1, 1, 16, 16)  # the upper bits of a byte
        torch.testing.assert_close(255.0 * changed("posterize", size, x=shades), kept)
    dim = 0.2 + 0.1 * X
    dim[:, 1] = 0.25
    out = changed("autocontrast", 0.5, x=dim)
    torch.testing.assert_close(out[:, 0].amin((1, 2)), torch.full((4,), 0.2, dtype=torch.float64))
    torch.testing.assert_close(out[:, 0].amax((1, 2)), torch.full((4,), 0.3, dtype=torch.float64))
    assert torch.equal(out[:, 1], dim[:, 1]) and (changed("brightness", 1.0, x=torch.ones_like(X)) == 1).all()  # flat images stay finite


def test_moves_are_those_of_kornia() -> None:
    geometry = pytest.importorskip("kornia").geometry.transform
    x = torch.rand(2, 1, 8, 8, generator=G, dtype=torch.float64)
    for sign in (1.0, -1.0):
        angle = torch.full((2,), 15.0 * sign, dtype=x.dtype)
        middle = torch.full((2, 2), 3.5, dtype=x.dtype)
        turn = geometry.get_rotation_matrix2d(middle, -angle, torch.ones(2, 2, dtype=x.dtype))  # theirs turns against the clock
        theirs = geometry.warp_affine(x, turn, (8, 8), align_corners=True)
        torch.testing.assert_close(changed("rotate", 0.5, sign, x)[..., 2:6, 2:6], theirs[..., 2:6, 2:6])
        shift = round(sign * 0.45 * (5 / 9) * 8)  # two pixels
        assert abs(shift) == 2
        torch.testing.assert_close(changed("translate_x", 5 / 9, sign, x), torch.roll(x, shift, 3) * _seen(8, shift))
        torch.testing.assert_close(changed("translate_y", 5 / 9, sign, x), torch.roll(x, shift, 2) * _seen(8, shift).unsqueeze(1))
    ramp = torch.arange(9, dtype=torch.float64).expand(1, 1, 9, 9)
    slanted = changed("shear_x", 0.5, x=ramp)[0, 0]
    torch.testing.assert_close(slanted[2:7, 4], 4.0 + 0.15 * torch.arange(-2.0, 3.0, dtype=torch.float64))
    torch.testing.assert_close(changed("shear_y", 0.5, x=ramp.mT)[0, 0][4, 2:7], 4.0 + 0.15 * torch.arange(-2.0, 3.0, dtype=torch.float64))


def _seen(size: int, shift: int) -> Tensor:
    """One where a pixel comes from inside."""
    place = torch.arange(size) - shift
    return ((place >= 0) & (place < size)).double()


def test_every_change_is_as_likely_as_any_other() -> None:
    rows = 6500
    x = X[:1].expand(rows, -1, -1, -1)
    out = bound(RandAugment(0.5, changes=1)).batch(full_batch(x, torch.zeros(rows, 1)), context()).x
    found = torch.zeros(rows, dtype=torch.bool)
    for name in CHANGES:
        alike = torch.stack([(out - changed(name, 0.5, sign, X[:1], "border")).abs().amax((1, 2, 3)) < 1e-9 for sign in (1.0, -1.0)]).any(0)
        found |= alike
        if name not in ("identity", "autocontrast"):  # the range is full already, so that both leave the image alone
            p = 1 / len(CHANGES)
            assert abs(alike.double().mean() - p) < 5 * math.sqrt(p * (1 - p) / rows), name
    assert found.all()


def test_strengths_are_the_same_or_spread() -> None:
    rows = 3000
    x = X[:1].expand(rows, -1, -1, -1)
    batch = full_batch(x, torch.zeros(rows, 1))
    same, spread = (bound(RandAugment(0.6, changes=1, draw=draw)).batch(batch, context()).x for draw in ("same", "uniform"))
    assert len(torch.unique(same.reshape(rows, -1)[:, 10:20].round(decimals=6), dim=0)) <= 2 * len(CHANGES)
    assert len(torch.unique(spread.reshape(rows, -1)[:, 10:20].round(decimals=6), dim=0)) > 1000
    assert torch.equal(bound(RandAugment(0.0)).batch(batch, context()).x, x)
