"""BatchNorm by plain operations, products in any slot, and steps that are traced once and replayed."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.data.dataset import Dataset
from temperance.train.member import Member
from temperance.train.population import Population
from temperance.train.steady import SteadyNorm, steady, steady_products
from temperance.train.trace import Traced

NORMS: list[tuple[type[nn.Module], tuple[int, ...]]] = [
    (nn.BatchNorm1d, (9, 5)),
    (nn.BatchNorm1d, (9, 5, 4)),
    (nn.BatchNorm2d, (9, 5, 4, 3)),
    (nn.BatchNorm3d, (6, 5, 2, 3, 2)),
]


@pytest.mark.parametrize(("kind", "shape"), NORMS)
@pytest.mark.parametrize("settings", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"eps": 1e-2, "momentum": 0.3}])
def test_a_steady_norm_is_the_norm(kind: Any, shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    theirs = kind(5, **settings).double()
    mine = copy.deepcopy(theirs)
    steady(mine)
    assert isinstance(mine, SteadyNorm) and isinstance(mine, kind) and repr(mine) == repr(theirs)
    g = torch.Generator().manual_seed(0)
    x = torch.zeros(())
    for _ in range(3):
        x = 3 * torch.randn(shape, generator=g).double() + 1
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        out, expected = mine(a), theirs(b)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(torch.autograd.grad(out.sin().sum(), a)[0], torch.autograd.grad(expected.sin().sum(), b)[0])
    torch.testing.assert_close(dict(mine.state_dict()), dict(theirs.state_dict()))
    torch.testing.assert_close(mine.eval()(x), theirs.eval()(x))


def test_what_torch_refuses_is_refused() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3))
    steady(net)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        net(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="expected 2D or 3D input"):
        net(torch.zeros(2, 3, 4, 5))


ACTIVATIONS = [
    nn.Sigmoid(),
    nn.SiLU(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.ELU(),
    nn.ELU(0.3),
    nn.CELU(0.7),
    nn.SELU(),
    nn.Softplus(),
    nn.Softplus(2.5),
    nn.Mish(),
]


@pytest.mark.parametrize("theirs", ACTIVATIONS, ids=repr)
@pytest.mark.parametrize("n", [64, 77])
def test_a_steady_activation_is_the_activation(theirs: nn.Module, n: int) -> None:
    """Values and slopes, far out too; torch's own kernel where it fills its vectors."""
    mine = copy.deepcopy(theirs)
    steady(mine)
    assert repr(mine) == repr(theirs) and isinstance(mine, type(theirs)) and type(mine) is not type(theirs)
    x = torch.cat([torch.linspace(-8, 8, n - 6), torch.tensor([0.0, 1e-3, 40.0, -40.0, 200.0, -200.0])]).double()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = mine(a), theirs(b)
    torch.testing.assert_close(out, expected, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(torch.autograd.grad(out.sum(), a)[0], torch.autograd.grad(expected.sum(), b)[0], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("module", ACTIVATIONS, ids=repr)
def test_an_element_has_the_same_bits_in_any_place(module: nn.Module) -> None:
    mine = copy.deepcopy(module)
    steady(mine)
    for n in (1, 7, 33, 77):
        x = 3 * torch.randn(5, n, generator=torch.Generator().manual_seed(n))
        together = torch.vmap(mine)(x)
        assert all(torch.equal(together[i], torch.vmap(mine)(x[i : i + 1])[0]) for i in range(5))


def test_norms_of_ones_own_stay() -> None:
    class Own(nn.BatchNorm1d):
        pass

    net = nn.Sequential(Own(3), nn.BatchNorm1d(3))
    steady(net)
    assert type(net[0]) is Own and isinstance(net[1], SteadyNorm)


def test_products_are_steady_here() -> None:
    """The package asks MKL for the same bits at any address; the tests rest on it."""
    assert steady_products() and os.environ["MKL_CBWR"]


def test_the_plan_says_where_products_are_not_steady() -> None:
    """In a process that multiplied matrices before temperance was imported, where that matters."""
    script = (
        "import torch; torch.set_num_threads(1); torch.randn(50, 50) @ torch.randn(50, 50)\n"
        "import temperance as tp\n"
        "from temperance.train.steady import steady_products\n"
        "data = tp.data.as_dataset(torch.randn(8, 3).numpy(), [0, 1] * 4)\n"
        "plan = tp.Population(torch.nn.Linear(3, 2), [tp.Member()], data, batch_size=4).plan()\n"
        "assert ('import temperance before the first product' in plan) == (not steady_products()), plan\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("outputs", [1, 2])
def test_two_threads(outputs: int) -> None:
    """Alone as in company at two threads, too, where a single product would be shared out among them."""
    torch.set_num_threads(2)
    g = torch.Generator().manual_seed(0)
    data = Dataset(torch.randn(256, 7, generator=g), torch.randn(256, outputs, generator=g), "regression")
    net = tp.nets.MLP(7, outputs, hidden=(13, 5))
    members = [Member(tp.Cocktail(), tp.optim.SGD(0.1), seed) for seed in range(4)]

    def finals(chosen: list[Member]) -> list[dict[str, Tensor]]:
        made = Population(net, chosen, data, batch_size=128, total_steps=4)
        return [o.final or {} for o in made.run()]

    together, alone = finals(members), finals(members[2:3])
    assert all(torch.equal(together[2][name], t) for name, t in alone[0].items())


# Tracing


class Counted:
    """A function that counts its own calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, a: Tensor, tree: dict[str, Tensor]) -> Any:
        self.calls += 1
        return a.sin() * tree["b"], {"sum": a.sum()}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    from temperance.train import trace

    monkeypatch.setattr(trace, "REPAID", 5)


@pytest.mark.usefixtures("soon")
def test_a_function_is_replayed_where_it_pays() -> None:
    function = Counted()
    traced = Traced(function)
    for i in range(6):
        a = torch.randn(3)
        out = traced(a, {"b": a + 1}, ahead=100)
        assert torch.equal(out[0], a.sin() * (a + 1)) and torch.equal(out[1]["sum"], a.sum())
        assert traced.traced is (i >= 1)
    calls = function.calls
    traced(torch.randn(3), {"b": torch.ones(3)}, ahead=100)
    assert function.calls == calls
    rare = Traced(Counted())
    for _ in range(6):
        rare(torch.randn(3), {"b": torch.ones(3)}, ahead=4)
    assert not rare.traced


@pytest.mark.usefixtures("soon")
def test_other_arguments_end_a_trace() -> None:
    traced = Traced(lambda tree: {name: 2 * t for name, t in tree.items()})
    for _ in range(3):
        traced({"a": torch.ones(2)}, ahead=100)
    assert traced.traced
    assert list(traced({"a": torch.ones(2), "b": torch.ones(2)}, ahead=100)) == ["a", "b"]
    assert not traced.traced
