"""Hyper-gradients against what training again with other strengths gives, and against closed forms."""

from __future__ import annotations

import copy
import json
import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

import temperance as tp

KEY = torch.Generator().manual_seed(3)
X, NEW = (torch.randn(n, 4, generator=KEY, dtype=torch.float64) for n in (80, 300))
NOISE = [torch.randn(n, 1, generator=KEY, dtype=torch.float64) for n in (80, 300)]
VALUES = [x[:, :1] * x[:, 1:2] + x[:, 2:3] + e for x, e in zip((X, NEW), NOISE, strict=True)]
CLASSES = [(x[:, 0] > 0).long() + (x[:, 1] + e[:, 0] > 0).long() for x, e in zip((X, NEW), NOISE, strict=True)]


def loss(net: nn.Module, x: Tensor, y: Tensor, lam: float = 0.0, epsilon: float = 0.0) -> Tensor:
    data = F.mse_loss(net(x), y) if y.is_floating_point() else F.cross_entropy(net(x), y, label_smoothing=epsilon)
    weights = [p.square().sum() for name, p in net.named_parameters() if "weight" in name]
    return data + 0.5 * lam * torch.stack(weights).sum()


def trained(net: nn.Module, *, y: Tensor, **strengths: float) -> nn.Module:
    """A copy of the network in the minimum that is reached from where it is."""
    net = copy.deepcopy(net)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=400, tolerance_grad=1e-11, tolerance_change=0.0, line_search_fn="strong_wolfe", history_size=40)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(net, X, y, **strengths)
        value.backward()
        return value

    optimizer.step(closure)  # pyright: ignore[reportArgumentType] -- torch declares a closure of floats
    return net


def small(outputs: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).double()


def slopes(net: nn.Module, cocktail: tp.Cocktail, targets: list[Tensor], **options: Any) -> Any:
    return tp.diagnose(net, (X, targets[0]), validation=(NEW, targets[1]), cocktail=cocktail, checks="strengths", **options)["strengths"]


@pytest.mark.parametrize("kind", ["values", "classes"])
def test_a_derivative_is_that_of_training_again_with_a_little_more_or_less(kind: str) -> None:
    targets, outputs = (VALUES, 1) if kind == "values" else (CLASSES, 3)
    strengths = {"lam": 0.03} if kind == "values" else {"lam": 0.02, "epsilon": 0.1}
    cocktail = tp.Cocktail(tp.L2(0.03)) if kind == "values" else tp.Cocktail(tp.L2(0.02), tp.LabelSmoothing(0.1))
    net = trained(small(outputs), y=targets[0], **strengths)
    found = slopes(net, cocktail, targets)
    assert found.value["promised"] < 1e-9
    for (field, value), told in zip(strengths.items(), found.value["strengths"].values(), strict=True):
        ends = [float(loss(trained(net, y=targets[0], **{**strengths, field: times * value}), NEW, targets[1]).detach()) for times in (1.01, 0.99)]
        assert told["slope"] == pytest.approx((ends[0] - ends[1]) / (0.02 * value), rel=0.01)  # of the third order in a hundredth
        assert told["low"] < told["change"] < told["high"]
        assert told["change"] == pytest.approx(0.1 * value * told["slope"])


def ridge(sigma: float) -> Tensor:
    """The minimum of the expected squared error of a linear map under noise on standardized inputs."""
    scale = torch.diag((sigma * X.std(0, unbiased=False)).square())
    return torch.linalg.solve(X.T @ X / 80 + scale, X.T @ VALUES[0] / 80)


def test_the_strength_of_noise_has_the_derivative_of_the_penalty_that_it_is() -> None:
    net = nn.Linear(4, 1, bias=False).double()
    net.weight.data = ridge(1.5).T.clone()
    found = slopes(net, tp.Cocktail(tp.InputNoise(1.5)), VALUES)
    ends = [float(F.mse_loss(NEW @ ridge(sigma), VALUES[1])) for sigma in (1.51, 1.49)]
    exact, told = (ends[0] - ends[1]) / 0.02, found.value["strengths"]["input_noise.sigma"]
    assert told["low"] < told["by"] * exact < told["high"]
    assert (told["low"] > 0, found.name) == (True, "doses")  # so much noise is surely too much
    assert "Lowering input_noise.sigma by 0.15 would lower the validation loss by" in found.meaning


