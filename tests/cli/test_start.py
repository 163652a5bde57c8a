"""Starting up: quick, light, and the same under both names."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys

import pytest
from tests.cli.conftest import Run

import temperance

HEAVY = ("torch", "pandas", "numpy", "sklearn", "optuna", "pyarrow", "plotly", "jinja2")
PROGRAM = """
import contextlib, io, json, sys, time
sys.argv = ["temperance", *sys.argv[1:]]
with contextlib.redirect_stdout(io.StringIO()) as out:
    try:
        from temperance.cli import main
        main()
    except SystemExit as error:
        code = error.code
print(json.dumps({"code": code, "out": out.getvalue(), "seconds": time.process_time(), "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["fit", "--help"], ["predict", "--help"], ["list", "--help"], ["lab", "--help"], ["lab", "run", "--help"]]
)
def test_help_is_quick_and_loads_nothing_heavy(arguments: list[str]) -> None:
    found = json.loads(subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True).stdout)
    assert found["code"] == 0
    assert not {name.partition(".")[0] for name in found["modules"]} & set(HEAVY)
    assert found["seconds"] < 0.3
    assert found["out"].startswith(("Usage: temperance", "temperance 0."))


def test_module_and_version() -> None:
    out = subprocess.run([sys.executable, "-m", "temperance", "--version"], capture_output=True, text=True, check=True).stdout
    assert out == f"temperance {temperance.__version__}\n"


def test_every_option_is_there(run: Run) -> None:
    text = run("fit", "--help").stdout
    options = "--target --out --overwrite --budget --trials --metric --task --model --test --ignore --weight --use --without --seed --threads --memory"
    assert [option for option in options.split() if option not in text] == []
    assert "--proba" in run("predict", "--help").stdout
    assert all(command in run("--help").stdout for command in ("fit", "predict", "replay", "list", "describe", "lab"))


@pytest.mark.parametrize(
    "arguments",
    [["fit"], ["fit", "t.csv", "--target", "y", "--trials", "many"], ["predict", "dir"], ["replay", "dir"], ["brew"], ["fit", "--nonsense"]],
)
def test_usage_errors_exit_with_2(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: temperance" in result.stderr
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes_commands_and_options(shell: str) -> None:
    def temperance(words: str, what: str) -> str:
        places = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        environment = {**os.environ, **places, "_TEMPERANCE_COMPLETE": f"{what}_{shell}"}
        return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True).stdout

    assert "_TEMPERANCE_COMPLETE" in json.loads(temperance("", "source"))["out"], "the script that a shell reads"
    found = json.loads(temperance("temperance pre", "complete"))
    assert "predict" in found["out"] and "replay" not in found["out"]
    assert "--target" in json.loads(temperance("temperance fit --ta", "complete"))["out"]
    assert not {name.partition(".")[0] for name in found["modules"]} & set(HEAVY)


def test_completion_is_installed_by_an_option(run: Run) -> None:
    text = run("--help").stdout
    assert "--install-completion" in text and "--show-completion" in text


def test_garbage_is_not_sought_in_what_a_fit_imports(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in a process: what a later command leaves over is garbage like any other."""
    frozen: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    monkeypatch.setattr(gc, "get_freeze_count", lambda: len(frozen))
    for _ in range(2):
        assert run("fit", "nothing.csv", "--target", "y").exit_code == 2
    assert frozen == [1] and gc.isenabled()
