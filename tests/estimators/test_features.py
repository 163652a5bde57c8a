"""A backbone: images pass through it once, and what is fitted is a table of its features."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn

import temperance as tp
from temperance.core.errors import ConfigError, DataError
from temperance.estimators.features import FeatureEncoder
from temperance.nets import build_seeded
from temperance.nets.backbone import Normalized, backbone_of


class Counted(nn.Module):
    """A random network of no training that counts the images it sees, and would change if it were trained."""

    seen: int = 0

    def __init__(self, maps: bool = False) -> None:
        super().__init__()
        self.body = build_seeded(lambda: nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)), 0)
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        type(self).seen += len(x)
        assert x.min() >= 0 and x.max() <= 1
        return self.body(x) if self.maps else self.body(x).amax((2, 3))


def images(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of two kinds: bars that lie or stand."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = rng.integers(0, 60, (n, 1, 8, 8)).astype(np.uint8)
    for i, k in enumerate(y):
        at = rng.integers(1, 7)
        x[(i, 0, at) if k else (i, 0, slice(None), at)] = 220
    return x, y


QUICK: dict[str, Any] = {"trials": 4, "epochs": 12, "random_state": 0}


@pytest.mark.parametrize("maps", [False, True])
def test_every_image_passes_once_and_heads_learn_from_its_features(maps: bool) -> None:
    x, y = images()
    backbone = Counted(maps)
    before = {name: t.clone() for name, t in backbone.state_dict().items()}
    Counted.seen = 0
    fitted = tp.TemperanceClassifier(backbone=backbone, **QUICK).fit(x, y)
    assert Counted.seen == len(x) and len(fitted.search_.trials) == 4
    assert backbone.training and all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())
    with torch.no_grad():
        raw = Counted(maps).eval()(torch.from_numpy(x).float() / 255)
    raw = raw.mean((2, 3)) if maps else raw
    got = fitted.encoder_.transform(x)["num"]
    torch.testing.assert_close(got * fitted.encoder_.spread + fitted.encoder_.center, raw, atol=1e-5, rtol=1e-5)
    assert isinstance(fitted.model_(fitted.encoder_.transform(x[:3])), Tensor)
    p = fitted.predict_proba(x)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(x), p)
    np.testing.assert_allclose(fitted.predict_proba(x[5:6]), p[5:6], atol=1e-6)
    if not maps:  # the most of each map tells bars apart, the mean does not
        assert fitted.score(x, y) > 0.8


def test_means_are_those_of_the_rows_that_learn() -> None:
    x, _ = images(20)
    encoder = FeatureEncoder(nn.Flatten()).fit(x, np.arange(5, 15))
    part = x[5:15].reshape(10, -1) / 255
    np.testing.assert_allclose(encoder.center.numpy(), part.mean(0), atol=1e-6)
    np.testing.assert_allclose(encoder.spread.numpy(), part.std(0), atol=1e-6)
    constant = FeatureEncoder(nn.Flatten()).fit(np.full((3, 1, 2, 2), 255, np.uint8))
    assert constant.transform(np.full((1, 1, 2, 2), 255, np.uint8))["num"].abs().max() == 0


@pytest.mark.parametrize(("scale", "kind"), [(1, np.uint8), (1, np.float64), (1 / 255, np.float32)], ids=["bytes", "whole", "fractions"])
def test_the_backbone_sees_fractions(scale: float, kind: type) -> None:
    x = (images(4)[0] * scale).astype(kind)
    encoder = FeatureEncoder(nn.Flatten()).fit(x)
    raw = encoder.transform(x)["num"] * encoder.spread + encoder.center
    np.testing.assert_allclose(raw.numpy(), images(4)[0].reshape(4, -1) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [(0, 255, 255), (0, 1000, 1023), (0, 4095, 4095), (0, 9000, 16383), (0, 40_000, 65535), (0, 70_000, 1), (-5, 1000, 1)],
)
def test_whole_numbers_are_divided_by_the_largest_of_their_bits(low: int, high: int, unit: int) -> None:
    """Negative numbers and larger ones have no such scale: the backbone sees them as they are."""
    x = np.array([low, high, 2, 7], np.int32).reshape(2, 1, 1, 2)
    encoder = FeatureEncoder(nn.Flatten()).fit(x)
    raw = encoder.transform(x)["num"] * encoder.spread + encoder.center
    np.testing.assert_allclose(raw.numpy(), x.reshape(2, 2) / unit, rtol=1e-5, atol=1e-6 * high / unit)


def test_regression_and_a_network_of_your_own_on_features() -> None:
    x, y = images(40)
    regressor = tp.TemperanceRegressor(tp.Cocktail(tp.L2(1e-4)), backbone=Counted(), epochs=4, random_state=0).fit(x, 3.0 * y + 1.0)
    assert regressor.predict(x).shape == (40,) and clone(regressor).backbone is not None
    head = tp.TemperanceClassifier(backbone=Counted(), model=lambda data: nn.Linear(data.in_features, data.out_features), **QUICK).fit(x, y)
    assert isinstance(head.model_, nn.Linear) and head.model_.in_features == 8


def test_messages() -> None:
    x, y = images(20)
    classifier = tp.TemperanceClassifier(backbone=Counted(), **QUICK)
    with pytest.raises(DataError, match=r"images \(n, channels, height, width\) in `X` with a `backbone`, got rows of columns"):
        classifier.fit(x.reshape(20, -1), y)
    with pytest.raises(DataError, match="Resize or convert them"):
        classifier.fit(x, y).predict(x[:, :, :4])
    for wrong, words in (
        ("resnet18", "`backbone` of TemperanceClassifier to be an nn.Module, 'timm:NAME' or None, got 'resnet18'"),
        (nn.Linear(3, 2), r"`backbone` to take images of shape \(1, 8, 8\), got RuntimeError"),
        (nn.Unflatten(3, (2, 4)), r"`backbone` to return features \(n, d\).* got shape \(20, 1, 8, 2, 4\)"),
    ):
        with pytest.raises(ConfigError, match=words):
            tp.TemperanceClassifier(backbone=wrong, **QUICK).fit(x, y)
    broken = Counted()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="finite features of `backbone`, got NaN or infinite ones for image 0"):
        tp.TemperanceClassifier(backbone=broken, **QUICK).fit(x, y)


def test_a_name_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for timm, which need not be installed: asked for its weights, without the last layer, in its size and scale."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"needs timm. Install it with pip install 'temperance\[timm\]'"):
        backbone_of("timm:tiny", "TemperanceClassifier")

    def create(name: str, pretrained: bool, num_classes: int) -> nn.Module:
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        assert pretrained and num_classes == 0
        return nn.Flatten()

    settings = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 0.2), "input_size": (3, 4, 4)}
    stand_in = SimpleNamespace(create_model=create, data=SimpleNamespace(resolve_model_data_config=lambda network: settings))
    monkeypatch.setitem(sys.modules, "timm", stand_in)
    network = backbone_of("timm:tiny", "TemperanceClassifier")
    assert isinstance(network, Normalized)
    out = network(torch.full((2, 1, 8, 8), 0.6)).reshape(2, 3, 4, 4)
    torch.testing.assert_close(out[0, :, 1, 1], torch.tensor([1.0, 1.6, 1.5]))
    with pytest.raises(ConfigError, match=r"'timm:huge' to be a model of timm with its weights, got RuntimeError: Unknown model \(huge\)"):
        backbone_of("timm:huge", "TemperanceClassifier")
