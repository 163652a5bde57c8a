"""What dropout gains, against the width of the network."""

from functools import cache
from typing import Any

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, every
from temperance.lab.rows import loss, network, split, trained

WIDTHS = (4, 16, 128)
RATE = 0.5


@cache
def found(seed: int, data: Any) -> list[tuple[float, float]]:
    """Loss on test rows without and with dropout, for each width."""
    train, _, test = split(seed, 100, data)
    cocktails = [tp.Cocktail(), tp.Cocktail(tp.Dropout(RATE))]
    return [tuple(loss(net, test) for net in trained(network(train, width, seed), train, cocktails, seed, steps=400)) for width in WIDTHS]  # type: ignore[misc]


class DropoutAndWidth(Experiment):
    topic = "Noise and dropout"
    question = "Which networks should have dropout?"
    claim = "Large ones: half of four hidden units are too few, and dropout harms; in a wide network that over-fits it saves loss."
    source = f"{PATHAK}, dropout: usually preferred when we have a large neural network structure"
    expect = "A network of 4 hidden units and one of 128, each with half of its units dropped. Who gains, who loses?"
    rules = (every("test loss saved, widest", ">", 0.0), every("test loss saved, widest minus narrowest", ">", 0.0))
    control = "No dropout."
    takes_data = True
    slow = True
    next = "A smaller rate for the narrow network: where does the harm end?"
    limits = "With rows enough the wide network does not over-fit, and there is nothing to save."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        rows = found(seed, self.data)
        saved = [0.0 if control else plain - dropped for plain, dropped in rows]
        return {"test loss saved, widest": saved[-1], "test loss saved, narrowest": saved[0], "test loss saved, widest minus narrowest": saved[-1] - saved[0]}

    def draw(self) -> Chart:
        rows = found(0, self.data)
        lines = [Line("without dropout", WIDTHS, [row[0] for row in rows]), Line("rate 0.5", WIDTHS, [row[1] for row in rows])]
        return Chart("hidden units (log scale)", "loss on test rows", lines, log_x=True, low=0, note="100 training rows, 400 steps of Adam.")
