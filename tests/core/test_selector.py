from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from temperance.core.choice import OneOf
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.core.program import Program
from temperance.core.selector import AllParameters, Hidden, Named, Nothing, OfType, Units, Weights, modules_matching, outputs_of, selector_of
from temperance.regularizers import L1, L2, ActivationSparsity, Dropout, WeightDecay


class Net(nn.Module):
    """One of everything that a weight selector has to tell apart."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.conv = nn.Conv1d(3, 3, 1)
        self.norm = nn.BatchNorm1d(3)
        self.layer_norm = nn.LayerNorm([3, 2])
        self.act = nn.ReLU()
        self.free = nn.Parameter(torch.zeros(2, 2))
        self.gain = nn.Parameter(torch.zeros(3))
        self.out = nn.Linear(3, 1)


class Own(nn.Module):
    embedding = True

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)


def test_weights_are_decided_by_module_type_then_dimension() -> None:
    assert Weights().match(Net()) == ["free", "conv.weight", "out.weight"]
    assert Weights().match(nn.Sequential(Own(), nn.Linear(2, 1))) == ["1.weight"]


def test_other_selectors() -> None:
    net = Net()
    assert AllParameters().match(net) == [name for name, _ in net.named_parameters()]
    assert Named("conv.*|out.bias").match(net) == ["conv.weight", "conv.bias", "out.bias"]
    assert OfType("Linear").match(net) == ["out.weight"]
    assert Named("act").match_modules(net) == ["act"]
    assert Hidden().match(net) == ["act"]


def test_patterns_may_have_blanks_around_their_parts_and_never_mean_the_whole_network() -> None:
    net = Net()
    assert Named("conv.* | out.bias ").match(net) == ["conv.weight", "conv.bias", "out.bias"]
    assert Named("*").match_modules(net) == [name for name, _ in net.named_modules() if name]
    assert "" not in Named("*").candidates(net)


def test_a_type_is_meant_with_its_subclasses() -> None:
    class Mine(nn.Linear):
        pass

    net = nn.Sequential(Mine(2, 2), nn.ReLU(), nn.Linear(2, 1))
    assert OfType("Linear").match(net) == ["0.weight", "2.weight"] and OfType("Mine").match(net) == ["0.weight"]
    assert outputs_of(nn.Linear).match(net) == ["0"] == outputs_of(Mine).match(net)


def test_calls_that_no_pass_has_shown_belong_to_the_last_layer_of_a_module_that_is_meant_as_a_whole() -> None:
    units = Units({"a": {0: 3, 1: 5}, "b": {}, "c": {0: 1}}, frozenset({"a", "b"}))
    assert [units.layer("a", call) for call in (0, 1, 2, 99)] == [3, 5, 5, 5]
    assert (units.layer("b", 4), units.layer("c", 0), units.layer("c", 1), units.layer("d", 0)) == (0, 1, None, None)
    assert units.count == 3 and Units({"a": {0: 3, 1: 5, 2: 7}, "b": {0: 3}}).count == 3


@pytest.mark.parametrize("where", ["0.*", AllParameters(), Weights()])
def test_parameters_are_not_drawn(where: Any) -> None:
    with pytest.raises(ConfigError, match=r"OneOf"):
        Program(Cocktail(L2(0.1, where=OneOf(where))), nn.Sequential(nn.Linear(2, 2)), SquaredError())


def test_hidden_units_are_never_output_units() -> None:
    assert Hidden().match(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Tanh())) == ["1"]
    assert outputs_of(nn.Linear).match(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))) == ["0", "1"]
    assert outputs_of("Linear", except_output=False).match(nn.Sequential(nn.Linear(2, 2))) == ["0"]


def test_tied_parameters_count_once() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False))
    net[2].weight = net[0].weight
    program = Program(Cocktail(L2(1.0)), net, SquaredError())
    assert program.selected["l2"] == ("0.weight",)


def embedded(net: nn.Module) -> nn.Module:
    net.embedding = True  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType] -- how a module says that it is one
    return net


class Tied(nn.Module):
    """One tensor under two names, registered in either order."""

    def __init__(self, one: nn.Module, other: nn.Module, reverse: bool) -> None:
        super().__init__()
        parts = {"one": one, "other": other}
        for name in sorted(parts, reverse=reverse):
            setattr(self, name, parts[name])
        matrix(self.other).weight = matrix(self.one).weight


def matrix(module: nn.Module) -> Any:
    return next(m for m in module.modules() if isinstance(getattr(m, "weight", None), Tensor))


TIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], bool]] = {
    "a table and an output layer": (lambda: nn.Embedding(3, 3), lambda: nn.Linear(3, 3), True),
    "a table in a module that says it is one": (lambda: embedded(nn.Sequential(nn.Linear(3, 3))), lambda: nn.Linear(3, 3), True),
    "two tables": (lambda: nn.Embedding(3, 3), lambda: nn.Embedding(3, 3), False),
    "a norm and a layer": (lambda: nn.LayerNorm([3, 3]), lambda: nn.Linear(3, 3), True),
    "two layers": (lambda: nn.Linear(3, 3), lambda: nn.Linear(3, 3), True),
}


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_tied_tensor_is_what_any_of_its_owners_makes_of_it(tie: str, reverse: bool) -> None:
    one, other, weighs = TIES[tie]
    net = Tied(one(), other(), reverse)
    (tied,) = {name for name, p in net.named_parameters() if p is matrix(net.one).weight}
    assert tied.startswith("other" if reverse else "one")
    assert (tied in Weights().match(net)) is weighs and Weights().match(net) in ([], [tied])
    for module in (net.one, net.other):
        assert tied in OfType(type(matrix(module)).__name__).match(net)
    for pattern in ("one*.weight", "other*.weight", "*.weight"):
        assert Named(pattern).match(net) == [tied]
    if weighs:
        assert Program(Cocktail(L2(1.0)), net, SquaredError()).selected["l2"] == (tied,)
        assert "tied: " in Cocktail(L2(1.0)).describe(net)


def test_a_module_under_two_names_answers_to_both() -> None:
    shared = nn.ReLU()
    net = nn.Sequential(nn.Linear(2, 2), shared, nn.Linear(2, 2), shared, nn.Linear(2, 1))
    assert Named("1").match_modules(net) == Named("3").match_modules(net) == ["1"]
    assert Hidden().match(net) == ["1"]


def test_a_selector_that_matches_nothing_names_near_matches() -> None:
    net = Net()
    with pytest.raises(ConfigError, match=r"`where` of L2 is Named\(pattern='conv.wieght'\) and matches nothing in Net\. Near names: conv\.weight"):
        Program(Cocktail(L2(0.1, where="conv.wieght")), net, SquaredError())
    with pytest.raises(ConfigError, match=r"`where` of Dropout .* matches no module of Net\. Near names: .*act"):
        Program(Cocktail(Dropout(where="acts")), net, SquaredError())
    with pytest.raises(ConfigError, match=r"`where` of L1 .* matches nothing in Sequential\. Its parameters are none"):
        Program(Cocktail(L1(0.1)), nn.Sequential(nn.ReLU()), SquaredError())
    with pytest.raises(ConfigError, match=r"no activation modules .* where=tp.selectors.outputs_of\(nn.Linear, except_output=True\)"):
        Program(Cocktail(Dropout()), nn.Linear(2, 1), SquaredError())
    with pytest.raises(ConfigError, match=r"Its module types are .*Conv1d"):
        Program(Cocktail(Dropout(where=outputs_of("LSTM"))), net, SquaredError())


def test_parameters_and_modules_are_not_confused() -> None:
    net = Net()
    with pytest.raises(ConfigError, match=r"`where` of Dropout is Weights\(\), which selects parameters; Dropout acts on hidden units"):
        Program(Cocktail(Dropout(where=Weights())), net, SquaredError())
    for where in (Hidden(), None):
        with pytest.raises(ConfigError, match=r"`where` of L2 is \w+\(\), which selects hidden units; L2 acts on parameters"):
            Program(Cocktail(L2(0.1, where=where)), net, SquaredError())
    assert Program(Cocktail(ActivationSparsity(where="act")), net, SquaredError()).modules["activation_sparsity"] == ("act",)


def test_selectors_from_words() -> None:
    assert selector_of("a.*", "L2") == Named("a.*") and selector_of(None, "Dropout") == Nothing() and selector_of(Weights(), "L2") == Weights()
    with pytest.raises(ConfigError, match="to be a selector or a name pattern"):
        selector_of(7, "L2")
    with pytest.raises(ConfigError, match="acts on hidden units"):
        modules_matching(AllParameters(), Net(), "Dropout")


def test_only_selected_parameters_change_whatever_the_group() -> None:
    """Two weights are selected; a group of just the two biases must not be taken for them."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    program = Program(Cocktail(WeightDecay(0.5, scale="none")), net, SquaredError())
    from tests.regularizers.helpers import Loop

    moment = Loop(Cocktail(), net, SquaredError()).moment(0.1)
    biases = {"0.bias": torch.ones(2), "1.bias": torch.ones(2)}
    values = {"weight_decay.lam": torch.tensor(0.5)}
    assert all(torch.equal(v, torch.ones(2)) for v in program.after_step(biases, {}, values, moment).values())
    part = {"0.weight": torch.ones(2, 2), "1.bias": torch.ones(2)}
    changed = program.after_step(part, {}, values, moment)
    assert torch.equal(changed["0.weight"], torch.full((2, 2), 0.5)) and torch.equal(changed["1.bias"], torch.ones(2))
