"""The list, its JSON, and the cards."""

from __future__ import annotations

import json
import re

import pytest
from tests.cli.conftest import Run

from temperance.catalogue import ENTRIES, KINDS, rows
from temperance.core.registry import REGISTRY

NAMES = [row["name"] for row in rows()]


def test_json(run: Run) -> None:
    result = run("list", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert all(list(row) == ["name", "kind", "sites", "strengths", "reference", "spec"] for row in found)
    assert {row["kind"] for row in found} == set(KINDS)
    by_name = {row["name"]: row for row in found}
    assert len(by_name) == len(found)
    assert by_name["MaxNorm"]["strengths"]["c"] == {"default": 3.0, "off": "inf", "low": 0.5, "high": 8.0, "log": True}
    assert by_name["Dropout"]["sites"] == ["batch", "hidden"]
    assert set(REGISTRY) <= {row["name"] for row in found if row["kind"] == "regularizer"}
    assert all(row["spec"] for row in found)
    missing = [row["name"] for row in found if not re.search(r"\d{4}", row["reference"]) and row["kind"] not in ("schedule", "loss")]
    assert missing == []


def test_what_stands_around_the_regularizers_is_listed() -> None:
    names = {kind: [entry.name for entry in ENTRIES if entry.kind == kind] for kind in KINDS[1:]}
    assert {"EarlyStopping", "same_steps", "same_epochs", "until_train_loss", "bagging", "folds", "snapshots", "learning_curve"} < set(names["protocol"])
    assert {"SGD", "Adam", "AdamW", "AdaGrad", "RMSProp", "NAdam", "Adadelta", "DeltaBarDelta", "BlockDescent", "Muon"} == set(names["optimizer"])
    assert {"Constant", "Cosine", "Exponential", "FlatCosine", "InverseTime", "Linear", "Restarts", "StepDecay", "UntilEnd", "WarmUp"} == set(names["schedule"])
    assert {"MLP", "TabularNet", "ConvNet", "RecurrentNet", "ResidualNet", "MultiHead", "TwoHeads", "Average", "BatchNorm"} < set(names["network"])
    assert {"step", "curvature", "calibration", "robustness"} < set(names["diagnosis"])


def test_catalogue_is_complete() -> None:
    from temperance.core.schedule import SCHEDULES
    from temperance.train.optimizers import OPTIMIZERS
    from temperance.train.retrain import STRATEGIES

    names = {entry.name for entry in ENTRIES}
    assert {*SCHEDULES, *STRATEGIES} | {name for name in OPTIMIZERS if OPTIMIZERS[name].__module__.startswith("temperance.")} <= names


@pytest.mark.parametrize("width", [80, 120])
def test_table(run: Run, width: int) -> None:
    result = run("list", COLUMNS=str(width))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    headings = [line for line in lines if line[:1].isupper() and line.endswith(")") and line.split(" ")[1:2] and line.split(" ")[1].startswith("(")]
    assert [heading.split(" ")[0] for heading in headings] == ["Regularizers", "Protocols", "Optimizers", "Schedules", "Networks", "Diagnoses", "Losses"]
    for name in NAMES:
        assert any(line.startswith(f"{name} ") for line in lines), name
    for cell in ("lam 1e-07 to 0.1, 0", "input_rate 0.01 to 0.4, 0", "c 0.5 to 8, inf"):
        assert cell in result.stdout


def test_in_a_pipe_an_entry_is_a_line(run: Run) -> None:
    (line,) = [line for line in run("list").stdout.splitlines() if line.startswith("Dropout ")]
    sites, strengths, reference = re.split(r" {2,}", line)[1:]
    assert (sites, reference) == ("batch; hidden", "Srivastava et al. 2014")
    assert strengths.startswith("rate ") and "; input_rate 0.01 to 0.4, 0" in strengths


@pytest.mark.parametrize("name", NAMES)
def test_card(run: Run, name: str) -> None:
    result = run("describe", name, COLUMNS="80")
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert text.strip().startswith(f"{name} (")
    assert "``" not in text and ":class:" not in text and ":math:" not in text and "\\" not in text
    above, _, _ = text.partition("\nExample\n")
    assert max(map(len, above.splitlines())) <= 80
    cls = REGISTRY.get(name)
    if cls is not None:
        for part in ("What ", "Formula ", "When ", "Composes ", "Cost ", "Reference ", "\nStrengths\n", "\nExample\n  >>> ", *cls.strengths(), *cls.sites()):
            assert part in text


def test_card_of_a_regularizer_shows_every_number(run: Run) -> None:
    text = " ".join(run("describe", "max_norm", COLUMNS="120").stdout.split())
    assert "c 3 0.5 to 8 log inf (0, inf]" in text
    options = run("describe", "PGD", COLUMNS="120").stdout
    assert re.search(r"\nOptions\nsteps +gradient steps of the attack\. Default: 7\.\n", options)


@pytest.mark.parametrize(
    ("given", "name"), [("mixup", "MixUp"), ("label_smoothing", "LabelSmoothing"), ("EARLY-STOPPING", "EarlyStopping"), ("flat cosine", "FlatCosine")]
)
def test_either_spelling(run: Run, given: str, name: str) -> None:
    assert run("describe", given).stdout.strip().startswith(name)


def test_unknown_name(run: Run) -> None:
    near = run("describe", "Dropuot")
    assert near.exit_code == 2
    proposed = "Did you mean Dropout, DropConnect, GaussianDropout? `temperance list` shows all.\n"
    assert near.stderr == f"Error: Expected NAME to be an entry of the list, got 'Dropuot'. {proposed}"
    far = run("describe", "zzzzzz")
    assert far.exit_code == 2
    assert far.stderr == "Error: Expected NAME to be an entry of the list, got 'zzzzzz'. `temperance list` shows all.\n"
