"""What the trainer and the attached form must obey, with every regularizer of the registry."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.laws.harness import VARIANTS, first_difference, same, tensors_of
from torch import Tensor, nn

import temperance as tp
from temperance.core.batch import Batch, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SoftmaxCrossEntropy, criterion_for
from temperance.core.inputs import scale_of
from temperance.core.regularizer import Regularizer
from temperance.data.dataset import Dataset
from temperance.nets import Residual
from temperance.nets.activations import ACTIVATIONS
from temperance.regularizers import L2, Dropout
from temperance.train import trace
from temperance.train.group import Group
from temperance.train.member import Member
from temperance.train.own import target_scale
from temperance.train.population import Population, prepared

ROWS, BATCH, STEPS, EVERY = 37, 8, 8, 4

every_variant = pytest.mark.parametrize("variant", VARIANTS)


class Net(nn.Module):
    """Codes, a BatchNorm whose width fills no vector lane, a thin layer, a residual branch and two parallel ones."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(4, 2)
        self.body = nn.Sequential(nn.Linear(6, 13), nn.BatchNorm1d(13), nn.Tanh(), nn.Linear(13, 5), nn.ReLU())
        self.output = nn.Linear(5, 3)
        self.blocks = nn.Sequential(Residual(nn.Linear(5, 5)), Residual(nn.Identity(), nn.Linear(5, 5)))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.output(self.blocks(self.body(torch.cat([x["num"], self.codes(x["cat"]).flatten(1)], 1))))


class Picture(nn.Module):
    """The same behind the pixels of an image of two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(40, 13), nn.BatchNorm1d(13), nn.Tanh(), nn.Linear(13, 5), nn.ReLU())
        self.output = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.body(x.flatten(1)))


def network(seed: int = 5, build: Callable[[], nn.Module] = Net) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def rows(n: int, seed: int) -> Dataset:
    g = torch.Generator().manual_seed(seed)
    x: Any = {"num": torch.randn(n, 2, generator=g) * 3.0, "cat": torch.randint(0, 4, (n, 2), generator=g)}
    y = torch.eye(3)[(x["num"][:, 0] > 0).long() + (x["cat"][:, 0] > 1).long()]
    labeled = torch.arange(n) % 5 != 3
    return Dataset(x, y, "classification", 0.5 + torch.rand(n, generator=g), labeled)


def images(n: int, seed: int) -> Dataset:
    """The rows of a table, with images that are not square in its place."""
    table, g = rows(n, seed), torch.Generator().manual_seed(seed)
    return replace(table, x=torch.rand(n, 2, 4, 5, generator=g) + table.x["num"][:, :1, None, None])  # type: ignore[index,call-overload]


def values(n: int, seed: int) -> Dataset:
    """The rows of a table, with three values to predict."""
    return replace(rows(n, seed), y=torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)), task="regression")


TRAIN, HELD = rows(ROWS, 1), replace(rows(21, 2), weight=None, labeled=None)


@dataclass(frozen=True)
class World:
    """A network and the rows it takes."""

    build: Callable[[], nn.Module]
    train: Dataset
    held: Dataset

    def loss(self) -> nn.Module:
        return nn.MSELoss() if self.train.task == "regression" else nn.CrossEntropyLoss()

    def targets(self, y: Any) -> Tensor:
        """Targets as one's own loop has them: numbers of classes, or values."""
        return y if self.train.task == "regression" else y.argmax(1)


TABLES, IMAGES = World(Net, TRAIN, HELD), World(Picture, images(ROWS, 1), replace(images(21, 2), weight=None, labeled=None))

VALUES = World(Net, values(ROWS, 1), replace(values(21, 2), weight=None, labeled=None))


def world_of(cocktail: Cocktail) -> World:
    """Images where the cocktail acts on them alone, values where it serves regression alone, else a table with classes."""
    if any("classification" not in r.tasks for r in cocktail):
        return VALUES
    return IMAGES if any(r.acts_on == "image" for r in cocktail) else TABLES


def cocktail_of(regularizer: Regularizer) -> Cocktail:
    return Cocktail(L2(0.01), Dropout(0.3), regularizer)


