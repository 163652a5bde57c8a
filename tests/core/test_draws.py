"""Random numbers from a generator of the block."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.draws import Draws, PythonDraws
from temperance.nets.init import build_seeded

X = torch.linspace(-1, 1, 12).reshape(4, 3)
DRAWING: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(3),
    "randint": lambda: torch.randint(0, 9, (5,)),
    "randint_like": lambda: torch.randint_like(X, 9),
    "rand_like": lambda: torch.rand_like(X),
    "randn_like": lambda: torch.randn_like(X),
    "randperm": lambda: torch.randperm(9),
    "normal": lambda: torch.normal(0.0, 1.0, (3,)),
    "bernoulli": lambda: torch.bernoulli(X.sigmoid()),
    "multinomial": lambda: torch.multinomial(X.exp(), 2),
    "dropout": lambda: F.dropout(X, 0.5),
    "dropout with a gradient": lambda: F.dropout(X.clone().requires_grad_(), 0.5).detach(),
    "dropout2d": lambda: F.dropout2d(X[None, None], 0.5),
    "dropout as on a GPU": lambda: torch.native_dropout(X, 0.3, True)[0],
    "its mask": lambda: torch.native_dropout(X, 0.3, None)[1],
    "everything dropped": lambda: torch.cat([h.double() for h in torch.native_dropout(X, 1.0, True)]),
    "rrelu": lambda: F.rrelu(X, training=True),
    "attention": lambda: F.scaled_dot_product_attention(X[None], X[None], X[None], dropout_p=0.5),
    "layer": lambda: nn.Linear(3, 3).weight.detach(),
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(3, 3)),
    "beta": lambda: torch.distributions.Beta(2.0, 1.0).sample(),
}


@pytest.mark.parametrize("name", DRAWING)
def test_numbers_are_those_of_the_seed_and_the_global_generator_rests(name: str) -> None:
    draw = DRAWING[name]
    before = torch.get_rng_state()
    with Draws(3) as one:
        first = draw()
    assert one.drew and torch.equal(torch.get_rng_state(), before)
    torch.randn(7)
    with Draws(3):
        assert torch.equal(draw(), first)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        assert torch.equal(draw(), first), "not the numbers of torch.manual_seed(3)"


def test_what_has_its_own_generator_or_draws_nothing_is_left_alone() -> None:
    own = torch.Generator().manual_seed(5)
    with Draws(3) as block:
        given = torch.rand(2, generator=own)
        F.dropout(X, 0.0)
        F.scaled_dot_product_attention(X[None], X[None], X[None])
        nn.Dropout(0.5).eval()(X)
        torch.native_dropout(X, 0.5, False)
        nn.RReLU().eval()(X)
        F.rrelu(X)
    assert block.drew == []
    assert torch.equal(given, torch.rand(2, generator=torch.Generator().manual_seed(5)))


def test_blocks_within_each_other_have_numbers_of_their_own() -> None:
    with Draws(1):
        outer = torch.rand(2)
        with Draws(2):
            inner = torch.rand(2)
        again = torch.rand(2)
    assert torch.equal(inner, torch.rand(2, generator=torch.Generator().manual_seed(2)))
    assert torch.equal(torch.cat([outer, again]), torch.rand(4, generator=torch.Generator().manual_seed(1)))


def test_draws_of_python_are_stopped_before_they_happen() -> None:
    state = random.getstate()
    for draw in (random.random, lambda: random.gauss(0, 1), lambda: random.shuffle([1, 2, 3])):
        seen = PythonDraws()
        with pytest.raises(RuntimeError, match="global generator"), seen:
            draw()
        assert seen.drew and sys.getprofile() is None
    assert random.getstate() == state
    with PythonDraws() as seen:
        random.Random(0).random()
        np.random.default_rng(0).random()
    assert not seen.drew


class Noisy(nn.Module):
    """Draws in its forward pass from where it is told."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.linear, self.draw = nn.Linear(3, 2), draw

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.draw()


@pytest.mark.parametrize("draw", [lambda: float(torch.rand(())), random.random, lambda: random.SystemRandom().random()])
def test_a_network_that_draws_from_elsewhere_is_refused(draw: Callable[[], float]) -> None:
    data = (X.numpy(), np.array([0, 1, 0, 1]))
    with pytest.raises(tp.ConfigError, match="draws random numbers from a global generator"):
        tp.fit(Noisy(draw), tp.Cocktail(), data, validation=None, steps=1)
    tp.fit(Noisy(lambda: 2.0), tp.Cocktail(), data, validation=None, steps=1)


def test_other_threads_may_draw_meanwhile() -> None:
    """The network is not refused for what they draw, and their generators are never set back."""
    stop, drawn = threading.Event(), list[float]()

    def noise() -> None:
        while not stop.is_set():
            drawn.append(random.random())
            torch.rand(3)

    thread = threading.Thread(target=noise)
    data = (X.numpy(), np.array([0, 1, 0, 1]))
    alone = tp.fit(build_seeded(lambda: nn.Linear(3, 2), 0), tp.Cocktail(), data, validation=None, steps=3).model
    thread.start()
    try:
        beside = [tp.fit(build_seeded(lambda: nn.Linear(3, 2), 0), tp.Cocktail(), data, validation=None, steps=3).model for _ in range(5)]
    finally:
        stop.set()
        thread.join(10)
    assert all(torch.equal(model.weight, alone.weight) for model in beside)
    assert len(set(drawn)) == len(drawn) > 0
