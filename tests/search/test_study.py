"""Trials are proposed in batches and kept in a file that Optuna reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from tests.search.small import config, small_plan

from temperance.core.errors import ConfigError
from temperance.search.space import Config, as_params, default_strengths
from temperance.search.study import STUDY, Ledger, Proposer

PLAN = small_plan(lengths=(0.5, 1.0))


def load(path: Path) -> optuna.Study:
    return optuna.load_study(study_name=STUDY, storage=f"sqlite:///{path}")


@pytest.mark.parametrize("greater", [True, False])
def test_ledger_is_a_study_of_optuna(tmp_path: Path, greater: bool) -> None:
    path = tmp_path / "study.db"
    ledger = Ledger(path, greater)
    statuses = {
        "finished": ("COMPLETE", 0.7),
        "stopped: no improvement for 10 evals": ("COMPLETE", 0.6),
        "interrupted": ("COMPLETE", 0.65),
        "dropped at epoch 1": ("PRUNED", 0.5),
        "diverged at step 4: the loss is not finite": ("FAIL", math.nan),
        "not started": ("FAIL", math.nan),
    }
    configs = [config(PLAN, i, lr=0.01 * (i + 1), length=0.5, dropout__rate=0.1 * i) for i in range(len(statuses))]
    rows: list[tuple[Config, dict[str, Any]]] = [
        (made, {"status": status, "score": score, "epochs": 2.0}) for made, (status, (_, score)) in zip(configs, statuses.items(), strict=True)
    ]
    ledger.write(rows[:4])
    assert len(load(path).trials) == 4
    ledger.write(rows[4:])
    study = load(path)
    assert study.direction.name == ("MAXIMIZE" if greater else "MINIMIZE")
    assert [t.state.name for t in study.trials] == [state for state, _ in statuses.values()]
    assert [t.value for t in study.trials] == [0.7, 0.6, 0.65, 0.5, None, None]
    assert study.best_value == (0.7 if greater else 0.6)
    for trial, made, status in zip(study.trials, configs, statuses, strict=True):
        assert trial.params == as_params(made)
        assert trial.user_attrs == {"plan": "small", "seed": 7, "status": status, "epochs": 2.0}


def test_ledger_refuses_a_file_that_exists(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"Expected `study` to name a new file, got .*study\.db"):
        Ledger(path, True)
    assert path.read_text(encoding="utf-8") == "mine"


def test_ledger_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Expected `study` to name a file in a folder that exists, got .*none"):
        Ledger(tmp_path / "none" / "study.db", True)


def test_no_ledger_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Ledger(None, True).write([(config(PLAN, 0), {"status": "finished", "score": 1.0, "epochs": 1.0})])
    assert not list(tmp_path.iterdir())


def ask_and_tell(seed: int) -> list[Config]:
    proposer = Proposer(PLAN, seed, greater=True, startup=3)
    out = [proposer.adopt(Config(0, PLAN, default_strengths(PLAN.cocktail, ["dropout"]), 0.02, 7, 0.5))]
    for batch in (range(1, 6), range(6, 12)):
        asked = proposer.ask(batch, 7)
        out += asked
        for made in asked:
            proposer.tell(made.number, math.nan if made.number == 2 else made.lr, pruned=made.number == 3)
    return out


def test_given_configurations_are_taken_as_they_are() -> None:
    first = ask_and_tell(0)[0]
    assert first.strengths == default_strengths(PLAN.cocktail, ["dropout"])
    assert (first.number, first.lr, first.length, first.seed) == (0, 0.02, 0.5, 7)


def test_proposals_lie_in_the_space_differ_and_repeat_with_the_seed() -> None:
    asked = ask_and_tell(0)
    assert [made.number for made in asked] == list(range(12))
    for made in asked:
        assert PLAN.lr[0] <= made.lr <= PLAN.lr[1] and made.length in PLAN.lengths
        for name, spec in PLAN.cocktail.specs().items():
            assert made.strengths[name] == spec.off or spec.low <= made.strengths[name] <= spec.high
    told = [made.to_dict() for made in asked]
    assert len({made.lr for made in asked}) == len(asked)
    assert [made.to_dict() for made in ask_and_tell(0)] == told
    assert [made.to_dict() for made in ask_and_tell(1)][1:] != told[1:]


def test_a_length_can_be_given_to_all() -> None:
    proposer = Proposer(PLAN, 0, greater=True, startup=2)
    assert {made.length for made in proposer.ask(range(8), 7, 0.5)} == {0.5}
    assert {made.length for made in proposer.ask(range(8, 12), 7, 0.7)} == {0.7}


def test_sampler_learns_from_scores() -> None:
    """Where only the learning rate counts, later proposals have a better one than the first."""
    proposer = Proposer(PLAN, 0, greater=True, startup=10)
    rates: list[float] = []
    for batch in range(4):
        asked = proposer.ask(range(10 * batch, 10 * batch + 10), 7)
        rates += [made.lr for made in asked]
        for made in asked:
            proposer.tell(made.number, -abs(math.log(made.lr / 0.05)))
    before, after = ([abs(math.log(rate / 0.05)) for rate in part] for part in (rates[:10], rates[-10:]))
    assert sum(after) < 0.6 * sum(before)


def test_what_was_dropped_late_ranks_above_what_was_dropped_early_and_below_what_ended() -> None:
    proposer = Proposer(PLAN, 0, greater=False, startup=0)
    proposer.ask(range(5), 7)
    for number, score, pruned, epochs in ((0, 0.1, True, 1.0), (1, 9.0, False, 3.0), (2, 5.0, True, 2.0), (3, math.nan, False, 1.0), (4, 8.0, False, 3.0)):
        proposer.tell(number, score, pruned=pruned, epochs=epochs)
    proposer.tell(17, 0.0)
    assert sorted(range(5), key=lambda i: proposer._keys[i], reverse=True) == [4, 1, 2, 0, 3]


def test_of_equal_scores_the_lower_loss_ranks_above() -> None:
    proposer = Proposer(PLAN, 0, greater=True, startup=0)
    proposer.ask(range(4), 7)
    for number, loss in enumerate((0.3, 0.1, math.nan, 0.2)):
        proposer.tell(number, 0.9 if number < 3 else 0.8, loss=loss)
    assert sorted(range(4), key=lambda i: proposer._keys[i], reverse=True) == [1, 0, 2, 3]