def members(regularizer: Regularizer) -> list[Member]:
    """One at full strength, one with the regularizer off, one that ends half-way, one of other strengths and another learning rate."""
    cocktail = cocktail_of(regularizer)
    label = cocktail.labels[-1]
    specs = {name: spec for name, spec in cocktail.specs().items() if name.startswith(f"{label}.")}
    off = cocktail.with_strengths({name: spec.off for name, spec in specs.items()})
    other = cocktail.with_strengths({name: (spec.low * spec.high) ** 0.5 if spec.log else 0.5 * (spec.low + spec.high) for name, spec in specs.items()})
    sgd = tp.optim.SGD(0.05, momentum=0.5)
    return [Member(cocktail, sgd, 3), Member(off, sgd, 1), Member(cocktail, sgd, 4, length=0.5), Member(other, tp.optim.SGD(0.02, momentum=0.9), 1)]


def population(chosen: Sequence[Member], data: Dataset = TRAIN, held: Dataset | None = HELD, world: World | None = None, **settings: Any) -> Population:
    world = world or world_of(chosen[0].cocktail)
    data, held = world.train if data is TRAIN else data, world.held if held is HELD else held
    return Population(network(build=world.build), chosen, data, held, **{"batch_size": BATCH, "total_steps": STEPS, "check_every": EVERY, **settings})


def run(chosen: Sequence[Member], **settings: Any) -> Population:
    made = population(chosen, **settings)
    made.run()
    return made


def result(made: Population, i: int) -> list[Tensor]:
    """Everything a member leaves behind, as tensors."""
    o = made.outcomes[i]
    assert o.state is not None and o.final is not None
    numbers = [float(v) for row in o.history for name, v in sorted(row.items()) if not (name.startswith("penalty_") and v == 0.0)]
    return [
        *(state[name] for state in (o.state, o.final) for name in sorted(state)),
        torch.tensor([*numbers, float(o.best), float(o.steps)], dtype=torch.float64),
    ]


def assert_same(a: Sequence[Tensor], b: Sequence[Tensor]) -> None:
    assert same(a, b), first_difference(a, b)


