"""The contract and the trainer know no regularizer by name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import temperance
from temperance.core.registry import REGISTRY

HOME = Path(temperance.__file__).parent
FILES = sorted(path.relative_to(HOME).as_posix() for part in ("core", "train") for path in (HOME / part).rglob("*.py"))


def spoken(tree: ast.Module) -> set[str]:
    """Every identifier and string of a module, docstrings aside."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)}
    out: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            out |= set(re.findall(r"(?<!nn\.)\b\w+", node.value))
        out |= {getattr(node, field) for field in ("id", "attr", "name", "module") if isinstance(getattr(node, field, None), str)}
    return out


@pytest.mark.parametrize("file", FILES)
def test_no_regularizer_is_named(file: str) -> None:
    import temperance.regularizers  # noqa: F401 -- fills the registry

    names = {name for name, cls in REGISTRY.items() if cls.__module__.startswith("temperance.")}
    assert len(names) > 15
    assert not names & spoken(ast.parse((HOME / file).read_text(encoding="utf-8")))
