"""The page of a diagnosis: complete, self-contained, escaped."""

from __future__ import annotations

import re

import pytest
import torch
from tests.diagnose.planted import blobs

import temperance as tp
from temperance.diagnose import Diagnosis, Finding, diagnose_function as diagnose
from temperance.report.diagnosis import render


def test_a_page_shows_every_finding_and_loads_nothing() -> None:
    rows = blobs(80, 0)[:2]
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(8, 8)), 0)
    with torch.no_grad():
        net.hidden[0].linear.bias[:6] = -100.0
    found = diagnose(net, rows, validation=rows, lr=0.1)
    page = render({"title": "A fit", **found.to_dict()})
    assert "<h1>A fit</h1>" in page
    assert "dead_units" in found.causes
    assert all(f"<strong>{cause.replace('_', ' ')}</strong>" in page for cause in found.causes)
    assert "80 training rows and 80 validation rows" in page
    for finding in found:
        assert f"<h3>{finding.name.replace('_', ' ')}</h3>" in page
    for heading in ("How the loss bends", "Gradients on their way back", "A few steps of plain gradient descent", "Confidence and accuracy"):
        assert heading in page
    assert page.count("<svg class=") == 7
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()
    assert not re.search(r"(src|href)=|url\(|@import|https?://", page)


def test_steps_of_time_and_a_network_that_diverges() -> None:
    g = torch.Generator().manual_seed(0)
    net = tp.nets.build_seeded(lambda: tp.nets.RecurrentNet(2, 4, 1), 0)
    found = diagnose(net, (torch.randn(20, 6, 2, generator=g), torch.randn(20, generator=g)), lr=1e6)
    page = render(found.to_dict())
    assert "step of cells.0" in page
    assert "oscillation" in found.causes


@pytest.mark.parametrize(("layers", "drawn"), [(16, 16), (17, 16), (40, 16), (1, 1)])
def test_the_figure_of_gradients_says_how_many_layers_it_shows(layers: int, drawn: int) -> None:
    data = {"layers": [{"layer": f"body.{k}", "signal": 0.5**k, "gradient": 0.1} for k in range(layers)], "unused": []}
    page = render(Diagnosis((Finding("gradients", "gradients", {"ratio": 1.0}, "as it should be", data=data),), (), ()).to_dict())
    figure = page[page.index("Gradients on their way back") :]
    assert len(re.findall(r">body\.\d+<", figure[: figure.index("</svg>")])) == drawn
    part = ", of which the first and the last 8 are shown" if layers > 16 else ""
    assert f"n = {layers} layer{'s' if layers > 1 else ''}{part}, in the order of the pass" in figure


def test_text_is_escaped() -> None:
    finding = Finding("sparsity", "sparsity", {"layer": "<b>x</b>"}, "<script>alert(1)</script>", "bad", "<i>no</i>")
    page = render({"title": "<script>", "data": "<a>", **Diagnosis((finding,), (("<u>", "<s>"),), ("<em>",)).to_dict()})
    for text in ("<script>", "<b>x", "<i>no", "<a>", "<u>", "<s>", "<em>"):
        assert text not in page
