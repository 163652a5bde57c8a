import copy

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows
from torch import nn

import temperance as tp
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.regularizers import L2, WeightDecay
from temperance.train.compiled import compiler_missing
from temperance.train.member import Member
from temperance.train.population import Population

without_compiler = pytest.mark.skipif(bool(compiler_missing()), reason="no C++ compiler is here, and nothing is compiled without one")


@pytest.mark.parametrize(("scale", "unit"), [("lr", 0.05), ("schedule", 0.25), ("none", 1.0)])
def test_the_factor_is_the_one_named(scale: str, unit: float) -> None:
    w = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ctx = context(lr=torch.tensor(0.05, dtype=torch.float64), lr_factor=torch.tensor(0.25, dtype=torch.float64))
    torch.testing.assert_close(bound(WeightDecay(0.1, scale=scale)).after_step({"w": w}, ctx)["w"], (1 - 0.1 * unit) * w, rtol=1e-15, atol=0)


def test_the_weights_before_the_step_decay() -> None:
    """(1 - lr lam) w - d: what the optimizer has added does not decay, and a parameter whose past is not given decays as it is."""
    w = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ctx = context(lr=torch.tensor(0.5, dtype=torch.float64), before={"w": w})
    found = bound(WeightDecay(0.2)).after_step({"w": w - 7.0, "other": w}, ctx)
    torch.testing.assert_close(found["w"], 0.9 * w - 7.0, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(found["other"], 0.9 * w, rtol=1e-14, atol=1e-14)


def test_twenty_steps_by_hand() -> None:
    batch, lr, lam = linear_rows(), 0.1, 0.3
    found = Loop(Cocktail(WeightDecay(lam)), linear_net(), SquaredError()).descend(batch, lr, 20)["weight"]
    x, y, w = batch.x.numpy(), batch.y.numpy()[:, 0], np.zeros(6)
    for _ in range(20):
        w = (1 - lr * lam) * w - lr * 2 * x.T @ (x @ w - y) / len(x)
    np.testing.assert_allclose(found.numpy()[0], w, rtol=1e-12)


def test_for_plain_gradient_descent_it_is_l2() -> None:
    runs = [Loop(Cocktail(r), linear_net(), SquaredError()).descend(linear_rows(), 0.05, 50)["weight"] for r in (WeightDecay(0.3), L2(0.3))]
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-12, atol=0)


LR, LAM, STEPS = 0.05, 0.4, 30


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=without_compiler)])
@pytest.mark.parametrize("optimizer", [tp.optim.SGD(LR), tp.optim.SGD(LR, momentum=0.9), tp.optim.Adam(LR)], ids=["sgd", "momentum", "adam"])
def test_a_population_decays_as_torch_does(optimizer: tp.optim.Optimizer, compiled: bool) -> None:
    """AdamW of torch for Adam; for the others the decay by hand, before torch's step."""
    X, y = torch.randn(16, 5, generator=torch.Generator().manual_seed(1)).double(), torch.randn(16, 2, generator=torch.Generator().manual_seed(2)).double()
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(5, 2, hidden=(7,), activation="tanh"), 0).double()
    members = [Member(Cocktail(WeightDecay(lam)), optimizer, seed=i) for i, lam in enumerate((0.0, LAM))]
    made = Population(net, members, tp.data.Dataset(X, y, "regression"), criterion=SquaredError(), batch_size=16, total_steps=STEPS, compile=compiled)
    made.run()
    assert not made.notes and all(o.compiled == compiled for o in made.outcomes)
    for i, lam in enumerate((0.0, LAM)):
        theirs = copy.deepcopy(net)
        weights, rest = ([p for p in theirs.parameters() if (p.dim() > 1) == wanted] for wanted in (True, False))
        groups = [{"params": weights, "weight_decay": lam}, {"params": rest, "weight_decay": 0.0}]
        step = (
            torch.optim.AdamW(groups, lr=LR)
            if isinstance(optimizer, tp.optim.Adam)
            else torch.optim.SGD([*weights, *rest], LR, momentum=optimizer.hypers()["momentum"])
        )
        for _ in range(STEPS):
            loss = nn.functional.mse_loss(theirs(X), y)
            step.zero_grad()
            loss.backward()
            if not isinstance(optimizer, tp.optim.Adam):
                with torch.no_grad():
                    for p in weights:
                        p.mul_(1 - LR * lam)
            step.step()
        ours = made.model(i).state_dict()
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours[name], value, rtol=1e-8, atol=1e-10)


def test_it_adds_nothing_to_loss_or_gradient() -> None:
    batch = linear_rows()
    with_it, without = (Loop(c, linear_net(), SquaredError()).gradient(batch) for c in (Cocktail(WeightDecay(0.3)), Cocktail()))
    assert torch.equal(with_it[0], without[0]) and torch.equal(with_it[2]["weight"], without[2]["weight"])
    assert list(with_it[1]) == ["data"]
