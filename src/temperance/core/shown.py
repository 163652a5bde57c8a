"""How results look at a prompt: a line a field, however much they hold."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from torch import Tensor, nn

T = TypeVar("T")
LINES, WIDTH = 20, 160


def brief(value: Any) -> str:
    """A value in one short line: tensors, tables and networks by their size, long lists by their length.

    Example:
        >>> import torch
        >>> brief(torch.zeros(3, 2)), brief(nn.Linear(3, 2)), brief([1, 2]), brief(list(range(40)))
        ('tensor (3, 2) float32', 'Linear with 8 parameters', '[1, 2]', '40 x int')
    """
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {value.dtype}"
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return f"{type(value).__name__} {value.shape}"
    if isinstance(value, nn.Module):
        return f"{type(value).__name__} with {sum(p.numel() for p in value.parameters()):,} parameters"
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and type(value).__repr__ is _lines:
        return type(value).__name__
    if isinstance(value, Mapping):
        return _several([f"{key!r}: {brief(item)}" for key, item in value.items()], "{}", f"{len(value)} keys: {', '.join(map(str, value))}")
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes)):
        kinds = sorted({type(item).__name__ for item in value})
        ends = "()" if isinstance(value, tuple) else "[]" if isinstance(value, list) else "{}"
        return _several([brief(item) for item in value], ends, f"{len(value)} x {' or '.join(kinds)}")
    return _cut(repr(" ".join(value.split())) if isinstance(value, str) else " ".join(repr(value).split()))


def _several(items: list[str], ends: str, otherwise: str) -> str:
    """The items themselves where they are few and short, else what they are."""
    text = f"{ends[0]}{', '.join(items)}{',' if ends == '()' and len(items) == 1 else ''}{ends[1]}"
    return text if len(items) <= 8 and len(text) <= WIDTH else _cut(otherwise)


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 4]} ..."


def _lines(self: Any) -> str:
    fields = [f for f in dataclasses.fields(self) if f.repr]
    width = max((len(f.name) for f in fields), default=0)
    rows = [f"  {f.name:<{width}}  {brief(getattr(self, f.name))}" for f in fields]
    if len(rows) >= LINES:
        rows = [*rows[: LINES - 2], f"  ... and {len(rows) - LINES + 2} more"]
    return "\n".join([type(self).__name__, *rows])


def shown(cls: type[T]) -> type[T]:
    """A dataclass whose ``repr`` has a line a field and at most 20 lines; put it above ``@dataclass``.

    Example:
        >>> @shown
        ... @dataclasses.dataclass
        ... class Found:
        ...     score: float
        ...     trials: list
        >>> Found(0.5, [0] * 300)
        Found
          score   0.5
          trials  300 x int
    """
    cls.__repr__ = _lines
    return cls


def in_notebook(value: Any, kind: str) -> str:
    """The HTML of a result, as ``temperance.report.notebook`` draws it; asked for by name, since the report stands above what it shows.

    Args:
        value: the result.
        kind: which function draws it.

    Example:
        >>> import temperance as tp
        >>> in_notebook(tp.Cocktail(tp.L2(1e-3)), "cocktail").startswith("<div")
        True
    """
    return str(as_figure(value, "notebook", kind))


def as_figure(value: Any, module: str, kind: str) -> Any:
    """What a module of the report makes of a result; asked for by name for the same reason."""
    return getattr(importlib.import_module(f"temperance.report.{module}"), kind)(value)
