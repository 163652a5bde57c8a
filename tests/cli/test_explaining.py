"""`temperance explain` on a screen and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.cli.conftest import Run
from tests.report.test_explanation import CARRIES, NOTHING, curve, facts, row

from temperance import job
from temperance.search.attribution.explanation import Explanation

FACTS = facts(CARRIES, NOTHING, row("EMA", "cannot tell", 0.001, -0.02, 0.03, "added"), doses=[curve("cannot tell", "helps")])


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Instead of training, the explanation of :data:`FACTS`; what was asked for."""
    asked: dict[str, Any] = {}

    def explain_fit(folder: str, *, on_progress: Any, **settings: Any) -> Explanation:
        asked.update(settings, folder=folder)
        on_progress({"phase": "each dropped, each added", "done": 0.4, "left": 30.0, "metric": "log_loss"})
        return Explanation(FACTS)

    monkeypatch.setattr(job, "explain_fit", explain_fit)
    return asked


def test_sentences_differences_and_doses_are_shown(run: Run, given: dict[str, Any]) -> None:
    result = run("explain", "income", "--seeds", "4", "--budget", "90s", "--data", "t.csv", "--device", "cpu")
    assert result.exit_code == 0
    assert given == {"folder": "income", "seeds": 4, "budget": "90s", "data": "t.csv", "model": None, "backbone": None, "device": "cpu"}
    text = " ".join(result.output.split())
    assert "each dropped, each added 40 % 30 s left" in text
    assert "Dropout carries it: without it log-loss is 0.021 higher (0.012 to 0.030)." in text
    assert "EMA added rate 0.2 +0.001 −0.020 to 0.030 cannot tell" in text
    assert "Dropout rate, chosen 0.5 0.2 +0.040 0.030 to 0.050" in text


def test_json_is_all_there_is_on_standard_output(run: Run, given: dict[str, Any]) -> None:
    result = run("explain", "income", "--json")
    assert json.loads(result.stdout) == json.loads(json.dumps(FACTS))
    assert "each dropped" in result.stderr


def test_a_fit_of_the_command_line_is_explained(run: Run, people: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.job.conftest import shortened

    from temperance.job import prepare

    monkeypatch.setattr(prepare, "tabular_plans", shortened(prepare.tabular_plans))
    assert run("fit", "people.csv", "--target", "rich", "--ignore", "price", "--trials", "2", "--ensemble", "1", "--out", "o").exit_code == 0
    result = run("explain", "o", "--seeds", "2")
    assert result.exit_code == 0, result.output
    assert "rows that neither the search nor these networks saw, under 2 seeds" in result.output, result.output
    assert json.loads((tmp_path / "o" / "explain.json").read_text(encoding="utf-8"))["seeds"] == 2
    assert "Which regularizers help" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
