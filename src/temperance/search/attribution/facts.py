"""From what was measured to what can be said of it, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from temperance.core.strength import StrengthSpec
from temperance.search.attribution.estimate import FEWEST_ROWS, LEVEL, UNKNOWN, answer, estimate, grouped
from temperance.search.attribution.measure import Bench
from temperance.search.attribution.records import Records
from temperance.search.attribution.variants import BARE, WINNER, Variant, bare, pair

SHARE = 0.05
"""A difference counts as none below this share of what the winner gains over a constant answer, and of what it still lacks."""


@dataclass(eq=False)
class Found:
    """What was compared, and the records of it.

    Attributes:
        bench: where it was measured.
        records: by variant and seed.
        dropped: the winner without each of its regularizers.
        added: the winner with each other one.
        groups: of the held-out rows.
        asked: seeds.
        factor: turns scores into the target's own units.
        notes: to be told.
        pair: labels of the two regularizers whose drops change the score most.
        doses: the winner with other doses.
    """

    bench: Bench
    records: Records
    dropped: list[Variant]
    added: list[Variant]
    groups: Tensor | None
    asked: int
    factor: float
    notes: list[str]
    pair: tuple[str, str] | None = None
    doses: list[Variant] = field(default_factory=list[Variant])

    @property
    def winner(self) -> Variant:
        return Variant(WINNER, self.bench.winner.strengths)

    def compared(self) -> list[Variant]:
        """The cocktails of which every seed has all: the winner, its drops, what is added, and the bare network where more than one is on."""
        return [self.winner, *self.dropped, *self.added, *([bare(self.bench.winner)] if len(self.dropped) > 1 else [])]

    def seeds(self, *more: Variant) -> list[int]:
        """The seeds of which these variants, with all that is compared, were measured."""
        names = [v.name for v in (*self.compared(), *more)]
        return [s for s in range(self.asked) if all((name, s) in self.records for name in names)]

    def difference(self, better: Sequence[str], worse: Sequence[str], seeds: list[int], comparisons: int, margin: float) -> dict[str, Any]:
        """By how much the scores of some variants are better than those of others, with the interval, on the seeds on which none of them diverged."""
        sign = self.factor if self.bench.metric.greater_is_better else -self.factor
        parts = [self.records.table(name, seeds).double() for name in better], [self.records.table(name, seeds).double() for name in worse]
        sums = [torch.stack(tables).sum(0) for tables in parts]
        table = grouped(sign * (sums[0] - sums[1]), self.groups)
        whole = torch.isfinite(table).all(1) if len(table) else torch.zeros(0, dtype=torch.bool)
        used = table[whole]
        made = estimate(used, comparisons)
        said = answer(made, used, self.records.rows, margin) if len(used) else UNKNOWN
        return {**made, "answer": said, "seeds": len(used), "diverged": len(table) - len(used)}

    def strongest(self) -> tuple[str, str] | None:
        """The two regularizers whose drops change the score most; ``None`` where fewer are on or could be measured."""
        seeds = self.seeds()
        sizes = {v.label: self.difference([WINNER], [v.name], seeds, 1, 0.0)["value"] for v in self.dropped}
        known = sorted((label for label, size in sizes.items() if size is not None), key=lambda label: -abs(sizes[label]))
        return (known[0], known[1]) if len(known) > 1 else None


def facts_of(found: Found, available: int, ended: str) -> dict[str, Any]:
    """Everything that was found, as plain values.

    Args:
        found: what was measured.
        available: test rows that there are; of many a part is used.
        ended: how the training ended.
    """
    bench, seeds = found.bench, found.seeds()
    winner, plan = bench.winner, bench.winner.plan
    score = estimate(grouped(found.records.table(WINNER, seeds), found.groups) * found.factor)
    margin = _margin(found, score["value"])
    changes = len(found.compared()) - 1
    rows = [_row(found, v, "dropped", seeds, changes, margin) for v in found.dropped]
    rows += [_row(found, v, "added", seeds, changes, margin) for v in found.added]
    whole = None
    if len(found.dropped) > 1:
        whole = found.difference([WINNER], [BARE], seeds, changes, margin)
    return {
        "metric": {"name": bench.metric.name, "greater_is_better": bench.metric.greater_is_better},
        "trial": winner.number,
        "plan": plan.name,
        "network": plan.network,
        "rows": {
            "held": found.records.rows,
            "few": found.records.rows < FEWEST_ROWS,
            "of": available,
            "groups": None if found.groups is None else len(found.groups.unique()),
            "train": len(bench.folds[0][0]),
            "validation": len(bench.folds[0][1]),
            "folds": len(bench.folds),
        },
        "seeds": len(seeds),
        "asked": found.asked,
        "level": LEVEL,
        "comparisons": changes,
        "margin": margin,
        "score": score,
        "whole": whole,
        "regularizers": rows,
        "pair": _pair(found, margin),
        "doses": _doses(found, margin),
        "ended": ended,
        "notes": found.notes,
    }


def _margin(found: Found, score: float | None) -> float:
    """The difference that counts as none."""
    if score is None:
        return 0.0
    metric, factor = found.bench.metric, found.factor
    learned = (score - found.bench.constant() * factor) * metric.sign
    sizes = [learned] if metric.optimum is None else [learned, abs(metric.optimum * factor - score)]
    return max(0.0, SHARE * min(sizes))


def _row(found: Found, variant: Variant, change: str, seeds: list[int], comparisons: int, margin: float) -> dict[str, Any]:
    """A regularizer, with what its being there is worth."""
    sides = ([WINNER], [variant.name]) if change == "dropped" else ([variant.name], [WINNER])
    own = found.bench.winner.strengths if change == "dropped" else variant.strengths
    cocktail = found.bench.winner.plan.cocktail
    specs = cocktail.specs()
    doses = {name.partition(".")[2]: value for name, value in own.items() if name.partition(".")[0] == variant.label and value != specs[name].off}
    said = {"regularizer": type(cocktail[variant.label]).__name__, "label": variant.label, "change": change, "strengths": doses}
    return {**said, **found.difference(*sides, seeds, comparisons, margin)}


def _pair(found: Found, margin: float) -> dict[str, Any] | None:
    """By how much more the two cost together than each alone: + where one makes up for the other, - where each needs the other."""
    if found.pair is None:
        return None
    together = pair(found.bench.winner, *found.pair)
    alone = [v.name for v in found.dropped if v.label in found.pair]
    many = len(found.dropped) * (len(found.dropped) - 1) // 2
    both = found.difference(alone, [WINNER, together.name], found.seeds(together), many, margin)
    cocktail = found.bench.winner.plan.cocktail
    return {"regularizers": [type(cocktail[label]).__name__ for label in found.pair], "comparisons": many, **both}


def _doses(found: Found, margin: float) -> list[dict[str, Any]]:
    """For each strength the difference to the winner's score at other doses: + where the other dose is better."""
    specs: dict[str, StrengthSpec] = found.bench.winner.plan.space()
    seeds = found.seeds(*found.doses)
    if not seeds:
        return []
    curves: dict[str, list[dict[str, Any]]] = {}
    for v in found.doses:
        made = found.difference([v.name], [WINNER], seeds, len(found.doses), margin)
        curves.setdefault(f"{v.label}.{v.field}", []).append({"dose": v.dose, **made})
    cocktail, strengths = found.bench.winner.plan.cocktail, found.bench.winner.strengths
    return [
        {
            "regularizer": type(cocktail[name.partition(".")[0]]).__name__,
            "strength": name.partition(".")[2],
            "chosen": strengths[name],
            "off": specs[name].off,
            "comparisons": len(found.doses),
            "points": sorted(points, key=lambda point: point["dose"]),
        }
        for name, points in curves.items()
    ]
