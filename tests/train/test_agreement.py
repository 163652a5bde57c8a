"""A compiled step is tried against the plain one: rounding passes, however far a step enlarges it, and a wrong step does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

import temperance as tp
from temperance.train import kernel as kernels
from temperance.train.agreement import CLOSE, differing, nudge
from temperance.train.compiled import compiler_missing

Fault = Callable[[Any, Any, Any, Any], Any]
"""What a faulty step gives: of the right function, kept, scalars and batch."""

AMPLIFIERS = {
    "VAT": tp.VAT(5.0),
    "VAT of two iterations": tp.VAT(2.0, xi=1e-4, power_iterations=2),
    "FGSM": tp.FGSM(0.3),
    "PGD": tp.PGD(0.3, steps=3),
    "SAM": tp.SAM(0.5),
}


def rows() -> tuple[Any, Any]:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(200, 60, generator=g) * (torch.rand(200, 60, generator=g) < 0.3)
    return x.numpy(), torch.randint(0, 4, (200,), generator=g).numpy()


def refused(monkeypatch: pytest.MonkeyPatch, cocktail: tp.Cocktail, optimizer: Any, fault: Fault, norm: str | None = None, steps: int = 4) -> str:
    """Why a step that runs like this is refused, or an empty string."""

    class Step:
        constants: tuple[Tensor, ...] = ()

        def __init__(self, function: Any, kept: Any, scalars: Any, batch: Any) -> None:
            self.given = function, scalars, batch

        def arguments(self, kept: Any, scalars: Any) -> Any:
            return kept

        def numbers(self, scalars: Any, step: int) -> Any:
            return self

        def at(self, step: int) -> None:
            return None

        def run(self, kept: Any, step: Any, batch: Any, numbers: Any) -> None:
            function, scalars, trees = self.given
            scalars, trees = {**scalars, "step": step}, tree_unflatten(batch, tree_flatten(trees)[1])
            for now, new in zip(tree_flatten(kept)[0], tree_flatten(fault(function, kept, scalars, trees))[0], strict=True):
                now.detach().copy_(new.detach().clone())

    monkeypatch.setattr(kernels, "CompiledStep", Step)
    monkeypatch.setattr(kernels, "compiler_missing", lambda: "")
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(60, 4, hidden=(32, 16), activation="tanh", norm=norm), 0)
    members = [tp.Member(cocktail, optimizer, seed) for seed in (0, 1)]
    population = tp.Population(net, members, tp.data.as_dataset(*rows()), batch_size=64, total_steps=steps, compile=True)
    kernel = population.chunks[0].group.kernel
    assert kernel is not None
    kernel.compile(population.chunks[0].group)
    return kernel.refused


def other_order(function: Any, kept: Any, scalars: Any, batch: Any) -> Any:
    """The right step with its rounding drawn anew."""
    out = function({**kept, "params": nudge(kept["params"], 1000)}, scalars, batch)
    return tree_map(lambda t: t.detach(), out)


def other_draws(function: Any, kept: Any, scalars: Any, batch: Any) -> Any:
    return function(kept, {**scalars, "keys": scalars["keys"] + 1}, batch)


def other_strength(function: Any, kept: Any, scalars: Any, batch: Any) -> Any:
    values = {name: 1.2 * value for name, value in scalars["values"].items()}
    return function(kept, {**scalars, "values": values}, batch)


def other_rate(function: Any, kept: Any, scalars: Any, batch: Any) -> Any:
    hypers = {name: 1.2 * value if name == "lr" else value for name, value in scalars["hypers"].items()}
    return function(kept, {**scalars, "hypers": hypers}, batch)


def forgotten_bias(function: Any, kept: Any, scalars: Any, batch: Any) -> Any:
    """One tensor of four numbers a network, of some thousand, is left as it was."""
    out = function(kept, scalars, batch)
    return {**out, "params": {**out["params"], "output.bias": kept["params"]["output.bias"]}}


def forgotten_sum(function: Any, kept: Any, scalars: Any, batch: Any) -> Any:
    out = function(kept, scalars, batch)
    return {**out, "sums": {**out["sums"], "total": kept["sums"]["total"]}}


OPTIMIZERS = [tp.optim.SGD(0.1, momentum=0.9), tp.optim.Adam(2e-3)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["SGD", "Adam"])
@pytest.mark.parametrize("name", AMPLIFIERS)
def test_what_a_step_makes_of_rounding_is_no_difference(monkeypatch: pytest.MonkeyPatch, name: str, optimizer: Any) -> None:
    assert refused(monkeypatch, tp.Cocktail(AMPLIFIERS[name]), optimizer, other_order) == ""


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["SGD", "Adam"])
@pytest.mark.parametrize("fault", [other_draws, other_strength, other_rate, forgotten_bias, forgotten_sum])
def test_a_wrong_step_is_refused_though_it_enlarges_rounding(monkeypatch: pytest.MonkeyPatch, fault: Fault, optimizer: Any) -> None:
    assert "than the plain one" in refused(monkeypatch, tp.Cocktail(tp.VAT(5.0)), optimizer, fault)


@pytest.mark.parametrize("fault", [other_strength, other_rate, forgotten_bias, forgotten_sum])
def test_a_wrong_step_is_refused_where_nothing_enlarges_rounding(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    assert "than the plain one" in refused(monkeypatch, tp.Cocktail(tp.L2(0.1)), OPTIMIZERS[0], fault)


@pytest.mark.parametrize(("off_at", "steps", "same"), [([0], 4, True), ([0, 1], 4, True), ([0, 1, 2], 4, False), ([0, 1], 2, False), ([], 1, True)])
def test_a_step_that_is_off_at_a_kink_is_tried_on_other_rows(monkeypatch: pytest.MonkeyPatch, off_at: list[int], steps: int, same: bool) -> None:
    seen: list[tuple[int, Tensor]] = []

    def kinked(function: Any, kept: Any, scalars: Any, batch: Any) -> Any:
        seen.append((int(scalars["step"]), batch[0][0]))
        return (other_rate if len(seen) - 1 in off_at else other_order)(function, kept, scalars, batch)

    assert (refused(monkeypatch, tp.Cocktail(tp.L2(0.1)), OPTIMIZERS[0], kinked, steps=steps) == "") is same
    assert [step for step, _ in seen] == [0] * min(len(off_at) + 1, 3, steps)
    assert not any(torch.equal(seen[0][1], rows) for _, rows in seen[1:])


def test_a_bias_whose_gradient_is_nothing_but_rounding_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """BatchNorm takes any bias away, and Adam's first step moves it by a whole step to one side or the other."""
    assert refused(monkeypatch, tp.Cocktail(tp.L2(0.0)), OPTIMIZERS[1], other_order, norm="batch") == ""


