"""FGSM and PGD."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import Loop
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SigmoidCrossEntropy, SoftmaxCrossEntropy
from temperance.core.errors import ConfigError
from temperance.regularizers import FGSM, L2, PGD, Dropout


def logistic() -> tuple[nn.Module, Any]:
    g = torch.Generator().manual_seed(0)
    net = nn.Linear(4, 1).double()
    with torch.no_grad():
        net.weight.copy_(torch.randn(1, 4, generator=g))
        net.bias.fill_(0.3)
    x, y = torch.randn(9, 4, generator=g).double(), torch.randint(0, 2, (9, 1), generator=g).double()
    return net, full_batch(x, y, weight=torch.ones(9).double())


@pytest.mark.parametrize("attack", [FGSM(0.2, share=1.0), PGD(0.2, share=1.0)])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_logistic_regression_has_a_closed_form(attack: Any, scale: float) -> None:
    """The worst case over the box of a linear score: softplus(-y (w·x + b) + eps Σ s |w|), y in ±1. PGD must reach the same corner."""
    net, batch = logistic()
    unit = torch.tensor([1.0, scale, 1.0, 1.0], dtype=torch.float64)
    loss, report, _, _ = Loop(Cocktail(attack), net, SigmoidCrossEntropy(), {"input_scale": unit}).gradient(batch)
    w, b = net.weight.detach().numpy()[0], net.bias.item()
    sign = 2 * batch.y.numpy()[:, 0] - 1
    margin = -sign * (batch.x.numpy() @ w + b)
    assert loss.item() == pytest.approx(np.logaddexp(0, margin + 0.2 * np.abs(w * unit.numpy()).sum()).mean(), rel=1e-12)
    assert report["data"].item() == pytest.approx(np.logaddexp(0, margin).mean(), rel=1e-12)


@pytest.mark.parametrize("cls", [FGSM, PGD])
def test_share_mixes_clean_and_attacked(cls: Any) -> None:
    net, batch = logistic()
    clean, half, full = (Loop(Cocktail(cls(0.2, share=s)), net, SigmoidCrossEntropy()).gradient(batch)[0] for s in (0.0, 0.5, 1.0))
    torch.testing.assert_close(half, 0.5 * clean + 0.5 * full)


def seen_inputs(attack: Any, batch: Any, constants: Any = None) -> torch.Tensor:
    """The rows of the last training pass: the attacked ones."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    seen: list[torch.Tensor] = []
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    Loop(Cocktail(attack), net, SoftmaxCrossEntropy(), constants).gradient(batch)
    return seen[-1]


@pytest.mark.parametrize("cls", [FGSM, PGD])
def test_the_rows_stay_in_the_box_and_in_the_bounds(cls: Any) -> None:
    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(1))
    batch = full_batch(x, torch.eye(3)[torch.arange(20) % 3])
    moved = seen_inputs(cls(0.1), batch, {"input_scale": torch.tensor(3.0)})
    assert ((moved - x).abs() <= 0.3 + 1e-6).all() and ((moved - x).abs() > 0.29).float().mean() > 0.5
    bounded = seen_inputs(cls(0.1, bounds=(0.0, 1.0)), batch, {"input_scale": torch.tensor(3.0)})
    assert ((bounded - x).abs() <= 0.1 + 1e-6).all() and bounded.min() >= 0 and bounded.max() <= 1
    assert (bounded == 0).any() or (bounded == 1).any()


def test_the_attack_uses_evaluation_statistics_and_leaves_no_trace() -> None:
    """BatchNorm keeps the statistics of the clean pass; the attack is that of the network in evaluation mode, without dropout."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    batch = full_batch(torch.randn(12, 4), torch.eye(3)[torch.arange(12) % 3])
    modes: list[bool] = []
    rows: list[torch.Tensor] = []
    net.register_forward_pre_hook(lambda module, args: rows.append(args[0].detach()))
    net[1].register_forward_hook(lambda module, args, out: modes.append(module.training))
    plain = Loop(Cocktail(Dropout(0.5)), net, SoftmaxCrossEntropy()).gradient(batch)
    modes.clear()
    attacked = Loop(Cocktail(Dropout(0.5), FGSM(0.1)), net, SoftmaxCrossEntropy()).gradient(batch)
    assert sorted(modes) == [False, True, True] and net[1].training
    assert all(torch.equal(attacked[3][name], b) for name, b in plain[3].items())
    torch.testing.assert_close(attacked[1]["data"], plain[1]["data"])
    x = batch.x.clone().requires_grad_()
    net.eval()
    loss = torch.nn.functional.cross_entropy(net(x), batch.y)
    net.train()
    rows.pop()
    sign = torch.autograd.grad(loss, x)[0].sign()
    torch.testing.assert_close(rows[-1], batch.x + 0.1 * sign)
    assert all(p.grad is None for p in net.parameters())


def test_unlabelled_rows_and_codes_do_not_move() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.out = nn.Embedding(4, 2), nn.Linear(5, 2)
            self.seen: list[dict[str, torch.Tensor]] = []

        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            self.seen.append({k: v.detach() for k, v in x.items()})
            return self.out(torch.cat([x["a"], self.table(x["c"][:, 0])], 1))

    torch.manual_seed(0)
    net = Net()
    x = {"a": torch.randn(6, 3), "c": torch.arange(6).unsqueeze(1) % 4}
    batch = full_batch(x, torch.eye(2)[torch.arange(6) % 2], labeled=torch.arange(6) != 3)
    Loop(Cocktail(PGD(0.1, steps=2)), net, SoftmaxCrossEntropy()).gradient(batch)
    Loop(Cocktail(FGSM(0.1)), net, SoftmaxCrossEntropy()).gradient(batch)
    moved = net.seen[-1]
    assert torch.equal(moved["c"], x["c"]) and torch.equal(moved["a"][3], x["a"][3]) and (moved["a"][0] != x["a"][0]).all()


def test_penalties_count_once() -> None:
    net, batch = logistic()
    loss, report, _, _ = Loop(Cocktail(L2(0.5), FGSM(0.2)), net, SigmoidCrossEntropy()).gradient(batch)
    torch.testing.assert_close(loss, report["data"] + report["l2"] + report["fgsm"])
    alone = Loop(Cocktail(FGSM(0.2)), net, SigmoidCrossEntropy()).gradient(batch)[0]
    torch.testing.assert_close(loss - alone, report["l2"])


def test_pgd_is_no_weaker_than_fgsm() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))
    for p in net.parameters():
        p.data.mul_(3)
    batch = full_batch(torch.randn(200, 4), torch.eye(3)[torch.arange(200) % 3])
    fgsm, pgd = (Loop(Cocktail(a), net, SoftmaxCrossEntropy()).gradient(batch)[0] for a in (FGSM(0.5, share=1.0), PGD(0.5, share=1.0, steps=20)))
    assert pgd > fgsm


@pytest.mark.parametrize("bad", [(1.0, 0.0), (0.0,), "ab", 3.0])
def test_bad_bounds(bad: Any) -> None:
    for cls in (FGSM, PGD):
        with pytest.raises(ConfigError, match=rf"^Expected `bounds` of {cls.__name__} to be None or two numbers"):
            cls(bounds=bad)


def test_two_input_attacks_are_refused() -> None:
    net, _ = logistic()
    with pytest.raises(ConfigError, match="both perturb the inputs"):
        Loop(Cocktail(FGSM(), PGD()), net, SigmoidCrossEntropy())
