"""In a loop of one's own, regularizers act on what an optimizer's step has moved, and on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.core.regularizer import Regularizer


def network(frozen: bool = False) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    model[0].requires_grad_(not frozen)
    return model


def rows(seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(12, 4, generator=g), torch.randint(0, 3, (12,), generator=g)


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def sgd(model: nn.Module, lr: float = 0.1, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, **settings)


def attach(model: nn.Module, optimizer: torch.optim.Optimizer, *items: Regularizer, **settings: Any) -> Any:
    return tp.Cocktail(*items).attach(model, optimizer, nn.CrossEntropyLoss(), **settings)


def train(optimizer: torch.optim.Optimizer, reg: Any, steps: int = 1) -> None:
    for i in range(steps):
        optimizer.zero_grad()
        reg.loss(*rows(i)).backward()
        optimizer.step()


# What stays where it is

STRONG: list[Regularizer] = [
    tp.WeightDecay(0.5),
    tp.L1(0.1),
    tp.L2(0.5),
    tp.L2SP(0.5),
    tp.ElasticNet(0.1, 0.1),
    tp.GroupLasso(0.1),
    tp.MaxNorm(0.1),
    tp.MaxAbs(0.01),
    tp.NormBall(0.1),
    tp.NormBall(0.1, over="all"),
    tp.SpectralNorm(0.1),
    tp.SpectralPenalty(0.5),
    tp.Orthogonality(0.5),
    tp.Tying(1.0),
    tp.SoftSharing(0.5),
    tp.Lookahead(0.5, k=1),
    tp.SAM(0.1),
    tp.EMA(0.9),
    tp.GradientNoise(1.0),
    tp.GradClip(0.1),
    tp.WeightNoise(0.5),
    tp.MeanTeacher(1.0),
]


@pytest.mark.parametrize("regularizer", STRONG, ids=repr)
@pytest.mark.parametrize("how", ["frozen", "frozen with zeros as gradient", "no gradient", "held by nobody"])
def test_what_a_step_does_not_move_stays(regularizer: Regularizer, how: str) -> None:
    """A layer that is frozen, is not part of the loss, or belongs to no group of the optimizer."""
    model = network(frozen=how.startswith("frozen"))
    if how == "no gradient":
        model[0].forward = lambda x: x  # type: ignore[method-assign] -- a branch that is not taken
    if how == "frozen with zeros as gradient":
        for p in model[0].parameters():
            p.grad = torch.zeros_like(p)
    optimizer = torch.optim.SGD((model[2:] if how == "held by nobody" else model).parameters(), lr=0.1)
    before, others = flat(model[0]), flat(model[2:])
    reg = attach(model, optimizer, regularizer)
    penalizes = how == "no gradient" and bool(reg.program.of("penalty") or isinstance(regularizer, tp.Tying))  # then the layer has a gradient after all
    for i in range(3):
        optimizer.zero_grad(set_to_none=False)
        reg.loss(*rows(i)).backward()
        optimizer.step()
    assert penalizes or torch.equal(flat(model[0]), before)
    assert not torch.equal(flat(model[2:]), others)
    assert reg.steps == 3


def test_a_layer_frozen_and_thawed_in_turn() -> None:
    """Decay follows requires_grad from step to step."""
    model = network()
    optimizer = sgd(model)
    reg = tp.Cocktail(tp.WeightDecay(1.0)).attach(model, optimizer, lambda out, y: 0.0 * out.sum())
    for i in range(4):
        model[0].requires_grad_(i % 2 == 0)
        before, rest = weight(model, 0).detach().clone(), weight(model, 2).detach().clone()
        optimizer.zero_grad()
        reg.loss(*rows()).backward()
        optimizer.step()
        torch.testing.assert_close(weight(model, 0).detach(), before * (0.9 if i % 2 == 0 else 1.0))
        torch.testing.assert_close(weight(model, 2).detach(), rest * 0.9)


def test_a_second_optimizer_steps_alone() -> None:
    """Parameters of another optimizer are left to it, and its steps are not counted."""
    model = network()
    first, second = torch.optim.SGD(model[2:].parameters(), lr=0.1), torch.optim.SGD(model[0].parameters(), lr=0.1)
    reg = attach(model, first, tp.MaxNorm(0.2), tp.GradClip(1e-3))
    reg.loss(*rows()).backward()
    grad = flat_grad(model[0])
    first.step()
    assert torch.equal(flat_grad(model[0]), grad)
    second.step()
    assert reg.steps == 1
    assert longest(model[0]) > 0.3 and longest(model[2]) < 0.2001


def weight(model: nn.Sequential, i: int) -> nn.Parameter:
    return model[i].get_parameter("weight")


def longest(layer: nn.Module) -> float:
    return float(layer.get_parameter("weight").detach().norm(dim=1).max())


def flat_grad(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def test_the_length_for_clipping_is_that_of_what_the_step_moves() -> None:
    model = network()
    optimizer = torch.optim.SGD(model[2:].parameters(), lr=1.0)
    reg = attach(model, optimizer, tp.GradClip(1e-3))
    reg.loss(*rows()).backward()
    before = flat(model[2:])
    optimizer.step()
    torch.testing.assert_close((flat(model[2:]) - before).norm(), torch.tensor(1e-3), rtol=1e-3, atol=0)


# Steps that are none


class Careful(torch.optim.SGD):
    """Skips a step whose gradients are not finite, as a user would write it."""

    def step(self, closure: Any = None) -> Any:
        if all(torch.isfinite(p.grad).all() for group in self.param_groups for p in group["params"] if p.grad is not None):
            return super().step(closure)
        return None


class ByHand(torch.optim.Optimizer):
    """Writes through ``.data``, which torch does not count."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and torch.isfinite(p.grad).all():
                    p.data.add_(p.grad, alpha=-group["lr"])
        return loss


