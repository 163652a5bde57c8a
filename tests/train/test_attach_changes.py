"""The network and its optimizer change while a cocktail is attached: it follows, or says at that step that it cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.regularizer import Regularizer


def layer(inputs: int, outputs: int, seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs)


def network() -> nn.Sequential:
    return nn.Sequential(layer(4, 8), nn.ReLU(), layer(8, 3, 1))


def rows(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(16, 4, generator=g).to(dtype), torch.randint(0, 3, (16,), generator=g)


def weight(model: nn.Sequential, i: int) -> nn.Parameter:
    return model[i].get_parameter("weight")


def longest(model: nn.Sequential, i: int) -> float:
    return float(weight(model, i).detach().norm(dim=1).max())


def attached(*items: Regularizer, model: nn.Sequential | None = None, lr: float = 0.1, **settings: Any) -> tuple[nn.Sequential, torch.optim.Optimizer, Any]:
    model = network() if model is None else model
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    return model, optimizer, tp.Cocktail(*items).attach(model, optimizer, nn.CrossEntropyLoss(), **settings)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, reg: Any, steps: int = 2) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        reg.loss(*rows(next(model.parameters()).dtype)).backward()
        optimizer.step()


EVERYTHING: list[Regularizer] = [tp.L2SP(0.5), tp.MaxNorm(0.5), tp.EMA(0.5), tp.Lookahead(0.5, k=2), tp.SpectralPenalty(0.1), tp.Dropout(0.2), tp.GradClip(1.0)]


# Parameters that come, go or are replaced


def test_a_layer_that_is_thawed_and_added_to_the_optimizer() -> None:
    model = network()
    model[0].requires_grad_(False)
    model, optimizer, reg = attached(*EVERYTHING, model=model)
    before = weight(model, 0).detach().clone()
    train(model, optimizer, reg)
    assert torch.equal(weight(model, 0), before) and longest(model, 0) > 0.6
    model[0].requires_grad_(True)
    optimizer.add_param_group({"params": model[0].parameters(), "lr": 0.01})
    train(model, optimizer, reg)
    assert longest(model, 0) < 0.5001


def test_a_layer_that_is_thawed_and_forgotten_is_an_error_at_that_step() -> None:
    model = network()
    model[0].requires_grad_(False)
    model, optimizer, reg = attached(tp.L2(0.1), model=model)
    train(model, optimizer, reg)
    model[0].requires_grad_(True)
    after = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(tp.ConfigError, match=r"^0\.weight, 0\.bias became trainable after attach, and the optimizer does not hold them.*add_param_group"):
        train(model, optimizer, reg, 1)
    assert all(torch.equal(a, p) for a, p in zip(after, model.parameters(), strict=True)) and reg.steps == 2
    optimizer.add_param_group({"params": model[0].parameters()})
    train(model, optimizer, reg, 1)
    assert reg.steps == 3 and not torch.equal(weight(model, 0), after[0])


def test_a_layer_that_is_thawed_may_belong_to_another_optimizer() -> None:
    """The last way out of the message: attach again."""
    model = network()
    model[0].requires_grad_(False)
    model, optimizer, reg = attached(tp.MaxNorm(0.3), tp.EMA(0.5), model=model)
    train(model, optimizer, reg)
    model[0].requires_grad_(True)
    kept = reg.state_dict()
    reg.detach()
    reg = tp.Cocktail(tp.MaxNorm(0.3), tp.EMA(0.5)).attach(model, optimizer, nn.CrossEntropyLoss())
    reg.load_state_dict(kept)
    train(model, optimizer, reg, 1)
    assert reg.steps == 3 and longest(model, 0) > 0.5


@pytest.mark.parametrize("width", [8, 11])
def test_a_replaced_head_is_trained_and_regularized(width: int) -> None:
    """Its slow weights, anchor, average and singular vector begin where it begins, whether or not its shape is that of the old one."""
    model, optimizer, reg = attached(*EVERYTHING)
    train(model, optimizer, reg, 3)
    model[0], model[2] = (layer(4, width, 5), layer(width, 3, 6)) if width != 8 else (model[0], layer(8, 3, 6))
    new = [model[0], model[2]] if width != 8 else [model[2]]
    for part in new:
        optimizer.add_param_group({"params": part.parameters()})
    start, kept = weight(model, 2).detach().clone(), reg.state["l2sp"]["0.weight"].clone()
    loss = reg.loss(*rows())
    for label, key in (("l2sp", ""), ("ema", "average:"), ("lookahead", "slow:")):
        assert torch.equal(reg.state[label][f"{key}2.weight"], start)
    assert torch.equal(reg.state["l2sp"]["0.weight"], kept) is (width == 8)
    assert float(reg.state["ema"]["mass"]) > 0.8
    loss.backward()
    optimizer.step()
    train(model, optimizer, reg, 3)
    assert not torch.equal(weight(model, 2), start) and longest(model, 2) < 0.5001
    inside: list[Tensor] = []
    with reg.averaged():
        inside = [weight(model, 2).detach().clone()]
    assert not torch.equal(inside[0], weight(model, 2))


def test_a_hidden_layer_that_is_added_is_regularized_and_one_that_goes_is_forgotten() -> None:
    """Selectors speak about the network as it is: a new activation is dropped out too."""
    model, optimizer, reg = attached(tp.Dropout(0.5), tp.MaxNorm(0.4), tp.EMA(0.5))
    train(model, optimizer, reg)
    longer = nn.Sequential(model[0], model[1], layer(8, 8, 4), nn.Tanh(), model[2])
    del model[:]
    model.extend(longer)
    optimizer.add_param_group({"params": model[2].parameters()})
    seen: list[Tensor] = []
    model[3].register_forward_hook(lambda module, args, out: seen.append(out.detach()))
    train(model, optimizer, reg)
    assert 0.3 < float((seen[-1] == 0).float().mean()) < 0.7
    assert longest(model, 2) < 0.4001
    del model[2:4]
    train(model, optimizer, reg)
    assert {key for key in reg.state["ema"] if key != "mass"} == {f"average:{name}" for name, _ in model.named_parameters()}


def test_a_network_that_no_longer_has_what_a_selector_means_is_an_error() -> None:
    model, optimizer, reg = attached(tp.L2(0.1, where="2.weight"))
    train(model, optimizer, reg)
    model[2] = nn.Identity()
    with pytest.raises(tp.ConfigError, match=r"^`where` of L2 is Named.*matches nothing"):
        reg.loss(*rows())


STALE = r"^The optimizer holds tensors that the network has replaced \((0\.weight, 0\.bias, )?2\.weight, 2\.bias\), so it would train what nobody uses"


def load(model: nn.Sequential) -> None:
    model.load_state_dict({name: torch.zeros_like(t) for name, t in model.state_dict().items()}, assign=True)


def renew(model: nn.Sequential) -> None:
    model[2].weight, model[2].bias = nn.Parameter(torch.zeros(3, 8)), nn.Parameter(torch.zeros(3))


def replace(model: nn.Sequential) -> None:
    model[2] = layer(8, 3, 9)


@pytest.mark.parametrize("change", [load, renew, replace])
def test_tensors_that_the_optimizer_has_lost_are_an_error(change: Callable[[nn.Sequential], None]) -> None:
    """At the loss, at the split form and at the step, until the optimizer has the new ones; in evaluation the network's own tensors count."""
    model, optimizer, reg = attached(tp.L2(0.5), tp.EMA(0.5))
    train(model, optimizer, reg)
    reg.loss(*rows()).backward()
    change(model)
    x, y = rows()
    for call in (lambda: reg.loss(x, y), lambda: reg.batch(x, y), optimizer.step):
        with pytest.raises(tp.ConfigError, match=STALE):
            call()
    assert reg.steps == 2
    model.eval()
    torch.testing.assert_close(reg.loss(x, y), F.cross_entropy(model(x), y))
    model.train()
    optimizer.param_groups[0]["params"] = list(model.parameters())
    penalty = 0.25 * sum(weight(model, i).square().sum() for i in (0, 2))
    torch.testing.assert_close(reg.loss(x, y), F.cross_entropy(model(x), y) + penalty)
    train(model, optimizer, reg, 1)
    assert reg.steps == 3


