"""Monte-Carlo dropout: predictions as means over random passes, with their spread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from temperance.core.ambient import plainly
from temperance.core.batch import full_batch, leaves_of, map_leaves, rows_of
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, criterion_for
from temperance.core.errors import ConfigError, expected
from temperance.core.moment import Moment
from temperance.core.passes import Pass, evaluating
from temperance.core.program import Program, wiring_for
from temperance.core.random import fold, key_of
from temperance.core.regularizer import Context
from temperance.core.shown import shown
from temperance.train.ways import absorb, bytes_a_member, choose_way, parse_memory


@shown
@dataclass(frozen=True, eq=False)
class MonteCarlo:
    """What :func:`monte_carlo` returns, a row for each row of the inputs.

    Attributes:
        mean: mean prediction over the passes: probabilities, or values.
        std: standard deviation of the prediction over the passes (their own, without a correction for a sample).
        entropy: for classes the entropy of the mean prediction in nats ``(rows,)``, all uncertainty; summed over the labels of a multi-label task.
        mutual_information: for classes the part of it that the passes disagree about: the entropy less the mean entropy of a pass.
        passes: how many.
    """

    mean: Tensor
    std: Tensor
    entropy: Tensor | None
    mutual_information: Tensor | None
    passes: int


@plainly
def monte_carlo(
    model: nn.Module,
    cocktail: Cocktail,
    x: Any,
    passes: int = 100,
    seed: int = 0,
    *,
    task: str | None = None,
    batch_size: int = 256,
    memory: str | int = "1G",
) -> MonteCarlo:
    r"""Predict with the masks and noise of training, many times over: Monte-Carlo dropout.

    With predictions :math:`p_t` of :math:`T` passes, the mean is :math:`\bar p = \frac{1}{T} \sum_t p_t`; for classes the entropy :math:`H(\bar p)`
    is split into :math:`\frac{1}{T} \sum_t H(p_t)`, noise of the data, and the rest, the mutual information of the label and the mask, which more
    data of the same kind would lower.

    A pass draws what the cocktail does to hidden units, to weights, and to inputs where the same regularizer has hidden units too (dropout), all as at the
    end of training; BatchNorm uses its running statistics. Mixing, augmentation and noise of inputs are left out. ``nn.Dropout`` modules of the network
    count like those of the cocktail. Draws depend on the seed and the pass alone, so that the first passes of many are those of few; rows that
    lie ``batch_size`` apart share their masks, and a mask of the whole minibatch holds for all rows of a pass.

    Args:
        model: a network of one output; it is not changed, nor its mode and its buffers.
        cocktail: with regularizers that act on hidden units or weights, usually the one it was trained with.
        x: inputs as the network takes them.
        passes: how many thinned networks to ask.
        seed: of all draws; the global generators are left alone.
        task: ``"classification"`` or ``"multilabel"`` if the network returns scores, which become probabilities; else its outputs are taken as they are.
        batch_size: rows of one pass.
        memory: how much memory the passes that run together may plan for.

    Returns:
        a :class:`MonteCarlo`.

    Raises:
        ConfigError: nothing in the cocktail or the network is random at prediction; settings that cannot work.

    Source:
        Gal and Ghahramani, *Dropout as a Bayesian approximation* (2016); Houlsby et al., *Bayesian active learning* (2011), for the mutual information.

    Example:
        >>> import temperance as tp
        >>> net = tp.nets.MLP(3, 2, hidden=(16,))
        >>> found = monte_carlo(net, tp.Cocktail(tp.Dropout(0.5)), torch.randn(5, 3), task="classification")
        >>> found.mean.shape, found.entropy.shape, bool((found.mutual_information >= 0).all())
        (torch.Size([5, 2]), torch.Size([5]), True)
    """
    for name, value in (("passes", passes), ("batch_size", batch_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:  # pyright: ignore[reportUnnecessaryIsInstance] -- for callers without types
            raise ConfigError(expected(name, "monte_carlo", "to be a whole number in [1, inf)", value))
    skeleton, absorbed = absorb(model)
    whole = Cocktail(*[r.replace(name=label) for label, r in cocktail.active().items()], *absorbed)
    criterion = Criterion() if task is None else criterion_for(task)
    program = Program(whole, skeleton, criterion, wiring=wiring_for([whole], skeleton, x))
    if not (program.of("hidden") or program.of("weights")):
        mend = "Give one that draws masks or noise in the network: without it every pass is the same."
        raise ConfigError(expected("cocktail", "monte_carlo", "to hold a regularizer that acts on hidden units or weights", cocktail, mend))
    draws = Draws(program, skeleton, x)
    device = draws.device
    keys = torch.stack([fold(key_of(seed), t) for t in range(passes)]).to(device)
    first = map_leaves(lambda leaf: leaf[:batch_size], x)
    together = max(1, parse_memory(memory) // max(1, bytes_a_member(skeleton, map_leaves(lambda leaf: leaf[:8], x), rows_of(first), 0, 0)[1]))
    vmapped = together > 1 and choose_way(skeleton, x, device).vmapped

    def several(rows: Any) -> Iterator[Tensor]:
        for part in keys.split(together if vmapped else 1):
            yield criterion.predict(torch.vmap(lambda key: draws(key, rows))(part) if vmapped else draws(part[0], rows).unsqueeze(0))

    found: list[tuple[Tensor, ...]] = []
    with torch.no_grad(), evaluating(skeleton, True):
        for start in range(0, rows_of(x), batch_size):
            rows = map_leaves(lambda leaf, a=start: leaf[a : a + batch_size], x)
            found.append(_summary(several(rows), task))
    mean, std, *rest = (torch.cat(parts) for parts in zip(*found, strict=True))
    return MonteCarlo(mean, std, *(rest or (None, None)), passes=passes)  # pyright: ignore[reportArgumentType] -- both or none


class Draws:
    """The network's output in one random pass, as a function of its key."""

    def __init__(self, program: Program, model: nn.Module, x: Any) -> None:
        self.program, self.model = program, model
        self.params = {name: p.detach() for name, p in model.named_parameters()}
        self.buffers = dict(model.named_buffers())
        like = next((p for p in self.params.values() if p.is_floating_point()), leaves_of(x)[0])
        self.device, self.dtype = like.device, like.dtype
        self.values = {name: torch.tensor(v, dtype=like.dtype, device=like.device) for name, v in program.cocktail.strengths().items()}
        self.state = program.init(self.params)
        hidden = {label for label, _ in program.of("hidden")}
        self.on_inputs = [label for label, _ in program.of("batch") if label in hidden]

    def __call__(self, key: Tensor, x: Any) -> Tensor:
        program, last = self.program, torch.ones((), dtype=self.dtype, device=self.device)
        moment = Moment(key, torch.zeros((), dtype=torch.int64, device=self.device), last, torch.zeros_like(last), torch.zeros_like(last))
        bound = program.bind(self.values, last)

        def context(label: str, site: str, *path: object) -> Context:
            return program.context(label, site, moment, self.state, None, *path)

        seen = dict(self.params)
        for label, _ in program.of("weights"):
            seen.update(bound[label].weights({name: seen[name] for name in program.selected[label]}, context(label, "weights")))
        for label in self.on_inputs:
            n = rows_of(x)
            x = bound[label].batch(full_batch(x, torch.zeros(n, 1, dtype=self.dtype, device=self.device)), context(label, "batch")).x
        with program.passing(Pass("train", bound, context)):
            out = functional_call(self.model, {**seen, **self.buffers}, (x,))
        if not isinstance(out, Tensor):
            raise ConfigError(expected("model", "monte_carlo", "to return one tensor", type(out).__name__, "Wrap it in a module that returns one head."))
        return out


