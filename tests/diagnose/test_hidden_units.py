"""Units and pathways are judged where a pass shows that they are hidden, whatever the order of declaration."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.core.test_wiring import WIDTH, Net, layer
from torch import nn

import temperance as tp
from temperance.diagnose.examine import diagnose


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(80, WIDTH, generator=torch.Generator().manual_seed(0))
    return x, torch.stack([x[:, 0], x[:, 1] + 1.0], 1)


def shared() -> nn.Module:
    """One ReLU between two layers and at the output, declared before both."""
    torch.manual_seed(3)
    return Net(lambda m, x: m.act(m.b(m.act(m.a(x)))), act=nn.ReLU(), b=nn.Linear(WIDTH, 2), a=layer())


def layers(net: nn.Module, check: str = "units") -> list[Any]:
    found = diagnose(net, rows(), checks=check)
    assert not found.skipped
    return found.findings[-1].data["layers"]


def test_a_dead_output_unit_is_no_dead_hidden_unit() -> None:
    net: Any = shared()
    with torch.no_grad():
        net.b.bias.fill_(-100.0)
    found = diagnose(net, rows(), checks="units")
    assert found.causes == () and [row["layer"] for row in layers(net)] == ["act"] and layers(net)[0]["units"] == WIDTH


def test_a_dead_hidden_unit_is_found_where_its_module_is_at_the_output_too() -> None:
    net: Any = shared()
    with torch.no_grad():
        net.a.bias.fill_(-100.0)
    assert diagnose(net, rows(), checks="units").causes == ("dead_units",)


def test_activations_declared_last_are_seen() -> None:
    torch.manual_seed(3)
    net = Net(lambda m, x: m.c(m.late(m.b(m.later(m.a(x))))), a=layer(), b=layer(), c=nn.Linear(WIDTH, 2), late=nn.ReLU(), later=nn.Tanh())
    assert [row["layer"] for row in layers(net)][-1] == "later"  # the bounded ones come last, and are one layer of two
    assert sorted(row["layer"] for row in layers(net, "pathways")) == ["late", "later"]


def test_pathways_leave_output_units_whole() -> None:
    """Halving the output units of an identity changes its loss; halving its hidden ones alone does something else."""
    net: Any = shared()
    without = nn.Sequential(net.a, nn.ReLU(), net.b)
    x, y = rows()
    with torch.no_grad():
        net.b.bias.fill_(10.0)  # the ReLU at the output is open
    a, b = (diagnose(m, (x, y), checks="pathways").findings[0].value for m in (net, without))
    assert a["loss"] == pytest.approx(b["loss"]) and a["pathway_loss"] > a["loss"]
    assert [row["layer"] for row in layers(net, "pathways")] == ["act"]
    with torch.no_grad():
        net.b.weight.zero_()  # nothing that is hidden counts any more
    still = diagnose(net, (x, y), checks="pathways").findings[0].value
    assert still["pathway_loss"] == pytest.approx(still["loss"], rel=1e-6) and still["pathway_sd"] == pytest.approx(0.0, abs=1e-6)


def test_a_network_with_output_activations_alone_is_skipped_in_these_words() -> None:
    net = Net(lambda m, x: m.act(m.a(x)), act=nn.Sigmoid(), a=nn.Linear(WIDTH, 2))
    found = tp.diagnose(net, rows(), checks="units")
    assert found.skipped[0][0] == "units" and "no later layer reads its activation modules" in str(found.skipped)
