"""The error of an average of networks: v/n + (n − 1)c/n."""

import dataclasses
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_diabetes

import temperance as tp
from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, every
from temperance.lab.linear import draws
from temperance.lab.rows import split

MEMBERS = 6


def halves(seed: int, own: Any) -> tuple[tp.data.Dataset, tp.data.Dataset]:
    """Training and test rows, their targets of mean 0 and variance 1; classes are a column of 0 and 1 each."""
    if own is not None:
        train, _, test = split(seed, 300, own)
        y: Any = train.y
        held: Any = test.y
        level, unit = (y.mean(0), y.std(0).clamp_min(1e-12)) if own.task == "regression" else (0.0, 1.0)
        return tp.data.Dataset(train.x, (y - level) / unit, "regression"), tp.data.Dataset(test.x, (held - level) / unit, "regression")
    table: Any = load_diabetes()
    X, y = table.data, table.target
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    x, target = torch.as_tensor(X).float()[order] / 0.05, torch.as_tensor((y - y.mean()) / y.std()).float()[order, None]
    return tp.data.Dataset(x[:300], target[:300], "regression"), tp.data.Dataset(x[300:], target[300:], "regression")


@cache
def errors(seed: int, own: Any = None) -> torch.Tensor:
    """Errors (networks, test rows and outputs) of six small networks, each on a bootstrap of its own."""
    train, test = halves(seed, own)
    net = tp.nets.MLP(train.in_features, train.out_features, hidden=(16,))
    one = tp.Member(optimizer=tp.optim.Adam(0.01), seed=seed)
    members = [dataclasses.replace(member, validation=None) for member in tp.ensemble.bootstrap(one, len(train), MEMBERS)]
    done = tp.fit(net, members, train, validation=None, early_stopping=None, steps=120, batch_size=64, check_every=120, seed=seed)
    with torch.no_grad():
        return torch.stack([(done.member(i)(test.x) - test.y).flatten() for i in range(MEMBERS)]).double()


def parts(e: torch.Tensor) -> tuple[float, float]:
    """v, the mean squared error of one network, and c, the mean product of two networks' errors."""
    moments = e @ e.T / e.shape[1]
    v = float(moments.diagonal().mean())
    return v, float((moments.sum() - moments.trace()) / (len(e) * (len(e) - 1)))


class EnsembleError(Experiment):
    topic = "Structure and averaging"
    question = "How much better is an average of networks than one of them?"
    claim = "Its squared error is v/n + (n − 1)c/n: nothing is gained where the errors are equal (c = v), a factor of n where they are unrelated (c = 0)."
    source = f"{WHITEHILL_14}, ensembles"
    expect = "Six networks, each with an error of 1. What is the error of their average if their errors are alike, and if they have nothing in common?"
    rules = (
        every("relative gap on real networks", "<", 1e-9),
        every("gain with equal errors", "<", 1e-9),
        every("gap to the factor n with unrelated errors", "<", 0.25),
    )
    control = "The covariance left out: v/n."
    seeds = 3
    takes_data = True
    next = "Estimate v and c from two networks and predict the error of twenty: `fit` shows it in its report."
    limits = "Squared error, equal weights, averaged outputs; v and c are not centered, so that a common bias counts in c. Votes follow another law."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        e = errors(seed, self.data)
        v, c = parts(e)
        measured = float(e.mean(0).square().mean())
        formula = v / MEMBERS + (0.0 if control else (MEMBERS - 1) * c / MEMBERS)
        alike, apart = draws(seed, 1, 20000).expand(MEMBERS, -1), draws(seed + 1, MEMBERS, 20000)
        return {
            "relative gap on real networks": abs(formula - measured) / measured,
            "gain with equal errors": abs(1 - float(alike.mean(0).square().mean() / alike[0].square().mean())),
            "gap to the factor n with unrelated errors": abs(MEMBERS - float(apart.square().mean() / apart.mean(0).square().mean())),
            "c/v of real networks": c / v,
        }

    def draw(self) -> Chart:
        e = errors(0, self.data)
        v, c = parts(e)
        counts = range(1, MEMBERS + 1)
        measured = [
            float(torch.stack([e[list(pick)].mean(0).square().mean() for pick in torch.combinations(torch.arange(MEMBERS), n).tolist()]).mean()) for n in counts
        ]
        lines = [
            Line("v/n + (n − 1)c/n", counts, [v / n + (n - 1) * c / n for n in counts]),
            Line("measured", counts, measured, "dots"),
            Line("if c were 0", counts, [v / n for n in counts]),
        ]
        return Chart("networks n", "squared error on test rows", lines, low=0, note=f"v = {v:.3f}, c = {c:.3f}: {c / v:.0%} of the error is common to all.")
