"""How the code is laid out: no circle of files, no new long function, no new long file."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import temperance

HOME = Path(temperance.__file__).parent
FILES = {".".join(path.relative_to(HOME.parent).with_suffix("").parts).removesuffix(".__init__"): path for path in sorted(HOME.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

# Imports that close a circle, each inside a function, with the reason. No other may.
CLOSING = {
    ("temperance.core.cocktail", "temperance.core.attach"): "`Cocktail.attach` is the method that everyone calls",
    ("temperance.core.cocktail", "temperance.core.describe"): "`Cocktail.describe` likewise",
    ("temperance.core.regularizer", "temperance.core.registry"): "`register` enters a class where `lookup` finds it",
    ("temperance.lab.verdict", "temperance.lab.page"): "`Verdict.page` draws itself",
}
# Longer than MOST_LINES, with the reason. A file that is no longer that long leaves the list.
LONG_FILES = {}
LONG_FUNCTIONS = {
    "temperance.cli.app:fit": "a table of options",
    "temperance.job.summary:make_summary": "a table of what the summary holds",
    "temperance.train.compiled:_split": "one walk over a traced graph",
}
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 70


def checks_types(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:`, which nothing runs."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node.test)}


def imports(node: ast.AST, known: Mapping[str, object], within: str = "") -> Iterator[tuple[str, bool]]:
    """Modules of ours that are imported below a node, and whether a function has to be called first."""
    for child in ast.iter_child_nodes(node):
        if checks_types(child):
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, bool(within)) for alias in child.names if alias.name in known)
        elif isinstance(child, ast.ImportFrom) and child.module:
            assert not child.level, "imports are written from the root, or this test does not see them"
            names = {f"{child.module}.{alias.name}" for alias in child.names}
            yield from ((name, bool(within)) for name in {name if name in known else child.module for name in names} if name in known)
        yield from imports(child, known, child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else within)


def circle(trees: Mapping[str, ast.AST], allowed: Mapping[tuple[str, str], str]) -> list[str]:
    """The files of one circle, or nothing."""
    graph = {name: {other for other, _ in imports(tree, trees) if other != name and (name, other) not in allowed} for name, tree in trees.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])[::-1]
    return []


def long_functions(tree: ast.AST, most: int, path: str = "") -> Iterator[tuple[str, int]]:
    """Functions with more lines than that, their docstrings aside."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if not isinstance(child, ast.ClassDef):
                assert child.end_lineno is not None
                first = child.body[0]
                doc = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(child) is not None else 0
                lines = child.end_lineno - child.lineno + 1 - doc
                if lines > most:
                    yield f"{path}{child.name}", lines
            yield from long_functions(child, most, f"{path}{child.name}.")


def test_no_circle_of_files() -> None:
    assert not (found := circle(TREES, CLOSING)), f"these files import each other in a circle: {' -> '.join(found)}"


@pytest.mark.parametrize("edge", CLOSING, ids=lambda edge: f"{edge[0]}->{edge[1]}")
def test_an_exception_is_still_one(edge: tuple[str, str]) -> None:
    rest = {other: why for other, why in CLOSING.items() if other != edge}
    assert circle(TREES, rest), f"{edge[0]} no longer closes a circle with {edge[1]}: take it off the list"
    assert (edge[1], False) not in set(imports(TREES[edge[0]], TREES)), "a circle is closed inside a function only"


def test_no_new_long_file() -> None:
    long = {name for name, path in FILES.items() if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES}
    assert long == set(LONG_FILES), f"too long: {sorted(long - set(LONG_FILES))}; off the list: {sorted(set(LONG_FILES) - long)}"


def test_no_new_long_function() -> None:
    long = {f"{name}:{function}" for name, tree in TREES.items() for function, _ in long_functions(tree, MOST_LINES_OF_A_FUNCTION)}
    assert long == set(LONG_FUNCTIONS), f"too long: {sorted(long - set(LONG_FUNCTIONS))}; off the list: {sorted(set(LONG_FUNCTIONS) - long)}"


# The measures themselves


@pytest.mark.parametrize(
    "closing",
    [
        "import p.a",
        "from p.a import x",
        "from p import a",
        "def f():\n    from p.a import x",
        "try:\n    import p.a\nexcept ImportError:\n    pass",
        "import p.a as a",
    ],
)
def test_a_circle_is_seen(closing: str) -> None:
    trees = {"p": ast.parse(""), "p.a": ast.parse("import p.b"), "p.b": ast.parse("from p.c import y"), "p.c": ast.parse(closing)}
    assert set(circle(trees, {})) == {"p.a", "p.b", "p.c"}
    assert not circle(trees, {("p.c", "p.a"): "why"})


@pytest.mark.parametrize("check", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_imports_for_types_close_no_circle(check: str) -> None:
    trees = {"p.a": ast.parse("import p.b"), "p.b": ast.parse(f"if {check}:\n    from p.a import x")}
    assert not circle(trees, {})


def test_docstrings_do_not_count_and_methods_do() -> None:
    body = "\n".join(["        x = 1"] * 4)
    tree = ast.parse(f'class A:\n    def f(self):\n        """One\n\n        two\n        """\n{body}\n')
    assert list(long_functions(tree, 4)) == [("A.f", 5)] and not list(long_functions(tree, 5))
