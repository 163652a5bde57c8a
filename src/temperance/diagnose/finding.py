"""What one check found, and all that were found together."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from temperance.core.errors import ConfigError, expected
from temperance.core.shown import in_notebook

Verdict = Literal["fine", "look", "bad"]
VERDICTS: tuple[Verdict, ...] = ("fine", "look", "bad")
WIDTH = 110


class Skip(Exception):
    """Raised by a check that has nothing to look at; the text says what is missing."""


@dataclass(frozen=True)
class Finding:
    """One answer about a network.

    Attributes:
        check: which check it comes from.
        name: of the cause where something was found (``saddle``), else of the check.
        value: numbers by name.
        meaning: what they say, in a sentence.
        verdict: ``fine``, ``look`` (worth a look), or ``bad``.
        remedy: what to do about it; empty where all is fine.
        severity: from 0 to 1, to order causes by.
        data: what a figure draws, as plain values.
    """

    check: str
    name: str
    value: Mapping[str, Any]
    meaning: str
    verdict: Verdict = "fine"
    remedy: str = ""
    severity: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        keys = ("check", "name", "verdict", "severity", "value", "meaning", "remedy", "data")
        return {key: plain(getattr(self, key)) for key in keys}


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`temperance.diagnose` returns.

    Attributes:
        findings: in the order of the checks.
        skipped: checks that had nothing to look at, with the reason.
        notes: what was left out or taken otherwise than it may seem.
        rows: rows that were measured, training and validation.

    Example:
        >>> found = Diagnosis((Finding("step", "step_size", {"predicted": 22.0}, "One step raises the loss by 22.", "bad", "Take smaller steps.", 0.9),))
        >>> found.causes, found["step"].value["predicted"]
        (('step_size',), 22.0)
    """

    findings: tuple[Finding, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    rows: tuple[int, int] = (0, 0)

    @property
    def causes(self) -> tuple[str, ...]:
        """Names of what is bad, the worst first."""
        bad = [finding for finding in self.findings if finding.verdict == "bad"]
        return tuple(finding.name for finding in sorted(bad, key=lambda finding: -finding.severity))

    def __getitem__(self, name: str) -> Finding:
        """The finding of this name, or else the first one of this check.

        Raises:
            ConfigError: neither.
        """
        for finding in (*(f for f in self.findings if f.name == name), *(f for f in self.findings if f.check == name)):
            return finding
        why = next((f" It was skipped: {reason}." for check, reason in self.skipped if check == name), "")
        known = ", ".join(dict.fromkeys(f.name for f in self.findings))
        raise ConfigError(expected("name", "a diagnosis", f"to be one of {known}", name, why.strip()))

    def __contains__(self, name: object) -> bool:
        return any(name in (finding.name, finding.check) for finding in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "causes": list(self.causes),
            "rows": {"train": self.rows[0], "validation": self.rows[1]},
            "findings": [finding.to_dict() for finding in self.findings],
            "skipped": [{"check": check, "reason": reason} for check, reason in self.skipped],
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        """The verdicts alone; ``print`` shows what each means and the remedy."""
        kinds = ((verdict, [f.name for f in self.findings if f.verdict == verdict]) for verdict in reversed(VERDICTS))
        verdicts = [f"  {verdict:<4}  {', '.join(dict.fromkeys(names))}" for verdict, names in kinds if names]
        return "\n".join([f"Diagnosis of {self.rows[0]:,} training and {self.rows[1]:,} validation rows", *verdicts])

    def _repr_html_(self) -> str:
        return in_notebook(self, "diagnosis")

    def __str__(self) -> str:
        width = max((len(finding.name) for finding in self.findings), default=0)
        lines = [f"Causes: {', '.join(self.causes) or 'none found'}."]
        for finding in sorted(self.findings, key=lambda finding: -VERDICTS.index(finding.verdict)):
            text = f"{finding.meaning} {finding.remedy}".strip()
            rest = " " * (width + 8)
            lines += textwrap.wrap(text, WIDTH, initial_indent=f"{finding.verdict:<4}  {finding.name:<{width}}  ", subsequent_indent=rest)
        lines += [f"Skipped {check}: {reason}." for check, reason in self.skipped]
        return "\n".join([*lines, *(f"Note: {note}." for note in self.notes)])


def plain(value: Any) -> Any:
    """Values that JSON can write: infinity as a word, NaN as ``None``.

    Example:
        >>> plain({"a": (1.0, float("inf")), "b": float("nan")})
        {'a': [1.0, 'inf'], 'b': None}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType] -- any mapping
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType] -- any sequence
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def graded(amount: float, look: float, bad: float) -> Verdict:
    """The verdict on a quantity that is worse the larger it is; NaN is bad.

    Example:
        >>> graded(0.1, look=0.2, bad=0.5), graded(0.3, look=0.2, bad=0.5), graded(0.7, look=0.2, bad=0.5)
        ('fine', 'look', 'bad')
    """
    return "fine" if amount < look else "look" if amount < bad else "bad"


def weight_of(amount: float, bad: float) -> float:
    """A severity: one half where a quantity reaches what is bad, towards 1 beyond.

    Example:
        >>> weight_of(2.0, bad=2.0), weight_of(6.0, bad=2.0), weight_of(float("inf"), bad=2.0)
        (0.5, 0.75, 1.0)
    """
    return amount / (amount + bad) if math.isfinite(amount) else 1.0
