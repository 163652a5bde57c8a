"""``temperance replay``: one trial of a fit, trained again alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from temperance.core.criterion import criterion_for
from temperance.core.device import CPU, PRECISIONS, device_of, precision_of
from temperance.core.errors import ConfigError, DataError
from temperance.core.registry import lookup
from temperance.job.fit import using_threads
from temperance.job.folder import place_of
from temperance.job.parts import quoted, read_part
from temperance.job.prepare import fingerprint, prepare
from temperance.job.shapes import RUN, SUMMARY
from temperance.job.summary import unit_factor
from temperance.search.programs import Programs
from temperance.search.race import Race
from temperance.search.search import check_effort
from temperance.search.space import Config


def replay_trial(
    folder: str | Path,
    trial: int,
    *,
    source: Any = None,
    model: str | None = None,
    device: str | None = None,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train one trial of a fit again, alone, and compare its score.

    The same keys give the same rows, masks and noise, whoever trained beside it: on the same machine and thread count the score is the same
    number.

    Args:
        folder: of the fit.
        trial: its number, as in the report.
        source: the data, where it has moved.
        model: the ``FILE.py:build`` given to the fit, where the network is the user's own: that file is run, so it has to be named.
        device: where to train it; by default where the fit did.
        on_progress: called after every epoch, as in a fit.

    Returns:
        ``trial``, ``status``, ``score_then``, ``score_now``, ``same``, ``cocktail``, ``epochs``.

    Raises:
        DataError: no fit there, or other data.
        ConfigError: no such trial, or one that was not started; the network is the user's own and ``model`` is missing.
    """
    path = Path(folder)
    noted, settings = (place_of(path, name) for name in ("summary.json", "run.json"))
    if not noted.is_file() or not settings.is_file():
        raise DataError(
            f"Expected a folder written by `temperance fit`, got {str(path)!r}, which holds no summary.json and run.json. Name the folder given to --out."
        )
    summary, run = read_part(path, "summary.json", SUMMARY), read_part(path, "run.json", RUN)
    rows = {int(row["trial"]): row for row in summary["search"]["table"]}
    if not rows:
        raise DataError(f"Expected summary.json of {str(path)!r} to list the trials of the fit, got none. Fit again to have them.")
    if trial not in rows:
        raise ConfigError(f"Expected `--trial` to be a trial of {str(path)!r}, from {min(rows)} to {max(rows)}, got {trial}.")
    if not rows[trial]["steps"]:
        raise ConfigError(f"Trial {trial} of {str(path)!r} was not started before the fit ended, so there is nothing to replay. Choose one with a score.")
    if (run["model"] is None) != (model is None):
        if model is not None:
            raise ConfigError(f"Expected no `--model` for {str(path)!r}, whose networks are temperance's own, got {model!r}. Leave it out.")
        raise ConfigError(
            f"The network of {str(path)!r} is your own ({quoted(run['model'])}), and a replay runs code only if you name it. Name the function yourself, "
            "as it was given to fit: --model FILE.py:build."
        )
    place = device_of(run.get("device", CPU) if device is None else device, "replay")
    where = source if source is not None else run["source"]
    if where is None:
        raise DataError("Expected the data of the fit, got none: it was not read from a file. Give it as `source`.")
    asked = {key: run[key] for key in ("target", "test", "ignore", "weight", "task", "metric", "without", "seed")}
    asked |= {key: run[key] for key in ("na", "dates", "keep", "space", "group", "time") if key in run}
    use = [r if isinstance(r, str) else lookup(r["regularizer"]).from_dict(r) for r in run["use"]]
    ready = prepare(where, **asked, model=model, use=use, budget=check_effort(run["budget"], run["trials"])[0])
    if fingerprint(ready.data) != run["data"]:
        raise DataError(f"Expected the rows that the fit was made from, got other ones in {str(where)!r}. A replay needs the same file.")
    row = rows[trial]
    plan = next((p for p in ready.plans if p.name == row["plan"]), None)
    if plan is None or "planned_steps" not in row:
        got = quoted(row["plan"]) if plan is None else "no `planned_steps`"
        raise DataError(
            f"Expected trial {trial} of {str(path)!r} to have `planned_steps` and one of the plans {', '.join(p.name for p in ready.plans)}, got {got}. "
            "The folder was changed, or is of another version. Fit again to have trials that can be replayed."
        )
    strengths = {name: math.inf if value == "inf" else float(value) for name, value in row["strengths"].items()}
    config = Config(trial, plan, strengths, float(row["learning_rate"]), int(row["seed"]), float(row["length"]))
    programs = Programs(True, place, precision_of(run.get("precision", PRECISIONS[0]), "replay"))
    if row.get("compiled", False):
        programs.add(plan)
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
        last = max(1, int(row["steps"])) / race.steps_an_epoch(plan)
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
