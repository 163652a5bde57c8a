"""A whole column that is not as it was in training is told by name, and chance alone is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.cli.test_predicting import saved

from temperance.cli.predicting import predict_file
from temperance.data import TableEncoder
from temperance.data.batches import Batches
from temperance.data.seen import Watch

N = 300


def table(n: int = N, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    born = pd.Timestamp("2000-01-01") + pd.to_timedelta(rng.integers(0, 5000, n), unit="D")
    columns = {"age": rng.normal(40, 9, n).round(1), "few": rng.integers(0, 3, n), "born": born, "job": rng.choice(["cook", "smith", "pilot"], n)}
    gaps = np.where(rng.uniform(size=n) < 0.9, np.nan, rng.normal(size=n))
    return pd.DataFrame({**columns, "flag": rng.uniform(size=n) < 0.5, "gaps": gaps, "town": [f"town {k}" for k in rng.integers(0, 900, n)]})


def told(new: pd.DataFrame, encoder: TableEncoder | None = None, rows: int = 10_000) -> list[str]:
    watch = Watch(TableEncoder().fit(table()) if encoder is None else encoder)
    for a in range(0, len(new), rows):
        watch.look(new.iloc[a : a + rows])
    return watch.notes()


@pytest.mark.parametrize("n", [1, 2, 5, 12, 50, 300])
@pytest.mark.parametrize("seed", range(1, 6))
def test_rows_of_the_same_kind_are_fine(n: int, seed: int) -> None:
    assert told(table(n, seed)) == []


@pytest.mark.parametrize("name", ["age", "few", "born", "job", "flag"])
@pytest.mark.parametrize("rows", [7, 1000])
def test_a_column_without_values(name: str, rows: int) -> None:
    new = table(40, 1)
    new[name] = None
    assert told(new, rows=rows) == [f"`{name}` has no value in any of 40 rows, though it had in training: the model fills it in; check the column"]
    assert len(told(new.iloc[:1])) == 1


def test_several_columns_without_values_are_one_sentence() -> None:
    new = table(40, 1)
    new["age"] = new["job"] = None
    assert told(new) == ["`age`, `job` have no value in any of 40 rows, though they had in training: the model fills them in; check the columns"]


def test_a_column_that_often_has_no_value_may_have_none_in_a_few_rows() -> None:
    new = table(60, 1)
    new["gaps"] = np.nan
    assert told(new.iloc[:20]) == []
    assert told(table(200, 1).assign(gaps=np.nan)) != []


@pytest.mark.parametrize("rows", [7, 1000])
def test_levels_that_were_never_there(rows: int) -> None:
    new = table(40, 1).assign(job="COOK")
    new.loc[3, "job"] = None
    what = "`job` has values that were never there in training, such as 'COOK', in all of 39 rows"
    assert told(new, rows=rows) == [f"{what}: the model takes them for missing; check how they are written"]
    new.loc[39, "job"] = "cook"
    assert told(new, rows=rows) == []


def test_new_names_are_no_wonder_where_most_occur_once() -> None:
    new = table(5, 1)
    new["town"] = [f"village {k}" for k in range(5)]
    assert told(new) == []
    new = table(200, 1)
    new["town"] = [f"village {k}" for k in range(200)]
    assert len(told(new)) == 1


@pytest.mark.parametrize(("name", "value"), [("age", 31.5), ("few", 2), ("born", pd.Timestamp("2001-02-03")), ("job", "smith"), ("flag", True)])
@pytest.mark.parametrize("rows", [7, 1000])
def test_one_value_where_training_had_several(name: str, value: Any, rows: int) -> None:
    new = table(40, 1)
    new[name] = value
    texts = told(new, rows=rows)
    assert len(texts) == 1 and texts[0].startswith(f"`{name}` is ") and texts[0].endswith("in all of 40 rows, though it varied in training: check the column")
    assert told(new.iloc[:3]) == []
    new.loc[39, name] = table(40, 1)[name].unique()[0] if table(40, 1)[name].unique()[0] != value else table(40, 1)[name].unique()[1]
    assert told(new, rows=rows) == []


def test_a_value_that_most_rows_have_is_no_wonder() -> None:
    rare = np.arange(1000) % 100 == 0
    encoder = TableEncoder().fit({"x": np.where(rare, 1.0, 0.0), "c": np.where(rare, "b", "a"), "y": np.arange(1000) % 7})
    new = pd.DataFrame({"x": [0.0] * 300, "c": ["a"] * 300, "y": np.arange(300) % 7})
    assert told(new, encoder) == []
    assert len(told(new.assign(x=1.0), encoder)) == 0  # the share of the rarer value is not kept: chance is judged by the frequent one
    assert len(told(pd.DataFrame({"x": [0.0] * 900, "c": ["a"] * 900, "y": np.arange(900) % 7}), encoder)) == 2


def test_it_is_told_after_the_predictions_and_kept_with_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved("classification")
    model.encoder = TableEncoder.from_dict(model.encoder.to_dict())
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(size=50), "size": 4, "job": "welder"})
    for suffix in ("csv", "parquet"):
        frame.to_csv(tmp_path / "t.csv", index=False)
        frame.to_parquet(tmp_path / "t.parquet")
        predict_file(model, str(tmp_path / f"t.{suffix}"), None, rows=20)
        said = capsys.readouterr()
        assert len(said.out.splitlines()) == 51
        lines = said.err.splitlines()
        assert [line[:16] for line in lines] == ["Warning: `job` h", "Warning: `size` "] and "'welder'" in lines[0] and "is 4 in all" in lines[1]


def test_models_without_these_shares_say_nothing() -> None:
    encoder = TableEncoder().fit(table())
    old = {key: value for key, value in encoder.to_dict().items() if key != "seen"}
    assert told(table(40).assign(age=None), TableEncoder.from_dict(old)) == []


def test_batches_of_a_file_are_looked_at_as_they_are_read(tmp_path: Path) -> None:
    table(40, 1).assign(born="2001-02-03", few="2", flag="True").to_csv(tmp_path / "t.csv", index=False)
    encoder = TableEncoder().fit(table())
    watch = Watch(encoder)
    for frame in Batches(tmp_path / "t.csv", encoder.kinds, rows=9):
        watch.look(frame)
    assert [text.split(" is ")[0] for text in watch.notes()] == ["`few`", "`born`", "`flag`"]
