"""``temperance explain``: which regularizers of a fit's winner help."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from temperance import __version__
from temperance.core.criterion import criterion_for
from temperance.core.errors import DataError
from temperance.core.files import read_whole, write_whole
from temperance.core.interrupts import uninterrupted
from temperance.job.fit import using_threads
from temperance.job.folder import EXPLAINED
from temperance.job.lock import Lock
from temperance.job.parts import read_json, with_part
from temperance.job.reopen import noted, reopen
from temperance.job.summary import plain, unit_factor
from temperance.search.attribution.explain import SEEDS, explain
from temperance.search.attribution.explanation import Explanation


def explain_fit(
    folder: str | Path,
    *,
    seeds: int = SEEDS,
    budget: str | float | None = None,
    data: Any = None,
    model: str | None = None,
    backbone: str | None = None,
    device: str | None = None,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> Explanation:
    """Train a fit's winner without each of its regularizers, and with each other one, write ``explain.json`` and add a section to ``report.html``.

    What is measured is in ``explain.jsonl`` as soon as it is there; a later call goes on with it.

    Args:
        folder: of the fit.
        seeds: networks of each cocktail.
        budget: seconds, or ``"90s"``, ``"5m"``, ``"1h"``.
        data: the rows of the fit, where they have moved.
        model: the ``FILE.py:build`` given to the fit, where the network is the user's own: that file is run, so it has to be named.
        backbone: likewise of a backbone of the user's own.
        device: where to train; by default where the fit did.
        on_progress: called with ``phase``, ``done``, ``left``, ``metric``.

    Raises:
        DataError: no fit there, other data, or no rows that were kept apart.
        ConfigError: settings that cannot work; ``model`` is missing; another fit or explanation runs in the folder.
    """
    path, summary, run, rows = noted(folder)
    winner = summary["search"].get("winner")
    if winner not in rows:
        raise DataError(f"Expected summary.json of {str(path)!r} to name the best trial among its trials, got {winner!r}. Fit again to have it.")
    with using_threads(run["threads"]):  # features of a backbone may differ in the last bit
        fit = reopen(path, summary, run, doing="explain", data=data, model=model, backbone=backbone, device=device)
    lock = Lock(path, "explain")
    try:
        with using_threads(run["threads"]):
            made = explain(
                fit.config(rows[winner]),
                fit.ready.data,
                fit.ready.split,
                fit.ready.metric,
                steps=int(rows[winner]["planned_steps"]),
                criterion=criterion_for(fit.ready.data.task),
                scored_by=criterion_for(fit.ready.data.task),
                seeds=seeds,
                budget=budget,
                memory=run["memory"],
                device=fit.place,
                precision=fit.precision,
                path=path / EXPLAINED[1],
                on_progress=on_progress,
                factor=unit_factor(fit.ready),
                identity={"data": run["data"], "plan": rows[winner]["plan"]},
                notes=_notes(summary),
            )
        made.facts["temperance"] = __version__
        write_whole(path / EXPLAINED[0], json.dumps(plain(made.facts), indent=1, allow_nan=False))
        _tell_in_report(path, made.facts)
    finally:
        lock.release()
    return made


def _tell_in_report(path: Path, facts: Mapping[str, Any]) -> None:
    """Put the section into the report, where there is one, and its new hash into ``run.json``."""
    from temperance.report.page import explained

    report, run = path / "report.html", path / "run.json"
    if not report.is_file():
        return
    content = explained(read_whole(report).decode(), facts).encode()
    with uninterrupted():
        write_whole(report, content)
        write_whole(run, with_part(read_json(run), report.name, content))


def _notes(summary: Mapping[str, Any]) -> list[str]:
    """What ships, where it is not the one network that is explained."""
    networks = (summary.get("model") or {}).get("networks")
    return [f"what ships is an average of {networks} networks"] if isinstance(networks, int) and networks > 1 else []
