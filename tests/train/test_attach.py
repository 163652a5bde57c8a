"""A cocktail in a loop of one's own: forms, refusals, precision, accumulation, averages."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import distribute_module
from torch.nn import functional as F

import temperance as tp
from temperance.core.attach import Attached
from temperance.core.batch import Batch
from temperance.core.moment import step_key
from temperance.core.random import key_of
from temperance.core.regularizer import Context, Params, Regularizer


def network(norm: bool = False) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(4, 8), *([nn.BatchNorm1d(8)] if norm else []), nn.ReLU(), nn.Linear(8, 3))


def rows(n: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=g), torch.randint(0, 3, (n,), generator=g)


def attached(cocktail: tp.Cocktail, model: nn.Module | None = None, criterion: Any = None, lr: float = 0.1, **settings: Any) -> tuple[nn.Module, Any, Any]:
    model = model or network()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return model, optimizer, cocktail.attach(model, optimizer, criterion or nn.CrossEntropyLoss(), **settings)


def step(model: nn.Module, optimizer: Any, reg: Any, i: int = 0) -> Tensor:
    x, y = rows(seed=i)
    loss = reg.loss(x, y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


# Refusals, each by name and with the way out


def test_lbfgs_is_refused() -> None:
    model = network()
    with pytest.raises(tp.ConfigError, match=r"^LBFGS calls its closure several times per step.*Use SGD, Adam"):
        tp.Cocktail(tp.L2()).attach(model, torch.optim.LBFGS(model.parameters()), nn.CrossEntropyLoss())


def test_a_second_attach_is_refused_until_detach() -> None:
    model, optimizer, reg = attached(tp.Cocktail(tp.L2(0.5)))
    with pytest.raises(tp.ConfigError, match=r"attached already: Cocktail\(L2\(lam=0.5\)\)\. Call detach\(\) first"):
        tp.Cocktail(tp.L1()).attach(model, optimizer, nn.CrossEntropyLoss())
    reg.detach()
    tp.Cocktail(tp.L1()).attach(model, optimizer, nn.CrossEntropyLoss()).detach()


@pytest.mark.parametrize("regularizer", [tp.L2(0.1), tp.WeightDecay(0.1)])
def test_an_optimizer_that_decays_as_well_is_refused(regularizer: Regularizer) -> None:
    model, kind = network(), type(regularizer).__name__
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    with pytest.raises(tp.ConfigError, match=rf"decays the weights as well as {kind}\. Set its weight_decay to 0 or leave {kind} out"):
        tp.Cocktail(regularizer).attach(model, optimizer, nn.CrossEntropyLoss())
    tp.Cocktail(regularizer).off().attach(model, optimizer, nn.CrossEntropyLoss()).detach()
    tp.Cocktail(tp.L1()).attach(model, optimizer, nn.CrossEntropyLoss()).detach()


@pytest.mark.parametrize(("regularizer", "name"), [(tp.SWA(), "SWA"), (tp.Dropout(tp.schedules.Linear(0.5)), "Dropout")])
def test_total_steps_is_asked_for(regularizer: Regularizer, name: str) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.raises(tp.ConfigError, match=rf"^Expected `total_steps` of attach .*got None\. {name} depends on the progress"):
        tp.Cocktail(regularizer).attach(model, optimizer, nn.CrossEntropyLoss())
    tp.Cocktail(regularizer).attach(model, optimizer, nn.CrossEntropyLoss(), total_steps=5).detach()


@pytest.mark.parametrize(
    "cocktail", [tp.Cocktail(tp.SWA()).off(), tp.Cocktail(tp.L2(tp.schedules.Cosine(0.0))), tp.Cocktail(tp.MixUp(tp.schedules.WarmUp(0.2))).off()]
)
def test_what_is_off_asks_for_nothing(cocktail: tp.Cocktail) -> None:
    model, optimizer, reg = attached(cocktail)
    x, y = rows()
    torch.testing.assert_close(reg.loss(x, y), F.cross_entropy(model(x), y))
    step(model, optimizer, reg)


def test_progress_ends_with_the_planned_steps() -> None:
    """A loop that goes on for longer stays at the end of every schedule."""
    seen: list[float] = []

    @dataclasses.dataclass(frozen=True, eq=False, repr=False)
    class Clock(Regularizer):
        def penalty(self, params: Params, taps: Any, ctx: Context) -> Tensor:
            seen.append(float(ctx.progress))
            return torch.zeros(())

    model, optimizer, reg = attached(tp.Cocktail(Clock()), total_steps=2)
    for i in range(5):
        step(model, optimizer, reg, i)
    assert seen == [0.0, 0.5, 1.0, 1.0, 1.0]


REPORTING = [
    tp.L2(0.1),
    tp.ActivationSparsity(0.1),
    tp.VAT(1.0),
    tp.MeanTeacher(1.0),
    tp.SAM(0.1),
    tp.PGD(0.1),
    tp.Dropout(0.1),
    tp.MixUp(0.1),
    tp.WeightDecay(0.1),
]


@pytest.mark.parametrize("regularizer", REPORTING, ids=lambda r: type(r).__name__)
def test_the_report_has_the_same_parts_whether_they_are_on_or_off(regularizer: Regularizer) -> None:
    on, off = (attached(cocktail)[2] for cocktail in (tp.Cocktail(regularizer), tp.Cocktail(regularizer).off()))
    for reg in (on, off):
        reg.loss(*rows())
    assert on.report.keys() == off.report.keys()
    assert all(float(value) == 0.0 for label, value in off.report.items() if label != "data")


@pytest.mark.parametrize("regularizer", [tp.SAM(), tp.FGSM(), tp.DropConnect()])
def test_the_split_form_refuses_what_needs_the_whole_step(regularizer: Regularizer) -> None:
    _, _, reg = attached(tp.Cocktail(tp.L2(), regularizer))
    with pytest.raises(tp.ConfigError, match=rf"^{type(regularizer).__name__} needs the whole step.*Use reg\.loss\(x, y\)"):
        reg.batch(*rows())
    reg.detach()
    _, _, reg = attached(tp.Cocktail(tp.L2(), regularizer).off())
    reg.batch(*rows())


@pytest.mark.parametrize("regularizer", [tp.SAM(), tp.DropConnect()])
def test_a_wrapper_refuses_what_calls_the_parameters(regularizer: Regularizer) -> None:
    model = type("DistributedDataParallel", (nn.Sequential,), {})(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    name = type(regularizer).__name__
    with pytest.raises(tp.ConfigError, match=rf"^{name} call .* which DistributedDataParallel does not allow\. Leave them out, or train on one process"):
        tp.Cocktail(regularizer).attach(model, optimizer, nn.CrossEntropyLoss())
    tp.Cocktail(tp.L2(), tp.Dropout()).attach(model, optimizer, nn.CrossEntropyLoss()).detach()


WHOLE = r"^Expected a network whose parameters are whole, got {}, where .*\. Use DistributedDataParallel around the plain network, or train on one process\.$"


@pytest.mark.parametrize("cocktail", [tp.Cocktail(), tp.Cocktail(tp.L2()), tp.Cocktail(tp.MixUp()), tp.Cocktail(tp.EMA())])
@pytest.mark.parametrize("inside", [False, True])
def test_a_network_whose_parameters_are_split_is_refused(cocktail: tp.Cocktail, inside: bool) -> None:
    """The whole network or one of its layers; the same network without it is taken."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for kind in ("FullyShardedDataParallel", "FSDPModule"):
        made = type(kind, (nn.Sequential,), {})(net)
        with pytest.raises(tp.ConfigError, match=WHOLE.format(kind)):
            cocktail.attach(nn.Sequential(made) if inside else made, optimizer, nn.CrossEntropyLoss())
    with pytest.raises(tp.ConfigError, match=WHOLE.format("DataParallel")):
        cocktail.attach(nn.DataParallel(net), optimizer, nn.CrossEntropyLoss())
    reg = cocktail.attach(net, optimizer, nn.CrossEntropyLoss(), seed=0)
    reg.loss(*rows()).backward()
    reg.detach()


