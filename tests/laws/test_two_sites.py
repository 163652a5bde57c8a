"""The law that inputs and targets move together, and that it catches what would break it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from tests.laws.harness import VARIANTS
from tests.laws.two_sites import SHAPES, check_together, moves_both
from torch import Tensor

import temperance as tp
from temperance.core.batch import Batch, map_leaves
from temperance.core.regularizer import Context, Regularizer

TOGETHER = [(variant, shape) for variant, r in VARIANTS.items() for shape in SHAPES if moves_both(r, shape)]


def test_the_law_is_about_what_mixes() -> None:
    assert {"MixUp", "CutMix"} <= {variant.partition("-")[0] for variant, _ in TOGETHER}
    assert not {"LabelSmoothing", "TargetNoise", "InputNoise", "Dropout"} & {variant.partition("-")[0] for variant, _ in TOGETHER}


@pytest.mark.parametrize(("variant", "shape"), TOGETHER)
def test_inputs_and_targets_move_together(variant: str, shape: str) -> None:
    check_together(VARIANTS[variant], shape)


class Mixer(Regularizer):
    """Mixes targets in ``batch``, and inputs there or hidden units in ``hidden``; a fault makes it wrong in one way."""

    fault: str = ""
    where: Any = tp.OneOf()

    def _draw(self, ctx: Context, n: int) -> tuple[Tensor, Tensor]:
        rng = ctx.rng if self.fault == "draws of its own at each site" else ctx.shared
        return rng.uniform(dtype=torch.float64), rng.permutation(n)

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        keep, partner = self._draw(ctx, len(batch.weight))
        if self.fault == "another weight for the targets":
            keep = 1.0 - keep
        if self.fault == "another partner for the targets":
            partner = ctx.rng.permutation(len(batch.weight))
        weight = batch.weight if self.fault == "weights of rows stay" else torch.lerp(batch.weight[partner], batch.weight, keep)
        return batch._replace(y=map_leaves(lambda leaf: torch.lerp(leaf[partner], leaf, keep), batch.y), weight=weight)

    def hidden(self, h: Tensor, ctx: Context) -> Tensor:
        keep, partner = self._draw(ctx, len(h))
        return h if self.fault == "hidden units stay" else torch.lerp(h[partner], h, keep)


def mixer(fault: str, where: Any = None) -> Regularizer:
    where = tp.OneOf() if where is None else where
    fields = {"__annotations__": {"fault": str, "where": Any}, "fault": fault, "where": where}
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(type("Mixer", (Mixer,), fields))()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_right_mixer_of_two_sites_passes(shape: str) -> None:
    for where in (tp.OneOf(), tp.First(), tp.Last()):
        assert moves_both(mixer("", where), shape)
        check_together(mixer("", where), shape)


FAULTS = ["draws of its own at each site", "another weight for the targets", "another partner for the targets", "hidden units stay", "weights of rows stay"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_wrong_mixer_is_caught(fault: str, shape: str) -> None:
    with pytest.raises(AssertionError, match=r"inputs and targets of .* part|moves targets, but not weights"):
        check_together(mixer(fault), shape)


def test_mixing_at_every_layer_where_one_is_meant_is_caught() -> None:
    with pytest.raises(AssertionError, match="part"):
        check_together(mixer("", tp.Hidden()), "numbers")
