"""tp.fit: the best state on every exit, retraining, settings."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.data.dataset import Dataset
from temperance.train.fitting import Fit
from temperance.train.member import Member
from temperance.train.metrics import metric_for
from temperance.train.population import Population
from temperance.train.retrain import concatenate, retrain_member, steps_for

RULE = tp.EarlyStopping(patience="3 evals", optimum=False)


def problem(n: int = 60, seed: int = 0) -> Dataset:
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 5, generator=g)
    y = ((X[:, 0] + 0.5 * X[:, 1] + torch.randn(n, generator=g)) > 0).long()
    return Dataset(X, torch.eye(2)[y], "classification", classes=(0, 1))


TRAIN, HELD = problem(), problem(40, 1)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))


def fit(cocktail: Any = None, **settings: Any) -> Fit:
    given: dict[str, Any] = {
        "validation": HELD,
        "optimizer": tp.optim.SGD(0.3, 0.9),
        "epochs": 10,
        "batch_size": 10,
        "metric": "log_loss",
        "early_stopping": RULE,
    }
    return tp.fit(network(), tp.Cocktail(tp.EMA(0.6)) if cocktail is None else cocktail, TRAIN, **{**given, **settings})


def log_loss(model: nn.Module, data: Dataset = HELD) -> float:
    with torch.no_grad():
        p = torch.softmax(model.eval()(data.x), -1)
    assert isinstance(data.y, Tensor)
    return float(metric_for("log_loss", "classification")(p, data.y, torch.ones(len(data))))


def assert_best(done: Fit) -> None:
    """The model's score is the logged one, and no check had a better one."""
    outcome = done.outcomes[done.best]
    scores = [row["validation_score"] for row in outcome.history]
    assert outcome.score == min(scores) == scores[outcome.best]
    assert log_loss(done.model) == pytest.approx(outcome.score, rel=1e-5)


# Every exit


def test_exit_by_patience() -> None:
    done = fit(epochs=40)
    assert done.outcomes[0].status == "stopped: no improvement for 3 evals" and done.ended == "done"
    assert done.outcomes[0].steps == done.outcomes[0].history[-1]["step"] < 240
    assert done.outcomes[0].best == len(done.outcomes[0].history) - 4
    assert_best(done)


@pytest.mark.parametrize("stopping", [None, tp.EarlyStopping(patience="99 evals")])
def test_exit_by_steps(stopping: Any) -> None:
    done = fit(early_stopping=stopping, epochs=8)
    assert (done.outcomes[0].status, done.ended) == ("finished", "done") and done.outcomes[0].steps == 48
    assert_best(done)


def test_exit_by_deadline() -> None:
    deadline = time.monotonic() + 1.0

    def slow(population: Population) -> None:
        if len(population.outcomes[0].history) == 3:
            time.sleep(max(0.0, deadline - time.monotonic()))

    done = fit(deadline=deadline, on_progress=slow, early_stopping=None, epochs=2000)
    steps = done.outcomes[0].steps
    assert (done.outcomes[0].status, done.ended) == (f"stopped by the deadline after {steps} of 12000 steps", "deadline")
    assert steps < 12000 and done.outcomes[0].history[-1]["step"] == steps
    assert_best(done)


def interrupt_at(check: int) -> Any:
    def on_check(population: Population) -> None:
        if sum(len(o.history) for o in population.outcomes) >= check:
            raise KeyboardInterrupt

    return on_check


@pytest.mark.parametrize("at", [1, 4])
def test_exit_by_interruption(at: int) -> None:
    done = fit(on_progress=interrupt_at(at), early_stopping=None)
    assert (done.outcomes[0].status, done.ended) == (f"interrupted after {6 * at} of 60 steps", "interrupted") and len(done.outcomes[0].history) == at
    assert_best(done)


