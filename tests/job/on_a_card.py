"""A fit on a card, and its folder anywhere: on the pretended card of the laws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.laws.card import CARD, Card
from torch import Tensor
from typer.testing import CliRunner

import temperance as tp
from temperance.cli.app import app
from temperance.core import device
from temperance.job import fit_table, replay_trial
from temperance.job.resuming import command_of, refuse_changed


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 2))
    frame = pd.DataFrame({"x": x[:, 0], "z": x[:, 1], "word": draw.choice(["a", "b"], 120), "y": np.where(x[:, 0] > 0, "yes", "no")})
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    monkeypatch.setattr(device, "cards", lambda: [str(CARD)])
    return Card()


def test_a_folder_made_on_a_card(rows: Path, tmp_path: Path, card: Card) -> None:
    """It loads without one, predicts the same on both, and a replay asks for the card again, or takes another device."""
    with card:
        job = fit_table(str(rows), "y", out=tmp_path / "fit", trials=2, refits=1, device="auto")
        there = tp.load(tmp_path / "fit", device=str(CARD))
        assert {str(t.device) for t in there.model.state_dict().values()} == {str(CARD)}
        far = there.predict_proba(str(rows))
        again = replay_trial(tmp_path / "fit", job.search.winner.config.number)
        for command in (["predict"], ["robust", "--rows", "20", "--steps", "2"], ["diagnose", "--check", "gradients", "--check", "calibration"]):
            done = CliRunner().invoke(app, [command[0], str(tmp_path / "fit"), str(rows), *command[1:], "--device", str(CARD)])
            assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "fit" / "run.json").read_text())["device"] == str(CARD)
    assert again["same"]
    here = tp.load(tmp_path / "fit")
    assert all(type(t) is Tensor for t in here.model.state_dict().values())
    np.testing.assert_allclose(here.predict_proba(str(rows)), far, rtol=1e-4, atol=1e-5)
    elsewhere = replay_trial(tmp_path / "fit", job.search.winner.config.number, device="cpu")
    assert elsewhere["status"] == again["status"]


@pytest.mark.parametrize("asked", ["cuda", "cuda:3", "gpu", "mps", "tpu:0"])
def test_a_device_that_is_not_there(asked: str, rows: Path, tmp_path: Path) -> None:
    """One message that names what there is, and no folder is left."""
    done = CliRunner().invoke(app, ["fit", str(rows), "--target", "y", "--out", str(tmp_path / "fit"), "--trials", "2", "--device", asked])
    assert done.exit_code == 2
    assert "Expected `device` of fit to be 'auto', 'cpu'" in " ".join(done.output.split()) and asked in done.output
    assert not (tmp_path / "fit").exists()


def test_a_fit_is_not_resumed_on_another_device(tmp_path: Path) -> None:
    asked = {"test": None, "use": (), "model": None, "backbone": None}
    before, now = (command_of(None, asked, {"device": where, "precision": "fp32"}) for where in ("cuda:0", "cpu"))
    with pytest.raises(tp.ConfigError, match=r"--device cpu \(before: cuda:0\)"):
        refuse_changed(tmp_path, before, now)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a card where there is none")
def test_auto_without_a_card_is_the_processor(rows: Path, tmp_path: Path) -> None:
    """The same bits as without the option, and no word about devices."""
    for name, options in (("one", {}), ("two", {"device": "auto"})):
        fit_table(str(rows), "y", out=tmp_path / name, trials=2, refits=1, **options)  # type: ignore[arg-type]
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    assert not any("train on" in note for note in json.loads((tmp_path / "two" / "summary.json").read_text())["warnings"])
