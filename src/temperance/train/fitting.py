"""``tp.fit``: train one network, or a population of them, with given cocktails."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from temperance.core.ambient import plainly
from temperance.core.batch import leaves_of
from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError, expected
from temperance.core.random import Rng, key_of, stream_of
from temperance.core.renamed import renamed
from temperance.core.shown import shown
from temperance.core.torch_losses import trainer_criterion
from temperance.data import as_dataset
from temperance.data.dataset import Dataset
from temperance.train.follow import Followed, as_table, follow
from temperance.train.member import Member
from temperance.train.metrics import better_index
from temperance.train.optimizers import AdamW, Optimizer
from temperance.train.outcome import Outcome, history_frame
from temperance.train.own import check_rows, own_rows
from temperance.train.population import Population
from temperance.train.recipe import Recipe
from temperance.train.retrain import Retrained, retrain_member
from temperance.train.stopping import EarlyStopping
from temperance.train.ways import DEFAULT_MEMORY


@shown
@dataclass(eq=False)
class Fit:
    """What :func:`fit` returns.

    Attributes:
        outcomes: one per member: its history, its best state, how it ended.
        best: the member with the best validation score (the first one where nothing was validated).
        ended: why training ended: ``"done"``, ``"deadline"`` or ``"interrupted"``.
        plan: how the groups trained, and what was cut short.
        retrained: the best member trained again on all rows, if asked for.
        followed: the networks of a recipe, if one was given.
    """

    outcomes: list[Outcome]
    best: int
    ended: str
    plan: str
    population: Population = field(repr=False)
    retrained: Retrained | None = None
    followed: Followed | None = field(default=None, repr=False)

    @property
    def model(self) -> nn.Module:
        """A plain network with the weights to ship: the average of a recipe's, or retrained if that was asked for, else the best state of the best member."""
        if self.followed is not None:
            return self.followed.model
        if self.retrained is not None:
            return self.retrained.model
        return self.population.model(self.best)

    def member(self, index: int) -> nn.Module:
        """A plain network with the best state of one member; of a recipe, one of its networks."""
        if self.followed is not None:
            return self.followed.networks[index]
        return self.population.model(index)

    @property
    def history(self) -> pd.DataFrame:
        """Every check of every member."""
        return history_frame(self.outcomes)


def to_dataset(data: Any, task: str | None = None, classes: Sequence[Any] = ()) -> Dataset:
    """A Dataset from one, or from a pair (X, y), whose classes may be known from other rows."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return as_dataset(data[0], data[1], task=task, classes=classes or None)
    raise ConfigError(
        expected(
            "data",
            "fit",
            "to be a Dataset or a pair (X, y)",
            type(data).__name__,
            "tp.data.as_dataset(X, y) and tp.data.table_dataset(frame, target) make one.",
        )
    )


def hold_out(data: Dataset, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
    """A random split from explicit keys; rows without a target only train."""
    if not 0 < fraction < 1:
        raise ConfigError(expected("validation", "fit", "to be a share of the rows in (0, 1), a Dataset, a pair (X, y) or None", fraction))
    n = len(data)
    order = Rng(key_of(seed), stream_of("hold-out")).permutation(n)
    if data.labeled is None:
        unlabeled = order[:0]
    else:
        known = torch.stack([marks.cpu() for marks in leaves_of(data.labeled)]).any(0)
        order, unlabeled = order[known[order]], torch.nonzero(~known)[:, 0]
    count = max(1, round(fraction * len(order)))
    if len(order) - count < 1:
        some = f"The data has {n} rows" + (f", {len(order)} of them with a target." if len(order) < n else ".")
        raise ConfigError(expected("validation", "fit", "to leave rows to train on", fraction, some))
    return data.take(torch.cat([order[count:], unlabeled]).sort().values), data.take(order[:count].sort().values)


def _timed(members: Sequence[Member], train: Dataset, batch_size: int, epochs: float, steps: int | None) -> tuple[list[Member], int]:
    """The members with their lengths as shares of the longest run, and its steps: epochs are passes over a member's own rows."""
    if steps is None and not 0 < epochs < math.inf:
        raise ConfigError(expected("epochs", "fit", "in (0, inf)", epochs))
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None and value < 1:
            raise ConfigError(expected(name, "fit", "to be a whole number in [1, inf)", value))
    for m in members:
        check_rows(m, len(train))
    counts = [own_rows(m, train) for m in members]
    whole = [steps if steps is not None else max(1, round(epochs * n / min(batch_size, n))) for n in counts]
    planned = [max(1, round(n * m.length)) for n, m in zip(whole, members, strict=True)]
    total = max(planned)
    return [replace(m, length=n / total) for m, n in zip(members, planned, strict=True)], total


