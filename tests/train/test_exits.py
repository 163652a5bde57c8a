"""No exit hands back weights that were never trained, or never judged, as if they were a result."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.train.test_fit import HELD, TRAIN, assert_best, fit, network

import temperance as tp
from temperance.core.interrupts import postponed
from temperance.train import grouping as planning
from temperance.train.chunk import Chunk
from temperance.train.compiled import compiler_missing
from temperance.train.group import Group
from temperance.train.kernel import Kernel
from temperance.train.member import Member
from temperance.train.population import Population
from temperance.train.retrain import retrain_member

PAST = -1.0
THREE = [tp.Cocktail(tp.L2(0.01)), tp.Cocktail(tp.Dropout(0.1)), tp.Cocktail()]  # three programs: one is trained after another


def is_start(model: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(model.parameters(), network().parameters(), strict=True))


@pytest.mark.parametrize("validation", [HELD, None])
def test_a_deadline_that_is_over_leaves_one_step_and_one_check(validation: Any) -> None:
    done = fit(deadline=time.monotonic() + PAST, validation=validation)
    (outcome,) = done.outcomes
    assert (outcome.status, done.ended) == ("stopped by the deadline after 1 of 60 steps", "deadline")
    assert outcome.steps == 1 and [row["step"] for row in outcome.history] == [1]
    assert not is_start(done.model)
    assert "1 of 1 members: stopped by the deadline after 1 of 60 steps" in done.plan
    if validation is not None:
        assert_best(done)


def test_a_check_and_the_network_it_finds_best_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt between the two would leave the score of a network that was not kept."""
    kept: list[bool] = []
    judge = Chunk._judge

    def judged(self: Chunk, outcome: Any, *given: Any) -> None:
        kept.append(postponed())
        judge(self, outcome, *given)

    monkeypatch.setattr(Chunk, "_judge", judged)
    done = fit(THREE)  # each check asks as the handler does, and the interrupt comes after it
    assert done.ended == "interrupted" and kept and all(kept)
    assert next((len(o.history), o.best, o.usable) for o in done.outcomes) == (1, 0, True)


def test_members_that_the_deadline_left_out_have_no_state() -> None:
    done = fit(THREE, deadline=time.monotonic() + PAST)
    assert [o.status for o in done.outcomes] == ["stopped by the deadline after 1 of 60 steps", "not started", "not started"]
    assert done.best == 0 and not is_start(done.model)
    for i in (1, 2):
        assert not done.outcomes[i].usable and done.outcomes[i].final is None and done.outcomes[i].steps == 0
        with pytest.raises(tp.ConfigError, match=r"^Member . has no state: not started"):
            done.member(i)
    assert "2 of 3 members: not started" in done.plan


def test_members_that_an_interruption_left_out_have_no_state() -> None:
    def stop(population: Population) -> None:
        raise KeyboardInterrupt

    done = fit(THREE, on_progress=stop, early_stopping=None)
    assert [o.status for o in done.outcomes] == ["interrupted after 6 of 60 steps", "not started", "not started"]
    assert done.best == 0 and done.ended == "interrupted"
    assert_best(done)


