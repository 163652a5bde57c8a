"""``summary.json``: the whole fit as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from temperance import __version__
from temperance.core.cocktail import Cocktail
from temperance.data.images import colors
from temperance.job.prepare import Prepared
from temperance.job.rivals import Rival
from temperance.job.row_warnings import width_warning
from temperance.report.tried import Tried, plain_key, tried
from temperance.search.ending import final_rows
from temperance.search.plans import unlabeled_rows
from temperance.search.result import Search
from temperance.search.score import in_units, score_table
from temperance.search.space import StaticPlan


def plain(value: Any) -> Any:
    """JSON values: infinities as words, NaN as null, numpy and torch numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    return value


def space_rows(plans: Sequence[StaticPlan]) -> list[dict[str, Any]]:
    """The resolved search space: a dict a static plan."""
    return [
        {
            "plan": p.name,
            "network": p.network,
            "regularizers": list(p.cocktail.labels),
            "strengths": {name: {"low": s.low, "high": s.high, "log": s.log, "off": plain(s.off)} for name, s in p.space().items()},
            "epochs": p.epochs,
            "batch_size": p.batch_size,
            "lr": list(p.lr),
        }
        for p in plans
    ]


def split_row(ready: Prepared) -> dict[str, Any]:
    """The split in numbers: rows of each part, and why."""
    split = ready.split
    return {
        "kind": split.kind,
        "train": len(split.folds[0][0]) + ready.data.total - len(ready.data),
        "validation": len(split.folds[0][1]),
        "test": len(split.test),
        "folds": len(split.folds) if split.kind == "k-fold" else None,
        "reason": split.reason,
    }


def images_row(ready: Prepared) -> dict[str, Any] | None:
    """The size of the images; ``None`` for tables."""
    if ready.images is None:
        return None
    c, h, w = ready.images.shape
    known = {"height": h, "width": w, "channels": c, "colors": colors(c), "kind": ready.images.kind}
    return known if ready.backbone is None else {**known, "backbone": ready.backbone.source}


def strength_rows(cocktail: Cocktail, plan: StaticPlan) -> list[dict[str, Any]]:
    """Every strength of a cocktail with its range in the search, but those that it always leaves off, for the report."""
    rows: list[dict[str, Any]] = []
    values = cocktail.strengths()
    for name, spec in (cocktail.specs() | plan.space()).items():
        if values[name] == spec.off == plan.fixed.get(name):
            continue
        label, _, field = name.partition(".")
        kind = type(cocktail[label]).__name__
        rows.append(
            {
                "regularizer": kind,
                "strength": field,
                "key": name,
                "value": plain(values[name]),
                "off": plain(spec.off),
                "low": spec.low,
                "high": spec.high,
                "log": spec.log,
                "meaning": spec.meaning,
            }
        )
    return rows


def sentences(cocktail: Cocktail, used: Tried) -> list[str]:
    """What is on, and what is known of the rest from the trials that ran, in words."""
    out: list[str] = []
    for label, r in cocktail.items():
        if r.is_off():
            continue
        specs = r.strengths()
        on = [f"{field} {r.peak(field):.3g} ({spec.meaning})" for field, spec in specs.items() if r.peak(field) != spec.off]
        summary = (type(r).__doc__ or label).strip().splitlines()[0].rstrip(".")
        out.append(f"{type(r).__name__}: {summary[0].lower()}{summary[1:]}; {', '.join(on)}." if on else f"{type(r).__name__}: {summary}.")
    return [*(out or [f"{used.head}."]), *used.said]


