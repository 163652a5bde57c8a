"""The grammar of cells at the command line: rows on standard input, what is said of cells, and options that change how they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from temperance.cli.app import app

QUICK = ("--target", "y", "--trials", "1", "--threads", "1")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str, rows: str | None = None) -> Result:
    return CliRunner().invoke(app, list(args), input=rows, env={"COLUMNS": "200"})


def test_rows_on_standard_input() -> None:
    """A model of rows that come through a pipe predicts rows that come through a pipe as those of a file."""
    text = "x,y\n" + "".join(f"{i % 7}.5,{'p' if i % 7 > 3 else 'q'}\n" for i in range(60))
    Path("rows.csv").write_text(text, encoding="utf-8")
    result = run("fit", "-", *QUICK, rows=text)
    assert result.exit_code == 0, result.output
    piped, named = (run("predict", "standard-input-temperance", source, rows=text) for source in ("-", "rows.csv"))
    assert piped.exit_code == 0 and piped.stdout == named.stdout and piped.stdout.count("\n") == 61
    empty = run("fit", "-", *QUICK, "--overwrite", rows="")
    assert empty.exit_code == 2 and "0 bytes" in empty.output and "Traceback" not in empty.output
    address = run("fit", "https://example.org/rows.csv", *QUICK)
    assert address.exit_code == 2 and "curl -LO https://example.org/rows.csv" in address.output


def test_what_was_made_of_cells_is_said_and_kept() -> None:
    """Notes on the screen and in the summary; the model reads further rows alike, and its options are those of a replay."""
    n = range(60)
    frame = pd.DataFrame({
        "id": [f"u{i}" for i in n], "pay": [f"${i % 9 * 300:,}" for i in n], "day": [f"{i % 9 + 1}/{i % 12 + 1}/2026" for i in n],
        "gap": ["-" if i % 5 == 0 else i % 11 for i in n], "y": ["p" if i % 9 > 4 else "q" for i in n],
    })  # fmt: skip
    frame.to_csv("t.csv", index=False)
    asked = run("fit", "t.csv", *QUICK)
    assert asked.exit_code == 2 and "--dates dayfirst" in asked.output
    result = run("fit", "t.csv", *QUICK, "--dates", "dayfirst", "--na", "-", "--out", "out")
    assert result.exit_code == 0, result.output
    notes = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))["data"]["notes"]
    for words in ('missing: 12 cells "-" in column `gap`', "`id` is left out", "--keep id", '"$1,200" is 1200', "dates with the day first"):
        assert words in " ".join(result.output.split()), words
        assert words in " ".join(notes), words
    frame.drop(columns=["id", "y"]).astype(str).to_parquet("later.parquet")
    first, second = (run("predict", "out", name) for name in ("t.csv", "later.parquet"))
    assert first.exit_code == 0 and first.stdout == second.stdout
    assert "the same number" in run("replay", "out", "--trial", "0").output
    kept = run("fit", "t.csv", *QUICK, "--dates", "monthfirst", "--na", "-", "--keep", "id", "--out", "kept")
    assert kept.exit_code == 0 and "is left out" not in kept.output