def test_a_network_that_torch_has_split_is_refused(tmp_path: Path) -> None:
    """The wrapper and the parameters that torch itself makes, in a group of one process."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        whole, layer = network(), network()
        fully_shard(whole, mesh=mesh)
        distribute_module(layer[0], mesh)
        for model, kind in ((whole, "FSDPModule"), (layer, "DTensor")):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            with pytest.raises(tp.ConfigError, match=WHOLE.format(kind)):
                tp.Cocktail(tp.L2()).attach(model, optimizer, nn.CrossEntropyLoss())
    finally:
        torch.distributed.destroy_process_group()


def test_a_fused_optimizer_under_a_scaler_is_refused_where_gradients_change() -> None:
    for cocktail, refused in ((tp.Cocktail(tp.GradClip(1.0)), True), (tp.Cocktail(tp.L2(0.1)), False)):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        reg = cocktail.attach(model, optimizer, nn.CrossEntropyLoss())
        reg.loss(*rows()).backward()
        optimizer.grad_scale = torch.tensor(2.0)  # type: ignore[attr-defined] -- what GradScaler.step sets on a fused optimizer
        if refused:
            with pytest.raises(tp.ConfigError, match=r"^A fused optimizer under GradScaler .* Use fused=False, or call scaler\.unscale_\(optimizer\) first"):
                optimizer.step()
        else:
            optimizer.step()
        reg.detach()


def test_a_cocktail_that_the_network_cannot_take_leaves_no_trace() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(tp.ConfigError, match=r"no activation modules .*outputs_of"):
        tp.Cocktail(tp.L2(), tp.Dropout()).attach(model, optimizer, nn.CrossEntropyLoss())
    assert not model._forward_hooks and not model._forward_pre_hooks
    tp.Cocktail(tp.L2()).attach(model, optimizer, nn.CrossEntropyLoss()).detach()


def test_weights_and_marks_need_a_known_loss() -> None:
    _, _, reg = attached(tp.Cocktail(tp.L2()), criterion=lambda out, y: F.cross_entropy(out, y))
    x, y = rows()
    for name in ("weight", "labeled"):
        with pytest.raises(tp.ConfigError, match=rf"^`{name}` needs a loss that temperance knows"):
            reg.loss(x, y, **{name: torch.ones(12) > 0})


# Targets as losses take them


def plain(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y)


@pytest.mark.parametrize(
    ("criterion", "target"), [(nn.CrossEntropyLoss(), "classes"), (nn.MSELoss(), "values"), (plain, "classes"), (nn.BCEWithLogitsLoss(), "labels")]
)
@pytest.mark.parametrize("soft", [False, True])
def test_an_empty_cocktail_is_the_plain_loss(criterion: Any, target: str, soft: bool) -> None:
    """Also one that mixes targets, at off: classes become one-hot, numbers stay numbers."""
    x, classes = rows()
    y = {"classes": classes, "values": torch.arange(36).reshape(12, 3), "labels": (torch.arange(36).reshape(12, 3) % 2).float()}[target]
    cocktail = tp.Cocktail(tp.MixUp()).off() if soft else tp.Cocktail()
    model, _, reg = attached(cocktail, criterion=criterion)
    expected = criterion(model(x), y.float() if target == "values" else y)
    torch.testing.assert_close(reg.loss(x, y), expected)
    model.eval()
    torch.testing.assert_close(reg.loss(x, y), expected)


def test_shapes_that_would_broadcast_are_refused_by_the_losses_of_temperance_and_warned_of_by_those_of_torch() -> None:
    model = nn.Linear(4, 1)
    _, _, reg = attached(tp.Cocktail(tp.L2()), model, tp.losses.SquaredError())
    with pytest.raises(tp.ConfigError, match=r"^Expected targets of the shape of the outputs, \(12, 1\), got \(12,\)\. Reshape"):
        reg.loss(rows()[0], torch.zeros(12))
    reg.detach()
    _, _, reg = attached(tp.Cocktail(tp.L2()), model, nn.MSELoss())
    with pytest.warns(UserWarning, match="different to the input size"):
        reg.loss(rows()[0], torch.zeros(12))
    conv = nn.Conv2d(1, 3, 1)
    _, _, reg = attached(tp.Cocktail(tp.L2()), conv, tp.losses.SoftmaxCrossEntropy())
    with pytest.raises(tp.ConfigError, match=r"^Expected scores \(rows, classes\).*lambda out, y: F\.cross_entropy"):
        reg.loss(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4))


def test_two_heads_with_class_codes_and_missing_targets() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()
            self.kind, self.price = nn.Linear(3, 4), nn.Linear(3, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            h = self.body(x)
            return {"kind": self.kind(h), "price": self.price(h)}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Two()
    heads = tp.losses.Heads((("kind", tp.losses.SoftmaxCrossEntropy(), 1.0), ("price", tp.losses.SquaredError(), 0.5)))
    _, _, reg = attached(tp.Cocktail(), model, heads)
    x, _ = rows()
    y = {"kind": torch.arange(12) % 4, "price": torch.full((12, 1), float("nan"))}
    y["price"][:5] = 1.0
    labeled = {"kind": torch.ones(12, dtype=torch.bool), "price": torch.arange(12) < 5}
    loss = reg.loss(x, y, labeled=labeled)
    out = model(x)
    torch.testing.assert_close(loss, F.cross_entropy(out["kind"], y["kind"]) + 0.5 * F.mse_loss(out["price"][:5], y["price"][:5]))
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_numpy_like_ints_never_become_classes_of_a_regression() -> None:
    """MixUp on whole-number targets mixes the numbers."""
    model = nn.Linear(4, 1)
    _, _, reg = attached(tp.Cocktail(tp.MixUp(0.5)), model, nn.MSELoss(), seed=1)
    x, _ = rows()
    y = torch.arange(12).reshape(12, 1)
    whole, real = reg.loss(x, y), None
    reg.micro = 0
    real = reg.loss(x, y.float())
    torch.testing.assert_close(whole, real)


# Two forms of one step


SPLIT = [tp.L2(0.1), tp.L1(0.01), tp.Dropout(0.3, 0.2), tp.MixUp(0.4), tp.LabelSmoothing(0.1), tp.ActivationSparsity(0.1), tp.InputNoise(0.2)]


@pytest.mark.parametrize("norm", [False, True])
def test_the_split_form_is_the_loss_form(norm: bool) -> None:
    cocktail = tp.Cocktail(*SPLIT, tp.MaxNorm(2.0), tp.GradClip(0.5), tp.EMA(0.9))
    one, first, whole = attached(cocktail, network(norm), seed=5)
    two, second, split = attached(cocktail, network(norm), seed=5)
    for i in range(4):
        x, y = rows(seed=i)
        loss = whole.loss(x, y)
        changed, target = split.batch(x, y)
        parts = F.cross_entropy(two(changed), target) + split.penalty()
        torch.testing.assert_close(parts, loss)
        for total, optimizer in ((loss, first), (parts, second)):
            total.backward()
            optimizer.step()
            optimizer.zero_grad()
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    for name, value in whole.state["ema"].items():
        torch.testing.assert_close(value, split.state["ema"][name])


def test_evaluation_has_no_penalty_in_the_split_form_either() -> None:
    """Also where a minibatch of training was left open."""
    model, _, reg = attached(tp.Cocktail(tp.L2(0.5), tp.Dropout(0.9)))
    reg.batch(*rows())
    model.eval()
    x, y = rows()
    changed, target = reg.batch(x, y)
    assert changed is x and target is y
    assert torch.equal(model(x), model(x)) and float(reg.penalty()) == 0.0
    model.train()
    reg.batch(*rows())
    model(x)
    assert float(reg.penalty().detach()) > 0.0


def test_evaluation_mode_gives_the_plain_loss() -> None:
    model, _, reg = attached(tp.Cocktail(*SPLIT, tp.SAM(), tp.DropConnect()), network(True), seed=5)
    x, y = rows()
    model.eval()
    before = copy.deepcopy(model.state_dict())
    torch.testing.assert_close(reg.loss(x, y), F.cross_entropy(model(x), y))
    reg.detach()
    model, _, reg = attached(tp.Cocktail(*SPLIT), model, seed=5)
    assert reg.batch(x, y)[0] is x and float(reg.penalty()) == 0.0
    torch.testing.assert_close(model(x), model(x))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))


def test_a_failed_forward_pass_leaves_nothing_switched_on() -> None:
    """After an error inside the network, evaluation sees no masks."""
    model, _, reg = attached(tp.Cocktail(tp.Dropout(0.5)))
    x, y = rows()
    reg.batch(x, y)
    with pytest.raises(RuntimeError):
        model(torch.zeros(2, 5))
    model.eval()
    assert torch.equal(model(x), model(x))
    assert reg.program.current is None


# Keys


class Keys(Regularizer):
    """Writes down the numbers of each site."""

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        SEEN.append(("batch", float(ctx.rng.uniform())))
        return batch

    def grads(self, grads: Params, params: Params, ctx: Context) -> Params:
        SEEN.append(("grads", float(ctx.rng.uniform())))
        return grads

    def after_step(self, params: Params, ctx: Context) -> Params:
        SEEN.append(("after_step", float(ctx.rng.uniform())))
        return params

    def init(self, params: Params) -> dict[str, Tensor]:
        return {"steps": torch.zeros(())}

    def track(self, state: Any, params: Params, ctx: Context) -> Any:
        SEEN.append(("track", float(ctx.rng.uniform())))
        return {"steps": state["steps"] + 1.0}


SEEN: list[tuple[str, float]] = []


@pytest.fixture
def seen() -> Iterator[list[tuple[str, float]]]:
    SEEN.clear()
    yield SEEN
    SEEN.clear()


def run_keys(micro: int, rank: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    SEEN.clear()
    monkeypatch.setattr(Attached, "_rank", staticmethod(lambda: rank))
    _, optimizer, reg = attached(tp.Cocktail(Keys()), seed=3)
    for _ in range(2):
        for _ in range(micro):
            reg.loss(*rows()).backward()
        optimizer.step()
        optimizer.zero_grad()
    out: dict[str, list[float]] = {}
    for site, value in SEEN:
        out.setdefault(site, []).append(value)
    return out


def test_keys_by_step_micro_batch_and_rank(seen: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and masks: fresh for every micro-batch and rank. Gradients and steps: the same on every rank, however many micro-batches there were."""
    one, three, other = (run_keys(micro, rank, monkeypatch) for micro, rank in ((1, 0), (3, 0), (1, 1)))
    assert len(set(three["batch"])) == 6
    assert three["batch"][::3] == one["batch"]
    assert not set(one["batch"]) & set(other["batch"])
    for site in ("grads", "after_step", "track"):
        assert len(set(one[site])) == 2
        assert one[site] == three[site] == other[site]


