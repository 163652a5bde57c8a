"""A network on the rows it is examined on: losses, gradients and products with the Hessian, without leaving a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from temperance.core.batch import Batch, full_batch, map_float, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError, criterion_for
from temperance.core.errors import ConfigError, expected
from temperance.core.random import Rng, key_of, stream_of
from temperance.core.wiring import Wiring, observed
from temperance.data.dataset import Dataset
from temperance.diagnose.finding import Skip
from temperance.diagnose.hessian import Spectrum, Vector, spectrum

CHUNK = 256
"""Rows in memory at once."""

Values = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Subject:
    """What a check is given.

    Every pass is made through ``torch.func.functional_call`` with detached parameters and copied buffers, in evaluation mode, a few rows at a time.

    Attributes:
        model: the network.
        criterion: the loss, a mean over rows.
        train: rows with a known target; weights have the mean one.
        positions: of these rows in the data that was given.
        validation: rows that the network has not seen, if there are any.
        lr: the learning rate to judge.
        stepped: what takes the steps, as words.
        params: the trainable parameters, detached.
        fixed: frozen parameters, and copies of the buffers.
        seed: of every draw.
        cocktail: with which the network was trained, where it was given.
    """

    model: nn.Module
    criterion: Criterion
    train: Dataset
    positions: Tensor
    validation: Dataset | None
    lr: float | None
    stepped: str
    params: dict[str, Tensor]
    fixed: dict[str, Tensor]
    seed: int
    cocktail: Cocktail | None = None

    def rng(self, *path: object) -> Rng:
        """Random numbers of a check."""
        return Rng(key_of(self.seed), stream_of("diagnose", *path))

    @property
    def task(self) -> str:
        """The task of a network with a single head.

        Raises:
            Skip: several heads.
        """
        if isinstance(self.train.task, dict):
            raise Skip("the network has several heads")
        return self.train.task

    @property
    def held_out(self) -> Dataset:
        """The validation rows.

        Raises:
            Skip: none.
        """
        if self.validation is None:
            raise Skip("it compares with rows that the network has not seen; give validation=")
        return self.validation

    @property
    def rate(self) -> float:
        """The learning rate.

        Raises:
            Skip: none was given.
        """
        if self.lr is None:
            raise Skip("it judges a learning rate; give lr=, a number or the optimizer")
        return self.lr

    # Passes

    def chunks(self, rows: Dataset | None = None) -> Iterator[tuple[Batch, float]]:
        """Rows a few at a time, with their share."""
        data = self.train if rows is None else rows
        n, like = len(data), next(iter(self.params.values()))

        def fitted(leaf: Tensor) -> Tensor:
            return leaf.to(like.device, like.dtype)

        for a in range(0, n, CHUNK):
            part = data.take(torch.arange(a, min(a + CHUNK, n))).to(like.device)
            weight = None if part.weight is None else fitted(part.weight)
            batch = full_batch(map_float(fitted, part.x), map_leaves(fitted, part.y), torch.ones(len(part), device=like.device, dtype=like.dtype))
            yield (batch if weight is None else batch._replace(weight=weight)), len(part) / n

    def output(self, x: Any, params: Values | None = None) -> Any:
        """The network's output ``(rows, outputs)``, or a dict of these."""
        out = functional_call(self.model, {**self.fixed, **(self.params if params is None else params)}, (x,))
        return as_output(out)

    def outputs(self, rows: Dataset | None = None, params: Values | None = None) -> Tensor:
        """Outputs of all rows on the processor."""
        with torch.no_grad():
            return torch.cat([self.output(batch.x, params).cpu() for batch, _ in self.chunks(rows)])

    def predictions(self, rows: Dataset | None = None) -> Tensor:
        """Probabilities or values of all rows, in double precision on the processor."""
        return criterion_for(self.task).predict(self.outputs(rows).double())

    def loss(self, params: Values | None = None, rows: Dataset | None = None) -> float:
        """The mean loss."""
        with torch.no_grad():
            return math.fsum(share * float(self.criterion(self.output(batch.x, params), batch)) for batch, share in self.chunks(rows))

    def leaves(self, params: Values | None = None) -> dict[str, Tensor]:
        """The parameters as leaves of a graph."""
        return {name: p.detach().requires_grad_() for name, p in (self.params if params is None else params).items()}

    def gradient(self, params: Values | None = None, rows: Dataset | None = None) -> tuple[float, Vector]:
        """The mean loss of the training rows or of others, and its gradient, zeros for parameters that the loss does not depend on.

        Raises:
            Skip: no gradient passes through the network.
        """
        leaves = self.leaves(params)
        total, found = 0.0, [torch.zeros_like(p) for p in leaves.values()]
        for batch, share in self.chunks(rows):
            loss = self._differentiable(leaves, batch)
            for sum_, g in zip(found, torch.autograd.grad(loss, list(leaves.values()), allow_unused=True), strict=True):
                if g is not None:
                    sum_.add_(g, alpha=share)
            total += share * float(loss.detach())
        return total, found

    def hvp(self, vector: Vector) -> Vector:
        """The Hessian of the mean loss times a vector, by differentiating the gradient's product with it.

        Two backward passes, and not ``torch.func.jvp``: forward derivatives are missing for recurrent layers and for anyone's own autograd functions.

        Raises:
            Skip: the network has no second derivatives.
        """
        leaves = self.leaves()
        parameters = list(leaves.values())
        found = [torch.zeros_like(p) for p in parameters]
        for batch, share in self.chunks():
            try:
                grads = torch.autograd.grad(self._differentiable(leaves, batch), parameters, create_graph=True, allow_unused=True)
                terms = [(g * v).sum() for g, v in zip(grads, vector, strict=True) if g is not None and g.requires_grad]
                if not terms:
                    continue
                second = torch.autograd.grad(torch.stack(terms).sum(), parameters, allow_unused=True)
            except (RuntimeError, NotImplementedError) as error:
                raise Skip(f"the network has no second derivatives here ({str(error).splitlines()[0].rstrip('.')})") from error
            if all(h is None for h in second):  # what autograd gives behind a function that may be differentiated only once
                raise Skip("the network has no second derivatives here")
            for sum_, h in zip(found, second, strict=True):
                if h is not None:
                    sum_.add_(h, alpha=share)
        return found

    def _differentiable(self, leaves: Values, batch: Batch) -> Tensor:
        loss = self.criterion(self.output(batch.x, leaves), batch)
        if not loss.requires_grad:
            raise Skip("no gradient passes through the network")
        return loss

    # What several checks use

    @cached_property
    def slope(self) -> tuple[float, Vector]:
        """The loss and the gradient at the parameters as they are."""
        return self.gradient()

    @cached_property
    def bend(self) -> float:
        """The curvature along the gradient, gᵀHg."""
        _, g = self.slope
        return dot(g, self.hvp(g))

    @cached_property
    def wiring(self) -> Wiring:
        """Which calls of modules feed a later layer."""
        batch, _ = next(self.chunks())
        return observed(self.model, batch.x)

    @cached_property
    def spectrum(self) -> Spectrum:
        """The eigenvalues of the Hessian."""
        return spectrum(self)

    @cached_property
    def trivial(self) -> float | None:
        """The loss of the best constant output on the training rows; ``None`` for a loss or a task where it is not known."""
        return constant_loss(self.criterion, self.train)

    def moved(self, direction: Sequence[Tensor], by: float) -> dict[str, Tensor]:
        """The parameters, moved along a direction."""
        return {name: p + by * d for (name, p), d in zip(self.params.items(), direction, strict=True)}

    @cached_property
    def radius(self) -> float:
        """The norm of the parameters, one at least: how far a step might go."""
        values = list(self.params.values())
        return max(1.0, math.sqrt(dot(values, values)))


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """The inner product of two lists of tensors, in double precision.

    Example:
        >>> dot([torch.ones(2), torch.ones(1)], [torch.ones(2), 3 * torch.ones(1)])
        5.0
    """
    return math.fsum(float((x.double() * y.double()).sum()) for x, y in zip(a, b, strict=True))


