"""What ``list`` and ``describe`` show."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from temperance.catalogue import KINDS
from temperance.catalogue.card import card_sections, readable
from temperance.cli.screen import PLAIN_WIDTH, Screen

PLURALS = {"loss": "losses", "diagnosis": "diagnoses"}
_CITATION = re.compile(r" \([^()]*\d{4}\)")
_WIDE = 80
"""Columns of a screen from which the meaning of a strength stands in its row."""


def show_list(screen: Screen, rows: Sequence[Mapping[str, Any]]) -> None:
    """One table a kind."""
    kinds = [*KINDS, *dict.fromkeys(row["kind"] for row in rows if row["kind"] not in KINDS)]
    for kind in kinds:
        members = [row for row in rows if row["kind"] == kind]
        if not members:
            continue
        screen.heading(f"{str(PLURALS.get(kind, f'{kind}s')).capitalize()} ({len(members)})")
        screen.show(_strengths_table(screen, members) if any(row["sites"] for row in members) else _plain_table(screen, members))
    screen.show(Text(), Text("temperance describe NAME explains one of them."))


def _strengths_table(screen: Screen, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = screen.table(("name", "sites", "strengths: range, off", "reference"))
    table.columns[0].no_wrap = True
    table.columns[2].no_wrap = True
    for row in rows:
        strengths = [f"{field} {s['low']:g} to {s['high']:g}, {_written(s['off'])}" for field, s in row["strengths"].items()]
        table.add_row(row["name"], screen.lines(row["sites"]), screen.lines(strengths), Text(row["reference"]))
    return table


def _plain_table(screen: Screen, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = screen.table(("name", "what", "reference"))
    table.columns[0].no_wrap = True
    table.columns[1].ratio = 3 if screen.width < PLAIN_WIDTH else None
    table.columns[2].ratio = 1 if screen.width < PLAIN_WIDTH else None
    for row in rows:
        table.add_row(row["name"], Text(_CITATION.sub("", readable(row["summary"]))), Text(row["reference"]))
    return table


def _written(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def show_card(screen: Screen, row: Mapping[str, Any]) -> None:
    """The card of one entry: its summary and sections, then the strengths, the options and an example."""
    sections = card_sections(row["card"])
    about = [row["kind"], f"sites: {', '.join(row['sites'])}" if row["sites"] else ""]
    screen.heading(f"{row['name']} ({'; '.join(part for part in about if part)})")
    screen.show(Text(readable(sections.pop("", ""))), Text())
    arguments, example = sections.pop("Args", ""), sections.pop("Example", "")
    if not any(name in sections for name in ("Reference", "Source")) and row["reference"]:
        sections["Reference"] = row["reference"]
    for name in ("Reference", "Source"):
        if name in sections:
            sections[name] = re.sub(r"\*(\S[^*]*)\*", r"\1", sections[name])
    screen.facts([(name, readable(text)) for name, text in sections.items() if name not in ("Raises", "Returns", "Attributes")])
    if row["strengths"]:
        screen.heading("Strengths")
        screen.show(*_ranges(screen, row["strengths"]))
    explained = _arguments(arguments)
    rest = [(name, text) for name, text in explained if name not in row["strengths"] and name != "name"]
    if rest:
        screen.heading("Options" if row["strengths"] else "Arguments")
        screen.facts([(name, readable(text)) for name, text in _with_defaults(row["name"], rest)])
    if example:
        screen.heading("Example")
        screen.code(example)


def _ranges(screen: Screen, strengths: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """The strengths as a table; what they mean stands below it where the screen is narrow."""
    wide = screen.width >= _WIDE
    headers = ("name", "default", "searched", "scale", "off at", "valid")
    table = screen.table((*headers, "meaning") if wide else headers)
    for column in table.columns[:6]:
        column.no_wrap = True
    for field, s in strengths.items():
        cells = [field, _written(s["default"]), f"{s['low']:g} to {s['high']:g}", "log" if s["log"] else "linear", _written(s["off"]), s["valid"]]
        table.add_row(*cells, *([s["meaning"]] if wide else []))
    if wide:
        return [table]
    return [table, Text(), *(Text(f"{field}: {s['meaning']}") for field, s in strengths.items())]


def _with_defaults(name: str, arguments: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Options of a regularizer with their defaults."""
    from temperance.core.registry import REGISTRY

    cls = REGISTRY.get(name)
    if cls is None:
        return list(arguments)
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    return [(field, f"{text} Default: {defaults[field]!r}." if field in defaults else text) for field, text in arguments]


def _arguments(text: str) -> list[tuple[str, str]]:
    """Pairs of a name and its explanation, from a Google-style section."""
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines():
        found = re.match(r"(\w+)(?: \([^)]*\))?: (.*)", line)
        if found:
            pairs.append((found[1], found[2]))
        elif pairs and line.strip():
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {line.strip()}")
    return pairs
