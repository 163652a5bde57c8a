"""Numbers and phrases of the report: sensible digits, a real minus sign, names of metrics as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from temperance.train.metrics import METRICS

NOTHING = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_METRICS: dict[str, tuple[str, str]] = {
    # name: (as written, its unit or range)
    "accuracy": ("accuracy", "fraction of rows"),
    "balanced_accuracy": ("balanced accuracy", "mean recall of the classes, 0 to 1"),
    "log_loss": ("log-loss", "nats per row"),
    "auc": ("AUC", "0 to 1"),
    "roc_auc": ("AUC", "0 to 1"),
    "average_precision": ("average precision", "0 to 1"),
    "f1": ("F1", "0 to 1"),
    "f1_macro": ("macro F1", "0 to 1"),
    "brier": ("Brier score", "per row"),
    "ece": ("calibration error", "0 to 1"),
    "r2": ("R²", "1 is perfect"),
    "rmse": ("RMSE", "unit of the target"),
    "mae": ("MAE", "unit of the target"),
    "mse": ("MSE", "unit of the target, squared"),
}
_VOWEL_SOUND = ("a", "e", "i", "o", "AUC", "RMSE", "MAE", "MSE", "R²", "F1")


def finite(value: Any) -> float | None:
    """``value`` as a finite float, else None; understands None, NaN, infinities and numbers written as text."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number_ = float(value)
    except (TypeError, ValueError):
        return None
    return number_ if math.isfinite(number_) else None


def fixed(value: Any, decimals: int) -> str:
    """``value`` with so many decimals, thousands separated by commas; a dash where there is no number.

    Example:
        >>> fixed(-48213.456, 1), fixed(float("nan"), 2)
        ('−48,213.5', '–')
    """
    known = finite(value)
    if known is None:
        return NOTHING
    text = f"{known:,.{max(decimals, 0)}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", "−")


def number(value: Any, digits: int = 3) -> str:
    """``value`` with about ``digits`` significant digits: plain between 0.001 and a million, else as a power of ten.

    Example:
        >>> number(0.0001), number(0.25), number(48842), number("inf"), number(None)
        ('10⁻⁴', '0.25', '48,842', '∞', '–')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    try:
        known = float(value)
    except (TypeError, ValueError):
        return str(value)
    if math.isnan(known):
        return NOTHING
    if math.isinf(known):
        return "∞" if known > 0 else "−∞"
    if known == 0:
        return "0"
    if known == int(known) and abs(known) < 1e6:
        return f"{int(known):,}".replace("-", "−")
    mantissa, _, exponent = f"{known:.{digits - 1}e}".partition("e")
    power = int(exponent)
    if -3 <= power < 6:
        text = f"{known:,.{max(digits - 1 - power, 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.replace("-", "−")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    tens = "10" + str(power).translate(_SUPERSCRIPT)
    if mantissa in ("1", "-1"):
        return ("−" if mantissa.startswith("-") else "") + tens
    return f"{mantissa.replace('-', '−')} × {tens}"


def typeset(text: str) -> str:
    r"""Numbers within a sentence as :func:`number` writes them: powers of ten, a real minus sign, a space before %; code between backticks stays.

    Example:
        >>> typeset("λ = 1e-06: -0.41 of 56%, `lr=1e-3`")
        'λ = 10⁻⁶: −0.41 of 56\xa0%, `lr=1e-3`'
    """
    parts = text.split("`")
    for k in range(0, len(parts), 2):
        part = re.sub(r"(?<![\w.])-?\d+(\.\d+)?e[+-]?\d+", lambda found: number(float(found[0])), parts[k])
        parts[k] = re.sub(r"(?<=\d)%", "\u00a0%", re.sub(r"(?<![\w)\]])-(?=\.?\d)", "−", part))
    return "`".join(parts)


def decimals_for(values: Iterable[Any], widths: Iterable[Any] = ()) -> int:
    """How many decimals show ``values`` as finely as their uncertainty warrants.

    The half-width of the narrowest interval keeps one digit, two if it starts with 1 or 2 (at least two decimals below 10);
    without intervals the values keep three significant digits.
    """
    known = [abs(v) for v in map(finite, values) if v]
    halves = [abs(w) / 2 for w in map(finite, widths) if w]
    if halves:
        decimals = -math.floor(math.log10(min(halves) / 3))
        floor = 2 if known and max(known) < 10 else 0
        return min(max(decimals, floor), 5)
    if not known:
        return 2
    return min(max(2 - math.floor(math.log10(max(known))), 0), 5)


def interval(low: Any, high: Any, decimals: int, between: str = " to ") -> str:
    """``low to high``, or nothing when either end is unknown."""
    if finite(low) is None or finite(high) is None:
        return ""
    return f"{fixed(low, decimals)}{between}{fixed(high, decimals)}"


def count(n: Any, noun: str, plural: str | None = None) -> str:
    """``1 row``, ``48,842 rows``; a dash for an unknown number."""
    known = finite(n)
    text = NOTHING if known is None else f"{int(known):,}"
    return f"{text} {noun if known == 1 else plural or noun + 's'}"


def duration(seconds: Any) -> str:
    """Seconds in words.

    Example:
        >>> duration(0.31), duration(18.24), duration(118), duration(7320)
        ('0.3 s', '18 s', '1 min 58 s', '2 h 2 min')
    """
    known = finite(seconds)
    if known is None:
        return NOTHING
    if known < 0.05:
        return "< 0.1 s"
    if known < 9.95:
        return f"{known:.1f} s"
    whole = round(known)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 // 60 else "")


def date(text: Any) -> str:
    """An ISO time as ``20 November 2026, 06:00 UTC``; anything else comes back as it is."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    zone = f" {moment.tzname()}" if moment.tzinfo else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"


