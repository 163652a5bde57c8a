"""What a cocktail does to a network, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion
from temperance.core.hooks import bare
from temperance.core.prior import check_rows, reading
from temperance.core.program import Program, needs_pass
from temperance.core.standing import Standing, alone
from temperance.core.wiring import Wiring, declared, observed


def describe(
    cocktail: Cocktail,
    model: nn.Module,
    rows: int | None = None,
    noise: float | None = None,
    example: Any = None,
    standing: Mapping[str, Standing] | None = None,
    wiring: Wiring | None = None,
) -> str:
    """Every parameter and every hidden site of the network with what acts on it, tied tensors and absorbed dropout too.

    Args:
        cocktail: the regularizers.
        model: the network.
        rows: how many rows it trains on; penalties that are priors are then read with numbers.
        noise: standard deviation of the targets' noise, where the loss is the mean squared error.
        example: a few rows of inputs. A pass over them shows which units are hidden; without it, the order of declaration has to do, and where that
            leaves doubts the text says so.
        standing: who trains each parameter, where the cocktail is attached to an optimizer.
        wiring: what a pass has shown already.

    Raises:
        ConfigError: the network cannot take the cocktail, or no such rows or noise.

    Example:
        >>> import temperance as tp
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> print(tp.Cocktail(tp.L2(0.01), tp.Dropout(0.5)).describe(net))
        Parameters
          0.weight  (3, 2)  l2
          0.bias    (3,)    -
          2.weight  (1, 3)  l2
          2.bias    (1,)    -
        Hidden units
          1  ReLU  dropout
        Batch and loss
          dropout: batch
        Strengths
          l2.lam             0.01  off at 0
          dropout.rate       0.5   off at 0
          dropout.input_rate 0     off at 0
        Reading
          l2: a Gaussian prior of variance 1 / (n lam) on each weight, for a mean loss over n rows (mean squared error with noise s: 2 s² times that)
    """
    check_rows(rows, noise)
    model = bare(model)
    if example is not None:
        wiring = observed(model, example)
    wiring = wiring or declared(model)
    program = Program(cocktail, model, Criterion(), wiring=wiring)
    lines = ["Parameters"]
    aliases: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(name)
    table: list[tuple[str, str, str]] = []
    for name, parameter in model.named_parameters():
        at = alone(parameter) if standing is None else standing[name]
        acting = [label for label, r in cocktail.items() if at.reached_by(r) and name in program.selected[label]]
        also = [other for other in aliases[id(parameter)] if other != name]
        tied = f"tied: {', '.join(also)}" if also else ""
        table.append((name, str(tuple(parameter.shape)), "  ".join(part for part in (", ".join(acting) or "-", tied, at.words) if part)))
    lines += _columns(table)
    lines += _hidden(program, wiring)
    own = [(name, type(m).__name__, f"p={getattr(m, 'p', None)}") for name, m in model.named_modules() if isinstance(m, nn.modules.dropout._DropoutNd)]  # pyright: ignore[reportPrivateUsage] -- torch has no public base of its dropouts
    if own:
        lines += [
            "Modules of the network that drop units (the trainer draws their masks from its keys; in your own loop they draw from torch's generator)",
            *_columns(own),
        ]
    around = [
        f"  {label}: {', '.join(s for s in r.sites() if s in ('batch', 'around'))}" for label, r in cocktail.items() if {"batch", "around"} & set(r.sites())
    ]
    if around:
        lines += ["Batch and loss", *around]
    specs, values = cocktail.specs(), cocktail.strengths()
    if specs:
        width = max(map(len, specs))
        number = max(len(f"{v:g}") for v in values.values())
        lines += ["Strengths", *(f"  {name:<{width}} {values[name]:<{number}g}  off at {spec.off:g}" for name, spec in specs.items())]
    readings = [
        f"  {label}: {reading(factors, {name: r.peak(name) for name in r.strengths()}, rows, noise)}"
        for label, r in cocktail.items()
        if (factors := getattr(r, "reading", ()))
    ]
    if readings:
        lines += ["Reading", *readings]
    return "\n".join(line.rstrip() for line in lines)


def _hidden(program: Program, wiring: Wiring) -> list[str]:
    """The modules whose outputs are acted on, with those of their calls that are, where it is not all."""
    acting = {label: units for label, units in program.units.items() if units.layers}

    def words(label: str, name: str) -> str:
        units = acting[label]
        calls = "" if name in units.whole else f" (call {', '.join(str(call + 1) for call in units.layers[name])})"
        return f"{label}{calls}" + (f" (one of {units.count} layers a step)" if units.drawn else "")

    rows = [
        (name, type(module).__name__, ", ".join(words(label, name) for label in acting if name in acting[label].layers))
        for name, module in program.model.named_modules()
        if any(name in units.layers for units in acting.values())
    ]
    doubtful = not wiring.certain and needs_pass(program.cocktail)
    title = "Hidden units" + (" (by the order of declaration; the first pass decides: describe(model, example=x) shows it)" if doubtful else "")
    return [title, *_columns(rows)] if rows or doubtful else []


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    first, second = max((len(r[0]) for r in rows), default=0), max((len(r[1]) for r in rows), default=0)
    return [f"  {a:<{first}}  {b:<{second}}  {c}" for a, b, c in rows]