def test_interrupted_before_the_first_check() -> None:
    class Stubborn(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            if self.training and len(input) == 10:
                CALLS.append(1)
                if len(CALLS) > 1:  # the first two steps run the function: from the third on its graph may be replayed
                    raise KeyboardInterrupt
            return super().forward(input)

    CALLS: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        tp.fit(Stubborn(nn.Linear(5, 2)), tp.Cocktail(), TRAIN, validation=HELD, batch_size=10)


def test_exit_by_divergence() -> None:
    """A schedule that blows up late: the best state from before is kept, and told."""

    def spoil(population: Population) -> None:
        if population.chunks and population.chunks[0].group.step == 24:
            population.chunks[0].group.hypers["lr"] *= 1e30

    done = fit(on_progress=spoil, early_stopping=None)
    assert done.outcomes[0].status.startswith("diverged at step ")
    assert_best(done)


def test_everyone_diverged() -> None:
    with pytest.raises(tp.ConfigError, match=r"^No member of the population can be used: diverged at step 1: the loss is not finite\. Lower the learning rate"):
        fit(optimizer=tp.optim.SGD(1e30), cocktail=[tp.Cocktail(), tp.Cocktail()])


def test_one_that_diverged_is_not_chosen() -> None:
    """Also where nothing is validated and the first member is the one that cannot be used."""
    members = [Member(tp.Cocktail(), tp.optim.SGD(1e30)), Member(tp.Cocktail(), tp.optim.SGD(0.1))]
    for validation in (HELD, None):
        done = fit(members, validation=validation)
        assert done.best == 1 and all(torch.isfinite(t).all() for t in done.model.state_dict().values())


def test_divergence_after_the_last_check_is_found() -> None:
    """A run that ends between two checks does not hand over weights that are not finite."""
    made = Population(network(), [Member(tp.Cocktail(), tp.optim.SGD(0.1))], TRAIN, HELD, batch_size=10, total_steps=100, check_every=5)
    made.run(8)
    made.chunks[0].group.arena.flat[0, 0] = float("nan")
    outcome = made.end()[0]
    assert outcome.status == "diverged at step 8: the weights are not finite"
    assert outcome.usable and all(torch.isfinite(t).all() for t in made.model(0).state_dict().values())


def test_the_best_of_equal_scores_has_the_lower_loss() -> None:
    done = fit(metric="accuracy", early_stopping=None, epochs=20)
    history, best = done.outcomes[0].history, done.outcomes[0].best
    top = max(row["validation_score"] for row in history)
    assert history[best]["validation_score"] == top
    assert history[best]["validation_loss"] == min(row["validation_loss"] for row in history if row["validation_score"] == top)


def test_no_check_counts_before_the_end() -> None:
    """With start_from beyond the run, or a score that is never a number, the final state is what there is."""
    done = fit(early_stopping=tp.EarlyStopping(start_from=99.0), epochs=3)
    assert done.outcomes[0].best == -1 and done.outcomes[0].state is done.outcomes[0].final
    one_class = HELD.take(torch.as_tensor(HELD.y)[:, 0].nonzero().squeeze(1))
    done = fit(validation=one_class, metric="auc", epochs=3)
    assert done.outcomes[0].usable and done.outcomes[0].steps == 18


def test_the_given_network_is_not_changed() -> None:
    net = network()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    net.eval()
    tp.fit(net, tp.Cocktail(tp.Dropout(0.3)), TRAIN, epochs=2, batch_size=10)
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())
    assert not net.training and not any(m._forward_hooks for m in net.modules())


def test_the_model_is_the_users_network() -> None:
    """Own dropout and type come back; the weights are the trained ones."""
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    done = tp.fit(net, tp.Cocktail(), TRAIN, epochs=2, batch_size=10)
    assert isinstance(done.model[2], nn.Dropout) and not done.model.training  # type: ignore[index]
    assert "absorbed_2" in done.plan
    assert list(done.model.state_dict()) == list(net.state_dict())


