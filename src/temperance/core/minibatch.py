"""The minibatch of your own loop: targets as the loss takes them, soft where a regularizer that is on changes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from temperance.core.batch import Batch, full_batch, map_leaves
from temperance.core.criterion import Criterion
from temperance.core.errors import ConfigError
from temperance.core.given_loss import GivenFunction, GivenTorch, for_own_call, names_of, with_rows
from temperance.core.inputs import refuse_without_images
from temperance.core.moment import Moment, Values
from temperance.core.program import Program
from temperance.core.regularizer import Context, Regularizer
from temperance.core.soft_targets import SoftTargets


@dataclass
class Minibatches:
    """Changes minibatches as a cocktail asks, and says which loss takes them.

    Args:
        program: the cocktail on the network.
        criterion: the loss as :func:`~temperance.core.given_loss.given_criterion` made it.
        outputs: ``outputs(x)``, the network's output, to count the classes.
        num_classes: their number, or None.
        dtype: of targets made from integers.
    """

    program: Program
    criterion: Criterion
    outputs: Callable[[Any], Any]
    num_classes: int | None
    dtype: Callable[[], torch.dtype]
    soft: SoftTargets = field(init=False)

    def __post_init__(self) -> None:
        self.soft = SoftTargets(self.criterion, self.outputs, self.num_classes, self.dtype)
        self.program.constants["partial_targets"] = True

    @property
    def as_given(self) -> bool:
        """Whether the loss is called with targets as they come; those of temperance take soft ones always."""
        return isinstance(self.criterion, (GivenTorch, GivenFunction))

    def plain(self, x: Any, y: Any, weight: Tensor | None, labeled: Any) -> tuple[Batch, Criterion]:
        """The minibatch as it is."""
        y = _read(y, labeled)
        if not self.as_given:
            y, laid_out, _ = self.soft(x, y, [])
            y = laid_out(y)
        batch = full_batch(x, y, weight, labeled)
        return (batch, self.criterion) if weight is None and labeled is None else _weighted(self.criterion, batch)

    def changed(
        self, x: Any, y: Any, weight: Tensor | None, labeled: Any, values: Values, moment: Moment, state: Any, progress: Tensor, split: bool = False
    ) -> tuple[Batch, Criterion]:
        """The minibatch after the ``batch`` sites; ``progress`` is on the host, and ``split`` for a loss that the loop calls itself."""
        refuse_without_images(self.program.cocktail, x)
        changing = {label: r for label, r in self.program.cocktail.items() if r.soft_targets}
        idle = {label for label, r in changing.items() if not is_on(r, progress)}
        needing = [r for label, r in changing.items() if label not in idle]
        y, laid_out, made = _read(y, labeled), _same, False
        given = y
        if needing or not self.as_given:
            y, laid_out, made = self.soft(x, y, needing)
        if isinstance(self.criterion, GivenFunction):
            self.program.constants["tasks"] = self._tasks(given, needing) if made else ""
        bound = self.program.bind(values, moment.progress)

        def context(label: str, site: str, *path: object) -> Context:
            return self.program.context(label, site, moment, state, None, *path)

        batch = self.program.change_batch(bound, full_batch(x, y, weight, labeled), context, without=idle)
        batch = batch._replace(y=laid_out(batch.y))
        criterion = self.criterion
        if made and isinstance(criterion, GivenTorch):
            criterion = replace(criterion, soft=True)
            batch = batch._replace(y=for_own_call(criterion, batch.y)) if split else batch
        elif made and isinstance(criterion, GivenFunction):
            criterion = replace(criterion, softened=names_of(needing))
        return _weighted(criterion, batch) if weight is not None or labeled is not None else (batch, criterion)

    def _tasks(self, y: Any, needing: list[Regularizer]) -> Any:
        tasks = self.soft.tasks(y)
        for r in needing:
            if tasks == "classification" and tasks not in r.tasks:
                raise ConfigError(f"{type(r).__name__} serves {', '.join(r.tasks)}, and integer targets of several classes are a {tasks}. Leave it out.")
        return tasks


def is_on(regularizer: Regularizer, progress: Tensor) -> bool:
    """Whether any strength is away from its off value at this point of its schedule; a regularizer without strengths always is."""
    now, specs = regularizer.bind(progress=progress), regularizer.strengths()
    return not specs or any(float(getattr(now, name)) != spec.off for name, spec in specs.items())


def _weighted(criterion: Criterion, batch: Batch) -> tuple[Batch, Criterion]:
    criterion, batch = with_rows(criterion, batch)
    return batch, criterion


def _read(y: Any, labeled: Any) -> Any:
    """Zeros in place of targets that are to be ignored: NaN there would reach the gradient."""
    return y if labeled is None else map_leaves(_known, y, labeled)


def _known(target: Tensor, labeled: Tensor) -> Tensor:
    return torch.where(labeled.reshape(-1, *[1] * (target.dim() - 1)), target, torch.zeros_like(target))


def _same(y: Any) -> Any:
    return y
