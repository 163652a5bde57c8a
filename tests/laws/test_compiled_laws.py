"""The laws in compiled mode: one program of several regularizers here, everything and every regularizer by itself among the slow tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.laws.harness import VARIANTS
from tests.laws.test_trainer_laws import CLOSE, STEPS, assert_same, cocktail_of, everything, members, population, result, run, world_of
from torch import Tensor

import temperance as tp
from temperance.core.cocktail import Cocktail
from temperance.regularizers import L2, Dropout
from temperance.train.compiled import compiler_missing
from temperance.train.kernel import Kernels
from temperance.train.member import Member
from temperance.train.population import Population

pytestmark = pytest.mark.skipif(bool(compiler_missing()), reason="no C++ compiler is here, and nothing is compiled without one")

FAST = ["several", "ActivationSparsity"]  # the second has a bias before BatchNorm whose gradient is rounding alone


def cocktail(variant: str) -> Cocktail:
    if variant == "several":
        some = (tp.MixUp(0.3), tp.LabelSmoothing(0.1), tp.InputNoise(0.1), tp.WeightDecay(0.1), tp.L1(1e-3), tp.GaussianDropout(0.2), tp.EMA(0.9))
        return Cocktail(L2(0.01), Dropout(0.3), *some)
    return everything() if variant == "everything" else cocktail_of(VARIANTS[variant])


def people(variant: str, count: int = 5) -> list[Member]:
    """Members of one program: different strengths of decay, seeds and rates, one of half the length."""
    whole = cocktail(variant)
    made = [Member(whole.with_strengths({"l2.lam": 0.01 * (i + 1)}), tp.optim.SGD(0.05 / (i + 1), momentum=0.5), 3 + i) for i in range(count)]
    return [*made[:-1], replace(made[-1], length=0.5)]


KERNELS: dict[str, Kernels] = {}


def compiled(variant: str, chosen: Sequence[Member], until: int | None = None, **settings: Any) -> Population:
    """A population whose steps are machine code, from the first one on."""
    made = population(chosen, compile=True, kernels=KERNELS.setdefault(variant, {}), **settings)
    made.run(until)
    refused = [k.refused for k in KERNELS[variant].values()]
    assert not any(refused), refused
    return made


def close_states(ours: dict[str, Tensor] | None, theirs: dict[str, Tensor] | None) -> None:
    assert ours is not None and theirs is not None
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, **CLOSE)


def assert_close(made: Population, plain: Population) -> None:
    """Every member ends alike in both, but for rounding."""
    for ours, theirs in zip(made.outcomes, plain.outcomes, strict=True):
        close_states(ours.final, theirs.final)


def every(test: Any) -> Any:
    slow = [pytest.param(name, marks=pytest.mark.slow) for name in ("everything", *VARIANTS) if name not in FAST]  # compiling all at once takes minutes
    return pytest.mark.parametrize("variant", [*FAST, *slow])(test)


@every
def test_population_is_its_members_alone(variant: str) -> None:
    """Bit for bit, in any slot, in groups that are full and in groups that are not, while another member leaves half-way."""
    chosen = people(variant)
    size = compiled(variant, chosen).plans[0].chunk
    company = [*chosen, *[replace(chosen[0], seed=50 + i) for i in range(size)]]
    together, shuffled = compiled(variant, company), compiled(variant, company[::-1])
    for i, member in enumerate(chosen):
        alone = result(compiled(variant, [member]), 0)
        assert_same(result(together, i), alone)
        assert_same(result(shuffled, len(company) - 1 - i), alone)
    assert together.outcomes[4].steps == STEPS // 2


@every
def test_save_and_resume(variant: str, tmp_path: Path) -> None:
    chosen = people(variant)
    first = compiled(variant, chosen, 3)
    tp.train.save_population(first, tmp_path / "run")
    second = tp.train.load_population(population(chosen, compile=True, kernels=KERNELS[variant]), tmp_path / "run")
    second.run()
    whole = compiled(variant, chosen)
    for i, _ in enumerate(chosen):
        assert_same(result(second, i), result(whole, i))


def test_a_saved_run_goes_on_by_the_steps_it_had(tmp_path: Path) -> None:
    """Plain ones though compiling is planned anew; where compiled ones cannot be had, the plan says so."""
    chosen = people("L2")
    plain = population(chosen, compile=False)
    plain.run(3)
    tp.train.save_population(plain, tmp_path / "plain")
    again = tp.train.load_population(population(chosen, compile=True), tmp_path / "plain")
    for made in (plain, again):
        made.run()
    assert not any(o.compiled for o in again.outcomes) and "it was saved with plain steps" in again.plan()
    machine = compiled("L2", chosen, 3)
    tp.train.save_population(machine, tmp_path / "machine")
    other = tp.train.load_population(population(chosen, compile=False), tmp_path / "machine")
    assert "saved with compiled steps" in other.plan()
    other.run()
    machine.run()
    assert_close(other, machine)
    fresh = population(chosen, compile=True, kernels=KERNELS["L2"])
    tp.train.save_population(fresh, tmp_path / "fresh")
    fresh = tp.train.load_population(population(chosen, compile=True, kernels=KERNELS["L2"]), tmp_path / "fresh")
    fresh.run()
    for i, _ in enumerate(chosen):
        assert_same(result(again, i), result(plain, i))
        assert_same(result(fresh, i), result(machine, i))
    assert not fresh.notes and not again.outcomes[0].compiled


@every
def test_it_is_the_plain_step_but_for_rounding(variant: str) -> None:
    """Fusing changes the order of a few additions; masks, permutations and noise are the same numbers."""
    chosen = people(variant)
    machine, plain = compiled(variant, chosen), run(chosen, compile=False)
    assert_close(machine, plain)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_off_is_absent_but_for_rounding(variant: str) -> None:
    company, off = members(VARIANTS[variant])[:2]
    absent = replace(off, cocktail=Cocktail(L2(0.01), Dropout(0.3)))
    with_it, without = population([company, off], compile=True), population([absent], compile=True, world=world_of(off.cocktail))
    for made in (with_it, without):
        made.run()
        assert all(chunk.group.kernel is not None and not chunk.group.kernel.refused for chunk in made.chunks)
    close_states(with_it.outcomes[1].final, without.outcomes[0].final)


def test_same_key_same_bits_and_no_global_generator_moves() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]  # noqa: NPY002 -- the global state is what is watched
    first, second = compiled("several", people("several")), compiled("several", people("several"))
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # type: ignore[index]  # noqa: NPY002 -- likewise
    assert states[2] == random.getstate()
    for i in range(5):
        assert_same(result(first, i), result(second, i))


def test_other_strengths_and_other_rows_need_no_other_program() -> None:
    """Strengths, rates, seeds, lengths and the data are inputs of the machine code."""
    compiled("several", people("several"))
    before = {key: kernel.step for key, kernel in KERNELS["several"].items()}
    assert len(before) == 1 and all(step is not None for step in before.values())
    stronger = [replace(m, cocktail=m.cocktail.with_strengths({"l2.lam": 0.5, "dropout.rate": 0.5}), seed=70) for m in people("several")]
    other = compiled("several", stronger)
    assert {key: kernel.step for key, kernel in KERNELS["several"].items()} == before
    first = compiled("several", people("several"))
    changed = [float((a - b).abs().max()) for a, b in zip(finals(other), finals(first), strict=True)]
    assert min(changed) > 0.0


def finals(made: Population) -> list[Tensor]:
    return [torch.cat([t.double().flatten() for t in (o.final or {}).values()]) for o in made.outcomes]


def test_dropping_and_merging(tmp_path: Path) -> None:
    """Members that go on after others were dropped, some of them in another group than before, are the members that were never apart."""
    chosen = people("several")[:4]
    many = [replace(chosen[i % 4], seed=i) for i in range(40)]
    cut = compiled("several", many, 3)
    kept = [1, 18, 35, 39]
    cut.keep(kept, "dropped")
    assert len(cut.chunks) == 1
    cut.run()
    whole = compiled("several", many)
    for i in kept:
        assert_same(result(cut, i)[:-1], result(whole, i)[:-1])


def test_without_a_compiler_it_runs_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temperance.train.kernel.compiler_missing", lambda: "no C++ compiler was found")
    chosen = people("L2")
    made = population(chosen, compile=True)
    made.run(4)
    assert "not compiled: no C++ compiler was found" in made.plan()
    made.run()
    plain = run(chosen, compile=False)
    assert_close(made, plain)


def test_what_cannot_be_compiled_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """In groups of the plain size, bit for bit as if compiling had not been asked for."""

    def broken(*_: Any) -> Any:
        raise ValueError("the tracer knows no such thing")

    monkeypatch.setattr("temperance.train.kernel._tried", broken)
    chosen = people("L2")
    made = population(chosen, compile=True)
    made.run()
    assert "not compiled: ValueError: the tracer knows no such thing" in made.plan()
    plain = run(chosen, compile=False)
    assert len(made.chunks) == len(plain.chunks)
    for i, _ in enumerate(chosen):
        assert_same(result(made, i), result(plain, i))


def test_a_diverging_member_is_told_and_changes_nobody() -> None:
    chosen = people("several")[:4]
    bad = replace(chosen[1], optimizer=tp.optim.SGD(1e30, momentum=0.5))
    mixed, clean = compiled("several", [chosen[0], bad, *chosen[2:]]), compiled("several", chosen)
    assert mixed.outcomes[1].status.startswith("diverged at step")
    for i in (0, 2, 3):
        assert_same(result(mixed, i), result(clean, i))


def test_an_interrupt_ends_every_thread_and_loses_nothing() -> None:
    """The state after it is that of a whole number of steps, and going on gives what would have come."""
    many = [replace(people("several")[i % 4], seed=i) for i in range(40)]
    made = population(many, compile=True, kernels=KERNELS.setdefault("several", {}))
    seen: list[int] = []

    def stop(_: Population) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.run(on_progress=stop)
    made.run()
    whole = compiled("several", many)
    for i, _ in enumerate(many):
        assert_same(result(made, i)[:-1], result(whole, i)[:-1])


def test_checks_of_many_groups_do_not_meet() -> None:
    """Histories, too, are those of each member alone, with as many groups at work as there are cores, and twice."""
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        many = [replace(people("several")[i % 4], seed=i) for i in range(100)]
        first, second = compiled("several", many), compiled("several", many)
        assert len(set(map(id, KERNELS["several"].values()))) == 1
        for i, member in enumerate(many):
            assert_same(result(first, i), result(second, i))
            if i in (0, 33, 99):
                assert_same(result(first, i), result(compiled("several", [member]), 0))
    finally:
        torch.set_num_threads(threads)


def test_a_refusal_with_several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no machine code today")

    monkeypatch.setattr("temperance.train.kernel.CompiledStep", broken)
    chosen = [replace(people("L2")[0], seed=i) for i in range(40)]
    made = population(chosen, compile=True)
    assert len(made.chunks) > 1
    made.run()
    plain = run(chosen, compile=False)
    for i in (0, 17, 39):
        assert_same(result(made, i), result(plain, i))


def test_resume_after_dropping(tmp_path: Path) -> None:
    """What was merged when it was saved is taken from several groups when it is loaded."""
    many = [replace(people("several")[i % 4], seed=i) for i in range(40)]
    cut = compiled("several", many, 3)
    cut.keep(kept := [1, 18, 35, 39], "dropped")
    tp.train.save_population(cut, tmp_path / "run")
    again = tp.train.load_population(population(many, compile=True, kernels=KERNELS["several"]), tmp_path / "run")
    for made in (cut, again):
        made.run()
    for i in kept:
        assert_same(result(cut, i), result(again, i))


def test_networks_in_a_loop_are_compiled_one_by_one() -> None:
    chosen = people("L2")[:3]
    looped = population(chosen, compile=True, way="loop")
    looped.run()
    assert [p.chunk for p in looped.plans] == [1]
    assert all(chunk.group.kernel is None or not chunk.group.kernel.refused for chunk in looped.chunks)
    plain = run(chosen, compile=False)
    assert_close(looped, plain)


def test_another_plan_of_steps_changes_the_schedule_at_once() -> None:
    chosen = [replace(m, optimizer=tp.optim.SGD(tp.schedules.Cosine(0.05), momentum=0.5)) for m in people("L2")[:2]]
    machine, plain = population(chosen, compile=True), population(chosen, compile=False)
    for made in (machine, plain):
        made.run(2)
        made.plan_steps(2 * STEPS)
        made.run()
    assert_close(machine, plain)
