"""CutMix: rows made of pieces of two rows."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, is_image, leaves_of, map_leaves, per_row, rows_of
from temperance.core.regularizer import Context, Regularizer, register
from temperance.core.strength import Strength, strength
from temperance.regularizers.mixup import partners


@register
class CutMix(Regularizer):
    """Replaces part of each row by the same part of another row, and its target in proportion.

    What: an image gets a box of its partner's image, a table row some of its partner's columns, categories too. Everything stays a real value,
    unlike in MixUp. The partner is a random permutation of the minibatch.

    Formula: x <- M ⊙ x + (1 - M) ⊙ x', y <- m y + (1 - m) y', where m is the mean of the mask M of that row, counted after the box was cut off at
    the border, so that target mass equals kept mass exactly. The box has sides √(1 - u) of the image's, centred anywhere; a column is kept with
    probability u; u is uniform on (0, 1) for each row. A mixed row counts as labelled where both rows are.

    When: images in which parts suffice to tell the class; tables with many redundant columns. Not where one small spot decides, for then the target
    may go with the wrong piece.

    Composes: with LabelSmoothing in either order, with MixUp one after the other. Any minibatch size; a single row is left alone.

    Cost: one gather, one mask and one selection of the inputs.

    Reference: Yun et al. (2019), CutMix; with columns in place of boxes it is the swap of Bahri et al. (2022), SCARF.

    Args:
        p: probability that a minibatch is mixed.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> from temperance.core.batch import full_batch
        >>> from temperance.core.regularizer import Context
        >>> batch = full_batch(torch.zeros(6, 1, 4, 8), torch.eye(3).repeat(2, 1))
        >>> tp.CutMix(1.0).bind().batch(batch, Context()).y.sum(-1)
        tensor([1., 1., 1., 1., 1., 1.])
    """

    spec: ClassVar[str] = "3 any data"
    reference: ClassVar[str] = "Yun et al. 2019"
    short: ClassVar[str] = "cutmix"
    soft_targets: ClassVar[bool] = True

    p: Strength = strength(0.5, off=0.0, low=0.05, high=1.0, valid="[0, 1]", meaning="probability that a minibatch is mixed")

    def batch(self, batch: Batch, ctx: Context) -> Batch:
        on = ctx.rng.uniform() < self.p
        partner = partners(batch, on, ctx)
        u = ctx.rng.uniform((rows_of(batch.x),))
        masks: Any = map_leaves(lambda leaf: _box(leaf, u, ctx) if is_image(leaf) else ctx.rng.uniform(tuple(leaf.shape)) < per_row(u, leaf), batch.x)
        kept = _kept(masks, batch.x)
        kept = torch.where(on, kept, torch.ones_like(kept))

        def mix(leaf: Tensor) -> Tensor:
            return torch.lerp(leaf[partner], leaf, per_row(kept, leaf).to(leaf.dtype))

        x: Any = map_leaves(lambda leaf, mask: torch.where(mask, leaf, leaf[partner]), batch.x, masks)
        labeled: Any = map_leaves(lambda marks: marks & marks[partner], batch.labeled)
        return Batch(x, map_leaves(mix, batch.y), mix(batch.weight), labeled, batch.row_id)


def _box(image: Tensor, u: Tensor, ctx: Context) -> Tensor:
    """True outside a random box of the share 1 - u of the area, cut off at the border: ``(rows, 1, height, width)``."""
    half = 0.5 * (1.0 - u).sqrt()
    inside: list[Tensor] = []
    for size in image.shape[-2:]:
        centre = ctx.rng.uniform((image.shape[0],))
        pixels = (torch.arange(size, device=image.device) + 0.5) / size
        inside.append((pixels - centre.unsqueeze(-1)).abs() < half.unsqueeze(-1))
    return ~(inside[0].unsqueeze(-1) & inside[1].unsqueeze(-2)).unsqueeze(1)


def _kept(masks: Any, x: Any) -> Tensor:
    """The share of entries of each row that are its own, over all leaves."""
    own, total = torch.zeros(()), 0
    for mask, leaf in zip(leaves_of(masks), leaves_of(x), strict=True):
        entries = leaf[0].numel()
        if not entries:  # a table without columns of this kind: the mean over nothing is no number
            continue
        own = own + mask.flatten(1).double().mean(1) * entries if mask.dim() > 1 else own + mask.double()
        total += entries
    return own / total
