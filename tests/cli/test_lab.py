"""The commands of the lab."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Run

import temperance as tp


def test_list_names_every_experiment(run: Run) -> None:
    text, rows = run("lab", "list").stdout, json.loads(run("lab", "list", "--json").stdout)
    assert [row["name"] for row in rows] == tp.lab.names()
    assert all(row["name"] in text and row["question"] in text for row in rows)
    assert set(rows[0]) == {"name", "topic", "question", "claim", "source", "printed", "control", "seeds", "slow", "takes_data", "takes_images"}


def test_run_tells_the_verdict_and_writes_a_page(run: Run, tmp_path: Path) -> None:
    result = run("lab", "run", "quadratic-steps", "--out", "new/pages")
    assert result.exit_code == 0
    assert result.stdout.startswith("quadratic_steps: holds\n")
    assert "Wrote new/pages/quadratic_steps.html." in result.stderr
    assert (tmp_path / "new" / "pages" / "quadratic_steps.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    facts = json.loads(run("lab", "run", "quadratic_steps", "--json").stdout)
    assert facts["sound"] and facts["verdict"] == "holds" and facts["rules"][0]["control_holds"] is False


def test_all_writes_a_gallery(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temperance.lab.names", lambda: ["quadratic_steps"])
    result = run("lab", "all", "--quick", "--out", "pages")
    assert result.exit_code == 0 and "holds" in result.stdout
    assert 'href="quadratic_steps.html"' in (tmp_path / "pages" / "index.html").read_text(encoding="utf-8")


def test_a_verdict_that_fails_has_its_own_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = tp.lab.find("quadratic_steps")
    monkeypatch.setattr(kind, "rules", tuple(tp.lab.every(rule.number, ">", 1.0) for rule in kind.rules))
    for arguments in (("run", "quadratic_steps"), ("all",)):
        monkeypatch.setattr("temperance.lab.names", lambda: ["quadratic_steps"])
        result = run("lab", *arguments)
        assert result.exit_code == 3 and "does not hold" in result.stdout and "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nothing"], "Expected `name` of lab to be the name of an experiment, got 'nothing'."),
        (["run", "quadratic_steps", "--data", "t.csv"], "Expected `--data and --target` of lab run to be given together, got 't.csv'."),
        (["run", "quadratic_steps", "--target", "y"], "Expected `--data and --target` of lab run to be given together, got 'y'."),
        (["run", "quadratic_steps", "--data", "t.csv", "--target", "y"], "Expected `data` of the experiment quadratic_steps to be None"),
        (["run", "quadratic_steps", "--out", "t.csv"], "Cannot use 't.csv'"),
        (["run", "translation", "--data", "t.csv", "--target", "y"], "Expected `data` of the experiment translation to be images (n, channels, height, width)"),
        (["run", "translation", "--mnist", "nowhere"], "Expected `--mnist` of lab to be a folder with idx files, got 'nowhere'."),
        (["run", "translation", "--mnist", "."], "Expected one idx file of images"),
        (["run", "u_curve", "--mnist", ".", "--data", "t.csv", "--target", "y"], "Expected `--mnist` of lab run to be given without --data"),
        (["run", "quadratic_steps", "--data", "none.csv", "--target", "y"], "none.csv"),
    ],
)
def test_bad_input_is_one_message(arguments: list[str], said: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(40)), encoding="utf-8")
    result = run("lab", *arguments)
    assert result.exit_code == 2 and said in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize("target", ["y", pytest.param("a", marks=pytest.mark.slow)])  # numbers take the same way, and as long
def test_a_learning_curve_of_a_table_with_few_rows_of_one_class(target: str, run: Run, tmp_path: Path) -> None:
    rows = [f"{i % 17 / 7},{(i * 13) % 11},{'yes' if i % 9 == 0 else 'no'}" for i in range(60)]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n", encoding="utf-8")
    result = run("lab", "run", "learning_curve", "--quick", "--data", "t.csv", "--target", target, "--json")
    assert result.exit_code in (0, 3), result.output
    values = [value for numbers in json.loads(result.stdout)["numbers"].values() for value in numbers]
    assert values and all(value is not None and abs(value) < 100 for value in values)


@pytest.mark.parametrize(("name", "target"), [("keras_patience", "y"), ("wrong_labels", "y"), ("ensemble_error", "y"), ("ensemble_error", "a")])
def test_an_experiment_on_a_table_of_ones_own(name: str, target: str, run: Run, tmp_path: Path) -> None:
    rows = [f"{i % 7},{(i * 13) % 11},{'yes' if (i % 7) * 2 > (i * 13) % 11 else 'no'}" for i in range(120)]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join([*rows, "3,4,", ",5,yes"]) + "\n", encoding="utf-8")
    result = run("lab", "run", name, "--quick", "--data", "t.csv", "--target", target, "--json")
    assert result.exit_code in (0, 3), result.output
    found = json.loads(result.stdout)
    assert set(found["numbers"]) == set(found["control"])
    assert all(value is not None for values in found["numbers"].values() for value in values)
    if name == "ensemble_error":  # an identity, whatever the table
        assert found["verdict"] == "holds" and max(found["numbers"]["relative gap on real networks"]) < 1e-9


def test_wrong_labels_need_classes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{i * i / 7}\n" for i in range(60)), encoding="utf-8")
    result = run("lab", "run", "wrong_labels", "--data", "t.csv", "--target", "y")
    assert result.exit_code == 2
    assert "Expected `data` of the experiment wrong_labels to have classes to predict, got 'regression'. Give a table whose target is a class" in " ".join(
        result.stderr.split()
    )


def idx(pixels: np.ndarray) -> bytes:
    """Bytes in the format of MNIST's files."""
    return bytes([0, 0, 8, pixels.ndim]) + b"".join(size.to_bytes(4, "big") for size in pixels.shape) + pixels.astype(np.uint8).tobytes()


def test_images_of_ones_own(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(60) % 10
    pixels = np.random.default_rng(0).integers(0, 256, (60, 9, 9))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))
    seen = []
    monkeypatch.setattr(tp.lab.find("panda"), "measure", lambda self, seeds, control: seen.append(self.data) or {"a": [0.0]})
    monkeypatch.setattr(tp.lab.find("panda"), "rules", (tp.lab.every("a", "<", 1.0),))
    monkeypatch.setattr(tp.lab.find("panda"), "draw", lambda self: tp.lab.Chart("x", "y", [tp.lab.Line("a", [0, 1], [0, 1])]))
    assert run("lab", "run", "panda", "--mnist", ".").exit_code == 3  # its control holds
    monkeypatch.setattr("temperance.lab.names", lambda: ["panda", "quadratic_steps"])
    assert run("lab", "all", "--mnist", ".").exit_code == 3
    assert len(seen) == 4
    for data in seen:
        assert data.x.shape == (60, 1, 9, 9) and float(data.x.max()) <= 1.0
        assert (data.x[:, 0] * 255).round().int().tolist() == pixels.tolist() and data.y.argmax(1).tolist() == labels.tolist()
