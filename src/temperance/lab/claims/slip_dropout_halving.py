"""When the weights are halved."""

import torch

from temperance.lab import SCHONHUTH, Chart, Experiment, Line, every
from temperance.lab.linear import draws


def gap(seed: int, halvings: int) -> float:
    """How far a linear network with so often halved weights is from the mean of all its thinned networks, as a share of that mean."""
    w, x = draws(seed, 8), draws(seed + 1, 50, 8).abs()
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=w.dtype)] * 8)
    mean = torch.stack([(x * mask) @ w for mask in masks]).mean(0)
    return float((x @ w * 0.5**halvings - mean).norm() / mean.norm())


class SlipDropoutHalving(Experiment):
    topic = "Slips"
    question = "How often are the weights of a dropout network halved?"
    printed = "After each epoch, decrease each weight by a factor of ½."
    claim = "Once, when the network is used: the halved weights give the mean of all thinned networks. Halved after every epoch they would be gone."
    source = f"{SCHONHUTH}, dropout: procedure, step 5"
    expect = "A network trains for ten epochs. By what factor are its weights too small if each epoch halves them?"
    rules = (every("relative gap to the mean of all thinned networks", "<", 1e-12),)
    control = "As printed, after ten epochs."
    seeds = 3
    next = "Inverted dropout multiplies by 1/(1 − rate) while training, and nothing is left to do at the end."
    limits = "The mean is exact for linear networks; in others it is an approximation, once as well."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        return {"relative gap to the mean of all thinned networks": gap(seed, 10 if control else 1)}

    def draw(self) -> Chart:
        epochs = range(11)
        lines = [Line("halved after each epoch", epochs, [gap(0, n) for n in epochs], "dots")]
        return Chart(
            "times halved",
            "relative gap to the mean of all thinned networks",
            lines,
            low=0,
            note="Not at all is too large by 1, once is right, more is too small.",
        )
