"""Nearest neighbors by tangent distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.linalg import lstsq
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import temperance as tp
from temperance.core.tangents import image_tangents
from temperance.estimators.tangent_neighbors import TangentDistanceNeighbors, tangent_distance


@parametrize_with_checks([TangentDistanceNeighbors()])
def test_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def by_lstsq(a: np.ndarray, b: np.ndarray, ta: np.ndarray, tb: np.ndarray) -> np.ndarray:
    out = np.zeros((len(a), len(b)))
    for i, j in np.ndindex(*out.shape):
        plane = np.concatenate([ta[i], -tb[j]]).T
        shift = lstsq(plane, b[j] - a[i], lapack_driver="gelsd")[0]
        out[i, j] = np.linalg.norm(a[i] - b[j] + plane @ shift)
    return out


@pytest.mark.parametrize("k", [1, 4])
def test_distances_against_least_squares(k: int) -> None:
    rng = np.random.default_rng(0)
    a, b, ta, tb = rng.normal(size=(5, 12)), rng.normal(size=(7, 12)), rng.normal(size=(5, k, 12)), rng.normal(size=(7, k, 12))
    found = tangent_distance(*(torch.from_numpy(t) for t in (a, b, ta, tb))).numpy()
    np.testing.assert_allclose(found, by_lstsq(a, b, ta, tb), rtol=1e-9)


def test_tangents_that_vanish_repeat_or_are_shared() -> None:
    """Singular planes: a zero tangent, two parallel ones, a direction that both rows have, and a row against itself."""
    rng = np.random.default_rng(1)
    a, b, ta, tb = rng.normal(size=(4, 8)), rng.normal(size=(4, 8)), rng.normal(size=(4, 3, 8)), rng.normal(size=(4, 3, 8))
    ta[0, 1] = 0.0
    ta[1] = 0.0
    ta[2, 1] = -3.0 * ta[2, 0]
    tb[3, 2] = ta[3, 0]
    b[3], tb[2] = a[3], ta[2]
    found = tangent_distance(*(torch.from_numpy(t) for t in (a, b, ta, tb))).numpy()
    np.testing.assert_allclose(found, by_lstsq(a, b, ta, tb), rtol=1e-7, atol=1e-7)  # the root of a difference of order 1e-15
    assert found[3, 3] == pytest.approx(0.0, abs=1e-7)


def test_moving_along_a_tangent_changes_no_distance() -> None:
    rng = np.random.default_rng(2)
    a, b, ta, tb = (torch.from_numpy(rng.normal(size=s)) for s in ((3, 10), (4, 10), (3, 2, 10), (4, 2, 10)))
    moved = a + torch.einsum("nk,nkd->nd", torch.from_numpy(rng.normal(size=(3, 2))), ta)
    torch.testing.assert_close(tangent_distance(a, b, ta, tb), tangent_distance(moved, b, ta, tb), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(tangent_distance(a, b, ta, tb), tangent_distance(b, a, tb, ta).T, rtol=1e-9, atol=1e-12)


def strokes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Crosses and rings, blurred, turned by up to 15 degrees and moved by up to 3 pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:17, :17] - 8.0
    shapes = (np.minimum(np.abs(x), np.abs(y)) < 1) & (np.maximum(np.abs(x), np.abs(y)) < 5), np.abs(np.hypot(x, y) - 4) < 1
    codes = np.arange(n) % 2
    out = []
    for code in codes:
        image = ndimage.rotate(ndimage.gaussian_filter(shapes[code].astype(float), 1.5), rng.uniform(-15, 15), reshape=False, order=1)
        out.append(ndimage.shift(image, rng.uniform(-3, 3, 2), order=1))
    return np.stack(out), codes


def test_movements_count_less_than_shapes() -> None:
    """With two examples a class the tangents save a third of the errors of the Euclidean distance, or more."""
    train, y = strokes(4, 0)
    X, truth = strokes(200, 1)
    plain = KNeighborsClassifier(1).fit(train.reshape(4, -1), y).score(X.reshape(200, -1), truth)
    tangent = TangentDistanceNeighbors().fit(train, y).score(X, truth)
    assert 0.6 < plain < 0.9 and 1 - tangent < 2 / 3 * (1 - plain)


def test_without_tangents_it_is_the_euclidean_distance() -> None:
    rng = np.random.default_rng(3)
    X, y, Z = rng.normal(size=(40, 5)), rng.integers(0, 3, 40), rng.normal(size=(25, 5))
    ours, theirs = TangentDistanceNeighbors(5, block=1).fit(X, y), KNeighborsClassifier(5).fit(X, y)
    for mine, other in zip(ours.kneighbors(Z), theirs.kneighbors(Z), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-7)
    np.testing.assert_allclose(ours.predict_proba(Z), theirs.predict_proba(Z))
    assert np.array_equal(ours.predict(Z), theirs.predict(Z))


def test_tangents_of_ones_own_and_channels() -> None:
    images, y = strokes(6, 4)
    default = TangentDistanceNeighbors().fit(images, y)
    given = TangentDistanceNeighbors(tangents=lambda x: image_tangents(x[:, None])[:, :, 0]).fit(images, y)
    channels = TangentDistanceNeighbors().fit(images[:, None], y)
    test, _ = strokes(5, 5)
    expected = default.kneighbors(test)[0]
    np.testing.assert_allclose(given.kneighbors(test)[0], expected)
    np.testing.assert_allclose(channels.kneighbors(test[:, None])[0], expected)


def test_messages() -> None:
    images, y = strokes(6, 4)
    with pytest.raises(tp.ConfigError, match=r"^Expected `n_neighbors` of TangentDistanceNeighbors to be a whole number in \[1, inf\), got 0"):
        TangentDistanceNeighbors(0).fit(images, y)
    with pytest.raises(tp.ConfigError, match="to be at most the number of rows, 6, got 7"):
        TangentDistanceNeighbors(7).fit(images, y)
    with pytest.raises(tp.ConfigError, match=r"^Expected `tangents` of TangentDistanceNeighbors to return \(n, k, 17, 17\), got \(6, 17, 17\)"):
        TangentDistanceNeighbors(tangents=lambda x: x).fit(images, y)
    with pytest.raises(tp.DataError, match=r"^Expected rows of shape \(17, 17\) as fitted, got \(17, 16\)"):
        clone(TangentDistanceNeighbors()).fit(images, y).predict(images[:, :, :16])
