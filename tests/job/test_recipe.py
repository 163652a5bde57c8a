"""A recipe trains the networks of a fit again: the very same ones on the same rows, and others in its way on other rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.data.image_files import write_folder
from tests.job.conftest import Fit, make_people
from tests.job.test_load import BUILD, FEW
from torch import nn

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.job import Job, fit_table
from temperance.job.build import load_build
from temperance.nets import Average

COLUMNS = ["age", "job", "rich"]


def trained_rows(job: Job) -> tp.data.Dataset:
    """The rows that the networks of a fit were trained on, encoded as the fit did."""
    return tp.load(job.folder).dataset(make_people())


def test_on_the_same_rows_it_is_the_same_model(job: Job) -> None:
    assert job.search.refit.how == "same_epochs"
    done = tp.fit(data=trained_rows(job), recipe=job.folder)
    model = tp.load(job.folder)
    x = model.encode(make_people())
    assert isinstance(done.model, Average) and len(done.outcomes) == len(job.search.refit.networks)
    assert all(torch.equal(a, b) for a, b in zip(done.model.state_dict().values(), model.model.state_dict().values(), strict=True))
    with torch.no_grad():
        assert torch.equal(done.model(x), model.model(x))
        assert torch.equal(done.member(0)(x), job.search.refit.networks[0].eval()(x))


def test_the_seed_decides(job: Job) -> None:
    rows, recipe = trained_rows(job), tp.load(job.folder).recipe
    own = min(course.seed for course in recipe.courses)
    first, again, other = (tp.fit(data=rows, recipe=recipe, seed=seed).model.state_dict() for seed in (own, own, own + 1000))
    shipped = tp.load(job.folder).model.state_dict()
    assert all(torch.equal(first[key], again[key]) and torch.equal(first[key], shipped[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_the_file_is_the_whole_recipe_and_a_cocktail(job: Job) -> None:
    text = (job.folder / "cocktail.json").read_text(encoding="utf-8")
    recipe = tp.train.Recipe.of(job.folder)
    assert recipe.to_json() + "\n" == text and tp.train.Recipe.of(json.loads(text)).to_json() == recipe.to_json()
    assert repr(tp.Cocktail.from_json(job.folder / "cocktail.json")) == repr(job.search.cocktail) == repr(recipe.cocktail)
    for course, config in zip(recipe.courses, job.search.refit.configs, strict=True):
        assert course.network == json.loads(json.dumps(config.plan.spec))
        assert repr(course.cocktail) == repr(config.cocktail)
        assert course.optimizer.to_dict() == config.optimizer.to_dict() and course.optimizer.hypers()["lr"] == config.lr
        assert (course.batch_size, course.weight) == (config.plan.batch_size, 1.0)
        (trial,) = [t for t in job.search.trials if t.config.number == config.number]
        assert course.epochs == trial.best_epoch and 0 < course.progress <= 1
    assert len({course.seed for course in recipe.courses}) == len(recipe.courses)
    assert len(repr(recipe).splitlines()) <= 20


def test_it_goes_as_far_through_the_schedules_as_it_did(job: Job) -> None:
    """Half of the schedule: the learning rate of the last step is that at the middle of a run twice as long."""
    recipe, rows = tp.load(job.folder).recipe, trained_rows(job)
    (course, *_) = recipe.courses
    optimizer = course.optimizer.replace(lr=tp.schedules.Linear(0.01))
    rates: dict[float, float] = {}
    for progress in (0.5, 1.0):
        alone = replace(recipe, courses=(replace(course, optimizer=optimizer, epochs=8.0, progress=progress),))
        rates[progress] = tp.fit(data=rows, recipe=alone).outcomes[0].history[-1]["learning_rate"]
    assert rates[0.5] == pytest.approx(0.005, rel=0.05) and rates[1.0] < 0.001


def test_estimators_follow_it_on_other_rows(job: Job) -> None:
    """Other rows, another level, a gap, another order of the columns: sizes and scales are those of the new rows."""
    frame = make_people(160, seed=5)
    frame.loc[3, "job"], frame.loc[4, "age"] = "baker", None
    train, test = frame.iloc[:120], frame.iloc[120:]
    estimator = tp.TemperanceClassifier(recipe=job.folder / "cocktail.json").fit(train[["job", "age"]], train["rich"])
    assert estimator.encoder_.cardinalities == (5,)
    assert repr(estimator.cocktail_) == repr(tp.load(job.folder).cocktail)
    assert estimator.score(test[["job", "age"]], test["rich"]) > max(np.mean(test["rich"] == c) for c in ("yes", "no"))
    p = estimator.predict_proba(test[["job", "age"]])
    again = tp.TemperanceClassifier(recipe=json.loads((job.folder / "cocktail.json").read_text(encoding="utf-8"))).fit(train[["job", "age"]], train["rich"])
    assert np.array_equal(again.predict_proba(test[["job", "age"]]), p)
    other = tp.TemperanceClassifier(recipe=str(job.folder), random_state=3).fit(train[["job", "age"]], train["rich"])
    assert not np.array_equal(other.predict_proba(test[["job", "age"]]), p)
    assert estimator.n_iter_ > 0 and len(estimator.history_) and estimator.search_.how == "recipe"


def test_regressors_follow_it_in_units_of_their_own(fit: Fit) -> None:
    job = fit("price", trials=2, ensemble=1, refits=1)
    frame = make_people(160, seed=5)
    frame["price"] = 1000 * frame["price"] + 5e5
    estimator = tp.TemperanceRegressor(recipe=job.folder).fit(frame[["age", "job"]], frame["price"])
    assert abs(float(np.mean(estimator.predict(frame[["age", "job"]]))) - frame["price"].mean()) < frame["price"].std()


def test_rows_held_out_are_scored_and_not_trained_on(job: Job) -> None:
    frame, other = make_people(100, seed=5), make_people(60, seed=6)
    inputs = ["age", "job"]
    plain = tp.TemperanceClassifier(recipe=job.folder).fit(frame[inputs], frame["rich"])
    scored = tp.TemperanceClassifier(recipe=job.folder).fit(frame[inputs], frame["rich"], X_val=other[inputs], y_val=other["rich"])
    assert np.array_equal(plain.predict_proba(other[inputs]), scored.predict_proba(other[inputs]))
    assert scored.best_score_ == pytest.approx(scored.score(other[inputs], other["rich"])) and np.isnan(plain.best_score_)
    rows, held = tp.load(job.folder).dataset(frame), tp.load(job.folder).dataset(other)
    a, b = (tp.fit(data=rows, recipe=job.folder, validation=v) for v in (None, held))
    assert all(torch.equal(x, y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True))
    assert "validation_score" in b.history


def test_plain_numbers_are_a_table_without_categories(fit: Fit) -> None:
    job = fit("rich", columns=("age", "price"), trials=2, ensemble=1, refits=1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    done = tp.fit(data=(X, (X[:, 0] > 0).astype(int)), recipe=job.folder)
    assert done.model({"num": torch.from_numpy(X), "cat": torch.zeros(90, 0, dtype=torch.long)}).shape == (90, 2)


def test_images(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "shapes", 40, 2, color=True)
    job = fit_table(source, out=tmp_path / "out", trials=1, refits=1, ensemble=1, without=FEW)
    model = tp.load(job.folder)
    done = tp.fit(data=model.dataset(source), recipe=job.folder)
    assert all(torch.equal(a, b) for a, b in zip(done.model.state_dict().values(), model.model.state_dict().values(), strict=True))
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3, 9, 8)).astype(np.uint8)
    estimator = tp.TemperanceClassifier(recipe=job.folder).fit(pixels, ["a", "b"] * 15)
    assert estimator.predict(pixels[:2]).shape == (2,)


def test_a_network_of_ones_own_needs_its_function(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "build.py").write_text(BUILD, encoding="utf-8")
    named = f"{tmp_path / 'build.py'}:build"
    job = fit("rich", model=named, trials=2)
    build, rows = load_build(named), tp.load(job.folder, named).dataset(make_people())
    with pytest.raises(ConfigError, match=r"Expected `model` to be the function build\(data\).*build\.py:build"):
        tp.fit(data=rows, recipe=job.folder)
    assert isinstance(tp.fit(build, data=rows, recipe=job.folder).model, nn.Module)
    frame = make_people()
    tp.TemperanceClassifier(recipe=job.folder, model=build).fit(frame[["age", "job"]], frame["rich"])
    with pytest.raises(ConfigError, match=r"`model` of fit to be a function build\(data\) with a recipe"):
        tp.fit(build(rows), data=rows, recipe=job.folder)


def test_an_interrupted_fit_leaves_a_recipe_too(fit: Fit) -> None:
    """The best states of the search ship; the recipe says how they were trained."""
    calls: list[int] = []

    def stop(facts: Any) -> None:
        if facts["best"] is not None and not calls:
            calls.append(1)
            raise KeyboardInterrupt

    job = fit("rich", on_progress=stop)
    assert job.search.ended == "interrupted" and tp.load(job.folder).recipe.how == "none"
    assert tp.fit(data=trained_rows(job), recipe=job.folder).model is not None


def test_classes_that_count_alike_go_on_doing_so(fit: Fit) -> None:
    job = fit("rich", metric="balanced_accuracy", trials=2, refits=1, ensemble=1)
    recipe, rows = tp.load(job.folder).recipe, trained_rows(job)
    assert recipe.balanced
    a, b = (tp.fit(data=rows, recipe=one).model.state_dict() for one in (recipe, replace(recipe, balanced=False)))
    assert any(not torch.equal(a[key], b[key]) for key in a)


def changed(recipe: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a place such as `recipe.members.0.seed`; `...` removes it."""
    copy = json.loads(json.dumps(recipe))
    *way, last = path.split(".")
    inner = copy
    for key in way:
        inner = inner[int(key) if isinstance(inner, list) else key]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("speed", 1, "got 'speed'"),
        ("recipe.speed", 1, "got 'speed'"),
        ("recipe.members.0.speed", 1, "got 'speed'"),
        ("recipe.networks.0.speed", 1, "got 'speed'"),
        ("recipe.networks.0.arguments.wings", 2, "Expected arguments of TabularNet"),
        ("recipe.networks.0.network", "Popen", "to be one of TabularNet"),
        ("recipe.networks.0.arguments.hidden", "wide", "hidden"),
        ("recipe.networks.0.arguments.hidden", [-5], "hidden"),
        ("recipe.members", [], "at least one network"),
        ("recipe.members", {}, "to be a list"),
        ("recipe.members.0", 3, "JSON objects"),
        ("recipe.members.0.network", 99, "the position of one of the"),
        ("recipe.members.0.network", True, "the position of one of the"),
        ("recipe.members.0.batch_size", 0, "`batch_size` of a recipe to be a whole number in"),
        ("recipe.members.0.batch_size", 1.5, "`batch_size` of a recipe to be a whole number in"),
        ("recipe.members.0.epochs", float("nan"), "`epochs` of a recipe in"),
        ("recipe.members.0.epochs", float("inf"), "`epochs` of a recipe in"),
        ("recipe.members.0.epochs", "ten", "`epochs` of a recipe in"),
        ("recipe.members.0.progress", 1.5, r"`progress` of a recipe in \(0, 1\]"),
        ("recipe.members.0.seed", -1, "`seed` of a recipe to be a whole number"),
        ("recipe.members.0.weight", 0, "`weight` of a recipe in"),
        ("recipe.members.0.optimizer", {"optimizer": "Popen"}, "optimizer"),
        ("recipe.members.0.optimizer", "AdamW", "optimizer"),
        ("recipe.members.0.optimizer.speed", 1, "speed"),
        ("recipe.members.0.optimizer.lr", -1.0, "`lr` of AdamW"),
        ("recipe.members.0.optimizer.lr", {"schedule": "Popen", "value": 1.0}, "Popen"),
        ("recipe.members.0.cocktail", [{"regularizer": "Popen"}], "Unknown regularizer 'Popen'"),
        ("recipe.members.0.cocktail", [{"regularizer": "L2", "lam": -1}], "`lam` of L2"),
        ("recipe.members.0.cocktail", [3], "cocktail"),
        ("recipe.members.0.epochs", ..., "the key 'epochs'"),
        ("recipe.task", "clustering", "`task` of a recipe to be one of"),
        ("recipe.task", "regression", "Expected rows for the regression of the recipe"),
        ("recipe.how", "fast", "`how` of a recipe"),
        ("recipe.balanced", 1, "`balanced` of a recipe"),
        ("recipe.model", 3, "`model` of a recipe"),
        ("recipe.format", 99, "`format` of a recipe to be 1"),
        ("recipe", ..., "got a cocktail alone"),
        ("cocktail", ..., "the key 'cocktail'"),
        ("recipe", [], "to be a JSON object"),
    ],
)
def test_what_is_no_recipe_is_refused_by_name(job: Job, path: str, value: Any, words: str) -> None:
    written = json.loads((job.folder / "cocktail.json").read_text(encoding="utf-8"))
    sizes = {key: written["recipe"]["networks"][0]["arguments"][key] for key in ("num_features", "cardinalities", "out_features")}
    written["recipe"]["networks"][0] = {"network": "TabularNet", "arguments": {**sizes, "hidden": [4]}}
    recipe = changed(written, path, value)
    with pytest.raises(ConfigError, match=words):
        tp.fit(data=trained_rows(job), recipe=recipe)


