"""``python -m tools.docs``: write what is taken from the code.

The README's table, docs/catalogue.md, docs/cards.md, docs/lab.md, docs/lectures.md, and a list for type checkers.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tools.coverage import CLAIMS, OUTSIDE, ROWS, SECTIONS

from temperance.catalogue import ENTRIES, rows
from temperance.catalogue.border import BORDER
from temperance.catalogue.card import card_sections, readable
from temperance.core.errors import ConfigError

BEGIN, END = "<!-- registry:begin -->", "<!-- registry:end -->"
WRITTEN = "<!-- written by `make docs`; do not edit -->"


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


def overview(found: Sequence[Mapping[str, Any]]) -> str:
    """Every entry by section of the catalogue, each with a link to its card, as a Markdown table.

    Args:
        found: rows of :func:`temperance.catalogue.rows`.
    """
    lines = ["| | |", "|---|---|"]
    for section, title in SECTIONS.items():
        names = [row["name"] for row in found if row["spec"].partition(" ")[0] == str(section)]
        lines.append(f"| {title} | {', '.join(f'[{name}](docs/cards.md#{_anchor(name)})' for name in names)} |")
    return "\n".join(lines)


def updated(text: str) -> str:
    """The README with the table between its two markers rewritten.

    Raises:
        ConfigError: the markers are missing or out of order.
    """
    begin, end = text.find(BEGIN), text.find(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or end < begin:
        raise ConfigError(f"Expected README.md to hold {BEGIN} and, below it, {END}, once each. Put these two lines where the table belongs.")
    return f"{text[: begin + len(BEGIN)]}\n{overview(rows())}\n{text[end:]}"


def catalogue(root: Path) -> str:
    """Every row of the catalogue with its files, tests and cards, then every claim with its test, as a Markdown page.

    Args:
        root: the repository.
    """
    found = rows()
    lines = [
        "# The catalogue: every row, its file, its test, its card",
        "",
        f"{WRITTEN}",
        "",
        f"{len(found)} entries in {len(ROWS)} rows. `temperance list --json` holds the same as data, `temperance describe NAME` shows a card. Beside its own "
        "test every regularizer is tested by the laws in `tests/laws/`, which run over all of them.",
    ]
    for section, title in SECTIONS.items():
        lines += ["", f"## {section} {title}", "", "| row | entry | kind | file | test |", "|---|---|---|---|---|"]
        for spec in (one for one in ROWS if one.startswith(f"{section} ")):
            for i, row in enumerate(row for row in found if row["spec"] == spec):
                file = source_of(row["name"], root)
                cells = [spec.partition(" ")[2] if i == 0 else "", f"[{row['name']}](cards.md#{_anchor(row['name'])})", row["kind"]]
                lines.append(f"| {' | '.join([*cells, _link(file), _link(test_of(row['name'], file, root))])} |")
        claims = [(claim, place) for at, claim, place in CLAIMS if at == section]
        if claims:
            lines += ["", "| claim | test |", "|---|---|", *(f"| {_cell(claim)} | {_link(place)} |" for claim, place in claims)]
    lines += ["", "## Strengths", "", table(found)]
    beside = [row for row in found if row["spec"] == OUTSIDE]
    if beside:
        lines += ["", "## Beside the catalogue", "", "| entry | kind | file | test |", "|---|---|---|---|"]
        for row in beside:
            file = source_of(row["name"], root)
            entry = f"[{row['name']}](cards.md#{_anchor(row['name'])})"
            lines.append(f"| {entry} | {row['kind']} | {_link(file)} | {_link(test_of(row['name'], file, root))} |")
    lines += ["", "## Looked at, and not in it", "", "| method | reference | instead, and why |", "|---|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(reference)} | {_cell(reason)} |" for name, reference, reason in BORDER]
    return "\n".join(lines) + "\n"


def cards() -> str:
    """Every card, as a Markdown page."""
    lines = ["# Cards", "", WRITTEN, "", "What each entry of the [catalogue](catalogue.md) does, its formula, when it helps and when it does not."]
    for row in sorted(rows(), key=lambda row: row["name"].lower()):
        sections = card_sections(row["card"])
        lines += ["", f"## {row['name']}", "", f"*{row['kind']}, {row['spec']}*: {_cell(readable(sections.pop('', '')))}"]
        for name, text in sections.items():
            if name == "Example":
                lines += ["", "```pycon", text, "```"]
            elif name == "Args":
                lines += ["", *(f"- {' '.join(part.split())}" for part in re.split(r"\n(?=\S)", text))]
            elif name not in ("Raises", "Returns", "Attributes", "Shapes"):
                lines += ["", f"**{name}.** {_cell(readable(text))}"]
    return "\n".join(lines) + "\n"


def lab() -> str:
    """Every experiment of the lab, as a Markdown page."""
    from temperance.lab import experiments
    from temperance.lab.page import table as verdicts

    found = experiments()
    lines = [
        "# The lab",
        "",
        WRITTEN,
        "",
        f"{len(found)} claims about regularization, each with an experiment that could refute it. Its control runs the same experiment with the remedy off, "
        "or with one factor of the formula wrong: the verdict must then fail, or it proves nothing. Tests run every experiment and every control.",
        "",
        "`temperance lab run NAME --out DIR` writes a page with a figure, most with a slider over the strength; `temperance lab all --out DIR` writes all of "
        'them and a gallery. In Python `tp.lab.run("NAME")` returns the numbers and the figure.',
        "",
        verdicts(found),
    ]
    return "\n".join(lines) + "\n"


def typed(text: str) -> str:
    """The list of regularizers for editors and type checkers, in the text of ``regularizers/__init__.py``, rewritten."""
    from temperance.core.registry import REGISTRY

    homes = sorted((cls.__module__, name) for name, cls in REGISTRY.items() if cls.__module__.startswith("temperance.regularizers."))
    listed = "".join(f"    from {module} import {name} as {name}\n" for module, name in homes)
    return re.sub(r"(?<=reads this list\n)(?: {4}from temperance\.regularizers\..*\n)+", listed, text)


def source_of(name: str, root: Path) -> str:
    """The file that holds an entry, relative to the repository."""
    from temperance.core.registry import REGISTRY

    entry = next((entry for entry in ENTRIES if entry.name == name), None)
    module = REGISTRY[name].__module__ if entry is None else entry.module or entry.home.partition(":")[0]
    if entry is not None and entry.home:
        made = getattr(importlib.import_module(module), entry.home.partition(":")[2])
        module = getattr(inspect.unwrap(made), "__module__", module)
    path = importlib.import_module(module).__file__
    return Path(str(path)).resolve().relative_to(root.resolve()).as_posix()


def test_of(name: str, file: str, root: Path) -> str:
    """The test of an entry: the one named like its file if that mentions it, else the one of its folder that mentions it most, else of any folder."""
    called = {name, *(entry.home.partition(":")[2] for entry in ENTRIES if entry.name == name)} - {""}
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(called)))})\b")
    known = {path: n for path, text in _tests(root).items() if (n := len(pattern.findall(text)))}
    own = [path for path in known if path.rpartition("/")[2] == f"test_{Path(file).name}"]
    near = [path for path in known if Path(path).parent.name == Path(file).parent.name]
    return max(own or near or known, key=lambda path: (known[path], path), default="")


@cache
def _tests(root: Path) -> dict[str, str]:
    paths = [path for path in sorted((root / "tests").rglob("test_*.py")) if path.parent.name not in ("laws", "cli", "benchmarks")]
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def main(root: Path = Path()) -> int:
    """Rewrite the files; exit code 2 and a message where that is impossible."""
    try:
        pages = pages_of(root)
        for path, (before, after) in pages.items():
            if after != before:
                path.write_text(after, encoding="utf-8")
            print(f"{path}: {'written' if after != before else 'up to date'}")
    except (OSError, ConfigError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


def lectures() -> str:
    """Every statement of the lectures with what became of it, as a Markdown page."""
    from temperance.lab import experiments
    from temperance.lab.lectures import statements

    known, told = experiments(), list(statements())
    lines = [
        "# The lectures, line by line",
        "",
        WRITTEN,
        "",
        f"{len(told)} statements of five lectures on regularization: the experiment of the [lab](lab.md) that tests it, the [card](cards.md) of what was "
        "built from it, or why there is neither. Where a statement is a slip, its experiment tests it as printed, and the correct one beside it.",
    ]
    at = ""
    for lecture, one in told:
        if lecture != at:
            lines += ["", f"## {lecture}", "", "| statement | experiments | cards |", "|---|---|---|"]
            at = lecture
        tests = ", ".join(f"`{name}`" + (" (a slip)" if known[name].printed else "") for name in one.experiments) or one.reason
        lines.append(f"| {_cell(one.text)} | {tests} | {', '.join(f'[{name}](cards.md#{_anchor(name)})' for name in one.cards)} |")
    return "\n".join(lines) + "\n"


def pages_of(root: Path) -> dict[Path, tuple[str, str]]:
    """Every written file with its text as it is and as it should be.

    Raises:
        ConfigError: the README lacks its markers.
        OSError: it cannot be read.
    """
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    out = {readme: (text, updated(text))}
    listing = root / "src" / "temperance" / "regularizers" / "__init__.py"
    if listing.is_file():
        out[listing] = ((text := listing.read_text(encoding="utf-8")), typed(text))
    written = {"catalogue.md": catalogue(root), "cards.md": cards(), "lab.md": lab(), "lectures.md": lectures()}
    for path, after in ((root / "docs" / name, text) for name, text in written.items()):
        out[path] = (path.read_text(encoding="utf-8") if path.is_file() else "", after)
    return out


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9_ -]", "", name.lower()).replace(" ", "-")


def _link(path: str) -> str:
    return f"[{path.rpartition('/')[2]}](../{path})" if path else ""


def _n(value: Any) -> str:
    return "∞" if value == "inf" else f"{value:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
