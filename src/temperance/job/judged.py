"""How the model answers on test rows, beside its score: residuals, precision and recall, confusions, calibration, robustness."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.errors import DataError
from temperance.data import Dataset
from temperance.diagnose.calibration import error_of, reliability
from temperance.diagnose.robust_model import model_robustness
from temperance.job.backbone import work as backbone_work
from temperance.job.predicted import precision_recall, residuals
from temperance.job.prepare import Prepared
from temperance.report.calibration import temperature_for, tempered
from temperance.search.budget import Clock
from temperance.search.race import Trial
from temperance.search.result import Search
from temperance.search.score import predict
from temperance.train.remember import work

ATTACKED, FEWEST, STEPS = 300, 50, 10  # rows at most and at least, and gradient steps of an attack
WORK = 2.5e8  # multiplications of one answer for all rows: about a second of attacks
LEAST = 2.0  # seconds of the budget that have to be left for attacks


def judged(ready: Prepared, found: Search, predictions: Tensor | None, seed: int, clock: Clock) -> dict[str, Any]:
    """What the summary says about it; empty where no rows were kept apart.

    Args:
        ready: the data.
        found: the search.
        predictions: of the scored networks for the test rows, ``None`` where there are none.
        seed: of the rows that are attacked, and of the attacks.
        clock: attacks are left out where no time is left for them.
    """
    out: dict[str, Any] = {}
    known = answered(ready, predictions)
    for key, facts in (("residuals", residuals(ready, predictions, seed)), ("precision_recall", precision_recall(ready, predictions))):
        out |= {key: facts} if facts else {}
    if known is not None:
        _, p, labels = known
        out |= {"confusion": confusion(p.argmax(1), labels, [str(c) for c in ready.target.classes]), "calibration": calibration(ready, found, p, labels)}
    if predictions is not None and clock.left() >= LEAST:
        model = found.scored.model if ready.backbone is None else ready.backbone.under(found.scored.model)
        passes = 0 if ready.backbone is None else backbone_work(ready.backbone.network, ready.original().in_shape)
        fits = int(WORK / (work(found.scored.model) + passes))
        rows = max(FEWEST, min(ATTACKED, fits))
        attacks: dict[str, Any] = {"rows": rows, "steps": STEPS, "attacks": ("fgsm", "margin"), "seed": seed}
        if ready.backbone is None or fits >= FEWEST:  # attacks on images go through the backbone, which may be large
            with suppress(DataError):  # nothing can move where all inputs are categories
                out["robustness"] = model_robustness(model, ready.encoder, ready.target, ready.original().take(ready.split.test), **attacks)
    return out


def answered(ready: Prepared, predictions: Tensor | None) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Test rows with a class, what the model says and what is right: positions ``(n,)``, probabilities ``(n, classes)``, classes ``(n,)``."""
    if ready.target.task != "classification" or predictions is None or not isinstance(ready.data.y, Tensor):
        return None
    rows = np.asarray(ready.split.test)
    if isinstance(ready.data.labeled, Tensor):
        known = ready.data.labeled[rows].numpy()
        rows, predictions = rows[known], predictions[torch.from_numpy(known)]
    return rows, predictions.double().numpy(), ready.data.y[rows].argmax(1).numpy()


def confusion(guess: np.ndarray, labels: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Counts of every pair of a class and what it was taken for.

    Example:
        >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), ["a", "b"])["counts"]
        [[1, 1], [0, 1]]
    """
    k = len(classes)
    return {"classes": classes, "counts": np.bincount(labels * k + guess, minlength=k * k).reshape(k, k).tolist()}


def calibration(ready: Prepared, found: Search, p: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Reliability of the scored networks on the test rows, as they are and with a temperature that validation rows gave."""
    out = _reliability(p, labels)
    numbers = {config.number for config in found.scored.configs}
    trials = [trial for trial in found.trials if trial.config.number in numbers]
    sure: list[Tensor] = []
    right: list[Tensor] = []
    for nth, (_, held) in enumerate(ready.split.folds):
        part: Dataset = ready.data.take(held)
        each = [predict(network, found.criterion, part.x) for trial in trials if (network := network_of(trial, nth)) is not None]
        if each and isinstance(part.y, Tensor):
            sure.append(torch.stack(each).mean(0))
            right.append(part.y.argmax(1))
    if sure:
        t = temperature_for(torch.cat(sure).double().numpy(), torch.cat(right).numpy())
        out["tempered"] = {"temperature": t, **_reliability(tempered(p, t), labels)}
    return out


def _reliability(p: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    bins = reliability(torch.from_numpy(p), torch.from_numpy(labels))
    return {"n": len(labels), "bins": bins, "ece": error_of(bins)}


def network_of(trial: Trial | None, fold_number: int = 0) -> nn.Module | None:
    """The best state of a trial's network of a fold, if it is still there."""
    if trial is None or trial.population is None or fold_number >= len(trial.indices):
        return None
    index = trial.indices[fold_number]
    outcome = trial.population.outcomes[index]
    return trial.population.model(index) if outcome.usable else None
