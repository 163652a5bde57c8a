"""Noise on the inputs of a network that is not linear: a penalty on the slope of its function, not on its weights."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws

SIGMAS = (0.01, 0.03, 0.1, 0.3, 1.0)
COPIES = 4000


@cache
def trained(seed: int, hidden: bool) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """A network of 16 tanh units, or a linear one, after 300 steps on sixty rows of a curved function, with these rows."""
    x = draws(seed, 60, 3)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:]
    net = tp.nets.MLP(3, 1, hidden=(16,) if hidden else (), activation="tanh").double()
    tp.nets.initialize(net, seed)
    data = tp.data.Dataset(x, y, "regression")
    done = tp.fit(
        net, [tp.Member(tp.Cocktail(), tp.optim.Adam(0.02), seed)], data, validation=None, early_stopping=None, steps=300, batch_size=60, check_every=300
    )
    return done.member(0), x, y


def added(net: Any, x: torch.Tensor, y: torch.Tensor, sigma: float, seed: int) -> float:
    """What noise adds to the mean squared error; noise and its mirror image together, so that few copies are exact enough."""
    noise = sigma * draws(seed + 1000, COPIES, *x.shape)
    noise = noise - noise.mean(0)
    with torch.no_grad():
        errors = [(net((x + sign * noise).flatten(0, 1)) - y.repeat(COPIES, 1)).square().mean() for sign in (1, -1)]
        return float(sum(errors) / 2 - (net(x) - y).square().mean())


def penalties(net: Any, x: torch.Tensor, y: torch.Tensor, sigma: float) -> dict[str, float]:
    """σ² times the mean squared slope; the same with the term of the curvature; and σ² times the squared weights."""
    at = x.clone().requires_grad_()
    guess = net(at)
    (g,) = torch.autograd.grad(guess.sum(), at, create_graph=True)
    second = [torch.autograd.grad(g[:, k].sum(), at, retain_graph=True, materialize_grads=True)[0][:, k] for k in range(x.shape[1])]
    slope, bend, error = g.detach().square().sum(1), torch.stack(second).sum(0), (guess - y).detach()[:, 0]
    squares = sum(p.detach().square().sum() for name, p in net.named_parameters() if name.endswith("weight"))
    return {
        "slope": sigma**2 * float(slope.mean()),
        "slope and curvature": sigma**2 * float((slope + error * bend).mean()),
        "weights": sigma**2 * float(squares),
    }


class NoiseOnANetwork(Experiment):
    topic = "Noise and dropout"
    question = "Is noise on the inputs L2 in a network with hidden units, too?"
    claim = (
        "No: noise of variance σ² adds about σ² times the mean squared slope of the function, which in a network of tanh "
        "units is less than half of σ² ‖w‖². In a linear network the two are the same."
    )
    source = f"{WHITEHILL_14}, L2 regularization ≅ Gaussian noise augmentation: non-linear networks"
    expect = "In linear regression noise on the inputs is L2. What does it shrink where the weights are no longer the slope?"
    rules = (every("added by noise: gap to σ² times the squared slope", "<", 0.03), every("added by noise: σ² ‖w‖² to it", ">", 2.0))
    control = "A linear network, whose slope is its weights."
    next = "Train with `tp.InputNoise(0.3)` and with `tp.L2`: both lower the slope, one of them without small weights."
    limits = "Small σ. At σ = 0.3 the slope alone says 3 to 9 % too much, at σ = 1 half as much again: noise then reaches where the slope is another."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        net, x, y = trained(seed, not control)
        cost, parts = added(net, x, y, 0.03, seed), penalties(net, x, y, 0.03)
        return {
            "added by noise: gap to σ² times the squared slope": abs(parts["slope"] / cost - 1),
            "added by noise: gap with the term of the curvature": abs(parts["slope and curvature"] / cost - 1),
            "added by noise: σ² ‖w‖² to it": parts["weights"] / cost,
        }

    def draw(self) -> Slider:
        names = ("tanh units", "linear")
        nets = [trained(0, hidden) for hidden in (True, False)]
        charts = []
        for sigma in SIGMAS:
            costs = [added(*each, sigma, 0) / sigma**2 for each in nets]
            parts = [{name: value / sigma**2 for name, value in penalties(*each, sigma).items()} for each in nets]
            lines = [Line("added by noise", range(2), costs, "bars"), Line("squared slope", range(2), [part["slope"] for part in parts], "bars")]
            lines.append(Line("squared weights", range(2), [part["weights"] for part in parts], "bars"))
            note = f"σ = {sigma:g}: noise adds {costs[0]:.2f} σ²; the slope says {parts[0]['slope']:.2f} σ², the weights {parts[0]['weights']:.1f} σ²."
            charts.append(Chart("network", "penalty, over σ² (log scale)", lines, log_y=True, names=names, note=note))
        return Slider("σ", "sigma", SIGMAS, charts, start=1)
