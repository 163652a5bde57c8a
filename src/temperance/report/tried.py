"""Which regularizers the trials that ran had on: all that may be said of what was tried is read from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from temperance.report import words
from temperance.report.strengths import is_off


def plain_key(key: str) -> str:
    """One spelling for ``L2.lam``, ``l2.lam`` and ``l2__lam``."""
    return key.lower().replace("__", ".")


def key_of(row: Mapping[str, Any]) -> str:
    """The plain key of a strength's row."""
    return plain_key(str(row.get("key") or f"{row.get('regularizer', '')}.{row.get('strength', '')}"))


def spaces(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What is known of each strength (off, low, high, log), by its plain key: from the search space, else from the cocktail."""
    rows = [*((summary.get("cocktail") or {}).get("rows") or []), *((summary.get("search") or {}).get("space") or [])]
    return {key_of(row): row for row in rows}


def ran(row: Mapping[str, Any]) -> bool:
    """Whether a row of the table of trials stands for one that took at least a step; one that diverged did.

    Example:
        >>> ran({"status": "finished", "score": 0.9}), ran({"status": "not started", "score": None, "epochs": 0.0})
        (True, False)
    """
    status = str(row.get("status") or "")
    if status.startswith("not started"):
        return False
    return status.startswith("diverged") or words.finite(row.get("score")) is not None or bool(words.finite(row.get("epochs")))


@dataclass(frozen=True)
class Tried:
    """What the trials that ran had on.

    Attributes:
        trials: how many ran.
        on: regularizers that the chosen cocktail has on.
        elsewhere: those that it has off, with the number of trials that had them on; 0 for one that no trial had on.
    """

    trials: int
    on: tuple[str, ...]
    elsewhere: dict[str, int]

    @property
    def head(self) -> str:
        """What the chosen cocktail holds, in a few words."""
        if self.on:
            return words.count(len(self.on), "regularizer")
        if self.trials == 1:
            return "None: the only trial had every strength off"
        if self.trials and any(self.elsewhere.values()):
            return f"None: of {self.trials:,} trials one with every strength off was chosen"
        return f"None: {self.trials:,} trials ran, all with every strength off" if self.trials else "None: every strength is off"

    @property
    def said(self) -> list[str]:
        """Sentences on the regularizers that are off in the chosen cocktail."""
        used = [f"{name} (on in {n:,})" for name, n in self.elsewhere.items() if n]
        never = [name for name, n in self.elsewhere.items() if not n]
        if not self.trials:
            return [f"Off: {words.listing(never)}."] if never else []
        out = [f"Off here, on in others of the {self.trials:,} trials: {words.listing(used)}."] if used else []
        if never:
            where = "in the only trial" if self.trials == 1 else f"in {self.trials:,} trials"
            out.append(f"Never tried {where}: {words.listing(never)}.")
        return out


def tried(cocktail: Sequence[Mapping[str, Any]], table: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> Tried:
    """Read it off the trials.

    Args:
        cocktail: rows of the chosen strengths, as in ``summary["cocktail"]["rows"]``.
        table: rows of trials, as in ``summary["search"]["table"]``.
        known: every strength of the space, as :func:`spaces` gives them.

    Example:
        >>> row = {"regularizer": "L2", "strength": "lam", "value": 0.0, "off": 0.0}
        >>> trials = [{"trial": k, "status": "finished", "score": 0.5, "strengths": {"l2.lam": lam}} for k, lam in enumerate((0.0, 0.1, 0.2))]
        >>> tried([row], trials, {"l2.lam": row}).said
        ['Off here, on in others of the 3 trials: L2 (on in 2).']
        >>> tried([row], trials[:1], {"l2.lam": row}).said
        ['Never tried in the only trial: L2.']
    """
    trials = [row for row in table if ran(row)]
    on = tuple(dict.fromkeys(str(row.get("regularizer") or "") for row in cocktail if not is_off(row.get("value"), row.get("off"))))
    names = dict.fromkeys([*(str(row.get("regularizer") or "") for row in cocktail), *(str(row.get("regularizer") or "") for row in known.values())])
    had = [on_in(row, known) for row in trials]
    return Tried(len(trials), on, {name: sum(name in some for some in had) for name in names if name and name not in on})


def on_in(row: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The regularizers of which a trial has a strength that is not off."""
    out: set[str] = set()
    for key, value in (row.get("strengths") or {}).items():
        space = known.get(plain_key(str(key)))
        if space is not None and value is not None and not is_off(value, space.get("off")):
            out.add(str(space.get("regularizer") or ""))
    return out


def of_summary(summary: Mapping[str, Any]) -> Tried:
    """The same, from a whole summary."""
    cocktail = (summary.get("cocktail") or {}).get("rows") or []
    return tried(cocktail, (summary.get("search") or {}).get("table") or [], spaces(summary))
