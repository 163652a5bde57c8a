"""The whole search: what it returns, that it repeats, and how it ends."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from tests.search.small import hold_out, same_bits, small_plan, two_classes, two_folds
from torch import Tensor, nn

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.core.schedule import FlatCosine
from temperance.data import Dataset, as_dataset
from temperance.nets import MLP
from temperance.nets.average import Average
from temperance.search import Search, engine as engine_module, refit as refit_module, search_plans
from temperance.search.budget import Clock
from temperance.search.costs import Costs
from temperance.search.engine import Engine
from temperance.search.plans import network_plans
from temperance.search.race import Trial
from temperance.search.rungs import FIRST
from temperance.search.score import predict
from temperance.search.space import default_strengths
from temperance.search.study import STUDY, Proposer
from temperance.train.follow import train_to
from temperance.train.optimizers import AdamW

DATA = two_classes()
LIKELY = {"dropout.rate": 0.1}


def find(**settings: Any) -> Search:
    plans = [small_plan("a", likely_on=LIKELY, batch_size=1), small_plan("b", hidden=5, batch_size=1)]  # 30 steps an epoch
    return search_plans(plans, DATA, **{"trials": 8, "split": hold_out(), **settings})


@pytest.fixture(scope="module")
def found() -> Search:
    torch.set_num_threads(1)
    return find()


@pytest.fixture(scope="module")
def folded() -> Search:
    torch.set_num_threads(1)
    return find(split=two_folds(), trials=4, retrain=None)


def test_first_trials_are_the_likely_and_the_plain_one_of_every_plan(found: Search) -> None:
    by_plan = {name: [t.config for t in found.trials if t.config.plan.name == name] for name in "ab"}
    assert [len(configs) for configs in by_plan.values()] == [4, 4]
    assert [t.config.number for t in found.trials] == list(range(8))
    for name, configs in by_plan.items():
        cocktail = configs[0].plan.cocktail
        assert configs[0].strengths == ({**default_strengths(cocktail, ()), **LIKELY} if name == "a" else cocktail.strengths())
        assert configs[1].strengths == default_strengths(cocktail, ())
        assert [c.lr for c in configs[:2]] == [0.01, 0.01]
        assert len({(c.lr, *c.strengths.items()) for c in configs}) == len(configs)


def test_the_winner_is_the_best_trial_and_the_rest_was_dropped(found: Search) -> None:
    assert found.ended == "done"
    assert found.winner.score == max(t.score for t in found.trials if t.score == t.score)
    statuses = [t.status for t in found.trials]
    assert statuses.count("dropped at epoch 2") == 6  # two of eight go on
    assert found.rungs[0] == {"round": 1, "epoch": 2, "members": 8, "kept": 2}
    table = found.table()
    assert table["trial"].tolist() == list(range(8))
    assert table["score"].tolist() == [t.score for t in found.trials]
    assert table["dropout.rate"].tolist() == [t.config.strengths["dropout.rate"] for t in found.trials]


def test_of_equal_scores_the_lowest_validation_loss_wins() -> None:
    """Few validation rows of an easy task: many trials have them all right."""
    x = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    easy = as_dataset(x.sign().numpy(), (x[:, 0] > 0).long().numpy())
    for split in (hold_out(), two_folds()):
        done = search_plans([small_plan(epochs=16.0, lr=(0.03, 0.1)), small_plan("other", hidden=4, epochs=16.0)], easy, trials=8, split=split, retrain=None)
        top = [t for t in done.trials if t.level == done.winner.level]
        assert len(top) > 1 and done.winner.level == 1.0
        assert done.winner.at_best("validation_loss") == min(t.at_best("validation_loss") for t in top)


def test_the_sampler_is_told_the_loss_beside_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[int, tuple[float, float]] = {}
    tell = Proposer.tell

    def note(self: Proposer, number: int, score: float, **more: Any) -> None:
        told[number] = score, more["loss"]
        tell(self, number, score, **more)

    monkeypatch.setattr(Proposer, "tell", note)
    done = find(trials=4, retrain=None, ensemble=1)
    assert told == {t.config.number: (t.level, t.at_best("validation_loss")) for t in done.trials}


def test_history_holds_every_check_of_search_and_control(found: Search) -> None:
    history = found.history()
    assert set(history["run"]) == {"winner", "search", "without"}
    for trial in found.trials:
        rows = history[(history["trial"] == trial.config.number) & (history["run"] != "without")]
        assert rows["validation_score"].tolist() == trial.curve()
    winner, control = history[history["run"] == "winner"], history[history["run"] == "without"]
    assert winner["trial"].unique().tolist() == [found.winner.config.number]
    assert control["step"].tolist() == winner["step"].tolist()


def test_scores_on_untouched_rows_have_intervals(found: Search) -> None:
    assert set(found.scores) == {"accuracy", "balanced_accuracy", "log_loss", "auc", "average_precision"}
    assert found.score == found.scores["accuracy"]
    for score in found.scores.values():
        assert -math.inf < score["low"] <= score["value"] <= score["high"] < math.inf
    held = DATA.take(hold_out().test)
    assert isinstance(held.x, Tensor) and isinstance(held.y, Tensor)
    with torch.no_grad():
        hit = found.model(held.x).argmax(1) == held.y.argmax(1)
    assert found.score["value"] == pytest.approx(float(hit.float().mean()))


def test_gap_has_the_winner_with_and_without_its_cocktail(found: Search) -> None:
    gap = found.gap
    assert (gap["metric"], gap["n_train_clean"], gap["n_validation"], gap["n_test"]) == ("accuracy", 30, 30, 30)
    assert set(gap["with"]) == set(gap["without"]) == {"train", "validation", "test"}
    assert gap["with"]["validation"] == found.winner.score
    assert found.without is not None
    control, winner = found.without.config, found.winner.config
    assert gap["without"]["validation"] == found.without.score
    assert control.strengths == default_strengths(winner.plan.cocktail, ())
    assert all(r.is_off() for r in control.cocktail)
    assert (control.plan, control.lr, control.seed, control.length) == (winner.plan, winner.lr, winner.seed, winner.length)


def test_the_control_of_a_plain_winner_is_the_winner() -> None:
    """With every strength off already, the control trains the same network, bit for bit."""
    only = small_plan(likely_on=default_strengths(small_plan().cocktail, ()))
    found = search_plans([only], DATA, trials=1, split=hold_out())
    assert found.without is not None
    assert found.without.history() == found.winner.history()
    assert found.gap["with"] == found.gap["without"]


def seen(found: Search) -> tuple[Any, ...]:
    table = found.table()
    return table.to_dict("list"), found.scores, found.gap, found.rungs, found.notes, found.history().to_dict("list")


def test_the_same_seed_gives_the_same_search(found: Search) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 the global generator must not matter
    again = find()
    assert repr(seen(again)) == repr(seen(found))
    assert same_bits(again.model, found.model)
    other = find(seed=1)
    assert repr(seen(other)) != repr(seen(found))
    assert not same_bits(other.model, found.model)


def test_global_generators_are_untouched(generators_untouched: Callable[[], None]) -> None:
    assert len(find(trials=2).trials) == 2


def test_with_trials_nothing_depends_on_the_clock(found: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(0, 1000)
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: float(next(ticks)))
        patch.setattr(time, "perf_counter", lambda: float(next(ticks)))
        again = find()
    assert next(ticks) >= 3000  # the clock was read, as timing says, and made no difference
    assert repr(seen(again)) == repr(seen(found))
    assert same_bits(again.model, found.model)


def test_more_trials_than_a_round_begin_like_fewer() -> None:
    """A second round is proposed from what the first has shown, which itself stays as it was."""
    first = find(trials=32, retrain=None)
    both = find(trials=36, retrain=None)
    assert repr(both.table().head(32).to_dict("list")) == repr(first.table().to_dict("list"))
    assert [rung["round"] for rung in both.rungs] == [1, 1, 2, 2]
    assert len(both.trials) == 36


def test_score_over_folds_and_a_model_of_every_fold(folded: Search) -> None:
    winner = folded.winner
    assert len(winner.outcomes) == 2
    scores = [row["validation_score"] for o in winner.outcomes for row in o.history[winner.best : winner.best + 1]]
    assert winner.score == pytest.approx(sum(scores) / 2)
    assert isinstance(folded.model, Average)
    assert folded.refit.how == "none"
    assert winner.population is not None
    for network, index in zip(folded.model.networks, winner.indices, strict=True):
        assert same_bits(network, winner.population.model(index))


# The refit


def test_retrain_for_as_many_epochs(found: Search) -> None:
    assert found.refit.how == "same_epochs"
    assert found.refit.steps == round(found.winner.best_epoch * 60) == 2 * found.winner.best_step  # 60 rows instead of 30
    assert found.refit.outcomes[0].history[-1]["epoch"] == pytest.approx(found.winner.best_epoch)
    assert found.model is found.refit.networks[0]


def test_retrain_for_as_many_steps(found: Search) -> None:
    again = find(retrain="same_steps")
    assert again.refit.how == "same_steps"
    assert again.refit.steps == again.winner.best_step == found.winner.best_step
    assert not same_bits(again.model, found.model)


@pytest.mark.parametrize("retrain", ["same_epochs", "same_steps"])
def test_the_schedule_ends_where_it_ended_in_the_search(retrain: str, found: Search) -> None:
    again = find(retrain=retrain)
    best = again.winner.history()[again.winner.best]
    assert again.refit.outcomes[0].history[-1]["learning_rate"] == pytest.approx(best["learning_rate"], rel=0.1, abs=1e-6)


def test_without_a_refit_the_state_of_the_search_is_shipped() -> None:
    found = find(retrain=None)
    assert (found.refit.how, found.without, "without" in found.gap) == ("none", None, False)
    winner = found.winner
    assert winner.population is not None
    assert same_bits(found.model, winner.population.model(winner.indices[0]))
    assert found.refit.steps == winner.best_step
    assert found.gap["with"]["test"] == pytest.approx(found.score["value"])


def test_several_refits_are_averaged() -> None:
    found = find(trials=2, refits=3)
    assert isinstance(found.model, Average)
    assert len(found.refit.networks) == 3
    assert not same_bits(found.refit.networks[0], found.refit.networks[1])
    alone = find(trials=2)
    assert same_bits(found.refit.networks[0], alone.model)
    held = DATA.take(hold_out().test)
    each = [predict(network, found.criterion, held.x) for network in found.refit.networks]
    assert torch.allclose(predict(found.model, found.criterion, held.x), torch.stack(each).mean(0), atol=1e-6)


def test_a_refit_that_diverges_ships_the_search() -> None:
    """The first weights of a second seed are not finite: the other seeds are shipped; with none left, the state of the search."""
    plan = small_plan()

    def build(bad: Callable[[int], bool]) -> Callable[[int], nn.Module]:
        def made(seed: int) -> nn.Module:
            network = plan.build(seed)
            if bad(seed):
                with torch.no_grad():
                    next(network.parameters()).fill_(math.nan)
            return network

        return made

    some = search_plans([replace(plan, build=build(lambda seed: seed > 7))], DATA, trials=1, split=hold_out(), refits=2)
    assert len(some.refit.networks) == 1
    assert [o.status.startswith("diverged") for o in some.refit.outcomes] == [False, True]
    calls = itertools.count()
    none = search_plans([replace(plan, build=build(lambda seed: next(calls) in (4, 5)))], DATA, trials=1, split=hold_out())
    assert none.refit.how == "none"
    assert any(note.startswith("the refit diverged") and "the model is the best state of the search" in note for note in none.notes)
    assert none.winner.population is not None
    assert same_bits(none.model, none.winner.population.model(none.winner.indices[0]))


# Failure and interruption


def failing() -> Any:
    return small_plan(optimizer=AdamW(FlatCosine(1e38)), lr=(1e37, 1e38))


def test_all_trials_failing_is_told_with_the_first_cause() -> None:
    with pytest.raises(ConfigError, match=r"Every trial failed; the first one diverged at step \d: the .* not finite\. Check the scale"):
        search_plans([failing()], DATA, trials=3, split=hold_out())


def test_one_failing_plan_does_not_stop_the_others(tmp_path: Path) -> None:
    plans = [replace(failing(), name="bad", batch_size=1), small_plan("good", batch_size=1)]
    found = search_plans(plans, DATA, trials=4, split=hold_out(), study=tmp_path / "study.db")
    assert found.winner.config.plan.name == "good"
    trials = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    states = {name: {t.state.name for t in trials if t.user_attrs["plan"] == name} for name in ("bad", "good")}
    assert states == {"bad": {"FAIL"}, "good": {"COMPLETE", "PRUNED"}}
    assert all(o.state is None and o.final is None for t in found.trials if t.config.plan.name == "bad" for o in t.outcomes), "nothing will ask for these"


def test_ledger_has_every_trial(tmp_path: Path, found: Search) -> None:
    again = find(study=tmp_path / "study.db")
    study = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [t.value for t in study.trials] == [t.score for t in again.trials] == [t.score for t in found.trials]
    assert [t.state.name for t in study.trials].count("PRUNED") == 6
    assert study.best_value == again.winner.score


class Interrupt:
    """Raises KeyboardInterrupt at the given report, or at the first one of a phase: how many come before depends on the clock."""

    def __init__(self, at: int, phase: str = "") -> None:
        self.at, self.phase, self.reports = at, phase, list[dict[str, Any]]()

    def __call__(self, report: Mapping[str, Any]) -> None:
        self.reports.append(dict(report))
        if len(self.reports) == self.at or report["phase"] == self.phase:
            self.phase = ""
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", [1, 4])
def test_interrupted_after_the_first_evaluation(at: int, tmp_path: Path) -> None:
    stop = Interrupt(at)
    found = find(on_progress=stop, study=tmp_path / "study.db")
    assert found.ended == "interrupted"
    assert len(stop.reports) >= at
    assert found.refit.how == "none"
    assert found.winner.score == max(t.score for t in found.trials if t.score == t.score)
    assert found.winner.population is not None
    assert same_bits(found.model, found.winner.population.model(found.winner.indices[0]))
    assert found.score["low"] <= found.score["value"] <= found.score["high"]
    assert "without" not in found.gap
    study = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert len(study.trials) == len(found.trials) == 8
    assert study.best_value == found.winner.score
    if at == 1:  # the second plan had not begun
        assert {t.status for t in found.trials if t.config.plan.name == "b"} == {"not started"}


def test_interrupted_in_the_refit_ships_the_search(found: Search) -> None:
    again = find(on_progress=Interrupt(-1, "refit"))
    assert again.ended == "interrupted"
    assert [t.score for t in again.trials] == [t.score for t in found.trials]
    assert again.refit.how == "none"


def test_interrupted_while_scoring_keeps_what_was_trained(found: Search) -> None:
    """The second report of that phase is that of scoring again."""
    again = find(on_progress=Interrupt(-1, "scoring"))
    assert again.ended == "interrupted" and again.refit.how == found.refit.how == "same_epochs"
    assert all(map(same_bits, again.refit.networks, found.refit.networks)) and again.gap == found.gap and again.scores == found.scores


def test_a_network_whose_turn_never_came_ships_the_search(monkeypatch: pytest.MonkeyPatch, found: Search) -> None:
    def train(population: Any, *arguments: Any, **settings: Any) -> Any:
        outcomes = train_to(population, *arguments, **settings)
        outcomes[-1].status, outcomes[-1].final = "not started", None
        return outcomes

    monkeypatch.setattr(refit_module, "train_to", train)
    again = find(refits=3)
    assert again.refit.how == "none" and again.winner.score == found.winner.score


def test_interrupted_before_the_first_evaluation() -> None:
    def build(seed: int) -> nn.Module:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_plans([small_plan(build=build)], DATA, trials=2, split=hold_out())
    stop = Interrupt(1)
    with pytest.raises(KeyboardInterrupt):
        find(budget="60s", on_progress=stop)
    assert stop.reports[0]["phase"] == "measuring" and stop.reports[0]["best"] is None


def test_later_waves_are_shared_out_by_the_best_scores_of_the_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up, asked = Engine._ranked, list[int]()

    def checked(engine: Engine) -> list[int]:
        tops = [max((t.score for t in engine.trials if t.config.plan is plan and t.score == t.score), default=-math.inf) for plan in engine.plans]
        found = looked_up(engine)
        assert found == sorted(range(len(tops)), key=lambda i: -tops[i])
        asked.append(len(engine.trials))
        return found

    monkeypatch.setattr(Engine, "_ranked", checked)
    plans = [small_plan("a"), small_plan("b", hidden=5)]
    done = search_plans(plans, DATA, trials=96, split=hold_out(), retrain=None)
    assert len(done.trials) == 96 and len({n for n in asked if n}) >= 1


def test_a_plan_whose_epochs_take_four_times_as_long_gets_a_quarter_of_the_first_wave_and_half_of_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Costs, "member", lambda self, plan: {"a": 1.0, "b": 4.0}[plan.name])
    monkeypatch.setattr(engine_module, "LATER", 1.0)  # ranks aside
    plans = [small_plan("a"), small_plan("b", hidden=5)]
    done = search_plans(plans, DATA, trials=FIRST + 18, split=hold_out(), retrain=None)

    def shares(trials: Sequence[Trial]) -> list[int]:
        return [sum(t.config.plan.name == plan.name for t in trials) for plan in plans]

    assert shares(done.trials[:FIRST]) == [25, 7] and shares(done.trials[FIRST:]) == [12, 6]
    monkeypatch.setattr(Costs, "member", lambda self, plan: {"a": 1.0, "b": 1e6}[plan.name])
    done = search_plans(plans, DATA, trials=FIRST + 3, split=hold_out(), retrain=None)
    assert shares(done.trials[:FIRST]) == [30, 2] and shares(done.trials[FIRST:]) == [3, 0]


def test_a_plan_that_is_surely_behind_falls_by_a_rank_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of the plans' best trials and their standard error against the shares of 100 later trials."""
    plans = [small_plan(name, hidden=5 + i) for i, name in enumerate("abc")]
    done = search_plans(plans, DATA, trials=3, split=hold_out(), retrain=None)
    engine: Any = engine_module.Engine.__new__(engine_module.Engine)
    engine.plans, engine.metric, engine.race, engine._order, engine._behind = [t.config.plan for t in done.trials], done.metric, None, None, set()
    engine.settings, engine.costs, engine.trials, engine.resting = SimpleNamespace(sign=1.0), Costs(engine.plans), done.trials, set()
    engine.crew, engine.folds, engine.costs.holds = None, [()], dict.fromkeys("abc", 1000)
    assert [t.config.plan.name for t in done.trials] == ["a", "b", "c"]
    for scores, error, expected in (((0.9, 0.85, 0.8), 0.2, (72, 22, 6)), ((0.9, 0.85, 0.8), 0.07, (76, 22, 2)), ((0.8, 0.85, 0.9), 0.01, (2, 8, 90))):
        for trial, score in zip(done.trials, scores, strict=True):
            for outcome in trial.outcomes:
                outcome.history[trial.best].update(validation_score=score, validation_se=error)
        engine._order = None
        assert tuple(engine.shares(100)) == expected


