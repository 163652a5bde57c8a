"""A finished fit with its rows and static plans, as they were when it was fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from temperance.core.device import CPU, PRECISIONS, device_of, precision_of
from temperance.core.errors import ConfigError, DataError
from temperance.core.registry import lookup
from temperance.data.dataset import fingerprint
from temperance.job.backbone import Named
from temperance.job.folder import place_of
from temperance.job.opening import load
from temperance.job.parts import quoted, read_part
from temperance.job.prepare import Prepared, prepare
from temperance.job.shapes import RUN, SUMMARY
from temperance.nets.on_features import OnFeatures
from temperance.regularizers import Distillation
from temperance.search.search import check_effort
from temperance.search.space import Config

_MEND = "Give it as `data`: --data FILE."


@dataclass(frozen=True, eq=False)
class Reopened:
    """What a fit left, and its rows.

    Attributes:
        path: its folder.
        summary: ``summary.json``.
        run: ``run.json``.
        ready: its rows, split as then, and its plans.
        place: where its networks train.
        precision: of their products.
    """

    path: Path
    summary: Mapping[str, Any]
    run: Mapping[str, Any]
    ready: Prepared
    place: torch.device | None
    precision: str

    def config(self, row: Mapping[str, Any]) -> Config:
        """The configuration of a row of its trials.

        Raises:
            DataError: the folder was changed, or is of another version.
        """
        plan = next((p for p in self.ready.plans if p.name == row["plan"]), None)
        if plan is None or "planned_steps" not in row:
            got = quoted(row["plan"]) if plan is None else "no `planned_steps`"
            raise DataError(
                f"Expected trial {row['trial']} of {str(self.path)!r} to have `planned_steps` and one of the plans "
                f"{', '.join(p.name for p in self.ready.plans)}, got {got}. The folder was changed, or is of another version. Fit again to have trials that "
                "can be replayed."
            )
        strengths = {name: math.inf if value == "inf" else float(value) for name, value in row["strengths"].items()}
        return Config(int(row["trial"]), plan, strengths, float(row["learning_rate"]), int(row["seed"]), float(row["length"]))


def noted(folder: str | Path) -> tuple[Path, dict[str, Any], dict[str, Any], dict[int, dict[str, Any]]]:
    """A fit's folder, its summary, how it ran, and its trials by number.

    Raises:
        DataError: no finished fit there, or one without trials.
    """
    path = Path(folder)
    files = [place_of(path, name) for name in ("summary.json", "run.json")]
    if not all(file.is_file() for file in files):
        raise DataError(
            f"Expected a folder written by `temperance fit`, got {str(path)!r}, which holds no summary.json and run.json. Name the folder given to --out."
        )
    summary, run = read_part(path, "summary.json", SUMMARY), read_part(path, "run.json", RUN)
    rows = {int(row["trial"]): row for row in summary["search"]["table"]}
    if not rows:
        raise DataError(f"Expected summary.json of {str(path)!r} to list the trials of the fit, got none. Fit again to have them.")
    return path, summary, run, rows


def reopen(
    path: Path,
    summary: Mapping[str, Any],
    run: Mapping[str, Any],
    *,
    doing: str,
    data: Any = None,
    model: str | None = None,
    backbone: str | None = None,
    device: str | None = None,
) -> Reopened:
    """Read the rows of a fit again, as it read them.

    Args:
        path: its folder.
        summary: its summary.
        run: how it ran.
        doing: what they are needed for: ``"replay"``.
        data: the rows, where they have moved.
        model: the ``FILE.py:build`` given to the fit, where the network is the user's own.
        backbone: likewise of its backbone.
        device: where to train; by default where the fit did.

    Raises:
        ConfigError: the network or its backbone is the user's own and was not named, or it is not; the fit had a teacher.
        DataError: no rows, or other ones.
    """
    if (run["model"] is None) != (model is None):
        if model is not None:
            raise ConfigError(f"Expected no `--model` for {str(path)!r}, whose networks are temperance's own, got {model!r}. Leave it out.")
        raise ConfigError(
            f"The network of {str(path)!r} is your own ({quoted(run['model'])}), and {words_for(doing)} runs code only if you name it. Name the function "
            "yourself, as it was given to fit: --model FILE.py:build."
        )
    use = [r if isinstance(r, str) else lookup(r["regularizer"]).from_dict(r) for r in run["use"]]
    for one in use:
        if isinstance(one, Distillation) and one.teacher is not None:
            raise ConfigError(
                f"{str(path)!r} was fitted with a teacher, which no file holds, so {words_for(doing)} cannot be made from its folder. In Python, train the "
                "cocktail that the report shows, with Distillation(teacher=...) given again."
            )
    place = device_of(run.get("device", CPU) if device is None else device, doing)
    where = data if data is not None else run["source"]
    if where is None:
        raise DataError(f"Expected the data of the fit, got none: it was not read from a file. {_MEND}")
    if data is None and not Path(where).exists():
        raise DataError(f"Expected the data of the fit in an existing file, got {str(where)!r}: it was moved or removed. {_MEND}")
    asked = {key: run[key] for key in ("target", "test", "ignore", "weight", "task", "metric", "without", "seed")}
    asked |= {key: run[key] for key in ("na", "dates", "keep", "space", "group", "time") if key in run}
    asked |= {"model": model, "backbone": _backbone(path, run.get("backbone"), model, backbone)}
    ready = prepare(where, **asked, use=use, budget=check_effort(run["budget"], run["trials"])[0], memory=run["memory"], room=path)
    if fingerprint(ready.original()) != run["data"]:
        raise DataError(f"Expected the rows that the fit was made from, got other ones in {str(where)!r}. {words_for(doing).capitalize()} needs the same file.")
    return Reopened(path, summary, run, ready, place, precision_of(run.get("precision", PRECISIONS[0]), doing))


def _backbone(path: Path, source: str | None, model: str | None, given: str | None) -> Named | None:
    """The backbone of a fit, with the weights that its model holds."""
    if source is None and given is None:
        return None
    network = load(path, model, backbone=given).model
    assert isinstance(network, OnFeatures)
    return Named(network.source, lambda data: network.backbone)


def words_for(doing: str) -> str:
    """``a replay`` or ``an explanation``.

    Example:
        >>> words_for("replay"), words_for("explain")
        ('a replay', 'an explanation')
    """
    return {"replay": "a replay", "explain": "an explanation"}[doing]
