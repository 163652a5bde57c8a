"""What a prompt shows of any result: at most 20 lines, whatever it holds."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import temperance as tp
from temperance.core.shown import LINES, brief, shown

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 30)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    net, cocktail = tp.nets.MLP(30, 2, hidden=(32,)), tp.Cocktail(tp.L2(1e-3), tp.Dropout(0.2), tp.EMA(0.9))
    data = tp.data.as_dataset(X, Y)
    done = tp.fit(net, tp.Cocktail(tp.L2()).grid(l2__lam=np.logspace(-4, 0, 60)), (X, Y), steps=4)
    retrained = tp.fit(net, cocktail, (X, Y), steps=4, retrain="same_steps")
    search = tp.search(lambda d: nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 2)), (X, Y), trials=6, epochs=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    attached = cocktail.attach(net, optimizer, nn.CrossEntropyLoss())
    attached.detach()
    return {
        "fit": done,
        "outcome": done.outcomes[0],
        "population": done.population,
        "retrained fit": retrained,
        "retrained": retrained.retrained,
        "dataset": data,
        "member": tp.Member(cocktail, rows=torch.arange(100), initial=net.state_dict()),
        "search": search,
        "trial": search.winner,
        "estimator": tp.TemperanceClassifier(cocktail, epochs=1).fit(X, Y),
        "diagnosis": tp.diagnose(net, (X, Y), lr=0.1),
        "robustness": tp.robustness(net, data, eps=[0.1, 0.2], steps=1),
        "snapshots": tp.ensemble.snapshots(net, cocktail, data, steps=4, cycles=2)[0],
        "monte carlo": tp.train.monte_carlo(net, tp.Cocktail(tp.Dropout(0.2)), torch.tensor(X)),
        "attached": attached,
        "cocktail": tp.Cocktail(*(tp.L2(1e-3, name=f"l2_number_{i}") for i in range(40))),
    }


def test_every_result_fits_a_prompt(results: dict[str, Any]) -> None:
    for name, result in results.items():
        text = repr(result)
        assert text.count("\n") < LINES, f"{name} has {text.count(chr(10)) + 1} lines"
        assert len(text) < 3000, f"{name} has {len(text)} characters"
        assert "tensor([" not in text and "array([" not in text, f"{name} spells out its numbers"


def test_what_matters_is_said(results: dict[str, Any]) -> None:
    assert "60 x Outcome" in repr(results["fit"]) and f"best       {results['fit'].best}\n" in repr(results["fit"])
    assert "tensor (120, 30) float32" in repr(results["dataset"])
    assert "[Trial, Trial, Trial, Trial, Trial, Trial]" in repr(results["search"])
    assert repr(results["diagnosis"]).startswith("Diagnosis of 120 training and 0 validation rows\n")
    for finding in results["diagnosis"]:
        line = next(row for row in repr(results["diagnosis"]).splitlines() if row.split()[0] == finding.verdict)
        assert finding.name in line


def test_many_fields_and_long_values_are_cut_in_words() -> None:
    wide = shown(make_dataclass("Wide", [f"field_{i}" for i in range(50)]))(*range(50))
    assert len(repr(wide).splitlines()) == LINES and repr(wide).endswith("... and 32 more")
    assert brief("x" * 1000).endswith(" ...") and len(brief("x" * 1000)) <= 160
    assert brief({"a": 1}) == "{'a': 1}" and brief(dict.fromkeys(range(9), "y" * 50)).startswith("9 keys: 0, 1, 2")
    assert brief((1,)) == "(1,)" and brief([1.0, "b"] * 30) == "60 x float or str"
    assert brief({"w": torch.zeros(2, 3)}) == "{'w': tensor (2, 3) float32}"
