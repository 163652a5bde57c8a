"""What an export wrote, on the screen."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from temperance.job.export import CHECKED

if TYPE_CHECKING:
    from temperance.cli.screen import Screen
    from temperance.job.export import Exported


def show(screen: Screen, written: Exported) -> None:
    """The inputs and the output of a file, and how far it is from the model."""
    *some, last = CHECKED
    rows = f"{', '.join(map(str, some))} and {last} rows"
    screen.heading(f"Wrote {written.file}")
    screen.facts(
        [
            ("Inputs", "\n".join(written.inputs)),
            ("Output", written.output),
            ("Checked", f"differs from the model by at most {written.difference:.2g} on {rows}, in {written.runner}"),
            ("", f"rounding explains up to {written.limit:.2g}"),
            ("Encode", "tp.load(DIR).encode(rows) makes the inputs"),
        ]
    )


def show_recorded(screen: Screen, runs: int, tensorboard: str | None) -> None:
    """How many runs were written, and how to look at them."""
    screen.heading(f"Wrote {runs:,} runs")
    if tensorboard is not None:
        screen.facts([("Look", f"tensorboard --logdir {shlex.quote(tensorboard)}")])
