"""The regularizers that CONTRIBUTING.md shows are right: its code runs as it stands, and keeps the laws."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.laws import test_laws as laws
from tests.laws.harness import PROBLEMS, VARIANTS, fits
from tests.laws.two_sites import SHAPES, check_together, moves_both
from tests.test_readme import blocks

from temperance.core.registry import REGISTRY
from temperance.core.regularizer import Regularizer

GUIDE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
NAMES = ("ZeroMean", "ManifoldMixUp")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the guide's blocks define, run one after another; they leave the registry when the test ends."""
    module = types.ModuleType("contributed")
    monkeypatch.setitem(sys.modules, "contributed", module)
    names = vars(module)
    before = dict(REGISTRY)
    text = GUIDE.read_text(encoding="utf-8")
    try:
        for match in blocks(text):
            line = text.count("\n", 0, match.start("code"))
            exec(compile("\n" * line + match["code"], str(GUIDE), "exec", dont_inherit=True), names)
        for name in NAMES:
            monkeypatch.setitem(VARIANTS, name, names[name]())
        yield names
    finally:
        for name in set(REGISTRY) - set(before):
            del REGISTRY[name]


def test_the_guide_runs_and_shows_both(shown: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert all(issubclass(shown[name], Regularizer) for name in NAMES)
    assert [r.status for r in shown["done"].outcomes] == ["finished"] * 3 and shown["reg"].steps == 10


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_they_keep_the_laws(shown: dict[str, Any], name: str, problem: str) -> None:
    assert fits(VARIANTS[name], PROBLEMS[problem])
    laws.test_acts(name, problem)
    for copies in (1, 2):
        laws.test_off_is_absent(name, problem, copies)
    laws.test_population_is_the_members_alone(name, {"table": "dense", "image": "pixels"}[problem])
    laws.test_slot_order_does_not_matter(name)
    laws.test_same_key_same_result(name, problem)
    laws.test_inputs_are_not_mutated(name, problem)
    laws.test_the_report_adds_up(name, problem)
    laws.test_a_constant_schedule_is_the_number(name)
    laws.test_is_off(name)
    laws.test_values_are_frozen(name)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_one_of_two_sites_moves_inputs_and_targets_together(shown: dict[str, Any], shape: str) -> None:
    assert moves_both(VARIANTS["ManifoldMixUp"], shape) and not moves_both(VARIANTS["ZeroMean"], shape)
    check_together(VARIANTS["ManifoldMixUp"], shape)
