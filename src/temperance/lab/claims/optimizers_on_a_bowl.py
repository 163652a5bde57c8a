"""Nine optimizers on one narrow bowl."""

from functools import cache

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.linear import basis, descend, rows_of

CURVATURES = torch.tensor([1.0, 0.01], dtype=torch.float64)
STEPS = (1, 10, 30, 100)
MOMENTUM = 0.8
KINDS: dict[str, tp.optim.Optimizer] = {
    "descent": tp.optim.SGD(1.0),
    "momentum": tp.optim.SGD(1.0, momentum=MOMENTUM),
    "Nesterov": tp.optim.SGD(0.9, momentum=MOMENTUM, nesterov=True),
    "AdaGrad": tp.optim.AdaGrad(0.5),
    "RMSProp": tp.optim.RMSProp(0.02),
    "Adam": tp.optim.Adam(0.05),
    "NAdam": tp.optim.NAdam(0.05),
    "Adadelta": tp.optim.Adadelta(1.0),
    "delta-bar-delta": tp.optim.DeltaBarDelta(0.5),
}


@cache
def losses(seed: int, turned: bool) -> dict[str, list[float]]:
    """Loss after each number of steps, from a distance of one in both directions."""
    turn = basis(seed, 2) if turned else torch.eye(2, dtype=torch.float64)
    x = rows_of(CURVATURES, turn)
    target = turn @ torch.ones(2, dtype=torch.float64)
    optimizers = [each for each in KINDS.values() for _ in STEPS]
    ends = descend(x, x @ target, [tp.Cocktail()] * len(optimizers), list(STEPS) * len(KINDS), optimizers, seed)
    found = ((ends - target) @ turn).square() @ CURVATURES / 2
    return {name: found[k * len(STEPS) : (k + 1) * len(STEPS)].tolist() for k, name in enumerate(KINDS)}


class OptimizersOnABowl(Experiment):
    topic = "Optimization"
    question = "What do momentum and rates of their own gain on a narrow bowl?"
    claim = "With curvatures of 1 and .01, momentum and Nesterov's are far lower than plain descent after 100 steps, and so are rates for each weight: Adam."
    source = f"{PATHAK}, basic algorithms; algorithms with adaptive learning rates (AdaGrad, RMSProp, Adam, delta-bar-delta)"
    expect = "Descent with the largest useful rate needs hundreds of steps along the flat direction. Which remedy is there first?"
    rules = (
        every("loss of momentum to that of descent", "<", 0.1),
        every("loss of Nesterov to that of descent", "<", 0.1),
        every("loss of Adam to that of descent", "<", 0.5),
    )
    control = "Momentum of zero, and descent in the place of the others."
    next = "Turn the bowl by 45 degrees: rates for each weight see both directions at once."
    limits = "One bowl, rates chosen for it, no noise. On a bowl in turned axes a rate for each weight cannot tell the two directions apart."
    seeds = 1

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = losses(seed, False)
        at = STEPS.index(100)
        return {f"loss of {name} to that of descent": rows["descent" if control else name][at] / rows["descent"][at] for name in KINDS if name != "descent"}

    def draw(self) -> Slider:
        rows = losses(0, False)
        names = list(KINDS)
        charts = []
        for k, steps in enumerate(STEPS):
            best = min(names, key=lambda name: rows[name][k])
            lines = [Line("loss", range(len(names)), [max(rows[name][k], 1e-12) for name in names], "dots")]
            note = f"After {steps} step{'s' * (steps > 1)} {best} is lowest, {max(rows[best][k], 1e-12):.2g}; descent {rows['descent'][k]:.2g}."
            charts.append(Chart("optimizer", "loss (log scale)", lines, log_y=True, names=names, note=note))
        return Slider("steps", "steps", STEPS, charts, start=3)
