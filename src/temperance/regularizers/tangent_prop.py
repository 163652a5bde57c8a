"""TangentProp: no change of the output along directions that do not change the target."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, is_image, map_leaves
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, strength
from temperance.core.tangents import image_tangents
from temperance.regularizers._inputs import unit_of
from temperance.regularizers._predictions import at, heads_of


@register
class TangentProp(Regularizer):
    """Asks the derivative of the network's output to vanish along directions in which rows may move without another target.

    What: an infinitesimal kind of augmentation: in place of training on moved rows it penalizes how fast the output changes when a row starts to
    move. For images the movements are translation, rotation and scaling.

    Formula: J + lam · mean over rows of Σ_t ‖∂f/∂x · t‖², f the network's output before softmax, at evaluation statistics with masks off. The
    derivative is exact. The tangents t of a row are those of ``Dataset.tangents`` where the data has them; else for images the four of
    ``tp.data.image_tangents``; else one random direction a step, Gaussian with the standard deviation s of each input, which makes the mean
    penalty lam · ‖∂f/∂x · s‖²_F, that of the whole Jacobian. Of several heads the penalties are weighted as in the loss.

    When: invariances that are known and small: few rows, smooth inputs. Where rows can be moved at will, augmentation with real movements is cheaper and
    reaches further. With ReLU the derivative vanishes only piece by piece. It needs no targets, so rows without one count too.

    Composes: with augmentation of images, whose tangents are then those of the changed images. Given tangents belong to the rows as they are in the
    data: leave out what mixes or moves rows (MixUp, CutMix, augmentation). With ``tp.nets.manifold_tangents`` it makes the manifold tangent classifier.

    Cost: for each tangent about three more forward and backward passes.

    Reference: Simard, Victorri, LeCun & Denker (1992), Tangent prop; Rifai et al. (2011), The manifold tangent classifier.

    Args:
        lam: weight of the squared derivatives.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> images = tp.data.Dataset(torch.rand(12, 1, 6, 6), torch.eye(2).repeat(6, 1), "classification")
        >>> done = tp.fit(tp.nets.MLP(36, 2, hidden=(8,)), tp.Cocktail(tp.TangentProp(0.1)), images, steps=2, early_stopping=None)
        >>> done.outcomes[0].status
        'finished'
    """

    spec: ClassVar[str] = "3 tangent methods"
    reference: ClassVar[str] = "Simard, Victorri, LeCun & Denker 1992"

    lam: Strength = strength(0.1, off=0.0, low=1e-4, high=10.0, log=True, meaning="weight of the squared derivatives")

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        heads = heads_of(ctx.criterion, type(self).__name__)
        total, report, buffers, taps = objective(params, batch)
        x = map_leaves(Tensor.detach, batch.x)
        leaves: dict[str | None, Tensor] = dict(x) if isinstance(x, dict) else {None: x}
        moving = {name: leaf for name, leaf in leaves.items() if leaf.is_floating_point()}
        tangents = {name: self._tangents(name, leaf, batch, ctx) for name, leaf in moving.items()}
        k = sum(t.shape[1] for t in tangents.values())
        if not k:
            return total, {**report, self.label: torch.zeros_like(total)}, buffers, taps
        wide: dict[str | None, Tensor] = {name: leaf.unsqueeze(1).expand(-1, k, *leaf.shape[1:]).flatten(0, 1) for name, leaf in leaves.items()}
        along: dict[str | None, Tensor] = {}
        start = 0
        for name, t in tangents.items():  # those of one leaf leave the others where they are
            padding = [t.new_zeros(t.shape[0], n, *t.shape[2:]) for n in (start, k - start - t.shape[1])]
            along[name] = torch.cat([padding[0], t, padding[1]], 1).flatten(0, 1)
            start += t.shape[1]

        def output(part: dict[str | None, Tensor]) -> Any:
            whole: Any = {**wide, **part}
            return ctx.forward(params, whole.get(None, whole), "eval")[0]

        slopes = _along(output, {name: wide[name] for name in along}, along)
        rows = next(iter(leaves.values())).shape[0]
        parts = [scale * at(slopes, name).square().sum() / rows for name, _, scale in heads]
        penalty = torch.stack(parts).sum()
        extra = torch.where(self.lam > 0, self.lam * penalty, torch.zeros_like(total))
        return total + extra, {**report, self.label: extra}, buffers, taps

    def _tangents(self, name: str | None, leaf: Tensor, batch: Batch, ctx: Context) -> Tensor:
        """Directions ``(rows, k, ...)`` in which a leaf may move."""
        given = ctx.constants.get("tangents")
        if given is not None:
            own = at(given, name) if name is None or name in given else leaf.new_zeros(0)
            return own.to(leaf.dtype)[batch.row_id] if own.numel() else leaf.new_zeros(leaf.shape[0], 0, *leaf.shape[1:])
        if is_image(leaf):
            return image_tangents(leaf)
        unit = at(unit_of(batch.x, ctx), name)
        return (unit * ctx.rng.normal(tuple(leaf.shape), leaf.dtype)).unsqueeze(1)


def _along(function: Any, x: dict[str | None, Tensor], t: dict[str | None, Tensor]) -> Any:
    """The derivative of a function along t, exactly, by two backward passes: Jᵀu is linear in u, and its own transpose applied to t is J t.

    Forward-mode differentiation would need one pass, but not every operation of a network has it.
    """
    passed: Any = torch.func.vjp(function, x)
    out, back = passed
    transposed: Any = torch.func.vjp(lambda u: back(u)[0], map_leaves(torch.zeros_like, out))
    return transposed[1](t)[0]
