"""Train the networks of a recipe, on its own rows or on other ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from temperance import nets
from temperance.core.errors import ConfigError, expected
from temperance.core.torch_losses import trainer_criterion
from temperance.data.dataset import Dataset
from temperance.nets import Average, build_seeded, quantile_edges
from temperance.train.member import Member
from temperance.train.outcome import Outcome
from temperance.train.population import Population
from temperance.train.recipe import Course, Recipe
from temperance.train.retrain import steps_for
from temperance.train.ways import DEFAULT_MEMORY

_OF_TABLES = dict.fromkeys(("TabularNet", "NeighborNet"), ("num_features", "cardinalities", "out_features"))
_OF_IMAGES = dict.fromkeys(("ConvNet", "ResNet"), ("in_shape", "out_features"))
_SIZES = {**_OF_TABLES, **_OF_IMAGES}
_FLAT = ("in_features", "out_features")


@dataclass(eq=False)
class Followed:
    """Networks that were trained by a recipe.

    Attributes:
        model: one plain network, or the average of several.
        networks: each by itself.
        outcomes: their histories, in the order of the recipe.
        populations: what trained them.
        whole: whether every network got to its last step.
    """

    model: nn.Module
    networks: list[nn.Module]
    outcomes: list[Outcome]
    populations: list[Population] = field(repr=False)
    whole: bool = True


def planned_steps(steps: int, progress: float) -> int:
    """The steps that schedules refer to, where ``steps`` of them take a network so far through its schedules.

    Example:
        >>> planned_steps(30, 0.4), planned_steps(30, 1.0)
        (75, 30)
    """
    return max(steps, round(steps / progress))


def train_to(
    population: Population, steps: Sequence[int], *, deadline: float | None = None, on_progress: Callable[[Population], None] | None = None
) -> list[Outcome]:
    """Train every member of a population to a last step of its own."""
    for until in sorted(set(steps)):
        population.run(until=until, deadline=deadline, on_progress=on_progress)
        population.check()
        population.keep([k for k in population.alive if steps[k] > until], "finished")
    return population.end()


def balanced(data: Dataset, rows: Any) -> Tensor:
    """Weights that give every class the same total over the training rows, times the rows' own."""
    assert isinstance(data.y, Tensor)
    own = torch.ones(len(data), device=data.y.device) if data.weight is None else data.weight
    every, totals = (data.y * own[:, None]).sum(0), (data.y[rows] * own[rows, None]).sum(0)
    totals = torch.where(totals > 0, totals, every)  # a class that has no training row yet trains at the end
    per_class = totals.sum() / (len(totals) * totals.clamp_min(1e-12))
    return own * (data.y * per_class).sum(1).clamp_min(1e-6)


def follow(
    recipe: Recipe,
    data: Dataset,
    validation: Dataset | None = None,
    *,
    build: Callable[[Dataset], nn.Module] | None = None,
    seed: int | None = None,
    criterion: Any = None,
    metric: Any = None,
    memory: str | int = DEFAULT_MEMORY,
    deadline: float | None = None,
    on_progress: Callable[[Population], None] | None = None,
    anew: bool = False,
    device: str | torch.device | None = None,
    precision: str = "fp32",
) -> Followed:
    """Train the networks of a recipe on all rows of ``data``, for as many epochs as it says.

    Args:
        recipe: what to do.
        data: the rows that train.
        validation: rows that are scored at every check and decide nothing.
        build: makes the network, where the recipe's is anyone's own.
        seed: of the first network, the others follow; the recipe's own if not given.
        criterion: the loss; the task's default if not given.
        metric: of the history.
        memory: what the populations may plan for.
        deadline: a ``time.monotonic()`` to end at.
        on_progress: called after every check.
        anew: learn the bins of numbers from these rows, even where the recipe's fit.
        device: where they train, as for :class:`temperance.Population`.
        precision: of their products, likewise.

    Raises:
        ConfigError: rows of another task or kind, a network that cannot be made, no ``build`` or one too many, or training that diverged.
    """
    if data.task != recipe.task:
        mend = "Give rows with such a target, or say task= where it was guessed."
        raise ConfigError(f"Expected rows for the {recipe.task} of the recipe, got {data.task!r}. {mend}")
    own = any(course.network is None for course in recipe.courses)
    if own and build is None:
        name = "" if recipe.model is None else f" ({recipe.model})"
        raise ConfigError(f"Expected `model` to be the function build(data) that made the network of the recipe{name}, got None. A recipe runs no code.")
    if not own and build is not None:
        raise ConfigError(expected("model", "fit", "to be None with a recipe that holds its network", build, "Leave it out."))
    if recipe.balanced:
        data = replace(data, weight=balanced(data, torch.arange(len(data))))
    seeds = recipe.seeds(seed)
    groups: dict[tuple[int, int], list[int]] = {}
    for i, course in enumerate(recipe.courses):
        same = next(k for k, other in enumerate(recipe.courses) if other.network == course.network)
        groups.setdefault((same, course.batch_size), []).append(i)
    outcomes: dict[int, Outcome] = {}
    networks: dict[int, nn.Module] = {}
    populations: list[Population] = []
    whole = True
    for places in groups.values():
        make = factory(recipe.courses[places[0]].network, data, build, anew)
        settings = {"metric": metric, "memory": memory, "device": device, "precision": precision}
        population, steps = _population(recipe, data, validation, make, places, seeds, criterion=criterion, **settings)
        populations.append(population)
        for k, (i, outcome) in enumerate(zip(places, train_to(population, steps, deadline=deadline, on_progress=on_progress), strict=True)):
            outcomes[i] = outcome
            whole = whole and outcome.steps >= steps[k]
            if outcome.final is not None and not outcome.status.startswith("diverged"):
                networks[i] = population.model(k, outcome.final)
    good = sorted(networks)
    if not good:
        raise ConfigError(f"Training by the recipe failed: {outcomes[0].status}. Check the scale of the data, or fit again on these rows.")
    found = [networks[i] for i in good]
    model = found[0] if len(found) == 1 else Average(found, recipe.task, [recipe.courses[i].weight for i in good])
    return Followed(model.eval(), found, [outcomes[i] for i in range(len(recipe.courses))], populations, whole)


