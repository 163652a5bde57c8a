"""The table that README.md takes from the registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools import docs
from tools.coverage import CLAIMS, OUTSIDE, ROWS, SECTIONS

from temperance.catalogue import rows
from temperance.core.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_readme_is_current() -> None:
    path = REPOSITORY / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert docs.BEGIN in text and docs.END in text, (
        f"README.md lacks the lines {docs.BEGIN} and {docs.END}, between which `make docs` writes the table of regularizers"
    )
    assert docs.updated(text) == text, "the table in README.md is out of date: run `make docs`"


def test_table_has_every_entry_and_valid_markdown() -> None:
    found = rows()
    lines = docs.table(found).splitlines()
    body = [line for line in lines if line.startswith("| `")]
    assert [line.split("`")[1] for line in body] == [row["name"] for row in found if row["kind"] == "regularizer"]
    assert {line.replace("\\|", "").count("|") for line in body} == {6}
    assert len(body) == len(lines) - 4, "a heading and its rule, an empty line, and the exceptions"
    assert lines[-1].startswith("Exceptions from the laws: ")
    (dropout,) = [line for line in body if line.startswith("| `Dropout`")]
    assert "`input_rate` 0, 0.01 to 0.4, off 0" in dropout
    assert "off ∞" in next(line for line in body if "MaxNorm" in line)


def test_overview_links_every_entry_to_its_card() -> None:
    lines, page = docs.overview(rows()).splitlines(), docs.cards()
    assert len(lines) == 2 + len(SECTIONS)
    links = [link for line in lines for link in re.findall(r"\(docs/cards\.md#([^)]+)\)", line)]
    assert len(links) == sum(row["spec"] != OUTSIDE for row in rows())
    headings = {docs._anchor(line[3:]) for line in page.splitlines() if line.startswith("## ")}
    assert set(links) <= headings


def test_declared_exceptions_are_shown() -> None:
    row = {**next(row for row in rows() if row["name"] == "L2"), "exceptions": {"double precision": "reads a table of single floats"}}
    assert "Exceptions from the laws: `L2`: double precision (reads a table of single floats)." in docs.table([row])


def repository(tmp_path: Path, readme: str) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    return tmp_path


@pytest.fixture
def from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of another folder, whose links are made from this repository's files."""
    monkeypatch.setattr(docs, "catalogue", lambda root, made=docs.catalogue: made(REPOSITORY))


def test_update_replaces_what_is_between_the_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str], from_here: None) -> None:
    root = repository(tmp_path, f"# Title\n\n{docs.BEGIN}\nOUTDATED\n{docs.END}\n\nEnd.\n")
    assert docs.main(root) == 0
    path = root / "README.md"
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# Title\n\n{docs.BEGIN}\n| | |") and text.endswith(f"{docs.END}\n\nEnd.\n") and "OUTDATED" not in text
    assert docs.main(root) == 0
    assert path.read_text(encoding="utf-8") == text
    paths = [path, *(root / "docs" / name for name in ("catalogue.md", "cards.md", "lab.md", "lectures.md"))]
    assert capsys.readouterr().out.splitlines() == [f"{p}: {state}" for state in ("written", "up to date") for p in paths]


@pytest.mark.parametrize("text", ["", docs.BEGIN, f"{docs.END} {docs.BEGIN}", f"{docs.BEGIN} {docs.END} {docs.BEGIN} {docs.END}"])
def test_missing_markers_are_an_error(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"registry:begin.*registry:end.*Put these two lines"):
        docs.updated(text)
    root = repository(tmp_path, text)
    assert docs.main(root) == 2
    assert docs.main(tmp_path / "nowhere") == 2
    assert capsys.readouterr().err.count("Error: ") == 2
    assert (root / "README.md").read_text(encoding="utf-8") == text


def test_pages_are_current() -> None:
    for path, (before, after) in docs.pages_of(REPOSITORY).items():
        assert before == after, f"{path.name} is out of date: run `make docs`"


def test_every_row_is_filled_and_every_entry_has_a_row_a_file_and_a_test() -> None:
    found = rows()
    assert {row["spec"] for row in found} - {OUTSIDE} == set(ROWS)
    for row in found:
        file = docs.source_of(row["name"], REPOSITORY)
        assert (REPOSITORY / file).is_file()
        assert (REPOSITORY / docs.test_of(row["name"], file, REPOSITORY)).is_file(), f"no test mentions {row['name']}"


@pytest.mark.parametrize(("section", "claim", "place"), CLAIMS)
def test_claims_have_tests(section: int, claim: str, place: str) -> None:
    assert section in SECTIONS and claim
    assert (REPOSITORY / place).is_file()
