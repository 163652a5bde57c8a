"""The final network of dropout, against the average over its thinned networks."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, PATHAK, WHITEHILL_14, WHITEHILL_22, Chart, Experiment, Line, every
from temperance.lab.rows import network, split, trained

RATE = 0.5
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)


def log_loss(p: torch.Tensor, y: Any) -> float:
    """Of probabilities."""
    return float(-(y * p.clamp_min(1e-12).log()).sum(1).mean())


@cache
def found(seed: int) -> dict[str, Any]:
    """Predictions on test rows: of single thinned networks, of the final one, and of the same one with its weights not scaled."""
    train, _, test = split(seed, 300)
    (net,) = trained(network(train, 100, seed), train, [tp.Cocktail(tp.Dropout(RATE))], seed, steps=400)
    x: Any = test.x
    hidden, output = torch.relu(net.get_submodule(first(net))(x)), net.get_submodule(last(net))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        masks = (torch.rand((max(COUNTS), 1, hidden.shape[1]), generator=generator) >= RATE) / (1 - RATE)
        thinned = torch.softmax(output(hidden * masks), 2)
        return {"thinned": thinned, "final": torch.softmax(net(x), 1), "not scaled": torch.softmax(output(hidden / (1 - RATE)), 1), "y": test.y}


def first(net: Any) -> str:
    """The name of the first linear layer."""
    return next(name for name, module in net.named_modules() if isinstance(module, torch.nn.Linear))


def last(net: Any) -> str:
    """The name of the output layer."""
    return [name for name, module in net.named_modules() if isinstance(module, torch.nn.Linear)][-1]


class DropoutEnsemble(Experiment):
    topic = "Noise and dropout"
    question = "Is a network trained with dropout an average of many networks?"
    claim = "Roughly: its predictions lie half as far from the mean over its thinned networks as one of these does, and predict better than one."
    source = f"{WHITEHILL_22} and {WHITEHILL_14}, ensemble of many smaller networks; {PATHAK}, dropout; {LEGENSTEIN}, dropout: final network"
    expect = "Two hundred thinned networks share their weights. Does one pass of the whole network say what all of them say on average?"
    rules = (
        every("distance of the final network from the mean, to that of a thinned one", "<", 0.75),
        every("log-loss, final minus one thinned network", "<", 0.0),
    )
    control = "Weights that are not multiplied by the keep probability."
    next = "`tp.train.monte_carlo` averages the thinned networks and says how much they differ."
    limits = "No rescaling meets the mean of probabilities exactly (`weight_scaling`). Members share their weights, and differ less than networks of their own."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed)
        mean, final = rows["thinned"].mean(0), rows["not scaled" if control else "final"]
        one = float((rows["thinned"] - mean).abs().sum(2).mean())
        losses = [log_loss(p, rows["y"]) for p in rows["thinned"][:50]]
        return {
            "distance of the final network from the mean, to that of a thinned one": float((final - mean).abs().sum(1).mean()) / one,
            "log-loss, final minus one thinned network": log_loss(final, rows["y"]) - sum(losses) / len(losses),
            "log-loss, final minus mean of all": log_loss(final, rows["y"]) - log_loss(mean, rows["y"]),
        }

    def draw(self) -> Chart:
        rows = found(0)
        means = [log_loss(rows["thinned"][:n].mean(0), rows["y"]) for n in COUNTS]
        lines = [
            Line("mean of so many thinned networks", COUNTS, means),
            Line("final network, one pass", [1, COUNTS[-1]], [log_loss(rows["final"], rows["y"])] * 2),
            Line("weights not scaled", [1, COUNTS[-1]], [log_loss(rows["not scaled"], rows["y"])] * 2),
        ]
        return Chart("thinned networks (log scale)", "log-loss on test rows", lines, log_x=True, low=0, note="300 training rows, rate 0.5, 100 hidden units.")
