"""The main job: what it leaves in its folder, and that it repeats."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score
from tests.folders import edit
from tests.job.conftest import ROWS, Fit, make_people
from torch import Tensor, nn

from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError, DataError
from temperance.job import Job, fit_table, load, predict_table, replay_trial
from temperance.job.build import load_build
from temperance.job.prepare import balanced, prepare
from temperance.job.saved import save_model
from temperance.nets import TabularNet, build_seeded
from temperance.nets.average import Average
from temperance.regularizers import L2, Dropout
from temperance.search.score import predict
from temperance.search.study import STUDY

FILES = {"model", "cocktail.json", "study.db", "history.csv", "summary.json", "report.html", "run.json"}


def summary_of(job: Job) -> dict[str, Any]:
    return json.loads((job.folder / "summary.json").read_text(encoding="utf-8"))


# The folder


def test_the_folder_holds_everything(job: Job) -> None:
    assert {path.name for path in job.folder.iterdir()} == FILES
    assert {path.suffix for path in (job.folder / "model").iterdir()} == {".safetensors", ".json"}


def test_the_summary_tells_what_happened(job: Job) -> None:
    summary = summary_of(job)
    assert (summary["target"], summary["task"], summary["data"]["rows"], summary["data"]["classes"]) == ("rich", "classification", ROWS, ["no", "yes"])
    split = summary["data"]["split"]
    assert (split["kind"], split["folds"], split["test"], split["train"] + split["validation"]) == ("k-fold", 5, ROWS // 5, ROWS - ROWS // 5)
    search = summary["search"]
    assert (search["trials"], search["asked_trials"], search["budget"], search["ended"]) == (6, 6, None, "done")
    best = max(row["score"] for row in search["table"])
    assert summary["scores"]["validation"]["accuracy"] == best == search["table"][search["winner"]]["score"]
    for score in summary["scores"]["test"].values():
        assert score["low"] <= score["value"] <= score["high"]
    assert [rival["name"] for rival in summary["rivals"]] == ["majority class", "linear model", "HistGradientBoosting (default)"]
    assert set(summary["gap"]["with"]) == set(summary["gap"]["without"]) == {"train", "validation", "test"}
    assert [text[:34] for text in summary["warnings"]] == ["there are only 20 test rows: the s", "the model keeps the rows it was tr"]
    assert summary["timing"]["total"] > 0
    assert job.summary["replay"] == f"temperance replay {job.folder} --trial {search['winner']}"


def test_folds_that_lack_a_rare_class_are_left_out_where_the_score_needs_it() -> None:
    """Of five rows of the rare class one is tested, and four are dealt to five folds."""
    x = np.random.default_rng(0).normal(size=300).round(3)
    rows = pd.DataFrame({"x": x, "y": np.where(np.argsort(np.argsort(x)) < 5, "ill", "well")})
    ready = prepare(rows, "y", metric="auc")
    assert len(ready.split.folds) == 4 and "auc is not defined on the validation rows of 1 of 5 folds; the others judge the trials" in ready.notes
    assert len(prepare(rows, "y", metric="log_loss").split.folds) == 5


def test_commands_that_are_printed_work_for_a_folder_with_a_space(fit: Fit, tmp_path: Path) -> None:
    job = fit("rich", out=tmp_path / "my fit", trials=2, refits=1, ensemble=1)
    commands = [job.summary["replay"], job.summary["predict"], *(text for _, text in job.summary["use"] if text.startswith("temperance "))]
    assert len(commands) == 3 and all(shlex.split(command)[2] == str(job.folder) for command in commands)


def test_the_score_of_a_model_that_kept_the_test_rows_is_its_own(fit: Fit) -> None:
    job = fit("rich", trials=2, keep_test=True)
    frame = make_people().iloc[job.search.split.test]
    labels = predict_table(job.folder, frame)["prediction"]
    assert summary_of(job)["scores"]["test"]["accuracy"]["value"] == pytest.approx(accuracy_score(frame["rich"], labels))


def test_the_history_is_that_of_the_search(job: Job) -> None:
    history = pd.read_csv(job.folder / "history.csv")
    assert set(history["run"]) == {"winner", "search", "without"}
    assert len(history) == len(job.search.history())
    winner = history[history["run"] == "winner"]
    assert winner["validation_score"].max() == pytest.approx(summary_of(job)["scores"]["validation"]["accuracy"])
    assert {"train_loss", "train_score", "validation_loss", "loss_running", "step", "epoch"} <= set(history.columns)


def test_the_study_is_one_of_optuna(job: Job) -> None:
    study = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{job.folder / 'study.db'}")
    assert [t.value for t in study.trials] == [row["score"] for row in summary_of(job)["search"]["table"]]


def test_the_report_needs_nothing_from_outside(job: Job) -> None:
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\(|<link|<iframe|fetch\(|XMLHttpRequest", page)
    assert all(source.startswith("data:") for source in re.findall(r"src=[\"']?([^\"' >]+)", page))
    for part in ("rich", "people.csv", "HistGradientBoosting"):
        assert part in page


@pytest.mark.parametrize("target", ["rich", "price"])
def test_the_same_seed_gives_the_same_summary_wherever_it_lies(fit: Fit, target: str) -> None:
    first, second, other = fit(target, seed=3), fit(target, seed=3), fit(target, seed=4)
    assert first.folder != second.folder
    kept = [{key: value for key, value in summary_of(made).items() if key != "timing"} for made in (first, second, other)]
    assert kept[0] == kept[1]
    assert kept[0] != kept[2]
    for name in ("model/model.safetensors", "model/model.json", "cocktail.json", "history.csv"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert (first.folder / "model" / "model.safetensors").read_bytes() != (other.folder / "model" / "model.safetensors").read_bytes()


# The model


def test_predictions_of_the_saved_model_are_those_of_the_search(job: Job) -> None:
    saved = load(job.folder)
    assert isinstance(job.search.model, Average) and isinstance(saved.model, Average)
    assert not saved.model.training
    frame = make_people()
    x = saved.encoder.transform(frame)
    out = saved.predictions(frame)
    assert torch.equal(out, predict(job.search.model, job.search.criterion, x))
    assert torch.equal(saved.predictions(frame.head(7)), out[:7])
    assert (saved.table(frame)["prediction"].to_numpy() == np.array(["no", "yes"])[out.argmax(1).numpy()]).all()


def test_predict_has_the_label_last_and_the_classes_before_it(job: Job, people: Path) -> None:
    plain = predict_table(job.folder, people)
    assert list(plain.columns) == ["prediction"] and len(plain) == ROWS
    chances = predict_table(job.folder, people, proba=True)
    assert list(chances.columns) == ["no", "yes", "prediction"]
    assert np.allclose(chances[["no", "yes"]].sum(axis=1), 1)
    assert (chances["prediction"] == np.where(chances["yes"] > chances["no"], "yes", "no")).all()
    assert (chances["prediction"] == plain["prediction"]).all()
    shuffled = make_people().sample(frac=1, random_state=0)[["job", "age"]]
    again = predict_table(job.folder, shuffled, proba=True)
    assert np.array_equal(again["yes"], chances["yes"].to_numpy()[shuffled.index])


def test_a_dataset_can_be_predicted_with_unseen_and_missing_values(job: Job) -> None:
    rows = pd.DataFrame({"age": [0.5, None], "job": ["astronaut", None]})
    assert predict_table(job.folder, rows, proba=True).drop(columns="prediction").notna().all().all()


def test_the_cocktail_is_loaded_and_attached_to_the_loaded_model(job: Job) -> None:
    cocktail = Cocktail.from_json(job.folder / "cocktail.json")
    assert repr(cocktail) == repr(job.search.cocktail) == summary_of(job)["cocktail"]["repr"]
    saved = load(job.folder)
    x = saved.encoder.transform(make_people())
    y, _ = saved.target.encode(make_people()["rich"])
    optimizer = torch.optim.SGD(saved.model.parameters(), lr=0.01)
    attached = cocktail.attach(saved.model, optimizer, nn.CrossEntropyLoss(), seed=0)
    before = {name: t.clone() for name, t in saved.model.state_dict().items()}
    saved.model.train()
    loss = attached.loss(x, y)
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert any(not torch.equal(t, before[name]) for name, t in saved.model.state_dict().items())
    attached.detach()


def test_a_file_that_is_no_model_of_ours_is_refused(job: Job, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected a folder written by `temperance fit`, got .* which holds no model"):
        load(tmp_path)
    for text, words in (("{", "Expected JSON in"), ('{"format": 99}', "Expected a model of format 3"), ('{"format": 2}', "got other fields: .*'networks'")):
        (tmp_path / "model.json").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=words):
            load(tmp_path)
    meta = json.loads((job.folder / "model" / "model.json").read_text(encoding="utf-8"))
    (tmp_path / "model.json").write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"Expected the weights in .* beside model\.json, got no file"):
        load(tmp_path)
    meta["networks"][0]["network"] = "Exec"
    (tmp_path / "model.json").write_text(json.dumps({**earlier(meta)}), encoding="utf-8")
    with pytest.raises(DataError, match=r"has to be one of 'TabularNet', .* and is 'Exec'"):
        load(tmp_path)


def earlier(meta: dict[str, Any]) -> dict[str, Any]:
    """As earlier versions wrote it: without hashes."""
    return {key: value for key, value in meta.items() if key not in ("sha256", "parts")} | {"format": 2}


def test_a_damaged_model_is_told_as_one(job: Job, tmp_path: Path) -> None:
    meta = earlier(json.loads((job.folder / "model" / "model.json").read_text(encoding="utf-8")))
    weights = (job.folder / "model" / "model.safetensors").read_bytes()

    def write(changes: Any, size: int) -> None:
        (tmp_path / "model.json").write_text(json.dumps(changes), encoding="utf-8")
        (tmp_path / "model.safetensors").write_bytes(weights[:size])

    for size in (0, 4, len(weights) // 2):
        write(meta, size)
        with pytest.raises(DataError, match=r"Expected the weights of a model in .*, got a damaged file: .*fit the model again\."):
            load(tmp_path)
    (spec, *rest) = meta["networks"]
    wrong = ([{"network": "TabularNet"}], [{**spec, "arguments": {**spec["arguments"], "wings": 2}}], [], [7])
    for changes in (*({**meta, "networks": [*networks, *rest] if networks else []} for networks in wrong), {k: v for k, v in meta.items() if k != "average"}):
        write(changes, len(weights))
        with pytest.raises(
            DataError, match=r"(Expected '.*' as `temperance fit` writes it, got other fields|Expected a network in).*(Fit|fit) the model again\."
        ):
            load(tmp_path)
    write([], 0)
    with pytest.raises(DataError, match=r"Expected JSON in .*has to be an object"):
        load(tmp_path)


def test_an_average_of_different_networks_is_loaded_with_its_weights(job: Job, tmp_path: Path) -> None:
    saved, frame = load(job.folder), make_people()
    sizes = {"num_features": 1, "cardinalities": list(saved.encoder.cardinalities), "out_features": 2}
    specs = [{"network": "TabularNet", "arguments": {**sizes, "hidden": hidden}} for hidden in ([4], [6], [4])]
    networks = [build_seeded(partial(TabularNet, **spec["arguments"]), seed).eval() for seed, spec in enumerate(specs)]
    module = Average(networks, "classification", [3, 2, 1]).eval()
    save_model(tmp_path / "model", module, specs, saved.encoder, saved.target)
    meta = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert (meta["average"], len(meta["networks"])) == ([0, 1, 0], 2)  # a structure is written once
    again = load(tmp_path)
    assert isinstance(again.model, Average) and torch.equal(again.model.weights, module.weights)
    assert torch.equal(again.predictions(frame), predict(module, job.search.criterion, saved.encoder.transform(frame)))
    single = tmp_path / "single"
    save_model(single, networks[1], specs[1:2], saved.encoder, saved.target)
    assert not isinstance(load(single).model, Average)


def test_the_summary_tells_of_the_average(job: Job) -> None:
    average = summary_of(job)["ensemble"]
    n, several = average["networks"], average["configurations"] > 1
    assert (average["kind"], average["trained"]) == ("greedy" if several else "seeds", "same_epochs") and n >= 2
    assert several == (average["selection"]["better"] and average["selection"]["configurations"] > 1)
    assert average["selection"]["rows"] == ROWS - ROWS // 5
    assert average["score"]["test"]["average"] == pytest.approx(summary_of(job)["scores"]["test"]["accuracy"]["value"])
    test, measured = average["error"]["test"], average["scored"]
    m = measured["configurations"] if several else measured["networks"]
    assert measured["networks"] == 5 * average["configurations"]  # one per fold
    assert several or test["average"] == pytest.approx(test["v"] / m + (m - 1) * test["c"] / m, rel=1e-5)  # measured in single precision
    assert (several or test["single"] == pytest.approx(test["v"])) and test["path"][-1] == test["average"] and len(test["path"]) == m
    assert average["error"]["name"] == "Brier score"
    assert (average["error"]["v"] is None) == (not several)  # of one configuration every network was trained on the validation rows


# Replay


def test_every_kind_of_trial_is_replayed_to_the_same_number(job: Job) -> None:
    table = summary_of(job)["search"]["table"]
    winner = summary_of(job)["search"]["winner"]
    dropped = next(row["trial"] for row in table if row["status"].startswith("dropped"))
    assert table[winner]["status"] == "finished"
    for trial in (winner, dropped):
        again = replay_trial(job.folder, trial)
        assert again["same"] is True, again
        assert again["score_now"] == again["score_then"] == table[trial]["score"]
        assert again["epochs"] == pytest.approx(table[trial]["epochs"], abs=1e-3)
        assert again["status"] == table[trial]["status"]


def test_every_trial_of_a_number_is_replayed_in_its_units(fit: Fit) -> None:
    job = fit("price", metric="rmse", use=[L2(0.01), "L1"], without=["MixUp"], weight="w")
    table = summary_of(job)["search"]["table"]
    assert sorted(row["status"].split(" ")[0] for row in table) == ["dropped", "dropped", "finished"]
    assert all({"l2.lam", "l1.lam"} <= set(row["strengths"]) and "mixup.alpha" not in row["strengths"] for row in table)
    for row in table:
        again = replay_trial(job.folder, row["trial"])
        assert again["same"] is True and again["score_now"] == row["score"]


def test_replay_refuses_other_trials_other_rows_and_other_folders(job: Job, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Expected `--trial` to be a trial of .*, from 0 to 5, got 6"):
        replay_trial(job.folder, 6)
    with pytest.raises(DataError, match=r"Expected the rows that the fit was made from"):
        replay_trial(job.folder, 0, data=make_people(seed=1))
    with pytest.raises(DataError, match=r"holds no summary.json and run.json"):
        replay_trial(tmp_path, 0)
    told: list[Any] = []
    assert replay_trial(job.folder, 0, data=make_people(), on_progress=told.append)["same"] is True
    assert [report["phase"] for report in told] == ["replay"] * len(told) and told[-1]["done"] <= 1.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table[0].update(plan="forest"), "of the plans .*, got forest"),
        (lambda table: table[0].pop("planned_steps"), "got no `planned_steps`"),
        (lambda table: table.clear(), "to list the trials of the fit, got none"),
    ],
)
def test_a_changed_table_of_trials_is_refused_in_words(job: Job, tmp_path: Path, change: Callable[[Any], Any], told: str) -> None:
    """By a folder with hashes that belong to it: whoever changed it made them anew."""
    shutil.copytree(job.folder, tmp_path / "o")

    def changed(data: Any) -> None:
        change(data["search"]["table"])

    edit(tmp_path / "o", "summary.json", changed)
    with pytest.raises(DataError, match=told):
        replay_trial(tmp_path / "o", 0, data=make_people())


def test_replay_of_rows_without_a_file_needs_them(fit: Fit) -> None:
    job = fit("rich", source=make_people(), trials=1, refits=1)
    with pytest.raises(DataError, match=r"it was not read from a file\. Give it as `data`: --data FILE"):
        replay_trial(job.folder, 0)
    assert replay_trial(job.folder, 0, data=make_people())["same"] is True


# Options


def test_rows_of_the_test_file_are_the_untouched_ones(fit: Fit, tmp_path: Path) -> None:
    later = make_people(40, seed=9)
    later.to_csv(tmp_path / "later.csv", index=False)
    job = fit("price", test=tmp_path / "later.csv")
    assert job.search.split.test.tolist() == list(range(ROWS, ROWS + 40))
    named = np.unique(np.concatenate([np.concatenate(pair) for pair in job.search.split.folds]))
    assert named.tolist() == list(range(ROWS))
    summary = summary_of(job)
    assert (summary["scores"]["n_test"], summary["data"]["rows"]) == (40, ROWS + 40)
    values = predict_table(job.folder, tmp_path / "later.csv")["prediction"]
    assert summary["scores"]["test"]["r2"]["value"] == pytest.approx(r2_score(later["price"], values), abs=1e-4)
    assert summary["scores"]["test"]["mae"]["value"] == pytest.approx(mean_absolute_error(later["price"], values), rel=1e-4)
    winner = summary["search"]["winner"]
    assert replay_trial(job.folder, winner)["same"] is True


def test_test_rows_teach_nothing(fit: Fit, tmp_path: Path) -> None:
    """Other values in the test file give the same model, to the bit."""
    later = make_people(40, seed=9)
    later.to_csv(tmp_path / "later.csv", index=False)
    later.assign(age=later["age"] * 50, price=later["price"] * 9).to_csv(tmp_path / "other.csv", index=False)
    first, second = (fit("price", test=tmp_path / name) for name in ("later.csv", "other.csv"))
    assert (first.folder / "model" / "model.safetensors").read_bytes() == (second.folder / "model" / "model.safetensors").read_bytes()
    assert summary_of(first)["search"]["table"] == summary_of(second)["search"]["table"]
    assert summary_of(first)["scores"]["test"] != summary_of(second)["scores"]["test"]


def test_a_column_of_weights_is_no_input_and_changes_the_fit(fit: Fit) -> None:
    ready = prepare(make_people(), "rich", weight="w", ignore=["price"])
    assert ready.data.weight is not None
    assert np.allclose(ready.data.weight, make_people()["w"])
    inputs = {*ready.encoder.numeric_names, *(getattr(c, "name", c) for c in ready.encoder.categorical)}
    assert not {"w", "price", "rich"} & inputs
    assert {"age", "job"} <= inputs
    plain, weighted = fit("rich"), fit("rich", weight="w")
    assert summary_of(plain)["search"]["table"] != summary_of(weighted)["search"]["table"]
    assert "w" not in [column["name"] for column in summary_of(weighted)["data"]["columns"]]
    assert len(predict_table(weighted.folder, make_people()[["age", "job"]])) == ROWS


def test_ignored_columns_are_not_needed_to_predict(job: Job) -> None:
    columns = {column["name"]: column for column in summary_of(job)["data"]["columns"]}
    assert columns["price"]["kind"] == "ignored" and columns["age"]["kind"] != "ignored"
    assert len(predict_table(job.folder, make_people()[["age", "job"]])) == ROWS


@pytest.mark.parametrize("weight", [None, "w"])
def test_balanced_accuracy_weights_rows(weight: str | None) -> None:
    frame = make_people()
    ready = prepare(frame, "rich", metric="balanced_accuracy", weight=weight, ignore=["price", "size", "a", "b"])
    assert ready.metric.name == "balanced_accuracy"
    assert ready.data.weight is not None and isinstance(ready.data.y, Tensor)
    totals = (ready.data.y * ready.data.weight[:, None])[ready.split.train].sum(0)
    assert torch.allclose(totals[0], totals[1], rtol=1e-5)
    own = np.ones(ROWS) if weight is None else frame["w"].to_numpy()
    for label in ("no", "yes"):
        ratio = ready.data.weight.numpy()[frame["rich"] == label] / own[frame["rich"] == label]
        assert np.allclose(ratio, ratio[0], rtol=1e-5)
    assert any("every class counts alike" in note for note in ready.notes)
    assert torch.equal(balanced(prepare(frame, "rich", weight=weight, ignore=["price", "size", "a", "b"]).data, ready.split.train), ready.data.weight)


def test_balanced_accuracy_decides_and_is_scored_unweighted(fit: Fit) -> None:
    job = fit("rich", metric="balanced_accuracy", keep_test=True)
    summary = summary_of(job)
    assert summary["metric"]["name"] == "balanced_accuracy"
    frame = make_people().iloc[job.search.split.test]
    labels = predict_table(job.folder, frame)["prediction"]
    assert summary["scores"]["test"]["accuracy"]["value"] == pytest.approx(accuracy_score(frame["rich"], labels))


def test_several_values(fit: Fit) -> None:
    job = fit(["price", "size"], keep_test=True)
    summary = summary_of(job)
    assert (summary["target"], summary["task"]) == ("price, size", "regression")
    table = predict_table(job.folder, make_people())
    assert list(table.columns) == ["prediction price", "prediction size"]
    assert np.corrcoef(table["prediction price"], make_people()["price"])[0, 1] > 0.8
    assert np.corrcoef(table["prediction size"], make_people()["size"])[0, 1] > 0.8
    held = job.search.split.test
    expected = r2_score(make_people()[["price", "size"]].iloc[held], table.iloc[held])
    assert summary["scores"]["test"]["r2"]["value"] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(ConfigError, match=r"Expected a classification model for `--proba`, got a regression of price, size"):
        predict_table(job.folder, make_people(), proba=True)


def test_several_labels(fit: Fit) -> None:
    job = fit(["a", "b"], columns=("age", "job", "size"))
    assert summary_of(job)["task"] == "multilabel"
    table = predict_table(job.folder, make_people(), proba=True)
    assert list(table.columns) == ["a", "b", "prediction a", "prediction b"]
    for name in ("a", "b"):
        assert ((table[name] > 0.5) == (table[f"prediction {name}"] == 1)).all()
        assert table[name].between(0, 1).all()
    assert list(predict_table(job.folder, make_people()).columns) == ["prediction a", "prediction b"]
    assert summary_of(job)["rivals"][0]["name"] == "label rates"


def test_rows_without_a_target(fit: Fit, tmp_path: Path) -> None:
    frame = make_people()
    frame.loc[frame.index % 5 == 0, "rich"] = None
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    job = fit("rich", source=tmp_path / "gaps.csv", use=["VAT"])
    summary = summary_of(job)
    assert summary["data"]["unlabeled"] == 20
    assert sum(summary["data"]["class_counts"].values()) == ROWS - 20
    assert any(note.startswith("20 rows have no target") for note in summary["data"]["notes"])
    assert re.match(r"20 rows without a target were used by (no regularizer|\w+)", summary["data"]["unlabeled_use"])
    assert summary["data"]["unlabeled_use"] in (job.folder / "report.html").read_text(encoding="utf-8")
    assert all(row % 5 for row in job.search.split.test.tolist())
    assert {rival["rows"] for rival in summary["rivals"]} == {ROWS - 20 - len(job.search.split.test)}
    assert any("vat" in name for name in summary["search"]["table"][0]["strengths"])
    assert predict_table(job.folder, frame)["prediction"].isin(["no", "yes"]).all()
    assert replay_trial(job.folder, summary["search"]["winner"])["same"] is True


NETWORK = """
from torch import nn


