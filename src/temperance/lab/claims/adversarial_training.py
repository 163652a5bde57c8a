"""Training on attacked rows: what a linear model cannot learn from it and a wide network can."""

from functools import cache
from typing import Any

import temperance as tp
from temperance.lab import LEGENSTEIN, PATHAK, Chart, Experiment, Line, every, on_average
from temperance.lab.rows import accuracy, images, trained

EPSILON = 0.1
SIZES = (0.0, 0.03, 0.06, 0.1, 0.15)


@cache
def found(seed: int, data: Any) -> dict[tuple[str, bool], tuple[list[float], float]]:
    """Accuracy under attacks of each size and on clean images, for both kinds of network, trained on clean and on attacked images."""
    train, test = images(seed, 600 if data is None else 5000, data)
    out = {}
    for name, hidden in (("linear", ()), ("wide", (256,))):
        net = tp.nets.MLP(train.x[0].numel(), 10, hidden=hidden)  # type: ignore[index]
        tp.nets.initialize(net, seed)
        cocktails = [tp.Cocktail(), tp.Cocktail(tp.PGD(EPSILON, share=1.0, steps=4, bounds=(0.0, 1.0)))]
        for attacked, each in zip((False, True), trained(net, train, cocktails, seed, steps=400), strict=True):
            table = tp.robustness(each, test.take(range(400)), eps=SIZES[1:], bounds=(0.0, 1.0), steps=8, attacks=("fgsm", "pgd"))
            out[name, attacked] = [table.clean.value, *(score.value for score in table.worst)], accuracy(each, test)
    return out


class AdversarialTraining(Experiment):
    topic = "Data"
    question = "Whom does training on adversarial examples help?"
    claim = "Large function families: a wide network learns to resist the attack, and keeps its accuracy; a linear model cannot have both."
    source = f"{PATHAK}, adversarial training; {LEGENSTEIN}, adversarial training"
    expect = "A linear model has the same gradient everywhere. Can it be flat around every training row and still tell the classes apart?"
    rules = (every("accuracy under attack that training gains, wide", ">", 0.15), on_average("accuracy under attack, wide minus linear", ">", 0.0))
    control = "Both trained on clean images."
    takes_images = True
    seeds = 3
    slow = True
    next = "Narrow the network. At what width does robustness cost accuracy on clean images?"
    limits = "The attack is the one trained against, at its ε. Larger or other ones still succeed: `tp.robustness` tries several."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed, self.data)
        at = SIZES.index(EPSILON)
        wide, linear = (rows[name, not control][0][at] for name in ("wide", "linear"))
        return {
            "accuracy under attack that training gains, wide": wide - rows["wide", False][0][at],
            "accuracy under attack, wide minus linear": wide - linear,
            "accuracy on clean images, wide": rows["wide", not control][1],
            "accuracy on clean images, linear": rows["linear", not control][1],
        }

    def draw(self) -> Chart:
        rows = found(0, self.data)
        names = {False: "clean images", True: "attacked images"}
        lines = [Line(f"{name}, trained on {names[attacked]}", SIZES, values) for (name, attacked), (values, _) in rows.items()]
        return Chart("ε of the attack, as a share of a pixel's range", "accuracy", lines, low=0, note=f"Trained on PGD with ε = {EPSILON:g}, four steps.")