def test_looking_at_a_model_does_not_disturb_training() -> None:
    """module() in a callback leaves masks and hooks of the run in place."""
    cocktail = tp.Cocktail(tp.Dropout(0.5))
    results = [fit(cocktail, on_progress=on_check, epochs=4, early_stopping=None).model.state_dict() for on_check in (None, lambda p: p.model(0))]
    assert all(torch.equal(a, b) for a, b in zip(results[0].values(), results[1].values(), strict=True))


# Data


def test_validation_classes_are_those_of_the_training_rows() -> None:
    """A validation set that lacks a class, or has them in another order, is read with the training labels."""
    X, y = np.random.default_rng(0).normal(size=(60, 5)), np.array(["a", "b", "c"] * 20)
    held = (X[y != "b"][:20], y[y != "b"][:20])
    net = nn.Linear(5, 3)
    done = tp.fit(net, tp.Cocktail(), (X, y), validation=held, epochs=2, batch_size=10, metric="accuracy", early_stopping=None)
    with torch.no_grad():
        hit = np.array(["a", "b", "c"])[done.model(torch.as_tensor(held[0]).float()).argmax(1)] == held[1]
    assert done.outcomes[0].score == pytest.approx(hit.mean())


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.5])
def test_bad_shares(bad: float) -> None:
    with pytest.raises(tp.ConfigError, match=r"^Expected `validation` of fit to be a share"):
        fit(validation=bad)


@pytest.mark.parametrize("bad", ["data", [1, 2, 3], 7])
def test_bad_data(bad: Any) -> None:
    with pytest.raises(tp.ConfigError, match=r"^Expected `data` of fit to be a Dataset or a pair \(X, y\)"):
        tp.fit(network(), tp.Cocktail(), bad)


def test_weights_of_the_validation_rows_have_no_unit() -> None:
    """Losses are means: weights of 100 are weights of 1."""
    results = [fit(validation=replace(HELD, weight=torch.full((40,), w)), epochs=2).outcomes[0].history for w in (1.0, 100.0)]
    assert results[0] == results[1]


def test_a_loss_of_ones_own() -> None:
    """Scores come from probabilities all the same; weights and missing targets are refused, because one number cannot take them."""

    def mine(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(out, y)

    own, known = (fit(criterion=c, early_stopping=None, epochs=3) for c in (mine, nn.CrossEntropyLoss()))
    assert own.outcomes[0].score == pytest.approx(known.outcomes[0].score, rel=1e-4)
    members = [Member(tp.Cocktail(), tp.optim.SGD(0.1), rows=a, validation=b) for a, b in ((range(30), range(30, 60)), (range(20, 60), range(20)))]
    for i, score in enumerate(o.history[-1]["validation_loss"] for o in fit(members, criterion=mine, validation=None, epochs=2, early_stopping=None).outcomes):
        same = fit(members, validation=None, epochs=2, early_stopping=None).outcomes[i].history[-1]["validation_loss"]
        assert score == pytest.approx(same, rel=1e-4)
    for changes in ({"weight": torch.ones(60)}, {"labeled": torch.ones(60, dtype=torch.bool)}):
        with pytest.raises(tp.ConfigError, match=r"^A loss of your own gives one number"):
            tp.fit(network(), tp.Cocktail(), replace(TRAIN, **changes), criterion=mine)


TRIPLE = torch.arange(60) % 3
LOSSES_OF_TORCH = {
    "weight": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0])), TRIPLE),
    "label_smoothing": (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]), label_smoothing=0.2), TRIPLE),
    "sum": (nn.CrossEntropyLoss(reduction="sum"), TRIPLE),
    "pos_weight": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 5.0])), torch.eye(3)[TRIPLE]),
    "delta": (nn.HuberLoss(delta=0.1), torch.eye(3)[TRIPLE]),
}


