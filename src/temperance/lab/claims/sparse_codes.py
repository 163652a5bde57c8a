"""A penalty on what units say, and one on what they weigh."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, Slider, every
from temperance.lab.rows import split

LAMS = (0.0, 3e-4, 1e-3, 3e-3, 1e-2)


@cache
def found(seed: int) -> dict[str, tuple[float, float, float]]:
    """Share of units that are active for a row, share of weights that are zero, and error of an autoencoder with more units than inputs."""
    train, _, test = split(seed, 600)
    x: Any = train.x
    cocktails = {f"activity {lam:g}": tp.Cocktail(tp.ActivationSparsity(lam, where=tp.selectors.outputs_of("ReLU"))) for lam in LAMS}
    cocktails["weights"] = tp.Cocktail(tp.L1(1e-3))
    net = tp.nets.Autoencoder(64, hidden=(100,), activation="relu")
    tp.nets.initialize(net, seed)
    members = [tp.Member(cocktail, tp.optim.Adam(3e-3), seed) for cocktail in cocktails.values()]
    rows = tp.data.Dataset(x, x, "regression")
    done = tp.fit(
        net, members, rows, validation=None, early_stopping=None, steps=500, batch_size=100, check_every=500, criterion=tp.losses.SquaredError(), seed=seed
    )
    out = {}
    for i, name in enumerate(cocktails):
        each: Any = done.member(i)
        with torch.no_grad():
            active = float((each.encoder(test.x) > 0).double().mean())
            error = float((each(test.x) - test.x).square().mean())
        weights = torch.cat([w.flatten() for key, w in each.state_dict().items() if key.endswith("weight")])
        out[name] = active, float((weights == 0).double().mean()), error
    return out


class SparseCodes(Experiment):
    topic = "Structure and averaging"
    question = "Sparse units or sparse weights?"
    claim = "Two different things: L1 on the activity leaves few units active for each row and no weight at zero; L1 on the weights the other way about."
    source = f"{PATHAK}, sparse representations"
    expect = "A hundred units describe an image of 64 pixels. Must most of them be silent if most of the weights are zero?"
    rules = (every("share of active units, activity penalty to none", "<", 0.6), every("share of weights at zero, activity penalty", "<", 0.05))
    control = "L1 on the weights."
    next = "Look at what the few active units stand for: strokes."
    limits = "Scale evades the penalty: units may shrink while the decoder grows. Hold the decoder with `tp.MaxNorm`."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed)
        own, plain = rows["weights" if control else "activity 0.003"], rows["activity 0"]
        return {
            "share of active units, activity penalty to none": own[0] / plain[0],
            "share of weights at zero, activity penalty": own[1],
            "error of rebuilt images, penalty minus none": own[2] - plain[2],
        }

    def draw(self) -> Slider:
        rows = found(0)
        charts = []
        for k, lam in enumerate(LAMS):
            table = [rows[f"activity {value:g}"] for value in LAMS]
            lines = [Line("active units", range(len(LAMS)), [row[0] for row in table]), Line("weights at zero", range(len(LAMS)), [row[1] for row in table])]
            lines.append(Line("at this λ", [k] * 2, table[k][:2], "dots"))
            note = f"λ = {lam:g}: {table[k][0]:.0%} of the units are active for a row, mean squared error {table[k][2]:.4f}."
            charts.append(Chart("λ of the activity", "share", lines, names=[f"{value:g}" for value in LAMS], note=note, low=0))
        return Slider("λ", "lam", LAMS, charts, start=3)
