"""``python -m temperance.docs``: write the table of regularizers in README.md from the registry."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from temperance.catalogue import rows
from temperance.core.errors import ConfigError

BEGIN, END = "<!-- registry:begin -->", "<!-- registry:end -->"


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The regularizers as a Markdown table, then the exceptions from the laws that they declare.

    Args:
        found: rows of :func:`temperance.catalogue.rows`.
    """
    lines = ["| regularizer | what it does | sites | strengths: default, range of the search, off | reference |", "|---|---|---|---|---|"]
    regularizers = [row for row in found if row["kind"] == "regularizer"]
    for row in regularizers:
        strengths = "<br>".join(f"`{field}` {_n(s['default'])}, {_n(s['low'])} to {_n(s['high'])}, off {_n(s['off'])}" for field, s in row["strengths"].items())
        sites = ", ".join(f"`{site}`" for site in row["sites"])
        lines.append(f"| `{row['name']}` | {_cell(row['summary'])} | {sites} | {strengths} | {_cell(row['reference'])} |")
    exceptions = {row["name"]: row["exceptions"] for row in regularizers if row["exceptions"]}
    declared = "; ".join(f"`{name}`: {', '.join(f'{law} ({reason})' for law, reason in laws.items())}" for name, laws in exceptions.items())
    lines += ["", f"Exceptions from the laws: {declared or 'none'}."]
    return "\n".join(lines)


def updated(text: str) -> str:
    """The README with the table between its two markers written anew.

    Raises:
        ConfigError: the markers are missing or out of order.
    """
    begin, end = text.find(BEGIN), text.find(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or end < begin:
        raise ConfigError(f"Expected README.md to hold {BEGIN} and, below it, {END}, once each. Put these two lines where the table belongs.")
    return f"{text[: begin + len(BEGIN)]}\n{table(rows())}\n{text[end:]}"


def main(path: Path = Path("README.md")) -> int:
    """Rewrite the file; exit code 2 and a message where that is impossible."""
    try:
        before = path.read_text(encoding="utf-8")
        after = updated(before)
    except (OSError, ConfigError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if after != before:
        path.write_text(after, encoding="utf-8")
    print(f"{path}: {'written' if after != before else 'up to date'}")
    return 0


def _n(value: Any) -> str:
    return "∞" if value == "inf" else f"{value:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
