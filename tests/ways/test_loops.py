"""Ways out of messages in a loop of one's own."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
import torch
from tests.ways.harness import Way, check, way
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp

G = torch.Generator().manual_seed(0)
X, Y = torch.randn(12, 4, generator=G), torch.arange(12) % 3
CE = nn.CrossEntropyLoss


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def sgd(model: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, **settings})


def step(*regularizers: Any, model: Any = None, optimizer: Any = None, criterion: Any = None, x: Any = X, y: Any = Y, **settings: Any) -> Tensor:
    """One step with them; its loss."""
    model = net() if model is None else model
    optimizer = sgd(model) if optimizer is None else optimizer(model)
    reg = tp.Cocktail(*regularizers).attach(model, optimizer, CE() if criterion is None else criterion, **settings)
    loss = reg.loss(x, y)
    loss.backward()
    optimizer.step()
    assert reg.steps == 1
    return loss.detach()


def split(*regularizers: Any, criterion: Any = None, y: Any = Y, call: bool = True) -> Tensor:
    """One step of the split form."""
    model, criterion = net(), CE() if criterion is None else criterion
    reg = tp.Cocktail(*regularizers).attach(model, sgd(model), criterion)
    x, soft = reg.batch(X, y)
    out = model(x) if call else torch.zeros(())
    return criterion(out, soft) + reg.penalty() if call else reg.penalty()


def again(detach: bool) -> Tensor:
    model = net()
    reg = tp.Cocktail(tp.L2(0.1)).attach(model, sgd(model), CE())
    if detach:
        reg.detach()
    return step(tp.L1(0.1), model=model)


def after_detach(attach: bool) -> Tensor:
    model = net()
    reg = tp.Cocktail(tp.L2(0.1)).attach(model, sgd(model), CE())
    reg.detach()
    if attach:
        reg = tp.Cocktail(tp.L2(0.1)).attach(model, sgd(model), CE())
    return reg.loss(X, Y)


def within_the_average(ended: bool) -> Tensor:
    """A step inside the block or behind it; the parameters are the trained ones afterwards, whatever happened."""
    model = net()
    optimizer = sgd(model)
    reg = tp.Cocktail(tp.EMA(0.5)).attach(model, optimizer, CE())
    for _ in range(2):
        reg.loss(X, Y).backward()
        optimizer.step()
    trained = [p.detach().clone() for p in model.parameters()]
    try:
        with reg.averaged():
            reg.loss(X, Y).backward()
            if not ended:
                optimizer.step()
    finally:
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), trained, strict=True))
    optimizer.step()
    assert not any(torch.equal(p, q) for p, q in zip(model.parameters(), trained, strict=True))
    return reg.loss(X, Y)


def replaced(mend: str) -> Tensor:
    model = net()
    optimizer = sgd(model)
    reg = tp.Cocktail(tp.L2(0.1), tp.EMA(0.9)).attach(model, optimizer, CE())
    model[2] = nn.Linear(6, 3)
    if mend == "add":
        optimizer.add_param_group({"params": model[2].parameters()})
    if mend == "anew":
        reg.detach()
        optimizer = sgd(model)
        reg = tp.Cocktail(tp.L2(0.1), tp.EMA(0.9)).attach(model, optimizer, CE())
    loss = reg.loss(X, Y)
    loss.backward()
    optimizer.step()
    return loss


def thawed(mend: str) -> Tensor:
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    reg = tp.Cocktail(tp.L2(0.1)).attach(model, optimizer, CE())
    model[0].requires_grad_(mend != "freeze")
    if mend == "add":
        optimizer.add_param_group({"params": model[0].parameters()})
    if mend == "again":
        reg.detach()
        reg = tp.Cocktail(tp.L2(0.1)).attach(model, optimizer, CE())
    loss = reg.loss(X, Y)
    loss.backward()
    optimizer.step()
    return loss


def resumed(seed: int, layers: int = 3) -> bool:
    model = net()
    state = tp.Cocktail(tp.EMA(0.9)).attach(model, sgd(model), CE(), seed=0).state_dict()
    other = nn.Sequential(*list(net())[:layers], *([] if layers == 3 else [nn.Linear(6, 4), nn.Linear(4, 3)]))
    reg = tp.Cocktail(tp.EMA(0.9)).attach(other, sgd(other), CE(), seed=seed)
    reg.load_state_dict(state)
    return reg.state.keys() == {"ema"}


def lazily(called: bool) -> Tensor:
    model = nn.Sequential(nn.LazyLinear(6), nn.ReLU(), nn.LazyLinear(3))
    if called:
        model(X)
    return step(tp.L2(0.1), model=model)


def by_closure(closure: bool) -> Tensor:
    class Deaf(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> Any:
            for p in self.param_groups[0]["params"]:
                p.data.sub_(0.1 * p.grad)

    model = net()
    optimizer = Deaf(model.parameters(), {"lr": 0.1})
    reg = tp.Cocktail(tp.GradClip(1.0)).attach(model, optimizer, CE())
    loss = reg.loss(X, Y)
    loss.backward()
    optimizer.step(lambda: loss.item()) if closure else optimizer.step()
    return loss


def scaled(fused: bool, unscale: bool) -> Tensor:
    model = net()
    optimizer = sgd(model, fused=fused)
    reg, scaler = tp.Cocktail(tp.GradClip(1.0)).attach(model, optimizer, CE()), torch.amp.GradScaler("cpu", init_scale=8.0)
    loss = reg.loss(X, Y)
    scaler.scale(loss).backward()
    if unscale:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    return loss


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x)))


class Hiding(nn.Module):
    """Gives its scores in an object that shows no shapes."""

    class Scores:
        __slots__ = ("z",)

        def __init__(self, z: Tensor) -> None:
            self.z = z

    def __init__(self) -> None:
        super().__init__()
        self.body = net()

    def forward(self, x: Tensor) -> Any:
        return self.Scores(self.body(x))


def own(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y)


ONES = torch.ones(12)
FLOATS = torch.rand(12, 3, generator=G)
LOG = F.log_softmax(torch.randn(12, 3, generator=G), 1)
HARD = nn.MultiMarginLoss()

WAYS: dict[str, Way] = {
    "a second cocktail": way(
        lambda: again(False), "Call detach() first, or attach one cocktail that holds both.", lambda: again(True), lambda: step(tp.L2(0.1), tp.L1(0.1))
    ),
    "after detach": way(lambda: after_detach(False), "Attach it again.", lambda: after_detach(True)),
    "a step within the average": way(lambda: within_the_average(False), "End the `with` block before training on.", lambda: within_the_average(True)),
    "the split form": way(lambda: split(tp.SAM(0.1)), "Use reg.loss(x, y), or leave it out.", lambda: step(tp.SAM(0.1)), lambda: split(tp.L2(0.1))),
    "the split form, two": way(lambda: split(tp.SAM(0.1), tp.VAT(1.0)), "Use reg.loss(x, y), or leave them out.", lambda: step(tp.SAM(0.1), tp.VAT(1.0))),
    "no call": way(lambda: split(tp.ActivationSparsity(0.1), call=False), "Call the network in between", lambda: split(tp.ActivationSparsity(0.1))),
    "fused": way(
        lambda: scaled(True, False), "Use fused=False, or call scaler.unscale_(optimizer) first.", lambda: scaled(False, False), lambda: scaled(True, True)
    ),
    "state of another seed": way(lambda: resumed(1), "Attach the same cocktail and seed first.", lambda: resumed(0)),
    "state of another network": way(lambda: resumed(0, 2), "Give the network the layers it had when the state was saved, then load it.", lambda: resumed(0)),
    "a replaced head": way(
        lambda: replaced(""),
        "Give it the new ones with optimizer.add_param_group, or call detach(), build the optimizer again and attach again.",
        lambda: replaced("add"),
        lambda: replaced("anew"),
    ),
    "a thawed layer": way(
        lambda: thawed(""),
        "Call optimizer.add_param_group, or freeze them with requires_grad_(False); where another optimizer trains them, detach() and attach again.",
        lambda: thawed("add"),
        lambda: thawed("freeze"),
        lambda: thawed("again"),
    ),
    "LBFGS": way(
        lambda: step(tp.L2(0.1), optimizer=lambda m: torch.optim.LBFGS(m.parameters())),
        "Use SGD, Adam or another optimizer without a closure.",
        lambda: step(tp.L2(0.1)),
        lambda: step(tp.L2(0.1), optimizer=lambda m: torch.optim.Adam(m.parameters())),
    ),
    "no shapes yet": way(lambda: lazily(False), "Call the network once on a minibatch, then attach.", lambda: lazily(True)),
    "another network's optimizer": way(
        lambda: step(tp.L2(0.1), optimizer=lambda m: sgd(copy.deepcopy(m))),
        "Build it with the parameters of this very network: model.parameters().",
        lambda: step(tp.L2(0.1)),
    ),
    "an optimizer that climbs": way(
        lambda: step(tp.L2(0.1), optimizer=lambda m: sgd(m, maximize=True)),
        "Use maximize=False and a criterion with the other sign.",
        lambda: step(tp.L2(0.1), criterion=lambda out, y: -own(out, y)),
    ),
    "decay twice": way(
        lambda: step(tp.WeightDecay(0.1), optimizer=lambda m: sgd(m, weight_decay=0.1)),
        "Set its weight_decay to 0 or leave WeightDecay out.",
        lambda: step(tp.WeightDecay(0.1), optimizer=lambda m: sgd(m, weight_decay=0.0)),
        lambda: step(tp.L1(0.1), optimizer=lambda m: sgd(m, weight_decay=0.1)),
    ),
    "a closure that is not called": way(lambda: by_closure(True), "Call backward() before optimizer.step() and give it no closure.", lambda: by_closure(False)),
    "no length": way(lambda: step(tp.L2(tp.schedules.Cosine(0.1))), "total_steps", lambda: step(tp.L2(tp.schedules.Cosine(0.1)), total_steps=9)),
    # losses
    "a loss of one's own with weights": way(
        lambda: tp.Cocktail(tp.L2(0.1)).attach(m := net(), sgd(m), own).loss(X, Y, ONES),
        "such as nn.CrossEntropyLoss(), nn.MSELoss() or tp.losses.SigmoidCrossEntropy(); yours gives one number.",
        lambda: tp.Cocktail(tp.L2(0.1)).attach(m := net(), sgd(m), CE()).loss(X, Y, ONES),
        lambda: tp.Cocktail(tp.L2(0.1)).attach(m := net(), sgd(m), nn.MSELoss()).loss(X, FLOATS, ONES),
        lambda: tp.Cocktail(tp.L2(0.1)).attach(m := net(), sgd(m), tp.losses.SigmoidCrossEntropy()).loss(X, FLOATS, ONES),
    ),
    "two outputs of one's own loss": way(
        lambda: step(tp.VAT(1.0), criterion=own),
        "Give one that can, such as nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss() or nn.MSELoss().",
        lambda: step(tp.VAT(1.0)),
        lambda: step(tp.VAT(1.0), criterion=nn.BCEWithLogitsLoss(), y=FLOATS),
        lambda: step(tp.VAT(1.0), criterion=nn.MSELoss(), y=FLOATS),
    ),
    "two outputs of a hard loss": way(
        lambda: step(tp.VAT(1.0), criterion=HARD),
        "Give one that can, such as nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss() or nn.MSELoss().",
        lambda: step(tp.VAT(1.0)),
        lambda: step(tp.VAT(1.0), criterion=nn.BCEWithLogitsLoss(), y=FLOATS),
        lambda: step(tp.VAT(1.0), criterion=nn.MSELoss(), y=FLOATS),
    ),
    "no soft form": way(
        lambda: step(tp.MixUp(0.2), criterion=HARD),
        "Use nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss() or nn.MSELoss(), or leave MixUp out.",
        lambda: step(tp.MixUp(0.2)),
        lambda: step(tp.MixUp(0.2), criterion=nn.BCEWithLogitsLoss(), y=FLOATS),
        lambda: step(tp.MixUp(0.2), criterion=nn.MSELoss(), y=FLOATS),
        lambda: step(criterion=HARD),
    ),
    "logarithms of targets": way(
        lambda: step(tp.MixUp(0.2), criterion=nn.KLDivLoss(reduction="batchmean", log_target=True), y=LOG),
        "Use log_target=False, or leave MixUp out.",
        lambda: step(tp.MixUp(0.2), criterion=nn.KLDivLoss(reduction="batchmean"), y=LOG.exp()),
        lambda: step(criterion=nn.KLDivLoss(reduction="batchmean", log_target=True), y=LOG),
    ),
    "classes alone": way(
        lambda: step(tp.MixUp(0.2), criterion=lambda out, y: F.multi_margin_loss(out, y)),
        "Give a loss that does, such as nn.CrossEntropyLoss(), or leave MixUp out.",
        lambda: step(tp.MixUp(0.2)),
        lambda: step(criterion=lambda out, y: F.multi_margin_loss(out, y)),
    ),
    "no single number": way(
        lambda: step(criterion=lambda out, y: F.cross_entropy(out, y, reduction="none")),
        "Return its mean, such as `.mean()`.",
        lambda: step(criterion=lambda out, y: F.cross_entropy(out, y, reduction="none").mean()),
    ),
    "no reduction": way(
        lambda: step(criterion=CE(reduction="none")),
        "Use 'mean'; weights of rows are given as `weight`, to reg.loss or with the data.",
        lambda: step(criterion=CE(reduction="mean")),
        lambda: tp.Cocktail().attach(m := net(), sgd(m), CE()).loss(X, Y, weight=ONES),
    ),
    "the split form with smoothing and weights": way(
        lambda: split(tp.MixUp(0.2), criterion=CE(label_smoothing=0.1, weight=torch.ones(3))),
        "Use reg.loss(x, y), which calls it for you.",
        lambda: step(tp.MixUp(0.2), criterion=CE(label_smoothing=0.1, weight=torch.ones(3))),
    ),
    "a class too many": way(
        lambda: step(tp.MixUp(0.2), y=torch.where(Y == 2, 7, Y)),
        "For rows without a target use nn.CrossEntropyLoss(ignore_index=...).",
        lambda: step(tp.MixUp(0.2), y=torch.where(Y == 2, 7, Y), criterion=CE(ignore_index=7)),
    ),
    "a class too many, plainly": way(
        lambda: step(y=torch.where(Y == 2, 7, Y)),
        "Classes count from 0; for rows without one set ignore_index.",
        lambda: step(y=torch.where(Y == 2, 7, Y), criterion=CE(ignore_index=7)),
    ),
    "targets in a tuple": way(
        lambda: step(tp.MixUp(0.2), y=(Y, Y), criterion=lambda out, y: own(out, y[0])),
        "Give them so, or leave MixUp out.",
        lambda: step(tp.MixUp(0.2), y={"a": Y, "b": Y}, criterion=lambda out, y: own(out, y["a"])),
        lambda: step(y=(Y, Y), criterion=lambda out, y: own(out, y[0])),
    ),
    "numbers to be smoothed": way(
        lambda: step(tp.LabelSmoothing(0.1), y=FLOATS[:, 0], criterion=lambda out, y: F.mse_loss(out[:, 0], y)),
        "Give nn.BCEWithLogitsLoss() or nn.CrossEntropyLoss(), or leave LabelSmoothing out.",
        lambda: step(tp.LabelSmoothing(0.1), y=FLOATS.round(), criterion=nn.BCEWithLogitsLoss()),
        lambda: step(tp.LabelSmoothing(0.1)),
        lambda: step(y=FLOATS[:, 0], criterion=lambda out, y: F.mse_loss(out[:, 0], y)),
    ),
    "number of classes": way(
        lambda: step(tp.MixUp(0.2), model=Hiding(), criterion=lambda out, y: own(out.z, y)),
        "Give it to attach as num_classes.",
        lambda: step(tp.MixUp(0.2), model=Hiding(), criterion=lambda out, y: own(out.z, y), num_classes=3),
    ),
    "noise on classes": way(
        lambda: step(tp.TargetNoise(0.1), criterion=own),
        "Leave it out.",
        lambda: step(criterion=own),
    ),
    "restarts of an attack": way(
        lambda: step(tp.PGD(0.1, restarts=2), criterion=own),
        "Use restarts=1, or one of the losses of temperance.",
        lambda: step(tp.PGD(0.1, restarts=1), criterion=own),
        lambda: step(tp.PGD(0.1, restarts=2), criterion=tp.losses.SoftmaxCrossEntropy()),
    ),
    "probabilities of scores": way(
        lambda: step(tp.ConfidencePenalty(0.1), criterion=HARD),
        "Use nn.CrossEntropyLoss(), or leave ConfidencePenalty out.",
        lambda: step(tp.ConfidencePenalty(0.1)),
    ),
    "a shape too many": way(
        lambda: step(criterion=tp.losses.SquaredError(), y=FLOATS[:, :1]),
        "Reshape one of them.",
        lambda: step(criterion=tp.losses.SquaredError(), y=FLOATS[:, :1].expand(-1, 3)),
    ),
    "classes in a map": way(
        lambda: step(model=nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (3, 2))), criterion=tp.losses.SoftmaxCrossEntropy(), y=torch.zeros(12, 2).long()),
        "For other shapes give a function, such as lambda out, y: F.cross_entropy(out, y).",
        lambda: step(
            model=nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (3, 2))), criterion=lambda out, y: F.cross_entropy(out, y), y=torch.zeros(12, 2).long()
        ),
    ),
    # what a cocktail and a selector may be
    "two of one name": way(
        lambda: tp.Cocktail(tp.L2(0.1), tp.L1(0.1, name="l2")),
        "Give each a name of its own.",
        lambda: step(tp.L2(0.1), tp.L1(0.1, name="l1")),
    ),
    "a name with a dash": way(lambda: tp.L2(0.1, name="l-2"), "Use letters, digits and underscores.", lambda: step(tp.L2(0.1, name="l_2"))),
    "a negative strength": way(
        lambda: tp.L1(-0.1),
        "Use 0 to switch it off; useful values lie between 1e-07 and 0.01.",
        lambda: step(tp.L1(0)),
        lambda: step(tp.L1(0.1)),
        lambda: step(tp.L1(1e-7)),
    ),
    "two averages": way(
        lambda: step(tp.EMA(0.9), tp.SWA(0.5), total_steps=9),
        "Leave one out, or off.",
        lambda: step(tp.EMA(0.9)),
        lambda: step(tp.EMA(0.0), tp.SWA(0.5), total_steps=9),
    ),
    "two that perturb weights": way(lambda: step(tp.SAM(0.1), tp.SAM(0.2, name="second")), "Leave one out.", lambda: step(tp.SAM(0.1))),
    "another task": way(
        lambda: step(tp.LabelSmoothing(0.1), criterion=nn.MSELoss(), y=FLOATS), "take it from the cocktail.", lambda: step(criterion=nn.MSELoss(), y=FLOATS)
    ),
    "growth of cycles": way(
        lambda: tp.schedules.Restarts(0.1, cycles=2, growth=0.0),
        "Use 1 for cycles of equal length.",
        lambda: step(tp.L2(tp.schedules.Restarts(0.1, cycles=2, growth=1)), total_steps=9),
    ),
    "OneOf inside": way(
        lambda: tp.selectors.First(tp.selectors.OneOf(tp.selectors.Hidden())),
        "Put OneOf outside: OneOf(First(...)).",
        lambda: step(tp.Dropout(0.5, where=tp.selectors.OneOf(tp.selectors.First(tp.selectors.Hidden())))),
    ),
    "no activation modules": way(
        lambda: step(tp.Dropout(0.5), model=Functional()),
        "Use where=tp.selectors.outputs_of(nn.Linear, except_output=True) or name modules.",
        lambda: step(tp.Dropout(0.5, where=tp.selectors.outputs_of(nn.Linear, except_output=True)), model=Functional()),
        lambda: step(tp.Dropout(0.5, where="a"), model=Functional()),
    ),
    "output units alone": way(
        lambda: step(tp.Dropout(0.5), model=nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())),
        "To act on them all the same, name them: where='NAME'.",
        lambda: step(tp.Dropout(0.5, where="1"), model=nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())),
    ),
    "parameters for units": way(
        lambda: step(tp.Dropout(0.5, where=tp.selectors.Weights())),
        "Use tp.selectors.outputs_of(...) or a module name.",
        lambda: step(tp.Dropout(0.5, where=tp.selectors.outputs_of("ReLU"))),
        lambda: step(tp.Dropout(0.5, where="1")),
    ),
    "units for parameters": way(
        lambda: step(tp.L2(0.1, where=tp.selectors.Hidden())),
        "Use a name pattern, tp.selectors.Weights() or tp.selectors.AllParameters().",
        lambda: step(tp.L2(0.1, where="0.*")),
        lambda: step(tp.L2(0.1, where=tp.selectors.Weights())),
        lambda: step(tp.L2(0.1, where=tp.selectors.AllParameters())),
    ),
    "a selector that is none": way(
        lambda: tp.L2(0.1, where=cast(Any, 3)),
        "For example where='encoder.*' or where=tp.selectors.outputs_of(nn.Linear).",
        lambda: step(tp.L2(0.1, where="0.*")),
        lambda: step(tp.Dropout(0.1, where=tp.selectors.outputs_of(nn.Linear))),
    ),
    "OneOf for a tap": way(
        lambda: step(tp.ActivationSparsity(0.1, where=tp.selectors.OneOf())),
        "Say which without OneOf: where=Hidden().",
        lambda: step(tp.ActivationSparsity(0.1, where=tp.selectors.Hidden())),
    ),
    "one pattern of two": way(
        lambda: tp.Tying(0.1, first="0.*"),
        "For example first='left.*', second='right.*'; without both, parameters of one shape are paired.",
        lambda: step(tp.Tying(0.1, first="0.weight", second="2.weight"), model=nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))),
        lambda: step(tp.Tying(0.1), model=nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))),
    ),
    "rows of a prior": way(
        lambda: tp.Cocktail(tp.L2(0.1)).describe(net(), noise=1.0),
        "Give the number of rows that the network trains on.",
        lambda: tp.Cocktail(tp.L2(0.1)).describe(net(), rows=12, noise=1.0),
    ),
    "rows of a strength": way(lambda: tp.per_row(5.0, 0), "Give the number of rows that the network trains on.", lambda: step(tp.L2(tp.per_row(5.0, 12)))),
    "changes of images": way(
        lambda: step(tp.RandomCrop(1)),
        "Reshape them, leave it out with --without RandomCrop or take it from the cocktail.",
        lambda: step(tp.RandomCrop(1), model=nn.Sequential(nn.Flatten(), net()), x=X.reshape(12, 1, 2, 2)),
        lambda: step(),
    ),
    "changes of images, in the split form": way(lambda: split(tp.RandomCrop(1)), "take it from the cocktail.", lambda: split()),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_way_out_works(name: str) -> None:
    check(WAYS[name])
