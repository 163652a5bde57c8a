"""What became of each member."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import Tensor

from temperance.core.shown import shown


@shown
@dataclass(eq=False)
class Outcome:
    """One member's history and best state.

    Attributes:
        name: as given.
        status: ``"running"``, ``"finished"``, ``"stopped: ..."``, ``"stopped by the deadline after 12 of 500 steps"``, ``"interrupted after ..."``,
            ``"not started"``, ``"dropped at epoch ..."`` or ``"diverged at step ...: ..."``.
        history: one dict a check: step, epoch, loss_running, penalties, train and validation loss and score, the
            validation score's standard error, learning rate, and what grows: ``weight_norm``, the Euclidean norm of the weight matrices and kernels that
            train, and ``non_linearity``, the share of the outputs' variation along lines between pairs of training rows that no straight line explains
            (absent where the network has no such weights, or the inputs are codes alone).
        best: index in the history of the check that ``state`` comes from, -1 before the first.
        state: the best parameters and buffers, ready to load (``None`` before the first check, and for a member that was not started).
        final: the state at the end of training (``None`` where another member took its slot over, or none was trained).
        steps: steps done.
        compiled: whether its steps are machine code: a replay must run so too.
    """

    name: str = ""
    status: str = "running"
    history: list[dict[str, Any]] = field(default_factory=list)
    best: int = -1
    state: dict[str, Tensor] | None = None
    final: dict[str, Tensor] | None = None
    steps: int = 0
    compiled: bool = False

    @property
    def score(self) -> float:
        """The validation score of the best state; NaN if there is none."""
        return float("nan") if self.best < 0 else float(self.history[self.best]["validation_score"])

    @property
    def usable(self) -> bool:
        return self.state is not None

    @property
    def best_step(self) -> int:
        return 0 if self.best < 0 else int(self.history[self.best]["step"])

    @property
    def best_epoch(self) -> float:
        return 0.0 if self.best < 0 else float(self.history[self.best]["epoch"])


def history_frame(outcomes: list[Outcome], **columns: Any) -> pd.DataFrame:
    """All histories as one table, a row a check, with the member's position and name."""
    rows = [{**columns, "member": i, "name": o.name, **row} for i, o in enumerate(outcomes) for row in o.history]
    return pd.DataFrame(rows)
