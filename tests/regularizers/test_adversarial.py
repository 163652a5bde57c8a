"""FGSM and PGD."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import Loop
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Heads, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError, as_criterion
from temperance.core.errors import ConfigError
from temperance.nets import TwoHeads
from temperance.regularizers import FGSM, L2, PGD, Dropout


def logistic() -> tuple[nn.Module, Any]:
    g = torch.Generator().manual_seed(0)
    net = nn.Linear(4, 1).double()
    with torch.no_grad():
        net.weight.copy_(torch.randn(1, 4, generator=g))
        net.bias.fill_(0.3)
    x, y = torch.randn(9, 4, generator=g).double(), torch.randint(0, 2, (9, 1), generator=g).double()
    return net, full_batch(x, y, weight=torch.ones(9).double())


def slowest_climb(steps: int, step_size: float) -> float:
    """The least share of the radius that steps in one direction gain inside a ball, over all starts: a transcription in the plane of start and direction."""
    least = 1.0
    for angle in np.linspace(0, np.pi, 181):
        for radius in np.linspace(0, 1, 21):
            along, across = radius * np.cos(angle), radius * np.sin(angle)
            for _ in range(steps):
                along += step_size
                shrink = max(np.hypot(along, across), 1.0)
                along, across = along / shrink, across / shrink
            least = min(least, along)
    return least


CLOSED_FORMS: dict[str, tuple[Any, float]] = {
    "fgsm": (FGSM(0.2, share=1.0), 1.0),
    "pgd": (PGD(0.2, share=1.0), 1.0),
    "pgd with restarts": (PGD(0.2, share=1.0, restarts=3, steps=20), 1.0),
    "fgsm l2": (FGSM(0.2, share=1.0, norm="l2"), 1.0),
    "pgd l2": (PGD(0.2, share=1.0, norm="l2", steps=40, step_size=0.2), slowest_climb(40, 0.2)),
}


@pytest.mark.parametrize("case", CLOSED_FORMS)
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_logistic_regression_has_a_closed_form(case: str, scale: float) -> None:
    """The worst case of a linear score: softplus(-y (w·x + b) + eps ‖s w‖), y in ±1, with the 1-norm over the box and the 2-norm over the ball."""
    attack, share = CLOSED_FORMS[case]
    net, batch = logistic()
    unit = torch.tensor([1.0, scale, 1.0, 1.0], dtype=torch.float64)
    loss, report, _, _ = Loop(Cocktail(attack), net, SigmoidCrossEntropy(), {"input_scale": unit}).gradient(batch)
    w, b = net.weight.detach().numpy()[0], net.bias.item()
    sign = 2 * batch.y.numpy()[:, 0] - 1
    margin = -sign * (batch.x.numpy() @ w + b)
    reach = 0.2 * np.linalg.norm(w * unit.numpy(), 1 if attack.norm == "linf" else 2)
    assert share > 0.999
    assert np.logaddexp(0, margin + share * reach).mean() * (1 - 1e-12) <= loss.item() <= np.logaddexp(0, margin + reach).mean() * (1 + 1e-12)
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


@pytest.mark.parametrize("cls", [FGSM, PGD])
def test_the_rows_stay_in_the_ball_and_in_the_bounds(cls: Any) -> None:
    """‖(x' - x) / s‖₂ <= eps for every row, reached by most; rounding moves a row by a few units in the last place of its numbers."""
    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(1))
    batch, unit = full_batch(x, torch.eye(3)[torch.arange(20) % 3]), torch.tensor([3.0, 1.0, 0.5, 0.0])
    moved = seen_inputs(cls(0.1, norm="l2"), batch, {"input_scale": unit})
    assert torch.equal(moved[:, 3], x[:, 3])
    lengths = ((moved - x)[:, :3] / unit[:3]).norm(dim=1)
    assert (lengths <= 0.1 + 1e-6).all() and (lengths > 0.099).float().mean() > 0.8
    bounded = seen_inputs(cls(0.3, norm="l2", bounds=(0.0, 1.0)), batch, {"input_scale": unit})
    assert ((bounded - x).norm(dim=1) <= 0.3 + 1e-6).all() and bounded.min() >= 0 and bounded.max() <= 1
    assert (bounded == 0).any() or (bounded == 1).any()


def test_fgsm_of_an_image_is_the_image_and_eps_times_the_sign() -> None:
    """x + .007 sign(∇ₓJ), the panda of the paper, to the bit."""
    x = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    batch = full_batch(x, torch.eye(3)[torch.arange(6) % 3])
    seen: list[torch.Tensor] = []
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    Loop(Cocktail(FGSM(0.007, bounds=(-1.0, 2.0))), net, SoftmaxCrossEntropy()).gradient(batch)
    leaf = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(net(leaf), batch.y)
    sign = torch.autograd.grad(loss, leaf)[0].sign()
    assert torch.equal(seen[-2], x + 0.007 * sign)


