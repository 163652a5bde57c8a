"""Where a command writes: a terminal with colours and columns, or plain lines into a file or pipe."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 1000
_ASCII = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "…": "...", "²": "2", "×": "x", "∞": "inf", "←": "<-", "≤": "<=", "≥": ">=", "λ": "lambda", "θ": "theta", "ε": "eps"}
)


def forgiving() -> None:
    """Let output that cannot write a character write something near it instead of failing; output that is closed takes everything."""
    codecs.register_error("temperance", _near)
    sys.stdout, sys.stderr = (open(os.devnull, "w", encoding="utf-8") if s is None else s for s in (sys.stdout, sys.stderr))  # noqa: SIM115 -- as long as the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="temperance")  # pyright: ignore[reportAttributeAccessIssue] -- a TextIOWrapper unless something replaced it


def _near(error: UnicodeError) -> tuple[str, int]:
    r"""What is written for characters that an encoding lacks: a near one, or else an escape such as \u8d64, so that two texts never look alike."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def write_data(text: str) -> None:
    """Data on standard output, such as predictions or JSON: in UTF-8, whatever the terminal can show, for another program may read it."""
    stream = sys.stdout
    if not hasattr(stream, "buffer"):  # something without bytes of its own took its place
        stream.write(text)
    else:
        stream.flush()
        stream.buffer.write(text.encode("utf-8", "surrogateescape"))
    stream.flush()


def write_json(value: object) -> None:
    """Plain values as JSON on standard output."""
    write_data(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def clean(value: object) -> str:
    r"""Text from a table with nothing in it that could move the cursor.

    Example:
        >>> clean("a\x1b[2Jb\tc")
        'a [2Jb c'
    """
    return "".join(c if c.isprintable() else " " for c in str(value))


def complain(text: str) -> None:
    """One message on standard error."""
    print("\n".join(clean(line) for line in text.splitlines()), file=sys.stderr, flush=True)


class Screen:
    """Standard output.

    Attributes:
        live: whether it is a terminal that can redraw; else plain lines are written, without control characters.
        width: columns; very many where nothing has to fit, so that no line is broken.
    """

    def __init__(self) -> None:
        self.live = sys.stdout.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
        width = None if self.live or os.environ.get("COLUMNS", "").isdigit() else PLAIN_WIDTH
        self.console = Console(file=sys.stdout, force_terminal=self.live, width=width, markup=False, emoji=False, highlight=False, legacy_windows=False)

    @property
    def width(self) -> int:
        return self.console.width

    def show(self, *parts: Any) -> None:
        """Print renderables one below the other, without blanks at the ends of lines."""
        for part in parts:
            with self.console.capture() as caught:
                self.console.print(part)
            for line in caught.get().splitlines():
                sys.stdout.write(line.rstrip() + "\n")
        sys.stdout.flush()

    def code(self, text: str) -> None:
        """Lines as they are, indented and never broken by us."""
        for line in text.splitlines():
            sys.stdout.write(f"  {clean(line)}".rstrip() + "\n")
        sys.stdout.flush()

    def heading(self, text: str) -> None:
        self.show(Text(), Text(clean(text), style="bold"))

    def facts(self, rows: Iterable[tuple[str, str]]) -> None:
        """Lines with a label before each; long ones go on below themselves."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for label, text in rows:
            grid.add_row(label, Text("\n".join(clean(line) for line in text.splitlines())))
        self.show(grid)

    def table(self, headers: Sequence[str], right: Iterable[str] = (), narrow: Iterable[str] = (), most: int = 28) -> Table:
        """An empty table.

        Args:
            headers: names of the columns.
            right: those with numbers.
            narrow: those that are cut on a screen.
            most: characters after which they are.
        """
        numbers, cut = set(right), set(narrow)
        table = Table(box=SIMPLE_HEAD if self.live else None, pad_edge=False, padding=(0, 1 if self.live else 2, 0, 0), header_style="bold", show_edge=False)
        for header in headers:
            if header in cut:
                table.add_column(header, overflow="ellipsis", no_wrap=True, max_width=most if self.width < PLAIN_WIDTH else None)
            else:
                table.add_column(header, justify="right" if header in numbers else "left", no_wrap=header in numbers, overflow="fold")
        return table

    def lines(self, parts: Sequence[str]) -> str:
        """Parts of one cell: below each other on a screen, in one line where lines are to be searched."""
        return ("\n" if self.width < PLAIN_WIDTH else "; ").join(parts)

    def fits(self, table: Table, slack: int = 0) -> bool:
        """Whether a table needs no more than the width and so many columns that it can save by breaking text."""
        natural = Measurement.get(self.console, self.console.options.update(width=10 * PLAIN_WIDTH), table)
        return natural.maximum <= self.width + slack


class Errors(Screen):
    """Standard error, where standard output is for data."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
        self.console = Console(file=sys.stderr, force_terminal=self.live, markup=False, emoji=False, highlight=False, legacy_windows=False)

    def show(self, *parts: Any) -> None:
        complain("\n".join(str(part) for part in parts))
