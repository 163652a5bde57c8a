"""A point without slope that is no minimum: what the eigenvalues say, and what two methods do there."""

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import basis

RATE, START = 0.1, 1e-6


def hessian(seed: int, signs: tuple[float, ...] = (1.0, -1.0)) -> torch.Tensor:
    """Of a quadratic with curvatures of these signs, in turned axes."""
    turn = basis(seed, 2)
    return turn @ torch.diag(torch.tensor(signs, dtype=torch.float64)) @ turn.T


def descent(h: torch.Tensor, start: torch.Tensor, steps: int, newton: bool) -> list[float]:
    """Distance from the point without slope before each step and after the last."""
    x, out = start.clone(), [float(start.norm())]
    for _ in range(steps):
        slope = h @ x
        x = x - (torch.linalg.solve(h, slope) if newton else RATE * slope)
        out.append(float(x.norm()))
    return out


class Saddles(Experiment):
    topic = "Optimization"
    question = "Does training end at a saddle?"
    claim = "A Hessian with eigenvalues of both signs marks a saddle. Descent stays near it for a while, then leaves; Newton's method jumps right onto it."
    source = f"{PATHAK}, plateaus, saddle points and other flat regions (positive and negative eigenvalues of the Hessian)"
    expect = "Start a millionth beside the saddle. How many steps of descent does it take to come one unit away?"
    rules = (
        every("smallest eigenvalue", "<", 0.0),
        every("distance after 200 steps of descent", ">", 1.0),
        every("distance after one step of Newton's method", "<", 1e-12),
    )
    control = "The same point with both curvatures positive: a minimum."
    next = "`real_saddle`: such a point of a network, and the way out."
    limits = "Descent leaves unless it starts exactly on the ridge; the number of steps grows with the logarithm of the distance: a plateau of loss."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        h = hessian(seed, (1.0, 1.0) if control else (1.0, -1.0))
        start = START * torch.linalg.eigh(h)[1][:, 0] + 0.5 * torch.linalg.eigh(h)[1][:, 1]
        return {
            "smallest eigenvalue": float(torch.linalg.eigvalsh(h)[0]),
            "distance after 200 steps of descent": descent(h, start, 200, newton=False)[-1],
            "distance after one step of Newton's method": descent(h, start, 1, newton=True)[-1],
        }

    def draw(self) -> Slider:
        starts = [1e-12, 1e-9, 1e-6, 1e-3, 0.1]
        charts = []
        for size in starts:
            h = hessian(0)
            start = size * torch.linalg.eigh(h)[1][:, 0] + 0.5 * torch.linalg.eigh(h)[1][:, 1]
            path = descent(h, start, 350, newton=False)
            path = path[: next((k for k, d in enumerate(path) if d > 2), len(path))]
            lines = [Line("descent", range(len(path)), path), Line("Newton's method", range(6), [max(d, 1e-6) for d in descent(h, start, 5, newton=True)])]
            note = f"From {size:g} beside the ridge descent is one unit away after {next(k for k, d in enumerate(path) if d > 1 and k)} steps."
            charts.append(Chart("step", "distance from the saddle (log scale)", lines, log_y=True, note=note))
        return Slider("distance from the ridge", "start", starts, charts, start=2)
