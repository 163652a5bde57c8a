"""The space of Kadra et al. (2021): its networks, its ranges, what it excludes, and a fit in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.job import fit_table, replay_trial
from temperance.search import kadra
from temperance.search.kadra import kadra_plans
from temperance.search.space import StaticPlan
from temperance.search.study import Proposer

EVERYWHERE = {
    "mixup.alpha": (0.0, 1.0),
    "cutmix.p": (0.0, 1.0),
    "cutout.size": (0.0, 1.0),
    "fgsm.eps": (0.007, 0.007),
    "dropout.rate": (0.0, 0.8),
    "weight_decay.lam": (1e-5, 0.1),
    "lookahead.alpha": (0.5, 0.8),
    "swa.start": (0.75, 0.75),
}
OWN = {"plain": {}, "skip": {"shake_drop.rate": (0.0, 0.95)}, "shake-shake": {}}


def table(task: str = "classification", n: int = 60) -> tp.data.Dataset:
    generator = torch.Generator().manual_seed(0)
    num, codes = torch.randn(n, 3, generator=generator), torch.randint(0, 40, (n, 1), generator=generator)
    y = torch.eye(2)[(num[:, 0] > 0).long()] if task == "classification" else num[:, :1]
    return tp.data.Dataset({"num": num, "cat": codes}, y, task, cardinalities=(40,))


@pytest.fixture(scope="module")
def plans() -> list[StaticPlan]:
    return kadra_plans(table(), range(60))


def test_the_strengths_and_ranges_are_those_of_the_paper(plans: list[StaticPlan]) -> None:
    assert len(plans) == 6
    for plan in plans:
        wanted = EVERYWHERE | OWN[plan.name.removesuffix("-batchnorm")]
        assert {name: (spec.low, spec.high) for name, spec in plan.space().items()} == wanted
        assert not any(spec.log for spec in plan.space().values())
        assert plan.lr == (1e-3, 1e-3)


def test_the_networks_are_those_of_the_paper(plans: list[StaticPlan]) -> None:
    x = table().x
    for plan in plans:
        network = plan.build(7)
        layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
        branches = {"plain": 1, "skip": 1, "shake-shake": 2}[plan.name.removesuffix("-batchnorm")]
        assert len(layers) == 1 + 8 * branches + 1
        assert {layer.out_features for layer in layers[:-1]} == {512}
        assert layers[0].in_features == 3 + 39
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d)]
        assert bool(norms) is plan.name.endswith("batchnorm")
        assert not any(isinstance(m, nn.Embedding) for m in network.modules())
        assert network(x).shape == (60, 2)


def test_cosine_restarts_after_15_and_45_of_105_epochs(plans: list[StaticPlan]) -> None:
    for plan in plans:
        assert (plan.batch_size, plan.epochs, plan.lengths) == (128, 105.0, (1.0,))
        factor = plan.optimizer.factor(torch.tensor([0.0, 7.5, 14.99, 15.0, 44.99, 45.0, 75.0, 105.0], dtype=torch.float64) / 105)
        assert factor.tolist() == pytest.approx([1.0, 0.5, 0.0, 1.0, 0.0, 1.0, 0.5, 0.0], abs=1e-5)
        assert plan.optimizer.hypers() == {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}


def test_a_trial_has_one_augmentation_at_most_and_fixed_strengths_are_fixed(plans: list[StaticPlan]) -> None:
    for plan in plans[::2]:
        specs = plan.cocktail.specs()
        proposer = Proposer(plan, 0, greater=True, startup=150)
        asked = proposer.ask(range(150), 7)
        for made in asked[:40]:
            proposer.tell(made.number, made.strengths["dropout.rate"])
        asked += proposer.ask(range(150, 300), 7)
        on = [[label for label in ("mixup", "cutmix", "cutout", "fgsm") if not made.cocktail[label].is_off()] for made in asked]
        assert max(map(len, on)) == 1
        assert {*map(tuple, on)} == {(), ("mixup",), ("cutmix",), ("cutout",), ("fgsm",)}
        for made in asked:
            assert made.lr == 1e-3
            assert made.strengths.keys() == specs.keys()
            assert all(made.strengths[name] == spec.off or spec.low <= made.strengths[name] <= spec.high for name, spec in plan.space().items())
            assert made.strengths["dropout.input_rate"] == 0.0
            assert made.strengths["fgsm.share"] == (0.5 if made.strengths["fgsm.eps"] else 0.0)
            assert made.strengths.get("shake_shake.amount", 1.0) == 1.0


def test_regularizers_may_be_left_out_and_added() -> None:
    for plan in kadra_plans(table(), range(60), use=["L1"], without=["FGSM", "Dropout"]):
        assert "l1.lam" in plan.space() and "fgsm" not in plan.one_of
        assert not [name for name in (*plan.cocktail.specs(), *plan.ranges, *plan.fixed) if name.startswith(("fgsm", "dropout"))]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (table("regression"), r"to be None for regression, got 'kadra2021'\. It is for classes in a table\."),
        (tp.data.Dataset(torch.zeros(4, 1, 8, 8), torch.eye(2)[[0, 1, 0, 1]], "classification"), r"to be None for images, got 'kadra2021'"),
    ],
)
def test_other_data_is_refused(data: tp.data.Dataset, words: str) -> None:
    with pytest.raises(ConfigError, match=r"Expected `space` of fit " + words):
        kadra_plans(data, range(4))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety rows; one class in five."""
    random = np.random.default_rng(0)
    age, job = random.normal(size=90).round(3), random.choice(["cook", "smith", "pilot"], 90)
    frame = pd.DataFrame({"age": age, "job": job, "rich": np.where(age > 0.8, "yes", "no"), "price": age})
    path = tmp_path_factory.mktemp("data") / "people.csv"
    frame.to_csv(path, index=False)
    return path