class Net(nn.Module):
    def __init__(self, data):
        super().__init__()
        self.linear = nn.Linear(data.in_features, data.out_features)
        self.codes = nn.Embedding(data.cardinalities[0], data.out_features)

    def forward(self, x):
        return self.linear(x["num"]) + self.codes(x["cat"][:, 0])


def build(data):
    assert data.classes == ("no", "yes")
    return Net(data)
"""


def test_a_network_of_ones_own(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK, encoding="utf-8")
    named = f"{tmp_path / 'net.py'}:build"
    job = fit("rich", model=named)
    assert {path.suffix for path in (job.folder / "model").iterdir()} == {".safetensors", ".json"}
    assert summary_of(job)["model"]["network"] == "Net"
    with pytest.raises(ConfigError, match=r"The model's network is your own \(.*net\.py:build\), and loading a model runs no code\. Name the function"):
        load(job.folder)
    build = load_build(named)
    saved = load(job.folder, build)
    assert torch.equal(saved.predictions(make_people()), predict(job.search.model, job.search.criterion, saved.encoder.transform(make_people())))
    assert len(predict_table(job.folder, make_people(), build=build)) == ROWS
    assert replay_trial(job.folder, summary_of(job)["search"]["winner"], model=named)["same"] is True
    with pytest.raises(ConfigError, match=r"Expected the weights in .* to fit the network"):
        load(job.folder, lambda data: nn.Linear(1, 1))


def test_threads_are_used_and_given_back(fit: Fit) -> None:
    seen: list[int] = []
    torch.set_num_threads(2)
    job = fit("rich", threads=1, trials=1, refits=1, on_understood=lambda _: seen.append(torch.get_num_threads()))
    assert seen == [1]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert json.loads((job.folder / "run.json").read_text(encoding="utf-8"))["threads"] == 1
    with pytest.raises(ConfigError, match=r"Expected `threads`"):
        fit("rich", threads=0)


def test_what_was_understood_is_told_before_training(fit: Fit) -> None:
    told: list[Any] = []
    fit("rich", trials=1, refits=1, use=[Dropout(0.3)], on_understood=told.append)
    (about,) = told
    assert (about["rows"], about["target"], about["task"], about["classes"], about["metric"], about["trials"]) == (
        ROWS,
        "rich",
        "classification",
        ["no", "yes"],
        "accuracy",
        1,
    )
    assert {c["column"] for c in about["columns"]} >= {"age", "job"}
    assert all("dropout.rate" in plan["strengths"] for plan in about["space"])
    assert not any(isinstance(s["low"], float) and math.isnan(s["low"]) for plan in about["space"] for s in plan["strengths"].values())


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_seeds_that_cannot_be(people: Path, tmp_path: Path, seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"Expected `seed` of fit to be a whole number in \[0, inf\)"):
        fit_table(people, "rich", out=tmp_path / "o", trials=1, seed=seed)
    assert not (tmp_path / "o").exists()