def listing(items: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def metric_name(name: str) -> str:
    """The metric as people write it: ``log_loss`` is log-loss, ``r2`` is R²."""
    return _METRICS[name][0] if name in _METRICS else name.replace("_", " ")


def metric_unit(name: str, given: str = "") -> str:
    """The unit for an axis title: the given one, else what the metric is counted in, else nothing."""
    return given or (_METRICS[name][1] if name in _METRICS else "")


def metric_axis(name: str, given: str = "") -> str:
    """An axis title such as ``accuracy (fraction of rows)``."""
    unit = metric_unit(name, given)
    return f"{metric_name(name)} ({unit})" if unit else metric_name(name)


def greater_is_better(name: str, otherwise: bool = True) -> bool:
    """Whether more of this metric is better, by its name where it is not one of temperance's own."""
    if name in METRICS:
        return METRICS[name][0].greater_is_better
    return False if re.search(r"loss|error|rmse|mae|mse|deviance|brier|(^|_)ece($|_)", name) else otherwise


def article(noun: str) -> str:
    """``noun`` with a or an, by its sound."""
    return f"{'an' if noun.startswith(_VOWEL_SOUND) else 'a'} {noun}"


def first_capital(text: str) -> str:
    """``text`` with its first letter raised and the rest untouched; a symbol is no word and keeps its case.

    Example:
        >>> first_capital("a share"), first_capital("κ before"), first_capital("c/v of two")
        ('A share', 'κ before', 'c/v of two')
    """
    word = re.match(r"[^\W\d_]+", text)
    is_symbol = word is not None and len(word[0]) == 1 and word[0] != "a"
    return text if is_symbol else text[:1].upper() + text[1:]


def first_lower(text: str) -> str:
    """``text`` with its first letter lowered and the rest untouched."""
    return text[:1].lower() + text[1:]


def stopped(text: Any) -> str:
    """``text`` with a full stop at its end, its first letter untouched: it may be the name of a column."""
    body = str(text).strip()
    return body if not body or body[-1] in ".!?:…" else body + "."


def sentence(text: Any) -> str:
    """``text`` as a sentence: first letter raised, a full stop at its end."""
    return first_capital(stopped(text))


def shorten(text: str, length: int) -> str:
    """``text`` cut to ``length`` characters with an ellipsis."""
    return text if len(text) <= length else text[: max(length - 1, 1)].rstrip() + "…"


_STRATEGIES = {
    "keep": "all train at least an epoch and 32 steps (a twentieth of a long run), and the best quarter goes on",
    "rungs": "the best quarter goes on at a sixteenth and at a quarter of the run, noise taken into account",
}


def strategy(name: object) -> str:
    """How trials are dropped, in words.

    Example:
        >>> strategy("keep")
        'keep: all train at least an epoch and 32 steps (a twentieth of a long run), and the best quarter goes on'
    """
    said = _STRATEGIES.get(str(name))
    return f"{name}: {said}" if said else str(name)
