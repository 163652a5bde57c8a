"""A saddle of a network: all weights at zero."""

from functools import cache

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, every
from temperance.lab.linear import draws

UNITS, STEPS, RATE = 3, 3000, 0.1


def loss(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Half the mean squared error of Σ v_j tanh(u_j · x); w holds u, then v."""
    u, v = w[: 2 * UNITS].reshape(UNITS, 2), w[2 * UNITS :]
    return (torch.tanh(x @ u.T) @ v - y).square().mean() / 2


def gradient(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Of the loss, by back-propagation."""
    h, v = torch.tanh(x @ w[: 2 * UNITS].reshape(UNITS, 2).T), w[2 * UNITS :]
    error = (h @ v - y) / len(y)
    return torch.cat([((error[:, None] * v * (1 - h * h)).T @ x).flatten(), h.T @ error])


@cache
def ended(seed: int, size: float) -> tuple[torch.Tensor, list[float], float]:
    """Eigenvalues of the Hessian where descent began, the loss by step, and ‖E[yx]‖, from weights of this size."""
    x = draws(seed, 200, 2)
    y = torch.tanh(x @ draws(seed + 1, 2, 2)) @ torch.tensor([1.0, -0.5], dtype=torch.float64)
    w = size * draws(seed + 2, 3 * UNITS)
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(lambda v: loss(v, x, y), w))
    path = []
    for _ in range(STEPS):
        path.append(float(loss(w, x, y)))
        w = w - RATE * gradient(w, x, y)
    return eigenvalues, path, float((x * y[:, None]).mean(0).norm())


class RealSaddle(Experiment):
    topic = "Optimization"
    question = "Why does a network that starts with all weights at zero learn nothing?"
    claim = (
        "Zero is a saddle: there is no slope, and the Hessian has an eigenvalue of −‖E[yx]‖ for every hidden unit. A small random start falls off it, "
        "after a plateau."
    )
    source = f"{PATHAK}, plateaus, saddle points and other flat regions"
    expect = "No gradient at all: is it a minimum? Look at the curvatures before you answer."
    rules = (
        every("loss that descent from zero saves", "<", 1e-12),
        every("gap of the smallest eigenvalue at zero to −‖E[yx]‖", "<", 1e-9),
        every("share of the loss that a start of size .001 saves", ">", 0.5),
    )
    control = "Weights of size 1 in the place of zero."
    next = "Start all units alike but not at zero: `symmetry`."
    limits = "tanh and no biases. With biases the output's bias still learns the mean from zero; the weights do not move."
    seeds = 3

    def once(self, seed: int, control: bool) -> dict[str, float]:
        eigenvalues, path, moment = ended(seed, 1.0 if control else 0.0)
        small = ended(seed, 1e-3)[1]
        return {
            "loss that descent from zero saves": path[0] - path[-1],
            "gap of the smallest eigenvalue at zero to −‖E[yx]‖": abs(float(eigenvalues[0]) + moment),
            "share of the loss that a start of size .001 saves": 1 - small[-1] / small[0],
        }

    def draw(self) -> Chart:
        steps = range(1, STEPS + 1, 10)
        lines = [Line(f"weights of size {size:g}", steps, ended(0, size)[1][::10]) for size in (0.0, 1e-6, 1e-3, 0.1)]
        note = f"At zero the lowest curvature is {float(ended(0, 0.0)[0][0]):.3f}: the way down."
        return Chart("step", "loss", lines, low=0, note=note)
