"""Every experiment of the lab: its claim holds, its control fails, and its file keeps the form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import temperance as tp
from temperance.lab import TOPICS, Chart, Experiment, Slider, experiments
from temperance.report import words

ALL = list(experiments())
FAST = [name for name in ALL if not experiments()[name].slow]


@pytest.mark.parametrize("name", FAST)
def test_the_claim_holds_and_its_control_fails(name: str, quick: Callable[[str], tp.lab.Verdict]) -> None:
    verdict = quick(name)
    assert verdict.holds, str(verdict)
    assert verdict.control_fails, str(verdict)
    check_chart(verdict.drawing)


def check_chart(figure: Chart | Slider) -> None:
    """A chart shows numbers that can be read."""
    charts = list(figure.charts) if isinstance(figure, Slider) else [figure]
    if isinstance(figure, Slider):
        assert list(figure.values) == sorted(figure.values) and len({words.number(v) for v in figure.values}) == len(figure.values)
    for chart in charts:
        assert 1 <= len(chart.lines) <= 5 and chart.x and chart.y and chart.note.endswith(".")
        for line in chart.lines:
            known = [(a, b) for a, b in line.points() if math.isfinite(b)]
            assert known and all(abs(b) < 1e6 for _, b in known), line.label
            assert len(known) >= len(line.points()) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_claim_holds_over_all_seeds(name: str) -> None:
    verdict = tp.lab.run(name)
    assert verdict.sound, str(verdict)
    check_chart(verdict.drawing)


@pytest.mark.parametrize("name", ALL)
def test_a_file_is_short_and_says_everything(name: str) -> None:
    kind = experiments()[name]
    assert len(kind.code().splitlines()) <= 150
    assert kind.topic in TOPICS
    for text in (kind.question, kind.claim, kind.source, kind.expect, kind.control, kind.next, kind.limits):
        assert text and text == text.strip() and "  " not in text
    assert kind.question.endswith("?") and kind.claim.endswith(".") and kind.control.endswith(".") and not kind.source.endswith(".")
    assert kind.rules and all(rule.number for rule in kind.rules)
    assert bool(kind.printed) == (kind.topic == "Slips")


def test_files_use_the_public_interface_only() -> None:
    for name, kind in experiments().items():
        lines = [line.split() for line in kind.code().splitlines() if line.startswith(("import temperance", "from temperance"))]
        modules = {line[1] for line in lines}
        assert modules <= {"temperance", "temperance.lab", "temperance.lab.linear", "temperance.lab.rows"}, name


def test_names_are_files_and_topics_are_in_order() -> None:
    order = [TOPICS.index(kind.topic) for kind in experiments().values()]
    assert order == sorted(order)
    assert tp.lab.find("Quadratic-Steps") is experiments()["quadratic_steps"]
    with pytest.raises(tp.ConfigError, match=r"Expected `name` of lab .*'quadratic_step'\. Did you mean quadratic_steps"):
        tp.lab.find("quadratic_step")


class Coin(Experiment):
    """A claim whose numbers are given."""

    topic, rules, control = "Norms", (tp.lab.every("gap", "<", 1.0),), "c"

    def __init__(self, gaps: dict[bool, list[float]]) -> None:
        super().__init__()
        self.gaps = gaps

    def measure(self, seeds: object, control: bool) -> dict[str, list[float]]:
        return {"gap": self.gaps[control]}

    def draw(self) -> tp.lab.Chart:
        return tp.lab.Chart("x", "y", [tp.lab.Line("a", [0, 1], [0, 1])])


@pytest.mark.parametrize(
    ("own", "control", "word"),
    [
        ([0.5, 0.9], [0.5, 1.5], "holds"),
        ([0.5, 1.1], [2.0, 2.0], "does not hold"),
        ([0.5, 0.9], [0.5, 0.9], "undecided"),
        ([float("nan"), 0.9], [2.0, 2.0], "does not hold"),
        ([0.5, 0.9], [float("nan"), 0.9], "holds"),
    ],
)
def test_a_verdict_needs_the_claim_to_hold_and_the_control_to_fail(own: list[float], control: list[float], word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temperance.lab.verdict.find", lambda name: Made)

    class Made(Coin):
        def __init__(self, quick: bool = False, data: object = None) -> None:
            super().__init__({False: own, True: control})

    verdict = tp.lab.run("coin", seeds=[0, 1])
    assert (verdict.word, verdict.sound) == (word, word == "holds")


def test_rules_on_average_use_the_whole_interval() -> None:
    rule = tp.lab.on_average("gain", ">", 0.0)
    assert rule.holds([1.0, 1.1, 0.9]) and not rule.holds([1.0, 2.0, 3.0]) and not rule.holds([])
    assert not tp.lab.on_average("gain", "<", 3.0).holds([1.0, 2.0, 3.0]) and tp.lab.on_average("gain", "<", 5.0).holds([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="sign"):
        tp.lab.every("gap", "<=", 1.0)


def test_own_data_only_where_it_makes_sense() -> None:
    with pytest.raises(tp.ConfigError, match=r"Expected `data` of the experiment quadratic_steps to be None"):
        tp.lab.run("quadratic_steps", data=([[1.0], [2.0]], [0, 1]))
    with pytest.raises(tp.ConfigError, match=r"Expected `seeds` of lab\.run to hold one number"):
        tp.lab.run("quadratic_steps", seeds=[])


@pytest.mark.parametrize("target", ["classes", "one class", "values"])
def test_scikit_learn_gets_arrays_and_no_tensors(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older releases refuse a tensor beside an array."""
    from temperance.lab.claims import learning_curve

    seen: list[type] = []

    def watched(kind: Any) -> Any:
        class Watched(kind):
            def fit(self, x: Any, y: Any) -> Any:
                seen.extend([type(x), type(y)])
                return super().fit(x, y)

            def score(self, x: Any, y: Any) -> float:
                seen.extend([type(x), type(y)])
                return super().score(x, y)

        return Watched

    for name in ("SVC", "SVR"):
        monkeypatch.setattr(learning_curve, name, watched(getattr(learning_curve, name)))
    x = np.linspace(-1, 1, 40)[:, None].astype(np.float32)
    y = {"classes": x[:, 0] > 0, "one class": x[:, 0] > -2, "values": 2 * x[:, 0]}[target]
    data = tp.data.as_dataset(x, y if target == "values" else np.where(y, "b", "a"), classes=None if target == "values" else ["a", "b"])
    assert learning_curve.machine(data, data) > 0.9
    assert set(seen) <= {np.ndarray} and len(seen) == (0 if target == "one class" else 4)
