"""A table that does not fit into memory: a part of it is held, and the other rows train from a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.job.conftest import make_people

from temperance.core.errors import ConfigError, DataError
from temperance.data.dataset import fingerprint
from temperance.job import beyond, fit, fit_table, load, prepare, replay_trial
from temperance.job.prepare import Prepared
from temperance.search import search

ROWS, HELD = 5_000, 2_000
OTHERS = ["price", "size", "a", "b", "w"]
SETTINGS: dict[str, Any] = {"trials": 1, "refits": 1, "ensemble": 1, "without": ["neighbors"]}


@pytest.fixture(scope="module", autouse=True)
def little_memory() -> Iterator[None]:
    """A table of 5,000 rows does not fit, 2,000 rows of it do, and a few hundred are read at a time; networks have room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beyond, "LEAST", HELD)
        patch.setattr(beyond, "LEAST_BATCH", 700)
        patch.setattr(beyond, "parse_memory", lambda memory: 1 << 19)
        yield


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Sorted, so that a part of it from one place would know one class."""
    return make_people(ROWS).sort_values(["rich", "age"]).reset_index(drop=True)


@pytest.fixture
def written(tmp_path: Path, table: pd.DataFrame):
    def write(frame: pd.DataFrame = table) -> Path:
        path = tmp_path / "people.parquet"
        frame.to_parquet(path, row_group_size=900)
        return path

    return write


def ready(path: Path, room: Path, target: Any = "rich", **settings: Any) -> Prepared:
    given: dict[str, Any] = {"ignore": OTHERS, "without": ["neighbors"]} | settings
    return prepare.prepare(path, target, room=room, **given)


def test_a_fit_learns_from_all_rows_and_predicts(written: Any, tmp_path: Path):
    path, out = written(), tmp_path / "out"
    done = fit_table(path, "rich", out=out, ignore=OTHERS, **SETTINGS)
    assert done.summary["data"]["rows"] == done.summary["model"]["training_rows"] == ROWS
    assert done.summary["data"]["split"]["train"] + done.summary["data"]["split"]["validation"] + done.summary["data"]["split"]["test"] == ROWS
    assert any("5,000 rows do not fit into --memory: 2,000 drawn at random" in note for note in done.summary["data"]["notes"])
    assert done.summary["title"] == "rich in people.parquet"
    assert done.summary["scores"]["test"]["accuracy"]["low"] > 0.7  # the largest class has .6
    assert len(load(out).predict(path)) == ROWS
    assert not [name for name in out.iterdir() if name.name.startswith(".")]
    trial = done.summary["search"]["winner"]
    assert replay_trial(out, trial)["same"]
    changed = pd.read_parquet(path)
    changed.loc[:, "age"] = np.where(np.arange(ROWS) % 2 == 0, changed["age"] + 0.001, changed["age"])
    changed.to_parquet(path)
    with pytest.raises(DataError, match="Expected the rows that the fit was made from"):
        replay_trial(out, trial)


def test_what_is_on_the_disk_are_the_other_rows_encoded_alike(written: Any, table: pd.DataFrame, tmp_path: Path):
    found = ready(written(), tmp_path)
    data, further = found.data, found.data.further
    assert further is not None and len(data) == HELD and len(further) == ROWS - HELD and data.total == ROWS
    everything: Any = found.encoder.transform(table[["age", "job"]])
    on_disk = further.read(0, len(further))
    assert isinstance(data.x, dict) and isinstance(data.y, torch.Tensor)
    for name in ("num", "cat"):
        both = torch.cat([data.x[name], on_disk["x"][name]]).double().flatten().sort().values
        assert torch.equal(both, everything[name].double().flatten().sort().values)
    assert torch.equal(torch.cat([data.y, on_disk["y"]]).sum(0), found.target.encode(table["rich"])[0].sum(0))
    again = ready(written(), tmp_path)
    assert fingerprint(again.data) == fingerprint(found.data)
    assert fingerprint(ready(written(), tmp_path, seed=1).data) != fingerprint(found.data)


def test_a_changed_row_on_the_disk_is_noticed(written: Any, table: pd.DataFrame, tmp_path: Path):
    part = beyond.drawn_part(written(), "4G", 0)
    assert part is not None
    place = int(np.setdiff1d(np.arange(ROWS), part.places)[7])
    before = fingerprint(ready(written(), tmp_path).data)
    other = table.copy()
    other.loc[place, "age"] = 100.5
    assert fingerprint(ready(written(other), tmp_path).data) != before


def test_a_table_that_fits_and_other_files_are_read_as_they_were(written: Any, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    table.to_csv(tmp_path / "people.csv", index=False)
    assert beyond.drawn_part(tmp_path / "people.csv", "4G", 0) is None
    assert beyond.drawn_part(table, "4G", 0) is None
    monkeypatch.setattr(beyond, "parse_memory", lambda memory: 1 << 30)
    assert beyond.drawn_part(written(), "4G", 0) is None


@pytest.mark.parametrize("count", [1, 10, 99, 100])
def test_places_are_different_and_from_all_of_the_table(count: int):
    drawn = np.concatenate([beyond._places(100, count, seed) for seed in range(200)])  # pyright: ignore[reportPrivateUsage]
    assert all(len(set(part)) == count and (np.diff(part) > 0).all() for part in drawn.reshape(200, count))
    often = np.bincount(drawn, minlength=100)
    share = count / 100
    assert (abs(often - 200 * share) <= 4.5 * np.sqrt(200 * share * (1 - share)) + 1e-9).all()


def test_rows_that_teach_nothing_are_left_out_and_counted(written: Any, table: pd.DataFrame, tmp_path: Path):
    part = beyond.drawn_part(written(), "4G", 0)
    assert part is not None
    others = np.setdiff1d(np.arange(ROWS), part.places)
    frame = table.astype({"rich": object})
    frame.loc[others[:5], "rich"] = None
    frame.loc[others[5:12], "rich"] = "perhaps"
    found = ready(written(frame), tmp_path)
    assert found.data.total == ROWS - 12
    assert any("12 rows on the disk are left out" in note for note in found.notes)


def test_a_batch_of_one_kind_of_label_and_of_rows_that_do_not_count_is_like_the_others(written: Any, table: pd.DataFrame, tmp_path: Path):
    """In a sorted file a batch may hold no label but `false`, and no weight but 0."""
    labels = np.repeat(["false", "true", "unknown"], [2000, 2000, ROWS - 4000])
    frame = table.assign(rich=labels, w=np.where(labels == "false", 0.0, 1.0))
    found = ready(written(frame), tmp_path, ignore=[name for name in OTHERS if name != "w"], weight="w")
    assert found.data.total == ROWS and not any("left out" in note for note in found.notes)


def test_a_cell_that_cannot_be_used_is_named_by_its_row(written: Any, table: pd.DataFrame, tmp_path: Path):
    part = beyond.drawn_part(written(), "4G", 0)
    assert part is not None
    place = int(np.setdiff1d(np.arange(ROWS), part.places)[-3])
    frame = table.copy()
    frame.loc[place, "age"] = np.inf
    with pytest.raises(DataError, match=rf"infinite value inf in row {place + 1}\b"):
        ready(written(frame), tmp_path)
    frame = table.copy()
    frame.loc[place, "w"] = -1.0
    with pytest.raises(DataError, match=r"Expected weights in .* counted from row [\d,]+ of the table on"):
        ready(written(frame), tmp_path, ignore=OTHERS[:-1], weight="w")


@pytest.mark.parametrize("weight", [None, "w"])
def test_classes_that_count_alike_do_so_on_the_disk(written: Any, tmp_path: Path, weight: str | None):
    found = ready(written(), tmp_path, metric="balanced_accuracy", weight=weight, ignore=[name for name in OTHERS if name != weight])
    data, further = found.data, found.data.further
    assert further is not None and data.weight is not None and isinstance(data.y, torch.Tensor)
    on_disk = further.read(0, len(further))
    totals = (on_disk["y"] * on_disk["weight"].unsqueeze(1)).sum(0)
    part = (data.y * data.weight.unsqueeze(1)).sum(0)[:, None]
    assert torch.allclose(totals / totals.sum(), (part / part.sum())[:, 0], atol=4.5 * 0.5 * (1 / HELD + 1 / (ROWS - HELD)) ** 0.5 * 1.2)
    means = [(w * y[:, 0]).sum() / y[:, 0].sum() / ((w * y[:, 1]).sum() / y[:, 1].sum()) for w, y in ((data.weight, data.y), (on_disk["weight"], on_disk["y"]))]
    assert abs(float(means[0] / means[1]) - 1) < 0.06  # of the weights of two classes: uniform from .5 to 2, so that their means are known to 2 % and less


@pytest.mark.parametrize("target", ["price", ["price", "size"], ["a", "b"]])
def test_values_and_labels_train_from_the_disk_too(written: Any, tmp_path: Path, target: Any):
    used = [target] if isinstance(target, str) else target
    found = ready(written(), tmp_path, target, ignore=[name for name in OTHERS if name not in used])
    further = found.data.further
    assert further is not None and further.read(0, 10)["y"].shape == (10, len(used))


@pytest.mark.parametrize(("settings", "told"), [({"group": "job"}, "--group"), ({"time": "age"}, "--time")])
def test_what_needs_all_rows_is_refused(written: Any, tmp_path: Path, settings: dict[str, str], told: str):
    with pytest.raises(ConfigError, match=rf"Expected no `{told}` for a table that does not fit into --memory \(5,000 rows\).*Give more --memory"):
        ready(written(), tmp_path, **settings)


def test_rows_on_a_disk_do_not_travel(written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in (fit, search):  # whether Ray is there is another question
        monkeypatch.setattr(module, "check_engine", lambda engine="local", address=None: None)
    with pytest.raises(ConfigError, match="Expected engine 'local' for rows that are read from a disk, got 'ray'"):
        fit_table(written(), "rich", out=tmp_path / "out", ignore=OTHERS, engine="ray", **SETTINGS)