def fit(people: Path, out: Path, **settings: Any) -> Any:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kadra, "HIDDEN", [8] * 9)
        patch.setattr(kadra, "EPOCHS", 3.0)
        return fit_table(people, settings.pop("target", "rich"), out=out, trials=2, refits=1, space="kadra2021", **{"ignore": ["price"], **settings})


def test_a_fit_in_the_space(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    job = fit(people, tmp_path / "out", on_understood=told.append)
    assert {trial.config.plan.name for trial in job.search.trials} == {"plain", "plain-batchnorm"}
    assert job.summary["metric"]["name"] == told[0]["metric"] == "balanced_accuracy"
    assert "rows are weighted so that every class counts alike, as the metric is balanced accuracy" in told[0]["notes"]
    assert [row["plan"] for row in told[0]["space"]][::2] == ["plain", "skip", "shake-shake"]
    assert told[0]["space"][0]["strengths"]["lookahead.alpha"] == {"low": 0.5, "high": 0.8, "log": False, "off": 1.0}
    (row,) = (row for row in job.summary["cocktail"]["rows"] if row["key"] == "dropout.rate")
    assert (row["low"], row["high"]) == (0.0, 0.8)
    assert json.loads((job.folder / "run.json").read_text(encoding="utf-8"))["space"] == "kadra2021"
    assert set(tp.load(job.folder).predict(people)) <= {"yes", "no"}
    monkeypatch.setattr(kadra, "HIDDEN", [8] * 9)
    monkeypatch.setattr(kadra, "EPOCHS", 3.0)
    assert [replay_trial(job.folder, number)["same"] for number in (0, 1)] == [True, True]


def test_a_metric_that_is_asked_for_decides(people: Path, tmp_path: Path) -> None:
    assert fit(people, tmp_path / "out", metric="log_loss").summary["metric"]["name"] == "log_loss"


def test_a_fit_of_values_is_refused(people: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Expected `space` of fit to be None for regression"):
        fit(people, tmp_path / "out", target="price", ignore=["rich"])
    assert not (tmp_path / "out").exists()
