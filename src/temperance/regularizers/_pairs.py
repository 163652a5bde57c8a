"""Parameters that belong together, paired by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from torch import Tensor

from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Params

Shape = tuple[int, ...]
Pairs = tuple[tuple[str, str], ...]


def transposed(w: Tensor) -> Tensor:
    """The first two dimensions exchanged; vectors stay."""
    return w.transpose(0, 1) if w.dim() > 1 else w


def check_patterns(first: object, second: object, owner: str) -> None:
    """Both patterns, or neither.

    Raises:
        ConfigError: one is missing, or is no text.
    """
    for name, value, other in (("first", first, second), ("second", second, first)):
        if (value is None) != (other is None) or not (value is None or isinstance(value, str)):
            mend = "For example first='left.*', second='right.*'; without both, parameters of one shape are paired."
            raise ConfigError(expected(name, owner, "to be a pattern of names wherever the other of `first` and `second` is one, and else None", value, mend))


def pairs(params: Params, first: str | None, second: str | None, owner: str, transpose: bool = False) -> Pairs:
    """Pairs of names.

    With patterns: the name that ``first`` fits goes with the name that ``second`` fits where each ``*`` and ``?`` stands for the same text in both. Without:
    each parameter goes with the earliest one of the same shape and the same last name (weight with weight); where there is none it stays alone.

    Raises:
        ConfigError: patterns that match nothing, leave a name without its partner, or pair a parameter with itself, or shapes that differ.
    """
    shapes = tuple((name, tuple(w.shape)) for name, w in params.items())
    return _by_shape(shapes, transpose) if first is None or second is None else _by_name(shapes, first, second, owner, transpose)


@lru_cache(maxsize=256)
def _by_shape(shapes: tuple[tuple[str, Shape], ...], transpose: bool) -> Pairs:
    leaders: dict[tuple[str, Shape], str] = {}
    out: list[tuple[str, str]] = []
    for name, shape in shapes:
        last = name.rpartition(".")[2]
        leader = leaders.get((last, _turned(shape) if transpose else shape))
        if leader is None:
            leaders.setdefault((last, shape), name)
        else:
            out.append((leader, name))
    return tuple(out)


@lru_cache(maxsize=256)
def _by_name(shapes: tuple[tuple[str, Shape], ...], first: str, second: str, owner: str, transpose: bool) -> Pairs:
    names, sizes = [name for name, _ in shapes], dict(shapes)
    left, right = _fitting(first, names), _fitting(second, names)
    lonely = sorted({left.get(key) or right[key] for key in left.keys() ^ right.keys()})
    if not left or lonely:
        what = f"{lonely[0]!r} has no partner" if lonely else "nothing matches"
        mend = f"`*` must stand for the same text in both, and both must be trained. It acts on {', '.join(names)}."
        raise ConfigError(expected("first` and `second", owner, f"to pair parameters ({what})", (first, second), mend))
    out = tuple((left[key], right[key]) for key in left)
    for a, b in out:
        if a == b or set(left.values()) & set(right.values()):
            raise ConfigError(expected("first` and `second", owner, "to match different parameters", (first, second)))
        if (_turned(sizes[a]) if transpose else sizes[a]) != sizes[b]:
            allowed = f"to pair parameters of {'transposed' if transpose else 'equal'} shapes"
            raise ConfigError(expected("first` and `second", owner, allowed, f"{a} {sizes[a]} and {b} {sizes[b]}", "Narrow the patterns."))
    return out


def _turned(shape: Shape) -> Shape:
    return (shape[1], shape[0], *shape[2:]) if len(shape) > 1 else shape


def _fitting(pattern: str, names: list[str]) -> Mapping[tuple[str, ...], str]:
    """Names that fit, by the texts that the wildcards stand for."""
    wild = {"*": "(.*)", "?": "(.)"}
    form = re.compile("".join(wild.get(char) or re.escape(char) for char in pattern))
    return {fit.groups(): name for name in names if (fit := form.fullmatch(name))}
