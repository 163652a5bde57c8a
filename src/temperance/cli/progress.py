"""Progress of a fit: a bar that redraws itself on a terminal, else a plain line now and then."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress as Bar, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from temperance.cli.screen import Screen
from temperance.report import words

EVERY = 10.0


class Progress:
    """Takes the reports of ``fit`` and shows them; starts with the first report or :meth:`start`.

    Args:
        screen: where to.
        every: seconds between lines where the screen is no terminal.

    Attributes:
        best: the best score told so far; ``None`` before the first finished evaluation.
    """

    def __init__(self, screen: Screen, every: float = EVERY) -> None:
        self.screen, self.every = screen, every
        self._bar: Bar | None = None
        self._task: Any = None
        self._began = self._last = -float("inf")
        self.best: float | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self) -> None:
        """Count the time from here, and show that something is going on."""
        self._began = time.monotonic()
        if self._bar is not None:  # images were read under it
            self._bar.stop()
        if not self.screen.live:
            return
        self._bar = Bar(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[news]}", table_column=Column(no_wrap=True)),
            _Left(table_column=Column(no_wrap=True)),
            console=self.screen.console,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("preparing", total=1.0, news="", left=None, told=self._began)
        self._bar.start()

    def update(self, report: Mapping[str, Any]) -> None:
        """Show a report: ``phase``, ``done`` in [0, 1], ``left`` seconds, ``trials``, ``best``, ``metric``."""
        if self._began == -float("inf"):
            self.start()
        now = time.monotonic()
        done = min(max(float(report["done"]), 0.0), 1.0)
        self.best = words.finite(report.get("best"))
        spent = now - self._began
        left = remaining(report.get("left"), done, spent)
        if words.finite(report.get("left")) is not None and left is not None and spent > 0:
            done = max(done, spent / (spent + left))
        news = _news(report)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=str(report["phase"]), news=news, left=left, told=now)
        elif now - self._last >= self.every:
            self._last = now
            parts = [str(report["phase"]), f"{100 * done:.0f} %", news, _time_left(left)]
            self.screen.show(Text("  ".join(part for part in parts if part)))


def remaining(left: Any, done: float, spent: float) -> float | None:
    """Seconds left: as told where there is a budget, else in proportion to what is done; ``None`` while it is too early to know.

    Example:
        >>> remaining(42.0, 0.5, 10.0), remaining(float("inf"), 0.25, 10.0), remaining(float("inf"), 0.0, 10.0)
        (42.0, 30.0, None)
    """
    known = words.finite(left)
    if known is not None:
        return max(known, 0.0)
    return spent * (1.0 - done) / done if done >= 0.02 and spent >= 2.0 else None


def _news(report: Mapping[str, Any]) -> str:
    best = words.finite(report.get("best"))
    trials = words.count(report.get("trials"), "trial") if report.get("trials") else ""
    score = f"{words.metric_name(str(report['metric']))} {best:.4g}" if best is not None else ""
    return ", ".join(part for part in (trials, f"best {score}" if score else "") if part)


def _time_left(seconds: float | None) -> str:
    return "" if seconds is None else f"{words.duration(round(seconds))} left" if seconds >= 1 else "finishing"


class _Left(ProgressColumn):
    """Counts down between two reports."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        left = task.fields["left"]
        return Text("" if left is None else _time_left(left - (time.monotonic() - task.fields["told"])))
