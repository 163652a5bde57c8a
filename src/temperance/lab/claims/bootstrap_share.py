"""How many of the rows a bootstrap holds."""

import itertools

import torch

import temperance as tp
from temperance.lab import PATHAK, Chart, Experiment, Line, every


def exact(n: int) -> float:
    """1 − (1 − 1/n)ⁿ."""
    return 1 - (1 - 1 / n) ** n


def drawn(seed: int, n: int, times: int) -> float:
    """The share of rows in the library's bootstraps, on average."""
    members = tp.ensemble.bootstrap(tp.Member(seed=seed), n, times)
    return sum(len(torch.as_tensor(member.rows).unique()) for member in members) / (n * times)


class BootstrapShare(Experiment):
    topic = "Structure and averaging"
    question = "What share of the rows does a bootstrap hold?"
    claim = "1 − (1 − 1/n)ⁿ of them: 70.4 % of three rows, 63.2 % of many, which is 1 − 1/e."
    source = f"{PATHAK}, bagging"
    expect = "Draw as many rows as there are, each from all. Will most be there? Nine of ten? Half?"
    rules = (every("gap to the formula, n = 3, all 27 draws", "<", 1e-12), every("gap to the formula, n = 1000, drawn", "<", 0.005))
    control = "Drawn without replacement: all rows are there."
    next = "The rows that are left out are a validation set for nothing: the out-of-bag score."
    limits = "Rows drawn independently. Bootstraps of groups or of time series hold other shares."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        three = [len(set(pick)) / 3 for pick in (itertools.permutations(range(3)) if control else itertools.product(range(3), repeat=3))]
        many = 1.0 if control else drawn(seed, 1000, 40)
        return {
            "gap to the formula, n = 3, all 27 draws": abs(sum(three) / len(three) - exact(3)),
            "gap to the formula, n = 1000, drawn": abs(many - exact(1000)),
        }

    def draw(self) -> Chart:
        sizes = [1, 2, 3, 5, 10, 20, 50, 100, 1000]
        lines = [
            Line("1 − (1 − 1/n)ⁿ", sizes, [exact(n) for n in sizes]),
            Line("drawn", sizes, [drawn(0, n, max(10, 200 // n)) for n in sizes], "dots"),
            Line("1 − 1/e", [1, 1000], [1 - 2.718281828459045**-1] * 2),
        ]
        return Chart("rows n (log scale)", "share of the rows that is there", lines, log_x=True, note="3 rows: 70.4 %; 1,000 rows: 63.2 %.")