def test_rank_zero_has_the_keys_of_a_single_process(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[int] = []
    for rank in (0, 1, 2):
        monkeypatch.setattr(Attached, "_rank", staticmethod(lambda rank=rank: rank))
        _, _, reg = attached(tp.Cocktail(), seed=11)
        keys.append(int(reg._moment().key))
    assert keys[0] == int(step_key(key_of(11), 0, 0)) and len(set(keys)) == 3


def test_accumulation_draws_fresh_masks() -> None:
    _, optimizer, reg = attached(tp.Cocktail(tp.Dropout(0.5)), seed=1)
    x, y = rows()
    losses = [reg.loss(x, y) for _ in range(4)]
    values = {loss.item() for loss in losses}
    assert len(values) == 4
    torch.stack(losses).sum().backward()
    optimizer.step()
    assert (reg.steps, reg.micro) == (1, 0)


def test_a_skipped_step_is_not_counted() -> None:
    """A GradScaler that finds an infinite gradient does not call the optimizer."""
    model, optimizer, reg = attached(tp.Cocktail(tp.L2(0.1), tp.GradClip(1.0)), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for i, broken in enumerate((False, True, False)):
        loss = reg.loss(*rows(seed=i))
        scaler.scale(loss).backward()
        if broken:
            next(model.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert reg.steps == 2


def test_a_scaler_hands_over_unscaled_gradients() -> None:
    results: list[Tensor] = []
    for scale in (None, 2.0**10):
        model, optimizer, reg = attached(tp.Cocktail(tp.GradClip(0.05)), lr=0.1)
        loss = reg.loss(*rows())
        if scale is None:
            loss.backward()
            optimizer.step()
        else:
            scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*results)


# Precision


@pytest.mark.parametrize(
    "cocktail", [tp.Cocktail(*SPLIT, tp.MaxNorm(3.0), tp.EMA(0.9)), tp.Cocktail(tp.SAM(0.05), tp.FGSM(0.1), tp.DropConnect(0.1)), tp.Cocktail(tp.VAT(0.5))]
)
def test_autocast_keeps_weights_and_state_in_single_precision(cocktail: tp.Cocktail) -> None:
    model, optimizer, reg = attached(cocktail, network(True), total_steps=9)
    kinds: set[torch.dtype] = set()
    model[0].register_forward_hook(lambda module, args, out: kinds.add(out.dtype))  # type: ignore[index,operator]
    for i in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = reg.loss(*rows(seed=i))
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.bfloat16 in kinds
    tensors = [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point()), *(t for own in reg.state.values() for t in own.values())]
    assert {t.dtype for t in tensors} == {torch.float32}
    assert all(torch.isfinite(t).all() for t in tensors)


def test_double_precision_throughout() -> None:
    model = network(True).double()
    _, optimizer, reg = attached(tp.Cocktail(*SPLIT, tp.SAM(), tp.EMA()), model)
    x, y = rows()
    loss = reg.loss(x.double(), y)
    assert loss.dtype == torch.float64
    loss.backward()
    optimizer.step()
    assert {t.dtype for t in reg.state["ema"].values()} == {torch.float64}


# Averages


@pytest.mark.parametrize("refresh", [False, True])
def test_averaged_puts_everything_back(refresh: bool) -> None:
    model, optimizer, reg = attached(tp.Cocktail(tp.EMA(0.9)), network(True), lr=0.5)
    for i in range(5):
        step(model, optimizer, reg, i)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    batches = [rows(seed=i)[0] for i in range(4)] if refresh else None
    inside: dict[str, Tensor] = {}

    def evaluate() -> None:
        with reg.averaged(batches) as averaged:
            assert averaged is model
            inside.update({name: t.clone() for name, t in model.state_dict().items()})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate()
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert not torch.equal(inside["0.weight"], before["0.weight"])
    torch.testing.assert_close(inside["0.weight"], reg.state["ema"]["average:0.weight"])
    assert torch.equal(inside["1.running_mean"], before["1.running_mean"]) is not refresh
    if refresh:  # the plain mean over batches of what the averaged network sees
        assert batches is not None
        hidden = [F.linear(x, inside["0.weight"], inside["0.bias"]) for x in batches]
        torch.testing.assert_close(inside["1.running_mean"], torch.stack([h.mean(0) for h in hidden]).mean(0))
        torch.testing.assert_close(inside["1.running_var"], torch.stack([h.var(0) for h in hidden]).mean(0))
        assert [m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm1d)] == [0.1]
        assert model.training


