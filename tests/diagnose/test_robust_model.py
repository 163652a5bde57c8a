"""A fitted model attacked in the units of its rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError
from temperance.data import Dataset, TableEncoder, TargetEncoder
from temperance.diagnose.robust_model import Raw, model_robustness
from temperance.diagnose.robustness import robustness


class First(nn.Module):
    """The numbers through a plane; remembers what it was given."""

    def __init__(self, width: int, outputs: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        self.seen: list[Tensor] = []

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        self.seen.append(x["num"].detach().clone())
        return self.linear(x["num"])


def rows() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"age": np.where(np.arange(60) % 5 == 0, np.nan, rng.normal(40, 10, 60)), "size": rng.normal(size=60), "job": rng.choice(["cook", "smith"], 60)}


def test_missing_numbers_and_their_marks_stay() -> None:
    encoder, target = TableEncoder().fit(rows()), TargetEncoder().fit(["a", "b"] * 30)
    torch.manual_seed(0)
    net = First(3)
    x = encoder.transform(rows())
    y = torch.eye(2)[net(x).argmax(1)]
    net.seen.clear()
    facts = model_robustness(net, encoder, target, Dataset(x, y, "classification"), eps=0.5, rows=60)
    clean = {tuple(row.tolist()) for row in x["num"]}
    for batch in net.seen:
        for row in batch[batch[:, 2] == 1]:
            assert any(row[0] == one[0] and one[2] == 1 and abs(row[1] - one[1]) <= 0.5 + 1e-6 for one in clean)
        assert ((batch[:, 2] == 0) | (batch[:, 2] == 1)).all()
    assert facts["moves"] == [{"name": "age", "sd": encoder.numeric[0].scale}, {"name": "size", "sd": encoder.numeric[1].scale}]
    assert facts["n"] == facts["of"] == 60 and facts["unit"] == "sd"
    assert facts["stays"] == ["categories", "missing numbers"]
    plain, kinds = {"size": rows()["size"]}, {"size": rows()["size"], "job": rows()["job"]}
    for table, stays in ((plain, []), (kinds, ["categories"])):
        encoder = TableEncoder().fit(table)
        data = Dataset(encoder.transform(table), y, "classification")
        assert model_robustness(First(1), encoder, target, data, eps=0.5, rows=60)["stays"] == stays


def test_images_are_attacked_in_the_units_of_their_range() -> None:
    """The network for standardized images, attacked through its encoder, is the network of raw images attacked in [0, 1]."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double()
    encoder = SimpleNamespace(mean=(0.3, 0.5, 0.4), sd=(0.2, 0.25, 0.3))
    pixels = torch.rand(40, 3, 4, 4).double()
    mean, sd = (torch.tensor(part).double().reshape(1, 3, 1, 1) for part in (encoder.mean, encoder.sd))
    y = torch.eye(3)[net((pixels - mean) / sd).argmax(1)]
    target = TargetEncoder().fit(["a", "b", "c"] * 2)
    facts = model_robustness(net, encoder, target, Dataset((pixels - mean) / sd, y, "classification"), rows=40)
    assert facts["unit"] == "raw" and facts["eps"] == [0.01, 0.03, 0.1, 0.3] and facts["moves"] == facts["stays"] == []
    direct = robustness(Raw(net, encoder.mean, encoder.sd).double(), Dataset(pixels, y, "classification"), bounds=(0.0, 1.0)).to_dict()
    assert {key: facts[key] for key in direct} == direct


def test_a_value_in_its_own_unit_and_some_of_the_rows() -> None:
    frame = rows()
    values = 100 * np.nan_to_num(frame["size"]) + 7
    encoder, target = TableEncoder().fit(frame), TargetEncoder().fit(values, "regression")
    y, _ = target.encode(values)
    torch.manual_seed(0)
    net = First(3, 1)
    x = encoder.transform(frame)
    facts = model_robustness(net, encoder, target, Dataset(x, y, "regression"), rows=20, seed=3, eps=[0.1])
    again = model_robustness(net, encoder, target, Dataset(x, y, "regression"), rows=20, seed=3, eps=[0.1])
    other = model_robustness(net, encoder, target, Dataset(x, y, "regression"), rows=20, seed=4, eps=[0.1])
    assert facts == again and facts["clean"] != other["clean"] and facts["n"] == 20 and facts["of"] == 60
    whole = model_robustness(net, encoder, target, Dataset(x, y, "regression"), eps=[0.1])
    error = target.decode(net(x)) - values
    assert whole["clean"]["value"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)


@pytest.mark.parametrize(("name", "value"), [("rows", 0), ("rows", 1.5), ("seed", -1), ("seed", True)])
def test_bad_settings(name: str, value: Any) -> None:
    encoder, target = TableEncoder().fit(rows()), TargetEncoder().fit(["a", "b"] * 30)
    data = Dataset(encoder.transform(rows()), torch.eye(2)[torch.arange(60) % 2], "classification")
    with pytest.raises(ConfigError, match=rf"^Expected `{name}` of robust to be a whole number in \["):
        model_robustness(First(3), encoder, target, data, **{name: value})