_ENTROPY: dict[str, Callable[[Tensor], Tensor]] = {
    "classification": lambda p: torch.special.entr(p).sum(-1),
    "multilabel": lambda p: (torch.special.entr(p) + torch.special.entr(1.0 - p)).sum(-1),
}


def _summary(parts: Iterator[Tensor], task: str | None) -> tuple[Tensor, ...]:
    """Mean and standard deviation over all passes of ``(passes, rows, outputs)`` parts, and for classes the two entropies, in double precision.

    Means and sums of squares of two parts are joined by the rule of Chan, Golub and LeVeque (1983), which subtracts no large numbers.
    """
    count, mean, squares, apart, dtype = 0, torch.zeros(()), torch.zeros(()), torch.zeros(()), torch.float32
    entropy = _ENTROPY.get(task or "")
    for part in parts:
        dtype, p, n = part.dtype, part.double(), len(part)
        centre = p.mean(0)
        own, gap = (p - centre).square().sum(0), centre - mean
        squares = own if count == 0 else squares + own + gap.square() * (count * n / (count + n))
        mean = centre if count == 0 else mean + gap * (n / (count + n))
        if entropy is not None:
            apart = apart + entropy(p).sum(0)
        count += n
    out = [mean, (squares / count).sqrt()]
    if entropy is not None:
        total = entropy(mean)
        out += [total, (total - apart / count).clamp_min(0.0)]
    return tuple(t.to(dtype) for t in out)
