"""What the options of fit become, and what each way of ending leaves behind, with a stand-in for the job."""

from __future__ import annotations

import errno
import io
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run, Stub, understood

from temperance.cli.app import default_folder
from temperance.cli.guard import Interrupts
from temperance.cli.streams import GoingOn, going_on
from temperance.core.errors import DataError
from temperance.core.interrupts import uninterrupted


def test_defaults(run: Run, stub: Stub) -> None:
    assert run("fit", "data/people.csv", "--target", "rich").exit_code == 0
    (call,) = stub.calls
    assert call["source"] == "data/people.csv"
    assert call["target"] == "rich"
    assert call["budget"] == "5m"
    assert call["trials"] is None
    assert call["out"] == Path("people-temperance")
    assert (call["seed"], call["threads"], call["memory"], call["overwrite"], call["resume"]) == (0, None, "4G", False, False)
    assert (call["ignore"], call["use"], call["without"]) == ((), (), ())


def test_trials_alone_have_no_budget(run: Run, stub: Stub) -> None:
    run("fit", "t.csv", "--target", "y", "--trials", "7")
    run("fit", "t.csv", "--target", "y", "--trials", "7", "--budget", "90s")
    assert [(call["trials"], call["budget"]) for call in stub.calls] == [(7, None), (7, "90s")]


def test_every_option_arrives(run: Run, stub: Stub) -> None:
    words = "--target a --target b --out o --overwrite --budget 1h --metric auc --task multilabel --model net.py:build --test u.csv --ignore c --ignore d "
    words += "--backbone net.py:trunk --weight w --use L1 --use SAM --without EMA --seed 3 --threads 2 --memory 512M --strategy rungs "
    words += "--space kadra2021 --ensemble 3 --na ?,- --dates dayfirst --keep e --keep-test --group g --time t --resume --engine ray --address auto "
    words += "--storage sqlite:///t.db --study-name s"
    assert run("fit", "t.csv", *words.split()).exit_code == 0
    wanted: dict[str, Any] = {"target": ["a", "b"], "out": Path("o"), "overwrite": True, "budget": "1h", "trials": None, "metric": "auc", "task": "multilabel"}
    wanted |= {
        "model": "net.py:build",
        "backbone": "net.py:trunk",
        "test": "u.csv",
        "ignore": ["c", "d"],
        "weight": "w",
        "use": ["L1", "SAM"],
        "without": ["EMA"],
        "seed": 3,
        "threads": 2,
        "memory": "512M",
        "strategy": "rungs",
        "space": "kadra2021",
        "ensemble": 3,
        "na": "?,-",
        "dates": "dayfirst",
        "keep": ["e"],
        "keep_test": True,
        "resume": True,
        "group": "g",
        "time": "t",
        "device": "cpu",
        "precision": "fp32",
        "engine": "ray",
        "address": "auto",
        "storage": "sqlite:///t.db",
        "study_name": "s",
    }
    assert stub.calls == [{"source": "t.csv", **wanted}]


@pytest.mark.parametrize(
    ("data", "folder"), [("x/t.csv", "t-temperance"), ("t.v2.parquet", "t.v2-temperance"), ("t.csv.gz", "t-temperance"), ("t", "t-temperance")]
)
def test_default_folder(data: str, folder: str) -> None:
    assert default_folder(data) == Path(folder)


def test_mistakes_are_told_in_one_message(run: Run, stub: Stub) -> None:
    stub.raises = DataError("Expected rows, got none. Add rows.")
    result = run("fit", "t.csv", "--target", "y")
    assert result.exit_code == 2
    assert result.stderr == "Error: Expected rows, got none. Add rows.\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileExistsError(17, "File exists", "runs/a"), ["'runs/a'", "File exists", "--overwrite"]),
        (PermissionError(13, "Permission denied", "/root/a"), ["'/root/a'", "Permission denied", "may write"]),
        (OSError(28, "No space left on device", "a/study.db"), ["'a/study.db'", "No space left", "Make room"]),
        (OSError("odd"), ["odd"]),
        (MemoryError(), ["memory", "--memory"]),
    ],
)
def test_errors_of_the_system_are_told_with_the_mend(run: Run, stub: Stub, error: Exception, words: list[str]) -> None:
    stub.raises = error
    result = run("fit", "t.csv", "--target", "y")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in ["Error: ", *words])


