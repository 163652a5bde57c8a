"""The trials of a finished fit for TensorBoard and MLflow."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from temperance.core.errors import DataError
from temperance.job.folder import place_of
from temperance.job.reopen import noted
from temperance.report.recording import record_runs, runs_of


def record_fit(folder: str | Path, *, tensorboard: str | Path | None = None, mlflow: str | None = None) -> int:
    """Write the trials of a fit for TensorBoard or MLflow, as :func:`temperance.report.recording.record` does; the experiment is named like the folder.

    Raises:
        DataError: no finished fit there.
        ConfigError: nowhere to write, a tracker that is not installed, or one that refuses.
    """
    path, summary, _, rows = noted(folder)
    try:
        history = pd.read_csv(place_of(path, "history.csv"))
    except (OSError, ValueError) as error:
        raise DataError(f"Expected history.csv of {str(path)!r} as fit wrote it, got {type(error).__name__}. Fit again to have it.") from None
    return record_runs(runs_of(list(rows.values()), history, summary["scores"]["test"]), tensorboard=tensorboard, mlflow=mlflow, name=path.resolve().name)