def scaled(model: nn.Module, reg: Any, optimizer: torch.optim.Optimizer, scaler: Any, broken: bool, i: int) -> None:
    optimizer.zero_grad()
    scaler.scale(reg.loss(*rows(i))).backward()
    if broken:
        for p in model.parameters():
            assert p.grad is not None
            p.grad.fill_(float("inf"))
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("kind", ["scaler", "fused", Careful, ByHand], ids=str)
def test_a_skipped_step_advances_nothing(kind: Any) -> None:
    """Neither parameters, nor the average, nor the slow weights, nor the count of steps."""
    model = network()
    optimizer = sgd(model, fused=kind == "fused") if isinstance(kind, str) else kind(model.parameters(), lr=0.1)
    reg = attach(model, optimizer, tp.WeightDecay(0.5), tp.MaxNorm(0.3), tp.EMA(0.5), tp.Lookahead(0.5, k=1))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=isinstance(kind, str))
    for i, broken in enumerate((False, True, True, False)):
        before, steps, states = flat(model), reg.steps, {k: t.clone() for own in reg.state.values() for k, t in own.items()}
        scaled(model, reg, optimizer, scaler, broken, i)
        now = {k: t for own in reg.state.values() for k, t in own.items()}
        assert torch.equal(flat(model), before) is broken
        assert all(torch.equal(now[k], states[k]) for k in now) is broken
        assert reg.steps == steps + (not broken)
    assert reg.steps == 2


def test_a_step_without_any_gradient_is_none() -> None:
    """A call that quiets a schedule's warning, before training."""
    model = network()
    optimizer = sgd(model)
    reg = attach(model, optimizer, tp.WeightDecay(0.5), tp.EMA(0.5))
    before = flat(model)
    optimizer.step()
    assert torch.equal(flat(model), before) and reg.steps == 0 and float(reg.state["ema"]["mass"]) == 0.0


def test_a_step_that_fails_is_none_and_can_be_tried_again() -> None:
    """Noise is not added twice to the same gradients."""

    class Failing(torch.optim.SGD):
        fails = True

        def step(self, closure: Any = None) -> Any:
            if self.fails:
                raise ZeroDivisionError
            return super().step(closure)

    model, twin = network(), network()
    optimizer, plain = Failing(model.parameters(), lr=0.1), sgd(twin)
    reg, other = (attach(m, o, tp.GradientNoise(1.0), tp.WeightDecay(0.5)) for m, o in ((model, optimizer), (twin, plain)))
    for one in (reg, other):
        one.loss(*rows()).backward()
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    assert reg.steps == 0
    Failing.fails = False
    optimizer.step()
    plain.step()
    assert torch.equal(flat(model), flat(twin)) and reg.steps == other.steps == 1