def test_averaged_without_an_average_is_the_network() -> None:
    model, optimizer, reg = attached(tp.Cocktail(tp.L2()))
    step(model, optimizer, reg)
    x, _ = rows()
    out = model(x)
    with reg.averaged() as same:
        assert torch.equal(same(x), out)


# State


def test_the_state_is_refused_for_another_cocktail_or_seed() -> None:
    _, _, reg = attached(tp.Cocktail(tp.EMA(0.9)), seed=1)
    state = reg.state_dict()
    for cocktail, seed in ((tp.Cocktail(tp.EMA(0.8)), 1), (tp.Cocktail(tp.EMA(0.9)), 2)):
        _, _, other = attached(cocktail, seed=seed)
        with pytest.raises(tp.ConfigError, match=r"^Expected the state of Cocktail\(EMA.*Attach the same cocktail and seed first"):
            other.load_state_dict(state)


def test_a_loaded_state_is_a_copy() -> None:
    model, optimizer, reg = attached(tp.Cocktail(tp.EMA(0.9)))
    step(model, optimizer, reg)
    state = reg.state_dict()
    _, _, other = attached(tp.Cocktail(tp.EMA(0.9)))
    other.load_state_dict(state)
    other.state["ema"]["mass"].fill_(7.0)
    assert float(reg.state["ema"]["mass"]) != 7.0


