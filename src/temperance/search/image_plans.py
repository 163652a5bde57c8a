"""Static plans for images: networks on the pixels, from hundreds of small ones to few that learn from tens of thousands of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.registry import lookup
from temperance.core.regularizer import Regularizer
from temperance.core.schedule import Cosine, FlatCosine, Schedule
from temperance.data.dataset import Dataset
from temperance.nets import MLP, ConvNet, build_seeded
from temperance.search.image_ranges import searched
from temperance.search.plans import (
    LIKELY,
    MOST_EPOCHS,
    default_batch_size,
    default_epochs,
    default_regularizers,
    kind_of,
    many_unlabeled,
    suitable,
)
from temperance.search.space import Known, StaticPlan, chosen_regularizers
from temperance.train.optimizers import AdamW

SPEED, STEP = 5e10, 0.006  # multiplications a second of small convolutions on a processor, and seconds per step beside them
CONV_EPOCHS, CONV_SHARE = 12, 0.12  # two full runs of so many epochs must fit into this share of the time
LITTLE = 300.0  # seconds that these runs may take where nothing was said of time
SMALL_SIDE = 32  # pixels: where there is no time for the convolutions of larger images, these are brought to half
RESIDUAL = ((32, 64, 128), (0, 1, 1))  # channels and residual blocks of the network for many images
RESIDUAL_RATE = 6e-3


def mild() -> Known:
    """What a residual network is trained with for few epochs: nothing that changes images."""
    return Known({"label_smoothing.epsilon": 0.1, "weight_decay.lam": 0.05, "ema.decay": 0.99}, RESIDUAL_RATE, 1.0)


def recipes(side: int) -> list[Known]:
    """What a practitioner trains a residual network on images of so many pixels a side with, the usual one first.

    Example:
        >>> [one.strengths["random_crop.pad"] for one in recipes(28)[:1]]
        [2.0]
    """
    always = {"label_smoothing.epsilon": 0.1, "weight_decay.lam": 0.05, "ema.decay": 0.99}
    usual = {**always, "random_crop.pad": float(max(1, round(side / 14)))}
    turned = {**always, "affine.rotate": 8.0, "affine.translate": 0.06, "affine.scale": 0.1}
    covered = {**usual, "cutout.size": 0.1}
    return [Known(strengths, RESIDUAL_RATE, 1.0) for strengths in (usual, turned, covered)]


def with_asked(known: Sequence[Known], wanted: Sequence[Regularizer], use: Sequence[str | Regularizer]) -> list[Known]:
    """The recipes with what was asked for beside the usual: few trials would else not come to it. What is tried on request only is at its strongest.

    Args:
        known: the recipes.
        wanted: all regularizers of the search.
        use: those that were asked for, by name or as objects.

    Example:
        >>> from temperance.regularizers import Affine
        >>> (one,) = with_asked([Known({"random_crop.pad": 2.0}, 0.01)], [Affine()], ["Affine"])
        >>> one.strengths["random_crop.pad"], one.strengths["affine.flip"], one.strengths["affine.rotate"]
        (2.0, 0.5, 15.0)
    """
    more: dict[str, float] = {}
    for label, regularizer in Cocktail(*wanted).items():
        named = any(isinstance(item, str) and lookup(item) is type(regularizer) for item in use)
        if not named and not any(item is regularizer for item in use):
            continue
        for field, spec in regularizer.strengths().items():
            value = spec.high if named and spec.on_request else regularizer.peak(field)
            more |= {f"{label}.{field}": value} if value != spec.off else {}
    return [replace(one, strengths={**one.strengths, **more}) for one in known]


def image_plans(
    data: Dataset,
    train_rows: Sequence[int],
    *,
    folds: int = 1,
    seconds: float | None = None,
    use: Sequence[str | Regularizer] = (),
    without: Sequence[str] = (),
) -> list[StaticPlan]:
    """Plans for images: an MLP on the pixels, a small convolutional network where sizes allow it, and with a budget residual networks.

    On a processor hundreds of MLPs train as one program, and convolutional networks one after another. Of the residual networks a search keeps the
    first for which it has time, by the seconds that their steps really take (:mod:`temperance.search.few_runs`); without a budget nothing is
    measured, so that they are left out. The small convolutional network is there or not by sizes alone. Where images of more than 32 pixels a side
    would take too long, convolutions see them at half their size.

    Args:
        data: all rows, with images as x.
        train_rows: rows that train.
        folds: networks of a trial.
        seconds: the budget of the job.
        use: regularizers to search over beside the default ones.
        without: names to leave out.
    """
    shape, outputs, n = data.in_shape, data.out_features, len(train_rows)
    size = default_batch_size(n)
    wanted = chosen_regularizers(default_regularizers(kind_of(data), shape[0], many_unlabeled(data)), use, without)
    length = min(MOST_EPOCHS, 2 * default_epochs(n, size))  # augmented images last longer

    def plan(name: str, kind: Any, rate: Schedule, rates: tuple[float, float], arguments: dict[str, Any], words: str, **more: Any) -> StaticPlan:
        def made(seed: int) -> nn.Module:
            return build_seeded(lambda: kind(**arguments), seed)

        cocktail, ranges, fixed = searched(suitable(wanted, made(0), data, use), data.x, use)
        likely = {k: v for k, v in LIKELY.items() if k in cocktail.specs()}
        more = {"lengths": (0.5, 1.0), **more}
        spec = {"network": kind.__name__, "arguments": arguments}
        return StaticPlan(name, made, cocktail, AdamW(rate), rates, size, length, words, likely, spec=spec, ranges=ranges, fixed=fixed, **more)

    mlp = {"in_features": data.in_features, "out_features": outputs, "hidden": [256, 128]}
    plans = [plan("mlp", MLP, FlatCosine(3e-3, flat=0.5), (1e-3, 1e-2), mlp, "MLP 256-128 on the pixels")]
    halves = ((1, ""), (2, " at half the size")) if min(shape[1:]) > SMALL_SIDE else ((1, ""),)
    sides = {"in_shape": list(shape), "out_features": outputs}
    for shrink, where in halves:
        step = STEP + size * conv_work((shape[0], shape[1] // shrink, shape[2] // shrink), (16, 32)) / SPEED
        if 2 * folds * CONV_EPOCHS * (n / size) * step <= (LITTLE if seconds is None else CONV_SHARE * seconds):
            conv = {**sides, "channels": [16, 32], "readout": "flatten"} | ({"shrink": shrink} if shrink > 1 else {})
            words = f"convolutions 3 x 3 with 16-32 channels, BatchNorm{where}"
            plans.append(plan("conv", ConvNet, FlatCosine(4e-3, flat=0.5), (1e-3, 1e-2), conv, words))
            break
    for shrink, where in halves if seconds is not None else ():
        arguments = {**sides, "channels": list(RESIDUAL[0]), "residual": list(RESIDUAL[1])} | ({"shrink": shrink} if shrink > 1 else {})
        words = f"residual blocks 3 x 3 with {'-'.join(map(str, RESIDUAL[0]))} channels, BatchNorm{where}"
        short, *known = with_asked([mild(), *recipes(min(shape[1:]) // shrink)], wanted, use)
        more: dict[str, Any] = {"lengths": (1.0,), "known": known, "first": len(known), "alone": 1.0, "best": True, "short": short}
        name = "residual" if shrink == 1 else "residual-half"
        plans.append(plan(name, ConvNet, Cosine(RESIDUAL_RATE, warmup=0.2), (2e-3, 1.5e-2), arguments, words, **more))
    return plans


def conv_work(shape: Sequence[int], channels: Sequence[int]) -> int:
    """Multiplications of a training step of 3 x 3 convolutions with pooling, for one image.

    Example:
        >>> conv_work((1, 28, 28), (16, 32))
        3048192
    """
    depth, height, width = shape
    work = 0
    for wide in channels:
        work += 9 * depth * wide * height * width
        depth, height, width = wide, max(1, height // 2), max(1, width // 2)
    return 3 * work
