"""The predicted change of the loss, with the worked numbers of f = 30x²."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.diagnose.planted import Scalar, blobs, no_rows
from torch import Tensor

import temperance as tp
from temperance.diagnose import diagnose_function as diagnose

NUMBERS = {3.0: (-10.692, 22.032, 56.7), 4.0: (-19.008, 39.168, 100.8), 50.0: (-2970.0, 6120.0, 15750.0)}


def thirty(out: Tensor, y: Any) -> Tensor:
    return 30 * out.square().mean()


@pytest.mark.parametrize(("x", "k", "lr"), [(x, k, lr) for x in NUMBERS for k, lr in enumerate((0.033, 0.034, 0.035))])
def test_thirty_x_squared(x: float, k: int, lr: float) -> None:
    found = diagnose(Scalar(x), no_rows(), criterion=thirty, lr=lr, checks="step")
    value = found["step"].value
    assert value["predicted"] == pytest.approx(NUMBERS[x][k], rel=1e-12)
    exact = 30 * (x - lr * 60 * x) ** 2 - 30 * x**2
    assert value["predicted"] == pytest.approx(exact, rel=1e-11)
    assert value["measured"] == pytest.approx(exact, rel=1e-11)
    assert (found.causes == ("step_size",)) == (lr > 1 / 30)
    assert value["critical_lr"] == pytest.approx(1 / 30)


@pytest.mark.parametrize("lr", [0.033, 0.034, 0.035])
def test_at_the_minimum_no_step_is_bad(lr: float) -> None:
    found = diagnose(Scalar(0.0), no_rows(), criterion=thirty, lr=lr, checks=["step", "oscillation"])
    assert found.causes == ()
    assert found["step"].value["predicted"] == 0.0


def test_it_is_exact_for_every_quadratic() -> None:
    X, _, _ = blobs(50, 0)
    net = torch.nn.Linear(10, 1).double()
    y = torch.linspace(-1, 1, 50)
    for lr in (0.01, 0.1, 1.0):
        value = diagnose(net, (X, y), lr=lr, checks="step")["step"].value
        assert value["predicted"] == pytest.approx(value["measured"], rel=1e-9)


@pytest.mark.parametrize(
    ("given", "lr"),
    [
        (0.25, 0.25),
        (tp.optim.SGD(0.25), 0.25),
        (tp.optim.AdamW(tp.schedules.Cosine(0.25)), 0.25),
        (torch.optim.SGD([{"params": [torch.zeros(1)], "lr": 0.25}, {"params": [torch.ones(1)], "lr": 0.1}]), 0.25),
    ],
)
def test_the_rate_of_an_optimizer(given: Any, lr: float) -> None:
    assert diagnose(Scalar(3.0), no_rows(), criterion=thirty, lr=given, checks="step")["step"].value["lr"] == lr


def test_without_a_rate_it_is_skipped() -> None:
    found = diagnose(Scalar(3.0), no_rows(), criterion=thirty, checks=["step", "oscillation"])
    assert found.findings == ()
    assert [name for name, reason in found.skipped if "lr=" in reason] == ["step", "oscillation"]