def test_without_a_measurement_the_first_wave_has_equal_shares() -> None:
    plans = [small_plan("a"), small_plan("b", hidden=5)]
    done = search_plans(plans, DATA, trials=12, split=hold_out(), retrain=None)
    assert [sum(t.config.plan.name == plan.name for t in done.trials) for plan in plans] == [6, 6]


def test_progress_is_told() -> None:
    told = Interrupt(-1)
    found = find(on_progress=told)
    phases = list(dict.fromkeys(r["phase"] for r in told.reports))
    assert phases == ["round 1", "search done", "refit", "control", "scoring"]
    assert sum(r["phase"] == "refit" for r in told.reports) > 1 and sum(r["phase"] == "control" for r in told.reports) > 1
    done = [r["done"] for r in told.reports]
    assert done == sorted(done) and done[0] >= 0 and done[-1] < 1
    assert {(r["trials"], r["metric"], r["left"]) for r in told.reports} == {(8, "accuracy", math.inf)}
    assert told.reports[-1]["best"] == found.winner.score


def test_budget_in_seconds_ends_by_itself() -> None:
    told = Interrupt(-1)
    found = find(trials=None, budget="3s", on_progress=told)
    assert found.ended == "done"
    assert told.reports[0]["phase"] == "measuring"
    assert len(found.trials) >= 4
    assert found.rungs and [r["round"] for r in found.rungs] == sorted(r["round"] for r in found.rungs)
    assert all(1 <= r["kept"] <= r["members"] and r["epoch"] >= 1 for r in found.rungs)
    assert all("a longer budget may do better" in note for note in found.notes if "epochs" in note)
    assert found.score["low"] <= found.score["value"] <= found.score["high"]
    assert {t.status.split(" ")[0].rstrip(":") for t in found.trials} <= {"finished", "stopped", "dropped", "out", "not"}
    assert max(r["left"] for r in told.reports) <= 3.0