def test_the_ball_is_one_for_all_numbers_of_a_row() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out, self.seen = nn.Linear(3, 2), list[dict[str, torch.Tensor]]()

        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            self.seen.append({k: v.detach() for k, v in x.items()})
            return self.out(torch.cat([x["a"], x["b"].unsqueeze(1)], 1))

    torch.manual_seed(0)
    x = {"a": torch.randn(5, 2), "b": torch.randn(5), "none": torch.zeros(5, 0), "codes": torch.arange(5)}
    batch = full_batch(x, torch.eye(2)[torch.arange(5) % 2])
    for attack in (FGSM(0.3, norm="l2"), PGD(0.3, norm="l2", restarts=2)):
        net = Net()
        Loop(Cocktail(attack), net, SoftmaxCrossEntropy(), {"input_scale": {"a": 1.0, "b": 2.0, "none": 1.0, "codes": 1.0}}).gradient(batch)
        moved = net.seen[-1]
        both = torch.cat([moved["a"] - x["a"], ((moved["b"] - x["b"]) / 2.0).unsqueeze(1)], 1)
        torch.testing.assert_close(both.norm(dim=1), torch.full((5,), 0.3), rtol=1e-5, atol=0.0)
        assert torch.equal(moved["codes"], x["codes"])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_restarts_are_never_weaker(norm: str) -> None:
    """The first start is the one of a single start, and every row keeps the worst: so the loss can only grow with the restarts."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    for p in net.parameters():
        p.data.mul_(4)
    batch = full_batch(torch.randn(50, 4).double(), torch.eye(3).double()[torch.arange(50) % 3], weight=torch.rand(50).double() + 0.5)
    losses = [Loop(Cocktail(PGD(1.0, share=1.0, steps=3, norm=norm, restarts=k)), net, SoftmaxCrossEntropy()).gradient(batch)[0].item() for k in (1, 2, 5, 10)]
    assert losses == sorted(losses) and losses[-1] > losses[0]


def test_restarts_count_what_a_row_adds_to_the_loss_of_all_heads() -> None:
    torch.manual_seed(0)
    net = TwoHeads(4, {"kind": 3, "price": 1}, hidden=(16,)).double()
    y = {"kind": torch.eye(3).double()[torch.arange(30) % 3], "price": torch.randn(30, 1).double()}
    labeled = {"kind": torch.arange(30) % 4 != 0, "price": torch.arange(30) % 2 == 0}
    batch = full_batch(torch.randn(30, 4).double(), y, weight=torch.ones(30).double(), labeled=labeled)
    criterion = Heads((("kind", SoftmaxCrossEntropy(), 1.0), ("price", SquaredError(), 3.0)))
    losses = [Loop(Cocktail(PGD(0.5, share=1.0, steps=2, restarts=k)), net, criterion).gradient(batch)[0].item() for k in (1, 2, 6)]
    assert losses == sorted(losses) and losses[-1] > losses[0]


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


def test_the_attack_at_the_statistics_of_the_minibatch() -> None:
    """``mode="train"``: BatchNorm in the attack sees the minibatch, dropout is off in it, and the buffers are still those of the clean pass."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    batch = full_batch(3.0 * torch.randn(12, 4), torch.eye(3)[torch.arange(12) % 3])
    rows: list[torch.Tensor] = []
    net.register_forward_pre_hook(lambda module, args: rows.append(args[0].detach()))
    plain = Loop(Cocktail(Dropout(0.5)), net, SoftmaxCrossEntropy()).gradient(batch)
    attacked = Loop(Cocktail(Dropout(0.5), FGSM(0.1, mode="train")), net, SoftmaxCrossEntropy()).gradient(batch)
    moved = rows[-1]
    assert all(torch.equal(attacked[3][name], b) for name, b in plain[3].items())
    x = batch.x.clone().requires_grad_()
    before = {name: b.clone() for name, b in net.named_buffers()}
    sign = torch.autograd.grad(torch.nn.functional.cross_entropy(net(x), batch.y), x)[0].sign()
    net.load_state_dict(before, strict=False)
    torch.testing.assert_close(moved, batch.x + 0.1 * sign)
    net.eval()
    other = torch.autograd.grad(torch.nn.functional.cross_entropy(net(x), batch.y), x)[0].sign()
    assert not torch.equal(sign, other)


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


@pytest.mark.parametrize("bad", [0.0, -0.1, float("inf"), float("nan"), True, "half"])
def test_bad_steps(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `step_size` of PGD to be None or a number in \(0, inf\), got .*a quarter of it in every step\.$"):
        PGD(step_size=bad)


def test_restarts_need_a_loss_by_row() -> None:
    net, batch = logistic()
    own = as_criterion(lambda out, y: torch.nn.functional.binary_cross_entropy_with_logits(out, y))
    assert Loop(Cocktail(PGD(0.1)), net, own).gradient(batch)[0] > 0
    with pytest.raises(ConfigError, match=r"^Expected `restarts` of PGD to be 1 where the loss is a function of your own, .*, got 2\. Use restarts=1"):
        Loop(Cocktail(PGD(0.1, restarts=2)), net, own).gradient(batch)
