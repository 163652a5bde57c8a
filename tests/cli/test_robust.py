"""`temperance robust`: a fitted model attacked on rows with known answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.cli.conftest import Run
from tests.cli.test_bad_input import NETWORK, Edit, refused, same, set_cell
from tests.folders import edit
from torch import nn

from temperance.data import TableEncoder, TargetEncoder
from temperance.job.saved import save_model
from temperance.nets import MLP, TabularNet, build_seeded

N = 120


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    row = np.arange(N)
    age, size = rng.normal(40, 10, N).round(1), rng.normal(size=N)
    rich = np.where(age + 5 * size > 40, "yes", "no")
    columns = {"age": np.where(row % 10 == 0, np.nan, age), "size": size, "job": rng.choice(["cook", "smith"], N), "rich": rich, "price": 3 * age + 10}
    return pd.DataFrame({**columns, "a": (age > 40).astype(int), "b": (size > 0).astype(int)})


TARGETS: dict[str, tuple[list[str], str]] = {
    "classes": (["rich"], "classification"),
    "values": (["price"], "regression"),
    "labels": (["a", "b"], "multilabel"),
}


def saved(folder: Path, kind: str, own: bool = False) -> tuple[TableEncoder, TargetEncoder, nn.Module]:
    """A model's folder in `out`, and the rows in `t.csv`; the network is not trained."""
    names, task = TARGETS[kind]
    frame = table()
    frame.to_csv(folder / "t.csv", index=False)
    encoder = TableEncoder().fit(frame[["age", "size", "job"]])
    target = TargetEncoder().fit(frame[names[0]] if len(names) == 1 else frame[names], task, ", ".join(names))
    arguments: dict[str, Any] = {
        "num_features": len(encoder.numeric_names),
        "cardinalities": list(encoder.cardinalities),
        "out_features": target.outputs,
        "hidden": [16],
    }
    module = build_seeded(lambda: nn.Linear(3, target.outputs) if own else TabularNet(**arguments), 0)
    save_model(
        folder / "out" / "model", module, [None if own else {"network": "TabularNet", "arguments": arguments}], encoder, target, "net.py:build" if own else None
    )
    return encoder, target, module


@pytest.mark.parametrize("kind", TARGETS)
def test_every_task(run: Run, tmp_path: Path, kind: str) -> None:
    saved(tmp_path, kind)
    result = run("robust", "out", "t.csv", "--eps", 0.1, "--eps", 1)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    text = result.stdout
    for part in (
        "Robustness of out on t.csv",
        "standard deviations of each input; categories",
        f"Measured on {N} rows: 20 steps, 1 start",
        "random noise",
        "worst of all",
    ):
        assert part in text, text
    lines = [line.split() for line in text.splitlines()]
    at = next(i for i, line in enumerate(lines) if line[:1] == ["eps"])
    assert [line[0] for line in lines[at + 1 : at + 4]] == ["0", "0.1", "1"]
    assert re.search(r"age ± \d+(\.\d+)?, size ± \d", text)
    assert ("RMSE with its" if kind == "values" else "Accuracy with its") in text


def test_json_is_the_measurement(run: Run, tmp_path: Path) -> None:
    encoder, target, module = saved(tmp_path, "classes")
    facts = json.loads(run("robust", "out", "t.csv", "--eps", 0.3, "--norm", "l2", "--rows", 50, "--seed", 4, "--json").stdout)
    assert facts["n"] == 50 and facts["of"] == N and facts["norm"] == "l2" and facts["eps"] == [0.3] and facts["seed"] == 4
    assert [m["name"] for m in facts["moves"]] == ["age", "size"] and facts["moves"][1]["sd"] == pytest.approx(encoder.numeric[1].scale)
    whole = json.loads(run("robust", "out", "t.csv", "--json", "--steps", 2, "--restarts", 2).stdout)
    frame = table()
    out = module.eval()(encoder.transform(frame)).argmax(1)
    right = (np.array(target.classes)[out.numpy()] == frame["rich"]).mean()
    assert whole["clean"]["value"] == pytest.approx(right) and whole["eps"] == [0.05, 0.1, 0.2, 0.5] and whole["n"] == whole["of"] == N
    assert set(whole["attacks"]) == {"fgsm", "pgd", "margin"}
    again = json.loads(run("robust", "out", "t.csv", "--json", "--steps", 2, "--restarts", 2).stdout)
    assert again == whole


def test_the_error_is_in_units_of_the_target(run: Run, tmp_path: Path) -> None:
    encoder, target, module = saved(tmp_path, "values")
    facts = json.loads(run("robust", "out", "t.csv", "--json").stdout)
    frame = table()
    with torch.no_grad():
        predicted = target.decode(module.eval()(encoder.transform(frame)))
    assert facts["metric"] == "rmse" and facts["clean"]["value"] == pytest.approx(np.sqrt(((predicted - frame["price"]) ** 2).mean()), rel=1e-4)


def test_rows_without_a_target_are_left_out(run: Run, tmp_path: Path) -> None:
    saved(tmp_path, "classes")
    frame = table().astype({"rich": object})
    frame.loc[:99, "rich"] = None
    frame.to_csv(tmp_path / "few.csv", index=False)
    assert json.loads(run("robust", "out", "few.csv", "--json").stdout)["n"] == 20


