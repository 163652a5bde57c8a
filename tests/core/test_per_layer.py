import pytest
import torch
from torch import nn

import temperance as tp
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.core.per_layer import per_layer
from temperance.core.program import Program
from temperance.core.regularizer import Regularizer


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def test_each_matrix_has_its_own() -> None:
    made = per_layer(tp.ElasticNet, net(), alpha={"0.weight": 0.1, "3.weight": 0.2}, beta=0.3)
    assert [r.label for r in made] == ["elastic_net_0_weight", "elastic_net_3_weight"]
    cocktail = Cocktail(*made)
    assert cocktail.strengths() == {
        "elastic_net_0_weight.alpha": 0.1,
        "elastic_net_0_weight.beta": 0.3,
        "elastic_net_3_weight.alpha": 0.2,
        "elastic_net_3_weight.beta": 0.3,
    }
    program = Program(cocktail, net(), SquaredError())
    assert program.selected == {"elastic_net_0_weight": ("0.weight",), "elastic_net_3_weight": ("3.weight",)}
    assert Cocktail.from_json(cocktail.to_json()).strengths() == cocktail.strengths()


def test_together_they_are_the_one() -> None:
    """Equal strengths everywhere give the penalty of the regularizer that acts on all."""
    model = net()
    params = dict(model.named_parameters())
    whole = tp.L2(0.3).bind().penalty({name: params[name] for name in ("0.weight", "3.weight")}, {}, tp.Context())
    parts = [
        r.bind().penalty({name: params[name]}, {}, tp.Context()) for r, name in zip(per_layer(tp.L2, model, lam=0.3), ("0.weight", "3.weight"), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_a_search_space_has_a_strength_for_every_layer() -> None:
    cocktail = Cocktail(*per_layer(tp.L1, net(), mode="subgradient"))
    assert list(cocktail.specs()) == ["l1_0_weight.lam", "l1_3_weight.lam"]
    assert all(r.wants("penalty") and not r.wants("after_step") for r in cocktail)
    members = cocktail.grid(l1_0_weight__lam=[0.1, 0.2], l1_3_weight__lam=[0.0, 0.3])
    assert len({tuple(c.strengths().values()) for c in members}) == 4


def test_where_says_which() -> None:
    assert [r.label for r in per_layer(tp.L2, net(), where="*.bias")] == ["l2_0_bias", "l2_1_bias", "l2_3_bias"]


def test_names_that_become_equal_are_told_apart() -> None:
    model = nn.ModuleDict({"a": nn.ModuleDict({"b_c": nn.Linear(2, 2, bias=False)}), "a_b": nn.ModuleDict({"c": nn.Linear(2, 2, bias=False)})})
    assert [r.label for r in per_layer(tp.L2, model)] == ["l2_a_b_c_weight", "l2_a_b_c_weight_2"]


def test_a_searched_cocktail_trains() -> None:
    X = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    y = X[:, :2] ** 2
    cocktail = Cocktail(*per_layer(tp.L2, net(), lam={"0.weight": 10.0, "3.weight": 0.0}))
    done = tp.fit(net(), cocktail, (X.numpy(), y.numpy()), optimizer=tp.optim.SGD(0.05), epochs=20, batch_size=10)
    size = {name: w.detach().abs().max().item() for name, w in done.model.named_parameters()}
    start = {name: w.detach().abs().max().item() for name, w in net().named_parameters()}
    assert size["0.weight"] < 0.5 * start["0.weight"] and size["3.weight"] > 0.5 * start["3.weight"]


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (tp.Dropout, {}, "Expected `cls` of per_layer to be a regularizer whose `where` selects parameters, got 'Dropout'"),
        (tp.EMA, {}, "Expected `cls` of per_layer .*, got 'EMA'"),
        (nn.Linear, {}, "Expected `cls` of per_layer .*, got 'Linear'"),
        (tp.L2, {"lam": {"0.weight": 0.1}}, r"Expected `lam` of L2 to map each of 0\.weight, 3\.weight to a number, got .*'3\.weight' has no number"),
        (tp.L2, {"lam": {"0.weight": 0.1, "3.weight": 0.1, "9.weight": 1.0}}, r"'9\.weight' is none of them"),
        (tp.L2, {"lam": -1.0}, "Expected `lam` of L2 in"),
        (tp.L2, {"alpha": 1.0}, "L2 has no field 'alpha'"),
        (tp.L2, {"where": "nothing*"}, "matches nothing"),
    ],
)
def test_what_cannot_be(cls: type[Regularizer], fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        per_layer(cls, net(), **fields)
