"""Folders of a fit that were edited by hand: with the hashes that belong to what they hold now."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from temperance.core.files import read_whole
from temperance.job.parts import OWN, PARTS, sealed


def edit(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a JSON file in place, and whatever knows its hash. ``change`` edits the value, or returns another."""
    path = folder / name
    data = json.loads(path.read_text(encoding="utf-8"))
    data = change(data) or data
    path.write_text(json.dumps(data), encoding="utf-8")
    reseal(folder)


def reseal(folder: Path) -> None:
    """Make the hashes those of the files."""
    for owner in ("model/model.json", "run.json"):
        path = folder / owner
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            names = dict(data[PARTS])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        for name in names:
            place = path.parent / name if (path.parent / name).exists() else folder / name
            names[name] = read_whole(place) if place.is_file() and not place.is_symlink() else b""
        path.write_text(sealed({key: value for key, value in data.items() if key not in (OWN, PARTS)}, names), encoding="utf-8")