def test_a_network_of_ones_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        NETWORK.replace("self.linear = nn.Linear(data.in_features, data.out_features)", "self.linear = nn.Linear(3, 2)"), encoding="utf-8"
    )
    saved(tmp_path, "classes")
    from safetensors.torch import save_file

    save_file({"linear.weight": torch.ones(2, 3), "linear.bias": torch.zeros(2)}, tmp_path / "out" / "model" / "model.safetensors")
    edit(tmp_path / "out", "model/model.json", lambda meta: {**meta, "networks": [None], "source": "net.py:build"})
    assert "(net.py:build)" in run("robust", "out", "t.csv").stderr
    result = run("robust", "out", "t.csv", "--model", "net.py:build")
    assert result.exit_code == 0, result.output


def test_images(run: Run, tmp_path: Path) -> None:
    from temperance.data.encode_images import ImageEncoder
    from temperance.data.read_images import read_images

    rng = np.random.default_rng(0)
    np.savez(tmp_path / "new.npz", x=rng.integers(0, 256, (30, 4, 4), dtype=np.uint8), y=np.arange(30) % 3)
    images = read_images(tmp_path / "new.npz")
    encoder, target = ImageEncoder().fit(images), TargetEncoder().fit(images.labels, "classification", "label")
    arguments: dict[str, Any] = {"in_features": 16, "out_features": 3, "hidden": [8]}
    module = build_seeded(lambda: MLP(**arguments), 0)
    save_model(tmp_path / "out" / "model", module, [{"network": "MLP", "arguments": arguments}], encoder, target)
    facts = json.loads(run("robust", "out", "new.npz", "--json").stdout)
    right = module(encoder.encode(images)).argmax(1).numpy() == np.arange(30) % 3
    assert facts["unit"] == "raw" and facts["clean"]["value"] == pytest.approx(right.mean())
    assert "raw units of the inputs" in run("robust", "out", "new.npz").stdout
    np.savez(tmp_path / "bare.npz", x=np.zeros((3, 4, 4), np.uint8))
    refused(run("robust", "out", "bare.npz"), ["bare.npz"])
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for command in ("robust", "diagnose"):
        refused(run(command, "out", "t.csv"), ["`data` to be images as the model was fitted on", "'t.csv'"])
    refused(run("diagnose", "out", "new.npz", "--validation", "no.npz"), ["`--validation`", "'no.npz'"])


BAD: dict[str, tuple[Edit, list[Any], list[str]]] = {
    "no target": (lambda frame: frame.drop(columns="rich"), [], ["target `rich`", "'t.csv'", "Add the right answers."]),
    "no column": (lambda frame: frame.drop(columns="age"), [], ["`age` missing"]),
    "only missing targets": (lambda frame: frame.assign(rich=None), [], ["rows with a target", "none"]),
    "an unseen class": (set_cell("rich", 3, "perhaps"), [], ["classes 'no', 'yes'", "'perhaps' in row 4"]),
    "a string in a number column": (set_cell("age", 2, "tall"), [], ["numbers in column `age`", "'tall'", "row 3"]),
    "no rows": (lambda frame: frame.head(0), [], ["header only"]),
    "eps of zero": (same, ["--eps", 0], ["`eps`", "(0, inf)", "[0.0]"]),
    "a negative eps": (same, ["--eps", -0.5], ["`eps`", "(0, inf)", "[-0.5]"]),
    "eps that is no number": (same, ["--eps", "nan"], ["`eps`", "(0, inf)", "[nan]"]),
    "an unknown norm": (same, ["--norm", "l1"], ["`norm`", "linf, l2", "'l1'"]),
    "no steps": (same, ["--steps", 0], ["`steps`", "[1, inf)", "0"]),
    "no starts": (same, ["--restarts", 0], ["`restarts`", "[1, inf)", "0"]),
    "no rows wanted": (same, ["--rows", 0], ["`rows`", "[1, inf)", "0"]),
    "a negative seed": (same, ["--seed", -1], ["`seed`", "[0, inf)", "-1"]),
    "a missing network": (same, ["--model", "nett.py:build"], ["--model", "'nett.py'", "does not exist"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(run: Run, tmp_path: Path, case: str) -> None:
    edit, options, words = BAD[case]
    saved(tmp_path, "classes")
    edit(table()).to_csv(tmp_path / "t.csv", index=False)
    refused(run("robust", "out", "t.csv", *options), words)


def test_bad_places(run: Run, tmp_path: Path) -> None:
    saved(tmp_path, "classes")
    refused(run("robust", "nowhere", "t.csv"), ["folder written by `temperance fit`", "'nowhere'"])
    refused(run("robust", "out", "tt.csv"), ["existing file", "'tt.csv'"])
    usage = run("robust", "out", "t.csv", "--eps", "much")
    assert usage.exit_code == 2 and "Traceback" not in usage.output
    only_categories = TableEncoder().fit(table()[["job"]])
    target = TargetEncoder().fit(table()["rich"], "classification", "rich")
    arguments: dict[str, Any] = {"num_features": 0, "cardinalities": list(only_categories.cardinalities), "out_features": 2, "hidden": [4]}
    module = build_seeded(lambda: TabularNet(**arguments), 0)
    save_model(tmp_path / "codes" / "model", module, [{"network": "TabularNet", "arguments": arguments}], only_categories, target)
    refused(run("robust", "codes", "t.csv"), ["inputs with numbers", "categories only"])
