"""The benchmark of the lectures' numbers: which rows train, when a number is reached, and the table that says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.csv_lines import read
from benchmarks.lecture_rows import ROWS, Work

import temperance as tp
from benchmarks import lecture_rows, lectures

REACHED = {
    "digits": {"cocktail": 1.5},
    "digits-100": {"cocktail": 7.2},
    "nielsen": {"plain": 17.0, "L2": 12.5},
    "translation": {"plain": 1.9, "translated": 1.55},
    "permutation-invariant": {"VAT": 1.15},
    "dropout-max-norm": {"dropout+max-norm": 1.15},
    "100-labels": {"ladder": 3.0},
    "elastic": {"elastic": 0.9},
    "fashion": {"cocktail": 9.0},
    "robust": {"PGD": 12.0},
}


@pytest.mark.parametrize("name", REACHED)
def test_a_number_is_reached_up_to_its_bound(name: str) -> None:
    errors = {arm: [value] * 3 for arm, value in REACHED[name].items()}
    assert ROWS[name].reached(errors)
    best = list(errors)[-1]
    assert not ROWS[name].reached({**errors, best: [errors[best][0] + 0.1] * 3})


def test_an_order_needs_both_gaps_beyond_their_noise() -> None:
    rule = ROWS["order"].reached
    clear = {"L2": [5.0, 5.1, 5.2], "max-norm": [4.0, 4.2, 4.1], "dropout+max-norm": [3.0, 3.1, 3.05]}
    assert rule(clear)
    assert not rule({**clear, "max-norm": [5.4, 4.2, 5.0]}) and not rule({**clear, "dropout+max-norm": [4.3, 3.1, 4.4]})
    assert lecture_rows.gap(clear, "max-norm", "L2") < 0
    assert set(ROWS) - set(REACHED) == {"order"}


def test_rows_that_train_and_rows_that_test_are_apart() -> None:
    data, test = lectures.images(Path("nowhere"), "digits")
    assert test is None and isinstance(data.x, torch.Tensor) and 0.0 <= float(data.x.min()) < float(data.x.max()) == 1.0
    for rows, n in ((100, 100), (0, 1437)):
        train, held = lectures.chosen(data, rows, 0, False)
        assert len(train) == n and not set(train) & set(held) and len(train) + len(held) == len(data)
        assert not np.array_equal(train, lectures.chosen(data, rows, 1, False)[0])
    assert lectures.chosen(data, 0, 0, True) == (None, None) and lectures.chosen(data, 100, 0, True)[1] is None
    few = lectures.labeled(data, 100, 0)
    known = few.labeled
    assert isinstance(known, torch.Tensor) and isinstance(data.y, torch.Tensor)
    assert int(known[: len(data)].sum()) == 100 and int(data.y[known[: len(data)]].sum(0).min()) >= 9
    assert isinstance(few.x, torch.Tensor) and len({row.numpy().tobytes() for row in few.x[known]}) == 100
    assert abs(float(known.float().mean()) - lectures.LABELED) < 0.05


def test_a_row_is_run_once_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Work(30, 1, (4,))
    monkeypatch.setitem(lectures.ROWS, "digits", replace(ROWS["digits"], whole=tiny, small=tiny, batch=30))
    out = tmp_path / "lectures.csv"
    lectures.run("digits", Path("nowhere"), [0], False, out)
    first = out.read_text(encoding="utf-8")
    lectures.run("digits", Path("nowhere"), [0], False, out)
    assert out.read_text(encoding="utf-8") == first
    lines = read(out)
    assert [(r["arm"], r["seed"], r["work"], r["rows"]) for r in lines] == [(arm, "0", "whole", "30") for arm in ("plain", "cocktail", "RBF SVM")]
    table = lectures.report(lines)
    assert "| digits | RBF SVM 98.89 % | ≥ 98.5 % | 30 rows, 1 epochs, 4 units | plain | 1 |" in table and "| missed, 1 seed only |" in table
    assert table.count("| not run |") == len(ROWS) - 1


def test_a_smaller_work_says_so() -> None:
    line = {"row": "elastic", "arm": "elastic", "seed": "0", "work": "smaller", "error": "0.8", "least": "0.7", "rows": "1000", "epochs": "3", "hidden": "8"}
    line |= {"seconds": "4", "whole_hours": "5.25", "cores": "2", "torch": "2", "date": "2026-01-02"}
    text = lectures.report([line])
    assert "1,000 rows, 3 epochs, 8 units (the whole: about 5.2 h) | elastic | 1 | 0.80 | 0.70 | 4 | reached, on the smaller work, 1 seed only |" in text
    for seeds, words in ((2, ", 2 seeds only"), (3, "")):
        assert lectures.verdict("elastic", {"elastic": [0.8] * seeds}, "whole") == f"reached{words}"
    attacked = lectures.report([{**line, "row": "robust", "arm": "PGD"}])
    assert f"8 units, {ROWS['robust'].small.attacked:,} rows attacked (the whole: about 5.2 h) | PGD |" in attacked
    assert f"- `robust`: {ROWS['robust'].why}" in attacked and "`elastic`:" not in attacked


def test_a_row_names_its_network() -> None:
    data, _ = lectures.images(Path("nowhere"), "digits")
    built: list[tp.nets.LadderNet] = []

    def build(*args: Any, **settings: Any) -> tp.nets.LadderNet:
        built.append(tp.nets.LadderNet(*args, **settings))
        return built[-1]

    tiny, ladder = Work(30, 1, (5,)), ROWS["100-labels"]
    row = replace(ladder, build=build, network={"costs": (1.0, 0.1, 0.1)}, whole=tiny, small=tiny, batch=30, labels=0)
    (found,) = lectures.measured(row, tiny, data, None, list(row.arms), [0])
    assert found["arm"] == "ladder" and 0.0 <= found["error"] <= 100.0
    assert [p.shape for p in built[0].encoder.parameters()] == [(5, 64), (10, 5)]


def test_the_first_weights_of_a_row_are_its_own() -> None:
    net = tp.nets.MLP(300, 10, hidden=(30,))
    ROWS["nielsen"].start(net, 3)
    first = [p.detach().clone() for p in net.parameters()]
    assert all(0.5 < float(p.std()) < 1.5 and abs(float(p.mean())) < 0.9 for p in first)
    ROWS["nielsen"].start(net, 3)
    assert all(torch.equal(a, b) for a, b in zip(first, net.parameters(), strict=True))
    ROWS["nielsen"].start(net, 4)
    assert not torch.equal(first[0], next(net.parameters()))
