"""What ``robust`` measures and shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from temperance.cli.diagnosing import read_known, trained_on
from temperance.diagnose.robust_model import model_robustness
from temperance.report import robust as told, words

if TYPE_CHECKING:
    from temperance.cli.screen import Screen
    from temperance.job import Saved

_WIDE = 140
"""Columns of a screen from which an interval stands beside its score, not below."""


def measure(saved: Saved, data: str, **settings: Any) -> dict[str, Any]:
    """The robustness of a fitted model on the rows of a file, as plain values for JSON and for :mod:`temperance.report.robust`.

    Args:
        saved: the model.
        data: the file, with the target.
        settings: of :func:`temperance.diagnose.robust_model.model_robustness`.

    Raises:
        DataError: no target in the file, or whatever reading and encoding raises.
        ConfigError: a setting that cannot be.
    """
    rows = read_known(saved, data).data
    facts = model_robustness(saved.model, saved.encoder, saved.target, rows, **settings)
    warned = trained_on(saved, rows)
    return {"data": Path(data).name, **facts, "warnings": [*([warned] if warned else []), *facts["warnings"]]}


def show(screen: Screen, facts: dict[str, Any], folder: str) -> None:
    """Sentences, the table, and what speaks against it."""
    screen.heading(f"Robustness of {folder} on {facts['data']}")
    for sentence in told.said(facts):
        screen.show(Text(sentence))
    curves = told.curves_of(facts)
    about = bool(facts["moves"])
    headers = ("eps", *(told.NAMES[name] for name in curves), *(("which is about",) if about else ()))
    table = screen.table(headers, right=headers[: len(curves) + 1])
    between = " " if screen.width >= _WIDE else "\n"
    for row in told.rows(facts):
        cells = [f"{cell['value']}{between}({cell['interval']})" if cell["interval"] else cell["value"] for cell in row["cells"]]
        table.add_row(row["eps"], *cells, *([Text(row["moves"])] if about else []))
    screen.show(Text(), table, Text())
    screen.show(Text(f"{words.first_capital(words.metric_name(facts['metric']))} with its 95 % interval, n = {facts['n']:,}."))
    for warning in facts["warnings"]:
        screen.show(Text(f"Warning: {words.stopped(warning)}"))
