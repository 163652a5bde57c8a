"""``temperance diagnose``: a table, JSON, a page, and one message for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.cli.conftest import Run

from temperance.data import TableEncoder, TargetEncoder, plan_split, table_dataset
from temperance.data.dataset import fingerprint
from temperance.job.saved import save_model
from temperance.nets import TabularNet, build_seeded


@pytest.fixture
def fitted(people: pd.DataFrame, tmp_path: Path) -> Path:
    """What a fit of `people.csv` leaves, with a network as it was initialized."""
    frame = people[["age", "job", "rich"]]
    frame.to_csv(tmp_path / "people.csv", index=False)
    target = TargetEncoder().fit(frame["rich"], None, "rich")
    split = plan_split(target.encode(frame["rich"])[0], "classification", seed=3)
    data, encoder, target = table_dataset(frame, "rich", fit_rows=split.train)
    assert isinstance(encoder, TableEncoder)
    spec = {
        "network": "TabularNet",
        "arguments": {"num_features": len(encoder.numeric_names), "cardinalities": list(encoder.cardinalities), "out_features": 2, "hidden": [8]},
    }
    module = build_seeded(lambda: TabularNet(len(encoder.numeric_names), encoder.cardinalities, 2, hidden=(8,)), 0)
    save_model(tmp_path / "fit" / "model", module, [spec], encoder, target)
    run = {"test": None, "weight": None, "task": None, "metric": None, "seed": 3, "rows": fingerprint(data)}
    (tmp_path / "fit" / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return tmp_path / "fit"


def test_the_rows_of_the_fit_are_known_again(run: Run, fitted: Path) -> None:
    result = run("diagnose", fitted, "people.csv", "--json", "--lr", 0.1)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["rows"] == {"train": 64, "validation": 16}
    assert facts["held_out"] == ", which the fit had kept for testing"
    assert {"step", "gap", "curvature", "units"} <= {f["check"] for f in facts["findings"]}


def test_rows_that_the_model_was_trained_on_validate_nothing(run: Run, fitted: Path, people: pd.DataFrame) -> None:
    noted = json.loads((fitted / "run.json").read_text(encoding="utf-8"))
    (fitted / "run.json").write_text(json.dumps({**noted, "saw_test": True}), encoding="utf-8")
    facts = json.loads(run("diagnose", fitted, "people.csv", "--json").stdout)
    assert facts["rows"] == {"train": 80, "validation": 0} and "gap" in {s["check"] for s in facts["skipped"]}
    assert facts["notes"][0].endswith("give such rows with --validation FILE")
    shown = run("diagnose", fitted, "people.csv", "--check", "gap", "--check", "units", "--out", "page.html").stdout
    assert "Note: the model was trained on all of these rows" in shown
    assert "the model was trained on all of these rows" in Path("page.html").read_text(encoding="utf-8").lower().replace("&#39;", "'")
    people[["age", "job", "rich"]].tail(30).to_csv("new.csv", index=False)
    facts = json.loads(run("diagnose", fitted, "people.csv", "--validation", "new.csv", "--json").stdout)
    assert facts["rows"] == {"train": 80, "validation": 30} and not [note for note in facts["notes"] if "trained on all" in note]


def test_other_rows_and_validation_rows(run: Run, fitted: Path, people: pd.DataFrame, tmp_path: Path) -> None:
    people[["age", "job", "rich"]].head(50).to_csv(tmp_path / "some.csv", index=False)
    people[["age", "job", "rich"]].tail(30).to_csv(tmp_path / "new.csv", index=False)
    facts = json.loads(run("diagnose", fitted, "some.csv", "--json").stdout)
    assert facts["rows"] == {"train": 50, "validation": 0}
    assert "gap" in {s["check"] for s in facts["skipped"]}
    facts = json.loads(run("diagnose", fitted, "some.csv", "--validation", "new.csv", "--json", "--check", "gap", "--rows", 40).stdout)
    assert facts["rows"] == {"train": 40, "validation": 30}
    assert [f["check"] for f in facts["findings"]] == ["gap"]


def test_the_table_and_the_page(run: Run, fitted: Path, tmp_path: Path) -> None:
    result = run("diagnose", fitted, "people.csv", "--lr", 100.0, "--out", "page.html", COLUMNS="100")
    assert result.exit_code == 0, result.output
    assert "step_size" in result.stdout and "Causes:" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "step size" in page and "people.csv" in page
    assert "Wrote page.html." in result.stderr


def test_listed_rows_are_those_of_the_file(run: Run, fitted: Path, monkeypatch: pytest.MonkeyPatch, people: pd.DataFrame) -> None:
    from temperance.cli import diagnosing
    from temperance.diagnose import Diagnosis, Finding

    seen: list[np.ndarray] = []

    def diagnose(model: object, given: object, **settings: object) -> Diagnosis:
        seen.append(given.x["num"][:, 0].numpy())  # pyright: ignore[reportAttributeAccessIssue]
        return Diagnosis((Finding("labels", "memorized_labels", {"rows": [0, 5]}, "", "bad"),))

    monkeypatch.setattr(diagnosing, "diagnose", diagnose)
    result = run("diagnose", fitted, "people.csv", "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    first, sixth = facts["findings"][0]["value"]["rows"]
    ages = people["age"].to_numpy()
    order = np.argsort(seen[0])
    assert len(order) == 64
    assert (ages[first - 1] < ages[sixth - 1]) == (seen[0][0] < seen[0][5])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nowhere", "people.csv"), "'nowhere', which does not exist"),
        (("fit", "missing.csv"), "missing.csv"),
        (("fit", "blind.csv"), "Expected the target `rich` among the columns of 'blind.csv'"),
        (("fit", "people.csv", "--lr", "-1"), "Expected `lr` of diagnose in (0, inf)"),
        (("fit", "people.csv", "--check", "gaps"), "Did you mean 'gap'?"),
        (("fit", "people.csv", "--rows", "0"), "Expected `rows` of diagnose in [1, inf), got 0."),
        (("fit", "people.csv", "--out", "page.txt"), "Expected `--out` to name an .html file, got 'page.txt'."),
        (("fit", "people.csv", "--out", "no/page.html"), "to be a file in an existing folder"),
    ],
)
def test_bad_input(run: Run, fitted: Path, people: pd.DataFrame, arguments: tuple[str, ...], text: str) -> None:
    people[["age", "job"]].to_csv("blind.csv", index=False)
    result = run("diagnose", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr
    assert "Traceback" not in result.output
