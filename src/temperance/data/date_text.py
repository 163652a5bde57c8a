"""Dates as people write them: one order of day and month for a column, decided from all its cells and kept for the cells to come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

Order = Literal["", "dayfirst", "monthfirst"]
ORDERS = ("dayfirst", "monthfirst")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>[A-Za-z]{3,9})\.?"
_TIME = r"(?:[T ,]+(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2})(?P<frac>\.\d{1,6})?)?\s?(?P<half>[AaPp]\.?[Mm]\.?)?)?"
_TWO = re.compile(rf"(?P<a>\d{{1,2}})(?P<mark>[/.-])(?P<b>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}|\d{{2}}){_TIME}")
_YEAR = re.compile(rf"(?P<year>\d{{4}})(?P<mark>[/.])(?P<b>\d{{1,2}})(?P=mark)(?P<a>\d{{1,2}}){_TIME}")
_NAMED = (
    re.compile(rf"(?P<a>\d{{1,2}})(?:st|nd|rd|th)?\.?[ -]{_MONTH},?[ -](?P<year>\d{{4}}|\d{{2}}){_TIME}"),
    re.compile(rf"{_MONTH}[ -](?P<a>\d{{1,2}})(?:st|nd|rd|th)?,?[ -](?P<year>\d{{4}}){_TIME}"),
)


def date_of(text: str, order: Order) -> datetime | None:
    """The date that a cell stands for, or ``None``.

    Example:
        >>> date_of("03/12/2026", "dayfirst"), date_of("03/12/2026", "monthfirst")
        (datetime.datetime(2026, 12, 3, 0, 0), datetime.datetime(2026, 3, 12, 0, 0))
        >>> date_of("2026/3/12", ""), date_of("12 Mar 2026 3:30 pm", ""), date_of("03/12/2026", "")
        (datetime.datetime(2026, 3, 12, 0, 0), datetime.datetime(2026, 3, 12, 15, 30), None)
    """
    match = _YEAR.fullmatch(text)
    if match is not None:
        return _made(match, int(match["b"]), int(match["a"]))
    for pattern in _NAMED:
        match = pattern.fullmatch(text)
        if match is not None:
            month = _month(match["month"])
            return None if month is None else _made(match, month, int(match["a"]))
    match = _TWO.fullmatch(text)
    if match is None or not order:
        return None
    a, b = int(match["a"]), int(match["b"])
    return _made(match, b, a) if order == "dayfirst" else _made(match, a, b)


def date_order(names: Sequence[str], counts: Sequence[int], share: float) -> Order | None:
    """How the dates of a column are written, if at least ``share`` of the cells are dates that are not in ISO 8601.

    Returns:
        the order of day and month, ``""`` where it does not matter, and ``None`` where the cells are no such dates.

    Raises:
        LookupError: both orders fit all cells, and they are different days; with the first such cell.

    Example:
        >>> date_order(["03/12/2026", "13/12/2026"], [1, 1], 1.0), date_order(["2026/03/12"], [1], 1.0), date_order(["3 to 4"], [1], 1.0)
        ('dayfirst', '', None)
    """
    least = share * sum(counts) - 1e-9
    open_cells = [(name, count) for name, count in zip(names, counts, strict=True) if _TWO.fullmatch(name)]
    plain = sum(count for name, count in zip(names, counts, strict=True) if date_of(name, "") is not None)
    if plain + sum(count for _, count in open_cells) < least:
        return None
    if not open_cells:
        return ""
    fits = {order: plain + sum(count for name, count in open_cells if date_of(name, order) is not None) for order in ORDERS}
    if max(fits.values()) < least:
        return None
    if fits["dayfirst"] != fits["monthfirst"]:
        return "dayfirst" if fits["dayfirst"] > fits["monthfirst"] else "monthfirst"
    if all("." in name for name, _ in open_cells) or all(date_of(name, "dayfirst") == date_of(name, "monthfirst") for name, _ in open_cells):
        return "dayfirst"  # where points stand between them the day is always first
    raise LookupError(next(name for name, _ in open_cells if date_of(name, "dayfirst") != date_of(name, "monthfirst")))


def _month(name: str) -> int | None:
    name = name.casefold()
    full = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december", "sept")
    return _MONTHS.index(name[:3]) + 1 if name[:3] in _MONTHS and (len(name) == 3 or name in full) else None


def _made(match: re.Match[str], month: int, day: int) -> datetime | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 1900 if year > 68 else 2000
    hour = int(match["h"] or 0)
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"][0] in "Pp" else 0)
    try:
        date = datetime(year, month, day, hour, int(match["min"] or 0), int(match["s"] or 0))
    except ValueError:
        return None
    return date + timedelta(seconds=float(match["frac"] or 0))
