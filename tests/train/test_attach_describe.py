"""What is acted on, and by whom: the text of an attached cocktail."""

from __future__ import annotations

import itertools

import torch
from torch import nn

import temperance as tp


def parts(text: str) -> dict[str, str]:
    """The words behind each parameter."""
    lines = itertools.takewhile(lambda line: line.startswith(" "), text.splitlines()[1:])
    return {line.split()[0]: line.split(")", 1)[1].strip() for line in lines}


def test_describe_says_who_trains_what_now() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(
        [{"params": [*model[0].parameters(), *model[2].parameters()]}, {"params": [model[4].get_parameter("weight")], "lr": 0.01}], lr=0.1
    )
    cocktail = tp.Cocktail(tp.L2(0.1), tp.MaxNorm(2.0), tp.EMA(0.9), tp.WeightNoise(0.1), tp.SAM(0.1), tp.Dropout(0.2), tp.GradClip(1.0))
    reg = cocktail.attach(model, optimizer, nn.CrossEntropyLoss())
    found = parts(reg.describe())
    everything = "l2, maxnorm, ema, weight_noise, sam, grad_clip"
    assert found == {
        "0.weight": "weight_noise  frozen",
        "0.bias": "-  frozen",
        "2.weight": f"{everything}  group 0, lr 0.1",
        "2.bias": "ema, grad_clip  group 0, lr 0.1",
        "4.weight": f"{everything}  group 1, lr 0.01",
        "4.bias": "ema  not in the optimizer",
    }
    assert "1  ReLU  dropout" in reg.describe()
    model[2].forward = lambda x: x  # type: ignore[method-assign] -- a branch that is not taken
    model[0].requires_grad_(True)
    optimizer.param_groups[1]["lr"] = 0.005
    nn.functional.cross_entropy(model(torch.ones(5, 4)), torch.zeros(5, dtype=torch.long)).backward()
    optimizer.step()
    found = parts(reg.describe())
    assert found["0.weight"] == f"{everything}  group 0, lr 0.1"
    assert found["2.weight"] == f"{everything}  group 0, lr 0.1, not moved by the last step"
    assert found["4.weight"] == f"{everything}  group 1, lr 0.005"


def test_describe_follows_a_replaced_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reg = tp.Cocktail(tp.L2(0.1)).attach(model, optimizer, nn.CrossEntropyLoss())
    model[2] = nn.Linear(4, 5)
    text = reg.describe(rows=100)
    assert parts(text)["2.weight"] == "l2  not in the optimizer" and "2.weight  (5, 4)" in text


def test_describe_without_an_optimizer_shows_that_frozen_weights_are_left() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    model[0].requires_grad_(False)
    found = parts(tp.Cocktail(tp.L2(0.1), tp.MaxNorm(1.0), tp.DropConnect(0.1), tp.SAM(0.1)).describe(model))
    assert found["0.weight"] == "dropconnect  frozen" and found["2.weight"] == "l2, maxnorm, dropconnect, sam"