@pytest.mark.parametrize("name", LOSSES_OF_TORCH)
def test_the_options_of_a_loss_of_torch_are_those_of_a_loop_of_torch(name: str) -> None:
    """With row weights too, of which none is left out and only ratios count: rows of weight two are there twice."""
    criterion, y = LOSSES_OF_TORCH[name]
    data = Dataset(TRAIN.x, torch.eye(3)[TRIPLE], "classification", classes=(0, 1, 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Linear(5, 3)
    rate = 0.001 if name == "sum" else 0.1

    def trained(rows: Dataset) -> nn.Module:
        settings: dict[str, Any] = {"validation": None, "early_stopping": None, "steps": 5, "batch_size": len(rows)}
        return tp.fit(net, tp.Cocktail(), rows, criterion=criterion, optimizer=tp.optim.SGD(rate), **settings).model

    loop = nn.Linear(5, 3)
    loop.load_state_dict(net.state_dict())
    optimizer = torch.optim.SGD(loop.parameters(), lr=rate)
    for _ in range(5):
        optimizer.zero_grad()
        criterion(loop(data.x), y).backward()
        optimizer.step()
    for weight in (None, torch.full((60,), 10.0)):
        torch.testing.assert_close(dict(trained(replace(data, weight=weight)).state_dict()), dict(loop.state_dict()))
    if name not in ("sum", "weight", "label_smoothing"):  # whose divisor is another where the classes of rows of one weight are unlike
        twice = 1 + (torch.arange(60) < 20).long()
        repeated = data.take(torch.arange(60).repeat_interleave(twice))
        torch.testing.assert_close(dict(trained(replace(data, weight=3.0 * twice)).state_dict()), dict(trained(repeated).state_dict()))


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (nn.CrossEntropyLoss(ignore_index=1), r"^Expected `ignore_index` of CrossEntropyLoss to be negative, got 1\. .*Dataset\(labeled=\.\.\.\)"),
        (nn.CrossEntropyLoss(reduction="none"), r"^Expected `reduction` of CrossEntropyLoss to be 'mean' or 'sum', got 'none'"),
        (nn.MultiMarginLoss(), r"^MultiMarginLoss has no form for soft targets"),
        (nn.KLDivLoss(log_target=True), r"^Expected `log_target` of KLDivLoss to be False"),
    ],
)
def test_what_the_trainer_cannot_use_of_a_loss_of_torch_is_refused(criterion: Any, message: str) -> None:
    with pytest.raises(tp.ConfigError, match=message):
        fit(criterion=criterion)


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(tp.DataError, match=r"^Expected row weights of which some are above 0"):
        tp.fit(network(), tp.Cocktail(), replace(TRAIN, weight=torch.zeros(60)))


def test_folds_stop_early_without_common_validation_rows() -> None:
    members = tp.ensemble.folds(Member(tp.Cocktail(), tp.optim.SGD(0.3, 0.9)), [(range(40), range(40, 60)), (range(20, 60), range(20))])
    done = fit(members, validation=None, epochs=60)
    assert all(o.status.startswith("stopped") for o in done.outcomes)


def test_a_state_of_another_network_is_refused() -> None:
    state = {"net.0.weight": torch.zeros(16, 5)}
    with pytest.raises(tp.ConfigError, match=r"^Expected `initial` of Member b to be a state of the network, got 'net.0.weight'"):
        fit([Member(tp.Cocktail(), initial=state, name="b")])


def test_members_start_from_their_own_state() -> None:
    state = {name: t + 1 if t.is_floating_point() else t for name, t in network().state_dict().items()}
    made = Population(network(), [Member(), Member(initial=state)], TRAIN, batch_size=10, total_steps=5)
    group = made.chunks[0].group
    for views in group.arena.views.values():
        torch.testing.assert_close(views[1], views[0] + 1)


