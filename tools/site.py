"""What the documentation site adds to docs/: the reference from the docstrings, and the pages that stand at the root of the repository."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import temperance as tp

ROOT = Path(__file__).resolve().parents[1]
AT_ROOT = ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")
SUBJECTS = ("optim", "schedules", "losses", "selectors", "nets", "data", "ensemble", "train", "lab")


def pages() -> Iterator[tuple[str, str]]:
    """Path and Markdown of every page that docs/ does not hold."""
    for name in AT_ROOT:
        yield f"{name.lower()}.md", (ROOT / f"{name}.md").read_text(encoding="utf-8")
    shown: set[Any] = set()
    own = set(tp.__all__) - set(tp.regularizers.__all__) - set(SUBJECTS)
    estimators = own & set(tp.estimators.__all__)
    yield "reference/verbs.md", reference("To do something", tp, sorted(own - estimators), shown)
    yield "reference/estimators.md", reference("Estimators", tp, sorted(estimators), shown)
    yield "reference/regularizers.md", reference("Regularizers", tp.regularizers, tp.regularizers.__all__, shown)
    for subject in SUBJECTS:
        module = getattr(tp, subject)
        yield f"reference/{subject}.md", reference(f"temperance.{subject}", module, module.__all__, shown)


def reference(title: str, module: Any, names: list[str], shown: set[Any]) -> str:
    """A page with the docstring of every class and function that no page has shown, from where it is defined."""
    found = [value for name in names if inspect.isclass(value := getattr(module, name)) or inspect.isfunction(value)]
    new = [value for value in found if value not in shown]
    shown.update(new)
    return "\n\n".join([f"# {title}", *(f"::: {value.__module__}.{value.__qualname__}" for value in new)])


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    for path, text in pages():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they read on the site: pages beside each other, and files of the code as their name alone."""
    names = "|".join(AT_ROOT)
    markdown = re.sub(rf"\]\((?:\.\./)?({names})\.md", lambda found: f"]({found[1].lower()}.md", markdown)
    markdown = re.sub(r"\]\(docs/([\w-]+\.md)", r"](\1", markdown)
    return re.sub(r"\[([^\]]*)\]\((?:\.\./)?(?:src|tests|benchmarks|docs|LICENSE)\b[^)]*\)", r"\1", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Roles of Sphinx, which docstrings use for names, as the name alone."""
    return re.sub(r":(?:func|class|meth|mod|data|attr):(?=<code>)", "", html)
