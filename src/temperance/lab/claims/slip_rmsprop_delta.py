"""RMSProp without δ, on a weight that has no gradient."""

import torch

from temperance.lab import PATHAK, Chart, Experiment, Line, every


def step(gradient: float, delta: float, steps: int = 3) -> float:
    """The sum of RMSProp's steps −εg/√(r + δ) at a learning rate of 1."""
    r, total = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    g = torch.tensor(gradient, dtype=torch.float64)
    for _ in range(steps):
        r = 0.9 * r + 0.1 * g * g
        total = total - g / torch.sqrt(r + delta)
    return float(total)


class SlipRmspropDelta(Experiment):
    topic = "Slips"
    question = "Does RMSProp need its δ?"
    printed = "RMSProp with Nesterov momentum divides by √r, without δ."
    claim = "A dead unit has g = 0 and r = 0, and 0/0 is not a number: δ = 10⁻⁶ under the root keeps its weights where they are."
    source = f"{PATHAK}, RMSProp with Nesterov momentum (algorithm 8.6)"
    expect = "A ReLU unit is off for every row. What is the step of its weights under −εg/√r?"
    rules = (every("step of a dead unit", "<", 1e-12),)
    control = "δ = 0, as printed: the step is not a number."
    seeds = 1
    next = "One weight that is not a number makes the whole network so in the next forward pass."
    limits = "With δ a tiny gradient makes a tiny step; without, a full one. The two rules differ wherever g² is of the size of δ."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {"step of a dead unit": abs(step(0.0, 0.0 if control else 1e-6))}

    def draw(self) -> Chart:
        gradients = [10.0**k for k in range(-6, 1)]
        lines = [Line(name, gradients, [abs(step(g, delta)) for g in gradients]) for name, delta in (("δ = 10⁻⁶", 1e-6), ("δ = 0", 0.0))]
        return Chart(
            "gradient (log scale)", "three steps, in learning rates", lines, log_x=True, low=0, note="At a gradient of 0, off the scale, δ = 0 gives 0/0."
        )
