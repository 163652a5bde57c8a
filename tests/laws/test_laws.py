"""What every regularizer of the registry must obey. A new one is tested here the moment it is registered."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from typing import Any

import pytest
import torch
from tests.laws.harness import ALONE, PROBLEMS, VARIANTS, Problem, first_difference, fits, map_leaves_deep, pairs, problem_of, same, tensors_of, train

from temperance.core.batch import leaves_of
from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError
from temperance.core.moment import Moment, step_key
from temperance.core.program import Program
from temperance.core.random import key_of
from temperance.core.registry import REGISTRY
from temperance.core.regularizer import Context, Regularizer
from temperance.core.schedule import Constant
from temperance.core.strength import options_of
from temperance.regularizers import L2, Dropout

NEVER_EXEMPT = {"off", "resume", "keys", "inputs"}
LAWS = {"acts", "off", "alone", "order", "keys", "inputs", "dtype", "gradcheck", "constant", "report", "resume"}
CLASSES = sorted({type(r).__name__ for r in VARIANTS.values()})

every_variant = pytest.mark.parametrize("variant", VARIANTS)
every_problem = pytest.mark.parametrize("problem", PROBLEMS)
every_pair = pytest.mark.parametrize(("variant", "problem"), pairs(PROBLEMS))
every_class = pytest.mark.parametrize("name", CLASSES)


def honoured(regularizer: Regularizer, law: str) -> None:
    """Skips where the class declares an exception of its own, with its reason."""
    if law in regularizer.exceptions:
        assert law not in NEVER_EXEMPT
        pytest.skip(regularizer.exceptions[law])


def around(regularizer: Regularizer) -> Cocktail:
    """The regularizer beside two others."""
    return Cocktail(L2(0.01), Dropout(0.3), regularizer)


def with_off(regularizer: Regularizer) -> Cocktail:
    cocktail = around(regularizer)
    label = cocktail.labels[-1]
    return cocktail.with_strengths({name: spec.off for name, spec in cocktail.specs().items() if name.startswith(f"{label}.")})


def members(regularizer: Regularizer, k: int) -> list[Cocktail]:
    """Cocktails of differing strengths, one of them off; all legal."""
    cocktail = around(regularizer)
    out = [cocktail, with_off(regularizer)]
    for i in range(2, k):
        values = {}
        for name, spec in cocktail.specs().items():
            share = i / k
            values[name] = spec.low * (spec.high / spec.low) ** share if spec.log else spec.low + share * (spec.high - spec.low)
        out.append(cocktail.with_strengths(values))
    return out


def test_there_is_something_to_test() -> None:
    assert len(CLASSES) >= 19
    assert {variant for variant, _ in pairs(PROBLEMS)} == set(VARIANTS)


@every_pair
def test_acts(variant: str, problem: str) -> None:
    """At a strength that is not off something changes; without this the other laws might hold for a class that does nothing."""
    regularizer = VARIANTS[variant]
    honoured(regularizer, "acts")
    with_it, without = (train([c], PROBLEMS[problem], [3]) for c in (around(regularizer), Cocktail(L2(0.01), Dropout(0.3))))
    assert not same(with_it.tensors(), without.tensors())
    assert all(torch.isfinite(t).all() for t in with_it.tensors())


@every_pair
@pytest.mark.parametrize("copies", [1, 2])
def test_off_is_absent(variant: str, problem: str, copies: int) -> None:
    regularizer = VARIANTS[variant]
    off, absent = (train([c] * copies, PROBLEMS[problem], [3] * copies) for c in (with_off(regularizer), Cocktail(L2(0.01), Dropout(0.3))))
    assert same(off.tensors(), absent.tensors()), first_difference(off.tensors(), absent.tensors())
    for mine, theirs in zip(off.reports, absent.reports, strict=True):
        assert all(torch.equal(mine[name], value) for name, value in theirs.items())
        assert all(bool((value == 0).all()) for name, value in mine.items() if name not in theirs)


@pytest.mark.parametrize(("variant", "problem"), pairs({name: alone.problem for name, alone in ALONE.items()}))
def test_population_is_the_members_alone(variant: str, problem: str) -> None:
    """Bit for bit, alone meaning the same program with one member (for some networks one member twice, see the harness)."""
    regularizer = VARIANTS[variant]
    honoured(regularizer, "alone")
    cocktails, seeds = members(regularizer, 5), [3, 1, 4, 1, 5]
    together = train(cocktails, ALONE[problem].problem, seeds)
    for i, (cocktail, seed) in enumerate(zip(cocktails, seeds, strict=True)):
        alone = train([cocktail] * ALONE[problem].copies, ALONE[problem].problem, [seed] * ALONE[problem].copies)
        assert same(together.member(i), alone.member(0)), f"member {i}: {first_difference(together.member(i), alone.member(0))}"


@pytest.mark.parametrize("problem", [name for name, alone in ALONE.items() if alone.copies > 1])
def test_one_copy_is_close_to_two(problem: str) -> None:
    """Where one member runs through other kernels than two, the difference is rounding."""
    cocktail = around(VARIANTS["MixUp"])
    one, two = train([cocktail], ALONE[problem].problem, [3]), train([cocktail] * 2, ALONE[problem].problem, [3] * 2)
    for a, b in zip(one.member(0), two.member(1), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@every_variant
def test_slot_order_does_not_matter(variant: str) -> None:
    regularizer = VARIANTS[variant]
    honoured(regularizer, "order")
    cocktails, seeds, order = members(regularizer, 4), [3, 1, 4, 1], [2, 0, 3, 1]
    straight = train(cocktails, problem_of(regularizer), seeds)
    shuffled = train([cocktails[i] for i in order], problem_of(regularizer), [seeds[i] for i in order])
    for slot, i in enumerate(order):
        assert same(shuffled.member(slot), straight.member(i)), first_difference(shuffled.member(slot), straight.member(i))


@every_pair
@pytest.mark.usefixtures("generators_untouched")
def test_same_key_same_result(variant: str, problem: str) -> None:
    """Also whatever the global generators hold; they are not moved (the fixture checks)."""
    first, second = (train([around(VARIANTS[variant])], PROBLEMS[problem], [3]) for _ in range(2))
    assert same(first.tensors(), second.tensors())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        third = train([around(VARIANTS[variant])], PROBLEMS[problem], [3])
    assert same(first.tensors(), third.tensors())


@every_pair
def test_inputs_are_not_mutated(variant: str, problem: str) -> None:
    one = PROBLEMS[problem]
    regularizer = VARIANTS[variant]
    cocktail, model = Cocktail(regularizer), one.model()
    program = Program(cocktail, model, one.criterion, one.constants)
    params = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    values = {name: torch.tensor(v) for name, v in cocktail.strengths().items()}
    moment = Moment(step_key(key_of(1), 1), torch.tensor(1), torch.tensor(0.9), torch.tensor(0.1))
    state, batch = program.init({name: p.detach() for name, p in params.items()}), one.batch(0)
    given = {
        "params": params,
        "buffers": buffers,
        "state": state,
        "values": values,
        "batch": tuple(batch),
        "constants": program.constants,
        "model": model.state_dict(),
    }
    before = [t.detach().clone() for t in tensors_of(given)]
    total, _, after, _ = program.loss(params, buffers, state, values, moment, batch)
    grads = dict(zip(params, torch.autograd.grad(total, list(params.values())), strict=True))
    kept = [g.clone() for g in grads.values()]
    with torch.no_grad():
        program.change_grads(grads, params, state, values, moment)
        new = program.after_step(params, state, values, moment)
        program.track(state, new, values, moment)
        program.readout(state, params, buffers, values, moment.progress, lambda p, b: b)
    assert same(list(grads.values()), kept)
    assert same([t.detach() for t in tensors_of(given)], before)
    assert all(after[name] is not b for name, b in buffers.items())


@every_pair
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(variant: str, problem: str, dtype: torch.dtype) -> None:
    regularizer = VARIANTS[variant]
    honoured(regularizer, "dtype")
    trace = train([around(regularizer)], PROBLEMS[problem].in_dtype(dtype), [3], steps=2)
    found = [*trace.tensors(), *tensors_of(trace.reports), *tensors_of(trace.state)]
    assert {t.dtype for t in found if t.is_floating_point()} == {dtype}


@pytest.mark.parametrize("variant", [variant for variant, r in VARIANTS.items() if r.acts_on == "image"])
def test_what_acts_on_images_leaves_tables_alone(variant: str) -> None:
    with_it, without = (train([c], PROBLEMS["table"], [3]) for c in (around(VARIANTS[variant]), Cocktail(L2(0.01), Dropout(0.3))))
    assert same(with_it.tensors(), without.tensors())


SMOOTH = [(variant, site) for variant, r in VARIANTS.items() for site in ("penalty", "weights", "hidden") if site in r.sites() and r.wants(site)]


@pytest.mark.parametrize(("variant", "site"), SMOOTH)
def test_gradcheck(variant: str, site: str) -> None:
    regularizer = VARIANTS[variant]
    honoured(regularizer, "gradcheck")
    g = torch.Generator().manual_seed(0)
    w, h = (torch.randn(3, 4, generator=g, dtype=torch.float64) + 0.1 for _ in range(2))
    if "kl" in variant:
        h = h.sigmoid()
    bound = regularizer.bind({name: torch.tensor(v, dtype=torch.float64) for name, v in regularizer.values().items()})

    def call(w: Any, h: Any) -> Any:
        if site == "penalty":
            return bound.penalty({"w": w}, {"1#0": h}, Context())
        return bound.weights({"w": w}, Context())["w"] if site == "weights" else bound.hidden(h, Context())

    torch.autograd.gradcheck(call, (w.requires_grad_(), h.requires_grad_()))


@every_class
def test_a_constant_schedule_is_the_number(name: str) -> None:
    regularizer = VARIANTS[name]
    honoured(regularizer, "constant")
    scheduled = regularizer.replace(**{field: Constant(value) for field, value in regularizer.values().items()})
    assert scheduled.values() != regularizer.values()
    number, constant = (train([around(r)], problem_of(regularizer), [3]) for r in (regularizer, scheduled))
    assert same(number.tensors(), constant.tensors())


@every_pair
def test_the_report_adds_up(variant: str, problem: str) -> None:
    """Data loss and parts by label sum to the loss, so that nothing is hidden in one number."""
    regularizer = VARIANTS[variant]
    honoured(regularizer, "report")
    trace = train([around(regularizer)], PROBLEMS[problem].in_dtype(torch.float64), [3])
    for loss, report in zip(trace.losses, trace.reports, strict=True):
        assert "data" in report
        torch.testing.assert_close(torch.stack(list(report.values())).sum(0), loss, rtol=1e-12, atol=1e-12)


# Declarations


def _bad_values(spec: Any) -> list[Any]:
    low, high = spec.valid.bounds()
    bad: list[Any] = [math.nan, "0.1", True, None, [0.1], torch.zeros(2)]
    bad += [low - 1.0] if math.isfinite(low) else []
    bad += [high + 1.0] if math.isfinite(high) else []
    bad += [low] if spec.valid.text[0] == "(" and low != spec.off else []
    bad += [high] if spec.valid.text[-1] == ")" and high != spec.off else []
    return bad


STRENGTHS = [(name, field) for name in CLASSES for field in REGISTRY[name].strengths()]


@pytest.mark.parametrize(("name", "field"), STRENGTHS)
def test_invalid_strengths_raise_the_one_message(name: str, field: str) -> None:
    cls = REGISTRY[name]
    for bad in _bad_values(cls.strengths()[field]):
        with pytest.raises(ConfigError, match=rf"^Expected `{field}` of {name} .*, got .*\. .*(Use|grid)"):
            cls(**{field: bad})


@pytest.mark.parametrize(("name", "field"), STRENGTHS)
def test_declared_numbers_are_legal(name: str, field: str) -> None:
    cls = REGISTRY[name]
    spec = cls.strengths()[field]
    for number in (spec.default, spec.off, spec.low, spec.high):
        assert getattr(cls(**{field: number}), field) == number
    assert spec.low < spec.high and spec.meaning
    assert not spec.log or spec.low > 0


@every_class
def test_unknown_options_are_refused(name: str) -> None:
    cls = REGISTRY[name]
    for field, spec in options_of(cls).items():
        for bad in ("no such choice", -7, object()):
            with pytest.raises(ConfigError, match=rf"^Expected `{field}` of {name} .*, got "):
                cls(**{field: bad})
        if spec.choices is not None:
            assert spec.default in spec.choices
    with pytest.raises(TypeError):
        cls(no_such_field=1.0)
    with pytest.raises(ConfigError, match=f"{name} has no field 'no_such_field'"):
        cls.from_dict({"no_such_field": 1.0})


def _fields(regularizer: Regularizer) -> dict[str, Any]:
    return {f.name: getattr(regularizer, f.name) for f in dataclasses.fields(regularizer)}


@every_variant
def test_round_trips(variant: str) -> None:
    import temperance as tp

    regularizer = VARIANTS[variant]
    names = {**vars(tp), "math": math, **REGISTRY, **vars(tp.selectors)}
    through_repr = eval(repr(regularizer), names)
    through_json = Cocktail.from_json(Cocktail(regularizer).to_json()).regularizers[0]
    for other in (through_repr, through_json, pickle.loads(pickle.dumps(regularizer)), copy.deepcopy(regularizer)):
        assert type(other) is type(regularizer)
        assert _fields(other) == _fields(regularizer)
        assert other.static() == regularizer.static()


@every_class
def test_is_off(name: str) -> None:
    cls = REGISTRY[name]
    specs = cls.strengths()
    assert cls(**{field: spec.off for field, spec in specs.items()}).is_off()
    assert not VARIANTS[name].is_off()


@every_class
def test_values_are_frozen(name: str) -> None:
    regularizer = VARIANTS[name]
    for field in _fields(regularizer):
        with pytest.raises(AttributeError):
            setattr(regularizer, field, 0.0)


@every_class
def test_has_a_card(name: str) -> None:
    cls = REGISTRY[name]
    card = cls.__doc__ or ""
    first = card.strip().splitlines()[0]
    assert first.endswith(".") and len(first) <= 140
    for section in ("What:", "Formula", "When:", "Composes:", "Cost:", "Reference:", "Example:", ">>> "):
        assert section in card, f"the card of {name} has no {section!r}"
    for field in (f.name for f in dataclasses.fields(cls)):
        assert field == "name" or f"\n        {field}: " in card, f"the card of {name} does not explain {field!r}"
    assert any(char.isdigit() for char in cls.reference) and cls.spec and cls.sites() and cls.acts_on in ("any", "image")


@every_class
def test_exceptions_are_declared_with_a_reason(name: str) -> None:
    for law, reason in REGISTRY[name].exceptions.items():
        assert law in LAWS - NEVER_EXEMPT
        assert len(reason.split()) >= 4


def test_exceptions_are_few() -> None:
    """Two methods whose gradient is not that of their forward pass, by definition."""
    assert {name: [*REGISTRY[name].exceptions] for name in CLASSES if REGISTRY[name].exceptions} == {"ShakeDrop": ["gradcheck"], "ShakeShake": ["gradcheck"]}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_adding_one_never_shifts_the_numbers_of_another(problem: str) -> None:
    """Dropout draws the same masks whether or not others, all off, stand before and after it."""
    alone = train([Cocktail(Dropout(0.4))], PROBLEMS[problem], [3])
    compatible = [r for name, r in VARIANTS.items() if name in CLASSES and name != "Dropout" and r.perturbs is None and fits(r, PROBLEMS[problem])]
    crowd = Cocktail(*compatible[:6], Dropout(0.4), *compatible[6:])
    off = {name: spec.off for name, spec in crowd.specs().items() if not name.startswith("dropout.")}
    together = train([crowd.with_strengths(off)], PROBLEMS[problem], [3])
    assert same(alone.tensors(), together.tensors()), first_difference(alone.tensors(), together.tensors())


@every_problem
def test_everything_at_once(problem: str) -> None:
    """All that may stand together in one cocktail, each acting, trains to finite weights, alone as in a population."""
    one: Problem = PROBLEMS[problem]
    taken = [r for name, r in VARIANTS.items() if name in CLASSES and name not in ("PGD", "VAT", "SWA", "Lookahead") and fits(r, one)]
    cocktail = Cocktail(*taken)
    together = train([cocktail, cocktail.off()], one, [1, 2])
    alone = train([cocktail] * 2, one, [1] * 2)
    assert all(torch.isfinite(t).all() for t in together.tensors())
    assert same(together.member(0), alone.member(0))
    absent = train([Cocktail()] * 2, one, [2] * 2)
    assert same(together.member(1), absent.member(0)), first_difference(together.member(1), absent.member(0))


def test_harness_helpers() -> None:
    batch = PROBLEMS["table"].batch(0)
    assert len(tensors_of(map_leaves_deep(torch.clone, tuple(batch)))) == len(tensors_of(tuple(batch)))
    assert len(leaves_of(batch.x)) == 2