def test_a_run_goes_on_from_between_two_micro_batches() -> None:
    """Its next masks are those of the run that was not interrupted."""
    cocktail = tp.Cocktail(tp.Dropout(0.5), tp.MixUp(0.5))
    model, optimizer, reg = attached(cocktail)
    step(model, optimizer, reg)
    losses = [reg.loss(*rows()).detach()]
    state = reg.state_dict()
    losses += [reg.loss(*rows()).detach()]
    reg.detach()
    _, _, other = attached(cocktail, model)
    other.load_state_dict(state)
    assert torch.equal(other.loss(*rows()).detach(), losses[1]) and not torch.equal(*losses)


def test_parameter_groups_have_their_own_learning_rates() -> None:
    """Decay and thresholds follow the rate of the group a parameter is in; parameters of no group stay."""
    model = network()
    first, last = model[0].weight, model[2].weight  # type: ignore[index]
    optimizer = torch.optim.SGD([{"params": [first], "lr": 0.5}, {"params": [last], "lr": 0.1}])
    reg = tp.Cocktail(tp.WeightDecay(0.2)).attach(model, optimizer, lambda out, y: 0.0 * out.sum())
    before = [first.detach().clone(), last.detach().clone()]
    reg.loss(*rows()).backward()
    optimizer.step()
    torch.testing.assert_close(first.detach(), before[0] * (1 - 0.5 * 0.2))
    torch.testing.assert_close(last.detach(), before[1] * (1 - 0.1 * 0.2))
    reg.detach()
    only = torch.optim.SGD([first], lr=0.5)
    reg = tp.Cocktail(tp.WeightDecay(0.2)).attach(model, only, lambda out, y: 0.0 * out.sum())
    before = [first.detach().clone(), last.detach().clone()]
    reg.loss(*rows()).backward()
    only.step()
    assert torch.equal(last.detach(), before[1]) and not torch.equal(first.detach(), before[0])