class Once(torch.autograd.Function):
    """tanh, with a derivative that has none itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] -- torch's way to write it
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return grad * (1 - ctx.saved_tensors[0].tanh() ** 2)


class Bending(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return Once.apply(super().forward(input))  # pyright: ignore[reportReturnType]


def test_the_curvature_of_a_penalty_does_not_pass_for_that_of_a_network_without_one() -> None:
    net = Bending(4, 1).double()
    ((_, why),) = tp.diagnose(net, (X, VALUES[0]), validation=(NEW, VALUES[1]), cocktail=tp.Cocktail(tp.L2(0.1)), checks="strengths").skipped
    assert "no second derivatives" in why


def test_every_number_is_finite_for_every_strength_in_the_loss() -> None:
    doses = [tp.Dropout(0.2), tp.LabelSmoothing(0.0)]
    for dose in doses:
        found = slopes(small(3), tp.Cocktail(dose), CLASSES)
        assert found.value["strengths"]
        json.dumps(found.value, allow_nan=False)


def test_what_is_off_has_a_derivative_too() -> None:
    net = trained(small(1), y=VALUES[0])
    told = slopes(net, tp.Cocktail(tp.L2(0.0)), VALUES).value["strengths"]["l2.lam"]
    assert (told["value"], told["by"]) == (0.0, pytest.approx(0.1 * tp.L2.strengths()["lam"].default))
    assert math.isfinite(told["slope"])


def test_a_network_that_is_at_no_minimum_is_told_so_and_left_as_it_is() -> None:
    net = small(1)
    before = copy.deepcopy(net.state_dict())
    state = torch.random.get_rng_state()
    found = slopes(net, tp.Cocktail(tp.L2(0.01), tp.Dropout(0.3), tp.WeightDecay(0.1)), VALUES)
    assert "not at a minimum of its training loss, so this is rough" in found.meaning
    assert "WeightDecay acts outside the loss" in found.meaning
    assert list(found.value["strengths"]) == ["l2.lam", "dropout.rate"]  # no dose of input_rate is given, nor a default
    assert all(bool((before[name] == value).all()) for name, value in net.state_dict().items())
    assert bool((torch.random.get_rng_state() == state).all())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("cocktail", "reason"),
    [
        (None, "give cocktail=, with which the network was trained"),
        (tp.Cocktail(), "holds no regularizer"),
        (tp.Cocktail(tp.WeightDecay(0.1), tp.EMA(0.9)), "no strength of the cocktail has a derivative: WeightDecay acts outside the loss; EMA acts"),
        (tp.Cocktail(tp.L2(tp.schedules.Cosine(0.1))), "L2 is on a schedule"),
    ],
)
def test_without_a_derivative_the_check_is_skipped_with_the_reason(cocktail: Any, reason: str) -> None:
    ((check, why),) = tp.diagnose(small(1), (X, VALUES[0]), validation=(NEW, VALUES[1]), cocktail=cocktail, checks="strengths").skipped
    assert check == "strengths"
    assert reason in why


def test_what_cannot_be_a_cocktail_is_refused() -> None:
    with pytest.raises(tp.ConfigError, match="Expected `cocktail` of diagnose to be a Cocktail or None, got 'L2'"):
        tp.diagnose(small(1), (X, VALUES[0]), cocktail=cast(Any, tp.L2(0.1)))
    drops = nn.Sequential(nn.Dropout(0.5), small(1))
    assert "drops units by itself" in tp.diagnose(drops, (X, VALUES[0]), validation=(NEW, VALUES[1]), cocktail=tp.Cocktail(tp.L2(0.1))).skipped[-1][1]
