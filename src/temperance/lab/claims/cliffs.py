"""A cliff: a step off it lands anywhere, a clipped one does not."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every

DEPTH, RATE, LIMIT = 10, 0.005, 10.0


class Deep(torch.nn.Module):
    """One weight, used ten times over: y = w¹⁰ x."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([[start]], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs ``(rows, 1)``."""
        return x @ self.w**DEPTH


@cache
def path(start: float, limit: float, steps: int = 100) -> list[float]:
    """The weight before every step and after the last; the target is w = 1."""
    net = Deep(start)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    cocktail = tp.Cocktail(tp.GradClip(limit)) if limit < float("inf") else tp.Cocktail()
    reg = cocktail.attach(net, optimizer, torch.nn.MSELoss())
    one, out = torch.ones(1, 1, dtype=torch.float64), [start]
    for _ in range(steps):
        reg.loss(one, one).backward()
        optimizer.step()
        optimizer.zero_grad()
        out.append(float(net.w.detach()))
        if not abs(out[-1]) < 1e6:
            break
    reg.detach()
    return out


class Cliffs(Experiment):
    topic = "Optimization"
    question = "What does a cliff do to a step of descent?"
    claim = "Ten factors of the same weight make a wall: at w = 1.5 one step leaps two hundred units away. With the gradient's norm clipped it walks down."
    source = f"{PATHAK}, cliffs and exploding gradients"
    expect = "y = w¹⁰ should be 1, and w is 1.5: half a unit off. Where is w after one step with a learning rate of .005?"
    rules = (every("distance of the first step", "<", 0.1), every("distance from the minimum after 100 steps", "<", 0.01))
    control = "No clipping."
    seeds = 1
    next = "Begin at w = .3, on the plateau below the wall: clipping cannot help there, the gradient is too small."
    limits = "Clipping chooses the length of the step, not its direction; in more dimensions it keeps the direction, clipping by value does not."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        weights = path(1.5, float("inf") if control else LIMIT)
        return {"distance of the first step": abs(weights[1] - weights[0]), "distance from the minimum after 100 steps": abs(weights[-1] - 1.0)}

    def draw(self) -> Slider:
        starts = [0.6, 0.9, 1.1, 1.2, 1.5]
        charts = []
        for start in starts:
            lines = []
            for name, limit in (("clipped at norm 10", LIMIT), ("not clipped", float("inf"))):
                weights = path(start, limit)
                gone = next((k for k, w in enumerate(weights) if abs(w) > 2), len(weights))
                kept = [max(min(w, 2.0), -2.0) for w in weights[: gone + 1]]
                lines.append(Line(name, range(len(kept)), kept))
            plain = path(start, float("inf"))
            far = f"after one step w = {plain[1]:.4g}" if abs(plain[1]) > 5 else f"w ends at {plain[-1]:.3f}" if abs(plain[-1]) < 5 else "w leaves"
            charts.append(
                Chart("step", "w, cut off at ±2", lines, note=f"From w = {start:g} without clipping {far}; clipped w ends at {path(start, LIMIT)[-1]:.3f}.")
            )
        return Slider("w at the start", "start", starts, charts, start=4)
