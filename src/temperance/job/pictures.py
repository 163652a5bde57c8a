"""What the report of a fit of images shows: augmented samples, first-layer filters, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.batch import Batch, full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.inputs import scale_of
from temperance.core.random import Rng, fold, key_of, stream_of
from temperance.core.regularizer import Context
from temperance.data.encode_images import ImageEncoder
from temperance.job.judged import answered, network_of
from temperance.job.prepare import Prepared
from temperance.report.pictures import Pictures, variation
from temperance.search.result import Search
from temperance.train.rows import drawn

SAMPLES, DRAWS, BESIDE = 10, 6, 64
FILTERS, ERRORS = 40, 24
LARGE = 64 * 64  # numbers of an image, from which fewer are shown so that the page stays small


def picture(ready: Prepared, found: Search, predictions: Tensor | None) -> tuple[Pictures, dict[str, Any]]:
    """The arrays of the pictures, and what the summary says about them.

    Args:
        ready: with images.
        found: the search.
        predictions: of the scored networks for the test rows, ``None`` where there are none.
    """
    assert ready.images is not None and isinstance(ready.encoder, ImageEncoder)
    facts: dict[str, Any] = {}
    few = 1 if np.prod(ready.images.shape) <= LARGE else 2
    originals, draws, facts["samples"] = _samples(ready, ready.encoder, found.cocktail, SAMPLES // few)
    filters, facts["filters"] = ({}, {}) if ready.backbone is not None else _filters(ready.images.shape, found, FILTERS // few)
    wrong = None
    known = answered(ready, predictions)
    if known is not None:
        wrong, facts["errors"] = _errors(ready, *known, ERRORS // few)
        wrong = ready.images.pixels[wrong] if len(wrong) else None
    light = 255.0 / max(int(ready.images.pixels.max()), 1)  # images of 16 shades of gray would be black

    def shown(pixels: np.ndarray) -> np.ndarray:
        return np.minimum(pixels * light, 255).round().astype(np.uint8)

    return Pictures(shown(originals), shown(draws), filters, None if wrong is None else shown(wrong)), {k: v for k, v in facts.items() if v}


def _samples(ready: Prepared, encoder: ImageEncoder, cocktail: Cocktail, images: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Training images of different classes, and several draws of the cocktail's batch sites."""
    rows = torch.as_tensor(ready.split.folds[0][0])
    rows = rows[drawn(len(rows), max(BESIDE, 20 * images))]
    labels = ready.target.decode(ready.data.take(rows).y)
    first = [int(np.flatnonzero(labels == label)[0]) for label in dict.fromkeys(labels.tolist())] if ready.target.task == "classification" else []
    order = [*first[:images], *(i for i in range(len(rows)) if i not in first[:images])]
    chosen = rows[order[:BESIDE]]
    shown = min(images, len(chosen))
    part = ready.data.take(chosen)
    assert ready.images is not None
    pixels = ready.images.pixels[chosen]
    of_images = [] if ready.backbone is not None else cocktail.items()  # a cocktail on features changes no image
    sites = [(label, r) for label, r in of_images if "batch" in r.sites() and r.wants("batch") and not r.is_off()]
    constants = {"input_scale": scale_of(ready.data.take(ready.split.folds[0][0]).x), "tasks": ready.data.task}
    given = full_batch(part.x, part.y, labeled=part.labeled)
    changed: dict[str, None] = {}
    draws, mixed = list[np.ndarray](), False
    for step in range(DRAWS if sites else 0):
        batch = given
        for label, r in sites:
            ctx = Context(Rng(fold(key_of(ready.split.folds[0][0].size), step), stream_of(label, "batch")), constants=constants)
            after: Batch = r.bind(None, torch.ones(())).batch(batch, ctx)
            if not torch.equal(after.x, batch.x):
                changed[type(r).__name__] = None
            batch = after
        mixed = mixed or not torch.equal(batch.y.argmax(1), given.y.argmax(1))
        draws.append(encoder.decode(batch.x[:shown]))
    empty = np.empty((shown, 0, *encoder.shape), np.uint8)
    mixes = mixed and ready.target.task == "classification"
    facts = {
        "changed_by": list(changed),
        "mixed": mixes,
        "images": shown,
        "labels": [str(v) for v in np.asarray(ready.target.decode(part.y))[:shown].tolist()],
    }
    return pixels[:shown], np.stack(draws, 1) if changed else empty, facts


def first_filters(network: nn.Module, shape: tuple[int, int, int]) -> tuple[str, np.ndarray] | None:
    """The first layer's name and weights as images ``(filters, channels, height, width)``; ``None`` where it looks at no image.

    Example:
        >>> name, weights = first_filters(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), (1, 8, 8))
        >>> name, weights.shape
        ('1', (5, 1, 8, 8))
    """
    c, h, w = shape
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == c and min(module.weight.shape[2:]) > 1:
            return name, module.weight.detach().cpu().numpy()
        if isinstance(module, nn.Linear) and module.in_features == c * h * w:
            return name, module.weight.detach().cpu().reshape(-1, c, h, w).numpy()
    return None


def _filters(shape: tuple[int, int, int], found: Search, most: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Filters of the winner and of its control, the same units."""
    layers = {key: first_filters(network, shape) for key, trial in (("with", found.winner), ("without", found.without)) if (network := network_of(trial))}
    weights = {key: layer[1] for key, layer in layers.items() if layer is not None}
    if "with" not in weights:
        return {}, {}
    size = np.square(weights["with"]).sum((1, 2, 3))
    units = np.argsort(-size, kind="stable")[:most]
    name = layers["with"][0] if layers["with"] is not None else ""
    facts = {"layer": name, "n": len(size), "variation": {key: variation(w) for key, w in weights.items()}}
    return {key: w[units] for key, w in weights.items()}, facts


def _errors(ready: Prepared, rows: np.ndarray, p: np.ndarray, labels: np.ndarray, most: int) -> tuple[np.ndarray, dict[str, Any]]:
    """The rows that are wrong with the most confidence."""
    assert ready.images is not None
    guess, sure = p.argmax(1), p.max(1)
    wrong = np.flatnonzero(guess != labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:most]
    classes = [str(c) for c in ready.target.classes]
    told = [
        {
            "row": int(rows[i]),
            "name": ready.images.name(int(rows[i])),
            "label": classes[labels[i]],
            "prediction": classes[guess[i]],
            "confidence": float(sure[i]),
        }
        for i in worst
    ]
    return rows[worst], {"n": len(rows), "wrong": len(wrong), "worst": told}
