"""Results of a benchmark, a line each in a CSV file, so that a run goes on where it stopped."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, str]]:
    """The lines that are there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, columns: Sequence[str], facts: Mapping[str, Any], digits: int) -> None:
    """Add a line, and print what it holds; fractions are rounded to so many digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    line = {name: round(value, digits) if isinstance(value := facts.get(name), float) else value for name in columns}
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerow(line)
    print(", ".join(f"{key} {value}" for key, value in line.items() if value not in ("", None)), flush=True)
