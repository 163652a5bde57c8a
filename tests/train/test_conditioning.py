"""Ill-conditioning in two dimensions, and its remedies: standardized inputs, annealing, adaptive rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import temperance as tp
from temperance.core.criterion import SquaredError
from temperance.data.dataset import Dataset
from temperance.train.optimizers import Adadelta, Optimizer
from temperance.train.population import Population

TARGET = 1e-6  # of the excess loss


def raw(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Two inputs in units that differ twentyfold, one of them far from zero."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2)) * [1.0, 20.0] + [0.0, 10.0]
    return X, X @ [2.0, -0.3] + 1.0


def hessian(X: np.ndarray) -> np.ndarray:
    """Of half the mean squared error, intercept included."""
    ones = np.column_stack([X, np.ones(len(X))])
    return ones.T @ ones / len(X)


def steps_to_target(X: np.ndarray, y: np.ndarray, optimizer: Optimizer, target: float = TARGET, most: int = 3000) -> int:
    """Full-batch steps from zero until the loss has fallen to the target share of its first value; ``most`` if it has not."""
    data = Dataset(torch.as_tensor(X), torch.as_tensor(y).unsqueeze(1), "regression")
    net = torch.nn.Linear(2, 1).double()
    torch.nn.init.zeros_(net.weight)
    torch.nn.init.zeros_(net.bias)
    made = Population(net, [tp.Member(tp.Cocktail(), optimizer)], data, criterion=SquaredError(half=True), batch_size=len(y), total_steps=most, check_every=25)
    first = 0.5 * float((y**2).mean())

    def stop(running: Population) -> None:
        if running.outcomes[0].history[-1]["train_loss"] < target * first:
            running.end("there")

    made.run(on_progress=stop)
    return made.outcomes[0].steps


def test_standardizing_inputs_lowers_the_condition_number_and_the_steps() -> None:
    """At the best constant rate 2 / (largest + smallest curvature) the error falls by (kappa - 1) / (kappa + 1) a step."""
    X, y = raw()
    Z = (X - X.mean(0)) / X.std(0)
    kappas, steps = [], []
    for inputs in (X, Z):
        curvatures = np.linalg.eigvalsh(hessian(inputs))
        kappas.append(curvatures[-1] / curvatures[0])
        steps.append(steps_to_target(inputs, y, tp.optim.SGD(2.0 / (curvatures[0] + curvatures[-1]))))
    assert kappas[0] > 300 and kappas[1] < 1.5
    slowest = math.log(TARGET) / 2 / math.log((kappas[0] - 1) / (kappas[0] + 1))
    assert steps[1] <= 25 and 0.3 * slowest < steps[0] < 1.5 * slowest + 25


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_the_steepest_direction_sets_the_limit_of_the_rate(factor: float) -> None:
    """A rate just below 2 over the largest curvature converges along it and crawls along the flat one; just above, it diverges."""
    D = torch.tensor([1.0, 0.01], dtype=torch.float64)
    x = torch.diag((2 * D).sqrt())
    data = Dataset(x, x @ torch.ones(2, 1, dtype=torch.float64), "regression")
    net = torch.nn.Linear(2, 1, bias=False).double()
    torch.nn.init.zeros_(net.weight)
    eps, steps = 2.0 * factor, 100
    made = Population(net, [tp.Member(tp.Cocktail(), tp.optim.SGD(eps))], data, criterion=SquaredError(half=True), batch_size=2, total_steps=steps)
    made.run()
    gap = 1 - made.model(0).state_dict()["weight"][0]
    torch.testing.assert_close(gap, (1 - eps * D) ** steps, rtol=1e-8, atol=1e-10)
    assert bool(gap[0].abs() > 1) == (factor > 1) and float(gap[1]) > 0.1


def test_remedies() -> None:
    """On the raw inputs Adam, annealed, and Adadelta come near with a few of the steps that the best constant rate needs."""
    X, y = raw()
    curvatures = np.linalg.eigvalsh(hessian(X))
    plain = steps_to_target(X, y, tp.optim.SGD(2.0 / (curvatures[0] + curvatures[-1])), 1e-3)
    assert steps_to_target(X, y, tp.optim.Adam(tp.schedules.FlatCosine(0.1, flat=0.5)), 1e-3) < 0.25 * plain
    assert steps_to_target(X, y, Adadelta(1.0, eps=1e-4), 1e-3) < 0.25 * plain