@pytest.mark.parametrize("budget", [0.01, 0.3])
@pytest.mark.parametrize("late", [False, True])
def test_a_budget_that_ends_before_the_first_evaluation_still_gives_a_network(budget: float, late: bool) -> None:
    """Also where the time was over before the search began."""
    clock = Clock(budget, time.monotonic() - 60) if late else None
    found = find(trials=None, budget=budget, refits=4, clock=clock)
    assert found.ended == "done" and found.winner.score == found.winner.score and found.score["low"] <= found.score["value"]
    if late:
        assert len(found.trials[-1].history()) == 1 and found.refit.how == "none"
        (said,) = [note for note in found.notes if "before a network was evaluated" in note]
        assert said.endswith("; a larger budget tries more")
        assert not any("before a network was evaluated" in note for note in find(trials=None, budget="5s").notes)


@pytest.mark.parametrize("trials", [0, -1, 1.5, True, "3"])
def test_numbers_of_trials_that_cannot_be(trials: Any) -> None:
    with pytest.raises(ConfigError, match=r"Expected `trials` of search to be a whole number in \[1, inf\), got"):
        find(trials=trials)


def test_other_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Expected `retrain` of search to be 'same_epochs', 'same_steps' or None, got 'all'"):
        find(retrain="all")
    with pytest.raises(ConfigError, match=r"Expected `budget`"):
        find(budget="soon")
    with pytest.raises(ConfigError, match=r"Expected `metric` for classification to be one of accuracy, .* got 'rmse'"):
        find(metric="rmse")


