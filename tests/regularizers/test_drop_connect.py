import math

import torch
from tests.regularizers.helpers import Loop, bound, context
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.regularizers import L2, DropConnect


def test_share_values_and_mean() -> None:
    w = bound(DropConnect(0.2), torch.float64).weights({"w": torch.ones(300, 400, dtype=torch.float64)}, context())["w"]
    assert len(w.unique()) == 2 and (w == 0).any()
    assert abs((w == 0).double().mean().item() - 0.2) < 5 * math.sqrt(0.16 / w.numel())
    assert abs(w.mean().item() - 1) < 5 * math.sqrt(0.25 / w.numel())


def test_dropped_weights_have_no_gradient_and_penalties_see_all() -> None:
    torch.manual_seed(0)
    net = nn.Linear(30, 2)
    loop = Loop(Cocktail(DropConnect(0.5)), net, SquaredError())
    batch = full_batch(torch.randn(5, 30), torch.randn(5, 2))
    _, _, grads, _ = loop.gradient(batch)
    share = (grads["weight"] == 0).float().mean().item()
    assert 0.2 < share < 0.8 and (grads["bias"] != 0).all()
    both = Loop(Cocktail(DropConnect(0.5), L2(1.0)), net, SquaredError())
    _, report, _, _ = both.gradient(batch)
    torch.testing.assert_close(report["l2"], 0.5 * net.weight.detach().square().sum())


def test_masks_change_from_step_to_step_and_from_matrix_to_matrix() -> None:
    ctx = context()
    w = bound(DropConnect(0.5), torch.float32).weights({"a": torch.ones(8, 8), "b": torch.ones(8, 8)}, ctx)
    assert not torch.equal(w["a"], w["b"])
