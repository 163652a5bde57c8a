"""What a value that was read from a JSON file has to be, checked before anything is made of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], None]
MOST_TEXT, MOST_ITEMS, MOST_DEPTH = 100_000, 1_000_000, 40


class UnfitError(ValueError):
    """A value of another kind than it has to be: the message says where it is, what it should be and what it is."""

    def __init__(self, where: str, wanted: str, got: Any) -> None:
        text = f"a {type(got).__name__} of {len(got):,}" if isinstance(got, (dict, list)) or (isinstance(got, str) and len(got) > 60) else repr(got)
        super().__init__(f"`{where}` has to be {wanted}, and is {text}")


def parse(text: str | bytes) -> Any:
    """JSON as values; finite numbers only, and no deeper than any of our files is.

    Raises:
        ValueError: not JSON, or NaN, infinite, or nested too deeply.

    Example:
        >>> parse('{"a": NaN}')
        Traceback (most recent call last):
        ValueError: NaN is no number of JSON
    """

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def text(most: int = MOST_TEXT) -> Check:
    """Text of at most so many characters."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or len(value) > most:
            raise UnfitError(where, f"text of at most {most:,} characters", value)

    return check


def whole(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UnfitError(where, f"a whole number from {low:,} to {high:,}", value)

    return check


def number(low: float = -math.inf, high: float = math.inf, above: float = -math.inf) -> Check:
    """A finite number from ``low`` to ``high``, and greater than ``above``."""

    def check(value: Any, where: str) -> None:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        try:
            fits = fits and math.isfinite(float(value)) and low <= value <= high and value > above
        except OverflowError:
            fits = False
        if not fits:
            limits = [f"greater than {above:g}" if above > -math.inf else "", f"from {low:g} to {high:g}" if low > -math.inf or high < math.inf else ""]
            raise UnfitError(where, " ".join(["a finite number", *filter(None, limits)]), value)

    return check


def flag(value: Any, where: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise UnfitError(where, "true or false", value)


def nothing(value: Any, where: str) -> None:
    """Null."""
    if value is not None:
        raise UnfitError(where, "null", value)


def one_of(*allowed: str) -> Check:
    """One of these texts."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise UnfitError(where, f"one of {', '.join(map(repr, allowed))}", value)

    return check


def either(*checks: Check) -> Check:
    """What passes one of them; the message is that of the last."""

    def check(value: Any, where: str) -> None:
        for one in checks[:-1]:
            try:
                return one(value, where)
            except UnfitError:
                continue
        return checks[-1](value, where)

    return check


def maybe(check: Check) -> Check:
    """The same, or null."""
    return either(nothing, check)


def items(check: Check, least: int = 0, most: int = MOST_ITEMS) -> Check:
    """A list of such values."""

    def each(value: Any, where: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise UnfitError(where, f"a list of {least:,} to {most:,} values", value)
        for i, item in enumerate(value):
            check(item, f"{where}[{i}]")

    return each


def mapping(check: Check, most: int = MOST_ITEMS) -> Check:
    """An object whose values pass, under any names."""

    def each(value: Any, where: str) -> None:
        if not isinstance(value, dict) or len(value) > most:
            raise UnfitError(where, f"an object of at most {most:,} values", value)
        for name, item in value.items():
            text(1000)(name, f"a name in {where}")
            check(item, f"{where}.{name[:60]}")

    return each


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None, *, others: bool = False) -> Check:
    """An object with these names; ``others`` may stand beside them unread."""
    known = {**required, **(optional or {})}

    def each(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise UnfitError(where, "an object", value)
        for name in required:
            if name not in value:
                raise UnfitError(where, f"an object with a value {name!r}", sorted(value)[:20])
        for name, item in value.items():
            if name in known:
                known[name](item, f"{where}.{name}" if where else name)
            elif not others:
                raise UnfitError(where or "the file", f"an object with values {', '.join(known)}", sorted(value)[:20])

    return each


def plain(value: Any, where: str, depth: int = 0) -> None:
    """Any JSON value of ordinary size."""
    if depth > MOST_DEPTH:
        raise UnfitError(where, f"nested at most {MOST_DEPTH} deep", value)
    if isinstance(value, dict):
        mapping(lambda item, inner: plain(item, inner, depth + 1))(value, where)
    elif isinstance(value, list):
        items(lambda item, inner: plain(item, inner, depth + 1))(value, where)
    elif isinstance(value, str):
        text()(value, where)
    elif value is not None and not isinstance(value, bool):
        number()(value, where)
