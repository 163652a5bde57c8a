"""A fit ships a model of all rows, and says nothing of it that it has not earned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score
from tests.data.image_files import write_folder
from tests.job.conftest import ROWS, Fit, make_people
from torch import nn

from temperance.cli.diagnosing import read_known, seen, untouched
from temperance.cli.robust import measure
from temperance.job import Job, fit as fit_module, fit_table, judged as judged_module, load, predict_table, replay_trial
from temperance.search.result import Search
from temperance.search.score import predict

SILENT = "the model that ships was asked about test rows"


def noted(job: Job) -> dict[str, Any]:
    return json.loads((job.folder / "run.json").read_text(encoding="utf-8"))


def page_of(job: Job) -> str:
    return (job.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> list[Search]:
    """The networks that ship are written, and fail when they are asked for a prediction."""
    search_plans, searches = fit_module.search_plans, list[Search]()

    def refuse(*_: Any) -> Any:
        raise AssertionError(SILENT)

    def muted(*arguments: Any, **settings: Any) -> Search:
        found = search_plans(*arguments, **settings)
        assert found.saw_test
        for network in (found.model, *found.refit.networks):
            assert isinstance(network, nn.Module)
            network.forward = refuse
        searches.append(found)
        return found

    monkeypatch.setattr(fit_module, "search_plans", muted)
    return searches


@pytest.mark.parametrize(("target", "parts"), [("rich", {"calibration", "confusion"}), ("price", {"residuals"}), (["a", "b"], set())])
def test_whatever_is_said_of_untouched_rows_is_said_of_networks_that_have_not_seen_them(fit: Fit, silent: list[Search], target: Any, parts: set[str]) -> None:
    job = fit(target, columns=("age", "job", "size"))
    (found,) = silent
    summary, held = job.summary, make_people().iloc[found.split.test]
    assert {"robustness", "importance", "verdicts", *parts} <= set(summary) and summary["importance"]["columns"]
    saved = load(job.folder)
    told = saved.target.decode(predict(found.scored.model, found.criterion, saved.encode(held)))
    name, score = ("r2", r2_score) if target == "price" else ("accuracy", accuracy_score)
    if isinstance(target, str):
        expected = score(held[target], told)
        assert summary["scores"]["test"][name]["value"] == pytest.approx(expected, abs=1e-5)
        for rival in summary["rivals"]:
            assert rival["difference"]["value"] == pytest.approx(expected - rival["test"][name]["value"], abs=1e-5)


@pytest.mark.parametrize(("share", "least", "rows"), [(9, 5, 9), (9, 12, 12), (1e9, 5, None)])
def test_a_model_whose_answers_take_long_is_attacked_on_fewer_rows(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, share: float, least: int, rows: int | None
) -> None:
    monkeypatch.setattr(judged_module, "work", lambda model: judged_module.WORK / share)
    monkeypatch.setattr(judged_module, "FEWEST", least)
    summary = fit("rich", columns=("age", "job", "size")).summary
    assert summary["robustness"]["n"] == (rows or summary["robustness"]["of"]) <= summary["robustness"]["of"]


def test_of_images_too(silent: list[Search], tmp_path: Path) -> None:
    job = fit_table(write_folder(tmp_path / "shapes", 40, 2), out=tmp_path / "out", trials=2, refits=2)
    assert silent and {"errors", "confusion", "calibration"} <= set(job.summary)


def test_it_is_told_whose_score_it_is_and_how_many_rows_trained_what_ships(fit: Fit) -> None:
    whole, kept = fit("rich", trials=2, ensemble=1), fit("rich", trials=2, ensemble=1, keep_test=True)
    ships = f"The model that ships, the average of 2 networks with the chosen cocktail, was then trained on all {ROWS} rows."
    scored = "the average of 5 networks with the chosen cocktail, one per fold, trained without these rows"
    assert page_of(whole).count(ships) == 2  # on the first screen and below the table
    assert page_of(whole).count(scored) == 4  # below the figure too, and where the average is told
    assert "trained again on all rows, for as many epochs" in page_of(whole)
    assert "was then trained" not in page_of(kept) and "trained again on training and validation rows together" in page_of(kept)
    for job, saw, rows in ((whole, True, ROWS), (kept, False, ROWS - ROWS // 5)):
        assert (job.summary["scores"]["saw_test"], noted(job)["saw_test"], job.summary["model"]["training_rows"]) == (saw, saw, rows)
        assert noted(job)["keep_test"] is not saw
    tables = [[row["score"] for row in job.summary["search"]["table"]] for job in (whole, kept)]
    assert tables[0] == tables[1] and replay_trial(whole.folder, 1)["same"] is True


def test_rows_of_a_test_file_do_not_train(fit: Fit, tmp_path: Path) -> None:
    make_people(40, seed=9).to_csv(tmp_path / "later.csv", index=False)
    job = fit("rich", trials=2, test=tmp_path / "later.csv")
    assert (job.summary["scores"]["saw_test"], noted(job)["saw_test"], job.summary["model"]["training_rows"]) == (False, False, ROWS)
    later = make_people(40, seed=9)
    score = job.summary["scores"]["test"]["accuracy"]["value"]
    assert score == pytest.approx(accuracy_score(later["rich"], predict_table(job.folder, later)["prediction"]))


def test_a_model_of_all_rows_says_so_when_it_is_measured_on_them(fit: Fit, people: Path, tmp_path: Path) -> None:
    make_people(40, seed=9).to_csv(tmp_path / "later.csv", index=False)
    settings: dict[str, Any] = {"eps": [0.1], "rows": 20, "steps": 2}

    def warned(job: Job, data: Path) -> list[str]:
        return [text for text in measure(load(job.folder), str(data), **settings)["warnings"] if "was trained on" in text]

    whole, kept = fit("rich", trials=1), fit("rich", trials=1, keep_test=True)
    own = fit("rich", trials=1, test=tmp_path / "later.csv")
    assert [text[:38] for text in warned(whole, people)] == ["the model was trained on these rows, s"]
    assert [text[:38] for text in warned(kept, people)] == ["the model was trained on most of these"]
    assert [text[:38] for text in warned(own, people)] == ["the model was trained on these rows, s"]
    assert warned(whole, tmp_path / "later.csv") == warned(own, tmp_path / "later.csv") == []


@pytest.mark.parametrize("settings", [{}, {"metric": "balanced_accuracy"}, {"weight": "w"}], ids=["plain", "balanced", "weighted"])
def test_the_test_rows_of_a_fit_are_known_again(fit: Fit, people: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    job = fit("rich", trials=1, keep_test=True, **settings)
    saved = load(job.folder)
    assert untouched(str(job.folder), saved, read_known(saved, str(people))).tolist() == job.search.split.test.tolist()
    assert not seen(job.folder)
    make_people().assign(rich=make_people()["rich"].iloc[::-1].to_numpy()).to_csv(tmp_path / "other.csv", index=False)
    assert len(untouched(str(job.folder), saved, read_known(saved, str(tmp_path / "other.csv")))) == 0


def test_a_fit_that_was_interrupted_before_its_end_ships_what_it_scored(fit: Fit) -> None:
    stopped = list[str]()

    def stop(facts: Any) -> None:
        if facts["phase"] == "refit" and not stopped:
            stopped.append("refit")
            raise KeyboardInterrupt

    job = fit("rich", trials=2, ensemble=1, on_progress=stop)
    assert stopped and not noted(job)["saw_test"]
    assert job.summary["model"]["training_rows"] == len(job.search.split.folds[0][0])
    held = make_people().iloc[job.search.split.test]
    score = job.summary["scores"]["test"]["accuracy"]["value"]
    assert score == pytest.approx(accuracy_score(held["rich"], predict_table(job.folder, held)["prediction"]))
    assert "was then trained" not in page_of(job)
    assert any("not trained again on all rows" in text for text in job.summary["warnings"])
    assert np.isin(job.search.split.test, job.search.split.train).sum() == 0
