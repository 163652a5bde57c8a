"""Several networks as one plain module: the mean of their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from temperance.core.errors import ConfigError, expected
from temperance.nets.stacked import alike, batches, outputs_of, stacked_outputs, state_of


def mean_output(out: Any, weights: Tensor, task: str | Mapping[str, str]) -> Any:
    """The output whose prediction is the mean prediction of outputs ``(networks, n, outputs)``.

    Args:
        out: of the networks; with several heads a dict.
        weights: ``(networks,)``, of sum one.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``; with several heads a dict.
    """
    if not isinstance(task, str):
        return {name: mean_output(out[name], weights.to(out[name]), kind) for name, kind in task.items()}
    weights = weights.reshape(-1, *[1] * (out.dim() - 1))
    if task == "classification":
        return (F.log_softmax(out, -1) + weights.log()).logsumexp(0)
    if task == "multilabel":
        p = (weights * torch.sigmoid(out)).sum(0)
        eps = torch.finfo(p.dtype).eps
        return torch.logit(p.clamp(eps, 1 - eps))
    return (weights * out).sum(0)


class Average(nn.Module):
    r"""The mean prediction of several networks, given back as an output of the same kind.

    For classes the probabilities are averaged and returned as logarithms, so that a softmax over the output gives the mean; for labels the
    log-odds of the mean probability; for values their mean. In evaluation mode, networks of one structure run as one batched program.

    Args:
        networks: of the same inputs and outputs.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``; a dict of these for networks with several heads.
        weights: a positive number for each network, scaled to sum to one; equal if not given.

    Shapes:
        whatever one network takes, to ``(n, outputs)``, or a dict of these by head.

    Raises:
        ConfigError: no networks, or weights that do not fit them.

    Example:
        >>> average = Average([nn.Linear(2, 3), nn.Linear(2, 3)], "classification", weights=[2, 1])
        >>> average(torch.zeros(1, 2)).exp().sum().round().item()
        1.0
    """

    weights: Tensor

    def __init__(self, networks: Sequence[nn.Module], task: str | Mapping[str, str], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if not networks:
            raise ConfigError(expected("networks", "Average", "to hold at least one network", list(networks)))
        given = [1.0] * len(networks) if weights is None else [float(w) for w in weights]
        if len(given) != len(networks) or not all(0 < w < float("inf") for w in given):
            raise ConfigError(expected("weights", "Average", f"to be {len(networks)} positive numbers, one per network", weights))
        self.networks, self.task, self.stacked = nn.ModuleList(networks), task, alike(networks)
        self.register_buffer("weights", torch.tensor(given, dtype=torch.float64) / sum(given))

    def forward(self, x: Any) -> Any:
        if self.stacked and not self.training and batches(self.networks[0]):
            out = outputs_of(self.networks[0], [state_of(network) for network in self.networks], x)
        else:
            out = stacked_outputs([network(x) for network in self.networks])
        return mean_output(out, self.weights if isinstance(out, dict) else self.weights.to(out), self.task)
