"""Real tables, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from temperance.data import TableEncoder, TargetEncoder, plan_split, read_table, table_dataset

TABLES = Path(__file__).parents[3] / "shared" / "data" / "tabular"
SIZES = {
    "adult": (2, 6, 10),  # eight categories, and the frequent values of two numbers; one in the last table, too
    "california-housing": (1, 8, 0),
    "credit-g": (2, 7, 13),
    "phoneme": (2, 5, 0),
    "vehicle": (4, 18, 0),
    "arrhythmia": (13, 203, 64),
    "anneal": (5, 6, 26),
}


def needs(name):
    return pytest.param(name, marks=pytest.mark.skipif(not (TABLES / f"{name}.parquet").exists(), reason=f"the table {name} is not there"))


@pytest.mark.parametrize("name", [needs(name) for name in SIZES])
def test_tables(name):
    frame = read_table(TABLES / f"{name}.parquet")
    target = TargetEncoder().fit(frame["target"])
    split = plan_split(target.encode(frame["target"])[0], target.task, seed=0)
    data, encoder, target = table_dataset(frame, "target", fit_rows=split.train)
    assert (target.outputs, data.x["num"].shape[1], data.x["cat"].shape[1]) == SIZES[name]
    assert torch.isfinite(data.x["num"]).all() and data.x["num"].abs().max() <= 4
    assert all(codes.min() >= 0 and codes.max() < size for codes, size in zip(data.x["cat"].T, encoder.cardinalities, strict=True))
    again = TableEncoder.from_dict(encoder.to_dict()).transform(frame)
    assert torch.equal(again["num"], data.x["num"]) and torch.equal(again["cat"], data.x["cat"])


@pytest.mark.parametrize("name", [needs("adult")])
def test_csv_and_parquet_agree(name, tmp_path):
    frame = read_table(TABLES / f"{name}.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    one, encoder, target = table_dataset(frame, "target")
    two, _, _ = table_dataset(tmp_path / "a.csv", "target")
    assert torch.equal(one.x["num"], two.x["num"]) and torch.equal(one.x["cat"], two.x["cat"]) and torch.equal(one.y, two.y)
    three, _, _ = table_dataset(tmp_path / "a.csv", "target", encoder=encoder, target_encoder=target)
    assert torch.equal(one.x["cat"], three.x["cat"])


@pytest.mark.parametrize("name", [needs("adult")])
def test_one_batch_of_predictions_at_a_time(name):
    frame = read_table(TABLES / f"{name}.parquet").drop(columns="target")
    encoder = TableEncoder().fit(frame)
    whole, part = encoder.transform(frame), encoder.transform(pd.DataFrame(frame.iloc[100:110]))
    assert torch.equal(whole["num"][100:110], part["num"]) and torch.equal(whole["cat"][100:110], part["cat"])