# Anyone's own network


def mlp(data: Any) -> nn.Module:
    return tp.nets.MLP(data.in_features, data.out_features, hidden=(6,))


def test_two_heads_are_judged_by_their_mean_score() -> None:
    X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    data = as_dataset(X, {"a": X[:, 0], "b": (X[:, 1] > 0).long()})
    assert isinstance(data.task, dict)

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 1), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": self.a(x), "b": self.b(x)}

    found = tp.search(lambda data: Heads(), data, trials=2, epochs=1)
    assert found.score["value"] == pytest.approx((found.scores["a: r2"]["value"] + found.scores["b: accuracy"]["value"]) / 2)


@pytest.mark.parametrize(("made", "name"), [(None, "NoneType"), (nn.Linear, "type"), ({"net": 1}, "dict")])
def test_build_must_return_a_module(made: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"Expected `build` to return an nn\.Module, got {name}\."):
        tp.search(lambda data: made, DATA, trials=2)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def test_a_conv_net_of_ones_own() -> None:
    generator = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = (generator.normal(size=(60, 1, 5, 5)) + 1.5 * y[:, None, None, None]).astype(np.float32)
    calls: list[int] = []

    def build(data: tp.data.Dataset) -> nn.Module:
        calls.append(data.out_features)
        assert data.in_shape == (1, 5, 5)
        return Own()

    found = tp.search(build, (X, y), trials=2, epochs=2, batch_size=16, lr=(0.05, 0.1), use=["L2"])
    assert found.winner.population is not None
    assert "loop, one after another" in found.winner.population.plan()
    assert isinstance(found.model, Own) and not found.model.training
    assert set(calls) == {2} and len(calls) >= 3
    assert "l2.lam" in found.winner.config.strengths
    assert found.winner.config.plan.network == "Own"
    assert found.score["value"] > 0.5
    assert found.model(torch.from_numpy(X)).shape == (60, 2)


