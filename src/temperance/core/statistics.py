"""Averaged weights in a network, and their BatchNorm statistics."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.passes import evaluating
from temperance.core.program import Program


def tracked_norms(model: nn.Module) -> list[tuple[str, Any]]:
    """The BatchNorm modules that keep running statistics, by name."""
    kind = nn.modules.batchnorm._BatchNorm  # pyright: ignore[reportPrivateUsage] -- torch has no public base of its batch norms
    return [(name, m) for name, m in model.named_modules() if isinstance(m, kind) and m.track_running_stats]


def refresh_statistics(program: Program, params: Any, buffers: Any, batches: list[Any]) -> Any:
    """BatchNorm statistics re-estimated as the cumulative mean over batches, on a copy."""
    norms = tracked_norms(program.model)
    if not norms or not batches:
        return buffers
    moments = [m.momentum for _, m in norms]
    means: dict[str, Tensor] = {}
    names = {f"{name}.{stat}" if name else stat for name, _ in norms for stat in ("running_mean", "running_var")}
    try:
        for _, m in norms:
            m.momentum = 1.0
        with evaluating(program.model, True):  # puts every module's own flag back
            program.model.train()
            for i, x in enumerate(batches):
                _, after, _ = program.forward(params, buffers, x, "clean")
                for name in names:
                    means[name] = after[name] if i == 0 else means[name] + (after[name] - means[name]) / (i + 1)
    finally:
        for (_, m), momentum in zip(norms, moments, strict=True):
            m.momentum = momentum
    return {name: means.get(name, b) for name, b in dict(buffers).items()}


@contextmanager
def holding(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Generator[None]:
    """Other values in tensors for the time of a block, without a gradient."""
    saved = {name: t.detach().clone() for name, t in tensors.items()}
    with torch.no_grad():
        for name, value in values.items():
            tensors[name].data.copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in saved.items():
                tensors[name].data.copy_(value)
