"""Robust evaluation: closed forms, brute force, no trace on the network, and the signs of attacks that fail."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest
from torch import Tensor, nn

from temperance.core.errors import ConfigError, DataError
from temperance.core.random import Rng, key_of
from temperance.data import Dataset
from temperance.diagnose.attacks import NOISE, Classes, wilson
from temperance.diagnose.robustness import _signs, robustness
from temperance.regularizers._inputs import random_start

EPS = [0.1, 0.3, 0.6]


def linear(outputs: int = 2, features: int = 5, seed: int = 0) -> nn.Linear:
    g = torch.Generator().manual_seed(seed)
    net = nn.Linear(features, outputs)
    with torch.no_grad():
        net.weight.copy_(torch.randn(outputs, features, generator=g))
        net.bias.copy_(torch.randn(outputs, generator=g))
    return net


def inputs(n: int = 200, features: int = 5, seed: int = 1) -> Tensor:
    return torch.randn(n, features, generator=torch.Generator().manual_seed(seed))


class Recorder(nn.Module):
    """Keeps what a network was given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.seen = network, list[Any]()

    def forward(self, x: Any) -> Tensor:
        self.seen.append({k: v.detach().clone() for k, v in x.items()} if isinstance(x, dict) else x.detach().clone())
        return self.network(x)


# Closed forms


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("scaled", [False, True])
def test_two_classes_of_a_linear_network(norm: str, scaled: bool) -> None:
    """Right at eps iff the difference of the scores is above eps ‖s (w₁ - w₀)‖, dual norm: every attack must find the others."""
    net, x = linear(), inputs()
    scale = torch.tensor([1.0, 0.5, 2.0, 0.0, 1.0]) if scaled else torch.ones(5)
    y = torch.from_numpy(np.random.default_rng(0).integers(0, 2, 200))
    found = robustness(net, (x, y), eps=EPS, norm=norm, scale=scale)
    w, b = net.weight.detach().double().numpy(), net.bias.detach().double().numpy()
    sign = 2 * y.numpy() - 1
    gap = sign * (x.double().numpy() @ (w[1] - w[0]) + b[1] - b[0])
    reach = np.linalg.norm(scale.numpy() * (w[1] - w[0]), 1 if norm == "linf" else 2)
    assert found.clean.value == (gap > 0).mean()
    for k, eps in enumerate(EPS):
        assert np.abs(gap - eps * reach).min() > 1e-4, "no row stands where rounding decides"
        expected = (gap > eps * reach).mean()
        assert [found.attacks[name][k].value for name in ("fgsm", "pgd", "margin")] == [expected] * 3
        assert found.worst[k].value == expected <= found.noise[k].value
    assert found.warnings == () and found.n == 200 and found.metric == "accuracy" and found.unit == "sd"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_regression(norm: str) -> None:
    """The largest error within the ball is |residual| + eps ‖w‖, dual norm, in units of the target."""
    net, x = linear(1), inputs()
    y = net(x).detach() + 0.5 * inputs(200, 1, seed=2)
    found = robustness(net, (x, y), eps=EPS, norm=norm, scale=1.0, y_scale=3.0)
    residual = np.abs((net(x).detach() - y).double().numpy()[:, 0])
    reach = np.linalg.norm(net.weight.detach().double().numpy()[0], 1 if norm == "linf" else 2)
    assert found.metric == "rmse" and found.clean.value == pytest.approx(3 * np.sqrt((residual**2).mean()), rel=1e-5)
    for k, eps in enumerate(EPS):
        expected = 3 * np.sqrt(((residual + eps * reach) ** 2).mean())
        for name in ("fgsm", "pgd", "margin"):
            assert found.attacks[name][k].value == pytest.approx(expected, rel=1e-5)
        assert found.worst[k].low < found.worst[k].value < found.worst[k].high


def test_the_margin_attack_moves_values_that_are_exactly_right() -> None:
    """There the squared error has no slope, and only pushing the output up and down finds the worst point."""
    net, x = linear(1), inputs(50)
    found = robustness(net, (x, net(x).detach()), eps=0.1, scale=1.0)
    assert found.attacks["fgsm"][0].value == 0.0
    assert found.attacks["margin"][0].value == pytest.approx(0.1 * net.weight.abs().sum().item(), rel=1e-4)
    assert any("gradient of the loss is zero for 100%" in text for text in found.warnings)


def test_labels_each_with_its_own_number() -> None:
    """With one input a label all labels can be attacked at once, and label k turns iff |x_k| < eps."""
    net = nn.Identity()
    x = inputs(100, 3)
    y = (x > 0).float()
    found = robustness(net, Dataset(x, y, "multilabel"), eps=EPS, scale=1.0)
    for k, eps in enumerate(EPS):
        for score in (*(found.attacks[name][k] for name in ("fgsm", "pgd", "margin")), found.worst[k]):
            assert score.value == pytest.approx(float((x.abs() > eps).float().mean()))
    assert found.clean.value == 1.0


# Brute force


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_two_layers_against_every_point_of_a_grid(norm: str) -> None:
    """No attack may break a row that a fine grid of the ball cannot break, and hardly a row that can be broken may stand."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(3)
    x = 2 * inputs(150, 2)
    y = net(x).argmax(1)
    eps = 0.6
    line = torch.linspace(-1, 1, 81)
    if norm == "linf":
        grid = torch.cartesian_prod(line, line)
    else:
        angle, radius = torch.cartesian_prod(torch.linspace(0, 2 * torch.pi, 181), torch.linspace(0, 1, 31)).unbind(1)
        grid = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    with torch.no_grad():
        wrong = torch.stack([(net(row + eps * grid).argmax(1) != label).any() for row, label in zip(x, y, strict=True)])
    exact = 1 - wrong.double().mean().item()
    found = robustness(net, (x, y), eps=eps, norm=norm, scale=1.0, steps=40, restarts=3)
    assert 0.2 < exact < 0.8
    assert abs(found.worst[0].value - exact) <= 2 / 150
    assert found.attacks["pgd"][0].value <= found.attacks["fgsm"][0].value


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_point_leaves_the_ball_or_the_bounds(norm: str) -> None:
    net = Recorder(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2)))
    x = torch.rand(1, 5, generator=torch.Generator().manual_seed(0))
    y = net(x).argmax(1)
    net.seen.clear()
    robustness(net, (x, y), eps=[0.3], norm=norm, bounds=(0.0, 1.0), restarts=2, steps=5)
    away = torch.cat(net.seen) - torch.cat([x] * sum(map(len, net.seen)))
    assert (away.norm(dim=1, p=2 if norm == "l2" else float("inf")) <= 0.3 + 1e-6).all()
    everything = torch.cat(net.seen)
    assert everything.min() >= 0 and everything.max() <= 1 and away.abs().max() > 0.05


# What the result does not depend on, and what stays as it is


@pytest.mark.usefixtures("generators_untouched")
def test_it_leaves_no_trace() -> None:
    class Noisy(nn.Module):
        """Draws in evaluation mode too."""

        def forward(self, x: Tensor) -> Tensor:
            return x + 0.01 * torch.randn_like(x)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), Noisy(), nn.Linear(8, 2))
    net[3].eval()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    before, flags = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    x, y = inputs(40), torch.arange(40) % 2
    kept = x.clone()
    first, second = (robustness(net, (x, y), eps=EPS, restarts=2, seed=3) for _ in range(2))
    assert first == second
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == flags
    assert torch.equal(net[0].weight.grad, torch.ones_like(net[0].weight)) and all(p.grad is None for p in net[1:].parameters())
    assert all(p.requires_grad for p in net.parameters()) and torch.equal(x, kept) and not x.requires_grad


def test_rows_do_not_depend_on_their_neighbours() -> None:
    net, x = nn.Sequential(linear(8), nn.Tanh(), linear(3, 8)).double(), inputs(60)
    y = torch.arange(60) % 3
    few, many = (robustness(net, (x, y), eps=EPS, restarts=3, batch_size=size) for size in (7, 512))
    assert few == many


def test_restarts_and_room_only_help_the_worst() -> None:
    net, x = nn.Sequential(linear(8), nn.Tanh(), linear(3, 8)).double(), inputs(100)
    y = torch.arange(100) % 3
    values = [[score.value for score in robustness(net, (x, y), eps=[0.05, 0.1, 0.2, 0.4], steps=3, restarts=k).worst] for k in (1, 3, 6)]
    assert all(list(line) == sorted(line, reverse=True) for line in (*values, *zip(*values, strict=True)))


def test_it_works_where_gradients_are_switched_off() -> None:
    net, x = linear(), inputs(30)
    y = torch.arange(30) % 2
    expected = robustness(net, (x, y), eps=EPS)
    with torch.no_grad():
        assert robustness(net, (x, y), eps=EPS) == expected


# Kinds of networks and rows


def test_one_logit_is_two_classes() -> None:
    net, x = linear(1), inputs(80)
    y = torch.arange(80) % 2
    two = nn.Linear(5, 2)
    with torch.no_grad():
        two.weight.copy_(torch.cat([torch.zeros(1, 5), net.weight]))
        two.bias.copy_(torch.cat([torch.zeros(1), net.bias]))
    expected = robustness(two, (x, y), eps=EPS)
    assert robustness(net, (x, y), eps=EPS) == expected
    assert robustness(nn.Sequential(net, nn.Flatten(0)), (x, y), eps=EPS) == expected


def test_images_in_their_own_units() -> None:
    torch.manual_seed(0)
    net = Recorder(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10)))
    x = torch.rand(20, 1, 6, 6)
    y = net(x).argmax(1)
    found = robustness(net, (x, y), bounds=(0, 1))
    assert found.eps == (0.01, 0.03, 0.1, 0.3) and found.unit == "raw" and found.clean.value == 1.0
    assert found.worst[3].value < found.worst[0].value
    assert all(seen.min() >= 0 and seen.max() <= 1 for seen in net.seen)


class Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(4, 2), nn.Linear(5, 2)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.out(torch.cat([x["num"], self.table(x["cat"][:, 0])], 1))


def test_codes_and_entries_of_unit_zero_stay() -> None:
    torch.manual_seed(0)
    net = Recorder(Table())
    x = {"num": torch.randn(6, 3), "cat": torch.arange(6).unsqueeze(1) % 4}
    y = net(x).argmax(1)
    scale = torch.ones(6, 3)
    scale[2, 1] = 0.0
    net.seen.clear()
    robustness(net, Dataset(x, torch.eye(2)[y], "classification"), eps=0.5, scale={"num": scale, "cat": 1.0}, batch_size=1)
    with_code_two = [seen for seen in net.seen if len(seen["cat"]) == 1 and torch.equal(seen["cat"], x["cat"][2:3])]
    assert with_code_two and all(seen["num"][0, 1] == x["num"][2, 1] for seen in with_code_two)
    assert any(seen["num"][0, 0] != x["num"][2, 0] for seen in with_code_two)


def test_the_unit_is_the_standard_deviation_over_the_rows() -> None:
    net, x = linear(), inputs() * torch.tensor([1.0, 10.0, 0.1, 1.0, 3.0])
    y = torch.arange(200) % 2
    assert robustness(net, (x, y), eps=EPS) == robustness(net, (x, y), eps=EPS, scale=x.std(0, unbiased=False))


def test_rows_without_a_target_do_not_count() -> None:
    net, x = linear(), inputs(40)
    y = torch.eye(2)[torch.arange(40) % 2]
    labeled = torch.arange(40) % 4 != 0
    found = robustness(net, Dataset(x, y, "classification", None, labeled), eps=EPS, scale=1.0)
    assert found == robustness(net, Dataset(x[labeled], y[labeled], "classification"), eps=EPS, scale=1.0) and found.n == 30


# Signs of attacks that fail


def test_a_saturated_softmax_hides_from_the_loss_and_not_from_the_margin() -> None:
    """Outputs 1,000 times as large: the slope of the loss is zero to the last bit for rows whose outputs differ by more than 0.1."""

    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = linear()

        def forward(self, x: Tensor) -> Tensor:
            return 1000 * self.net(x)

    net, x = Sure(), inputs()
    y = net(x).argmax(1)
    found = robustness(net, (x, y), eps=[0.3], scale=1.0)
    plain = robustness(net.net, (x, y), eps=[0.3], scale=1.0)
    assert found.attacks["margin"][0].value == plain.worst[0].value == found.worst[0].value < 0.9
    assert found.attacks["pgd"][0].value > 0.9
    assert any("the gradient of the loss is zero for" in text for text in found.warnings) and "masked gradients" in found.warnings[-1]


def test_steps_of_a_staircase_are_found_by_noise_alone() -> None:
    class Staircase(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = linear()

        def forward(self, x: Tensor) -> Tensor:
            return self.net((4 * x).round() / 4)

    net, x = Staircase(), inputs()
    found = robustness(net, (x, net(x).argmax(1)), eps=[0.3], scale=1.0)
    assert found.attacks["pgd"][0].value == 1.0 and found.worst[0].value == found.noise[0].value < 1.0
    assert any("random noise does more harm than the attacks: accuracy" in text for text in found.warnings)


def harm(right: Any) -> np.ndarray:
    return 1.0 - np.array(right, dtype=float)


def test_signs() -> None:
    few, many, all_but = np.ones(100), np.ones(100), np.ones(100)
    few[:10], many[:40], all_but[:90] = 0, 0, 0
    fine = {"fgsm": harm([few, many]), "pgd": harm([many, all_but]), "margin": harm([many, all_but]), NOISE: harm([few, few])}
    assert _signs(fine, [0.1, 0.2], Classes(), [0, 100]) == []
    cases = {
        "at eps 0.1 the one step of FGSM does more harm than the many of PGD: accuracy 0.6 against 0.9": {"fgsm": harm([many, many]), "pgd": harm([few, many])},
        "the margin attack does more harm at eps 0.1 than at 0.2: accuracy 0.1 against 0.6": {"margin": harm([all_but, many])},
        "at eps 0.2 random noise does more harm than the attacks: accuracy 0.1 against 0.6": {
            NOISE: harm([few, all_but]),
            "pgd": harm([many, many]),
            "margin": harm([many, many]),
        },
    }
    for text, change in cases.items():
        signs = _signs({**fine, **change}, [0.1, 0.2], Classes(), [0, 100])
        assert signs[0] == text and len(signs) == 2 and signs[-1].startswith("these are signs of masked gradients")
    chance = {**fine, "fgsm": harm([np.roll(many, 2), many])}
    assert _signs(chance, [0.1, 0.2], Classes(), [5, 100]) == []
    assert "is zero for 6% of the attacked rows" in _signs(fine, [0.1, 0.2], Classes(), [6, 100])[0]


# The result


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 7), (7, 7), (866, 1000), (1, 1)])
def test_wilson(right: int, n: int) -> None:
    low, high = binomtest(right, n).proportion_ci(0.95, method="wilson")
    score = wilson(right, n)
    assert (score.value, score.low, score.high) == pytest.approx((right / n, low, high), abs=1e-9)


def test_plain_values() -> None:
    net, x = linear(), inputs(30)
    found = robustness(net, (x, torch.arange(30) % 2), eps=[0.3, 0.1, 0.3], attacks=["pgd"], norm="l2", seed=5)
    facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert facts["eps"] == [0.1, 0.3] and list(facts["attacks"]) == ["pgd"] and facts["norm"] == "l2" and facts["seed"] == 5
    assert len(facts["worst"]) == len(facts["noise"]) == len(facts["attacks"]["pgd"]) == 2
    assert facts["clean"] == {"value": found.clean.value, "low": found.clean.low, "high": found.clean.high}


def test_an_output_that_is_no_number_is_as_bad_as_can_be() -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x > 0.5, torch.nan, x)

    found = robustness(Breaks(), (torch.zeros(20, 1), torch.zeros(20)), eps=[0.1, 0.6], scale=1.0)
    assert found.attacks["margin"][0].value == pytest.approx(0.1) and found.to_dict()["worst"][1]["value"] is None
    assert json.dumps(found.to_dict(), allow_nan=False)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "norm": ({"norm": "l1"}, r"`norm` of robustness to be one of linf, l2, got 'l1'"),
    "steps": ({"steps": 0}, r"`steps` of robustness to be a whole number in \[1, inf\), got 0"),
    "restarts": ({"restarts": True}, r"`restarts` of robustness to be a whole number"),
    "batch_size": ({"batch_size": 1.5}, r"`batch_size` of robustness to be a whole number"),
    "seed": ({"seed": -1}, r"`seed` of robustness to be a whole number in \[0, inf\), got -1"),
    "no attack": ({"attacks": []}, r"`attacks` of robustness to be some of fgsm, pgd, margin, got \[\]"),
    "an unknown attack": ({"attacks": ["cw"]}, r"`attacks` of robustness to be some of fgsm, pgd, margin, got \['cw'\]"),
    "no eps": ({"eps": []}, r"`eps` of robustness to be one or several numbers in \(0, inf\), got \[\]"),
    "eps of zero": ({"eps": [0.0]}, r"`eps` of robustness .*, got \[0\.0\]\. The score on unmoved rows is measured anyway\."),
    "eps in words": ({"eps": "half"}, r"`eps` of robustness .*, got 'half'"),
    "bounds": ({"bounds": (1, 0)}, r"`bounds` of robustness to be None or two numbers"),
    "y_scale": ({"y_scale": 0.0}, r"`y_scale` of robustness in \(0, inf\), got 0\.0"),
    "a negative scale": ({"scale": -1.0}, r"`scale` of robustness to hold finite numbers in \[0, inf\)"),
    "a scale of another shape": ({"scale": torch.ones(3)}, r"`scale` of robustness .* inputs of shape \(30, 5\)"),
    "a scale of other leaves": ({"scale": {"num": 1.0}}, r"`scale` of robustness in the structure of the inputs, got \['num'\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings(case: str) -> None:
    settings, message = BAD[case]
    with pytest.raises(ConfigError, match=f"^Expected {message}"):
        robustness(linear(), (inputs(30), torch.arange(30) % 2), **settings)


def test_bad_networks_and_rows() -> None:
    x, y = inputs(30), torch.eye(2)[torch.arange(30) % 2]
    with pytest.raises(ConfigError, match=r"to return one tensor \(rows, outputs\), got 'dict'"):
        robustness(type("Dict", (nn.Module,), {"forward": lambda self, x: {"a": x}})(), Dataset(x, y, "classification"))
    with pytest.raises(ConfigError, match=r"to return 2 outputs a row, as many as the target has, got 3"):
        robustness(linear(3), Dataset(x, y, "classification"))
    with pytest.raises(ConfigError, match="returns finite numbers"):
        robustness(nn.Sequential(linear(), nn.Threshold(100.0, float("nan"))), Dataset(x, y, "classification"))
    with pytest.raises(ConfigError, match=r"to be a Dataset or a pair \(x, y\), got 'Tensor'"):
        robustness(linear(), x)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"with one target, got \['kind'\]"):
        robustness(linear(), Dataset(x, {"kind": y}, {"kind": "classification"}))
    with pytest.raises(DataError, match="rows with a target, got none"):
        robustness(linear(), Dataset(x, y, "classification", None, torch.zeros(30, dtype=torch.bool)))
    codes = {"num": torch.zeros(30, 0), "cat": torch.zeros(30, 1, dtype=torch.long)}
    with pytest.raises(DataError, match="got categories only"):
        robustness(Table(), Dataset(codes, y, "classification"))


@pytest.mark.parametrize(("alone", "other", "told"), [(12, 6, False), (12, 8, False), (15, 4, True), (5, 0, True), (4, 0, False)])
def test_a_sign_needs_two_standard_errors(alone: int, other: int, told: bool) -> None:
    """Of rows that one attack alone breaks, and rows that the other alone breaks: the difference against twice the root of the sum."""
    assert told == (alone - other > 2 * (alone + other) ** 0.5)
    a, b = np.ones(100), np.ones(100)
    a[:alone], b[alone : alone + other] = 0, 0
    signs = _signs({"fgsm": harm([a]), "pgd": harm([b]), NOISE: harm([np.ones(100)])}, [0.1], Classes(), [0, 100])
    assert bool(signs) == told


def test_the_start_of_an_attack_fills_its_ball() -> None:
    """Lengths uniform in [0, 1] and directions uniform on the sphere, in radii; in the box every number is uniform."""
    n, radius = 4000, torch.tensor([1.0, 0.5, 2.0]).expand(4000, 3)
    zero = torch.zeros(n, 3)
    away = {norm: random_start(Rng(key_of(0), 1), zero, radius, norm, None) / radius for norm in ("l2", "linf")}
    far = away["l2"].norm(dim=1)
    way = away["l2"] / far.unsqueeze(1)
    uniform = 1.63 / n**0.5  # of Kolmogorov and Smirnov, at one in a hundred
    assert kstest(far.numpy(), "uniform").statistic < uniform
    for j in range(3):  # a number of a direction in three dimensions is uniform too, after Archimedes
        assert kstest((way[:, j].numpy() + 1) / 2, "uniform").statistic < uniform
        assert kstest((away["linf"][:, j].numpy() + 1) / 2, "uniform").statistic < uniform


def test_the_first_start_is_the_row_and_a_further_one_is_around_it() -> None:
    net = Recorder(linear())
    x = inputs(1)
    y = net(x).argmax(1)
    net.seen.clear()
    robustness(net, (x, y), eps=[0.001], norm="l2", scale=1.0, steps=3, restarts=2, attacks=("pgd",))
    moved = [float((seen - x).norm()) for seen in net.seen if len(seen) == 1]
    firsts = [k for k, far in enumerate(moved) if far == 0.0]
    start = firsts[-1] + 4  # the row itself, two steps, the end, and then the second start
    assert 0.0 < moved[start] < 0.00099
