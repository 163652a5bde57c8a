"""A fit that ended early goes on, or ships what it has; nothing that was finished is lost, and nothing else is taken for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.job.conftest import Fit, make_people

from temperance.core.device import told
from temperance.core.errors import ConfigError
from temperance.core.interrupts import postponed
from temperance.job import Job, finish_fit, folder as folder_module, load, predict_table, replay_trial
from temperance.job.folder import DONE, RUN, TRIALS, UNFINISHED, Claimed, place_of
from temperance.search import engine, programs, rungs
from temperance.search.journal import LINES, Journal

SETTINGS: dict[str, Any] = {"trials": 8, "refits": 1, "ensemble": 2}


class Killed(BaseException):
    """Ends a fit at once, as a signal that cannot be caught."""


@pytest.fixture(scope="module", autouse=True)
def several_waves() -> Iterator[None]:
    """Waves of four trials, and reports at every check."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rungs, "FIRST", 4)
        patch.setattr(engine, "MOST_WAVE", 4)
        patch.setattr(engine, "TICK", 0.0)
        patch.setattr(programs, "WORTH", float("inf"))
        yield


@pytest.fixture(scope="module")
def whole(fit: Fit) -> Job:
    return fit("rich", **SETTINGS)


@pytest.fixture(scope="module")
def left(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder that nobody changes."""
    return killed(fit, tmp_path_factory.mktemp("left") / "cut", in_second_wave)


@pytest.fixture
def cut(fit: Fit, tmp_path: Path) -> Path:
    """The folder of a fit that was killed in its second wave."""
    return killed(fit, tmp_path / "cut", in_second_wave)


def in_second_wave(report: Mapping[str, Any]) -> bool:
    return report["phase"] == "round 2"


def killed(fit: Fit, out: Path, when: Callable[[Mapping[str, Any]], bool], error: type[BaseException] = Killed, **settings: Any) -> Path:
    def report(facts: Mapping[str, Any]) -> None:
        if when(facts):
            raise error

    with pytest.raises(error):
        fit("rich", out=out, on_progress=report, **{**SETTINGS, **settings})
    return out


def artifacts(folder: Path) -> dict[str, str]:
    """Hashes of everything that does not tell the time, and the predictions."""
    names = ("model/model.safetensors", "cocktail.json", "history.csv")
    found = {name: hashlib.sha256(place_of(folder, name).read_bytes()).hexdigest() for name in names}
    summary = json.loads(place_of(folder, "summary.json").read_text(encoding="utf-8"))
    summary.pop("timing")
    return found | {"summary": json.dumps(summary), "predictions": predict_table(folder, make_people(30, seed=1)).to_csv()}


@pytest.mark.parametrize("phase", ["round 1", "round 2", "refit", "scoring"])
def test_killed_in_any_phase_the_same_files_follow(phase: str, fit: Fit, whole: Job, tmp_path: Path) -> None:
    killed(fit, tmp_path / "o", lambda report: report["phase"] == phase and report["trials"] >= 4 and report["best"] is not None)
    job = fit("rich", out=tmp_path / "o", resume=True, **SETTINGS)
    assert artifacts(job.folder) == artifacts(whole.folder)
    assert not (job.folder / RUN).exists()
    trial = whole.search.winner.config.number
    assert replay_trial(job.folder, trial)["same"] is True


@pytest.mark.parametrize("at", ["report", "rename", "moved"])
def test_killed_while_the_results_are_written(at: str, fit: Fit, whole: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the commit the fit goes on; after it, it is done."""

    def kill(*_: Any, **__: Any) -> Any:
        raise Killed

    settle, settled = folder_module.settle, list[Path]()

    def kill_once_committed(path: Path) -> None:
        if (path / DONE).is_dir() and not settled:
            settled.append(path)
            raise Killed
        settle(path)

    with monkeypatch.context() as patch:
        if at == "report":
            patch.setattr("temperance.report.page.render", kill)
        elif at == "rename":
            patch.setattr(Claimed, "commit", kill)
        else:
            patch.setattr(folder_module, "settle", kill_once_committed)
        with pytest.raises(Killed):
            fit("rich", out=tmp_path / "o", **SETTINGS)
    if at == "moved":
        assert artifacts_after_settling(fit, tmp_path / "o") == artifacts(whole.folder)
    else:
        assert artifacts(fit("rich", out=tmp_path / "o", resume=True, **SETTINGS).folder) == artifacts(whole.folder)


def artifacts_after_settling(fit: Fit, out: Path) -> dict[str, str]:
    with pytest.raises(ConfigError, match=r"Expected `--resume` to find an unfinished fit, got .*, which holds a finished one"):
        fit("rich", out=out, resume=True, **SETTINGS)
    return artifacts(out)


def test_an_interrupted_fit_ships_and_goes_on(fit: Fit, whole: Job, tmp_path: Path) -> None:
    """Ctrl-C makes a model of what there is; with the same command the fit that it cut ends as if it had not been."""
    told: list[str] = []

    def once(report: Mapping[str, Any]) -> None:
        if in_second_wave(report) and not told:
            told.append("interrupted")
            raise KeyboardInterrupt

    job = fit("rich", out=tmp_path / "o", on_progress=once, **SETTINGS)
    assert job.search.ended == "interrupted" and load(job.folder) is not None
    assert any("--resume" in warning for warning in job.summary["warnings"])
    assert (job.folder / RUN / TRIALS / LINES).is_file()
    with pytest.raises(
        ConfigError, match=r"unfinished fit with finished trials\. The same command with --resume goes on, and `temperance finish .*--overwrite"
    ):
        fit("rich", out=tmp_path / "o", **SETTINGS)
    again = fit("rich", out=tmp_path / "o", resume=True, **SETTINGS)
    assert artifacts(again.folder) == artifacts(whole.folder) and not (again.folder / RUN).exists()


def test_what_is_finished_ships_and_goes_on(fit: Fit, whole: Job, cut: Path) -> None:
    done = Journal(cut / RUN / TRIALS).trials
    job = finish_fit(cut)
    assert (job.search.ended, job.search.refit.how) == ("interrupted", "none") and done >= 4
    assert sum(t.status != "not started" for t in job.search.trials) == done
    assert len(predict_table(cut, make_people(10))) == 10
    assert finish_fit(cut).summary["scores"] == job.summary["scores"], "as often as one likes"
    assert artifacts(fit("rich", out=cut, resume=True, **SETTINGS).folder) == artifacts(whole.folder)
    with pytest.raises(ConfigError, match="Expected a folder with an unfinished fit that has finished trials, got "):
        finish_fit(cut)


def test_what_was_trained_on_a_card_ships_where_there_is_none(fit: Fit, whole: Job, cut: Path) -> None:
    path = cut / RUN / TRIALS / LINES
    path.write_text(path.read_text(encoding="utf-8").replace('"device":"cpu"', '"device":"cuda:0"', 1), encoding="utf-8")
    devices: list[str] = []
    job = finish_fit(cut, on_understood=lambda facts: devices.append(facts["device"]))
    assert devices == [told(torch.device("cpu"))]
    assert job.search.ended == "interrupted" and job.search.refit.how == "none"
    assert Journal(cut / RUN / TRIALS).command == {**(Journal(cut / RUN / TRIALS).command or {}), "device": "cuda:0"}, "the fit can go on there"


def test_killed_between_the_trials_and_the_commit_of_an_interrupted_fit(fit: Fit, whole: Job, cut: Path) -> None:
    (cut / RUN / TRIALS).rename(cut / RUN / UNFINISHED)
    assert artifacts(fit("rich", out=cut, resume=True, **SETTINGS).folder) == artifacts(whole.folder)


def test_rows_are_named_where_the_file_is_gone(fit: Fit, people: Path, tmp_path: Path) -> None:
    """The file may lie elsewhere as long as its rows are the same."""
    moved = tmp_path / "moved.csv"
    moved.write_bytes(people.read_bytes())
    out = killed(fit, tmp_path / "o", in_second_wave, source=make_people())
    with pytest.raises(ConfigError, match="were not read from a file"):
        finish_fit(out)
    assert finish_fit(out, moved).summary["search"]["ended"] == "interrupted"
    moved.write_text(make_people(seed=5).to_csv(index=False), encoding="utf-8")
    with pytest.raises(ConfigError, match="other rows in the data"):
        finish_fit(out, moved)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": 1}, r"--seed 1 \(before: 0\)"),
        ({"trials": 9}, r"--trials 9 \(before: 8\)"),
        ({"trials": None, "budget": "5m"}, r"--budget 5m \(before: none\), --trials none \(before: 8\)"),
        ({"metric": "auc"}, r"--metric auc \(before: none\)"),
        ({"use": ["SAM"]}, r"--use SAM \(before: none\)"),
        ({"without": ["EMA", "MixUp"]}, r"--without EMA, MixUp \(before: none\)"),
        ({"keep_test": True}, r"--keep-test True \(before: False\)"),
        ({"ensemble": 1, "strategy": "rungs"}, r"--ensemble 1 \(before: 2\), --strategy rungs \(before: keep\)"),
        ({"memory": "2G"}, r"--memory 2G \(before: 4G\)"),
        ({"source": make_people(seed=9)}, "got other rows in the data"),
        ({"source": make_people(90)}, "got other rows in the data"),
    ],
)
def test_a_changed_command_is_refused_by_what_changed(changed: dict[str, Any], told: str, fit: Fit, left: Path) -> None:
    before = (left / RUN / TRIALS / LINES).read_bytes()
    mend = r"Give the same command, or ship what is finished with `temperance finish DIR`, or start over with --overwrite in place of --resume\."
    with pytest.raises(ConfigError, match=rf"{told}\. {mend}"):
        fit("rich", out=left, resume=True, **{**SETTINGS, **changed})
    assert (left / RUN / TRIALS / LINES).read_bytes() == before


