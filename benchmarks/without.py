"""`temperance` with one of its parts taken out, for `benchmarks.ablation`: `python -m benchmarks.without PART fit FILE ..`, and on as the command has it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

NEVER = 1 << 60
REGULARIZERS = ("label_smoothing", "mixup", "cutmix", "input_noise", "dropout", "weight_decay", "ema")


def _options(*given: str) -> Callable[[], list[str]]:
    return lambda: list(given)


def _encoding(name: str) -> Callable[[], list[str]]:
    """Without the plan of that name, where there is another one."""

    def take_out() -> list[str]:
        from temperance.job import prepare

        whole: Callable[..., list[Any]] = prepare.tabular_plans
        prepare.tabular_plans = lambda *args, **options: (lambda plans: [p for p in plans if p.name != name] or plans)(whole(*args, **options))
        return []

    return take_out


def _all_rows() -> list[str]:
    """What ships is what the search has trained, and no time is kept for training it again."""
    from temperance.search import ending
    from temperance.search.engine import Engine

    ending._again = lambda *_: None  # pyright: ignore[reportAttributeAccessIssue]
    Engine.retraining = lambda *_: 0.0
    return []


def _factors() -> list[str]:
    from temperance.search import plans

    plans.COLUMN_STEP = 0.0
    return []


def _portfolio() -> list[str]:
    from temperance.search import plans

    plans.for_tables = lambda *_: []
    return []


def _codes() -> list[str]:
    from temperance.data import encode

    encode._often = lambda _: ()
    return []


def _replay() -> list[str]:
    from temperance.train import trace

    trace.REPAID = NEVER
    return []


PARTS: dict[str, Callable[[], list[str]]] = {
    "nothing": _options(),
    "regularizers": _options(*(word for name in REGULARIZERS for word in ("--without", name))),
    "networks that answer from similar rows": _options("--without", "neighbors"),
    "periodic numbers": _encoding("periodic"),
    "bins of numbers": _encoding("piecewise"),
    "averages of configurations": _options("--ensemble", "1"),
    "training on all rows": _all_rows,
    "factors of columns": _factors,
    "the portfolio": _portfolio,
    "codes of frequent values": _codes,
    "replayed steps": _replay,
}
"""Each takes its part out of the process and returns further options of the command."""


def main(given: Sequence[str]) -> None:
    from temperance.cli.waiting import limit_spinning

    limit_spinning(os.environ)
    from temperance.cli.loading import loading

    with loading():
        from temperance.cli import main as command
        from temperance.job import fit as _fit  # noqa: F401 -- what is changed below

        further = PARTS[given[0]]()
    sys.argv = ["temperance", *given[1:], *further]
    command()


if __name__ == "__main__":
    main(sys.argv[1:])