@pytest.mark.parametrize("width", [8, 11])
def test_a_layer_that_is_replaced_by_a_frozen_one_needs_no_optimizer(width: int) -> None:
    """As one puts in a pretrained layer: it stays as it is, the others train on, and once it is thawed it belongs to someone again."""
    model, optimizer, reg = attached(tp.MaxNorm(0.3), tp.WeightDecay(0.1), tp.EMA(0.5))
    train(model, optimizer, reg)
    model[0] = layer(4, width, 7).requires_grad_(False)
    if width != 8:
        model[2] = layer(width, 3, 8)
        optimizer.add_param_group({"params": model[2].parameters()})
    frozen, before = weight(model, 0).clone(), weight(model, 2).detach().clone()
    reg.loss(*rows())
    x, _ = reg.batch(*rows())
    model(x)
    reg.penalty()
    train(model, optimizer, reg)
    assert torch.equal(weight(model, 0), frozen) and longest(model, 0) > 0.5
    assert not torch.equal(weight(model, 2), before) and longest(model, 2) < 0.3001 and reg.steps == 4
    assert f"  0.weight  ({width}, 4)" in reg.describe() and reg.describe().count("  -  frozen\n") == 2
    model[0].requires_grad_(True)
    with pytest.raises(tp.ConfigError, match=r"^The optimizer holds tensors that the network has replaced \(0\.weight, 0\.bias\)"):
        reg.loss(*rows())
    optimizer.add_param_group({"params": model[0].parameters()})
    train(model, optimizer, reg)
    assert longest(model, 0) < 0.3001 and reg.steps == 6


