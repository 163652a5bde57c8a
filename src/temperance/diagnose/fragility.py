"""What little changes of the inputs do to the score."""

from __future__ import annotations

from typing import Any

from torch import nn

from temperance.core.errors import TemperanceError
from temperance.diagnose.finding import Finding, Skip
from temperance.diagnose.subject import Subject, as_output

EPS, ROWS, STEPS = (0.05, 0.1, 0.2), 256, 10
LOST = 0.5
"""Share of the score above chance that a change of the middle size may take."""


def fragility(subject: Subject) -> list[Finding]:
    """Attacks the inputs with small changes, of 0.05, 0.1 and 0.2 standard deviations, and compares the score with the clean one.

    Formula: the worst of FGSM, PGD and margin attacks for every row; see :func:`temperance.diagnose.robustness.robustness`, which has more options.

    What: at most 256 rows, validation rows where they are given. Worth a look where 0.1 standard deviations take more than half of what the accuracy
    is above chance, or double the error of values; never bad, as most networks are fragile and not all are attacked.

    When: inputs may be noisy, or chosen by somebody.

    Reference: Goodfellow, Shlens & Szegedy (2015); Madry et al. (2018).

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> x = torch.linspace(-1, 1, 40)[:, None]
        >>> net = torch.nn.Linear(1, 2)
        >>> _ = net.load_state_dict({"weight": torch.tensor([[-1.0], [1.0]]), "bias": torch.zeros(2)})
        >>> found = tp.diagnose(net, (x, (x[:, 0] > 0).long()), checks="fragility")["fragility"].value
        >>> found["clean"], found["at_0.1"]
        (1.0, 0.95)
    """
    from temperance.diagnose.robustness import robustness

    task = subject.task
    rows = subject.train if subject.validation is None else subject.validation
    if len(rows) > ROWS:
        rows = rows.take(subject.rng("fragility").permutation(len(rows))[:ROWS])
    try:
        found = robustness(Scores(subject.model), rows, eps=EPS, steps=STEPS, seed=abs(subject.seed))
    except TemperanceError as error:
        raise Skip(f"attacks do not apply ({str(error).split('. ')[0].rstrip('.')})") from error
    clean, worst = found.clean.value, [score.value for score in found.worst]
    value = {"clean": clean, **{f"at_{eps:g}": score for eps, score in zip(EPS, worst, strict=True)}, "metric": found.metric, "rows": len(rows)}
    text = f"Changes of 0.1 standard deviations take the {found.metric} of {len(rows)} rows from {clean:.3g} to {worst[1]:.3g}, of 0.2 to {worst[2]:.3g}."
    data = found.to_dict()
    chance = 1 / rows.y.shape[1] if task == "classification" and not isinstance(rows.y, dict) else 0.5
    lost = worst[1] > 2 * clean if found.metric == "rmse" else clean > chance and worst[1] - chance < (1 - LOST) * (clean - chance)
    if lost:
        remedy = "If that matters: FGSM or PGD in training, VAT, InputNoise, or tangent prop; a robust network costs some clean accuracy."
        return [Finding("fragility", "fragile", value, text, "look", remedy, data=data)]
    return [Finding("fragility", "fragility", value, text, data=data)]


class Scores(nn.Module):
    """A network that returns its scores alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Any) -> Any:
        return as_output(self.network(x))
