"""Data sets from tables and from arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from temperance.core.errors import DataError
from temperance.data import Dataset, as_dataset, row_weights, table_dataset

FRAME = pd.DataFrame({"age": np.arange(20.0), "job": ["cook", "smith"] * 10, "w": [1.0, 2.0] * 10, "income": ["low", "high"] * 10})


def fails(call, *parts):
    with pytest.raises(DataError) as caught:
        call()
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_table():
    data, encoder, target = table_dataset(FRAME, "income", weight="w", ignore=["job"])
    assert isinstance(data, Dataset) and len(data) == 20 and data.task == "classification" and data.classes == ("high", "low")
    assert encoder.numeric_names == ("age",) and data.cardinalities == () and data.weight.tolist() == [1, 2] * 10 and data.labeled is None
    more, _, _ = table_dataset(FRAME.iloc[:3], "income", encoder=encoder, target_encoder=target)
    assert torch.equal(more.x["num"], data.x["num"][:3]) and torch.equal(more.y, data.y[:3]) and len(data.take([0, 1])) == 2


def test_table_learns_from_the_training_rows():
    frame = FRAME.assign(pay=np.arange(20.0) + 0.5)
    _, encoder, target = table_dataset(frame, "pay", fit_rows=np.arange(10))
    assert encoder.numeric[0].median == 4.5 and target.mean == (5.0,)
    data, _, _ = table_dataset(frame, ["pay", "age"])
    assert data.y.shape == (20, 2) and data.task == "regression"


def test_table_refusals():
    fails(lambda: table_dataset(FRAME, "incom"), "`target` to name a column", "'incom'", "Did you mean `income`?")
    fails(lambda: table_dataset(FRAME, "zzz"), "There are: `age`, `job`, `w`, `income`.")
    fails(lambda: table_dataset(FRAME, "income", ignore=["jbo"]), "`ignore`", "'jbo'", "`job`")
    fails(lambda: table_dataset(FRAME, "income", ignore=["income"]), "'income' in both", "Remove it")
    fails(lambda: table_dataset(FRAME, "income", weight="ww"), "`weight`", "'ww'")
    fails(lambda: table_dataset(FRAME, "income", weight="income"), "another column than the target")
    fails(lambda: table_dataset(FRAME[["income"]], "income"), "beside the target", "Add columns")
    fails(lambda: table_dataset(FRAME.assign(w=-1.0), "income", weight="w"), "[0, inf) in `w`", "-1.0 in row 1", "Use 0")
    fails(lambda: table_dataset(FRAME.assign(w=0), "income", weight="w"), "0 in every row", "Leave the weights out")
    fails(lambda: table_dataset(FRAME.assign(w=None), "income", weight="w"), "row 1")
    fails(lambda: row_weights([1.0], 2, "weight"), "one weight per row (2)", "got 1")


def test_arrays():
    images = as_dataset(np.zeros((4, 3, 8, 8), np.uint8), [2, 0, 1, 2])
    assert images.x.dtype == torch.float32 and images.in_shape == (3, 8, 8) and images.classes == (0, 1, 2) and images.y.argmax(1).tolist() == [2, 0, 1, 2]
    values = as_dataset(torch.randn(3, 2), [1.5, np.nan, 2.0])
    assert values.task == "regression" and values.y[:, 0].tolist() == [1.5, 0.0, 2.0] and values.labeled.tolist() == [True, False, True]
    assert as_dataset(np.ones((60, 1)), np.arange(60) % 30).task == "classification"
    assert as_dataset(np.ones((3, 1)), np.eye(3)).task == "multilabel"
    soft = as_dataset(np.ones((2, 1)), [[0.2, 0.8], [1.0, 0.0]], task="classification")
    assert soft.task == "classification" and soft.out_features == 2
    assert as_dataset(np.ones((2, 1)), np.array([0.0, 1.0]), task="regression").y.tolist() == [[0.0], [1.0]]
    known = as_dataset(np.ones((2, 1)), [5, 5], classes=np.array([3, 5]))
    assert known.y.tolist() == [[0, 1], [0, 1]] and known.classes == (3, 5)
    assert as_dataset(np.ones((2, 1)), ["b", "b"], classes=["a", "b"]).y.tolist() == [[0, 1], [0, 1]]
    assert as_dataset(np.ones((3, 1)), [0, None, 1]).labeled.tolist() == [True, False, True]
    weighted = as_dataset(np.ones((2, 1)), [0, 1], weight=torch.tensor([1.0, 2.0]))
    assert weighted.weight.tolist() == [1, 2]


def test_dict_of_inputs_keeps_codes():
    data = as_dataset({"num": np.ones((3, 2)), "cat": np.ones((3, 1), int)}, [0, 1, 0])
    assert data.x["cat"].dtype == torch.int64 and data.x["num"].dtype == torch.float32


def test_two_heads_with_missing_labels():
    data = as_dataset(np.ones((4, 2)), {"kind": ["a", None, "b", "a"], "size": [1.5, 2.5, np.nan, 0.5]})
    assert data.task == {"kind": "classification", "size": "regression"}
    assert data.labeled["kind"].tolist() == [True, False, True, True] and data.labeled["size"].tolist() == [True, True, False, True]
    assert data.y["kind"].shape == (4, 2) and data.y["size"].shape == (4, 1)
    assert as_dataset(np.ones((4, 2)), {"a": [0, 1] * 2, "b": [0, 1] * 2}, task={"b": "regression"}).task == {"a": "classification", "b": "regression"}


def test_array_refusals():
    fails(lambda: as_dataset(np.ones((3, 2)), [0, 1]), "`y` to have 3 rows like X", "got 2", "one target for each row")
    fails(lambda: as_dataset(np.ones(3), [0, 1, 0]), "`X` with shape (rows, ...)", "(3,)", "reshape(-1, 1)")
    fails(lambda: as_dataset(np.array([[1.0], [np.nan]]), [0, 1]), "finite numbers in `X`", "row 2", "Fill or drop")
    fails(lambda: as_dataset(np.array([["a"], ["b"]]), [0, 1]), "`X` to be an array of numbers", "table_dataset")
    fails(lambda: as_dataset(np.ones((2, 1), complex), [0, 1]), "Complex data not supported")
    fails(lambda: as_dataset(np.ones((2, 1)), [0, 0]), "one class")
    fails(lambda: as_dataset(np.ones((2, 1)), [0, 9], classes=[0, 1]), "classes 0, 1", "got 9 in row 2")
    fails(lambda: as_dataset(np.ones((2, 1)), [[0.5, 0.6], [0, 1]], task="classification"), "add up to 1", "row 1", "Divide by the sum", "multilabel")
    fails(lambda: as_dataset(np.ones((2, 1)), [0, 1], weight=[1, -1]), "`weight`", "row 2")