@renamed(on_check="on_progress", stopping="early_stopping")
@plainly
def fit(
    model: nn.Module | Callable[[Dataset], nn.Module] | None = None,
    cocktail: Cocktail | Sequence[Cocktail | Member] | None = None,
    data: Any = None,
    *,
    recipe: Any = None,
    validation: Any = 0.2,
    optimizer: Optimizer | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    batch_size: int = 128,
    seed: int | None = None,
    criterion: Any = None,
    metric: str | None = None,
    early_stopping: EarlyStopping | None = EarlyStopping(),  # noqa: B008 -- a frozen value
    retrain: str | None = None,
    check_every: int | None = None,
    memory: str | int = DEFAULT_MEMORY,
    deadline: float | None = None,
    on_progress: Callable[[Population], None] | None = None,
    device: str | torch.device | None = None,
    precision: str = "fp32",
) -> Fit:
    """Train a network with a cocktail, or one copy a cocktail as one batched program; or train the networks of a recipe.

    Args:
        model: the network; it is not changed. Members start from its weights (or from their own ``initial`` state).
        cocktail: one, or a list of cocktails (``cocktail.grid(...)``) or of Members.
        data: a Dataset or a pair (X, y).
        recipe: instead of a network and a cocktail the folder of a fit, its ``cocktail.json`` or a dict: its networks are trained again on all rows of
            ``data``, with its optimizer, epochs and batch size and in the sizes of these rows, and averaged. ``model`` is then the ``build(data)`` of
            a network of your own, else ``None``; ``validation`` may be further rows, which are scored and decide nothing.
        validation: a share of the rows, a Dataset, a pair (X, y), or ``None`` for no validation.
        optimizer: default ``AdamW(1e-3)``.
        epochs: passes of every member over its training rows (default 50), or give ``steps``.
        steps: steps of the optimizer.
        batch_size: rows per step; a member with fewer rows takes all of them.
        seed: of rows, masks and noise (default 0, of a recipe its own); the global generators are left alone.
        criterion: a loss of temperance, a torch loss, or any ``(out, y) -> scalar``; the task's default if not given.
        metric: decides the best state.
        early_stopping: the stopping rule, or ``None`` to train all steps; the best state on the validation rows is returned either way.
        retrain: train the best member again on all rows: ``"same_steps"``, ``"same_epochs"`` or ``"until_train_loss"``; not after an interruption.
        check_every: steps between checks (default: an epoch of the member's rows).
        memory: what the population may plan for, such as ``"4G"``.
        deadline: a ``time.monotonic()`` to end at, compiling included: training stops at the next step, the first one at the earliest, and the state
            is judged. Members that were not started by then have no state.
        on_progress: called with the population after every check.
        device: where the networks train: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one; by default where
            the data are. What comes out is where the data are.
        precision: ``"bf16"`` for products of 16 bits in training, with parameters, moments and losses as they are.

    Returns:
        a :class:`Fit`. Ctrl-C after the first check returns the best so far.

    Raises:
        ConfigError: settings that cannot work.
        KeyboardInterrupt: interrupted before the first check.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> X, y = torch.randn(80, 4).numpy(), torch.arange(80).numpy() % 2
        >>> done = tp.fit(tp.nets.MLP(4, 2, hidden=(8,)), tp.Cocktail(tp.L2(1e-3)).grid(l2__lam=[1e-4, 1e-2]), (X, y), epochs=2)
        >>> len(done.outcomes), type(done.model).__name__
        (2, 'MLP')
    """
    if recipe is not None:
        given = {"cocktail": cocktail, "optimizer": optimizer, "epochs": epochs, "steps": steps, "retrain": retrain, "check_every": check_every}
        given |= {"batch_size": None if batch_size == 128 else batch_size}
        settings = {"seed": seed, "criterion": criterion, "metric": metric, "memory": memory, "deadline": deadline, "on_progress": on_progress}
        settings |= {"device": device, "precision": precision}
        return _by_recipe(Recipe.of(recipe), given, model, data, validation, **settings)
    if not isinstance(model, nn.Module) or cocktail is None or data is None:
        lacking = "model" if not isinstance(model, nn.Module) else "cocktail" if cocktail is None else "data"
        allowed = {"model": "to be an nn.Module", "cocktail": "to be a Cocktail or a list", "data": "to be a Dataset or a pair (X, y)"}[lacking]
        raise ConfigError(expected(lacking, "fit", allowed, {"model": model, "cocktail": cocktail, "data": data}[lacking], "Or give a recipe."))
    seed = 0 if seed is None else seed
    items = [cocktail] if isinstance(cocktail, Cocktail) else list(cocktail)
    _refuse_share(items, validation, retrain)
    train, held = _parted(to_dataset(data), validation, seed)
    if retrain is not None and held is None:
        raise ConfigError(expected("retrain", "fit", "to be None where validation=None", retrain, "There are no rows to add."))
    base = optimizer or AdamW(1e-3)
    members = [item if isinstance(item, Member) else Member(item, base, seed, name=str(i)) for i, item in enumerate(items)]
    members, total = _timed(members, train, batch_size, 50.0 if epochs is None else epochs, steps)
    population = Population(
        model,
        members,
        train,
        held,
        criterion=None if criterion is None else trainer_criterion(criterion),
        metric=metric,
        batch_size=batch_size,
        total_steps=total,
        check_every=check_every,
        early_stopping=None if held is None and all(m.validation is None for m in members) else early_stopping,
        memory=memory,
        device=device,
        precision=precision,
    )
    done = _run(population, deadline, on_progress)
    if retrain is not None and held is not None and done.ended == "done":
        settings: dict[str, Any] = {"criterion": population.criterion, "memory": memory, "deadline": deadline, "device": device, "precision": precision}
        size = min(batch_size, own_rows(members[done.best], train))
        member, outcome = members[done.best], done.outcomes[done.best]
        try:
            done.retrained = retrain_member(model, member, outcome, train, held, how=retrain, batch_size=size, total_steps=total, **settings)
        except KeyboardInterrupt:
            done.ended = "interrupted"
    if retrain is not None and done.retrained is None:
        population.notes.append(f"not trained again on all rows: {'out of time' if done.ended == 'deadline' else 'interrupted'}")
        done.plan = population.plan()
    return done


