"""The Python examples of the README and of docs/ run as they stand, each on its own in an empty folder.

An example that cannot run here says why on the line above its block: ``<!-- not run: needs two GPUs -->``.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
BLOCK = re.compile(r"^(?:<!-- *not run: *(?P<reason>\S[^\n]*?) *-->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[re.Match[str]]:
    """The Python blocks of a Markdown text; a block that is indented, tagged in another way or never closed is an error, not passed over."""
    found = list(BLOCK.finditer(text))
    opened = len(re.findall(r"^ *```+ *(?:python|py)\b", text, re.MULTILINE))
    assert len(found) == opened, f"{opened} Python blocks open and {len(found)} can be read: each starts with ```python and ends with ```, at the margin"
    return found


def examples() -> list[object]:
    """One parameter a block: the file, the line where its code starts, and the code."""
    files = [README] if README.is_file() else []
    parameters = []
    for file in [*files, *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        text = file.read_text(encoding="utf-8")
        for match in blocks(text):
            line = text.count("\n", 0, match.start("code")) + 1
            marks = [pytest.mark.skip(reason=match["reason"])] if match["reason"] else []
            parameters.append(pytest.param(file, line, match["code"], marks=marks, id=f"{file.relative_to(REPOSITORY)}:{line}"))
    return parameters


@pytest.mark.parametrize(("file", "line", "code"), examples())
def test_example_runs(file: Path, line: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = compile("\n" * (line - 1) + code, str(file), "exec")  # the blank lines make a traceback point into the document
    exec(program, {"__name__": "__main__"})


def test_readme_shows_python_that_runs() -> None:
    assert README.is_file(), "README.md is missing: the package cannot be built without it, and its examples belong to the tests"
    assert any(match["reason"] is None for match in blocks(README.read_text(encoding="utf-8"))), "no ```python block of README.md is run"


@pytest.mark.parametrize("text", ["```python\nx = 1\n", "- list\n  ```python\n  x = 1\n  ```\n", "```py\nx = 1\n```\n"])
def test_unreadable_block_is_an_error(text: str) -> None:
    with pytest.raises(AssertionError, match="1 Python blocks open and 0 can be read"):
        blocks(text)


def test_reason_belongs_to_the_block_below_it() -> None:
    first, second = blocks("<!-- not run: needs a GPU -->\n```python\nx = 1\n```\n\n```console\n$ ls\n```\n```python\ny = 2\n```\n")
    assert (first["reason"], first["code"]) == ("needs a GPU", "x = 1\n")
    assert (second["reason"], second["code"]) == (None, "y = 2\n")