def test_a_built_anew_optimizer_takes_a_new_attach() -> None:
    """The second way out of the message."""
    model, _, reg = attached(tp.MaxNorm(0.2))
    replace(model)
    reg.detach()
    before = weight(model, 2).detach().clone()
    model, optimizer, reg = attached(tp.MaxNorm(0.2), model=model)
    train(model, optimizer, reg)
    assert reg.steps == 2 and longest(model, 2) < 0.2001 < float(before.norm(dim=1).max())


def test_loading_into_the_same_tensors_needs_nothing() -> None:
    model, optimizer, reg = attached(*EVERYTHING)
    train(model, optimizer, reg)
    kept = reg.state["l2sp"]["0.weight"].clone()
    model.load_state_dict({name: torch.zeros_like(t) for name, t in model.state_dict().items()})
    model.eval()
    torch.testing.assert_close(reg.loss(*rows()).detach(), torch.tensor(3.0).log())
    assert torch.equal(reg.state["l2sp"]["0.weight"], kept)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_state_is_cast_with_the_network(dtype: torch.dtype) -> None:
    model, optimizer, reg = attached(*EVERYTHING, tp.MixUp(0.2), tp.SAM(0.01))
    train(model, optimizer, reg)
    average = reg.state["ema"]["average:0.weight"].clone()
    model.to(dtype)
    reg.loss(*rows(dtype))
    assert {t.dtype for own in reg.state.values() for t in own.values()} == {dtype}
    assert torch.equal(reg.state["ema"]["average:0.weight"], average.to(dtype))
    train(model, optimizer, reg)
    assert {p.dtype for p in model.parameters()} == {dtype} and reg.steps == 4 and longest(model, 0) < 0.51


def test_double_after_attach_is_double_before() -> None:
    """Same masks, same strengths, to the precision of the new type."""
    results: list[Tensor] = []
    for late in (False, True):
        model = network() if late else network().double()
        model, optimizer, reg = attached(tp.Dropout(0.3), tp.L2(0.1), tp.EMA(0.5), tp.Lookahead(0.5, k=2), model=model, seed=4)
        model.double()
        train(model, optimizer, reg, 3)
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*results)


def test_another_device_is_followed() -> None:
    """To a device without data and back is an error of torch's own; the state goes along."""
    model, _, reg = attached(tp.EMA(0.5), tp.L2SP(0.1))
    model.to("meta")
    reg._follow()
    assert {t.device.type for own in reg.state.values() for t in own.values()} == {"meta"}


def test_a_late_penalty_is_that_of_the_tensors_now() -> None:
    model, optimizer, reg = attached(tp.L2(2.0))
    with torch.no_grad():
        weight(model, 0).fill_(1.0)
        weight(model, 2).zero_()
    reg.loss(*rows())
    torch.testing.assert_close(reg.report["l2"], torch.tensor(32.0))
    optimizer.state.clear()
    train(model, optimizer, reg)


# What cannot be attached to at all


def test_an_optimizer_of_another_network_is_refused() -> None:
    model = network()
    other = copy.deepcopy(model)
    with pytest.raises(tp.ConfigError, match=r"^The optimizer holds none of the network's parameters.*Build it with .*model\.parameters\(\)"):
        tp.Cocktail(tp.L2()).attach(model, torch.optim.SGD(other.parameters()), nn.CrossEntropyLoss())
    tp.Cocktail(tp.L2()).attach(other, torch.optim.SGD(other.parameters()), nn.CrossEntropyLoss()).detach()


@pytest.mark.parametrize("wrong", [None, "sgd", [torch.optim.SGD(nn.Linear(1, 1).parameters())]])
def test_what_is_no_optimizer_is_refused(wrong: Any) -> None:
    with pytest.raises(tp.ConfigError, match=r"^Expected `optimizer` of attach to be one torch\.optim\.Optimizer, got .*Where several train the network"):
        tp.Cocktail(tp.L2()).attach(network(), wrong, nn.CrossEntropyLoss())


def test_modules_without_shapes_are_refused_until_they_have_some() -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(tp.ConfigError, match=r"^0\.weight has no shape yet.*Call the network once on a minibatch"):
        tp.Cocktail(tp.L2()).attach(model, optimizer, nn.CrossEntropyLoss())
    model(rows()[0])
    reg = tp.Cocktail(tp.L2()).attach(model, optimizer, nn.CrossEntropyLoss())
    train(model, optimizer, reg)
    assert reg.steps == 2


def test_an_optimizer_that_climbs_is_refused_where_something_is_added_to_the_loss() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)
    with pytest.raises(tp.ConfigError, match=r"^The optimizer maximizes, and L2 adds to a loss that is to become small.*maximize=False"):
        tp.Cocktail(tp.L2(0.1)).attach(model, optimizer, nn.CrossEntropyLoss())
    tp.Cocktail(tp.L2(0.0), tp.MaxNorm(0.3)).attach(model, optimizer, lambda out, y: -F.cross_entropy(out, y)).detach()
