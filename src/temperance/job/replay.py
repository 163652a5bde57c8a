"""``temperance replay``: one trial of a fit, trained again alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.core.renamed import renamed
from temperance.job.fit import using_threads
from temperance.job.reopen import noted, reopen
from temperance.job.summary import unit_factor
from temperance.search.programs import Programs
from temperance.search.race import Race


@renamed(source="data")
def replay_trial(
    folder: str | Path,
    trial: int,
    *,
    data: Any = None,
    model: str | None = None,
    backbone: str | None = None,
    device: str | None = None,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train one trial of a fit again, alone, and compare its score.

    The same keys give the same rows, masks and noise, whoever trained beside it: on the same machine and thread count the score is the same
    number.

    Args:
        folder: of the fit.
        trial: its number, as in the report.
        data: the rows of the fit, where they have moved.
        model: the ``FILE.py:build`` given to the fit, where the network is the user's own: that file is run, so it has to be named.
        backbone: likewise of a backbone of the user's own.
        device: where to train it; by default where the fit did.
        on_progress: called after every epoch, as in a fit.

    Returns:
        ``trial``, ``status``, ``score_then``, ``score_now``, ``same``, ``cocktail``, ``epochs``.

    Raises:
        DataError: no fit there, or other data.
        ConfigError: no such trial, or one that was not started; the network is the user's own and ``model`` is missing.
    """
    path, summary, run, rows = noted(folder)
    if trial not in rows:
        raise ConfigError(f"Expected `--trial` to be a trial of {str(path)!r}, from {min(rows)} to {max(rows)}, got {trial}.")
    if not rows[trial]["steps"]:
        raise ConfigError(f"Trial {trial} of {str(path)!r} was not started before the fit ended, so there is nothing to replay. Choose one with a score.")
    with using_threads(run["threads"]):  # features of a backbone may differ in the last bit
        fit = reopen(path, summary, run, doing="replay", data=data, model=model, backbone=backbone, device=device)
    ready, row = fit.ready, rows[trial]
    config = fit.config(row)
    programs = Programs(True, fit.place, fit.precision)
    if row.get("compiled", False):
        programs.add(config.plan)
    with using_threads(run["threads"]):
        race = Race(
            [config],
            ready.data,
            ready.split.folds,
            ready.metric,
            patience=10**9,
            memory=run["memory"],
            criterion=criterion_for(ready.data.task),
            programs=programs,
        )
        _, population, _ = race.groups[0]
        population.plan_steps(int(row["planned_steps"]))
        last = max(1, int(row["steps"])) / race.steps_an_epoch(config.plan)
        for epoch in (*range(1, math.ceil(last - 1e-9)), last):
            race.epoch(epoch, None)
            if on_progress is not None:
                on_progress({"phase": "replay", "done": epoch / last, "left": math.inf, "trials": 1, "best": race.trials[0].score, "metric": ready.metric.name})
            if not race.alive:
                break
        if row.get("checked", row["steps"]) == row["steps"]:  # a trial that was dropped between two checks was not measured when it was
            population.check()
        race.judge()
        race.finish()
    again = race.trials[0]
    now = again.score * unit_factor(ready)
    then = row["score"]
    same = (then is None and now != now) or (then is not None and now == then)
    return {
        "trial": trial,
        "status": row["status"],
        "score_then": then,
        "score_now": None if now != now else now,
        "same": bool(same),
        "cocktail": repr(replace(config).cocktail),
        "epochs": again.epochs,
    }