def test_a_state_that_was_not_measured_is_measured_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted between two checks without validation rows, what is handed back is what the last row of the history says."""
    step = Group.train_step

    def interrupted(group: Group) -> None:
        if group.step == 8:
            raise KeyboardInterrupt
        step(group)

    monkeypatch.setattr(Group, "train_step", interrupted)
    done = fit(tp.Cocktail(), validation=None)
    (outcome,) = done.outcomes
    assert [row["step"] for row in outcome.history] == [6, 8] and outcome.status == "interrupted after 8 of 60 steps"
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(done.model(TRAIN.x), TRAIN.y)  # type: ignore[arg-type]
    assert outcome.history[-1]["train_loss"] == pytest.approx(float(loss), rel=1e-5)


@pytest.mark.parametrize("how", ["end", "keep"])
def test_populations_that_end_early(how: str) -> None:
    def leave(made: Population) -> None:
        made.end("over") if how == "end" else made.keep([], "over")

    made = Population(network(), [Member(), Member(seed=1)], TRAIN, HELD, batch_size=10, total_steps=60, check_every=20)
    made.run(3)
    leave(made)
    for outcome in made.outcomes:
        assert (outcome.status, outcome.steps, [row["step"] for row in outcome.history], outcome.best) == ("over", 3, [3], 0)
    untouched = Population(network(), [Member()], TRAIN, HELD, batch_size=10, total_steps=60)
    leave(untouched)
    assert untouched.outcomes[0].status == "not started" and not untouched.outcomes[0].usable


def test_who_leaves_unmeasured_is_measured_alone() -> None:
    """The members that go on have the histories and states of those that were never in company."""

    def run(people: list[Member], leaving: bool) -> Any:
        made = Population(network(), people, TRAIN, HELD, batch_size=10, total_steps=12, check_every=6)
        made.run(3)
        if leaving:
            made.keep([0], "over")
        made.run()
        return made.outcomes

    (kept, left), (alone,) = run([Member(), Member(seed=1)], True), run([Member()], False)
    assert kept.history == alone.history and kept.best == alone.best
    assert all(torch.equal(t, alone.state[name]) for name, t in kept.state.items())
    assert [row["step"] for row in left.history] == [3]


@pytest.mark.skipif(bool(compiler_missing()), reason="no C++ compiler is here, and nothing is compiled without one")
def test_a_deadline_too_near_for_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes some ten seconds that nothing can cut short: with less than thirty left steps run as they are, and the plan says so."""
    made: list[Kernel] = []
    monkeypatch.setattr(planning, "seconds_saved", lambda *_: 1e9)
    monkeypatch.setattr(Kernel, "compile", lambda kernel, group: made.append(kernel))
    done = fit(deadline=time.monotonic() + 25.0, epochs=1)
    assert not made and not done.outcomes[0].compiled and done.outcomes[0].status == "finished"
    assert "not compiled: the deadline leaves 2" in done.plan
    fit(deadline=time.monotonic() + 3600.0, epochs=1)
    fit(epochs=1)
    assert len(made) == 2
    Population(network(), [Member()], TRAIN, batch_size=10, total_steps=2, compile=True).run(deadline=time.monotonic() + 1.0)
    assert len(made) == 3


def test_retraining_ends_with_the_time() -> None:
    """Where the first run used it up, or was interrupted, there is none; cut short itself, it ships the best state of the first run."""
    for settings, why in (({"deadline": time.monotonic() + PAST}, "out of time"), ({"on_progress": stop_at_once}, "interrupted")):
        done = fit(retrain="same_steps", **settings)
        assert done.retrained is None and f"not trained again on all rows: {why}" in done.plan
    done = fit(early_stopping=None, epochs=3)
    for how in ("same_steps", "same_epochs"):
        again = retrain_member(network(), Member(), done.outcomes[0], TRAIN, HELD, how=how, batch_size=10, total_steps=18, deadline=time.monotonic() + PAST)
        assert not again.reached and again.outcome.status.startswith("stopped by the deadline after 1 of ")
        assert all(torch.equal(a, b) for a, b in zip(again.model.state_dict().values(), done.model.state_dict().values(), strict=True))


def stop_at_once(population: Population) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_retraining_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("temperance.train.fitting.retrain_member", interrupted)
    done = fit(retrain="same_steps", epochs=2)
    assert done.ended == "interrupted" and done.retrained is None and "not trained again on all rows: interrupted" in done.plan
    assert_best(done)


@pytest.mark.parametrize(
    ("settings", "name"), [({"epochs": 0}, "epochs"), ({"epochs": float("nan")}, "epochs"), ({"epochs": -1.0}, "epochs"), ({"steps": 0}, "steps")]
)
def test_no_training_at_all_is_refused(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(tp.ConfigError, match=f"^Expected `{name}` of fit"):
        fit(**settings)


@pytest.mark.parametrize("schedule", [(0.5, 0.5), (-0.1, 1.0), (0.7, 0.2)])
def test_schedules_go_forward(schedule: tuple[float, float]) -> None:
    with pytest.raises(tp.ConfigError, match=r"^Expected `schedule` of Member"):
        fit([replace(Member(), schedule=schedule)])