@pytest.mark.parametrize("closure", [False, True])
def test_an_optimizer_that_calls_the_step_of_its_base_is_one_step(closure: bool) -> None:
    """Torch runs the hooks of both classes."""

    class Derived(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    results: list[Tensor] = []
    for kind in (torch.optim.SGD, Derived):
        model = network()
        optimizer = kind(model.parameters(), lr=0.1)
        reg = attach(model, optimizer, tp.GradientNoise(0.1), tp.WeightDecay(0.5))

        def run(optimizer: Any = optimizer, reg: Any = reg) -> Tensor:
            optimizer.zero_grad()
            loss = reg.loss(*rows())
            loss.backward()
            return loss

        for _ in range(2):
            if closure:
                optimizer.step(run)
            else:
                run()
                optimizer.step()
        assert reg.steps == 2
        results.append(flat(model))
    assert torch.equal(*results)


# Closures


@pytest.mark.parametrize("kind", [torch.optim.SGD, ByHand])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_step_with_a_closure_is_a_step_after_backward(kind: Callable[..., Any], by_name: bool) -> None:
    """Everything that changes gradients acts inside; the closure is called once and its loss comes back."""
    results: list[Tensor] = []
    for closure in (False, True):
        model = network()
        optimizer = kind(model.parameters(), lr=0.5)
        reg = attach(model, optimizer, tp.GradClip(0.05), tp.GradientNoise(1e-4), tp.SAM(0.05), tp.WeightDecay(0.1), tp.Dropout(0.3), tp.EMA(0.5))
        calls: list[Tensor] = []

        def run(optimizer: Any = optimizer, reg: Any = reg, calls: list[Tensor] = calls) -> Tensor:
            optimizer.zero_grad()
            loss = reg.loss(*rows(len(calls)))
            loss.backward()
            calls.append(loss.detach())
            return loss

        for i in range(3):
            if not closure:
                run()
                optimizer.step()
                continue
            loss = optimizer.step(closure=run) if by_name else optimizer.step(run)
            assert len(calls) == i + 1 and torch.equal(loss.detach(), calls[-1])
        assert (reg.steps, reg.micro) == (3, 0)
        results.append(torch.cat([flat(model), *(t.flatten() for t in reg.state["ema"].values())]))
    assert torch.equal(*results)


def test_a_closure_that_is_called_twice_is_refused_at_that_step() -> None:
    class Twice(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            with torch.enable_grad():
                closure()
            return super().step(closure)

    model = network()
    optimizer = Twice(model.parameters(), lr=0.1)
    reg = attach(model, optimizer, tp.L2(0.1))
    before = flat(model)

    def run() -> Tensor:
        loss = reg.loss(*rows())
        loss.backward()
        return loss

    with pytest.raises(tp.ConfigError, match=r"^Twice calls its closure several times per step, and masks must hold within a step\. Use SGD, Adam"):
        optimizer.step(run)
    assert torch.equal(flat(model), before) and reg.steps == 0
    run()
    with pytest.raises(TypeError):
        optimizer.step()


def test_a_closure_that_is_not_called_is_refused_where_gradients_change() -> None:
    class Deaf(ByHand):
        def step(self, closure: Any = None) -> Any:
            for p in self.param_groups[0]["params"]:
                p.data.sub_(0.1 * p.grad)

    for regularizer, refused in ((tp.GradClip(0.1), True), (tp.MaxNorm(0.1), False)):
        model = network()
        optimizer = Deaf(model.parameters(), lr=0.1)
        reg = attach(model, optimizer, regularizer)
        reg.loss(*rows()).backward()
        if refused:
            with pytest.raises(
                tp.ConfigError, match=r"^The optimizer did not call its closure.*Call backward\(\) before optimizer\.step\(\) and give it no closure"
            ):
                optimizer.step(lambda: 0.0)  # type: ignore[arg-type] -- never called
        else:
            optimizer.step(lambda: 0.0)  # type: ignore[arg-type] -- never called
            assert longest(model[0]) < 0.1001
            assert reg.steps == 1


# Groups


def test_each_group_has_its_own_rate_and_schedule() -> None:
    """Also two groups that happen to have the same rate after different first ones."""
    model = network()
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.0}, {"params": model[4].parameters(), "lr": 0.2}]
    )
    torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda s: 1.0, lambda s: 1.0, lambda s: 0.5])
    reg = tp.Cocktail(tp.WeightDecay(0.5, scale="schedule"), tp.WeightDecay(0.5, name="by_rate")).attach(model, optimizer, lambda out, y: 0.0 * out.sum())
    before = [weight(model, i).detach().clone() for i in (0, 2, 4)]
    reg.loss(*rows()).backward()
    optimizer.step()
    for i, w, rate, factor in zip((0, 2, 4), before, (0.1, 0.0, 0.1), (1.0, 1.0, 0.5), strict=True):
        torch.testing.assert_close(weight(model, i).detach(), w * (1 - 0.5 * factor - 0.5 * rate))


