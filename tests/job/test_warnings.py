"""What is doubtful is said before training, by name and with a way out that works; what is not doubtful is not."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from temperance.job.column_warnings import named_like_an_identifier
from temperance.job.prepare import prepare
from temperance.job.row_warnings import width_warning
from temperance.search.score import score_table
from temperance.train.metrics import metric_for

N = 400


def table(n: int = N, seed: int = 0) -> pd.DataFrame:
    """Nothing doubtful: noisy numbers, whole numbers, categories and dates, and a target that each of them only hints at."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=n)
    age, job = rng.integers(18, 90, n), rng.choice(["cook", "smith", "pilot"], n)
    born = pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 9000, n), unit="D")
    y = np.where(a + b + 0.5 * rng.normal(size=n) > 0, "yes", "no")
    return pd.DataFrame({"a": a, "b": b, "age": age, "income": rng.integers(10_000, 900_000, n), "job": job, "born": born, "y": y})


def said(frame: pd.DataFrame, target: Any = "y", **options: Any) -> list[str]:
    return prepare(frame, target, **options).warnings


def ways_out(text: str) -> dict[str, Any]:
    """The options that a warning names, as they would be typed."""
    words = shlex.split(text[text.index("--") :])
    found: dict[str, Any] = {"ignore": [words[i + 1] for i, word in enumerate(words) if word == "--ignore"]}
    for option in ("task", "metric"):
        values = [words[i + 1] for i, word in enumerate(words) if word == f"--{option}"]
        found |= {option: values[-1]} if values else {}
    return found


def followed(frame: pd.DataFrame, warnings: list[str], target: Any = "y") -> list[str]:
    options: dict[str, Any] = {"ignore": []}
    for text in warnings:
        out = ways_out(text)
        options |= {**out, "ignore": options["ignore"] + out["ignore"]}
    return said(frame, target, **options)


def test_nothing_is_said_of_a_sound_table() -> None:
    assert said(table()) == []
    assert said(table(5000, 1)) == []


