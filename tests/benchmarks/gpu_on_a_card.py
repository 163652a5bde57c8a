"""The benchmark for a graphics card runs without one, on the processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.laws.card import CARD, Card

from benchmarks import gpu
from temperance.core import device
from temperance.core.errors import ConfigError

CPU = torch.device("cpu")


def test_it_runs_on_the_processor(tmp_path: Path) -> None:
    assert gpu.main(["--device", "cpu", "--quick", "--out", str(tmp_path / "gpu.json")]) == 0
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["device"] == "cpu" and not record["skipped"]
    assert record["draws"] == [{"exact": True, "normal_last_places": 0.0}]
    assert len(record["same"]) >= 4 and all(row["ok"] is True and row["of_tolerance"] == 0.0 for row in record["same"])
    assert [(row["members"], row["precision"]) for row in record["population"]] == [(2, "fp32"), (2, "bf16"), (4, "fp32"), (4, "bf16")]
    assert all(row["ms"] > 0 for part in ("alone", "population", "floor") for row in record[part])
    search = record["search"][0]
    assert search["seconds_for_all"] == pytest.approx(search["seconds"] * 105 * 210)


def test_it_runs_on_a_pretended_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in it mixes devices, and the tolerance holds between two orders of the sums."""
    monkeypatch.setattr(device, "cards", lambda: [str(CARD)])
    with Card():
        assert gpu.main(["--device", str(CARD), "--quick", "--parts", "1,3", "--out", str(tmp_path / "gpu.json")]) == 0
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["device"] == str(CARD) and record["draws"][0]["exact"]
    assert all(row["ok"] for row in record["same"])


def test_every_regularizer_can_be_compared() -> None:
    """None is refused by the small network, or the comparison would say nothing about it."""
    refused = [row for name, kind in gpu.REGISTRY.items() if kind.__module__.startswith("temperance.") and (row := gpu.compared(name, CPU))["ok"] is not True]
    assert not refused


def test_a_wrong_number_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, calls = gpu.states, list[int]()

    def off(regularizer: object, where: torch.device) -> list[dict[str, torch.Tensor]]:
        calls.append(1)
        found = real(regularizer, where)
        for tensor in found[1].values() if len(calls) == 2 else ():
            if tensor.is_floating_point():
                tensor += 1e-6
        return found

    monkeypatch.setattr(gpu, "states", off)
    assert gpu.main(["--device", "cpu", "--quick", "--parts", "1", "--out", str(tmp_path / "gpu.json")]) == 1
    assert "other than on the processor: ActivationSparsity" in capsys.readouterr().out


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Expected `device` of benchmarks.gpu"):
        gpu.main(["--device", "cuda:99", "--out", str(tmp_path / "gpu.json")])