def test_what_looks_at_several_parameters_sees_them_all() -> None:
    """A common ball and pairs, over groups of different rates and a frozen partner."""
    model = network()
    optimizer = torch.optim.SGD([{"params": model[i].parameters(), "lr": rate} for i, rate in ((0, 0.1), (2, 0.3), (4, 0.3))])
    reg = attach(model, optimizer, tp.NormBall(0.5, over="all"))
    train(optimizer, reg)
    weights = [weight(model, i).detach() for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat([w.flatten() for w in weights]).norm(), torch.tensor(0.5))
    reg.detach()
    reg = attach(model, optimizer, tp.Tying(1.0, where="0.weight|2.weight"))
    train(optimizer, reg)
    assert torch.equal(weight(model, 0), weight(model, 2))
    model[0].requires_grad_(False)
    before = weight(model, 0).clone()
    train(optimizer, reg)
    assert torch.equal(weight(model, 0), before) and torch.equal(weight(model, 2), before)


def test_sparse_gradients_stay_sparse() -> None:
    """Clipped over the rows that were looked up; the others do not move."""
    table = nn.Embedding(9, 3, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    reg = tp.Cocktail(tp.GradClip(0.01), tp.GradientNoise(1e-6)).attach(table, optimizer, lambda out, y: out.square().sum())
    before = table.weight.detach().clone()
    reg.loss(torch.tensor([1, 4, 4]), torch.zeros(3)).backward()
    optimizer.step()
    moved = (table.weight.detach() != before).any(1)
    assert moved.nonzero().flatten().tolist() == [1, 4]
    grad = table.weight.grad
    assert grad is not None and grad.is_sparse
    torch.testing.assert_close(grad.to_dense().norm(), torch.tensor(0.01), rtol=0.2, atol=0)


def test_a_group_that_decays_is_refused_at_its_first_step() -> None:
    model = network()
    optimizer = torch.optim.SGD(model[2:].parameters(), lr=0.1)
    reg = attach(model, optimizer, tp.WeightDecay(0.1))
    train(optimizer, reg)
    optimizer.add_param_group({"params": model[0].parameters(), "weight_decay": 0.1})
    reg.loss(*rows()).backward()
    with pytest.raises(tp.ConfigError, match=r"^The optimizer decays the weights as well as WeightDecay\. Set its weight_decay to 0"):
        optimizer.step()


def test_sharpness_is_that_of_what_trains() -> None:
    """Frozen weights are not moved uphill, and their slope does not count in the length of the step."""
    results: list[Tensor] = []
    for where in ("*weight", "2.weight|4.weight"):
        model = network(frozen=True)
        optimizer = sgd(model)
        train(optimizer, attach(model, optimizer, tp.SAM(0.5, where=where)), 2)
        results.append(flat(model))
    assert torch.equal(*results)
    model = network(frozen=True)
    optimizer = sgd(model)
    train(optimizer, attach(model, optimizer, tp.SAM(0.5, where="0.weight")), 2)
    plain = network(frozen=True)
    optimizer = sgd(plain)
    train(optimizer, attach(plain, optimizer), 2)
    assert torch.equal(flat(model), flat(plain))