def as_output(out: Any) -> Any:
    """The scores in what a network returns: the first of several, a field ``logits``, a single value per row as a column."""
    if isinstance(out, (tuple, list)) and out:
        out = out[0]
    named = getattr(out, "logits", None)
    if isinstance(named, Tensor):
        out = named
    if isinstance(out, Tensor):
        return out.unsqueeze(1) if out.dim() == 1 else out
    if isinstance(out, dict):
        return out
    raise ConfigError(expected("model", "diagnose", "to return a tensor (rows, outputs)", type(out).__name__, "Wrap it in a module that does."))


def constant_loss(criterion: Criterion, rows: Dataset) -> float | None:
    """The loss of the best constant output.

    Example:
        >>> from temperance.data import as_dataset
        >>> round(constant_loss(SoftmaxCrossEntropy(), as_dataset(torch.zeros(4, 1), [0, 1, 0, 1])), 4)
        0.6931
    """
    if not isinstance(rows.y, Tensor):
        return None
    y, weight = rows.y.cpu().double(), torch.ones(len(rows), dtype=torch.float64) if rows.weight is None else rows.weight.cpu().double()
    share = (weight / weight.sum()).unsqueeze(1)
    mean = (share * y.reshape(len(y), -1)).sum(0)
    if isinstance(criterion, SoftmaxCrossEntropy):
        return float(-torch.special.xlogy(mean, mean).sum())
    if isinstance(criterion, SigmoidCrossEntropy):
        return float(-(torch.special.xlogy(mean, mean) + torch.special.xlogy(1 - mean, 1 - mean)).sum())
    if isinstance(criterion, SquaredError):
        return float((share * (y.reshape(len(y), -1) - mean).square()).sum(0).mean()) * (0.5 if criterion.half else 1.0)
    return None


def some(names: Sequence[str], most: int = 4) -> str:
    """The first few names.

    Example:
        >>> some(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


@contextmanager
def hooked(modules: Mapping[str, nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Forward hooks ``hook(name, module, inputs, output)`` for the time of a pass."""
    handles = [module.register_forward_hook(lambda m, i, o, name=name: hook(name, m, i, o)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
