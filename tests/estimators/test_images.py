"""Images as the X of the estimators."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict
from torch import nn

import temperance as tp
from temperance.estimators import images as module
from temperance.estimators.images import PixelEncoder

_data: Any = load_digits()
_rows = np.random.default_rng(0).permutation(1797)[:600]  # the data set is in the order of its writers
X = _data.images[_rows, None].astype(np.uint8)  # whole numbers from 0 to 16
Y = _data.target[_rows]
BYTES = X * np.uint8(15)  # as a picture has them
FEW, FEW_Y = BYTES[:120], Y[:120]
GIVEN = tp.Cocktail(tp.WeightDecay(0.01), tp.Dropout(0.1))


def classifier(**settings: Any) -> tp.TemperanceClassifier:
    return tp.TemperanceClassifier(**{"cocktail": GIVEN, "epochs": 2, "random_state": 0, **settings})


def small(data: Any) -> nn.Module:
    return tp.nets.ConvNet(data.in_shape, data.out_features, channels=(4,))


# Fits


def test_a_search_finds_a_network_for_digits() -> None:
    fitted = tp.TemperanceClassifier(trials=3, epochs=10, validation_fraction=0.25, random_state=0).fit(BYTES[:450], Y[:450])
    assert fitted.score(BYTES[450:], Y[450:]) > 0.9
    assert set(fitted.search_.trials["plan"]) <= {"mlp", "conv"}
    assert {"cutout", "affine"} <= {name.split(".")[0] for name in fitted.search_.trials.columns if "." in name}


def test_a_given_cocktail_trains_convolutions() -> None:
    fitted = classifier(epochs=12, validation_fraction=0.2).fit(BYTES[:450], Y[:450])
    assert isinstance(fitted.model_, tp.nets.ConvNet) and fitted.score(BYTES[450:], Y[450:]) > 0.9
    assert isinstance(fitted.encoder_, PixelEncoder) and fitted.encoder_.shape == (1, 8, 8) and fitted.n_features_in_ == 1
    assert not hasattr(fitted, "feature_names_in_")


def test_values_of_images() -> None:
    inked = X.mean((1, 2, 3), dtype=np.float64)
    fitted = tp.TemperanceRegressor(GIVEN, epochs=15, validation_fraction=0.2, random_state=0).fit(X[:450], inked[:450])
    assert fitted.score(X[450:], inked[450:]) > 0.8 and fitted.predict(X[:2]).shape == (2,)


def test_a_network_of_your_own_takes_images() -> None:
    searched = classifier(cocktail=None, trials=2, model=small).fit(FEW, FEW_Y)
    assert isinstance(searched.model_, tp.nets.ConvNet) and searched.predict_proba(FEW[:3]).shape == (3, 10)
    shapes: list[tuple[int, ...]] = []

    def flat(data: Any) -> nn.Module:
        shapes.append(data.in_shape)
        return nn.Sequential(nn.Flatten(), nn.Linear(data.in_features, data.out_features))

    given = classifier(model=flat, cocktail=tp.Cocktail(tp.CutOut(0.2)), refits=2).fit(FEW, FEW_Y)
    assert set(shapes) == {(1, 8, 8)} and isinstance(given.model_, tp.nets.Average)


def test_labels_weights_and_rows_without_a_target() -> None:
    weight = np.where(np.arange(120) < 20, 0.0, 1.0)
    first = classifier(model=small).fit(FEW, FEW_Y, sample_weight=weight)
    second = classifier(model=small).fit(FEW[20:], FEW_Y[20:], sample_weight=weight[20:])
    np.testing.assert_array_equal(first.predict_proba(FEW), second.predict_proba(FEW))
    labels = np.stack([FEW_Y % 2, FEW_Y > 4], 1).astype(int)
    assert classifier(model=small).fit(FEW, labels).predict(FEW[:3]).shape == (3, 2)
    gaps = [None if i % 3 == 0 else int(c) for i, c in enumerate(FEW_Y)]
    fitted = classifier(model=small).fit(FEW, gaps)
    assert any("40 rows without a target" in note for note in fitted.search_.notes)


def test_several_targets_of_images() -> None:
    targets = pd.DataFrame({"odd": np.where(FEW_Y % 2, "odd", "even"), "ink": FEW.mean((1, 2, 3))})

    def build(data: Any) -> nn.Module:
        trunk = tp.nets.ConvNet(data.in_shape, 8, channels=(4,))
        return tp.nets.MultiHead(trunk, 8, {name: int(y.shape[1]) for name, y in data.y.items()}, (4,))

    fitted = tp.TemperanceMultiTask(GIVEN, model=build, epochs=2, random_state=0).fit(FEW, targets)
    assert fitted.predict(FEW[:5]).shape == (5, 2)
    with pytest.raises(tp.ConfigError, match=re.escape("Expected `model` of TemperanceMultiTask to be a function for images, got None.")):
        tp.TemperanceMultiTask(GIVEN).fit(FEW, targets)


# What numbers mean


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.uint16])
def test_the_same_numbers_in_other_types(kind: Any) -> None:
    first, second = classifier(model=small).fit(FEW, FEW_Y), classifier(model=small).fit(FEW.astype(kind), FEW_Y)
    expected = first.predict_proba(FEW)
    for fitted in (first, second):
        for rows in (FEW, FEW.astype(kind), FEW.tolist(), torch.from_numpy(FEW.astype(np.int32)), list(FEW)):
            np.testing.assert_array_equal(fitted.predict_proba(rows), expected)


def test_fractions_and_bytes() -> None:
    fitted = classifier(model=small).fit(FEW / 255.0, FEW_Y)
    np.testing.assert_array_equal(fitted.predict_proba(FEW), fitted.predict_proba(FEW / 255.0))
    np.testing.assert_allclose(fitted.predict_proba((FEW / 255.0).astype(np.float32)), fitted.predict_proba(FEW), atol=1e-5)  # rounding of inputs near 1
    with pytest.raises(
        tp.DataError, match=re.escape("Expected fractions in [0, 1] or bytes (uint8) in `X` as fitted, got whole numbers up to 240 in float64.")
    ):
        fitted.predict(FEW.astype(float))
    of_bytes = classifier(model=small).fit(FEW, FEW_Y)
    with pytest.raises(tp.DataError, match=re.escape("Expected whole numbers in `X` as fitted, got fractions in [0, 1]. Multiply them")):
        of_bytes.predict(FEW / 255.0)
    assert of_bytes.predict(np.zeros((1, 1, 8, 8))).shape == (1,)  # black is black on either scale


@pytest.mark.parametrize(("scale", "shift"), [(1e-9, 0.0), (1e6, 1e7), (1.0, -0.5)])
def test_standardization_is_that_of_numpy(scale: float, shift: float) -> None:
    pixels = np.random.default_rng(0).normal(size=(30, 3, 4, 5)) * scale + shift
    rows = np.arange(0, 30, 2)
    encoder = PixelEncoder().fit(pixels, rows)
    mean, sd = pixels[rows].mean((0, 2, 3), keepdims=True), pixels[rows].std((0, 2, 3), keepdims=True)
    # float64 sums in another order: relative errors of a few ulp times mean / sd, at most 10 here; then one rounding to float32
    np.testing.assert_allclose(encoder.transform(pixels).numpy(), (pixels - mean) / sd, rtol=1e-6, atol=1e-6)


def test_a_channel_of_one_value_becomes_zero() -> None:
    encoder = PixelEncoder().fit(np.full((7, 1, 3, 3), 0.1))
    assert encoder.sd.tolist() == [1.0] and encoder.transform(np.full((2, 1, 3, 3), 0.1)).abs().max() < 1e-12


def test_parts_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = classifier(model=small).fit(FEW / 16.0, FEW_Y).predict_proba(FEW / 16.0)
    sizes: list[int] = []
    transform = PixelEncoder.transform

    def counted(self: PixelEncoder, pixels: np.ndarray) -> Any:
        sizes.append(len(pixels))
        return transform(self, pixels)

    fitted = classifier(model=small).fit(FEW / 16.0, FEW_Y)
    monkeypatch.setattr(PixelEncoder, "transform", counted)
    monkeypatch.setattr(module, "PART", 50)
    monkeypatch.setattr("temperance.estimators.inputs.PART", 50)
    np.testing.assert_array_equal(fitted.predict_proba(FEW / 16.0), whole)
    assert sizes == [50, 50, 20]
    np.testing.assert_array_equal(np.concatenate([fitted.predict_proba(FEW[i : i + 1] / 16.0) for i in range(5)]), whole[:5])
    np.testing.assert_allclose(PixelEncoder().fit(FEW).sd, FEW.astype(float).std(), rtol=1e-12)


def test_means_come_from_rows_that_train() -> None:
    bright = np.array(FEW)
    held = classifier(model=small, validation_fraction=0.25).fit(FEW, FEW_Y)
    folds = classifier(model=small).fit(FEW, FEW_Y)
    assert folds.encoder_.mean[0] == pytest.approx(FEW.mean()) and held.encoder_.mean[0] != pytest.approx(FEW.mean(), rel=1e-6)
    bright[100:] = 255
    given = classifier(model=small).fit(FEW[:100], FEW_Y[:100], X_val=bright[100:], y_val=FEW_Y[100:])
    assert given.encoder_.mean[0] == pytest.approx(FEW[:100].mean())


# scikit-learn's tools


def test_clone_pickle_and_refits() -> None:
    first = classifier().fit(FEW, FEW_Y)
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict_proba(FEW), first.predict_proba(FEW))
    np.testing.assert_array_equal(clone(first).fit(FEW, FEW_Y).predict_proba(FEW), first.predict_proba(FEW))
    flat = FEW.reshape(120, -1)
    assert first.fit(flat, FEW_Y).n_features_in_ == 64 and first.predict(flat).shape == (120,)
    assert first.fit(FEW, FEW_Y).n_features_in_ == 1
    assert cross_val_predict(classifier(model=small), FEW, FEW_Y, cv=2).shape == (120,)


# Bad input


CASES: list[tuple[Any, str]] = [
    (FEW[:, 0], "Expected `X` as rows (n, columns) or as images (n, channels, height, width), got shape (120, 8, 8). For gray images without channels"),
    (FEW[..., None], "got shape (120, 1, 8, 8, 1). Reshape it."),
    (
        np.moveaxis(FEW, 1, 3),
        "Expected images (n, channels, height, width) in `X`, got shape (120, 8, 8, 1), with channels at the end. Give np.moveaxis(X, 3, 1).",
    ),
    (FEW[:, :, :0], "Expected images with at least one pixel in `X`, got shape (120, 1, 0, 8)."),
    (FEW[:1], "1 sample"),
    (FEW[:0], "0 sample"),
    ([FEW[0], FEW[1, :, :4]], "Expected images of one size in `X`, got several sizes. Resize or pad them."),
    (
        np.where(np.arange(120)[:, None, None, None] == 7, np.nan, FEW),
        "Expected finite numbers in the images of `X`, got others in image 7. Correct or drop it.",
    ),
    (FEW * 1j, "Complex data not supported"),
    (FEW.astype(str), "not compatible with arrays of bytes/strings"),
    (FEW[:50], "inconsistent numbers of samples"),
]


@pytest.mark.parametrize(("rows", "message"), CASES)
def test_bad_images(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        classifier().fit(rows, FEW_Y)


def test_other_images_than_those_fitted() -> None:
    fitted = classifier(model=small).fit(FEW, FEW_Y)
    cases: list[tuple[Any, str]] = [
        (FEW[:, :, :7], "Expected images of 1 x 8 x 8 (channels x height x width) in `X` as fitted, got 1 x 7 x 8. Resize or convert them."),
        (np.repeat(FEW, 3, 1), "in `X` as fitted, got 3 x 8 x 8."),
        (FEW.reshape(120, -1), "Expected images (n, 1, 8, 8) in `X` as fitted, got rows of columns. Reshape X."),
        (pd.DataFrame(FEW.reshape(120, -1)), "Expected images (n, 1, 8, 8) in `X` as fitted, got rows of columns."),
        (FEW[0], "Expected `X` as rows (n, columns) or as images (n, channels, height, width), got shape (1, 8, 8)."),
        (FEW[:0], "0 sample"),
        (np.full((1, 1, 8, 8), np.inf), "Expected finite numbers in the images of `X`, got others in image 0."),
    ]
    for rows, message in cases:
        with pytest.raises(ValueError, match=re.escape(message)):
            fitted.predict(rows)
    with pytest.raises(tp.DataError, match=re.escape("as fitted, got 1 x 8 x 4.")):
        classifier().fit(FEW, FEW_Y, X_val=FEW[..., :4], y_val=FEW_Y)
    of_columns = classifier(steps=2, epochs=None).fit(FEW.reshape(120, -1), FEW_Y)
    with pytest.raises(
        tp.DataError, match=re.escape("Expected a table in `X` as fitted, got images of shape (120, 1, 8, 8). Give rows with the fitted columns.")
    ):
        of_columns.predict(FEW)
