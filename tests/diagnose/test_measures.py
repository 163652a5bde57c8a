"""Calibration, pathways, sparsity and the gap against numbers found otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from tests.diagnose.planted import blobs, trained
from torch import nn

import temperance as tp
from temperance.diagnose import diagnose_function as diagnose


def coadapted(rows: list[list[float]]) -> nn.Module:
    """Hidden units without activation whose mean is the output."""
    net = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Threshold(-1e9, 0.0), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(rows))
        net[2].weight.fill_(0.5)
    return net


def test_single_pathways_of_the_worked_example() -> None:
    """Both hidden units find 2x₁ − 3x₂; x₃ and x₄ cancel only in the mean, so a unit alone misses by x₃ − x₄."""
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    data = tp.data.Dataset(x, (2 * x[:, :1] - 3 * x[:, 1:2]), "regression")
    found = diagnose(coadapted([[2, -3, 1, -1], [2, -3, -1, 1]]), data, checks="pathways")["pathways"].value
    assert found["loss"] == pytest.approx(0.0, abs=1e-10)
    assert found["pathway_loss"] == pytest.approx(float((x[:, 2] - x[:, 3]).square().mean()), rel=1e-5)
    assert found["pathway_sd"] == pytest.approx(0.0, abs=1e-6)
    alone = diagnose(coadapted([[2, -3, 0, 0], [2, -3, 0, 0]]), data, checks="pathways")["pathways"].value
    assert alone["pathway_loss"] == pytest.approx(0.0, abs=1e-10)


def test_correlation_is_that_of_numpy() -> None:
    net, (X, y), _ = trained()
    found = diagnose(net, (X, y), checks="pathways")
    layer = next(f for f in found if f.name in ("unit_correlation", "alike_units"))
    with torch.no_grad():
        h = net.hidden[0](torch.from_numpy(X)).double().numpy()
    h = h[:, h.std(0) > 1e-6 * h.std(0).max()]
    r = np.abs(np.corrcoef(h.T))
    assert layer.value["largest"] == pytest.approx((r.sum() - len(r)) / (len(r) * (len(r) - 1)), rel=1e-6)


def test_dropout_makes_pathways_stand_on_their_own() -> None:
    X, y, _ = blobs(300, 0, apart=1.0)
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(32,)), 0)
    values: list[float] = []
    for cocktail in (tp.Cocktail(), tp.Cocktail(tp.Dropout(0.5))):
        model = tp.fit(net, cocktail, (X, y), validation=None, epochs=20, batch_size=32, optimizer=tp.optim.Adam(5e-3)).model
        value = diagnose(model, (X, y), checks="pathways")["pathways"].value
        values.append(value["pathway_loss"])
    assert values[1] < values[0]


def test_temperature_and_calibration_error() -> None:
    net, rows, (V, v) = trained()
    value = diagnose(net, rows, validation=(V, v), checks="calibration")["calibration"].value
    with torch.no_grad():
        z = net(torch.from_numpy(V)).double().numpy()

    def loss(t: Any) -> float:
        s = z / np.exp(t[0])
        return float((np.log(np.exp(s).sum(1)) - s[np.arange(len(v)), v]).mean())

    best = minimize(loss, [0.0], method="BFGS")
    assert value["temperature"] == pytest.approx(np.exp(best.x[0]), rel=1e-3)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    sure, right = p.max(1), p.argmax(1) == v
    place = np.minimum((sure * 15).astype(int), 14)
    exact = sum(abs(right[place == b].mean() - sure[place == b].mean()) * (place == b).mean() for b in range(15) if (place == b).any())
    assert value["ece"] == pytest.approx(exact, rel=1e-4)


def test_labels_of_several_outputs_are_calibrated_too() -> None:
    X = blobs(200, 0)[0]
    data = tp.data.as_dataset(X, (X[:, :3] > 0).astype(int), task="multilabel")
    net = tp.nets.build_seeded(lambda: nn.Linear(10, 3), 0)
    value = diagnose(net, data, validation=data, checks=["calibration", "gap"])
    assert 0 < value["calibration"].value["ece"] < 1
    with torch.no_grad():
        exact = ((net(torch.from_numpy(X)) > 0).numpy() == (X[:, :3] > 0)).mean()
    assert value["gap"].value["train"] == pytest.approx(exact)


def test_the_gap_of_values_is_that_of_r2() -> None:
    X = blobs(200, 0)[0]
    y = (X @ np.arange(10) / 10 + 1).astype(np.float32)
    net = tp.nets.build_seeded(lambda: nn.Linear(10, 1), 0)
    value = diagnose(net, (X[:100], y[:100]), validation=(X[100:], y[100:]), checks="gap")["gap"].value
    with torch.no_grad():
        out = net(torch.from_numpy(X)).numpy()[:, 0]
    spread = y[:100].var()
    assert value["train"] == pytest.approx(1 - ((out[:100] - y[:100]) ** 2).mean() / spread, rel=1e-4)
    assert value["validation"] == pytest.approx(1 - ((out[100:] - y[100:]) ** 2).mean() / spread, rel=1e-4)


def test_signals_are_the_gradients_of_single_rows() -> None:
    net = tp.nets.build_seeded(lambda: nn.Sequential(nn.Linear(10, 6), nn.Tanh(), nn.Linear(6, 2)), 0).double()
    X, y, _ = blobs(20, 0)
    layers = diagnose(net, (X, y), checks="gradients")["gradients"].data["layers"]
    squares = np.zeros(2)
    for row, label in zip(torch.from_numpy(X).double(), torch.from_numpy(y), strict=True):
        first = net[0](row[None])
        last = net[2](net[1](first))
        loss = torch.nn.functional.cross_entropy(last, label[None])
        squares += [float(g.square().sum()) / 20 for g in torch.autograd.grad(loss, [first, last])]
    assert [layer["layer"] for layer in layers] == ["0", "2"]
    np.testing.assert_allclose([layer["signal"] for layer in layers], np.sqrt(squares), rtol=1e-9)
