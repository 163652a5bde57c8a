"""What the regularizers that change targets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from temperance.core.batch import Batch
from temperance.core.regularizer import Context


def by_task(change: Callable[..., Tensor], batch: Batch, ctx: Context, *trees: Any) -> Batch:
    """The batch with targets ``change(y, task, *others)``, head by head where there are several; ``trees`` are shaped like the targets."""
    tasks: Any = ctx.constants.get("tasks", "")
    if isinstance(batch.y, dict):
        heads = batch.y.items()
        return batch._replace(y={h: change(y, tasks[h] if isinstance(tasks, dict) else tasks, *(tree[h] for tree in trees)) for h, y in heads})
    return batch._replace(y=change(batch.y, tasks, *trees))