def test_files_and_settings_that_do_not_go_together(job: Job, tmp_path: Path) -> None:
    rows = trained_rows(job)
    (tmp_path / "cocktail.json").write_text('{"cocktail": [', encoding="utf-8")
    for source, words in ((tmp_path / "nowhere", "No such file is there"), (tmp_path, "as JSON in"), (7, "to be the folder of a fit")):
        with pytest.raises(ConfigError, match=words):
            tp.fit(data=rows, recipe=source)
    for settings, words in (
        ({"epochs": 3}, "`epochs` of fit to be left out"),
        ({"cocktail": tp.Cocktail()}, "`cocktail`"),
        ({"validation": 0.5}, "`validation`"),
    ):
        with pytest.raises(ConfigError, match=words):
            tp.fit(data=rows, recipe=job.folder, **settings)
    with pytest.raises(ConfigError, match="Or give a recipe"):
        tp.fit(data=rows)
    frame = make_people()
    for settings, words in (
        ({"epochs": 3}, "epochs"),
        ({"cocktail": tp.Cocktail()}, "cocktail"),
        ({"use": ["L1"]}, "use"),
        ({"refits": 2}, "refits"),
        ({"validation_fraction": 0.2}, "validation_fraction"),
        ({"lr": 0.1}, "lr"),
    ):
        with pytest.raises(ConfigError, match=rf"Expected `{words}` of TemperanceClassifier to be left out with a recipe"):
            tp.TemperanceClassifier(recipe=job.folder, **settings).fit(frame[["age", "job"]], frame["rich"])
    with pytest.raises(ConfigError, match="Expected rows for the classification of the recipe, got 'regression'"):
        tp.TemperanceRegressor(recipe=job.folder).fit(frame[["age", "job"]], frame["price"])
