"""Docstrings say `Example:`, which the reader of docstrings takes for a section of code only in the plural."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Reads `Example:` as `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^(\s*)Example(?:, [^\n]*)?:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