def test_bug_is_told_briefly_and_in_full_on_request(run: Run, stub: Stub) -> None:
    stub.raises = KeyError("missing")
    short = run("fit", "t.csv", "--target", "y")
    assert short.exit_code == 1
    assert short.stderr.count("\n") == 1
    assert all(word in short.stderr for word in ["KeyError: 'missing'", "conftest.py", "bug", "TEMPERANCE_TRACEBACK=1", "kept"])
    assert "Traceback" not in short.output
    long = run("fit", "t.csv", "--target", "y", TEMPERANCE_TRACEBACK="1")
    assert long.exit_code == 1
    assert "Traceback (most recent call last)" in long.stderr


def test_an_error_in_the_file_of_a_network_is_the_users(run: Run, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def build(data):\n    return 1 / 0\n", encoding="utf-8")

    def forward(arguments: dict[str, Any]) -> None:
        code: dict[str, Any] = {}
        exec(compile((tmp_path / "net.py").read_text(encoding="utf-8"), str(tmp_path / "net.py"), "exec"), code)
        code["build"](None)

    stub.before = forward
    result = run("fit", "t.csv", "--target", "y", "--model", "net.py:build")
    assert result.exit_code == 2
    assert result.stderr == "Error: net.py:2 raised ZeroDivisionError: division by zero. Mend your network and start again.\n"


def test_interrupt_before_the_first_evaluation(run: Run, stub: Stub) -> None:
    stub.raises, stub.reports = KeyboardInterrupt(), [{"phase": "round 1", "done": 0.0, "left": 60.0, "trials": 4, "best": None, "metric": "accuracy"}]
    result = run("fit", "t.csv", "--target", "y")
    assert result.exit_code == 130
    assert result.stderr == "Interrupted before the first evaluation was finished: no model exists yet.\n"


def test_second_interrupt_before_the_model_is_written(run: Run, stub: Stub) -> None:
    stub.raises = KeyboardInterrupt()
    result = run("fit", "t.csv", "--target", "y")
    assert result.exit_code == 130
    assert "second time" in result.stderr and "no model exists" in result.stderr


def test_interrupt_while_the_report_is_written(run: Run, stub: Stub, tmp_path: Path) -> None:
    def write(arguments: dict[str, Any]) -> None:
        (tmp_path / arguments["out"] / ".run" / "model").mkdir(parents=True)
        (tmp_path / arguments["out"] / ".run" / "model" / "model.json").write_text("{}", encoding="utf-8")

    stub.raises, stub.before = KeyboardInterrupt(), write
    result = run("fit", "t.csv", "--target", "y", "--out", "here")
    assert result.exit_code == 0
    assert "here holds the model" in result.stderr


def test_an_earlier_fit_is_not_taken_for_the_new_one(run: Run, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "here" / "model").mkdir(parents=True)
    (tmp_path / "here" / "model" / "model.json").write_text("{}", encoding="utf-8")
    stub.raises = KeyboardInterrupt()
    result = run("fit", "t.csv", "--target", "y", "--out", "here", "--overwrite")
    assert result.exit_code == 130
    assert result.stderr.endswith("the earlier fit in here is as it was.\n")


def test_interrupt_of_another_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("temperance.catalogue.find", interrupt)
    result = run("describe", "L2")
    assert result.exit_code == 130
    assert result.stderr == "Interrupted.\n"


def swallow(then: BaseException | None = None) -> None:
    """Compiled code that loses Ctrl-C, or raises something else in its place."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        if then is not None:
            raise then from None


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_that_became_another_error(run: Run, stub: Stub) -> None:
    stub.before = lambda arguments: swallow(ValueError("not a valid format"))
    result = run("fit", "t.csv", "--target", "y")
    assert result.exit_code == 130
    assert result.stderr.startswith("Interrupted a second time") and "not a valid format" not in result.output


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_that_was_lost_is_raised_again(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    def rounds(phase: str) -> Any:
        def fit_table(*_: Any, on_progress: Any, on_understood: Any, **rest: Any) -> Any:
            report = {"phase": "round 1", "done": 0.1, "left": 60.0, "trials": 4, "best": None, "metric": "accuracy"}
            on_understood(understood())
            on_progress(report)
            swallow()
            on_progress({**report, "phase": phase})
            return stub.fit_table(None, None, on_progress=on_progress, on_understood=lambda facts: None, **rest)

        return fit_table

    monkeypatch.setattr(sys.modules["temperance.job"], "fit_table", rounds("round 2"))
    lost = run("fit", "t.csv", "--target", "y")
    assert lost.exit_code == 130
    assert lost.stderr == "Interrupted before the first evaluation was finished: no model exists yet.\n"
    monkeypatch.setattr(sys.modules["temperance.job"], "fit_table", rounds("refit"))
    assert run("fit", "t.csv", "--target", "y").exit_code == 130, "work that the interrupt has to end"
    monkeypatch.setattr(sys.modules["temperance.job"], "fit_table", rounds("search done"))
    assert run("fit", "t.csv", "--target", "y").exit_code == 0, "the search ended because of it"


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def own_handlers() -> Iterator[None]:
    """The signals as a program finds them that was started in a terminal."""
    before = {number: signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.usefixtures("own_handlers")
def test_signals_have_one_handler_and_are_put_back(number: signal.Signals, run: Run, stub: Stub) -> None:
    """Each ends a fit as Ctrl-C does, and the exit code says which it was."""
    before = {n: signal.getsignal(n) for n in SIGNALS}
    stub.before = lambda arguments: signal.raise_signal(number)
    result = run("fit", "t.csv", "--target", "y")
    assert result.exit_code == 128 + number and result.stderr.startswith("Interrupted a second time")
    assert {n: signal.getsignal(n) for n in SIGNALS} == before
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert interrupts.pending and len({signal.getsignal(n) for n in SIGNALS}) == 1
    assert {n: signal.getsignal(n) for n in SIGNALS} == before


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.usefixtures("own_handlers")
def test_a_signal_that_is_ignored_or_dealt_with_is_left_alone(number: signal.Signals) -> None:
    """As SIGHUP is under nohup."""
    for handler in (signal.SIG_IGN, lambda *_: None):
        signal.signal(number, handler)
        with Interrupts() as interrupts:
            signal.raise_signal(number)
            assert not interrupts.pending and signal.getsignal(number) is handler
        assert signal.getsignal(number) is handler


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.usefixtures("own_handlers")
def test_a_signal_waits_while_something_is_written(number: signal.Signals) -> None:
    """It is raised at the end of the outermost block, once, and never in place of an error of its own."""
    done: list[str] = []
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 -- what comes after the signal is what is tested
            with uninterrupted():
                with uninterrupted():
                    signal.raise_signal(number)
                    done.append("inner")
                done.append("outer")
            done.append("after")
        assert done == ["inner", "outer"] and interrupts.pending
        with uninterrupted():
            done.append("again")
        with pytest.raises(OSError, match="full"), uninterrupted():  # noqa: PT012 -- likewise
            signal.raise_signal(number)
            raise OSError("full")
        with uninterrupted():
            pass


class Closed(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def flush(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


def test_output_that_nobody_takes_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Closed())
    with going_on("stdout"):
        print("lost", flush=True)
    with pytest.raises(BrokenPipeError):
        print("outside it is told")


def test_a_fit_goes_on_where_nobody_reads(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its lines are dropped, and it ends well; a command whose output is its result does not go on."""
    flush = GoingOn.flush

    def closed(self: GoingOn) -> None:
        self._stream = Closed()
        flush(self)

    monkeypatch.setattr(GoingOn, "flush", closed)
    assert run("fit", "t.csv", "--target", "y").exit_code == 0 and len(stub.calls) == 1
    monkeypatch.undo()


@pytest.mark.usefixtures("ctrl_c")
def test_another_handler_of_ctrl_c_is_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert not interrupts.pending
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