def test_frozen_parameters_stay() -> None:
    net = network()
    net[0].weight.requires_grad_(False)  # type: ignore[union-attr,index]
    done = tp.fit(net, tp.Cocktail(tp.L2(0.1), tp.MaxNorm(0.5), tp.EMA(0.5)), TRAIN, epochs=2, batch_size=10)
    assert torch.equal(done.model.state_dict()["0.weight"], net.state_dict()["0.weight"])
    assert not torch.equal(done.model.state_dict()["3.weight"], net.state_dict()["3.weight"])


# Retraining


def test_same_steps_and_same_epochs() -> None:
    for how in ("same_steps", "same_epochs"):
        done = fit(retrain=how, early_stopping=None, epochs=6)
        again, outcome = done.retrained, done.outcomes[0]
        assert again is not None and again.how == how and again.reached
        expected = outcome.best_step if how == "same_steps" else max(1, round(outcome.best_epoch * 100 / 10))
        assert again.steps == expected
        assert done.model is again.model
        whole = tp.fit(
            network(), tp.Cocktail(tp.EMA(0.6)), concatenate(TRAIN, HELD), validation=None, optimizer=tp.optim.SGD(0.3, 0.9), steps=expected, batch_size=10
        )
        for name, t in whole.model.state_dict().items():
            torch.testing.assert_close(again.model.state_dict()[name], t)


def test_a_schedule_goes_as_far_as_it_had_gone() -> None:
    schedule = tp.schedules.Linear(0.3)
    done = fit(optimizer=tp.optim.SGD(schedule), retrain="same_epochs", early_stopping=None, epochs=6, cocktail=tp.Cocktail())
    assert done.retrained is not None
    first = next(row for row in done.outcomes[0].history if row["step"] == done.outcomes[0].best_step)
    assert done.retrained.outcome.history[-1]["learning_rate"] == pytest.approx(first["learning_rate"], rel=1e-6)


@pytest.mark.parametrize("length", [1.0, 0.6])
def test_until_the_training_loss_goes_on_with_the_schedules(length: float) -> None:
    """The learning rate, and a strength, go on from where they stood at the best state; from the end of the schedules they stay."""
    first = tp.Member(tp.Cocktail(tp.L2(tp.schedules.Linear(0.02, end=0.0))), tp.optim.SGD(tp.schedules.Linear(0.05)), length=length)
    done = fit([first], retrain="until_train_loss", early_stopping=None, epochs=5)
    again = done.retrained
    assert again is not None and again.outcome.history
    planned, best, seen = round(30 * length), done.outcomes[0].best_step, []
    for row in again.outcome.history:
        progress = min((best + row["step"]) / planned, 1.0)
        assert row["learning_rate"] == pytest.approx(0.05 * (1 - progress), rel=1e-6, abs=1e-9)
        seen.append(progress)
    assert seen[0] > best / planned or best == planned
    group = Population(network(), [replace(first, schedule=(0.25, 0.75), length=1.0)], TRAIN, batch_size=10, total_steps=8).chunks[0].group
    group.step = 4
    assert float(group.progress()) == 0.5
    group.step = 8
    assert float(group.progress()) == 0.75


def test_until_the_training_loss_goes_on_from_the_best_state() -> None:
    """Not from the last one: with steps too small to move a weight it ends where the first run was best, which lies before the end."""
    done = fit(early_stopping=None, epochs=12, cocktail=tp.Cocktail())
    outcome = done.outcomes[0]
    assert outcome.state is not None and outcome.final is not None and outcome.best_step < outcome.steps
    still = Member(tp.Cocktail(), tp.optim.SGD(1e-30))
    again = retrain_member(network(), still, outcome, TRAIN, HELD, how="until_train_loss", batch_size=10, total_steps=72)
    assert again.steps > 0
    weights = {name for name, _ in network().named_parameters()}
    for name, value in again.model.state_dict().items():
        if name in weights:
            assert torch.equal(value, outcome.state[name])
    assert any(not torch.equal(outcome.state[name], outcome.final[name]) for name in weights)


