"""Trials that race: the best go on, a copy goes on from another's state, and a trial is the same alone and in company."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.search.small import ACCURACY, config, hold_out, small_plan, two_classes, two_folds

from temperance.core.errors import ConfigError
from temperance.search.race import Race, Trial, best_first, judge, seen
from temperance.search.search import replay_member
from temperance.train.outcome import Outcome
from temperance.train.stopping import EarlyStopping

DATA = two_classes()
SPLITS = {"hold-out": hold_out(), "folds": two_folds()}
PLAN = small_plan()
SETTINGS: dict[str, Any] = {"patience": 10, "memory": "1G"}


def configs(count: int = 6) -> list[Any]:
    return [config(PLAN, i, lr=0.002 * 2**i, dropout__rate=0.1 * (i % 3), weight_decay__lam=0.1 * (i % 2), ema__decay=0.8 * (i % 2)) for i in range(count)]


def race(made: list[Any], split: str = "hold-out") -> Race:
    return Race(made, DATA, SPLITS[split].folds, ACCURACY, **SETTINGS)


def to_the_end(running: Race, first: int = 1) -> None:
    for epoch in range(first, 5):
        running.epoch(epoch, None)
    running.finish()


@pytest.mark.parametrize("split", SPLITS)
def test_after_one_epoch_the_best_go_on(split: str) -> None:
    running = race(configs(), split)
    running.epoch(1, None)
    assert all(trial.epochs == 1.0 and trial.best == 0 for trial in running.trials)
    order = running.rank()
    assert [trial.level for trial in order] == sorted((trial.level for trial in order), reverse=True)
    running.go_on(order[:2], 1)
    assert running.alive == [trial for trial in running.trials if trial in order[:2]]
    assert {trial.status for trial in order[2:]} == {"dropped at epoch 1"}
    (_, population, _) = running.groups[0]
    assert sorted(population.alive) == sorted(i for trial in order[:2] for i in trial.indices)
    to_the_end(running, 2)
    assert [trial.status for trial in order] == ["finished"] * 2 + ["dropped at epoch 1"] * 4
    whole = population.total_steps
    assert [max(o.steps for o in trial.outcomes) for trial in order] == [whole] * 2 + [whole // 3] * 4
    assert [len(trial.history()) for trial in order] == [3] * 2 + [1] * 4


def test_an_epoch_tells_what_it_cost() -> None:
    running = race(configs())
    ((plan, members, epochs, seconds),) = running.epoch(2, None)
    assert (plan, members, epochs) == (PLAN, 6, 2.0) and seconds > 0
    running.go_on(running.rank()[:2], 2)
    assert [row[:3] for row in running.epoch(3, None)] == [(PLAN, 2, 1.0)]
    assert running.epoch(4, None) == []


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("number", [0, 3])
def test_a_trial_alone_is_the_trial_in_its_race(split: str, number: int) -> None:
    """Bit for bit: every check, and the weights of the best and of the last state; two others leave the race on the way, one diverges."""
    made = configs(4)
    running = race([*made, config(PLAN, 9, lr=1e38)], split)
    running.epoch(1, None)
    kept = running.trials[number]
    for trial in running.trials:
        if trial.alive and trial is not kept and trial is not running.trials[1]:
            trial.status = "dropped at epoch 1"
    for _, population, trials in running.groups:
        population.keep([i for trial in trials if trial.alive for i in trial.indices], "dropped")
    to_the_end(running, 2)
    assert running.trials[-1].status.startswith("diverged at step")
    assert math.isnan(running.trials[-1].score)

    alone = replay_member(made[number], DATA, SPLITS[split].folds, ACCURACY, **SETTINGS)
    assert len(alone.outcomes) == len(kept.outcomes) == len(SPLITS[split].folds)
    assert (alone.score, alone.best_step, alone.status) == (kept.score, kept.best_step, "finished")
    for one, other in zip(alone.outcomes, kept.outcomes, strict=True):
        assert one.history == other.history
        for a, b in ((one.state, other.state), (one.final, other.final)):
            assert a is not None and b is not None and a.keys() == b.keys()
            assert all(torch.equal(a[name], b[name]) for name in a)


def test_score_over_folds_is_the_mean_of_the_curves() -> None:
    running = race(configs(2), "folds")
    to_the_end(running)
    for trial in running.trials:
        curves = [[row["validation_score"] for row in o.history] for o in trial.outcomes]
        mean = np.mean(curves, axis=0)
        assert trial.curve() == pytest.approx(mean.tolist())
        losses = np.mean([[row["validation_loss"] for row in o.history] for o in trial.outcomes], axis=0)
        assert trial.best == min(np.flatnonzero(np.isclose(mean, mean.max(), atol=1e-6)), key=lambda i: losses[i])
        assert trial.score == pytest.approx(mean.max())
        assert [row["validation_score"] for row in trial.history()] == trial.curve()
        assert trial.best_step == trial.outcomes[0].history[trial.best]["step"]
        assert {o.name for o in trial.outcomes} == {f"trial {trial.config.number} fold {f}" for f in range(2)}


def test_validation_scores_are_those_of_the_shipped_network() -> None:
    running = race(configs(2))
    to_the_end(running)
    held = DATA.take(SPLITS["hold-out"].folds[0][1])
    assert isinstance(held.x, torch.Tensor) and isinstance(held.y, torch.Tensor)
    for trial in running.trials:
        assert trial.population is not None
        with torch.no_grad():
            hit = trial.population.model(trial.indices[0])(held.x).argmax(1) == held.y.argmax(1)
        assert trial.score == pytest.approx(float(hit.float().mean()))


def test_a_short_trial_goes_through_its_schedule_and_ends() -> None:
    plan = small_plan(epochs=4.0)
    running = race([config(plan, 0), config(plan, 1, length=0.5), config(plan, 2, length=0.25)])
    to_the_end(running)
    (_, population, _) = running.groups[0]
    assert [trial.outcomes[0].steps for trial in running.trials] == [population.total_steps, population.total_steps // 2, population.total_steps // 4]
    assert {trial.status for trial in running.trials} == {"finished"}
    for trial in running.trials:
        rates = [row["learning_rate"] for row in trial.history()]
        assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    assert running.trials[1].history()[0]["learning_rate"] == pytest.approx(0.01, rel=0.01)


def test_stretch_plans_another_number_of_epochs() -> None:
    running = race(configs(2))
    running.stretch({"small": 2.0})
    to_the_end(running)
    assert [trial.epochs for trial in running.trials] == [2.0, 2.0]
    assert [trial.history()[-1]["learning_rate"] for trial in running.trials] == pytest.approx([0.0, 0.0], abs=1e-9)


def scored(*curves: list[float], plan: Any = PLAN, length: float = 1.0, losses: list[float] | None = None) -> Trial:
    def row(i: int, score: float) -> dict[str, float]:
        return {"step": 5 * (i + 1), "epoch": float(i + 1), "validation_score": score, "validation_loss": losses[i] if losses else 1.0}

    return Trial(config(plan, 0, length=length), [Outcome(history=[row(i, s) for i, s in enumerate(curve)]) for curve in curves])


def test_judge_stops_by_the_mean_curve() -> None:
    trial = scored([0.5, 0.9, 0.6, 0.6], [0.5, 0.1, 0.6, 0.5])
    judge(trial, EarlyStopping(patience="2 evals"), ACCURACY, total_steps=100)
    assert (trial.status, trial.best) == ("running", 2)
    trial = scored([0.5, 0.6, 0.5, 0.5], [0.5, 0.6, 0.5, 0.5, 0.9])
    judge(trial, EarlyStopping(patience="2 evals"), ACCURACY, total_steps=100)
    assert (trial.status, trial.best, trial.best_step, trial.best_epoch) == ("stopped: no improvement for 2 evals", 1, 10, 2.0)
    assert trial.score == pytest.approx(0.6)


def test_of_equal_checks_the_one_of_lowest_loss_is_the_best() -> None:
    """Also where the same number of right rows lies in other folds, so that the means differ in their last digits."""
    folds = [[0.975, 0.95, 0.9], [0.925, 0.95, 0.9], [0.95 + 1e-8, 0.95, 0.9]]
    trial = scored(*folds, losses=[0.5, 0.3, 0.1])
    assert len(set(trial.curve()[:2])) == 2
    judge(trial, EarlyStopping(patience="9 evals"), ACCURACY, total_steps=100)
    assert trial.best == 1
    one = scored([0.95, 0.95, 0.9], losses=[0.3, 0.5, 0.1])
    judge(one, EarlyStopping(patience="9 evals"), ACCURACY, total_steps=100)
    assert one.best == 0
    near = scored([0.95 + 1e-8, 0.95], losses=[0.5, 0.3])  # one fold: its best state is the strictly best one
    judge(near, EarlyStopping(patience="9 evals"), ACCURACY, total_steps=100)
    assert near.best == 0


def trial_of(score: float, loss: float, folds: int = 1) -> Trial:
    made = scored(*[[score]] * folds, losses=[loss])
    made.best = 0
    return made


@pytest.mark.parametrize("folds", [1, 5])
def test_equal_trials_rank_by_their_loss(folds: int) -> None:
    made = [trial_of(*pair, folds=folds) for pair in ((0.9, 0.1), (0.95, 0.4), (0.95, math.nan), (0.95, 0.2), (0.95, 0.3), (math.nan, 0.0))]
    assert sorted(made, key=best_first(True)) == [made[i] for i in (3, 4, 1, 2, 0, 5)]
    assert sorted(made, key=best_first(False)) == [made[i] for i in (0, 3, 4, 1, 2, 5)]


def test_judge_ends_at_the_own_length_and_with_the_first_fold_that_diverged() -> None:
    trial = scored([0.5, 0.6], length=0.5)
    judge(trial, EarlyStopping(patience="9 evals"), ACCURACY, total_steps=20)
    assert trial.status == "finished"
    trial = scored([0.5, 0.6], [0.5, 0.6])
    trial.outcomes[1].status = "diverged at step 7: the loss is not finite"
    judge(trial, EarlyStopping(patience="9 evals"), ACCURACY, total_steps=20)
    assert (trial.status, trial.best) == ("diverged at step 7: the loss is not finite", -1)
    assert math.isnan(trial.score)
    untouched = Trial(config(PLAN, 0), [Outcome()])
    judge(untouched, EarlyStopping(), ACCURACY, total_steps=20)
    assert (untouched.status, untouched.best, untouched.epochs, untouched.best_step) == ("running", -1, 0.0, 0)


def test_trials_without_a_score_rank_last() -> None:
    running = race([config(PLAN, 0, lr=1e38), *configs(2)])
    running.epoch(1, None)
    assert running.rank()[-1] is running.trials[0]
    running.check_all_failed()


def test_when_every_trial_failed_the_first_cause_is_told() -> None:
    running = race([config(PLAN, i, lr=1e38) for i in range(2)])
    running.epoch(1, None)
    with pytest.raises(ConfigError, match=r"Every trial failed; the first one diverged at step \d: the .* not finite\. Check the scale"):
        running.check_all_failed()


def test_a_race_sees_the_named_rows_alone() -> None:
    train, validation = np.array([3, 5, 8]), np.array([4, 80])
    part, folds = seen(DATA, [(train, validation)])
    assert isinstance(part.x, torch.Tensor) and isinstance(DATA.x, torch.Tensor)
    assert torch.equal(part.x, DATA.x[[3, 4, 5, 8, 80]])
    (a, b) = folds[0]
    assert torch.equal(part.x[torch.as_tensor(a)], DATA.x[torch.as_tensor(train)])
    assert torch.equal(part.x[torch.as_tensor(b)], DATA.x[torch.as_tensor(validation)])


def test_untouched_rows_change_nothing() -> None:
    """Not even through the scales that noise refers to."""
    spoiled = two_classes()
    assert isinstance(spoiled.x, torch.Tensor)
    spoiled.x[torch.as_tensor(SPLITS["hold-out"].test)] = 1e6
    made = [config(PLAN, 0, input_noise__sigma=0.3)]
    running, other = race(made), Race(made, spoiled, SPLITS["hold-out"].folds, ACCURACY, **SETTINGS)
    to_the_end(running)
    to_the_end(other)
    assert running.trials[0].history() == other.trials[0].history()
