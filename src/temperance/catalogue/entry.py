"""Something with a name that is no regularizer."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any

KINDS = ("regularizer", "protocol", "optimizer", "schedule", "network", "diagnosis", "loss")


@dataclass(frozen=True)
class Entry:
    """Something with a name that is no regularizer.

    Attributes:
        name: as it is written.
        kind: one of :data:`KINDS`.
        spec: the row of the catalogue it fills.
        home: ``module:attribute`` whose docstring explains it; empty where ``text`` does.
        reference: author, year; the class's own where it has one.
        text: the explanation, where there is no class of that name.
        module: where it is made, then.
    """

    name: str
    kind: str
    spec: str
    home: str = ""
    reference: str = ""
    text: str = ""
    module: str = ""

    def row(self) -> dict[str, Any]:
        """The entry with the keys of a row of the registry, and its docstring as ``card``."""
        card, reference = self.text, self.reference
        if self.home:
            module, _, attribute = self.home.partition(":")
            made = getattr(importlib.import_module(module), attribute)
            card = made.__doc__ or ""
            reference = getattr(made, "reference", "") or reference
        summary = " ".join(card.strip().split("\n\n")[0].split())
        reference = re.sub(r",(?= \d{4})", "", reference)
        return {"name": self.name, "kind": self.kind, "sites": [], "strengths": {}, "reference": reference, "spec": self.spec, "summary": summary, "card": card}
