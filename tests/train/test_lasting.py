"""When later populations may use the compiled step of an earlier one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

import temperance.train.kernel as kernels
from temperance.core.criterion import criterion_for
from temperance.data.dataset import Dataset
from temperance.nets import TabularNet, build_seeded
from temperance.train.grouping import Grouping
from temperance.train.kernel import Kernel, plain_tensors
from temperance.train.member import Member
from temperance.train.population import Population


def made_of(cardinalities: tuple[int, ...] = (3, 4)) -> tuple[Any, Dataset]:
    generator = torch.Generator().manual_seed(0)
    x = {"num": torch.randn(20, 2, generator=generator), "cat": torch.stack([torch.arange(20) % m for m in cardinalities], 1)}
    data = Dataset(x, torch.eye(2)[torch.arange(20) % 2], "classification", cardinalities=cardinalities)
    network = build_seeded(lambda: TabularNet(2, cardinalities, 2, (4,)), 0)
    return network, data


@pytest.mark.parametrize("own", [True, False])
def test_a_step_lasts_if_it_holds_nothing_but_plain_tensors_of_the_network(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network, data = made_of()
    group = Population(network, [Member()], data, batch_size=4, total_steps=2, compile=False).chunks[0].group
    constants = [value if own else value.clone() for _, value in plain_tensors(group.model)]
    assert constants
    monkeypatch.setattr(kernels, "_reported", lambda group: ("total",))
    monkeypatch.setattr(kernels, "_tried", lambda group, names: SimpleNamespace(constants=constants))
    made = Kernel(1)
    made.refused = ""
    made.compile(group)
    assert made.refused == "" and made.lasting is own


def test_networks_whose_plain_tensors_differ_have_steps_of_their_own() -> None:
    settings: dict[str, Any] = {"batch_size": 4, "total_steps": 2, "memory": 2**30, "way": None, "compile": False, "kernels": None, "precision": "fp32"}
    plain = [made_of(shape) for shape in ((3, 4), (3, 4), (4, 3))]
    keys = [Grouping(network, [Member()], data, criterion_for("classification"), **settings).key(0)[2] for network, data in plain]
    assert keys[0] == keys[1] != keys[2]