NUMBERS = {
    "customer_id": lambda rng, n: rng.permutation(n) + 15_000_000,
    "row": lambda rng, n: np.arange(n),
    "counter": lambda rng, n: np.arange(n)[::-1] + 7,
    "tick": lambda rng, n: np.arange(n) * 10.0,
    "my id's": lambda rng, n: rng.permutation(10 * n)[:n],
    "patientId": lambda rng, n: rng.integers(0, n // 2, n) * 7919 % 10_007,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_identifiers_are_named_and_can_be_left_out(name: str) -> None:
    frame = table()
    frame.insert(1, name, NUMBERS[name](np.random.default_rng(1), N))
    warnings = said(frame)
    assert len(warnings) == 1 and f"`{name}`" in warnings[0] and f"in {'each of ' if 'each' in warnings[0] else ''}{N} rows" in warnings[0]
    assert followed(frame, warnings) == []


def test_categories_that_occur_once_are_named() -> None:
    rng, frame = np.random.default_rng(2), table()
    frame["ticket"] = [f"T{k}" for k in rng.integers(0, 900, N)]
    frame["town"] = [f"town {k}" for k in rng.integers(0, 60, N)]
    warnings = said(frame)
    once = int((frame["ticket"].value_counts() == 1).sum())
    assert len(warnings) == 1 and f"`ticket` has {once} values that occur once in {N} rows" in warnings[0]
    assert followed(frame, warnings) == []


def test_names_of_identifiers() -> None:
    for name in ("id", "ID", "user_id", "user-id", "user id", "UserId", "userID", "uuid", "row", "customer.index"):
        assert named_like_an_identifier(name), name
    for name in ("paid", "acid", "grid", "Covid", "arrow", "width", "monkey", "idea", "guide", "humid"):
        assert not named_like_an_identifier(name), name


LEAKS: dict[str, Any] = {
    "copy": lambda y, rng: y,
    "other names": lambda y, rng: np.where(y == "yes", "Z", "X"),
    "codes": lambda y, rng: (y == "yes").astype(int),
    "threshold": lambda y, rng: np.where(y == "yes", 5.0, 0.0) + rng.uniform(0, 1, len(y)),
    "between": lambda y, rng: np.where(y == "yes", 0.0, rng.choice([-9.0, 9.0], len(y))) + rng.uniform(0, 1, len(y)),
    "missing": lambda y, rng: np.where(y == "yes", np.nan, rng.normal(size=len(y))),
    "many": lambda y, rng: [f"{a}{k}" for a, k in zip(y, rng.integers(0, 9, len(y)), strict=True)],
    "date": lambda y, rng: np.datetime64("2020-01-01") + np.where(y == "yes", 900, 0) + rng.integers(0, 300, len(y)),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_a_column_that_gives_a_class_away(kind: str) -> None:
    frame = table()
    frame["late"] = LEAKS[kind](frame["y"].to_numpy(), np.random.default_rng(3))
    warnings = said(frame)
    assert len(warnings) == 1 and "`late` alone predicts the target in 100 % of 160 rows" in warnings[0]
    assert followed(frame, warnings) == []


@pytest.mark.parametrize(("wrong", "told"), [(0.001, True), (0.03, False)])
def test_nearly_a_copy(wrong: float, told: bool) -> None:
    frame, rng = table(5000), np.random.default_rng(4)
    other = np.where(frame["y"] == "yes", "no", "yes")
    frame["late"] = np.where(rng.uniform(size=5000) < wrong, other, frame["y"])
    assert bool(said(frame)) is told


VALUES: dict[str, Any] = {
    "copy": lambda y, rng: y,
    "units": lambda y, rng: 2.54 * y + 3,
    "logarithm": lambda y, rng: np.log(y + 20),
    "nearly": lambda y, rng: y + 0.03 * rng.normal(size=len(y)),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_column_that_gives_a_value_away(kind: str) -> None:
    rng, frame = np.random.default_rng(5), table(2000)
    frame["y"] = 2 * frame["a"] + frame["b"] + rng.normal(size=2000)
    assert said(frame) == []
    frame["late"] = VALUES[kind](frame["y"].to_numpy(), rng)
    warnings = said(frame)
    assert len(warnings) == 1 and "`late` alone explains" in warnings[0]
    assert followed(frame, warnings) == []


def test_a_good_column_is_no_leak() -> None:
    rng, frame = np.random.default_rng(6), table(2000)
    frame["y"] = 2 * frame["a"] + 0.2 * rng.normal(size=2000)  # r = 0.995
    assert said(frame) == []


def test_each_of_several_targets_is_looked_at() -> None:
    frame = table().drop(columns="y")
    frame["p"], frame["q"] = (frame["a"] > 0).astype(int), (frame["b"] > 0.5).astype(int)
    texts = said(frame.drop(columns=["b"]), ["p", "q"])
    assert [("`a`" in text, "`p`" in text) for text in texts] == [(True, True)]


def test_the_untouched_rows_are_not_looked_at() -> None:
    """A column that is noise on all rows but the untouched ones is no leak, and one that is a leak on these is."""
    frame = table()
    split = prepare(frame, "y").split
    noise = np.random.default_rng(7).choice(["yes", "no"], N)
    frame["late"] = np.where(np.isin(np.arange(N), split.test), noise, frame["y"])
    assert "`late`" in said(frame)[0]


def test_twins_across_the_split() -> None:
    frame = table()
    twice = pd.concat([frame, frame.iloc[:120]], ignore_index=True)
    twice.loc[400:419, "y"] = np.where(twice.loc[400:419, "y"] == "yes", "no", "yes")
    ready = prepare(twice, "y")
    keys = twice.drop(columns="y").apply(tuple, axis=1)
    rest = np.setdiff1d(np.arange(len(twice)), ready.split.test)
    twins = [i for i in ready.split.test if keys[i] in set(keys[rest])]
    pairs = set(zip(keys[rest], twice["y"][rest], strict=True))
    other = sum((keys[i], twice["y"][i]) not in pairs for i in twins)
    assert other > 0 and len(ready.warnings) == 1
    assert ready.warnings[0].startswith(f"{len(twins)} of {len(ready.split.test)} test rows")
    assert f"{other} of them with another target" in ready.warnings[0]
    assert said(twice.drop_duplicates(list(twice.columns[:-1]))) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_twins_across_the_split_among_images(channels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (200, 8, 8, channels), dtype=np.uint8), rng.integers(0, 3, 200)
    twice, also = np.concatenate([images, images[:60]]), np.concatenate([labels, labels[:60]])
    also[200:210] = (also[200:210] + 1) % 3

    def ready(x: np.ndarray, y: np.ndarray) -> Any:
        np.savez(tmp_path / "images.npz", x=x.squeeze(), y=y)
        return prepare(tmp_path / "images.npz")

    found = ready(twice, also)
    keys = [image.tobytes() for image in twice]
    rest = np.setdiff1d(np.arange(len(twice)), found.split.test)
    twins = [i for i in found.split.test if keys[i] in {keys[j] for j in rest}]
    other = sum((keys[i], also[i]) not in {(keys[j], also[j]) for j in rest} for i in twins)
    (warning,) = found.warnings
    assert other > 0 and warning.startswith(f"{len(twins)} of {len(found.split.test)} test images")
    assert "the same pixel by pixel as one that trains" in warning and f"{other} of them with another target" in warning
    assert ready(images, labels).warnings == []  # the duplicates are dropped


def test_small_drawings_that_are_equal_by_chance_are_no_twins(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", x=255 * rng.integers(0, 2, (200, 3, 3), dtype=np.uint8), y=rng.integers(0, 2, 200))
    assert prepare(tmp_path / "images.npz").warnings == []


@pytest.mark.parametrize("columns", [["a", "b"], ["a", "job"], ["a"]])
def test_few_columns_of_fine_numbers_have_no_twins_by_chance(columns: list[str]) -> None:
    frame = table()[[*columns, "y"]]
    twice = pd.concat([frame, frame.iloc[:200]], ignore_index=True)
    assert bool([text for text in said(twice) if "same features" in text]) is (len(columns) > 1)


def test_coarse_tables_have_twins_as_a_matter_of_course() -> None:
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({f"c{i}": rng.integers(0, 3, 600) for i in range(4)} | {"age": rng.integers(20, 60, 600), "y": rng.choice(["u", "v"], 600)})
    assert said(frame) == []


@pytest.mark.parametrize("metric", ["balanced_accuracy", "average_precision", "log_loss"])
def test_rare_classes(metric: str) -> None:
    frame = table(3000)
    frame["y"] = np.where(np.arange(3000) % 60 == 0, "rare", "usual")
    warnings = said(frame)
    assert len(warnings) == 1 and "`rare` has 50 rows and `usual` 2,950" in warnings[0]
    assert said(frame, metric=metric) == [] == followed(frame, warnings)
    frame["y"] = np.where(np.arange(3000) % 51 == 0, "rare", "usual")  # 1:49.8
    assert said(frame) == []


@pytest.mark.parametrize(("values", "task"), [(12, "regression"), (5, "regression"), (30, "classification")])
def test_a_guessed_task_is_told_and_can_be_changed(values: int, task: str) -> None:
    frame = table(600)
    frame["y"] = np.random.default_rng(9).integers(0, values, 600)
    warnings = said(frame)
    assert len(warnings) == 1 and f"`y` holds {values} different whole numbers" in warnings[0] and f"--task {task}" in warnings[0]
    assert not [text for text in followed(frame, warnings) if "--task" in text]


@pytest.mark.parametrize("kind", ["two", "three", "text", "fractions", "amounts"])
def test_a_plain_task_is_not_questioned(kind: str) -> None:
    rng, frame = np.random.default_rng(10), table(600)
    kinds = {"two": rng.integers(0, 2, 600), "three": rng.integers(0, 3, 600), "text": rng.choice(list("abcdefg"), 600)}
    frame["y"] = (kinds | {"fractions": rng.integers(0, 12, 600) / 2, "amounts": rng.integers(0, 10_000, 600)})[kind]
    assert said(frame) == []


def test_too_few_untouched_rows(tmp_path: Path) -> None:
    warnings = said(table(100))
    assert len(warnings) == 1 and "only 20 test rows" in warnings[0] and "--test FILE" in warnings[0]
    assert said(table(100), test=table(60, 1)) == []
    frame = table(300)
    frame["y"] = np.where(np.arange(300) % 30 == 0, "few", frame["y"])
    assert ["1 class has fewer than 5 of the 60 test rows (`few`)" in text for text in said(frame)] == [True]


def test_free_text_is_counted_and_named() -> None:
    frame, rng = table(), np.random.default_rng(11)
    words = np.array("the film was long and the book better than most of what we saw".split())
    frame["review"] = [" ".join(rng.choice(words, 12)) for _ in range(N)]
    frame["title"] = [" ".join(rng.choice(words, 6)) for _ in range(N)]
    texts = [text for text in said(frame) if "free text" in text]
    assert len(texts) == 1 and "2 columns hold free text (`review`, `title`)" in texts[0] and "TfidfVectorizer" in texts[0]
    assert said(frame, ignore=["review", "title"]) == []
    kinds = ["a b c d e f", "a b c d e g"]
    frame = table().assign(note=rng.choice(kinds, N))  # long names of few groups are categories
    assert said(frame) == []


def test_many_doubtful_columns_take_one_line_more() -> None:
    frame = table()
    for i in range(9):
        frame[f"late {i}"] = frame["y"]
    warnings = said(frame)
    assert len(warnings) == 6 and "`late 5`, `late 6`, `late 7`, `late 8`" in warnings[-1]
    assert followed(frame, warnings) == []


@pytest.mark.parametrize(("rows", "wrong", "warned"), [(40, 4, True), (100, 10, True), (400, 40, False), (40, 0, False), (20, 2, False)])
def test_an_accuracy_that_few_rows_leave_open(rows: int, wrong: int, warned: bool) -> None:
    """With a tenth wrong the interval is 0.19 wide on 40 rows, 0.12 on 100 and 0.06 on 400; 20 rows were called too few before training."""
    y = torch.eye(2)[torch.arange(rows) % 2]
    p = torch.cat([1 - y[:wrong], y[wrong:]])
    score = score_table(p, y, "classification")["accuracy"]
    found = width_warning(metric_for("accuracy", "classification"), score, rows)
    assert bool(found) is warned
    if found:
        width = f"{score['high'] - score['low']:.2g}"
        assert found[0].startswith(f"the 95 % interval of the score is {width} wide: {rows} test rows are too few")


@pytest.mark.parametrize(
    ("score", "said"), [((10.0, 8.0, 14.0), "60 % of it"), ((0.1, 0.06, 0.12), "60 % of it"), ((10.0, 8.0, 12.0), ""), ((0.0, 0.0, 0.0), "")]
)
def test_an_error_that_few_rows_leave_open(score: tuple[float, float, float], said: str) -> None:
    found = width_warning(metric_for("rmse", "regression"), dict(zip(("value", "low", "high"), score, strict=True)), 50)
    assert [said in text for text in found] == ([True] if said else [])


def test_without_untouched_rows_nothing_is_said_of_the_interval() -> None:
    assert width_warning(metric_for("accuracy", "classification"), None, 0) == []