def test_without_a_fit_to_go_on_with_it_begins(fit: Fit, whole: Job, tmp_path: Path) -> None:
    """So that a command in a script may always have --resume; a finished fit is not made again, and other files are never written over."""
    job = fit("rich", out=tmp_path / "o", resume=True, **SETTINGS)
    assert artifacts(job.folder) == artifacts(whole.folder)
    with pytest.raises(ConfigError, match=r"which holds a finished one\. Use it, choose another name, or add --overwrite"):
        fit("rich", out=tmp_path / "o", resume=True, **SETTINGS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"holds (other )?files"):
            fit("rich", out=tmp_path / "mine", resume=True, overwrite=overwrite, **SETTINGS)


def test_resume_comes_before_overwrite_and_overwrite_alone_starts_anew(fit: Fit, whole: Job, cut: Path) -> None:
    """A command that had --overwrite is given again as it was."""
    killed(fit, cut, in_second_wave, overwrite=True, resume=True)
    assert Journal(cut / RUN / TRIALS).trials >= 4
    assert artifacts(fit("rich", out=cut, resume=True, overwrite=True, **SETTINGS).folder) == artifacts(whole.folder)
    killed(fit, cut, in_second_wave, overwrite=True)
    fit("rich", out=cut, overwrite=True, **{**SETTINGS, "seed": 1})
    assert json.loads((cut / "run.json").read_text(encoding="utf-8"))["seed"] == 1 and not (cut / RUN).exists()


