"""What is on the screen: at 80 and 120 columns, in a pipe, without colour, in other encodings."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run, Stub, understood
from tests.report import example

from temperance.cli import progress as progress_module
from temperance.cli.fitting import Progress, show_replay, show_result, show_understood
from temperance.cli.screen import Screen, forgiving

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """Standard output as a terminal."""

    def isatty(self) -> bool:
        return True


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Open:
    """`terminal(width)` puts one in the place of standard output."""

    def opened(width: int = 80) -> Terminal:
        made = Terminal()
        monkeypatch.setattr(sys, "stdout", made)
        monkeypatch.setenv("COLUMNS", str(width))
        return made

    monkeypatch.setenv("TERM", "xterm-256color")
    return opened


def everything(screen: Screen) -> None:
    show_understood(screen, understood(), source="data/adult.csv")
    show_result(screen, example.summary(), Path("runs/adult"))
    many = "Cocktail(" + ", ".join(f"L2(lam={i}e-4)" for i in range(9)) + ")"
    show_replay(screen, {"trial": 3, "status": "finished", "score_then": 0.8, "score_now": None, "same": False, "cocktail": many, "epochs": 12.0})


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wider_than_the_screen(terminal: Open, width: int) -> None:
    written = terminal(width)
    everything(Screen())
    lines = CONTROL.sub("", written.getvalue()).splitlines()
    assert max(len(line) for line in lines) <= width
    assert "\x1b[1m" in written.getvalue()
    text = "\n".join(lines)
    for whole in (
        "column_19",
        "0.866 (0.859 to 0.873)",
        "HistGradientBoosting",
        "2.3e-05",
        "1e-07 to 0.1",
        "with the cocktail",
        "temperance replay runs/adult",
    ):
        assert whole in text


def test_nothing_is_broken_inside_a_word_or_number(terminal: Open) -> None:
    narrow = terminal(80)
    everything(Screen())
    words = set(CONTROL.sub("", narrow.getvalue()).split())
    wide = terminal(400)
    everything(Screen())
    whole = set(CONTROL.sub("", wide.getvalue()).split())
    assert "0.866" in words
    assert {word for word in words - whole if "…" not in word and not word.startswith("─")} == set()


def test_a_pipe_gets_plain_lines(run: Run, stub: Stub) -> None:
    text = run("fit", "data/adult.csv", "--target", "income", "--out", "runs/adult").stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f─━]", text)
    assert all(line == line.rstrip() for line in text.splitlines())
    assert "[red]a [2Jb" in text, "text of the table is shown as it is, but cannot move the cursor"
    order = ["48,842 rows", "column_19", "and 3 more: 1 number, 1 category, 1 ignored", "Target  income: classification, 2 classes (<=50K, >50K)"]
    order += [
        "30,074 rows train, 9,000 validate, 9,768 are kept for the final score",
        "12 rows have no target.",
        "Budget  2m",
        "accuracy on validation rows decides",
    ]
    order += [
        "mlp: MLP 256-256, plain numbers",
        "(without max_norm)",
        "dropout.rate",
        "max_norm.c",
        "round 1  50 %  4 trials, best accuracy 0.8512  1 min 1 s left",
    ]
    order += [
        "Score on 9,768 test rows",
        "majority class",
        "Cocktail",
        "Off here, on in others of the 64 trials: L1 (on in",
        "Gap (accuracy)",
        "native-country has 41 values",
        "runs/adult/report.html",
    ]
    order += ["temperance predict runs/adult new.csv", "temperance replay runs/adult"]
    places = [text.find(part) for part in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_no_color(terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    written = terminal()
    screen = Screen()
    everything(screen)
    bar = Progress(screen)
    with bar:
        bar.start()
        bar.update({"phase": "round 1", "done": 0.5, "left": 3.0, "trials": 2, "best": 0.5, "metric": "auc"})
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3[0-9]|4[0-9]|9[0-7]|38|48)[;m]", written.getvalue())
    assert "\x1b[1m" in written.getvalue()


def test_a_dumb_terminal_is_treated_as_a_pipe(terminal: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    written = terminal()
    everything(Screen())
    assert "0.866" in written.getvalue()
    assert "\x1b" not in written.getvalue()


def test_bar_fits_and_shows_phase_score_trials_and_time(terminal: Open) -> None:
    written = terminal(80)
    bar = Progress(Screen())
    with bar:
        bar.start()
        bar.update({"phase": "round 12", "done": 0.43, "left": 3671.0, "trials": 1024, "best": 0.86341, "metric": "balanced_accuracy"})
    frames = [line.rstrip() for line in re.split(r"[\r\n]", CONTROL.sub("", written.getvalue())) if "round 12" in line]
    assert frames
    assert max(map(len, frames)) <= 80
    for part in ("43 %", "1,024 trials", "best balanced accuracy 0.8634", "1 h 1 min left"):
        assert part in frames[-1]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def lines_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reports: list[tuple[float, dict[str, Any]]]) -> list[str]:
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    bar = Progress(Screen())
    with bar:
        bar.start()
        for now, report in reports:
            clock.now = now
            bar.update({"phase": "round 1", "trials": 8, "best": None, "metric": "r2", **report})
    return capsys.readouterr().out.splitlines()


def test_lines_come_at_most_every_ten_seconds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reports = [(float(t), {"done": t / 100, "left": 100.0 - t}) for t in range(35)]
    assert lines_of(monkeypatch, capsys, reports) == [
        f"round 1  {t} %  8 trials  {left} left" for t, left in ((0, "1 min 40 s"), (10, "1 min 30 s"), (20, "1 min 20 s"), (30, "1 min 10 s"))
    ]


def test_the_bar_agrees_with_the_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines_of(monkeypatch, capsys, [(30.0, {"phase": "refit", "done": 0.4, "left": 10.0})]) == ["refit  75 %  8 trials  10 s left"]


def test_time_left_without_a_budget_is_estimated(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reports = [
        (0.5, {"done": 0.0, "left": float("inf")}),
        (20.0, {"done": 0.25, "left": float("inf"), "best": float("nan")}),
        (40.0, {"done": 1.0, "left": float("inf")}),
    ]
    assert lines_of(monkeypatch, capsys, reports) == ["round 1  0 %  8 trials", "round 1  25 %  8 trials  1 min left", "round 1  100 %  8 trials  finishing"]


def test_folds_trials_and_no_test_rows(capsys: pytest.CaptureFixture[str]) -> None:
    facts = understood(3)
    facts |= {"budget": None, "trials": 1, "classes": [], "task": "regression", "notes": []}
    facts["split"] = {"kind": "k-fold", "train": 383, "validation": 96, "test": 0, "folds": 5, "reason": "as asked for"}
    show_understood(Screen(), facts, source="t.csv")
    out = capsys.readouterr().out
    for part in (
        "income: regression\n",
        "5 folds, each trains on about 383 rows and validates on 96; no rows are kept apart",
        "As asked for.",
        "Budget  1 trial; no time limit",
    ):
        assert part in out
    assert "more:" not in out


def test_result_with_little_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    summary = example.summary()
    summary["scores"] = {"test": {}, "n_test": 0, "validation": {"r2": 0.71234}}
    summary["rivals"], summary["gap"], summary["warnings"] = [], {}, ["price: odd"]
    for row in summary["cocktail"]["rows"]:
        row["value"] = row["off"]
    summary["search"]["ended"] = "interrupted"
    show_result(Screen(), summary, Path("o"))
    out = capsys.readouterr().out
    for part in (
        "Score on validation rows: R² 0.712",
        "none: of 64 trials one with every strength off was chosen",
        "Trials   64, then interrupted",
        "Warning  price: odd.",
    ):
        assert part in out
    assert "Gap" not in out


def test_scores_that_do_not_fit_are_left_to_the_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    summary = example.summary()
    show_result(Screen(), summary, Path("o"))
    header = next(line for line in capsys.readouterr().out.splitlines() if "balanced accuracy" in line)
    assert "accuracy" in header and "AUC" not in header


def test_other_encodings_get_near_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    forgiving()
    summary = example.summary()
    summary["metric"]["name"] = summary["gap"]["metric"] = "r2"
    summary["scores"]["test"] = {"r2": {"value": -0.25, "low": -0.3, "high": -0.2}}
    show_result(Screen(), summary, Path("Ergebnis-ä"))
    text = raw.getvalue().decode("ascii")
    assert "R2" in text
    assert "-0.250 (-0.300 to -0.200)" in text
    assert r"Ergebnis-\xe4" in text


def test_the_average_that_ships_is_told_with_its_gain(capsys: pytest.CaptureFixture[str]) -> None:
    summary = example.summary()
    show_result(Screen(), summary, Path("runs/adult"))
    text = capsys.readouterr().out
    assert "average of 4 networks of 3 configurations" in text
    assert "gain +0.0027 on validation rows that took no part in choosing it: accuracy 0.866, of the best single network 0.863" in text
    assert "Brier score 0.1871, of the best single network 0.1975" in text
    summary["ensemble"]["kind"] = "seeds"
    del summary["replay"]
    show_result(Screen(), summary, Path("runs/adult"))
    text = capsys.readouterr().out
    assert "gain +" not in text and "Replay" not in text
