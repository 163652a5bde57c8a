"""The command line with short trainings in small waves, for tests that kill it: ``python -m tests.cli.short_fit fit ...``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from temperance.cli.app import main
from temperance.job import prepare
from temperance.search import engine, rungs
from temperance.search.shared import study
from temperance.search.space import StaticPlan


def shortened(make: Callable[..., list[StaticPlan]]) -> Callable[..., list[StaticPlan]]:
    def plans(*arguments: Any, **settings: Any) -> list[StaticPlan]:
        return [replace(plan, epochs=12.0, batch_size=4) for plan in make(*arguments, **settings)]

    return plans


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ("tabular_plans", "network_plans", "image_plans"):
        setattr(prepare, name, shortened(getattr(prepare, name)))
    rungs.FIRST, rungs.FEWEST_STEPS, engine.MOST_WAVE = 4, 8, 5
    study.LEASE, study.BEAT = 6.0, 0.5
    main()
