"""What the report answers at its top: whether the cocktail helped, whether the network over-fits, and how it stands beside its rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from temperance.data import Dataset
from temperance.job.paired import draws, interval, paired, scores
from temperance.job.prepare import Prepared
from temperance.job.rivals import Rival
from temperance.job.summary import held_out, unit_factor
from temperance.report.verdicts import answer
from temperance.search.ending import clean_rows
from temperance.search.race import Trial
from temperance.search.result import Search
from temperance.search.score import counted, predict, test_rows


def verdicts(ready: Prepared, found: Search, seed: int) -> dict[str, Any]:
    """On the network of the winning trial as the search trained it (one per fold), beside the same network with every strength off.

    Returns:
        ``cocktail``: ``answer``, ``value`` with ``low`` and ``high`` (+ is better), ``with``, ``without``, ``n``; ``overfitting``: ``answer``, ``value``
        with its ends (the score on training rows less that on held-out rows, + where that is better), ``train``, ``held``, ``rows``, ``n``.
        An answer is ``None`` where it was not measured; ``why`` then says why.
    """
    held = test_rows(ready.data, ready.split)
    ours = Part(ready, found, found.winner)
    bare = None if found.without is None or found.without.best < 0 else Part(ready, found, found.without)
    factor = unit_factor(ready)
    return {
        "metric": found.metric.name,
        "cocktail": _helped(found, ours, bare, held, seed, factor),
        "overfitting": _overfits(found, ours, bare, held, seed, factor),
    }


def rivals_beside(ready: Prepared, found: Search, predictions: Tensor | None, rivals: Sequence[Rival], seed: int) -> list[dict[str, Any]]:
    """By how much the scored networks are better than each rival on the test rows, in the order of the rivals."""
    if predictions is None:
        return [{} for _ in rivals]
    p, y, weight = held_out(ready, predictions)
    out: list[dict[str, Any]] = []
    for rival in rivals:
        difference = paired(found.metric, [p], [held_out(ready, rival.predictions)[0]], y, weight, seed=seed)
        out.append({**difference, "n": len(y), "answer": answer(difference, len(y), "better", "worse")} if difference["value"] is not None else {})
    return out


class Part:
    """The networks of a trial, each with the clean training rows of its fold."""

    def __init__(self, ready: Prepared, found: Search, trial: Trial) -> None:
        assert trial.population is not None
        self.data, self.criterion, self.score = ready.data, found.criterion, trial.score
        usable = [(f, i) for f, i in enumerate(trial.indices) if trial.population.outcomes[i].usable]
        self.networks = [trial.population.model(i) for _, i in usable]
        self.rows = [clean_rows(ready.split.folds[f][0]) for f, _ in usable]

    def on(self, rows: Dataset) -> list[Tensor]:
        """Predictions of each network."""
        return [predict(network, self.criterion, rows.x) for network in self.networks]

    def trained(self, metric: Any, seed: int) -> np.ndarray:
        """The mean score on the clean training rows, first as they are, then under resampled rows; a row is drawn for all folds that have it."""
        every = torch.cat(self.rows).unique()
        counts = torch.cat([torch.ones(1, len(every)), draws(metric, len(every), seed)])
        found: list[np.ndarray] = []
        for network, rows in zip(self.networks, self.rows, strict=True):
            part = self.data.take(rows)
            weights = counts[:, torch.searchsorted(every, rows)] * counted(part)
            assert isinstance(part.y, Tensor)
            found.append(scores(metric, [predict(network, self.criterion, part.x)], part.y, weights))
        return np.mean(found, axis=0)


def _helped(found: Search, ours: Part, bare: Part | None, held: Dataset | None, seed: int, factor: float) -> dict[str, Any]:
    if all(r.is_off() for r in found.cocktail):
        return {"answer": "no", "why": "the trial that was chosen has every strength off, so there is no cocktail to compare"}
    if held is None:
        return {"answer": None, "why": "no rows were kept apart"}
    if bare is None:
        ended = (
            "the fit was interrupted before the same network was trained without it" if found.ended != "done" else "the same network without it gave no result"
        )
        return {"answer": None, "why": ended}
    assert isinstance(held.y, Tensor)
    a, b, weight = ours.on(held), bare.on(held), counted(held)
    difference = paired(found.metric, a, b, held.y, weight, seed=seed)
    if difference["value"] is None:
        return {"answer": None, "why": f"the score is not defined on these {len(held):,} rows"}
    one = weight.unsqueeze(0)
    sides = {"with": scores(found.metric, a, held.y, one)[0] * factor, "without": scores(found.metric, b, held.y, one)[0] * factor}
    return {"answer": answer(difference, len(held)), **_times(difference, factor), **sides, "n": len(held), "note": _note(ours, bare, found)}


def _note(ours: Part, bare: Part, found: Search) -> str:
    many = len(ours.networks)
    which = "the network" if many == 1 else f"the {many} networks"
    text = f"both are {which} of trial {found.winner.config.number} as the search trained {'it' if many == 1 else 'them'}, before the model that ships"
    if len(bare.networks) != many:
        text += f"; without the cocktail {len(bare.networks)} {'was' if len(bare.networks) == 1 else 'were'} trained"
    return text


def _overfits(found: Search, ours: Part, bare: Part | None, held: Dataset | None, seed: int, factor: float) -> dict[str, Any]:
    sign = found.metric.sign
    trained = ours.trained(found.metric, seed)
    facts = {"train": float(trained[0]) * factor, "n_train": len(torch.cat(ours.rows).unique())}
    if held is None:
        return {"answer": None, **facts, "held": ours.score * factor, "value": sign * (float(trained[0]) - ours.score) * factor, "rows": "validation"}
    assert isinstance(held.y, Tensor)
    weights = torch.cat([torch.ones(1, len(held)), draws(found.metric, len(held), seed + 1)]) * counted(held)

    def difference(part: Part, on_train: np.ndarray) -> tuple[np.ndarray, float]:
        tested = scores(found.metric, part.on(held), held.y, weights)  # pyright: ignore[reportArgumentType] -- a tensor, as asserted
        return sign * (on_train - tested), float(tested[0])

    gaps, tested = difference(ours, trained)
    found_gap = interval(float(gaps[0]), gaps[1:])
    if found_gap["value"] is None:
        return {}
    out = {"answer": answer(found_gap, len(held)), **_times(found_gap, factor), **facts, "held": tested * factor, "rows": "test", "n": len(held)}
    if bare is not None:
        out["without"] = float(difference(bare, bare.trained(found.metric, seed))[0][0]) * factor
    return out


def _times(difference: Mapping[str, float | None], factor: float) -> dict[str, float | None]:
    return {key: None if value is None else value * factor for key, value in difference.items()}
