"""The law that inputs and targets move together, and that it catches what would break it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
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
    where: Any = tp.selectors.OneOf()

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
    where = tp.selectors.OneOf() if where is None else where
    fields = {"__annotations__": {"fault": str, "where": Any}, "fault": fault, "where": where}
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(type("Mixer", (Mixer,), fields))()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_right_mixer_of_two_sites_passes(shape: str) -> None:
    for where in (tp.selectors.OneOf(), tp.selectors.First(), tp.selectors.Last()):
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
        check_together(mixer("", tp.selectors.Hidden()), "numbers")


def own(cls: type) -> Any:
    """A regularizer of one's own."""
    return dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)


def in_a_loop(regularizer: Regularizer, steps: int) -> Iterator[int]:
    """Steps of a loop around a deep network."""
    layers = [part for _ in range(5) for part in (torch.nn.Linear(4, 4), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reg = tp.Cocktail(regularizer).attach(model, optimizer, torch.nn.MSELoss())
    for i in range(steps):
        reg.loss(torch.ones(5, 4), torch.zeros(5, 1)).backward()
        optimizer.step()
        yield i


def test_other_masks_in_one_step_leave_shared_draws_as_they_are() -> None:
    """Two sites agree on what they share in every pass of a step, also in one with masks of its own; the next step has other draws."""
    seen: list[tuple[float, float]] = []

    @own
    class Twice(Regularizer):
        where: Any = tp.selectors.Last()

        def hidden(self, h: Tensor, ctx: Context) -> Tensor:
            seen.append((float(ctx.shared.uniform()), float(ctx.rng.uniform())))
            return h

        def around(self, objective: Any, params: Any, batch: Batch, ctx: Context) -> Any:
            for draw in (0, 1, 2):
                ctx.forward(params, batch.x, "train", draw=draw)
            seen.append((float(ctx.shared.uniform()), float("nan")))
            return objective(params, batch)

    shared: list[float] = []
    for _ in in_a_loop(Twice(), 2):
        assert len({both[0] for both in seen}) == 1
        plain, first, second, _, objective = (both[1] for both in seen)
        assert plain == objective and len({plain, first, second}) == 3
        shared.append(seen[0][0])
        seen.clear()
    assert shared[0] != shared[1]


@pytest.mark.parametrize("draw", [0, 1, 2])
def test_one_of_the_layers_is_the_same_one_in_every_pass(draw: int) -> None:
    hits: list[int] = []

    @own
    class Marking(Regularizer):
        where: Any = tp.selectors.OneOf()

        def hidden(self, h: Tensor, ctx: Context) -> Tensor:
            return torch.full_like(h, 7.0)

        def around(self, objective: Any, params: Any, batch: Batch, ctx: Context) -> Any:
            for taps in (ctx.forward(params, batch.x, "train", draw=draw)[2], objective(params, batch)[3]):
                hits.append([bool((h == 7.0).all()) for h in taps[self.label].values()].index(True))
            return objective(params, batch)

    for _ in in_a_loop(Marking(), 6):
        assert hits[-2] == hits[-1]
    assert len(set(hits)) > 1
