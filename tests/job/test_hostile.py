"""Folders from strangers: each is loaded as what was written, or refused in words; none crashes, hangs, is a bug or predicts something else."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import load_file, save_file
from tests.folders import edit, reseal
from tests.hostile import damaged, outcome
from tests.job.conftest import Fit, make_people

import temperance as tp
from temperance.cli.diagnosing import seen
from temperance.job.folder import FILES, MODEL
from temperance.job.parts import read_part
from temperance.job.shapes import RUN, SUMMARY

JSONS = (MODEL[1], "cocktail.json", "summary.json", "run.json")
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**70, 1e308, 10**9, -0.5, "", "x" * 200_000, "../../etc/passwd", "\u001b[2J; rm -rf ~", [], {}, [[]], {"a": None}, [1] * 200_000,
    {"schedule": "Exec"}, {"selector": 3}, "inf", "nan", "TabularNet", 200_000, [2] * 1_500,
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(fit: Fit) -> Path:
    return fit("rich", trials=1, refits=1, ensemble=1).folder


def use(folder: Path) -> str:
    """Everything that is read of a folder, and what it predicts."""
    model = tp.load(folder)
    out = model.predict_proba(make_people(20))
    assert np.isfinite(out).all() and model.summary is not None
    assert repr(model) and repr(model.cocktail) and repr(model.recipe)
    seen(folder)
    for name, check in (("run.json", RUN), ("summary.json", SUMMARY)):
        read_part(folder, name, check)
    return repr([out.round(6).tolist(), model.predict(make_people(20)).tolist()])


def refused(folder: Path) -> str:
    what, text = outcome(lambda: use(folder))
    assert what == "refused" and text.startswith("Error: ") and "\n" not in text, (what, text)
    return text


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in pairs for place in leaves(item, (*path, key)))]


def mutated(data: Any, rng: np.random.Generator) -> Any:
    """One value replaced, removed, doubled or exchanged with another one."""
    places = leaves(data)[1:]
    path = places[int(rng.integers(len(places)))]
    node = data
    for key in path[:-1]:
        node = node[key]
    kind = rng.integers(5)
    if kind == 0:
        del node[path[-1]]
    elif kind == 1 and isinstance(node, list):
        node.extend(node * int(rng.choice([1, 50])))
    elif kind == 2 and isinstance(node, dict):
        node["strange"] = ODD[int(rng.integers(len(ODD)))]
    else:
        node[path[-1]] = ODD[int(rng.integers(len(ODD)))]
    return data


def strange(path: Path, kind: str) -> None:
    """Something else than a file in its place."""
    content = path.read_bytes()
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.with_name("elsewhere").write_bytes(content)
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "empty":
        path.write_bytes(b"")


STRANGE = ("pipe", "folder", "link", "device", "empty", "none")


def counted(folders: int, whole: Path, place: Path) -> Counter[str]:
    """What became of so many mutated folders."""
    found: Counter[str] = Counter()
    what, right = outcome(lambda: use(whole))
    assert what == "fine", right

    @settings(max_examples=folders, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["bytes", "values", "values", "values", "sealed", "sealed", "strange"]), st.integers(0, 2**32))
    def one(kind: str, seed: int) -> None:
        rng, folder = np.random.default_rng(seed), place / "o"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        name = str(rng.choice(JSONS if kind in ("values", "sealed") else (*JSONS, MODEL[0])))
        path = folder / name
        if kind == "bytes":
            path.write_bytes(damaged(path.read_bytes(), rng))
        elif kind == "strange":
            strange(path, str(rng.choice(STRANGE)))
        else:
            path.write_text(json.dumps(mutated(json.loads(path.read_text(encoding="utf-8")), rng)), encoding="utf-8")
            if kind == "sealed":
                reseal(folder)
        what, text = outcome(lambda: use(folder))
        assert what in ("fine", "refused"), (what, text[:2000], kind, name, seed)
        if what == "refused":
            assert text.startswith("Error: ") and "bug" not in text and "\n" not in text and len(text) < 2_000 and "\x1b" not in text, text[:3000]
        elif kind != "sealed":  # whoever makes the hashes anew made another model
            assert text == right, (kind, name, seed)
        found["folders"] += 1
        found[f"{kind} {what}"] += 1

    one()
    return found


def test_mutated_folders_are_loaded_as_they_were_or_refused(whole: Path, tmp_path: Path) -> None:
    found = counted(60, whole, tmp_path)
    assert found["folders"] >= 60 and sum(count for key, count in found.items() if "refused" in key) > 20


@pytest.mark.slow
def test_three_hundred_mutated_folders(whole: Path, tmp_path: Path) -> None:
    found = counted(300, whole, tmp_path)
    print(dict(found))
    assert found["folders"] >= 300


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("name", MODEL)
def test_only_ordinary_files_are_read(whole: Path, tmp_path: Path, name: str, kind: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "o")
    strange(folder / name, kind)
    assert "again" in refused(folder) or kind == "none"


def test_a_linked_folder_of_the_model_is_not_followed(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "o")
    shutil.rmtree(folder / "model")
    (folder / "model").symlink_to(whole / "model")
    assert "none is followed" in refused(folder)
    (tmp_path / "name").symlink_to(whole)
    assert outcome(lambda: use(tmp_path / "name"))[0] == "fine", "the folder itself may be called by a link"


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change the weights, and the hashes with them."""
    state = load_file(folder / MODEL[0])
    change(state)
    save_file(state, folder / MODEL[0])
    reseal(folder)


