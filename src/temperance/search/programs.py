"""Which static plans train by compiled steps, and these steps, kept from wave to wave."""

from __future__ import annotations

from typing import Any

import torch

from temperance.core.device import told
from temperance.search.space import StaticPlan
from temperance.train.compiled import compiler_missing
from temperance.train.kernel import Kernels

WORTH = 25.0  # seconds of training still to come that repay a compilation of three to ten


class Programs:
    """The compiled steps of a search.

    A compiled step trains two to four times as many networks in a second and takes some seconds to make, once for each static plan. So a search for one
    network compiles at once, and a search over several plans compiles the leading one after the first wave, if enough time is left.

    Args:
        budgeted: whether time is what limits the search; otherwise each population decides by its own number of steps.
        device: where its populations train; by default where the data are.
        precision: of their products in training.
    """

    def __init__(self, budgeted: bool, device: torch.device | None = None, precision: str = "fp32") -> None:
        self.budgeted, self.missing, self.where = budgeted, compiler_missing(), {"device": device, "precision": precision}
        self.card = "" if device is None or device.type == "cpu" else told(device)
        self._kernels: dict[str, Kernels] = {}
        self._on = set[str]()

    def worth(self, plan: StaticPlan, seconds: float) -> bool:
        """Whether to compile a plan's step that has not been, with so many seconds of training ahead."""
        return self.budgeted and not self.missing and not self.card and plan.name not in self._on and seconds >= WORTH

    def add(self, plan: StaticPlan) -> None:
        """From now on the plan trains by a compiled step."""
        self._on.add(plan.name)

    def compiles(self, plan: StaticPlan) -> bool:
        """Whether the plan trains by a compiled step."""
        return plan.name in self._on

    def refusals(self) -> list[str]:
        """Why steps that should have been compiled were not."""
        return [f"not compiled: {kernel.refused}" for kernels in self._kernels.values() for kernel in kernels.values() if kernel.refused]

    def plain(self) -> Programs:
        """The same without compiled steps."""
        return Programs(True, **self.where)

    def settings(self, plan: StaticPlan, *, making: bool) -> dict[str, Any]:
        """Arguments of a population of this plan; without ``making`` it compiles nothing that is not there yet, unless that pays for itself."""
        if self.budgeted and plan.name not in self._on:
            return {"compile": False, **self.where}
        return {**self.where, "compile": True if self.budgeted and making else None, "kernels": self._kernels.setdefault(plan.name, {})}


def settings_of(programs: Programs | None, plan: StaticPlan, *, making: bool = True) -> dict[str, Any]:
    """Arguments of a population of this plan, plain steps without ``programs``."""
    return {"compile": False} if programs is None else programs.settings(plan, making=making)
