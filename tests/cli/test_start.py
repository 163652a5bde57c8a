"""Starting up: quick, light, and the same under both names."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"], ["predict", "--help"], ["list", "--help"]])
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
    assert all(command in run("--help").stdout for command in ("fit", "predict", "replay", "list", "describe"))


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
