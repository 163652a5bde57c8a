"""Several networks as one plain module: the mean of their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from temperance.core.errors import ConfigError, expected
from temperance.nets.stacked import alike, batches, outputs_of, state_of


class Average(nn.Module):
    r"""The mean prediction of several networks, given back as an output of the same kind.

    For classes the probabilities are averaged and returned as logarithms, so that a softmax over the output gives the mean; for labels the
    log-odds of the mean probability; for values their mean. In evaluation mode, networks of one structure run as one batched program.

    Args:
        networks: of the same inputs and outputs.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``.
        weights: a positive number for each network, scaled to sum to one; equal if not given.

    Shapes:
        whatever one network takes, to ``(n, outputs)``.

    Raises:
        ConfigError: no networks, or weights that do not fit them.

    Example:
        >>> average = Average([nn.Linear(2, 3), nn.Linear(2, 3)], "classification", weights=[2, 1])
        >>> average(torch.zeros(1, 2)).exp().sum().round().item()
        1.0
    """

    weights: Tensor

    def __init__(self, networks: Sequence[nn.Module], task: str, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if not networks:
            raise ConfigError(expected("networks", "Average", "to hold at least one network", list(networks)))
        given = [1.0] * len(networks) if weights is None else [float(w) for w in weights]
        if len(given) != len(networks) or not all(0 < w < float("inf") for w in given):
            raise ConfigError(expected("weights", "Average", f"to be {len(networks)} positive numbers, one a network", weights))
        self.networks, self.task, self.stacked = nn.ModuleList(networks), task, alike(networks)
        self.register_buffer("weights", torch.tensor(given, dtype=torch.float64) / sum(given))

    def forward(self, x: Any) -> Tensor:
        if self.stacked and not self.training and batches(self.networks[0]):
            out = outputs_of(self.networks[0], [state_of(network) for network in self.networks], x)
        else:
            out = torch.stack([network(x) for network in self.networks])
        weights = self.weights.to(out).reshape(-1, *[1] * (out.dim() - 1))
        if self.task == "classification":
            return (F.log_softmax(out, -1) + weights.log()).logsumexp(0)
        if self.task == "multilabel":
            p = (weights * torch.sigmoid(out)).sum(0)
            eps = torch.finfo(p.dtype).eps
            return torch.logit(p.clamp(eps, 1 - eps))
        return (weights * out).sum(0)