def test_of_a_budget_the_time_that_is_used_counts(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**SETTINGS, "budget": "600s"}
    out = killed(fit, tmp_path / "o", in_second_wave, **settings)
    lines = [json.loads(line) for line in (out / RUN / TRIALS / LINES).read_text(encoding="utf-8").splitlines()]
    lines[-1]["spent"] = 580.0
    (out / RUN / TRIALS / LINES).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    left: list[float] = []
    job = fit("rich", out=out, resume=True, on_progress=lambda report: left.append(report["left"]), **settings)
    assert 0 < max(left) < 20 and job.summary["timing"]["total"] > 580


def test_a_network_of_ones_own_is_named_again(fit: Fit, tmp_path: Path) -> None:
    """Its file is run only when it is named, and has to be the same."""
    file = tmp_path / "net.py"
    text = "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, outputs):\n        super().__init__()\n"
    text += "        self.layer = nn.Linear(1, outputs)\n\n    def forward(self, x):\n        return self.layer(x['num'])\n\n\n"
    text += "def build(data):\n    return Net(data.out_features)\n"
    file.write_text(text, encoding="utf-8")
    out = killed(fit, tmp_path / "o", in_second_wave, model=f"{file}:build")
    with pytest.raises(ConfigError, match="Expected `--model` for the unfinished fit"):
        finish_fit(out)
    assert finish_fit(out, model=f"{file}:build").search.ended == "interrupted"
    file.write_text(text.replace("self.layer(", "1.1 * self.layer("), encoding="utf-8")
    with pytest.raises(ConfigError, match="another file of the network"):
        fit("rich", out=out, resume=True, model=f"{file}:build", **SETTINGS)


def test_an_interrupt_during_the_commit_waits_and_ends_nothing(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Claimed.commit

    def interrupted(self: Claimed, **settings: Any) -> None:
        assert postponed()  # what the command line's handler asks
        commit(self, **settings)

    monkeypatch.setattr(Claimed, "commit", interrupted)
    job = fit("rich", out=tmp_path / "o", **SETTINGS)
    assert job.search.ended == "done" and load(job.folder) is not None


def test_without_space_for_a_line_the_trials_before_it_stay(fit: Fit, whole: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the fit with a message that says where they are; with room again it goes on."""
    line = Journal._line

    def full(self: Journal, said: Any, spent: float, **settings: Any) -> None:
        if said["kind"] == "end" and len(said["rungs"]) > 2:
            raise OSError(28, "No space left on device", str(self.path))
        line(self, said, spent, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_line", full)
        with pytest.raises(OSError, match="No space left") as told:
            fit("rich", out=tmp_path / "o", **SETTINGS)
    assert "The finished trials are kept in" in told.value.__notes__[0] and "--resume" in told.value.__notes__[0]
    assert artifacts(fit("rich", out=tmp_path / "o", resume=True, **SETTINGS).folder) == artifacts(whole.folder)