def test_the_users_own_dropout_stays_and_describe_says_so() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
        text = tp.Cocktail(tp.L2()).describe(model)
        assert "Modules of the network that drop units" in text and "2  Dropout  p=0.5" in text
        _, _, reg = attached(tp.Cocktail(tp.L2()), model)
        x, y = rows()
        assert float(reg.loss(x, y).detach()) != float(reg.loss(x, y).detach())


def test_describe_names_where_taps_are_taken() -> None:
    """A penalty on activity of a named module acts on hidden units, not on the parameters."""
    text = tp.Cocktail(tp.ActivationSparsity(0.1, where="1"), tp.GradClip()).describe(network())
    assert "0.weight  (8, 4)  grad_clip" in text and "1  ReLU  activation_sparsity" in text


def test_describe_tied_and_frozen_parameters() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    model[2].bias.requires_grad_(False)
    text = tp.Cocktail(tp.L2()).describe(model)
    assert "0.weight  (3, 3)  l2  tied: 2.weight" in text and "2.bias    (3,)    -  frozen" in text


def test_tied_parameters_are_penalized_and_stepped_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False))
    model[2].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    reg = tp.Cocktail(tp.L2(2.0), tp.WeightDecay(0.5)).attach(model, optimizer, lambda out, y: 0.0 * out.sum())
    weight = next(model.parameters())
    before = weight.detach().clone()
    loss = reg.loss(torch.zeros(2, 3), torch.zeros(2))
    torch.testing.assert_close(loss.detach(), before.square().sum())
    loss.backward()
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before * (1 - 0.5) - 2.0 * before)


def test_inputs_as_a_dict() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codes, self.out = nn.Embedding(3, 2), nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))

        def forward(self, x: dict[str, Tensor]) -> Tensor:
            return self.out(torch.cat([x["num"], self.codes(x["cat"])], 1))

    _, optimizer, reg = attached(tp.Cocktail(tp.MixUp(), tp.CutMix(), tp.InputNoise(), tp.FGSM(), tp.Dropout()), Table())
    x = {"num": torch.zeros(6, 4), "cat": torch.arange(6) % 3}
    reg.loss(x, torch.arange(6) % 2).backward()
    optimizer.step()


def test_every_pair_of_calls_between_steps_counts() -> None:
    _, _, reg = attached(tp.Cocktail(tp.L2()))
    x, y = rows()
    for i, form in enumerate(itertools.islice(itertools.cycle(("loss", "batch")), 4)):
        getattr(reg, form)(x, y)
        assert reg.micro == i + 1
