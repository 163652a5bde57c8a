"""The catalogue as rows: the registry of regularizers, and what stands around them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from typing import Any

from temperance.catalogue.entries import ENTRIES
from temperance.catalogue.entry import KINDS
from temperance.core.errors import ConfigError

LISTED = ("name", "kind", "sites", "strengths", "reference", "spec")


def rows() -> list[dict[str, Any]]:
    """Everything, grouped by kind; each row has name, kind, sites, strengths, reference, spec, summary and card.

    Example:
        >>> sorted({row["kind"] for row in rows()}) == sorted(KINDS)
        True
    """
    from temperance.core.registry import REGISTRY, rows as registered

    importlib.import_module("temperance.regularizers")
    found = [{**row, "card": REGISTRY[row["name"]].__doc__ or ""} for row in registered()]
    found += [entry.row() for entry in ENTRIES]
    return sorted(found, key=lambda row: KINDS.index(row["kind"]) if row["kind"] in KINDS else len(KINDS))


def as_listed(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the keys of ``list --json`` alone."""
    keys = ("default", "off", "low", "high", "log")
    return [
        {**{key: row[key] for key in LISTED}, "strengths": {field: {key: s[key] for key in keys} for field, s in row["strengths"].items()}} for row in found
    ]


def find(name: str) -> dict[str, Any]:
    """The row of this name, in either spelling (``LabelSmoothing`` or ``label_smoothing``).

    Raises:
        ConfigError: unknown; near names are proposed.

    Example:
        >>> find("early_stopping")["kind"]
        'protocol'
    """
    found = {_plain(row["name"]): row for row in rows()}
    if _plain(name) in found:
        return found[_plain(name)]
    near = difflib.get_close_matches(_plain(name), list(found), n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(found[other]['name'] for other in near)}? " if near else ""
    raise ConfigError(f"Expected NAME to be an entry of the list, got {name!r}. {hint}`temperance list` shows all.")


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()