def held_out(ready: Prepared, predictions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predictions, targets and weights of the test rows that have a target, in the target's own units."""
    held = ready.data.take(ready.split.test)
    assert isinstance(held.y, torch.Tensor)
    task = ready.target.task
    weight = torch.ones(len(held)) if ready.weight is None else ready.weight[torch.as_tensor(ready.split.test)]
    y, p = held.y, predictions
    if isinstance(held.labeled, torch.Tensor):
        y, p, weight = y[held.labeled], p[held.labeled], weight[held.labeled]
    p, y = in_units(task, p, y, ready.target.mean if task == "regression" else None, ready.target.sd if task == "regression" else None)
    return p, y, weight


def scores_of(ready: Prepared, predictions: torch.Tensor, seed: int) -> dict[str, dict[str, float]]:
    """Every metric on the test rows, in the target's own units, with intervals."""
    p, y, weight = held_out(ready, predictions)
    return score_table(p, y, ready.target.task, weight=weight, seed=seed) if len(y) else {}


def unit_factor(ready: Prepared) -> float:
    """What turns a validation score into the target's units: the standard deviation, for rmse and mae of one target."""
    if ready.metric.name not in ("rmse", "mae") or ready.target.sd is None:
        return 1.0
    sd = torch.as_tensor(ready.target.sd, dtype=torch.float64).reshape(-1)
    return float(sd[0]) if len(sd) == 1 else 1.0


def ensemble_row(ready: Prepared, found: Search) -> dict[str, Any]:
    """The average that ships, in the target's units: squared errors in their square, where there is one target."""
    sd = None if ready.target.sd is None else torch.as_tensor(ready.target.sd, dtype=torch.float64).reshape(-1)
    square = float(sd[0]) ** 2 if sd is not None and len(sd) == 1 else 1.0
    out = dict(found.ensemble)
    out["score"] = _times(out.get("score", {}), unit_factor(ready))
    out["error"] = {"name": "Brier score" if ready.target.task == "classification" else "squared error", **_times(out.get("error", {}), square)}
    return out


def _times(tree: Any, factor: float) -> Any:
    """Every float of a tree, multiplied."""
    if isinstance(tree, Mapping):
        return {key: _times(value, factor) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_times(value, factor) for value in tree]
    return tree * factor if isinstance(tree, float) else tree


def _training_rows(ready: Prepared, found: Search) -> int:
    """How many rows trained each network that ships."""
    rows = ready.split.folds[0][0] if found.refit.how == "none" else final_rows(ready.split, len(ready.data), not found.saw_test)
    return len(rows) + ready.data.total - len(ready.data)


def make_summary(
    ready: Prepared,
    found: Search,
    rivals: Sequence[Rival],
    predictions: torch.Tensor | None,
    *,
    seed: int,
    budget: str | None,
    trials: int | None,
    strategy: str,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The summary without its ``timing``, which alone depends on the clock once ``--trials`` is given."""
    winner, plan, factor = found.winner, found.winner.config.plan, unit_factor(ready)
    rows = [dict(t.row(), score=t.score * factor) for t in found.trials]
    gap = dict(found.gap)
    for side in ("with", "without"):
        if side in gap:
            gap[side] = {k: v * factor for k, v in gap[side].items()}
    parameters = sum(p.numel() for p in found.refit.networks[0].parameters())
    networks = len(found.refit.networks)
    shared = len({c.number for c in found.refit.configs}) == 1
    many = "" if networks == 1 else f", mean of {networks} {'seeds' if shared and found.refit.how != 'none' else 'networks'}"
    classes: dict[str, Any] = {}
    if ready.target.task == "classification" and isinstance(ready.data.y, torch.Tensor):
        known = ready.data.y[ready.data.labeled] if isinstance(ready.data.labeled, torch.Tensor) else ready.data.y
        counts = known.sum(0).long().tolist()
        classes = {"classes": [str(c) for c in ready.target.classes], "class_counts": {str(c): n for c, n in zip(ready.target.classes, counts, strict=True)}}
    columns = [{"name": c["column"], "kind": c["kind"], "missing": c["missing"], "unique": c["distinct"], "notes": c["notes"]} for c in ready.columns]
    chosen = strength_rows(found.cocktail, found.winner.config.plan)
    space = {row["key"]: row for p in reversed(ready.plans) for row in strength_rows(p.cocktail, p)}
    used = tried(chosen, rows, {plain_key(key): row for key, row in space.items()})
    patience = "" if winner.rule is None else f"; training ends early after {winner.rule.unit()[0]:g} checks without improvement"
    unlabeled = 0 if not isinstance(ready.data.labeled, torch.Tensor) else int((~ready.data.labeled).sum())
    tested = {} if predictions is None else scores_of(ready, predictions, seed)
    n_test = 0 if predictions is None else len(held_out(ready, predictions)[1])
    summary = {
        "temperance": __version__,
        "title": ready.title,
        "target": ", ".join(ready.target.names),
        "task": ready.target.task,
        "seed": seed,
        "data": {
            "source": ready.source,
            "rows": ready.data.total,
            "columns": columns,
            **({} if ready.images is None else {"images": images_row(ready)}),
            **classes,
            "split": split_row(ready),
            "unlabeled": unlabeled,
            **({"unlabeled_use": unlabeled_rows(ready.data, winner.config.cocktail)} if unlabeled else {}),
            "notes": ready.notes,
        },
        "metric": {"name": found.metric.name, "greater_is_better": found.metric.greater_is_better, "unit": ""},
        "scores": {
            "test": tested,
            "n_test": n_test,
            "interval": "95 % bootstrap over test rows",
            "validation": {found.metric.name: found.winner.score * factor},
            "saw_test": found.saw_test,
        },
        "rivals": [{"name": r.name, "test": scores_of(ready, r.predictions, seed), "rows": r.rows} for r in rivals],
        "cocktail": {
            "repr": repr(found.cocktail),
            "sentences": sentences(found.cocktail, used),
            "rows": chosen,
            "network": plan.network + many,
            "optimizer": f"{type(found.winner.config.optimizer).__name__}, learning rate {winner.config.lr:.3g}",
            "parameters": parameters,
        },
        "gap": gap,
        "stopping": {
            "rule": f"the weights of the best check on the validation rows are kept{patience}",
            "best_step": winner.best_step,
            "best_epoch": winner.best_epoch,
            "last_step": int(winner.outcomes[0].history[-1]["step"]) if winner.outcomes[0].history else 0,
            "why": winner.status,
            "retrain": found.refit.how,
        },
        "search": {
            "trials": len(found.trials),
            "ran": used.trials,
            "static_plans": [f"{p.name}: {p.network}" for p in ready.plans],
            "space": list(space.values()),
            "rungs": found.rungs,
            "budget": budget,
            "asked_trials": trials,
            "strategy": strategy,
            "metric": found.metric.name,
            "table": rows,
            "winner": winner.config.number,
            "ended": found.ended,
        },
        "ensemble": ensemble_row(ready, found),
        "model": {"network": plan.network, "parameters": parameters, "networks": networks, "training_rows": _training_rows(ready, found)},
        "warnings": [*warnings, *width_warning(found.metric, tested.get(found.metric.name), n_test), *found.notes],
    }
    return plain(summary)
