"""Every planted cause is found, and a healthy network has none."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.diagnose.planted import Scalar, blobs, no_rows, trained
from torch import nn

import temperance as tp
from temperance.diagnose import diagnose_function as diagnose


def test_a_healthy_network_has_no_causes() -> None:
    net, rows, held = trained()
    found = diagnose(net, rows, validation=held, lr=0.01)
    assert found.causes == ()
    assert found["gap"].value["validation"] > 0.85
    assert [name for name, _ in found.skipped] == ["strengths"]  # no cocktail was given


def test_a_healthy_regression_has_no_causes() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4)).astype(np.float32)
    y = (X[:, 0] - X[:, 1] ** 2 / 2 + 0.1 * rng.normal(size=400)).astype(np.float32)
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(4, 1, hidden=(16, 16), activation="tanh"), 0)
    model = tp.fit(net, tp.Cocktail(tp.WeightDecay(1e-2)), (X[:300], y[:300]), validation=(X[300:], y[300:]), epochs=30, optimizer=tp.optim.AdamW(1e-2)).model
    found = diagnose(model, (X[:300], y[:300]), validation=(X[300:], y[300:]), lr=0.01)
    assert found.causes == ()
    assert [name for name, _ in found.skipped] == ["labels", "calibration", "strengths"]


def test_too_large_a_step() -> None:
    net, rows, _ = trained()
    stable = diagnose(net, rows, lr=0.01, checks="step")["step"].value["critical_lr"]
    assert diagnose(net, rows, lr=0.9 * stable, checks="step").causes == ()
    found = diagnose(net, rows, lr=1.1 * stable, checks="step")
    assert found.causes == ("step_size",)
    assert found["step_size"].value["predicted"] > 0


def test_oscillation_and_zigzag() -> None:
    loss = lambda out, y: 30 * out.square().mean()  # noqa: E731
    assert diagnose(Scalar(3.0), no_rows(), criterion=loss, lr=0.034, checks="oscillation").causes == ("oscillation",)
    slow = diagnose(Scalar(3.0), no_rows(), criterion=loss, lr=0.033, checks="oscillation")["zigzag"]
    assert slow.verdict == "look"
    assert slow.value["cosine"] == pytest.approx(-1.0)
    assert slow.value["loss_after"] == pytest.approx(270 * 0.98**24)
    assert diagnose(Scalar(3.0), no_rows(), criterion=loss, lr=0.01, checks="oscillation")["steps"].verdict == "fine"


def test_divergence() -> None:
    """x⁴ from 1 with steps of 0.6: −1.4, 5.2, −330, ..., back and forth until the numbers end; a network jumps elsewhere."""
    found = diagnose(Scalar(1.0), no_rows(), criterion=lambda out, y: out.pow(4).mean(), lr=0.6, checks="oscillation")
    assert found.causes == ("oscillation",)
    rows = blobs(100, 0)[:2]
    deep = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(16, 16)), 0)
    assert diagnose(deep, rows, lr=0.1, checks="oscillation").causes == ()
    assert set(diagnose(deep, rows, lr=100.0, checks="oscillation").causes) & {"divergence", "oscillation"}


def test_dead_units() -> None:
    net, rows, _ = trained()
    sick = copy.deepcopy(net)
    with torch.no_grad():
        sick.hidden[0].linear.bias[:9] = -100.0
    found = diagnose(sick, rows, checks="units")
    assert found.causes == ("dead_units",)
    assert found["dead_units"].value["dead"] >= 9


def test_saturated_units() -> None:
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(16,), activation="tanh"), 0)
    rows = blobs(200, 0)[:2]
    assert diagnose(net, rows, checks="units").causes == ()
    with torch.no_grad():
        net.hidden[0].linear.bias[:10] = 50.0
        net.hidden[0].linear.weight[:10, :] += 1e-2 * torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    found = diagnose(net, rows, checks="units")
    assert "saturated_units" in found.causes or "dead_units" in found.causes
    with torch.no_grad():
        net.hidden[0].linear.bias[:10] = 0.0
        net.hidden[0].linear.weight[:10] = 0.0
        net.hidden[0].linear.weight[:10, 0] = 300.0
    assert diagnose(net, rows, checks="units").causes == ("saturated_units",)


@pytest.mark.parametrize("own", [True, False])
def test_exploding_gradients_through_time(own: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.out = nn.RNN(3, 16, batch_first=True), nn.Linear(16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.layer(x)[0][:, -1])

    net = tp.nets.build_seeded((lambda: tp.nets.RecurrentNet(3, 16, 1, cell="rnn")) if own else Net, 0)
    g = torch.Generator().manual_seed(0)
    x = 0.01 * torch.randn(60, 20, 3, generator=g)
    rows = x, x.sum((1, 2)) * 10
    square = net.cells[0].recurrent.weight if own else net.layer.weight_hh_l0
    with torch.no_grad():
        torch.nn.init.orthogonal_(square, generator=g)
    assert not any("exploding" in cause for cause in diagnose(net, rows, checks="gradients").causes)
    with torch.no_grad():
        square.mul_(3.0)
    found = diagnose(net, rows, checks="gradients")
    assert "exploding_gradients_in_time" in found.causes
    assert found["exploding_gradients_in_time"].value["steps"] == 20


def test_vanishing_and_exploding_gradients_by_depth() -> None:
    rows = blobs(100, 0)[:2]
    deep = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(8,) * 10, activation="sigmoid"), 0)
    assert diagnose(deep, rows, checks="gradients").causes == ("vanishing_gradients",)
    linear = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(8,) * 6, activation="identity"), 0)
    with torch.no_grad():
        for layer in linear.hidden:
            torch.nn.init.orthogonal_(layer.linear.weight, generator=torch.Generator().manual_seed(0)).mul_(5.0)
    assert diagnose(linear, rows, checks="gradients").causes == ("exploding_gradients",)


def test_memorized_label_noise() -> None:
    net, (X, y), held = trained(0.2, False)
    turned = blobs(300, 0, 0.2)[2]
    found = diagnose(net, (X, y), validation=held, checks=["labels", "gap"])
    assert set(found.causes) == {"memorized_labels", "overfitting"}
    value = found["memorized_labels"].value
    assert value["accuracy"] > 0.95
    listed = np.array(value["rows"])
    # of ten neighbors, each right with .8, at least seven are right with .879: for 64 turned rows four deviations of .041 less is .715; hardly another row
    recall, precision = turned[listed].sum() / turned.sum(), turned[listed].mean()
    assert recall > 0.7
    assert precision > 0.9
    clean, (X, y), held = trained(0.0, False)
    assert diagnose(clean, (X, y), validation=held, checks="labels").causes == ()


def test_a_network_that_knows_better_than_its_neighbors_is_not_accused() -> None:
    """Parity of two signs, hidden among eight columns of noise: neighbors are often wrong together, and the network is right on new rows too."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 10)).astype(np.float32)
    y = ((X[:, 0] > 0) ^ (X[:, 1] > 0)).astype(int)

    class Knows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(3.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = -self.scale * (x[:, 0] * x[:, 1]).sign()
            return torch.stack([-z, z], 1)

    found = diagnose(Knows(), (X[:300], y[:300]), validation=(X[300:], y[300:]), checks="labels")
    assert found["labels"].value["contradicted"] > 5
    assert found.causes == ()


def test_miscalibration() -> None:
    net, rows, held = trained()
    assert diagnose(net, rows, validation=held, checks="calibration").causes == ()
    sure = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in sure.output.parameters():
            parameter.mul_(20.0)
    found = diagnose(sure, rows, validation=held, checks="calibration")
    assert found.causes == ("miscalibration",)
    before, after = diagnose(net, rows, validation=held, checks="calibration")["calibration"].value, found["calibration"].value
    assert after["temperature"] == pytest.approx(20 * before["temperature"], rel=1e-3)
    assert after["ece_after"] < after["ece"]


def test_a_saddle() -> None:
    net = tp.nets.MLP(10, 2, hidden=(4,), activation="tanh")
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    X, y, _ = blobs(200, 0)
    with torch.no_grad():
        net.output.bias.copy_(torch.tensor(np.bincount(y)).log())  # where gradient descent comes to rest
    found = diagnose(net, (X, y), checks="landscape")
    assert found.causes == ("saddle",)
    assert found["saddle"].value["smallest"] < 0


def test_a_plateau() -> None:
    net = nn.Sequential(nn.Linear(1, 4), nn.Sigmoid(), nn.Linear(4, 1), nn.Sigmoid())
    nn.init.constant_(net[2].bias, -40.0)
    x = torch.linspace(-1, 1, 50)[:, None]
    assert diagnose(net, tp.data.Dataset(x, (x > 0).float(), "regression"), checks="landscape").causes == ("plateau",)


def test_a_cliff() -> None:
    """Thirty factors in a row: at 1.4 each the output is 24,000 times the input; at 1 each all is well."""
    steep = nn.Sequential(*[nn.Linear(1, 1, bias=False) for _ in range(30)])
    for size, causes in ((1.0, ()), (1.4, ("cliff",))):
        for layer in steep:
            nn.init.constant_(layer.weight, size)
        assert diagnose(steep, (torch.ones(2, 1), torch.tensor([0.5, 1.5])), checks="landscape").causes == causes


def test_inputs_that_are_not_standardized() -> None:
    X, y, _ = blobs(100, 0)
    net = nn.Linear(10, 2)
    assert diagnose(net, (X, y), checks="conditioning").causes == ()
    X[:, 3] = 1000 * X[:, 3] + 5000
    found = diagnose(net, (X, y), checks="conditioning")
    assert found.causes == ("inputs_not_standardized",)
    value = found["conditioning"].value
    whole = np.hstack([np.ones((100, 1)), X.astype(np.float64)])
    assert value["condition"] == pytest.approx(np.linalg.cond(whole) ** 2, rel=1e-3)
    assert value["condition"] > 1e4 * value["condition_standardized"]
    assert diagnose(nn.Sequential(nn.BatchNorm1d(10), net), (X, y), checks="conditioning").causes == ()


def test_an_empty_layer_and_numbers_that_are_not_finite() -> None:
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(8,)), 0)
    rows = blobs(50, 0)[:2]
    nn.init.zeros_(net.hidden[0].linear.weight)
    assert diagnose(net, rows, checks="sparsity").causes == ("empty_layers",)
    nn.init.constant_(net.output.bias, float("nan"))
    found = diagnose(net, rows, lr=0.1)
    assert found.causes[0] == "not_finite"
    assert "landscape" in dict(found.skipped)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_loss_that_falls_on_one_side_alone_is_no_saddle(side: float) -> None:
    """Both sides together fall by 0.1 r² - r⁴, at most 0.0025 of the loss; one side alone by 0.27 more at r = 0.3."""

    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (1 - 0.1 * out.square() + side * 10 * out**3 + out**4).mean()

    found = diagnose(Scalar(0.0), no_rows(), criterion=loss, checks="landscape")
    assert found["landscape"].value["smallest"] == pytest.approx(-0.2) and found.causes == ()
    assert found["landscape"].value["gain"] <= 0.0025


def test_what_few_rows_show_by_chance_is_no_miscalibration() -> None:
    """Labels drawn from the probabilities themselves are off by chance alone, however much it is on forty rows."""
    net = nn.Linear(2, 2, bias=False)
    net.weight.data = torch.eye(2)
    z = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    for seed in (3, 10, 15):
        y = torch.multinomial(z.softmax(1), 1, generator=torch.Generator().manual_seed(seed))[:, 0]
        found = diagnose(net, (z, y), checks="calibration")
        value = found["calibration"].value
        assert value["ece"] - value["ece_by_chance"] > 0.03, "more than many rows would need"
        assert found.causes == () and found["calibration"].verdict == "fine"