@every_variant
def test_population_is_its_members_alone(variant: str) -> None:
    """Bit for bit, in any slot, while another member leaves half-way; the member that is off is not idle in company, and is alone."""
    chosen = members(VARIANTS[variant])
    together, shuffled = run(chosen), run([chosen[i] for i in (2, 3, 0, 1)])
    for i, member in enumerate(chosen):
        alone = result(run([member]), 0)
        assert_same(result(together, i), alone)
        assert_same(result(shuffled, (2, 3, 0, 1).index(i)), alone)
    assert [o.steps for o in together.outcomes] == [STEPS, STEPS, STEPS // 2, STEPS]


@every_variant
def test_save_and_resume(variant: str, tmp_path: Path) -> None:
    """run(k + m) is run(k), save, load, run(m), between two checks, bit for bit."""
    resumed(members(VARIANTS[variant]), 2, tmp_path)


@pytest.mark.parametrize("at", [1, EVERY, EVERY + 1, STEPS])
def test_save_and_resume_everything(at: int, tmp_path: Path) -> None:
    """Also at a check where a member leaves, behind it, and at the end; chunks of a small memory too."""
    resumed([replace(m, cocktail=everything()) for m in members(VARIANTS["L2"])], at, tmp_path)


def resumed(chosen: Sequence[Member], at: int, tmp_path: Path) -> None:
    first = population(chosen)
    first.run(at)
    tp.train.save_population(first, tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["population.json", "population.safetensors"]
    second = tp.train.load_population(population(chosen), tmp_path / "run")
    second.run()
    whole = run(chosen)
    for i, _ in enumerate(chosen):
        assert_same(result(second, i), result(whole, i))
        assert second.outcomes[i].status == whole.outcomes[i].status
        assert second.outcomes[i].history == whole.outcomes[i].history


@every_variant
def test_off_is_absent(variant: str) -> None:
    off = members(VARIANTS[variant])[1]
    absent = replace(off, cocktail=Cocktail(L2(0.01), Dropout(0.3)))
    company = members(VARIANTS[variant])[0]
    assert_same(result(run([company, off]), 1), result(run([absent], world=world_of(off.cocktail)), 0))


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "-" not in name])
def test_the_traced_step_is_the_step(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that is replayed gives the bits of the code it was traced from, also after a member left."""
    chosen = members(VARIANTS[variant])
    plain = run(chosen)
    monkeypatch.setattr(trace, "REPAID", 1)
    replayed: list[bool] = []
    step = Group.train_step

    def watched(group: Group) -> None:
        replayed.append(group._forward_backward.traced)
        step(group)

    monkeypatch.setattr(Group, "train_step", watched)
    traced = run(chosen)
    assert any(replayed), "no step was replayed"
    for i, _ in enumerate(chosen):
        assert_same(result(traced, i), result(plain, i))


def loop_and_vmap(chosen: Sequence[Member]) -> list[tuple[list[Tensor], list[Tensor]]]:
    both = [run(chosen, way=way) for way in ("vmap", "loop")]
    return [tuple([*made.outcomes[i].final.values()] for made in both) for i, _ in enumerate(chosen)]  # type: ignore[union-attr]


# One step's gradient is the sum of some hundred products of single precision (eps 1.2e-7), the learning rate below 0.1 and eight steps add up:
# 100 * 1.2e-7 * 0.1 * 8 = 1e-5, relative to gradients of order one.
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


@every_variant
def test_loop_is_close_to_vmap(variant: str) -> None:
    for looped, batched in loop_and_vmap(members(VARIANTS[variant])):
        for a, b in zip(looped, batched, strict=True):
            torch.testing.assert_close(a, b, **CLOSE)


@every_variant
def test_attach_is_the_trainer(variant: str) -> None:
    """The same seed, rows and optimizer in a loop of one's own give the trainer's parameters, buffers, states and reports.

    Without weights of rows: the trainer divides them by their mean over all training rows, a loop of one's own by their mean over the minibatch it sees.
    """
    member = members(VARIANTS[variant])[0]
    world = world_of(member.cocktail)
    world = replace(world, train=replace(world.train, weight=None))
    trained = population([member], data=world.train, total_steps=STEPS + 1, held=None, check_every=100, world=world)
    trained.run(STEPS)
    group = trained.chunks[0].group
    model, data = network(build=world.build), prepared(world.train)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    scales = {"input_scale": scale_of(data.x), "target_scale": target_scale(data)}
    reg = member.cocktail.attach(model, optimizer, criterion_for(data.task), seed=member.seed, total_steps=STEPS + 1, **scales)
    totals: dict[str, float] = {}
    for step in range(STEPS):
        batch = data.take(group.feed.rows.at(step)[0])
        reg.loss(batch.x, batch.y, weight=batch.weight, labeled=batch.labeled).backward()
        optimizer.step()
        optimizer.zero_grad()
        for name, value in reg.report.items():
            totals[name] = totals.get(name, 0.0) + value.item()
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, value in (group.params() | group.buffers).items():
        torch.testing.assert_close(own[name].detach(), value[0].detach(), **CLOSE)
    for name, value in totals.items():
        assert value == pytest.approx(group.sums[name].item(), rel=1e-3, abs=1e-4)
    mine = tensors_of(reg.state)
    theirs = [t[0] for t in tensors_of(group.state)]
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, **CLOSE)
    reg.detach()


@every_variant
def test_attach_resumes_between_micro_batches(variant: str) -> None:
    """Five steps of two micro-batches each in one go, or interrupted in the middle of the third; bit for bit."""
    cocktail = cocktail_of(VARIANTS[variant])
    world = world_of(cocktail)

    def start() -> tuple[nn.Module, torch.optim.Optimizer, Any]:
        model = network(build=world.build)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
        return model, optimizer, cocktail.attach(model, optimizer, world.loss(), seed=7, total_steps=5, input_scale=scale_of(world.train.x))

    def micro(model: nn.Module, optimizer: torch.optim.Optimizer, reg: Any, i: int) -> None:
        batch = world.train.take(torch.arange(8) + 3 * i)
        reg.loss(batch.x, world.targets(batch.y)).backward()
        if i % 2:
            optimizer.step()
            optimizer.zero_grad()

    straight = start()
    for i in range(10):
        micro(*straight, i)
    first = start()
    for i in range(5):
        micro(*first, i)
    saved = {"model": first[0].state_dict(), "optimizer": first[1].state_dict(), "reg": first[2].state_dict(), "grads": [p.grad for p in first[0].parameters()]}
    saved = torch.load(_saved(saved), weights_only=True)
    second = start()
    second[0].load_state_dict(saved["model"])
    second[1].load_state_dict(saved["optimizer"])
    second[2].load_state_dict(saved["reg"])
    for p, grad in zip(second[0].parameters(), saved["grads"], strict=True):
        p.grad = grad
    for i in range(5, 10):
        micro(*second, i)
    assert_same([*second[0].state_dict().values()], [*straight[0].state_dict().values()])
    assert_same(tensors_of(second[2].state), tensors_of(straight[2].state))


def _saved(tree: Any) -> Any:
    import io

    file = io.BytesIO()
    torch.save(tree, file)
    file.seek(0)
    return file


def traces_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    hooks = [len(getattr(m, name)) for m in model.modules() for name in sorted(vars(m)) if name.endswith("_hooks")]
    steps = [len(getattr(optimizer, name)) for name in sorted(vars(optimizer)) if name.endswith("_hooks")]
    attributes = [sorted(vars(m)) for m in model.modules()]
    return hooks, steps, attributes, list(model.state_dict()), sorted(vars(optimizer)), [m.training for m in model.modules()], list(optimizer.state_dict())


@every_variant
def test_detach_leaves_no_trace(variant: str) -> None:
    world = world_of(cocktail_of(VARIANTS[variant]))
    model = network(build=world.build)
    model.get_submodule("body.1").eval()  # a frozen BatchNorm
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    optimizer.zero_grad()
    before = traces_of(model, optimizer)
    reg = cocktail_of(VARIANTS[variant]).attach(model, optimizer, world.loss(), total_steps=5)
    assert traces_of(model, optimizer) != before
    batch = world.train.take(torch.arange(8))
    reg.loss(batch.x, batch.y).backward()
    optimizer.step()
    reg.detach()
    assert traces_of(model, optimizer) == before
    x = world.held.x
    with torch.no_grad():
        assert torch.equal(model.eval()(x), model(x))
    model.train()
    other = L2(0.1).name or "l2"
    again = Cocktail(L2(0.1)).attach(model, optimizer, world.loss())
    assert again.cocktail.labels == (other,)
    again.detach()
    with pytest.raises(tp.ConfigError, match="was detached"):
        reg.loss(batch.x, batch.y)


# Members of one population do not touch each other


def everything() -> Cocktail:
    """All that may stand together in one cocktail on a table."""
    apart = ("PGD", "VAT", "SWA", "L2", "Dropout", "Distillation")  # the last: a second network makes one compiled step of all too long
    names = [name for name, r in VARIANTS.items() if "-" not in name and world_of(Cocktail(r)) is TABLES and name not in apart]
    return Cocktail(L2(0.01), Dropout(0.3), *(VARIANTS[name] for name in names))


@pytest.mark.parametrize("cause", ["loss", "weights"])
def test_a_diverging_member_is_retired_alone(cause: str) -> None:
    """Its step and cause are told, its best state is kept, and no other member changes by one bit."""
    good = [Member(everything(), tp.optim.SGD(0.05), seed) for seed in (1, 2, 3)]
    bad = Member(everything(), tp.optim.SGD(1e30), 4)
    if cause == "weights":
        bad = Member(everything(), tp.optim.SGD(0.05), 4)
    made = population([good[0], bad, good[1], good[2]])
    if cause == "weights":  # between the last step and the check
        made.run(EVERY - 1)
        group = made.chunks[0].group
        step = group.train_step

        def spoil() -> None:
            step()
            group.arena.flat[1, 0] = math.nan

        group.train_step = spoil  # type: ignore[method-assign]
        made.run(EVERY)
        group.train_step = step  # type: ignore[method-assign]
    made.run()
    told = made.outcomes[1].status
    assert told.startswith("diverged at step ") and told.endswith("not finite") and f": the {cause} " in told
    assert not made.outcomes[1].usable and made.outcomes[1].steps == EVERY
    expected = run(good)
    for i, j in enumerate((0, 2, 3)):
        assert_same(result(made, j), result(expected, i))
        assert made.outcomes[j].status == "finished"


def test_the_best_state_survives_divergence() -> None:
    """A member that fails later keeps the best state it had."""
    made = population([Member(Cocktail(), tp.optim.SGD(0.05), 1), Member(Cocktail(), tp.optim.SGD(0.05), 2)])
    made.run(EVERY)
    kept = made.outcomes[0].state
    made.chunks[0].group.hypers["lr"][0] = 1e30
    made.run()
    outcome = made.outcomes[0]
    assert outcome.status.startswith("diverged at step ") and outcome.usable
    assert kept is not None and outcome.state is not None
    assert_same([*kept.values()], [*outcome.state.values()])
    assert all(torch.isfinite(t).all() for t in made.model(0).state_dict().values())
    assert_same(result(made, 1), result(run([Member(Cocktail(), tp.optim.SGD(0.05), 2)]), 0))


def test_targets_of_unlabelled_rows_are_never_read() -> None:
    """Whatever stands there, NaN too; in the trainer and in the attached form."""
    cocktail = Cocktail(*everything(), tp.VAT(0.5)) if "vat" not in everything().labels else everything()
    cocktail = Cocktail(*(r for r in cocktail if type(r).__name__ != "FGSM"))
    results: list[list[Tensor]] = []
    for junk in (0.0, 7.0, math.nan):
        known = TRAIN.labeled
        assert isinstance(known, Tensor) and isinstance(TRAIN.y, Tensor)
        data = replace(TRAIN, y=torch.where(known[:, None], TRAIN.y, torch.full_like(TRAIN.y, junk)))
        trained = result(run([Member(cocktail, tp.optim.SGD(0.05), 1)], data=data, held=replace(data, weight=None)), 0)
        model = network()
        reg = cocktail.attach(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(), total_steps=9)
        reg.loss(data.x, data.y, labeled=known).backward()
        results.append([*trained, *(p.grad for p in model.parameters() if p.grad is not None)])
        reg.detach()
    assert all(torch.isfinite(t).all() for t in results[0])
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])


def test_idle_strengths_change_nothing() -> None:
    """Sites that only strengths at off drive are left out of a program; the bits stay."""
    from temperance.core.moment import Moment, step_key
    from temperance.core.program import Program
    from temperance.core.random import key_of

    cocktail = everything().off()
    model, data = network(), prepared(TRAIN)
    batch = Batch(data.x, data.y, data.weight, data.labeled, torch.arange(ROWS))  # type: ignore[arg-type]
    out: list[list[Tensor]] = []
    for idle in ((), tuple(cocktail.strengths())):
        program = Program(cocktail, model, SoftmaxCrossEntropy(), {"input_scale": scale_of(data.x)}, idle)
        params = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
        state = program.init(params)
        values = {name: torch.tensor(v) for name, v in cocktail.strengths().items()}
        moment = Moment(step_key(key_of(1), 2), torch.tensor(4), torch.tensor(0.9), torch.tensor(0.1))
        total, _, buffers, _ = program.loss(params, dict(model.named_buffers()), state, values, moment, batch)
        grads = dict(zip(params, torch.autograd.grad(total, list(params.values())), strict=True))
        grads = program.change_grads(grads, params, state, values, moment)
        new = program.after_step({name: p.detach() - 0.1 * grads[name] for name, p in params.items()}, state, values, moment)
        out.append([total.detach(), *buffers.values(), *grads.values(), *new.values()])
        assert bool(program.of("after_step")) == (not idle)
    assert_same(*out)


@pytest.mark.parametrize("off", [1.0, 0.0])
def test_a_schedule_that_starts_at_off_is_not_idle(off: float) -> None:
    """Lookahead is off at one; a schedule that comes down from there switches it on."""
    scheduled = tp.Lookahead(tp.schedules.Linear(1.0, end=0.2), k=1) if off else tp.L2(tp.schedules.Linear(0.0, end=0.5))
    with_it, without = (result(run([Member(c, tp.optim.SGD(0.05), 1)]), 0) for c in (Cocktail(scheduled), Cocktail()))
    assert same(with_it, without) is (off == 0.0)


@pytest.mark.usefixtures("generators_untouched")
@pytest.mark.parametrize("way", ["vmap", "loop"])
def test_fit_leaves_the_global_generators_alone(way: str, generators_untouched: Callable[[], None]) -> None:
    X, y = TRAIN.x["num"].numpy(), TRAIN.y.argmax(1).numpy()  # type: ignore[index,union-attr]
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3))
    cocktail = Cocktail(tp.MixUp(0.2), Dropout(0.2, where="1"), tp.DropConnect(0.1), tp.InputNoise(0.1), tp.EMA(0.9))
    done = [tp.fit(model, cocktail, (X, y), epochs=3, batch_size=BATCH, retrain="same_epochs") for _ in range(2)]
    generators_untouched()
    states = [[*d.model.state_dict().values()] for d in done]
    assert_same(*states)
    run([Member(Cocktail(tp.MixUp(0.2)), seed=1)], way=way)


def test_a_member_that_is_stopped_leaves_the_others_alone() -> None:
    """Early stopping of one member at a time compacts the group; the ones that stay do not change."""
    rule = tp.EarlyStopping(patience="1 evals", optimum=False)
    chosen = [Member(everything(), tp.optim.SGD(lr), seed) for seed, lr in enumerate((0.1, 0.05, 0.01, 0.02, 0.3))]
    settings: dict[str, Any] = {"early_stopping": rule, "total_steps": 10, "check_every": 1, "metric": "log_loss"}
    together = run(chosen, **settings)
    assert len({o.steps for o in together.outcomes}) > 1, "every member ended at the same step"
    for i, member in enumerate(chosen):
        assert_same(result(together, i), result(run([member], **settings), 0))


NETS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"width {width}, norm {norm}, {outputs} outputs": lambda width=width, norm=norm, outputs=outputs: tp.nets.MLP(7, outputs, hidden=(width, 10), norm=norm)
        for width in (5, 13, 16, 33)
        for norm in (None, "batch", "layer")
        for outputs in (1, 3)
    },
    **{name: lambda name=name: tp.nets.MLP(7, 3, hidden=(13, 5), activation=name) for name in ACTIVATIONS if name != "identity"},
    "residual blocks": lambda: tp.nets.ResidualNet(7, 3, width=13, depth=2),
    "residual blocks of two branches": lambda: tp.nets.ResidualNet(7, 3, width=13, depth=2, branches=2, norm=None),
    **{f"{cell} cells": lambda cell=cell: nn.Sequential(nn.Unflatten(1, (7, 1)), tp.nets.RecurrentNet(1, 5, 3, cell=cell)) for cell in ("rnn", "gru", "lstm")},
}


@pytest.mark.parametrize("net", NETS)
def test_any_network_is_the_same_in_any_slot(net: str) -> None:
    """Products, sums over rows and tails of vectors give every member its own bits, whatever the sizes; scores too."""
    g = torch.Generator().manual_seed(3)
    X = torch.randn(40, 7, generator=g)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = NETS[net]()
    outputs = model(X).shape[1]
    data = Dataset(X, X[:, :1] ** 2 if outputs == 1 else (X[:, :3] > 0).float(), "regression" if outputs == 1 else "multilabel")
    dropout = tp.Dropout(0.2, where=tp.selectors.outputs_of(nn.Linear)) if "cells" in net else tp.Dropout(0.2)
    chosen = [Member(Cocktail(tp.L2(lam), dropout), tp.optim.AdamW(1e-2), seed) for seed, lam in enumerate((0.0, 1e-3, 1e-2, 0.1, 1.0))]
    settings: dict[str, Any] = {"batch_size": 9, "total_steps": 6, "check_every": 3}

    def trained(which: Sequence[int]) -> list[list[Tensor]]:
        made = Population(model, [chosen[i] for i in which], data, data.take(torch.arange(11)), **settings)
        made.run()
        return [result(made, k) for k in range(len(which))]

    whole = trained(range(5))
    for part in ([0], [1, 4], [4, 2, 0]):
        for mine, i in zip(trained(part), part, strict=True):
            assert_same(mine, whole[i])


def test_a_crowd() -> None:
    """More members than a vector holds: what is one number per member, such as a rate or a threshold, has no tail either."""
    chosen = [Member(everything(), tp.optim.AdamW(10 ** (-1 - i / 10), beta1=0.5 + i / 50, weight_decay=0.1), i % 3) for i in range(21)]
    whole = run(chosen, total_steps=4)
    for i in (0, 8, 20):
        assert_same(result(whole, i), result(run([chosen[i]], total_steps=4), 0))


def test_chunks_are_the_whole() -> None:
    """A small memory setting cuts a population into chunks, and changes no bit."""
    chosen = [Member(everything(), tp.optim.SGD(0.05), seed) for seed in range(7)]
    whole = run(chosen)
    size = whole.plans[0].chunk
    memory = whole.memory
    while size == len(chosen):
        memory = int(memory * 0.8)
        size = population(chosen, memory=memory).plans[0].chunk
    cut = run(chosen, memory=memory)
    assert size < len(chosen) and f"{size} at a time" in cut.plan()
    for i, _ in enumerate(chosen):
        assert_same(result(cut, i), result(whole, i))


def test_chunks_that_shrink_are_merged() -> None:
    chosen = [Member(everything(), tp.optim.SGD(0.05), seed) for seed in range(6)]
    memory = 4 << 30
    while population(chosen, memory=memory).plans[0].chunk >= 4:
        memory = int(memory * 0.8)
    made = population(chosen, memory=memory)
    made.run(3)
    before = len(made.chunks)
    made.keep([1, 5], "dropped")
    assert before > 1 and len(made.chunks) == 1 and sorted(made.alive) == [1, 5]
    made.run()
    whole = run(chosen)
    for i in (1, 5):
        assert_same(result(made, i), result(whole, i))
    assert {o.status for i, o in enumerate(made.outcomes) if i not in (1, 5)} == {"dropped"}


def test_folds_of_other_sizes_are_scored_alike() -> None:
    """Members with their own rows: the score of one does not depend on how many rows the others hold out, nor on their unlabelled rows."""
    data = replace(TRAIN, labeled=None)
    parts = [(torch.arange(0, 20), torch.arange(20, 37)), (torch.arange(5, 37), torch.arange(0, 5)), (torch.arange(10, 37), torch.arange(0, 10))]
    chosen = [Member(Cocktail(), tp.optim.SGD(0.05), 1, rows=a, validation=b) for a, b in parts]
    together = run(chosen, data=data, held=None)
    for i, member in enumerate(chosen):
        assert_same(result(together, i), result(run([member], data=data, held=None), 0))


def test_scores_of_a_fold_are_those_of_its_rows() -> None:
    """Masked, padded tables against the plain computation on the fold's own rows, weights and missing targets among them."""
    parts = [(torch.arange(0, 20), torch.arange(20, 37)), (torch.arange(5, 37), torch.arange(0, 5))]
    made = run([Member(Cocktail(), tp.optim.SGD(0.05), 1, rows=a, validation=b) for a, b in parts], held=None, total_steps=4, metric="accuracy")
    for i, (train_rows, held_rows) in enumerate(parts):
        net, row = made.model(i), made.outcomes[i].history[-1]
        for which, name in ((held_rows, "validation"), (train_rows, "train")):
            whole = prepared(TRAIN)
            assert whole.weight is not None
            part = replace(whole, weight=whole.weight / whole.weight[which].mean()).take(which)  # of mean one over rows of its own
            assert isinstance(part.labeled, Tensor) and isinstance(part.y, Tensor) and part.weight is not None
            with torch.no_grad():
                out = net(part.x)
            losses = nn.functional.cross_entropy(out, part.y, reduction="none")
            loss = (losses * part.weight)[part.labeled].sum() / part.labeled.sum()
            assert row[f"{name}_loss"] == pytest.approx(loss.item(), rel=1e-5)
            hit = (out.argmax(1) == part.y.argmax(1)).float()
            score = (hit * part.weight)[part.labeled].sum() / part.weight[part.labeled].sum()
            assert row[f"{name}_score"] == pytest.approx(score.item(), rel=1e-5)


def test_the_clean_rows_of_a_sorted_table_are_drawn_from_all_of_it() -> None:
    data = Dataset(torch.randn(300, 2, generator=torch.Generator().manual_seed(0)), torch.eye(2)[(torch.arange(300) >= 150).long()], "classification")
    made = Population(nn.Linear(2, 2), [Member(Cocktail())], data, total_steps=1, clean_rows=60)
    shares = map_leaves(lambda y: y.mean(0), made.evaluator.clean.y)
    assert len(made.evaluator.clean) == 60 and 0.3 < float(shares[0]) < 0.7
