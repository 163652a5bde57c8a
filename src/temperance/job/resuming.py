"""A fit that goes on: what it was asked for, and whether it still is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from temperance.core.errors import ConfigError
from temperance.core.registry import lookup
from temperance.data.dataset import fingerprint
from temperance.job.folder import RUN, TRIALS
from temperance.job.prepare import Prepared
from temperance.search.journal import Journal
from temperance.search.shared.study import SharedStudy, differing

EFFORT = ("budget", "trials", "refits", "ensemble", "strategy", "memory", "threads", "keep_test", "device", "precision")
ASKED = ("target", "test", "task", "metric", "model", "seed", "ignore", "weight", "use", "without", "na", "dates", "keep", "space", "group", "time")
LATER = ("backbone",)  # options that commands of earlier versions do not name


def path_of(source: Any) -> str | None:
    """The full path of a file; ``None`` for anything else."""
    return str(Path(source).resolve()) if isinstance(source, (str, Path)) else None


def command_of(source: Any, asked: Mapping[str, Any], effort: Mapping[str, Any], ready: Prepared | None = None) -> dict[str, Any]:
    """What a fit is asked for, as plain values: options, versions, and once the rows are read what is in them.

    Args:
        source: the rows.
        asked: the options of :func:`temperance.job.prepare.prepare`.
        effort: the others.
        ready: the rows as they were read.
    """
    said = {**asked, **effort, "source": path_of(source), "test": path_of(asked["test"])}
    said["use"] = [r if isinstance(r, str) else r.to_dict() for r in asked["use"]]
    said["torch"] = str(torch.__version__)
    if asked["model"] is not None:
        said["network"] = _digest(str(asked["model"]).rpartition(":")[0])
    if asked["backbone"] is not None:
        said["backbone_network"] = _digest(str(asked["backbone"]).rpartition(":")[0])
    if ready is not None:
        said["rows"] = fingerprint(ready.original())
    return json.loads(json.dumps(said, default=str))


def refuse_changed(place: str, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a fit that was asked for something else.

    Raises:
        ConfigError: naming all that changed.
    """
    changed = differing(earlier, now)
    if (earlier.get("test") is None) != (now["test"] is None):
        changed.append("test")
    if not changed:
        return
    others = {
        "rows": "other rows in the data",
        "network": "another file of the network",
        "backbone_network": "another file of the backbone",
        "torch": f"torch {now['torch']}",
    }
    told = ", ".join(others.get(name) or f"--{name.replace('_', '-')} {_shown(now[name])} (before: {_shown(earlier.get(name))})" for name in changed)
    mend = "Give the same command, or ship what is finished with `temperance finish DIR`, or start over with --overwrite in place of --resume."
    raise ConfigError(f"Expected `--resume` with the command of the unfinished fit in {place!r}, got {told}. {mend}")


def named(out: str | Path, storage: str | None, study_name: str | None) -> str | None:
    """The name of a fit's study in a database: by default that of its folder."""
    return Path(out).resolve().name if storage is not None and study_name is None else study_name


def unfinished(out: str | Path, study: SharedStudy | None = None) -> dict[str, Any]:
    """What the unfinished fit in a folder, or in a database, was asked for.

    Raises:
        ConfigError: there is none.
    """
    journal = study or Journal(Path(out) / RUN / TRIALS)
    if journal.command is None or not journal.trials or not {*ASKED, *EFFORT, "source"} <= set(journal.command):
        if study is not None:
            mend = "Give the --storage of a fit that was interrupted after its first trials, and its --study-name."
            raise ConfigError(f"Expected a study of a fit that has finished trials, got {study.place}. {mend}")
        mend = "Name the folder of a fit that was interrupted after its first trials, or add the --storage that it was given."
        raise ConfigError(f"Expected a folder with an unfinished fit that has finished trials, got {str(out)!r}. {mend}")
    return journal.command


def options_of(said: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a command that was written: what was asked for, and the effort."""
    asked, effort = ({name: said[name] for name in names} for names in (ASKED, EFFORT))
    asked |= {name: said.get(name) for name in LATER}
    asked["use"] = [r if isinstance(r, str) else lookup(r["regularizer"]).from_dict(r) for r in asked["use"]]
    return asked, effort


def _digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""


def _shown(value: Any) -> str:
    return ("none" if not value else ", ".join(map(str, value))) if isinstance(value, list) else "none" if value is None else str(value)
