"""One forward pass, as the hooks of a network see it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from temperance.core.regularizer import Regularizer


@dataclass(eq=False)
class Pass:
    """One forward pass in flight, as the hooks see it."""

    mode: str
    bound: Mapping[str, Regularizer]
    context: Any
    calls: dict[str, int] = field(default_factory=dict)
    taps: dict[str, dict[str, Tensor]] = field(default_factory=dict)


@contextmanager
def evaluating(model: nn.Module, wanted: bool) -> Generator[None]:
    """Evaluation mode for the time of a pass; every module's own flag is put back."""
    if not wanted:
        yield
        return
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag
