"""What ``diagnose`` examines and shows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.text import Text

from temperance.core.errors import ConfigError, DataError
from temperance.core.files import write_whole
from temperance.data import Dataset, TableEncoder, TargetEncoder
from temperance.data.dataset import fingerprint
from temperance.data.messages import listing
from temperance.data.read import read_cells
from temperance.diagnose.examine import diagnose
from temperance.diagnose.finding import VERDICTS
from temperance.job.folder import place_of, readable
from temperance.job.parts import read_part
from temperance.job.shapes import NOTED
from temperance.job.sources import apart, split_of

if TYPE_CHECKING:
    from temperance.cli.screen import Screen
    from temperance.data.images import Images
    from temperance.job import Saved

UNTOUCHED = ", which the fit had kept for testing"
SEEN = "the model was trained on all of these rows, so none can show how it does on new ones; give such rows with --validation FILE"


@dataclass(frozen=True, eq=False)
class Known:
    """Rows with the right answers, as they were read: ``values`` are the targets, ``untouched`` counts the last rows that the source keeps for testing."""

    data: Dataset
    values: Any
    untouched: int = 0
    table: Any = None


def examine(saved: Saved, folder: str, data: str, *, validation: str | None = None, **settings: Any) -> dict[str, Any]:
    """The diagnosis of a fitted model, as plain values for JSON and for :mod:`temperance.report.diagnosis`.

    Where ``data`` is what the model was fitted on, the rows that it was not trained on are the validation rows.

    Args:
        saved: the model.
        folder: of the fit.
        data: a file with the columns of the fitted table and the target.
        validation: a file of rows that the model has not seen, likewise.
        settings: of :func:`temperance.diagnose.examine.diagnose`.

    Raises:
        DataError: no target in a file, or whatever reading and encoding raises.
        ConfigError: a setting that cannot be.
    """
    known = read_known(saved, data)
    rows, held, where, places = known.data, None, "", np.arange(len(known.data))
    told: list[str] = []
    if validation is not None:
        held, where = read_known(saved, validation, "--validation").data, f" of {Path(validation).name}"
    else:
        test = untouched(folder, saved, known)
        if len(test) and seen(folder):
            told = [SEEN]
        elif len(test):
            places = np.setdiff1d(places, test)
            held, rows, where = rows.take(test), rows.take(places), UNTOUCHED
    asked = settings.get("checks") or ()
    cocktail = saved.cocktail if "strengths" in asked else None  # it takes a while
    network, rows = saved.examined(rows)
    held = None if held is None else saved.examined(held)[1]
    facts = diagnose(network, rows, validation=held, cocktail=cocktail, **settings).to_dict()
    if cocktail is None:
        facts["skipped"] = [skip for skip in facts["skipped"] if skip["check"] != "strengths"]
    for finding in facts["findings"]:
        if finding["check"] == "labels":  # as a person counts the rows of the file
            finding["value"]["rows"] = [int(places[row]) + 1 for row in finding["value"]["rows"]]
    return {"folder": str(folder), "data": Path(data).name, "held_out": where, **facts, "notes": [*told, *facts["notes"]]}


def read_known(saved: Saved, data: str, what: str = "data") -> Known:
    """The rows of a file, that of the argument ``what``, with their targets."""
    target, encoder = saved.target, saved.encoder
    if not isinstance(encoder, TableEncoder):
        images = known_images(encoder, data, what, target.names)
        assert images.labels is not None
        y, labeled = target.encode(images.target)
        return Known(Dataset(encoder.encode(images), y, target.task, None, labeled, (), target.classes), images.labels, images.untouched)
    frame = read_cells(data, what=what, na=encoder.na)[0]
    missing = [name for name in target.names if name not in frame.columns]
    if missing:
        raise DataError(f"Expected the target {listing(missing)} among the columns of {data!r}, got {listing(frame.columns)}. Add the right answers.")
    values = frame[target.names[0]] if len(target.names) == 1 else frame[list(target.names)]
    y, labeled = target.encode(values)
    return Known(Dataset(encoder.transform(frame), y, target.task, None, labeled, encoder.cardinalities, target.classes), values, table=frame)


def known_images(encoder: Any, data: str, what: str = "data", target: Sequence[str] = ()) -> Images:
    """Images with their labels, as the model was fitted on."""
    from temperance.data.read_images import is_images, read_images

    if Path(data).exists() and not is_images(data):
        mend = "Give a folder with a folder for each class, a table that lists images, an idx file or a .npz archive."
        raise DataError(f"Expected `{what}` to be images as the model was fitted on, got {data!r}. {mend}")
    return read_images(data, shape=encoder.shape, values=encoder.values, what=what, target=target)


def untouched(folder: str, saved: Saved, known: Known) -> np.ndarray:
    """Positions of the test rows of the fit, if these are the rows that it was made from; else none."""
    none, run = np.zeros(0, np.int64), _run(folder)
    try:
        if run.get("test") is not None or fingerprint(known.data) != run.get("rows"):
            return none
        first = TargetEncoder().fit(known.values, run["task"], saved.target.name)
        ways = {} if known.table is None else apart(known.table, run.get("group"), run.get("time"), run.get("dates"))
        return split_of(first, known.values, len(known.data) - known.untouched, run["seed"], apart=ways).test
    except (OSError, ValueError, KeyError, TypeError, DataError):  # no such fit, or rows that it cannot have been made from
        return none


def seen(folder: str | Path) -> bool:
    """Whether the model was trained on the test rows of its fit too."""
    return bool(_run(folder).get("saw_test"))


def trained_on(saved: Saved, data: Dataset) -> str:
    """A warning where a model is measured on the very rows that it was fitted on; else nothing."""
    run = _run(saved.folder)
    if run.get("rows") != fingerprint(data):
        return ""
    some = "these rows" if run.get("saw_test") or run.get("test") is not None else "most of these rows"
    return f"the model was trained on {some}, so that its scores on them are too good: give rows that it has not seen"


def _run(folder: str | Path) -> dict[str, Any]:
    """What a fit noted of how it ran; empty where there is no such file."""
    place = readable(Path(folder))
    return read_part(place, "run.json", NOTED) if place_of(place, "run.json").exists() else {}


def check_page(out: str) -> Path:
    """The page to write, checked before anything is computed.

    Raises:
        ConfigError: another format, or a place that cannot be written.
    """
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"Expected `--out` to name an .html file, got {out!r}. Choose such a name.")
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"Expected `--out` to be a file in an existing folder, got {out!r}. Name a file, and make its folder first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"Expected `--out` to be a file that can be written, got {out!r}. Choose another place.")
    return path


def write_page(path: Path, facts: dict[str, Any]) -> None:
    """The page about a diagnosis."""
    from temperance import __version__
    from temperance.report.diagnosis import render

    write_whole(Path(os.path.realpath(path)), render({"title": f"Diagnosis of {facts['folder']}", "temperance": __version__, **facts}))


def show(screen: Screen, facts: dict[str, Any]) -> None:
    """The findings as a table, the worst first, then what was not looked at."""
    rows = facts["rows"]
    screen.heading(f"Diagnosis of {facts['folder']} on {facts['data']}")
    held = f" and {rows['validation']:,} validation rows{facts['held_out']}" if rows["validation"] else ""
    screen.show(Text(f"Examined on {rows['train']:,} training rows{held}."), Text())
    table = screen.table(("verdict", "finding", "what it says"))
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    places = {name: k for k, name in enumerate(facts["causes"])}
    for finding in sorted(facts["findings"], key=lambda f: (-VERDICTS.index(f["verdict"]), places.get(f["name"], len(places)))):
        table.add_row(finding["verdict"], finding["name"], Text(f"{finding['meaning']} {finding['remedy']}".strip()))
    screen.show(table, Text())
    screen.show(Text(f"Causes: {', '.join(facts['causes']) or 'none found'}."))
    for skipped in facts["skipped"]:
        screen.show(Text(f"Skipped {skipped['check']}: {skipped['reason'].replace('lr=,', '--lr,').replace('validation=', '--validation')}."))
    for note in facts["notes"]:
        screen.show(Text(f"Note: {note}."))