def test_a_loss_at_its_target_needs_no_step() -> None:
    """Where the validation rows are fitted as well as the training rows, the best state is the result."""
    done = fit(validation=TRAIN, early_stopping=None, epochs=4, cocktail=tp.Cocktail(), retrain="until_train_loss")
    again = done.retrained
    assert again is not None and again.reached and again.steps == 0 and again.outcome.status == "reached the training loss"
    state = done.outcomes[0].state
    assert state is not None and all(torch.equal(t, state[name]) for name, t in again.model.state_dict().items())


def test_until_the_training_loss_is_reached() -> None:
    done = fit(
        retrain="until_train_loss",
        early_stopping=tp.EarlyStopping(patience="2 evals", optimum=False),
        epochs=30,
        optimizer=tp.optim.SGD(0.05),
        cocktail=tp.Cocktail(),
    )
    again = done.retrained
    assert again is not None and again.reached
    target = done.outcomes[0].history[done.outcomes[0].best]["train_loss"]
    history = again.outcome.history
    assert history[-1]["validation_loss"] <= target
    assert all(row["validation_loss"] > target for row in history[:-1])
    assert again.steps == history[-1]["step"] and again.outcome.status == "reached the training loss"
    assert log_loss(again.model) <= target + 1e-5


def test_until_the_training_loss_is_capped() -> None:
    """Noise that no network can fit away: the run ends at twice the steps of the first one."""
    g = torch.Generator().manual_seed(3)
    noise = Dataset(torch.zeros(40, 5), torch.eye(2)[torch.randint(0, 2, (40,), generator=g)], "classification")
    done = fit(validation=noise, retrain="until_train_loss", epochs=5, early_stopping=None, cocktail=tp.Cocktail())
    again = done.retrained
    assert again is not None and not again.reached
    assert again.steps == 2 * done.outcomes[0].best_step


