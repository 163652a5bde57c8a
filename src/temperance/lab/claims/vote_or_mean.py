"""Networks on bootstraps, combined by vote and by mean."""

from functools import cache
from typing import Any

import torch

import temperance as tp
from temperance.lab import PATHAK, WHITEHILL_14, Chart, Experiment, Line, on_average
from temperance.lab.rows import network, split

MEMBERS = 9


@cache
def found(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities ``(networks, test rows, classes)`` of networks on bootstraps of 150 rows, and the labels."""
    train, _, test = split(seed, 150)
    import dataclasses

    members = [
        dataclasses.replace(m, validation=None, seed=seed + k)
        for k, m in enumerate(tp.ensemble.bootstrap(tp.Member(optimizer=tp.optim.Adam(3e-3), seed=seed), len(train), MEMBERS))
    ]
    starts = [network(train, 16, seed + 100 * k).state_dict() for k in range(MEMBERS)]
    members = [dataclasses.replace(member, initial=start) for member, start in zip(members, starts, strict=True)]
    done = tp.fit(network(train, 16, seed), members, train, validation=None, early_stopping=None, steps=200, batch_size=50, check_every=200)
    with torch.no_grad():
        outputs = [torch.softmax(done.member(i)(test.x), 1) for i in range(MEMBERS)]
    return torch.stack(outputs), torch.as_tensor(test.y).argmax(1)


def right(p: torch.Tensor, labels: Any) -> float:
    """Accuracy."""
    return float((p.argmax(1) == labels).double().mean())


class VoteOrMean(Experiment):
    topic = "Structure and averaging"
    question = "Should networks vote, or should their probabilities be averaged?"
    claim = "Both are right more often than one network on average; the mean also has a smaller log-loss."
    source = f"{PATHAK}, bagging: have all of the models vote on the output; {WHITEHILL_14}, ensembles: averaging their outputs"
    expect = "Nine networks, each on a bootstrap of its own. How often is a majority right, compared with one of them?"
    rules = (
        on_average("accuracy gained by the vote", ">", 0.0),
        on_average("accuracy gained by the mean", ">", 0.0),
        on_average("log-loss saved by the mean", ">", 0.0),
    )
    control = "Nine copies of the same network."
    next = "Members that differ more (other widths, other inputs): lower c, larger gain. `ensemble_error` has the formula."
    limits = "A vote needs no probabilities, and forgets how sure each network was; with two networks it has only ties to break."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        p, labels = found(seed)
        p = p[:1].expand_as(p) if control else p
        one = sum(right(each, labels) for each in p) / MEMBERS
        rows = torch.arange(len(labels))
        losses = [-float(each[rows, labels].clamp_min(1e-12).log().mean()) for each in (*p, tp.ensemble.combine(p))]
        return {
            "accuracy gained by the vote": right(tp.ensemble.combine(p, "vote"), labels) - one,
            "accuracy gained by the mean": right(tp.ensemble.combine(p), labels) - one,
            "log-loss saved by the mean": sum(losses[:-1]) / MEMBERS - losses[-1] if not control else 0.0,
        }

    def draw(self) -> Chart:
        p, labels = found(0)
        counts = range(1, MEMBERS + 1)
        lines = [Line(how, counts, [right(tp.ensemble.combine(p[:n], how), labels) for n in counts]) for how in ("mean", "vote")]
        lines.append(Line("each network alone", counts, [right(each, labels) for each in p], "dots"))
        return Chart("networks", "accuracy on test rows", lines, note=f"150 rows: the mean of {MEMBERS} has {right(tp.ensemble.combine(p), labels):.1%} right.")