def test_plan_of_ones_own_network() -> None:
    (plan,) = network_plans(mlp, DATA, use=["L1"], without=["MixUp"], batch_size=8, epochs=5, lr=(0.1, 0.2))
    assert (plan.batch_size, plan.epochs, plan.lr, plan.network, plan.spec) == (8, 5, (0.1, 0.2), "MLP", None)
    assert "l1" in plan.cocktail.labels and "mixup" not in plan.cocktail.labels
    assert same_bits(plan.build(3), plan.build(3))
    assert not same_bits(plan.build(3), plan.build(4))


def test_a_loss_of_ones_own_and_regression() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 3)).astype(np.float32)
    y = X @ np.array([1.0, -1.0, 0.5], dtype=np.float32)
    found = tp.search(mlp, (X, y), trials=2, epochs=3, criterion=lambda out, target: (out - target).abs().mean(), metric="mae")
    assert found.metric.name == "mae"
    assert found.winner.score == min(t.score for t in found.trials)
    assert set(found.scores) == {"rmse", "mae", "r2"}
    losses = [row["validation_loss"] for row in found.winner.history()]
    assert losses == pytest.approx([row["validation_score"] for row in found.winner.history()], rel=1e-4)


def test_rows_without_a_target_are_not_scored() -> None:
    X = DATA.x
    assert isinstance(X, Tensor) and isinstance(DATA.y, Tensor)
    y = DATA.y.argmax(1).double().numpy().astype(object)
    y[::4] = None
    found = tp.search(mlp, as_dataset(X, y, task="classification"), trials=2, epochs=2)
    held = found.split.test
    assert len(held) and not set(held.tolist()) & set(range(0, 90, 4))
    assert not any(set(validation.tolist()) & set(range(0, 90, 4)) for _, validation in found.split.folds)
    assert 0 <= found.score["value"] <= 1


def test_the_gap_is_of_rows_with_a_target() -> None:
    """Also where a data set of one's own has no number in place of a missing one."""
    X = DATA.x
    assert isinstance(X, Tensor)
    known = torch.arange(90) % 4 > 0
    data = Dataset(X, torch.where(known.unsqueeze(1), X[:, :1], torch.nan), "regression", labeled=known)
    found = tp.search(lambda rows: MLP(3, 1, hidden=(4,)), data, trials=2, epochs=2)
    assert all(math.isfinite(value) for part in ("with", "without") for value in found.gap[part].values())