def test_a_retraining_that_diverges_ships_the_first_run() -> None:
    done = fit(early_stopping=None, epochs=3)
    member = Member(tp.Cocktail(), tp.optim.SGD(1e30))
    for how in ("same_steps", "until_train_loss"):
        again = retrain_member(network(), member, done.outcomes[0], TRAIN, HELD, how=how, batch_size=10, total_steps=100)
        assert not again.reached and again.outcome.status.startswith("diverged")
        assert log_loss(again.model) == pytest.approx(done.outcomes[0].score, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"retrain": "again"}, "`retrain` of fit to be one of 'same_epochs'"), ({"retrain": "same_steps", "validation": None}, "`retrain` of fit to be None")],
)
def test_bad_retraining(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(tp.ConfigError, match=f"^Expected {message}"):
        fit(epochs=1, **settings)


def test_history_holds_every_check() -> None:
    done = fit(tp.Cocktail(tp.L2()).grid(l2__lam=[1e-4, 1e-2]), epochs=3, early_stopping=None)
    frame = done.history
    assert list(frame["step"]) == [6, 12, 18] * 2 and list(frame["epoch"]) == [1.0, 2.0, 3.0] * 2
    assert {"loss_running", "penalty_l2", "train_loss", "train_score", "validation_loss", "validation_score", "learning_rate", "member", "name"} <= set(frame)
    assert (frame.loc[frame["member"] == 1, "penalty_l2"].to_numpy() > 10 * frame.loc[frame["member"] == 0, "penalty_l2"].to_numpy()).all()
    net = done.member(1)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net(TRAIN.x), torch.as_tensor(TRAIN.y))
    best = done.outcomes[1].history[done.outcomes[1].best]
    assert best["train_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_a_saved_run_is_refused_by_another(tmp_path: Any) -> None:
    made = Population(network(), [Member()], TRAIN, batch_size=10, total_steps=5)
    with pytest.raises(tp.ConfigError, match=r"^Expected a saved population in .*found no population\.json"):
        tp.train.load_population(made, tmp_path)
    tp.train.save_population(made, tmp_path)
    with pytest.raises(tp.ConfigError, match=r"^Expected a population of 2 members .*got one of 1"):
        tp.train.load_population(Population(network(), [Member(), Member()], TRAIN, batch_size=10, total_steps=5), tmp_path)


def test_nobody_trains() -> None:
    with pytest.raises(tp.ConfigError, match="at least one Member"):
        Population(network(), [], TRAIN)


# Settings that cannot work


@pytest.mark.parametrize("name", ["rows", "validation"])
@pytest.mark.parametrize(("rows", "got"), [([], "none"), ([0, 60], "from 0 to 60"), ([-1, 3], "from -1 to 3")])
def test_rows_that_the_data_has_not(name: str, rows: list[int], got: str) -> None:
    member = replace(Member(rows=[1, 2], validation=[3], name="m"), **{name: rows})
    with pytest.raises(tp.ConfigError, match=rf"^Expected `{name}` of Member m to be positions from 0 to 59, got .*{got}"):
        fit([member], validation=None)


def test_rows_of_members_and_a_share_do_not_go_together() -> None:
    with pytest.raises(tp.ConfigError, match=r"^Expected `validation` of fit to be None, a Dataset or a pair .* got 0\.2\. A share would be cut off"):
        fit([Member(rows=[1, 2, 3])], validation=0.2)


@pytest.mark.parametrize("name", ["batch_size", "total_steps"])
def test_sizes_below_one(name: str) -> None:
    settings: dict[str, Any] = {name: 0}
    with pytest.raises(tp.ConfigError, match=rf"^Expected `{name}` of Population to be a whole number in \[1, inf\), got 0"):
        Population(network(), [Member()], TRAIN, **settings)


def test_a_torch_loss_of_a_population() -> None:
    made = [
        Population(network(), [Member(optimizer=tp.optim.SGD(0.1))], TRAIN, criterion=c, batch_size=10, total_steps=4).run()[0]
        for c in (None, nn.CrossEntropyLoss())
    ]
    assert made[0].final is not None and made[1].final is not None
    assert all(torch.equal(made[0].final[name], made[1].final[name]) for name in made[0].final)


def test_label_smoothing_knows_the_task_behind_a_loss_of_ones_own() -> None:
    """Each label is a choice of two, however many labels there are."""
    data = Dataset(torch.randn(40, 5, generator=torch.Generator().manual_seed(0)), (torch.arange(120).reshape(40, 3) % 2).float(), "multilabel")
    cocktail = tp.Cocktail(tp.LabelSmoothing(0.2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Linear(5, 3)
    mean_of_outputs = nn.BCEWithLogitsLoss()
    own = tp.fit(net, cocktail, data, validation=None, criterion=mean_of_outputs, optimizer=tp.optim.SGD(0.3), steps=5, batch_size=40).model
    known = tp.fit(net, cocktail, data, validation=None, optimizer=tp.optim.SGD(0.1), steps=5, batch_size=40).model  # a sum over three outputs
    loop = nn.Linear(5, 3)
    loop.load_state_dict(net.state_dict())
    optimizer = torch.optim.SGD(loop.parameters(), lr=0.3)
    reg = cocktail.attach(loop, optimizer, mean_of_outputs)
    for _ in range(5):
        reg.loss(data.x, data.y).backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, t in known.state_dict().items():
        torch.testing.assert_close(own.state_dict()[name], t)
        torch.testing.assert_close(loop.state_dict()[name], t)


@pytest.mark.parametrize(("how", "steps"), [("same_epochs", 50), ("same_steps", 12)])
def test_steps_of_a_second_run(how: str, steps: int) -> None:
    """Two and a half passes over 200 rows in tens, or as many steps as before."""
    assert steps_for(how, best_step=12, best_epoch=2.5, rows=200, batch_size=10) == steps