def _population(
    recipe: Recipe,
    data: Dataset,
    validation: Dataset | None,
    make: Callable[[int], nn.Module],
    places: Sequence[int],
    seeds: Sequence[int],
    *,
    criterion: Any,
    **settings: Any,
) -> tuple[Population, list[int]]:
    """The networks of one structure, and the last step of each."""
    courses: list[Course] = [recipe.courses[i] for i in places]
    size = min(courses[0].batch_size, len(data))
    steps = [steps_for("same_epochs", 0, course.epochs, len(data), size) for course in courses]
    planned = [planned_steps(n, course.progress) for n, course in zip(steps, courses, strict=True)]
    members: list[Member] = []
    for i, course, whole in zip(places, courses, planned, strict=True):
        start = {name: t.detach() for name, t in make(seeds[i]).state_dict().items()}
        members.append(Member(course.cocktail, course.optimizer, seeds[i], start, length=whole / max(planned), name=str(i)))
    population = Population(
        make(seeds[places[0]]),
        members,
        data,
        validation,
        criterion=None if criterion is None else trainer_criterion(criterion),
        batch_size=size,
        total_steps=max(planned),
        check_every=max(1, math.ceil(max(steps) / 8)),
        **settings,
    )
    return population, steps


def factory(spec: Any, data: Dataset, build: Callable[[Dataset], nn.Module] | None, anew: bool) -> Callable[[int], nn.Module]:
    """What makes a network from a seed: the one of the recipe, in the sizes of the data."""

    def make(seed: int) -> nn.Module:
        if spec is None:
            assert build is not None
            return build_seeded(partial(build, data), seed)
        arguments = sized(spec, data, anew)
        try:
            return build_seeded(partial(getattr(nets, spec["network"]), **arguments), seed)
        except ConfigError:
            raise
        except (TypeError, ValueError, RuntimeError, MemoryError) as error:
            given = {name: value for name, value in arguments.items() if name != "edges"}
            mend = "Fit again to have it written."
            raise ConfigError(f"Expected arguments of {spec['network']} in the recipe, got {given}: {str(error).splitlines()[0]}. {mend}") from None

    return make


def sized(spec: Any, data: Dataset, anew: bool) -> dict[str, Any]:
    """The arguments of a network for these rows: sizes are theirs, and so are the bins of numbers where the recipe's do not fit or ``anew`` is asked for."""
    kind, arguments = spec["network"], dict(spec["arguments"])
    table = isinstance(data.x, dict)
    if table != (kind in _OF_TABLES):
        wanted = "a table, encoded as {'num', 'cat'}" if not table else "one tensor of inputs"
        mend = "tp.load(DIR).dataset(rows) encodes rows as the fit did; TemperanceClassifier(recipe=DIR) and TemperanceRegressor take plain rows."
        raise ConfigError(f"Expected rows for the {kind} of the recipe, {wanted}, got {'a dict' if table else 'a tensor'}. {mend}")
    sizes: dict[str, Any] = {"out_features": data.out_features}
    if isinstance(data.x, dict):
        sizes |= {"num_features": int(data.x["num"].shape[1]), "cardinalities": list(data.cardinalities)}
    else:
        sizes |= {"in_shape": list(data.in_shape)} if kind in _OF_IMAGES else {"in_features": data.in_features}
    if kind == "NeighborNet" and data.weight is not None:
        arguments["weighted"] = True
    fits = all(arguments.get(name) == sizes[name] for name in _SIZES.get(kind, _FLAT))
    arguments |= sizes
    if isinstance(data.x, dict) and arguments.get("numbers") == "piecewise" and sizes["num_features"] and (anew or not fits):
        most = max((len(row) for row in arguments.get("edges") or []), default=17)
        arguments["edges"] = quantile_edges(data.x["num"], max(1, most - 1))
    return arguments


def as_table(data: Dataset, recipe: Recipe) -> Dataset:
    """Plain numbers ``(n, columns)`` as a table without categories, where the recipe's network takes a table; codes whose number is not said are counted."""
    if not all(course.network is not None and course.network["network"] in _OF_TABLES for course in recipe.courses):
        return data
    x = data.x
    if isinstance(x, Tensor) and x.dim() == 2:
        return replace(data, x={"num": x, "cat": x.new_zeros((len(x), 0), dtype=torch.long)}, cardinalities=())
    if isinstance(x, dict) and "num" in x and "cat" in x and x["cat"].shape[1] != len(data.cardinalities):
        assert recipe.courses[0].network is not None
        known = list(recipe.courses[0].network["arguments"].get("cardinalities", []))
        most = (x["cat"].max(0).values + 1).tolist()
        fits = len(known) == len(most) and all(k >= m for k, m in zip(known, most, strict=True))
        return replace(data, cardinalities=tuple(known if fits else most))
    return data


__all__ = ["Followed", "follow", "planned_steps", "train_to"]