def test_the_plain_step_is_taken_again_only_where_entries_are_off() -> None:
    plain = {"params": {"w": torch.linspace(0.1, 1.0, 100)}, "state": {"n": torch.tensor([3])}}

    def never(number: int) -> Any:
        raise AssertionError("nothing is off")

    few = plain["params"]["w"].clone()
    few[:2] += 1.0
    assert differing({"params": {"w": few}, "state": {"n": torch.tensor([3])}}, plain, never) == []
    assert differing({**plain, "state": {"n": torch.tensor([4])}}, plain, lambda i: plain) == ["state"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_entries_that_are_no_finite_numbers_are_compared(value: float) -> None:
    """In ours or in the plain step, and they are no measure for the others."""
    plain = {"params": {"w": torch.linspace(0.1, 1.0, 100), "v": torch.ones(100)}}
    strange = {"params": {**plain["params"], "w": torch.where(torch.arange(100) < 50, value, plain["params"]["w"])}}
    assert differing(strange, strange, lambda i: strange) == []
    assert differing(strange, plain, lambda i: plain) == ["params"] == differing(plain, strange, lambda i: strange)
    assert differing({"params": {**strange["params"], "v": 9 * plain["params"]["v"]}}, strange, lambda i: strange) == ["params"]


@pytest.mark.parametrize(("entries", "off", "same"), [(9, 1, False), (10, 1, True), (10, 2, False), (100, 2, True), (100, 3, False)])
def test_a_few_entries_of_a_tensor_may_be_off(entries: int, off: int, same: bool) -> None:
    plain = {"params": {"large": torch.ones(1000), "w": torch.ones(entries)}}
    ours = {"params": {**plain["params"], "w": torch.where(torch.arange(entries) < off, 1.5, 1.0)}}
    assert (differing(ours, plain, lambda i: plain) == []) is same


@pytest.mark.parametrize(("size", "same"), [(3.0, True), (5.0, False)])
def test_a_tensor_may_be_off_by_as_much_as_nudges_make_it(size: float, same: bool) -> None:
    """Four times the largest of them, rank by rank."""
    plain = {"slots": {"w": torch.ones(1000)}}
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 10 * CLOSE

    def nudged(number: int) -> Any:
        return {"slots": {"w": 1.0 + noise.roll(number)}}

    ours = {"slots": {"w": 1.0 + size * noise.flip(0)}}
    assert (differing(ours, plain, nudged) == []) is same
    large = torch.arange(1000) < 50

    def flipped(number: int) -> Any:
        """A kink at one of the nudges."""
        return {"slots": {"w": 1.0 + large * (0.1 if number == 2 else 0.0)}}

    ours = {"slots": {"w": 1.0 + torch.where(large, 0.2, 0.9 * CLOSE)}}
    assert differing(ours, plain, flipped) == [], "CLOSE is allowed at any rank"
    half = torch.where(torch.arange(1000) < 50, noise * 1.5, 0.0)
    spread = {"slots": {"w": 1.0 + noise * (noise.abs() > CLOSE)}}
    assert differing(spread, plain, lambda i: {"slots": {"w": 1.0 + half}}) == ["slots"]


@pytest.mark.skipif(bool(compiler_missing()), reason="no C++ compiler is here, and nothing is compiled without one")
def test_steps_with_vat_are_compiled() -> None:
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(60, 4, hidden=(32,), activation="tanh"), 0)
    made = {}
    for compiled in (True, False):
        members = [tp.Member(tp.Cocktail(tp.VAT(5.0)), tp.optim.SGD(0.1), seed) for seed in (0, 1)]
        made[compiled] = tp.Population(net, members, tp.data.as_dataset(*rows()), batch_size=64, total_steps=4, compile=compiled)
        made[compiled].run()
    assert "not compiled" not in made[True].plan() and made[True].outcomes[0].compiled
    for ours, theirs in zip(made[True].outcomes, made[False].outcomes, strict=True):
        assert ours.final is not None and theirs.final is not None
        for name, value in theirs.final.items():
            torch.testing.assert_close(ours.final[name], value, rtol=0.0, atol=1e-3 * float(value.abs().max()))
