"""A recipe: what training the networks of a fit again needs, as plain values, and that training."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temperance.core.cocktail import Cocktail, json_text
from temperance.core.errors import ConfigError, expected
from temperance.train.optimizers import Optimizer, optimizer_from_dict

FORMAT = 1
NETWORKS = ("TabularNet", "NeighborNet", "MLP", "ConvNet", "ResNet", "RecurrentNet")
TASKS = ("classification", "multilabel", "regression")
HOW = ("same_epochs", "same_steps", "none")
FILE = "cocktail.json"
_OWNER = "a recipe"


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(expected(name, _OWNER, f"to be a whole number in [{least}, inf)", value))
    return value


def _number(name: str, value: Any, most: float = math.inf) -> float:
    """A finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= most or math.isinf(value):
        raise ConfigError(expected(name, _OWNER, "in (0, inf)" if math.isinf(most) else f"in (0, {most:g}]", value))
    return float(value)


@dataclass(frozen=True, eq=False)
class Course:
    """How one network is trained.

    Attributes:
        network: its class in :mod:`temperance.nets` and its arguments; ``None`` for a network of your own.
        cocktail: its regularizers, with their strengths.
        optimizer: with the learning rate and its schedule.
        batch_size: rows per step.
        epochs: passes over the rows, as many as were best on validation rows.
        progress: how far that takes it through its schedules: at 0.4 training ends where they have come 40 % of their way.
        seed: of its first weights, rows, masks and noise.
        weight: of its predictions in the average.
    """

    network: Mapping[str, Any] | None
    cocktail: Cocktail
    optimizer: Optimizer
    batch_size: int
    epochs: float
    progress: float
    seed: int
    weight: float = 1.0

    def __post_init__(self) -> None:
        _whole("batch_size", self.batch_size, 1)
        _whole("seed", self.seed, 0)
        for name, most in (("epochs", math.inf), ("progress", 1.0), ("weight", math.inf)):
            _number(name, getattr(self, name), most)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the network."""
        plain = {name: getattr(self, name) for name in ("batch_size", "epochs", "progress", "seed", "weight")}
        return {**self.cocktail.to_dict(), "optimizer": self.optimizer.to_dict(), **plain}

    @staticmethod
    def from_dict(data: Mapping[str, Any], network: Mapping[str, Any] | None) -> Course:
        """The inverse of :meth:`to_dict`."""
        names = ("cocktail", "optimizer", "batch_size", "epochs", "progress", "seed", "weight")
        _require_keys(data, names, "a member of a recipe")
        with _told("cocktail"):
            cocktail = Cocktail.from_dict({"cocktail": data["cocktail"]})
        with _told("optimizer"):
            optimizer = optimizer_from_dict(data["optimizer"])
        return Course(network, cocktail, optimizer, *(data[name] for name in names[2:]))


@dataclass(frozen=True, eq=False)
class Recipe:
    """How the networks of a fit are trained: the whole content of ``cocktail.json``.

    Attributes:
        cocktail: the regularizers of the best trial.
        courses: one per network, whose predictions are averaged.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``.
        how: how the networks of the fit were trained: ``"same_epochs"`` or ``"same_steps"`` on the training and validation rows, for as long as
            was best on the latter, or ``"none"``: they are the best states of the search itself, on the training rows alone.
        balanced: whether rows are weighted so that every class counts alike.
        model: the ``FILE.py:build`` of a network of your own.
    """

    cocktail: Cocktail
    courses: tuple[Course, ...]
    task: str
    how: str = "same_epochs"
    balanced: bool = False
    model: str | None = None

    def __post_init__(self) -> None:
        if not self.courses:
            raise ConfigError(expected("members", _OWNER, "to hold at least one network", []))
        for name, allowed in (("task", TASKS), ("how", HOW)):
            if getattr(self, name) not in allowed:
                raise ConfigError(expected(name, _OWNER, f"to be one of {', '.join(map(repr, allowed))}", getattr(self, name)))
        if not isinstance(self.balanced, bool):
            raise ConfigError(expected("balanced", _OWNER, "to be true or false", self.balanced))
        if self.model is not None and not isinstance(self.model, str):
            raise ConfigError(expected("model", _OWNER, "to be written FILE.py:build, or null", self.model))

    def __repr__(self) -> str:
        first, several = self.courses[0], len(self.courses)
        network = "a network of your own" if first.network is None else first.network["network"]
        lines = [
            f"Recipe for {self.task}: {several} network{'s' if several > 1 else ''}",
            f"  first    {network}, {first.epochs:g} epochs, {first.batch_size} rows per step",
            f"  {type(first.optimizer).__name__:<8} learning rate {first.optimizer.hypers()['lr']:.3g}",
            f"  {self.cocktail!r}",
        ]
        return "\n".join(line if len(line) <= 160 else f"{line[:157]}..." for line in lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: ``cocktail``, as of a cocktail file, and ``recipe``."""
        networks: list[Mapping[str, Any] | None] = []
        for course in self.courses:
            if course.network not in networks:
                networks.append(course.network)
        recipe = {
            "format": FORMAT,
            "task": self.task,
            "how": self.how,
            "balanced": self.balanced,
            "model": self.model,
            "networks": networks,
            "members": [{"network": networks.index(c.network), **c.to_dict()} for c in self.courses],
        }
        return {**self.cocktail.to_dict(), "recipe": recipe}

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, also written to ``path`` if one is given."""
        return json_text(self.to_dict(), path)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Recipe:
        """The inverse of :meth:`to_dict`.

        Raises:
            ConfigError: no recipe, an unknown key, or a value out of range.
        """
        if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] -- parsed JSON
            raise ConfigError(expected("recipe", "fit", "to be a JSON object", data))
        if "recipe" not in data and "cocktail" in data:
            mend = "Give it as `cocktail`, or fit again to have a recipe."
            raise ConfigError(f"Expected a recipe as `temperance fit` writes it, got a cocktail alone, without network or learning rate. {mend}")
        _require_keys(data, ("cocktail", "recipe"), "a recipe file")
        inner = data["recipe"]
        _require_keys(inner, ("format", "task", "how", "balanced", "model", "networks", "members"), "a recipe")
        if inner["format"] != FORMAT:
            raise ConfigError(expected("format", _OWNER, f"to be {FORMAT}", inner["format"], "It was written by another version; fit again."))
        for name in ("networks", "members"):
            if not isinstance(inner[name], list):
                raise ConfigError(expected(name, _OWNER, "to be a list", inner[name]))
        networks = [_checked_network(spec) for spec in inner["networks"]]
        courses: list[Course] = []
        for member in inner["members"]:
            if not isinstance(member, Mapping):
                raise ConfigError(expected("members", _OWNER, "to hold JSON objects", member))
            place = member.get("network")
            if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(networks):
                raise ConfigError(expected("network", "a member of a recipe", f"to be the position of one of the {len(networks)} `networks`", place))
            courses.append(Course.from_dict({k: v for k, v in member.items() if k != "network"}, networks[place]))
        with _told("cocktail"):
            cocktail = Cocktail.from_dict({"cocktail": data["cocktail"]})
        return Recipe(cocktail, tuple(courses), inner["task"], inner["how"], inner["balanced"], inner["model"])

    @staticmethod
    def of(source: Any) -> Recipe:
        """A recipe from what users have: the folder of a fit, its ``cocktail.json``, its content as a dict, or a recipe.

        Raises:
            ConfigError: no such file, not JSON, or no recipe.
        """
        if isinstance(source, Recipe):
            return source
        if isinstance(source, Mapping):
            return Recipe.from_dict(source)
        if not isinstance(source, (str, Path)):
            raise ConfigError(expected("recipe", "fit", f"to be the folder of a fit, its {FILE} or a dict", source))
        path = Path(source).expanduser()
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise ConfigError(expected("recipe", "fit", f"to be the folder of a fit or its {FILE}", str(source), "No such file is there."))
        try:
            return Recipe.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ConfigError(f"Expected a recipe as JSON in {str(path)!r}, got something else: {error}. Copy it again, or fit again.") from None

    def seeds(self, seed: int | None) -> list[int]:
        """The seed of every network: those of the recipe, or as far apart from ``seed`` on."""
        own = [course.seed for course in self.courses]
        return own if seed is None else [seed + one - min(own) for one in own]


def _require_keys(data: Any, names: Sequence[str], owner: str) -> None:
    """Refuse what is not an object with these keys and no others."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"Expected {owner} to be a JSON object, got {data!r}.")
    strange = sorted(set(map(str, data)) - set(names))
    if strange:
        raise ConfigError(f"Expected {owner} to have the keys {', '.join(names)}, got {strange[0]!r}. Remove it.")
    missing = [name for name in names if name not in data]
    if missing:
        raise ConfigError(f"Expected {owner} to have the key {missing[0]!r}, got none. Fit again to have it written.")


def _checked_network(spec: Any) -> Mapping[str, Any] | None:
    """A network as plain values, whose arguments are looked at when it is made."""
    if spec is None:
        return None
    _require_keys(spec, ("network", "arguments"), "a network of a recipe")
    if spec["network"] not in NETWORKS:
        raise ConfigError(expected("network", _OWNER, f"to be one of {', '.join(NETWORKS)}", spec["network"]))
    if not isinstance(spec["arguments"], Mapping):
        raise ConfigError(expected("arguments", _OWNER, "to be a JSON object", spec["arguments"]))
    return spec


@contextmanager
def _told(name: str) -> Iterator[None]:
    """What a damaged part raises, told as that."""
    try:
        yield
    except ConfigError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise ConfigError(f"Expected `{name}` of a recipe as `temperance fit` writes it, got other fields: {error}. Fit again to have it written.") from None


__all__ = ["Course", "Recipe"]
