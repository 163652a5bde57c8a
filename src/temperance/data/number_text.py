"""Numbers as people write them: one way for a column, decided from all its cells and kept for the cells to come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_SIGNS = "$€£¥₹₩₽₺₪₫฿₴₱"
_CODES = "US$|USD|EUR|GBP|JPY|CHF|CAD|AUD|INR|CNY|SEK|NOK|DKK|PLN"
_UNIT = rf"[{re.escape(_SIGNS)}]|{_CODES.replace('$', chr(92) + '$')}"
_CELL = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<before>{_UNIT})?\s*(?P<inner>[+-])?\s*"
    rf"(?P<body>(?:\d[\d.,' ]*?|[.,]\d+))(?P<power>[eE][+-]?\d+)?(?P<behind>-)?\s*(?P<after>{_UNIT}|%)?\s*(?P<close>\))?"
)
_MEASURED = re.compile(r"[+-]?\d[\d.,' ]*[^\d\s.,'()+-][^\d]{0,11}")
_PLAIN = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf(inity)?)", re.IGNORECASE)
_ALIKE = str.maketrans({"−": "-", "–": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2007": " ", "’": "'", "`": "'", "％": "%"})
_STYLES = ((".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    A minus sign may be that of typography, and stand behind the digits; a number in parentheses is negative. Any kind of blank is a blank.

    Attributes:
        decimal: the mark before the fraction, ``"."`` or ``","``.
        thousands: the mark between groups of three digits: ``","``, ``"."``, a blank, ``"'"``, or nothing.
        unit: a currency, which a cell may lack, or ``"%"``, which every cell has.

    Example:
        >>> NumberFormat(",", ".", "€").value("1.234,50 €"), NumberFormat(unit="%").value("12 %"), NumberFormat().value("(123)")
        (1234.5, 12.0, -123.0)
        >>> NumberFormat().value("1,200") is None
        True
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def value(self, text: str) -> float | None:
        """The number that a cell stands for, in units of its unit; ``None`` where it is written otherwise."""
        if self == PLAIN and _PLAIN.fullmatch(text):
            return float(text)
        parts = _parts(text)
        if parts is None:
            return None
        negative, unit, body, power = parts
        if (unit or (self.unit if self.unit != "%" else "")) != self.unit or not _body(self.decimal, self.thousands).fullmatch(body):
            return None
        if self.thousands:
            body = body.replace(self.thousands, "")
        number = float(body.replace(self.decimal, ".") + power)
        return -number if negative else number

    @property
    def words(self) -> str:
        """The format as an example.

        Example:
            >>> NumberFormat(",", ".", "€").words, NumberFormat(unit="%").words
            ('€1.234,5', '1234.5 %')
        """
        number = f"1{self.thousands}234{self.decimal}5"
        return f"{number} %" if self.unit == "%" else f"{self.unit}{number}"


PLAIN = NumberFormat()


def is_number(text: str) -> bool:
    """Whether text is a number, as in a column of numbers.

    Example:
        >>> is_number("-1e3"), is_number("−5"), is_number("1,200"), is_number("0x1F"), is_number("nan")
        (True, True, False, False, False)
    """
    return PLAIN.value(text) is not None


def looks_like_number(text: str) -> bool:
    """Whether text is a number in some format.

    Example:
        >>> looks_like_number("$1,23"), looks_like_number("1.2.3"), looks_like_number("12 cm")
        (True, False, False)
    """
    parts = _parts(text)
    return parts is not None and any(_body(*style).fullmatch(parts[2]) for style in _STYLES)


def measured(text: str) -> bool:
    """Whether text is a number with a unit or another short word behind it, none of those that :class:`NumberFormat` knows.

    Example:
        >>> [measured(text) for text in ("12.5 kg", "1.5k", "30 ‰", "12", "12 km 3", "kg 5")]
        [True, True, True, False, False, False]
    """
    return _MEASURED.fullmatch(text.translate(_ALIKE)) is not None


def number_format(names: Sequence[str], counts: Sequence[int], share: float) -> NumberFormat | None:
    """The format in which all cells are numbers, or else the one for the most of them, if these are at least ``share`` of all.

    A point or comma that may be either mark (``1.234``, ``1,234``) is decided by the other cells of the column. Where all leave it open a point
    is the decimal mark, and a comma stands between thousands, unless some number of four digits or more has none.

    Example:
        >>> number_format(["1,234", "12"], [1, 1], 1.0)
        NumberFormat(decimal='.', thousands=',', unit='')
        >>> number_format(["1,234", "12,5"], [1, 1], 1.0)
        NumberFormat(decimal=',', thousands='', unit='')
        >>> number_format(["$5", "€5"], [1, 1], 1.0) is None
        True
    """
    total = sum(counts)
    parts = [(part, count) for part, count in zip(map(_parts, names), counts, strict=True) if part is not None]
    if not parts or sum(count for _, count in parts) < share * total - 1e-9:
        return None
    units = {unit for (_, unit, _, _), _ in parts}
    named = units - {""}
    if len(named) > 1 or ("%" in named and len(units) > 1):
        return None
    fits = {style: sum(count for (_, _, body, _), count in parts if _body(*style).fullmatch(body)) for style in _STYLES}
    most = max(fits.values())
    if most < share * total - 1e-9:
        return None
    style = next(style for style in _STYLES if fits[style] == most)
    if style == (",", "") and fits[".", ","] == most and not any(re.match(r"\d{4}", body) for (_, _, body, _), _ in parts):
        style = (".", ",")
    return NumberFormat(*style, next(iter(named), ""))


def _parts(text: str) -> tuple[bool, str, str, str] | None:
    """Whether a number is negative, its unit, its digits and marks, its power of ten."""
    match = _CELL.fullmatch(text.translate(_ALIKE))
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    signs = (match["sign"] or "") + (match["inner"] or "") + (match["behind"] or "")
    units = (match["before"] or "") + (match["after"] or "")
    if len(signs) > 1 or (match["before"] and match["after"]) or (match["open"] and signs):
        return None
    return bool(match["open"]) or signs == "-", units, match["body"].strip(), match["power"] or ""


@lru_cache
def _body(decimal: str, thousands: str) -> re.Pattern[str]:
    point, mark = re.escape(decimal), re.escape(thousands)
    grouped = rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|" if thousands else ""
    if thousands == ",":
        grouped += r"[1-9]\d?(?:,\d\d)+,\d{3}|"  # lakhs and crores
    return re.compile(rf"(?:{grouped}\d+)(?:{point}\d*)?|{point}\d+")
