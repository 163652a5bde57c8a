"""The calibration error: fifteen equal bins, the last one closed, against a sum over rows that shares no code with it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

import temperance as tp
from temperance.diagnose import diagnose_function as diagnose
from temperance.diagnose.calibration import ece, error_of, reliability

BINS = 15
CONFIDENCES = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 1.0, 0.5, 5e-324, math.nextafter(1.0, 0.0), *(k / BINS for k in range(BINS + 1))]))


def by_rows(confidences: list[float], right: list[bool]) -> float:
    """Rows are sorted into the bins one by one; a confidence of 1 belongs to the last bin."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for sure, hit in zip(confidences, right, strict=True):
        bins.setdefault(BINS - 1 if sure == 1.0 else math.floor(sure * BINS), []).append((sure, hit))
    apart = [len(rows) * abs(sum(h for _, h in rows) / len(rows) - sum(c for c, _ in rows) / len(rows)) for rows in bins.values()]
    return sum(apart) / len(confidences)


@given(st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=60))
def test_one_label_at_every_confidence(rows: list[tuple[float, bool]]) -> None:
    sure, right = [c for c, _ in rows], [r for _, r in rows]
    p, target = torch.tensor(sure, dtype=torch.float64).unsqueeze(1), torch.tensor(right).long()
    assert ece(p, target) == pytest.approx(by_rows(sure, right), abs=1e-12)  # sums of 60 numbers below 60 in double precision
    assert sum(b["n"] for b in reliability(p, target)) == len(rows)


@given(st.lists(st.tuples(st.floats(0.5, 1.0), st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_two_classes_are_judged_by_the_class_that_is_predicted(rows: list[tuple[float, bool, bool]]) -> None:
    sure = [c for c, _, _ in rows]
    p = torch.tensor([[c, 1 - c] if first else [1 - c, c] for c, first, _ in rows], dtype=torch.float64)
    guess = p.argmax(1)
    target = torch.tensor([int(g) if hit else 1 - int(g) for g, (_, _, hit) in zip(guess, rows, strict=True)])
    assert ece(p, target) == pytest.approx(by_rows(sure, [hit for _, _, hit in rows]), abs=1e-12)


def test_a_confidence_of_one_is_in_the_last_bin_with_those_just_below_it() -> None:
    p = torch.tensor([[1.0], [0.94]])
    assert ece(p, torch.tensor([0, 1])) == pytest.approx(abs(0.5 - 0.97))  # in bins of their own: (1 + 0.06) / 2
    assert ece(torch.zeros(4, 1), torch.tensor([0, 0, 0, 1])) == pytest.approx(0.25)
    assert error_of([]) == 0.0


def diagnosed(net: nn.Module, data: object) -> float:
    return diagnose(net, data, checks="calibration")["calibration"].value["ece"]  # pyright: ignore[reportArgumentType] -- pairs and data sets alike


def test_a_saturated_softmax() -> None:
    """100 rows with a confidence of exactly 1, of which 80 are right, and 100 with 0.953 that all are: both belong to the last bin."""
    net = nn.Linear(1, 2, bias=False)
    net.weight.data = torch.tensor([[1.0], [0.0]])
    x = torch.cat([torch.full((100, 1), 60.0), torch.full((100, 1), 3.0)])
    y = torch.zeros(200, dtype=torch.long)
    y[:20] = 1
    assert diagnosed(net, (x, y)) == pytest.approx(abs(0.9 - (1.0 + 1 / (1 + math.exp(-3))) / 2), abs=1e-6)  # weights in single precision


@pytest.mark.parametrize("size", [200.0, 800.0])
def test_a_saturated_sigmoid(size: float) -> None:
    """Ninety-five of a hundred rows are certain and right, five of those at 1 are certain and wrong: fifty rows at 1 are right in 45, fifty at 0 in none."""
    net = nn.Linear(1, 1, bias=False)
    net.weight.data = torch.tensor([[1.0]])
    x = torch.cat([torch.full((50, 1), size), torch.full((50, 1), -size)])
    y = (x > 0).float()
    y[:5] = 0.0
    assert diagnosed(net, tp.data.Dataset(x, y, "multilabel")) == pytest.approx(0.05)


def test_labels_of_several_outputs_count_alike() -> None:
    x = torch.tensor([[40.0, -40.0], [40.0, 40.0], [-40.0, 40.0], [-40.0, -40.0]])
    y = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    net = nn.Linear(2, 2, bias=False)
    net.weight.data = torch.eye(2)
    assert diagnosed(net, tp.data.Dataset(x, y, "multilabel")) == pytest.approx(0.125)  # one of the eight labels is wrong
