"""Where a member stands in its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from temperance.core.random import fold
from temperance.core.regularizer import Params

Values = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Moment:
    """Where a member stands: its key for this step, the step, the progress, its learning rate and that over its peak, all scalar tensors.

    ``shared`` is the key of draws that all passes have in common, where ``key`` is that of one pass.
    Once the optimizer's step is done, ``metric`` is what it divided the step of each coordinate by, and ``before`` the parameters before it.
    ``own`` are constants that come from the member's own training rows, for ``ctx.constants``.
    """

    key: Tensor
    step: Tensor
    progress: Tensor
    lr: Tensor
    lr_factor: Tensor = field(default_factory=lambda: torch.ones(()))
    metric: Params = field(default_factory=dict)
    before: Params = field(default_factory=dict)
    shared: Tensor | None = None
    own: Mapping[str, Any] = field(default_factory=dict)


def step_key(member: Tensor, step: Tensor | int, micro: Tensor | int = 0) -> Tensor:
    """The key of one member's step and micro-batch."""
    return fold(fold(member, step), micro)
