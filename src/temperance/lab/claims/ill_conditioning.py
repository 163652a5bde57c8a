"""Two directions of unlike curvature, and what helps."""

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import draws


def rows(seed: int, scale: float) -> torch.Tensor:
    """Fifty rows of two inputs, of which the second is in a unit that makes it so many times as large."""
    return draws(seed, 50, 2) * torch.tensor([1.0, scale], dtype=torch.float64)


def steps_needed(x: torch.Tensor, momentum: float = 0.0, most: int = 20000) -> tuple[int, float]:
    """Steps of the best constant rate until the error is a millionth of that at the start, and the condition number."""
    hessian = x.T @ x / len(x)
    d = torch.linalg.eigvalsh(hessian)
    low, high = d[0].item(), d[-1].item()
    rate = 2 / (low + high) if not momentum else (2 / (low**0.5 + high**0.5)) ** 2
    error, velocity = torch.ones(2, dtype=x.dtype), torch.zeros(2, dtype=x.dtype)
    start = error @ hessian @ error
    for step in range(1, most + 1):
        velocity = momentum * velocity - rate * (hessian @ error)
        error = error + velocity
        if error @ hessian @ error < 1e-6 * start:
            return step, high / low
    return most, high / low


def best_momentum(condition: float) -> float:
    """Polyak's momentum for this condition number."""
    return ((condition**0.5 - 1) / (condition**0.5 + 1)) ** 2


class IllConditioning(Experiment):
    topic = "Optimization"
    question = "Why standardize the inputs?"
    claim = (
        "If the curvatures of two directions differ, a rate that one bears is too small for the "
        "other. Standardized inputs bring the condition number near 1, and the steps with it."
    )
    source = f"{PATHAK}, ill-conditioning"
    expect = "An input is in millimeters instead of centimeters, ten times as large. By how much does κ grow: 10, or 100?"
    rules = (every("κ before to after standardizing", ">", 50.0), every("steps before to after standardizing", ">", 10.0))
    control = "Inputs that are alike already."
    next = "Momentum needs about √κ in the place of κ steps. Adam divides each direction by its own size."
    limits = "Standardizing helps with columns of unlike size. Correlated columns need whitening, or an optimizer that knows more of the Hessian."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        x = rows(seed, 1.0 if control else 12.0)
        raw, condition = steps_needed(x)
        standard, after = steps_needed((x - x.mean(0)) / x.std(0))
        return {"κ before to after standardizing": condition / after, "steps before to after standardizing": raw / standard}

    def draw(self) -> Slider:
        scales = [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0]
        charts = []
        for scale in scales:
            x = rows(0, scale)
            plain, condition = steps_needed(x)
            fast, _ = steps_needed(x, best_momentum(condition))
            standard, after = steps_needed((x - x.mean(0)) / x.std(0))
            lines = [Line("steps", range(3), [plain, fast, standard], "bars")]
            note = f"The second input {scale:g} times as large: κ = {condition:.1f}, after standardizing {after:.2f}."
            names = ["plain", "momentum", "standardized"]
            charts.append(Chart("descent at its best constant rate", "steps to a millionth (log scale)", lines, names=names, note=note, log_y=True, low=1))
        return Slider("scale", "scale", scales, charts, start=4)