def _refuse_share(items: Sequence[Cocktail | Member], validation: Any, retrain: str | None) -> None:
    """Refuse a share of the rows for validation where rows are counted, and rows to add where a curriculum does not know them."""
    members = [item for item in items if isinstance(item, Member)]
    if isinstance(validation, float) and any(m.rows is not None or m.curriculum is not None for m in members):
        mend = "A share would be cut off the data in which their rows count."
        allowed = "to be None, a Dataset or a pair (X, y) where members have rows or a curriculum of their own"
        raise ConfigError(expected("validation", "fit", allowed, validation, mend))
    if retrain is not None and any(m.curriculum is not None for m in members):
        raise ConfigError(expected("retrain", "fit", "to be None where members have a curriculum", retrain, "It says nothing about the rows that are added."))


def _parted(train: Dataset, validation: Any, seed: int) -> tuple[Dataset, Dataset | None]:
    """The rows to train on and those to validate on."""
    if isinstance(validation, float):
        return hold_out(train, validation, seed)
    if validation is None:
        return train, None
    return train, to_dataset(validation, train.task if isinstance(train.task, str) else None, train.classes)


def _run(population: Population, deadline: float | None, on_progress: Callable[[Population], None] | None) -> Fit:
    """Train a population to its end, to the deadline or to Ctrl-C, and choose its best member."""
    ended, status = "done", "finished"
    try:
        population.run(deadline=deadline, on_progress=on_progress)
        if population.alive:
            ended, status = "deadline", "stopped by the deadline"
    except KeyboardInterrupt:
        if not any(o.usable or o.history for o in population.outcomes):
            raise
        ended = status = "interrupted"
    cut = population.alive
    outcomes = population.end(status, short=True)
    population.notes += [f"{many} of {len(outcomes)} members: {why}" for why, many in Counter(outcomes[i].status for i in cut).items()]
    usable = [i for i, o in enumerate(outcomes) if o.usable]
    if not usable:
        raise ConfigError(f"No member of the population can be used: {outcomes[0].status}. Lower the learning rate or the strengths.")
    best = usable[better_index([outcomes[i].score for i in usable], population.metric.greater_is_better if population.metric else False)]
    return Fit(outcomes, best, ended, population.plan(), population)


def _by_recipe(recipe: Recipe, given: Mapping[str, Any], model: Any, data: Any, validation: Any, **settings: Any) -> Fit:
    """Train the networks of a recipe on all rows."""
    strange = [name for name, value in given.items() if value is not None]
    if strange:
        raise ConfigError(
            expected(strange[0], "fit", "to be left out with a recipe, which says it", given[strange[0]], "Change it in the recipe's dict instead.")
        )
    if isinstance(model, nn.Module):
        raise ConfigError(
            expected("model", "fit", "to be a function build(data) with a recipe, or None", type(model).__name__, "Every seed needs a new network.")
        )
    if isinstance(validation, float) and validation != 0.2:
        mend = "By a recipe all rows train; give rows to score as a Dataset or a pair (X, y)."
        raise ConfigError(expected("validation", "fit", "to be None, a Dataset or a pair with a recipe", validation, mend))
    if data is None:
        raise ConfigError(expected("data", "fit", "to be a Dataset or a pair (X, y)", None))
    train = as_table(to_dataset(data, recipe.task), recipe)
    held = None if validation is None or isinstance(validation, float) else as_table(to_dataset(validation, recipe.task, train.classes), recipe)
    made = follow(recipe, train, held, build=model, **settings)
    return Fit(made.outcomes, 0, "done" if made.whole else "deadline", made.populations[0].plan(), made.populations[0], followed=made)
