"""Several networks as one plain module: the mean of their predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from temperance.core.errors import ConfigError, expected


class Average(nn.Module):
    r"""The mean prediction of several networks, given back as an output of the same kind.

    For classes the probabilities are averaged and returned as logarithms, so that a softmax over the output gives the mean; for labels the
    log-odds of the mean probability; for values their mean.

    Args:
        networks: of the same inputs and outputs.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``.

    Shapes:
        whatever one network takes, to ``(n, outputs)``.

    Example:
        >>> average = Average([nn.Linear(2, 3), nn.Linear(2, 3)], "classification")
        >>> average(torch.zeros(1, 2)).exp().sum().round().item()
        1.0
    """

    def __init__(self, networks: Sequence[nn.Module], task: str) -> None:
        super().__init__()
        if not networks:
            raise ConfigError(expected("networks", "Average", "to hold at least one network", list(networks)))
        self.networks, self.task = nn.ModuleList(networks), task

    def forward(self, x: Any) -> Tensor:
        out = torch.stack([network(x) for network in self.networks])
        if self.task == "classification":
            return F.log_softmax(out, -1).logsumexp(0) - math.log(len(self.networks))
        if self.task == "multilabel":
            p = torch.sigmoid(out).mean(0)
            eps = torch.finfo(p.dtype).eps
            return torch.logit(p.clamp(eps, 1 - eps))
        return out.mean(0)
