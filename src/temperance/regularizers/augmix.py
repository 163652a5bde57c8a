"""AugMix: the same answer for an image and for mixtures of its changes."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from temperance.core.batch import Batch, is_image, leaves_of, map_leaves, per_row
from temperance.core.criterion import Criterion
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, strength
from temperance.regularizers._image_changes import MOVES, applied
from temperance.regularizers._images import working
from temperance.regularizers._predictions import at, classifying

CHAINS, DEPTH = 3, 3
CHANGES = ("identity", *MOVES, "posterize", "solarize", "autocontrast")
TINY = 1e-30  # a probability below it adds nothing


@register
class AugMix(Regularizer):
    """Asks for the same prediction for an image and for two mixtures of its changes.

    What: three chains of one to three random changes are applied to an image and averaged with random weights; the average is mixed with the
    image itself. Two such views of every image pass through the network, and the three predictions should agree. The data loss sees the image as it is.

    Formula: J + lam · mean over rows of JS(p; p', p''), JS = (KL(p, m) + KL(p', m) + KL(p'', m)) / 3 with m the mean of the three, p the
    probabilities of the image x and p', p'' those of two views a x + (1 - a) Σ_i w_i c_i(x), with a ~ Uniform(0, 1) and w ~ Dirichlet(1, 1, 1).
    A chain c_i is one to three changes out of rotation, shear and shift along either side, fewer shades, inverted light parts and the full
    range of shades, each of a magnitude of its own, uniform between 0 and ``magnitude``; the magnitudes are those of RandAugment. With
    several labels JS is summed over them, each against its complement. All three predictions are differentiated.

    When: photographs, where the test images may be noisy, blurred or otherwise unlike those that train; also for surer probabilities. The
    paper's lam is 12; it weighs against a cross-entropy of about 1.

    Composes: what changes the minibatch (RandomCrop, Affine, MixUp) is done before, and seen by all three. Dropout has the same masks in all of them.
    Rows without a target count; weights of rows do not. Inputs that are no images stay as they are. Values have no such divergence: it is
    for classes and labels, and of several heads it regards those that have them.

    Cost: three more forward and backward passes, and nine changes of twice as many images.

    Reference: Hendrycks et al. (2020), AugMix: A simple data processing method to improve robustness and uncertainty.

    Args:
        lam: weight of the divergence.
        magnitude: greatest strength of a change, in [0, 1].

    Example:
        >>> import temperance as tp
        >>> tp.AugMix(12.0)
        AugMix(lam=12.0, magnitude=0.3)
    """

    spec: ClassVar[str] = "3 image augmentation"
    reference: ClassVar[str] = "Hendrycks et al. 2020"
    acts_on: ClassVar[str] = "image"
    short: ClassVar[str] = "augmix"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")

    lam: Strength = strength(12.0, off=0.0, low=0.5, high=30.0, log=True, meaning="weight of the divergence")
    magnitude: Strength = strength(0.3, off=0.0, low=0.05, high=1.0, log=True, valid="[0, 1]", meaning="greatest strength of a change")

    def is_off(self) -> bool:
        return any(self.peak(name) == 0.0 for name in ("lam", "magnitude"))

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        heads = classifying(ctx.criterion, type(self).__name__, self.tasks)
        total, report, buffers, taps = objective(params, batch)
        if not any(map(is_image, leaves_of(batch.x))):
            return total, {**report, self.label: torch.zeros_like(total)}, buffers, taps
        views = [self._view(batch.x, ctx) for _ in range(2)]
        outs = [ctx.forward(params, x, "train")[0] for x in (batch.x, *views)]
        parts = [scale * divergence(one, [at(out, name) for out in outs]) for name, one, scale in heads]
        on = torch.logical_and(self.lam > 0, self.magnitude > 0)
        extra = torch.where(on, self.lam * torch.stack(parts).sum(), torch.zeros_like(total))
        return total + extra, {**report, self.label: extra}, buffers, taps

    def _view(self, x: Any, ctx: Context) -> Any:
        return map_leaves(lambda leaf: self.mixed(leaf.detach(), ctx) if is_image(leaf) else leaf.detach(), x)

    def mixed(self, image: Tensor, ctx: Context) -> Tensor:
        """One view of every image: chains of changes, averaged, and mixed with the image."""
        rows, start = len(image), image.to(working(image))
        dtype = start.dtype
        kind = ctx.rng.integers(len(CHANGES) - 1, (DEPTH, CHAINS * rows)) + 1
        depth = ctx.rng.integers(DEPTH, (CHAINS * rows,)) + 1
        size, turn = ctx.rng.uniform((2, DEPTH, CHAINS * rows), dtype)
        share = -ctx.rng.uniform((CHAINS, rows), dtype).log()
        own = ctx.rng.uniform((rows,), dtype)
        chains = start.repeat(CHAINS, 1, 1, 1)
        for link in range(DEPTH):
            chosen = torch.where(link < depth, kind[link], torch.zeros_like(depth))
            sign = torch.where(turn[link] < 0.5, -1.0, 1.0).to(dtype)
            chains = applied(chains, chosen, self.magnitude.to(dtype) * size[link], sign, "border", CHANGES)
        weight = share / share.sum(0)
        together = (weight.reshape(CHAINS, rows, 1, 1, 1) * chains.unflatten(0, (CHAINS, rows))).sum(0)
        return torch.lerp(together, start, per_row(own, start)).to(image.dtype)


def divergence(criterion: Criterion, outs: list[Tensor]) -> Tensor:
    """Mean over rows of the Jensen-Shannon divergence of several predictions, in nats; of several labels the sum of theirs."""
    each = [criterion.predict(out) for out in outs]
    each = [p if p.dim() > 1 else p.unsqueeze(-1) for p in each]
    middle = torch.stack(each).mean(0)

    def spread(of: list[Tensor], around: Tensor) -> Tensor:
        logs = around.clamp_min(TINY).log()
        return torch.stack([p * (p.clamp_min(TINY).log() - logs) for p in of]).mean(0)

    own = spread(each, middle)
    if criterion.task == "multilabel":
        own = own + spread([1 - p for p in each], 1 - middle)
    return own.sum(-1).mean()
