"""The first layer, the last, one drawn in every step; and draws that sites have in common."""

from __future__ import annotations

import collections
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.core.test_wiring import NETS, Net, layer, rows
from torch import Tensor, nn

import temperance as tp
from temperance.core.batch import Batch
from temperance.core.moment import Moment, step_key
from temperance.core.program import Program
from temperance.core.random import fold, key_of
from temperance.core.regularizer import Context, Regularizer
from temperance.core.selector import parameters_matching
from temperance.core.wiring import observed


def three() -> nn.Module:
    """Three hidden layers of one shared activation, declared backward, with one at the output."""
    return Net(lambda m, x: m.act(m.d(m.act(m.c(m.act(m.b(m.act(m.a(x)))))))), act=nn.Sigmoid(), d=layer(), c=layer(), b=layer(), a=layer())


def calls(where: Any, net: nn.Module) -> list[tuple[str, int]]:
    return [(call.name, call.index) for call in where.calls(net, observed(net, rows()))]


def test_first_and_last_are_those_of_a_pass() -> None:
    net = three()
    assert calls(tp.selectors.Hidden(), net) == [("act", 0), ("act", 1), ("act", 2)]
    assert calls(tp.selectors.First(), net) == [("act", 0)] and calls(tp.selectors.Last(), net) == [("act", 2)]
    linear = tp.selectors.outputs_of(nn.Linear)
    assert calls(tp.selectors.First(linear), net) == [("a", 0)] and calls(tp.selectors.Last(linear), net) == [("c", 0)]
    assert calls(tp.selectors.First("c|b"), net) == [("b", 0)] and calls(tp.selectors.Last("c|b"), net) == [("c", 0)]


def test_the_steps_of_a_recurrent_cell_are_one_layer() -> None:
    net = NETS["a recurrent cell"][0]()
    for where in (tp.selectors.First(), tp.selectors.Last(), tp.selectors.OneOf()):
        assert calls(where, net) == [("act", 0), ("act", 1), ("act", 2)]
    assert Program(tp.Cocktail(tp.Dropout(where=tp.selectors.OneOf())), net, tp.losses.SquaredError(), wiring=observed(net, rows())).units["dropout"].count == 1


def test_first_and_last_of_parameters() -> None:
    net = nn.Sequential(layer(), nn.ReLU(), layer())
    assert parameters_matching(tp.selectors.First(tp.selectors.Weights()), net, "L1") == ("0.weight",)
    assert parameters_matching(tp.selectors.Last("*.bias"), net, "L1") == ("2.bias",)
    with pytest.raises(tp.ConfigError, match=r"`where` of L1 is OneOf\(of=Weights\(\)\)"):
        Program(tp.Cocktail(tp.L1(0.1, where=tp.selectors.OneOf(tp.selectors.Weights()))), net, tp.losses.SquaredError())


@pytest.mark.parametrize(
    "where",
    [
        tp.selectors.First(),
        tp.selectors.Last("hidden.*"),
        tp.selectors.OneOf(tp.selectors.outputs_of(nn.Linear)),
        tp.selectors.OneOf(tp.selectors.First(tp.selectors.Named("a|b"))),
    ],
    ids=repr,
)
def test_choices_are_values(where: Any) -> None:
    cocktail = tp.Cocktail(tp.Dropout(0.5, where=where))
    again = tp.Cocktail.from_dict(json.loads(cocktail.to_json()))
    assert getattr(again.regularizers[0], "where") == where and again.static() == cocktail.static()  # noqa: B009 -- a field of subclasses
    from temperance.core.selector import OutputsOf

    assert eval(repr(where), {**vars(tp.selectors), "OutputsOf": OutputsOf}) == where


def test_choices_that_cannot_be() -> None:
    net = nn.Sequential(layer(), nn.ReLU(), layer())
    with pytest.raises(tp.ConfigError, match=r"`of` of First .* draws nothing, got OneOf.*Put OneOf outside"):
        tp.selectors.First(tp.selectors.OneOf())
    with pytest.raises(tp.ConfigError, match=r"`where` of Last to be a selector or a name pattern, got 3"):
        tp.selectors.Last(3)  # pyright: ignore[reportArgumentType] -- what is refused
    with pytest.raises(tp.ConfigError, match=r"ActivationSparsity looks at all units of a step.*where=Hidden\(\)"):
        Program(tp.Cocktail(tp.ActivationSparsity(where=tp.selectors.OneOf())), net, tp.losses.SquaredError())
    with pytest.raises(tp.ConfigError, match=r"selects parameters; Dropout acts on hidden units"):
        Program(tp.Cocktail(tp.Dropout(where=tp.selectors.First(tp.selectors.Weights()))), net, tp.losses.SquaredError())
    with pytest.raises(tp.ConfigError, match=r"matches nothing in Sequential"):
        Program(tp.Cocktail(tp.Dropout(where=tp.selectors.First(tp.selectors.Named("no.such")))), net, tp.losses.SquaredError())