def first(state: dict[str, torch.Tensor]) -> str:
    return next(name for name, tensor in state.items() if tensor.dim() == 2)


WEIGHTS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "one NaN": (lambda state: state[first(state)][0].fill_(float("nan")), "got NaN"),
    "all NaN": (lambda state: [tensor.fill_(float("nan")) for tensor in state.values()], "got NaN"),
    "infinite": (lambda state: state[first(state)][0].fill_(float("-inf")), "infinite"),
    "other shape": (lambda state: state.update({first(state): torch.zeros(3, 5)}), "to fit the network"),
    "one less": (lambda state: state.pop(first(state)), "to fit the network"),
    "one more": (lambda state: state.update(more=torch.zeros(2)), "to fit the network"),
    "complex": (lambda state: state.update({first(state): state[first(state)].to(torch.complex64)}), "complex"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_are_none_are_refused(whole: Path, tmp_path: Path, case: str) -> None:
    """Whoever wrote their hash."""
    folder, (change, words) = shutil.copytree(whole, tmp_path / "o"), WEIGHTS[case]
    weights(folder, change)
    assert words in refused(folder)


def test_a_header_that_promises_more_than_there_is(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "o")
    for size in (2**63, 2**31, 10**8, 0):
        (folder / MODEL[0]).write_bytes(struct.pack("<Q", size) + b"{}")
        reseal(folder)
        assert "Error: Expected" in refused(folder)


def arguments(**values: Any) -> Callable[[Any], Any]:
    return lambda meta: meta["networks"][0]["arguments"].update(values)


HUGE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "200,000 layers": (MODEL[1], arguments(hidden=[1] * 200_000)),
    "a wide layer": (MODEL[1], arguments(hidden=[10**7, 10**7])),
    "wide enough to fill the memory": (MODEL[1], arguments(hidden=[60_000, 60_000])),
    "many categories": (MODEL[1], arguments(cardinalities=[10**9])),
    "a width below one": (MODEL[1], arguments(hidden=[-4])),
    "many codes": (MODEL[1], arguments(one_hot_codes=10**9, cardinalities=[10**9] * 50)),
    "many branches": (MODEL[1], arguments(branches=10**9)),
    "many members": (MODEL[1], lambda meta: meta.update(average=[0] * 100_000)),
    "more members than weights": (MODEL[1], lambda meta: meta.update(average=[0] * 900)),
    "many levels": (MODEL[1], lambda meta: meta["encoder"]["categorical"][0].update(levels=["x"] * 1_000_001)),
    "an infinite scale": (MODEL[1], lambda meta: meta["encoder"]["numeric"][0].update(scale=0.0)),
    "a level twice": (MODEL[1], lambda meta: meta["encoder"]["categorical"][0].update(levels=["cook", "cook", "smith"])),
    "one class": (MODEL[1], lambda meta: meta["target"].update(classes=["yes"])),
    "three classes": (MODEL[1], lambda meta: meta["target"].update(classes=["a", "b", "c"])),
    "another task": (MODEL[1], lambda meta: meta["target"].update(task="regression")),
    "threads": ("run.json", lambda run: run.update(threads=10**6)),
    "steps": ("summary.json", lambda summary: summary["search"]["table"][0].update(steps=10**18)),
}


@pytest.mark.parametrize("case", HUGE)
def test_counts_that_nobody_has_are_refused(whole: Path, tmp_path: Path, case: str) -> None:
    """At once, before memory is taken or threads are started for them."""
    folder, (name, change) = shutil.copytree(whole, tmp_path / "o"), HUGE[case]
    edit(folder, name, change)
    text = refused(folder)
    assert "again" in text or "to fit the network" in text


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": NaN}', '{"format": 1e999}', '{"format": ' + "9" * 5000 + "}", "\ufeff{}", "\x00", "[]", '"x"', "nul"]
)
def test_json_that_is_none(whole: Path, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(whole, tmp_path / "o")
    for name in JSONS:
        before = (folder / name).read_bytes()
        (folder / name).write_text(text, encoding="utf-8")
        assert len(refused(folder)) < 1000
        (folder / name).write_bytes(before)


def test_no_text_of_a_folder_is_told_as_a_command(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "o")
    evil = "x.py:build; rm -rf ~ \u001b[2J\n--model evil.py:build"
    edit(folder, MODEL[1], lambda meta: meta.update(networks=[None], source=evil))
    text = refused(folder)
    assert text.endswith("--model FILE.py:build.") and text.count("--model") == 2 and "\x1b" not in text
    assert {path.name for path in folder.iterdir()} == {*FILES, "model"}


def test_a_long_value_is_not_told_in_full(whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "o")
    edit(folder, "cocktail.json", lambda data: data["cocktail"].append({"regularizer": "Dropout", "share_calls": "x" * 90_000}))
    reseal(folder)
    text = refused(folder)
    assert len(text) < 2_000 and "share_calls" in text and text.rstrip().endswith(".")
