"""How each parameter stands: who trains it, and which regularizers can reach it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from temperance.core.regularizer import Regularizer

IN_THE_PASS = ("weights",)
IN_THE_LOSS = (*IN_THE_PASS, "penalty", "track", "readout")
AROUND_THE_STEP = (*IN_THE_LOSS, "grads", "after_step")


@dataclass(frozen=True)
class Standing:
    """One parameter.

    Attributes:
        sites: where regularizers reach it.
        words: who trains it, as ``describe`` says it.
    """

    sites: tuple[str, ...]
    words: str = ""

    def reached_by(self, regularizer: Regularizer) -> bool:
        """Whether a regularizer that selects the parameter acts on it."""
        if regularizer.perturbs == "weights":
            return self.sites != IN_THE_PASS
        return not regularizer.on_modules() and bool(set(self.sites) & set(regularizer.sites()))


def alone(p: nn.Parameter) -> Standing:
    """A parameter of a network that nothing is attached to."""
    return Standing(AROUND_THE_STEP) if p.requires_grad else Standing(IN_THE_PASS, "frozen")


def attached(
    params: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, groups: Mapping[str, Any], moved: Collection[str] | None
) -> dict[str, Standing]:
    """Every parameter of a network that a cocktail is attached to.

    Args:
        params: the parameters by name.
        optimizer: the optimizer whose steps count.
        groups: the parameter group of those it holds.
        moved: what its last step moved; None before the first one.
    """
    place = {id(group): i for i, group in enumerate(optimizer.param_groups)}

    def one(name: str, p: nn.Parameter) -> Standing:
        if not p.requires_grad:
            return Standing(IN_THE_PASS, "frozen")
        if name not in groups:
            return Standing(IN_THE_LOSS, "not in the optimizer")
        words = f"group {place[id(groups[name])]}, lr {float(groups[name]['lr']):g}"
        return Standing(AROUND_THE_STEP, words + ("" if moved is None or name in moved else ", not moved by the last step"))

    return {name: one(name, p) for name, p in params.items()}