# Passes by hand

SEEN: list[tuple[str, str, int, float]] = []


class Marks(Regularizer):
    """Puts a large number on the hidden units it is given, and keeps what its sites are told."""

    where: Any = tp.selectors.Hidden()

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        SEEN.append(("batch", ctx.module, ctx.call, float(ctx.shared.uniform())))
        return batch

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        SEEN.append(("hidden", ctx.module, ctx.call, float(ctx.shared.uniform())))
        return h + 100.0


def marks(where: Any) -> Marks:
    import dataclasses

    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(type("Marks", (Marks,), {"__annotations__": {"where": Any}, "where": where}))()


def loss(program: Program, net: nn.Module, step: int) -> Any:
    moment = Moment(step_key(key_of(7), step), torch.tensor(step), torch.zeros(()), torch.ones(()))
    batch = tp.core.batch.full_batch(rows(), rows())
    return program.loss(dict(net.named_parameters()), {}, {}, {}, moment, batch)


def touched(program: Program, net: nn.Module, step: int) -> tuple[int, ...]:
    """The calls of the activation whose output was changed in one step."""
    *_, taps = loss(program, net, step)
    return tuple(int(name.partition("#")[2]) for name, h in taps["marks"].items() if bool((h > 50.0).all()))


def test_one_of_acts_on_one_layer_a_step_on_each_as_often() -> None:
    net = three()
    program = Program(tp.Cocktail(marks(tp.selectors.OneOf())), net, tp.losses.SquaredError(), wiring=observed(net, rows()))
    found = [touched(program, net, step) for step in range(300)]
    counts = collections.Counter(found)
    assert set(counts) == {(0,), (1,), (2,)}
    assert all(abs(n - 100) < 5 * (300 * 2 / 9) ** 0.5 for n in counts.values())
    assert found[:10] == [touched(program, net, step) for step in range(10)]
    every = Program(tp.Cocktail(marks(tp.selectors.Hidden())), net, tp.losses.SquaredError(), wiring=observed(net, rows()))
    assert touched(every, net, 0) == (0, 1, 2)


def test_sites_are_told_where_they_are_and_draw_the_same_numbers() -> None:
    net = three()
    program = Program(tp.Cocktail(marks(tp.selectors.Hidden())), net, tp.losses.SquaredError(), wiring=observed(net, rows()))
    SEEN.clear()
    loss(program, net, 0)
    assert [told[:3] for told in SEEN] == [("batch", "", 0), ("hidden", "act", 0), ("hidden", "act", 1), ("hidden", "act", 2)]
    first = {told[3] for told in SEEN}
    SEEN.clear()
    loss(program, net, 1)
    second = {told[3] for told in SEEN}
    assert len(first) == len(second) == 1 and first != second


def test_shared_draws_are_those_of_the_step_in_passes_of_other_masks_too() -> None:
    program = Program(tp.Cocktail(tp.Dropout(0.5, name="a"), tp.Dropout(0.5, name="b")), nn.Sequential(layer(), nn.ReLU(), layer()), tp.losses.SquaredError())
    moment = Moment(key_of(3), torch.tensor(0), torch.zeros(()), torch.ones(()))
    other = replace(moment, key=fold(moment.key, 1), shared=moment.key)

    def numbers(label: str, site: str, at: Moment) -> tuple[float, float]:
        ctx = program.context(label, site, at, {}, None)
        return float(ctx.shared.uniform()), float(ctx.rng.uniform())

    a, b = numbers("a", "batch", moment), numbers("a", "hidden", other)
    assert a[0] == b[0] and a[1] != b[1] and a[0] != a[1]
    assert numbers("b", "batch", moment)[0] != a[0]
    assert float(Context().shared.uniform()) == float(Context().shared.uniform())


def test_members_of_a_population_draw_each_their_own_layer() -> None:
    """And each what it draws alone."""
    net = three()
    data = tp.data.as_dataset(rows().numpy(), rows().numpy())
    cocktails = [tp.Cocktail(tp.HiddenNoise(sigma, where=tp.selectors.OneOf())) for sigma in (0.5, 1.0, 0.5)]
    settings: dict[str, Any] = {"batch_size": 4, "total_steps": 4, "check_every": 4}
    together = tp.Population(net, [tp.Member(c, seed=i) for i, c in enumerate(cocktails)], data, **settings).run()
    for i, cocktail in enumerate(cocktails):
        (alone,) = tp.Population(net, [tp.Member(cocktail, seed=i)], data, **settings).run()
        final, other = alone.final, together[i].final
        assert final is not None and other is not None
        for name, value in final.items():
            torch.testing.assert_close(value, other[name], rtol=0.0, atol=0.0)
