"""Strengths of each layer's own."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Regularizer
from temperance.core.selector import Named, parameters_matching, selector_of


def per_layer(cls: type[Regularizer], model: nn.Module, **fields: Any) -> list[Regularizer]:
    """One regularizer for each weight matrix, each with a label of its own, so that a search finds a strength for every layer.

    Args:
        cls: the regularizer; its ``where`` selects parameters.
        model: the network, or one of the same names.
        fields: its strengths and options. A strength may be a mapping from a parameter's name to its number, which then names every one. ``where`` says which
            parameters; by default those that ``cls`` selects.

    Returns:
        regularizers in the order of the parameters, labelled by class and parameter, such as ``l2_0_weight``.

    Raises:
        ConfigError: the class has no parameters to select, nothing is selected, or a mapping lacks a parameter or names one that is not there.

    Example:
        >>> import temperance as tp
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> layers = per_layer(tp.L2, net, lam={"0.weight": 1e-3, "2.weight": 1e-2})
        >>> tp.Cocktail(*layers).strengths()
        {'l2_0_weight.lam': 0.001, 'l2_2_weight.lam': 0.01}
    """
    owner = getattr(cls, "__name__", repr(cls))
    if not (isinstance(cls, type) and issubclass(cls, Regularizer)) or "where" not in cls.__dataclass_fields__ or cls.on_modules():  # pyright: ignore[reportUnnecessaryIsInstance] -- the message for callers without types
        raise ConfigError(expected("cls", "per_layer", "to be a regularizer whose `where` selects parameters", owner))
    where = fields.pop("where", cls.__dataclass_fields__["where"].default)
    names = parameters_matching(selector_of(where, owner), model, owner)
    for field, value in fields.items():
        if isinstance(value, Mapping):
            _check(field, value, names, owner)  # pyright: ignore[reportUnknownArgumentType] -- a mapping that a caller gives
    known = {f.name for f in dataclasses.fields(cls)} - {"name"}
    strange = sorted(set(fields) - known)
    if strange:
        raise ConfigError(f"{owner} has no field {strange[0]!r}. Its fields are {', '.join(sorted(known))}.")
    out: list[Regularizer] = []
    labels: set[str] = set()
    for name in names:
        own = {field: value[name] if isinstance(value, Mapping) else value for field, value in fields.items()}
        plain = label = f"{cls.default_label()}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        n = 2
        while label in labels:
            label, n = f"{plain}_{n}", n + 1
        labels.add(label)
        out.append(cls(**own, where=Named(name), name=label))  # pyright: ignore[reportCallIssue] -- `where` is a field of subclasses
    return out


def _check(field: str, given: Mapping[str, Any], names: tuple[str, ...], owner: str) -> None:
    wrong = sorted(set(given) ^ set(names))
    if wrong:
        what = "is none of them" if wrong[0] in given else "has no number"
        allowed = f"to map each of {', '.join(names)} to a number"
        raise ConfigError(expected(field, owner, allowed, dict(given), f"{wrong[0]!r} {what}."))
